#include "source/redis/rdb_summary.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum { MODULE_NAME_BYTES = 9 };

void
rdb_summary_done(struct rdb_summary *summary)
{
	free(summary->unknown);
	vec_done(&summary->databases);
	for (size_t i = 0; i < summary->aux.count; i++) {
		free(summary->aux.items[i].name);
		free(summary->aux.items[i].value);
	}
	vec_done(&summary->aux);
	for (size_t i = 0; i < summary->modules.count; i++)
		free(summary->modules.items[i]);
	vec_done(&summary->modules);
	for (size_t i = 0; i < summary->biggest.count; i++)
		free(summary->biggest.items[i].name);
	vec_done(&summary->biggest);
	*summary = (struct rdb_summary){ .version = 0 };
}

/* Printable text of any bytes, cut at the limit. */
static char *
printable(const uint8_t *data, size_t size)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(5 * RDB_TEXT_MAX_BYTES);
	bool is_cut = size > RDB_TEXT_MAX_BYTES;

	for (size_t i = 0; i < (is_cut ? RDB_TEXT_MAX_BYTES : size); i++) {
		if (data[i] >= ' ' && data[i] < 0x7f && data[i] != '\\')
			str_add_char(&text, (char)data[i]);
		else
			str_addf(&text, "\\x%02x", data[i]);
	}
	if (is_cut)
		str_add(&text, "...");
	str_add(&text, "");

	return text.data != NULL ? str_take(&text) : xstrdup("");
}

const char *
rdb_summary_aux(const struct rdb_summary *summary, const char *name)
{
	for (size_t i = 0; i < summary->aux.count; i++) {
		if (str_equals(summary->aux.items[i].name, name))
			return summary->aux.items[i].value;
	}

	return NULL;
}

struct rdb_database *
rdb_summary_select(struct rdb_summary *summary, uint64_t index)
{
	struct rdb_database *database;

	for (size_t i = 0; i < summary->databases.count; i++) {
		if (summary->databases.items[i].index == index)
			return &summary->databases.items[i];
	}
	if (summary->databases.count == RDB_DATABASES_MAX)
		return NULL;
	database = vec_add(&summary->databases);
	database->index = index;

	return database;
}

bool
rdb_summary_is_big(const struct rdb_summary *summary, uint64_t bytes)
{
	size_t count = summary->biggest.count;

	return count < RDB_BIGGEST_MAX || bytes > summary->biggest.items[count - 1].bytes;
}

void
rdb_summary_add_big(struct rdb_summary *summary, const struct rdb_key *key, const uint8_t *name,
    size_t name_size)
{
	struct rdb_key entry = *key;
	struct rdb_key *items;
	size_t at;

	entry.name = printable(name, name_size);
	if (summary->biggest.count == RDB_BIGGEST_MAX)
		free(summary->biggest.items[--summary->biggest.count].name);
	vec_push(&summary->biggest, entry);
	items = summary->biggest.items;
	for (at = summary->biggest.count - 1; at > 0 && items[at - 1].bytes < entry.bytes; at--)
		items[at] = items[at - 1];
	items[at] = entry;
}

void
rdb_summary_add_aux(struct rdb_summary *summary, const uint8_t *name, size_t name_size,
    const uint8_t *value, size_t value_size)
{
	if (summary->aux.count < RDB_AUX_MAX)
		vec_push(&summary->aux,
		    ((struct rdb_aux){ .name = printable(name, name_size),
			.value = printable(value, value_size) }));
}

/* Nine characters of 6 bits from the top of the id; the 10 bits below are a version. */
void
rdb_summary_add_module(struct rdb_summary *summary, uint64_t module_id)
{
	static const char
	    alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	char name[MODULE_NAME_BYTES + 1] = { 0 };

	for (unsigned i = 0; i < MODULE_NAME_BYTES; i++)
		name[i] = alphabet[(module_id >> (58 - 6 * i)) & 63];
	for (size_t i = 0; i < summary->modules.count; i++) {
		if (str_equals(summary->modules.items[i], name))
			return;
	}
	if (summary->modules.count < RDB_MODULES_MAX)
		vec_push(&summary->modules, xstrdup(name));
}
