#include "source/postgres/lsn.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/parse.h"

#define WAL_FILE_SPACE (UINT64_C(1) << 32) /* the last two numbers of a name count within this */

int
lsn_parse(const char *text, uint64_t *ret_lsn, struct err *err)
{
	const char *slash = strchr(text, '/');
	char high_text[9];
	uint64_t high, low;

	if (slash == NULL || slash - text > 8)
		return err_set(err, ERR_DATA, "'%.40s' is not a WAL position", text);
	(void)snprintf(high_text, sizeof(high_text), "%.*s", (int)(slash - text), text);
	if (parse_hex_u64(high_text, 8, &high, err) < 0 ||
	    parse_hex_u64(slash + 1, 8, &low, err) < 0)
		return err_set(err, ERR_DATA, "'%.40s' is not a WAL position", text);
	*ret_lsn = high << 32 | low;

	return 0;
}

const char *
lsn_format(uint64_t lsn, char *text)
{
	(void)snprintf(text, LSN_TEXT_SIZE, "%X/%X", (unsigned)(lsn >> 32), (unsigned)lsn);
	return text;
}

const char *
wal_name_format(uint32_t timeline, uint64_t segment, uint64_t segment_bytes, char *text)
{
	uint64_t per_file = WAL_FILE_SPACE / segment_bytes;

	(void)snprintf(text, WAL_NAME_SIZE, "%08X%08X%08X", timeline,
	    (unsigned)(segment / per_file), (unsigned)(segment % per_file));
	return text;
}

/* Eight digits; false when one is not of those that the server writes. */
static bool
read_digits(const char *text, uint64_t *ret_number)
{
	uint64_t number = 0;

	for (size_t i = 0; i < 8; i++) {
		unsigned digit = (unsigned char)text[i];

		if (digit >= '0' && digit <= '9')
			digit -= '0';
		else if (digit >= 'A' && digit <= 'F')
			digit -= 'A' - 10;
		else
			return false;
		number = number << 4 | digit;
	}
	*ret_number = number;

	return true;
}

bool
wal_name_parse(const char *name, uint64_t segment_bytes, uint32_t *ret_timeline,
    uint64_t *ret_segment)
{
	uint64_t per_file = WAL_FILE_SPACE / segment_bytes;
	uint64_t numbers[3];

	/* By hand: of an archive's million names each is read. */
	for (size_t i = 0; i < 3; i++) {
		if (!read_digits(name + i * 8, &numbers[i]))
			return false;
	}
	if (name[WAL_NAME_SIZE - 1] != '\0' || numbers[0] == 0 || numbers[2] >= per_file)
		return false;
	*ret_timeline = (uint32_t)numbers[0];
	*ret_segment = numbers[1] * per_file + numbers[2];

	return true;
}

void
wal_range_segments(uint64_t start_lsn, uint64_t end_lsn, uint64_t segment_bytes,
    uint64_t *ret_first, uint64_t *ret_last)
{
	*ret_first = start_lsn / segment_bytes;
	*ret_last = end_lsn > 0 ? (end_lsn - 1) / segment_bytes : 0;
}
