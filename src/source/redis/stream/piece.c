#include "source/redis/stream/piece.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/archive.h"
#include "source/redis/resp.h"

#define TAIL_ENDING ".aof.partial"
#define PACKED_ENDING ".aof.zst"
#define HISTORY_ENDING ".history"
#define HEAD_WORD "BLACKSTART:1 "
#define NOTE_KIND "redis-stream"

enum { BRANCH_DIGITS = 8, OFFSET_DIGITS = 16 };

/* ---- names ------------------------------------------------------------------------------------ */

const char *
piece_name(uint32_t branch, uint64_t offset, enum piece_form form, char *name)
{
	(void)snprintf(name, PIECE_NAME_SIZE, "%08" PRIX32 ".%016" PRIX64 "%s", branch, offset,
	    form == PIECE_TAIL ? TAIL_ENDING : PACKED_ENDING);

	return name;
}

const char *
piece_history_name(uint32_t branch, char *name)
{
	(void)snprintf(name, PIECE_NAME_SIZE, "%08" PRIX32 HISTORY_ENDING, branch);

	return name;
}

/* Exactly so many upper-case digits. */
static bool
read_hex(const char *text, size_t digits, uint64_t *ret_number)
{
	struct err ignored = ERR_INIT;
	char copy[OFFSET_DIGITS + 1];

	if (strnlen(text, digits) < digits || strspn(text, "0123456789ABCDEF") < digits)
		return false;
	memcpy(copy, text, digits);
	copy[digits] = '\0';

	return parse_hex_u64(copy, digits, ret_number, &ignored) == 0;
}

bool
piece_name_parse(const char *name, uint32_t *ret_branch, uint64_t *ret_offset,
    enum piece_form *ret_form)
{
	uint64_t branch;
	uint64_t offset;
	const char *ending;

	if (!read_hex(name, BRANCH_DIGITS, &branch) || branch == 0 || name[BRANCH_DIGITS] != '.' ||
	    !read_hex(name + BRANCH_DIGITS + 1, OFFSET_DIGITS, &offset))
		return false;
	ending = name + BRANCH_DIGITS + 1 + OFFSET_DIGITS;
	if (!str_equals(ending, TAIL_ENDING) && !str_equals(ending, PACKED_ENDING))
		return false;
	*ret_branch = (uint32_t)branch;
	*ret_offset = offset;
	*ret_form = str_equals(ending, TAIL_ENDING) ? PIECE_TAIL : PIECE_PACKED;

	return true;
}

bool
piece_history_name_parse(const char *name, uint32_t *ret_branch)
{
	uint64_t branch;

	if (!read_hex(name, BRANCH_DIGITS, &branch) || branch == 0 ||
	    !str_equals(name + BRANCH_DIGITS, HISTORY_ENDING))
		return false;
	*ret_branch = (uint32_t)branch;

	return true;
}

/* ---- how it begins ------------------------------------------------------------------------------ */

void
piece_head_format(const struct piece_head *head, struct str *to)
{
	char db[16];
	const char *const words[] = { "SELECT", db, NULL };

	(void)snprintf(db, sizeof(db), "%u", head->db);
	str_addf(to, "#" HEAD_WORD "%" PRIu32 " %s %" PRIu64 " %u\r\n", head->branch, head->replid,
	    head->offset, head->db);
	resp_add_command(to, words);
}

void
piece_time_format(struct wall_time time, struct wall_time before, struct str *to)
{
	if (time.us / US_PER_S != before.us / US_PER_S)
		str_addf(to, "#TS:%" PRId64 "\r\n", time.us / US_PER_S);
	str_addf(to, "#US:%" PRId64 "\r\n", time.us);
}

void
piece_outage_format(struct wall_time from, struct str *to)
{
	str_addf(to, "#OUT:%" PRId64 "\r\n", from.us);
}

void
piece_skew_format(int64_t skew_us, struct str *to)
{
	str_addf(to, "#SKEW:%" PRId64 "\r\n", skew_us);
}

static int
read_head(struct piece_reader *reader, struct err *err)
{
	struct piece_head *head = &reader->head;
	const char *text = reader->scan.note + strlen(HEAD_WORD);
	char branch[16];
	char offset[24];
	char db[16];
	uint64_t numbers[3];

	if (!str_starts_with(reader->scan.note, HEAD_WORD) ||
	    sscanf(text, "%15s %40s %23s %15s", branch, head->replid, offset, db) != 4 ||
	    strlen(head->replid) != REPLID_SIZE - 1 ||
	    parse_u64(branch, 1, UINT32_MAX, &numbers[0], err) < 0 ||
	    parse_u64(offset, 0, INT64_MAX, &numbers[1], err) < 0 ||
	    parse_u64(db, 0, INT32_MAX, &numbers[2], err) < 0)
		return err_set(err, ERR_DATA, "it does not begin like a piece of a stream");
	head->branch = (uint32_t)numbers[0];
	head->offset = numbers[1];
	head->db = (unsigned)numbers[2];
	scan_init(&reader->scan, head->db);
	reader->scan.has_notes = true;
	reader->has_head = true;
	reader->offset = head->offset;
	reader->safe = head->offset;
	reader->safe_db = head->db;

	return 0;
}

/* ---- reading ------------------------------------------------------------------------------------ */

void
piece_reader_init(struct piece_reader *reader)
{
	*reader = (struct piece_reader){ .has_head = false };
	scan_init(&reader->scan, 0);
	reader->scan.has_notes = true;
}

void
piece_reader_done(struct piece_reader *reader)
{
	vec_done(&reader->outages);
}

static void
end_outage(struct piece_reader *reader)
{
	if (reader->down_since.us != 0 && reader->outages.count < PIECE_OUTAGES_MAX)
		vec_push(&reader->outages,
		    ((struct piece_outage){
			.offset = reader->offset,
			.from = reader->down_since,
			.to = reader->time,
		    }));
	reader->down_since.us = 0;
}

static int
read_us(const char *text, struct wall_time *ret_time, struct err *err)
{
	uint64_t us;

	if (parse_u64(text, 1, INT64_MAX, &us, err) < 0)
		return err_set(err, ERR_DATA, "'%.30s' is no time", text);
	ret_time->us = (int64_t)us;

	return 0;
}

static int
take_note(struct piece_reader *reader, struct err *err)
{
	const char *note = reader->scan.note;

	if (!reader->has_head)
		return read_head(reader, err);
	if (str_starts_with(note, "OUT:"))
		return read_us(note + strlen("OUT:"), &reader->down_since, err);
	if (str_starts_with(note, "SKEW:"))
		return parse_i64(note + strlen("SKEW:"), INT64_MIN / 2, INT64_MAX / 2,
		    &reader->skew_us, err);
	if (!str_starts_with(note, "US:"))
		return 0;
	if (read_us(note + strlen("US:"), &reader->time, err) < 0)
		return -1;
	end_outage(reader);

	return 0;
}

/* True: it is one of the stream, and not the SELECT at the beginning. */
static bool
take_command(struct piece_reader *reader)
{
	struct scan *scan = &reader->scan;

	if (!reader->has_select) {
		reader->has_select = true;
		scan->bytes = 0;
		return false;
	}
	reader->offset = reader->head.offset + scan->bytes;
	reader->commands++;
	if (reader->first.us == 0)
		reader->first = reader->time;
	reader->last = reader->time;

	return true;
}

int
piece_reader_feed(struct piece_reader *reader, const void *data, size_t size, size_t *ret_used,
    enum scan_event *ret_event, struct err *err)
{
	const uint8_t *at = data;
	enum scan_event event = SCAN_NOTHING;
	size_t used = 0;
	bool is_shown = false;

	while (used < size && !is_shown) {
		size_t taken;

		if (scan_feed(&reader->scan, at + used, size - used, &taken, &event, err) < 0)
			return -1;
		used += taken;
		reader->file_read += taken;
		if (event == SCAN_NOTE && take_note(reader, err) < 0)
			return -1;
		if (event == SCAN_COMMAND && !reader->has_head)
			return err_set(err, ERR_DATA, "it does not begin like a piece of a stream");
		is_shown = event == SCAN_NOTE || (event == SCAN_COMMAND && take_command(reader));
		if (event != SCAN_NOTHING) {
			reader->file_at = reader->file_read;
			if (scan_is_boundary(&reader->scan)) {
				reader->safe = reader->offset;
				reader->safe_db = reader->scan.db;
			}
		}
	}
	*ret_used = used;
	*ret_event = is_shown ? event : SCAN_NOTHING;

	return 0;
}

/* ---- the note ----------------------------------------------------------------------------------- */

static void
add_outages(const struct piece_reader *reader, struct str *to)
{
	char from[CLOCK_TEXT_SIZE], until[CLOCK_TEXT_SIZE];

	str_add(to, ",\"outages\":[");
	for (size_t i = 0; i < reader->outages.count; i++) {
		const struct piece_outage *outage = &reader->outages.items[i];

		str_addf(to, "%s{\"at\":\"%" PRIu64 "\",\"from\":\"%s\",\"to\":\"%s\"}",
		    i > 0 ? "," : "", outage->offset, clock_format(outage->from, from),
		    clock_format(outage->to, until));
	}
	str_add_char(to, ']');
}

void
piece_note_format(const struct piece_reader *reader, struct str *to)
{
	char first[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE];

	str_addf(to,
	    "{\"format\":1,\"kind\":\"" NOTE_KIND "\",\"branch\":%" PRIu32
	    ",\"replication_id\":\"%s\",\"from\":\"%" PRIu64 "\",\"to\":\"%" PRIu64
	    "\",\"db\":%u,\"db_after\":%u,\"commands\":%" PRIu64,
	    reader->head.branch, reader->head.replid, reader->head.offset, reader->safe,
	    reader->head.db, reader->safe_db, reader->commands);
	if (reader->commands > 0)
		str_addf(to, ",\"first\":\"%s\",\"last\":\"%s\"",
		    clock_format(reader->first, first), clock_format(reader->last, last));
	if (reader->skew_us != 0)
		str_addf(to, ",\"skew_us\":%" PRId64, reader->skew_us);
	if (reader->outages.count > 0)
		add_outages(reader, to);
	str_add_char(to, '}');
}

static int
read_time(const json_t *root, const char *name, struct wall_time *ret_time, struct err *err)
{
	const char *text = json_string_value(json_object_get(root, name));

	ret_time->us = 0;

	return text != NULL ? clock_parse(text, ret_time, err) : 0;
}

static int
read_offset(const json_t *root, const char *name, uint64_t *ret_offset, struct err *err)
{
	const char *text = json_string_value(json_object_get(root, name));

	return text != NULL ? parse_u64(text, 0, INT64_MAX, ret_offset, err)
			    : err_set(err, ERR_DATA, "'%s' is missing", name);
}

static int
read_outages(const json_t *root, const struct piece *piece, struct archive_marks *marks,
    struct err *err)
{
	const json_t *outages = json_object_get(root, "outages");
	const json_t *item;
	size_t i;

	json_array_foreach(outages, i, item)
	{
		struct piece_outage outage;

		if (read_offset(item, "at", &outage.offset, err) < 0 ||
		    read_time(item, "from", &outage.from, err) < 0 ||
		    read_time(item, "to", &outage.to, err) < 0)
			return -1;
		piece_outage_to_mark(&outage, piece->branch, piece->number, vec_add(&marks->items));
	}

	return 0;
}

static int
read_note(const json_t *root, struct piece *piece, struct err *err)
{
	const char *kind = json_string_value(json_object_get(root, "kind"));
	json_int_t branch = json_integer_value(json_object_get(root, "branch"));
	json_int_t commands = json_integer_value(json_object_get(root, "commands"));

	if (!str_equals(kind, NOTE_KIND) || branch <= 0 || branch > UINT32_MAX || commands < 0)
		return err_set(err, ERR_DATA, "it is no note of a stream's piece");
	piece->branch = (uint32_t)branch;
	piece->commits = (uint64_t)commands;
	if (read_offset(root, "from", &piece->number, err) < 0 ||
	    read_offset(root, "to", &piece->end_position, err) < 0 ||
	    read_time(root, "first", &piece->first_time, err) < 0 ||
	    read_time(root, "last", &piece->last_time, err) < 0)
		return -1;
	if (piece->end_position < piece->number)
		return err_set(err, ERR_DATA, "it ends before it begins");

	return 0;
}

int
piece_note_parse(const char *text, size_t size, struct piece *ret_piece, unsigned *ret_db,
    struct archive_marks *ret_marks, struct err *err)
{
	SCOPED(archive_marks_done) struct archive_marks marks = { .items = { .count = 0 } };
	struct piece piece = { .state = PIECE_SOUND };
	json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	int result = root != NULL ? read_note(root, &piece, err)
				  : err_set(err, ERR_DATA, "it is no JSON");
	json_int_t db = json_integer_value(json_object_get(root, "db_after"));

	if (result == 0)
		result = read_outages(root, &piece, &marks, err);
	json_decref(root);
	if (result < 0)
		return err_wrap(err, "note");
	*ret_piece = piece;
	*ret_db = db > 0 && db <= INT32_MAX ? (unsigned)db : 0;
	*ret_marks = marks;
	marks = (struct archive_marks){ .items = { .count = 0 } };

	return 0;
}

/* ---- outages in the index ------------------------------------------------------------------------ */

#define DOWN_SINCE "down since "

void
piece_outage_to_mark(const struct piece_outage *outage, uint32_t branch, uint64_t number,
    struct archive_mark *ret_mark)
{
	*ret_mark = (struct archive_mark){
		.branch = branch,
		.number = number,
		.position = outage->offset,
		.time = outage->to,
		.name = xasprintf(DOWN_SINCE "%" PRId64, outage->from.us),
	};
}

bool
piece_outage_from_mark(const struct archive_mark *mark, struct piece_outage *ret_outage)
{
	struct err ignored = ERR_INIT;
	struct piece_outage outage = { .offset = mark->position, .to = mark->time };

	if (!str_starts_with(mark->name, DOWN_SINCE) ||
	    read_us(mark->name + strlen(DOWN_SINCE), &outage.from, &ignored) < 0)
		return false;
	*ret_outage = outage;

	return true;
}
