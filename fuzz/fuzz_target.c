/* What people type as a target: times and positions are refused, or mean what they are shown as. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_time(const char *text)
{
	struct wall_time time, again;
	struct err err = ERR_INIT;
	char shown[CLOCK_TEXT_SIZE];

	if (clock_parse(text, &time, &err) < 0) {
		assert(err.msg[0] != '\0');
		return;
	}
	(void)clock_format(time, shown);
	assert(clock_parse(shown, &again, &err) == 0 && again.us == time.us);
}

static void
check_civil_time(const struct zone *zone, const char *text)
{
	struct wall_time time = { 0 };
	struct err err = ERR_INIT;

	if (zone_parse(zone, text, &time, &err) < 0)
		assert(err.msg[0] != '\0');
}

static void
check_position(const char *text)
{
	uint64_t lsn, again;
	struct err err = ERR_INIT;
	char shown[LSN_TEXT_SIZE];

	if (lsn_parse(text, &lsn, &err) < 0) {
		assert(err.msg[0] != '\0');
		return;
	}
	(void)lsn_format(lsn, shown);
	assert(lsn_parse(shown, &again, &err) == 0 && again == lsn);
}

/* Names that somebody asks for, or that lie in the folder. */
static void
check_name(const char *text)
{
	char name[WAL_NAME_SIZE] = "", stored[WAL_STORED_NAME_SIZE], again[WAL_NAME_SIZE];
	enum wal_form form = wal_form_of(text, name);

	(void)wal_file_of(text);
	if (form == WAL_FORM_NONE || form == WAL_FORM_END)
		return;
	assert(strlen(name) == WAL_NAME_SIZE - 1 && wal_file_of(name) == WAL_FILE_SEGMENT);
	assert(strcmp(wal_stored_name(name, form, stored), text) == 0);
	assert(wal_form_of(stored, again) == form && strcmp(again, name) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	struct zone *zone = zone_open("Europe/Berlin", &err);
	char *text = xmalloc(size + 1);

	assert(zone != NULL);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	check_time(text);
	check_civil_time(zone, text);
	check_position(text);
	check_name(text);
	free(text);
	zone_close(zone);

	return 0;
}
