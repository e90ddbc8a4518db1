/* The parts of an RDB file: keys with their values, and what stands between them. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/redis/rdb_reader_internal.h"

enum { HASH_TIMES_FIRST = 22, HASH_TIMES_LAST = 25, MS_PER_S = 1000 };

/* ---- the begin of a part -------------------------------------------------------------------- */

/*
 * Something that this program does not know.  In a file of a version that is known to its last
 * type it is damage; else the rest is believed by its checksum alone.
 */
static int
meet_unknown(struct rdb_reader *reader, const char *what, struct err *err)
{
	const struct rdb_summary *summary = &reader->summary;

	if (rdb_version_is_known(summary->version, summary->is_valkey))
		return rdb_damaged(reader, what, err);
	reader->summary.unknown = xasprintf("byte %llu: %s (%u)",
	    (unsigned long long)reader->offset, what, reader->opcode);
	reader->step = RDB_STEP_BLIND;

	return 0;
}

static bool
belongs_to_key(uint8_t opcode, bool is_valkey)
{
	return opcode == RDB_EXPIRES_MS || opcode == RDB_EXPIRES_S || opcode == RDB_IDLE ||
	    opcode == RDB_FREQUENCY || (opcode == RDB_SLOT_IMPORT && !is_valkey);
}

int
rdb_part_begin(struct rdb_reader *reader, uint8_t opcode, struct err *err)
{
	bool is_valkey = reader->summary.is_valkey;

	reader->opcode = opcode;
	reader->numbers_count = 0;
	reader->loops_count = 0;
	reader->is_value = false;
	if (opcode == RDB_END) {
		if (reader->is_part_begun)
			return rdb_damaged(reader, "the end stands where a key should be", err);
		rdb_want(reader, RDB_STEP_TRAILER, RDB_TRAILER_BYTES);
		return 0;
	}
	reader->shape = rdb_shape_of_opcode(opcode, is_valkey);
	reader->is_key = reader->shape == NULL;
	if (!reader->is_part_begun && (reader->is_key || belongs_to_key(opcode, is_valkey))) {
		reader->is_part_begun = true;
		reader->part_began = reader->offset;
	}
	if (!reader->is_key)
		return rdb_advance(reader, err);
	reader->value_shape = rdb_shape_of_type(opcode, is_valkey, &reader->kind);
	if (reader->value_shape == NULL)
		return meet_unknown(reader, "unknown type of value", err);
	reader->shape = "k";

	return rdb_advance(reader, err);
}

/* ---- its end ---------------------------------------------------------------------------------- */

static int
select_database(struct rdb_reader *reader, uint64_t index, struct err *err)
{
	reader->database = rdb_summary_select(&reader->summary, index);
	if (reader->database == NULL)
		return err_set(err, ERR_LIMIT, "the file has more than %d databases",
		    RDB_DATABASES_MAX);

	return 0;
}

/* Types of hashes with times for single fields: 22 to 25, of Valkey only the first of them. */
static bool
has_field_times(const struct rdb_reader *reader)
{
	return reader->opcode >= HASH_TIMES_FIRST &&
	    reader->opcode <= (reader->summary.is_valkey ? HASH_TIMES_FIRST : HASH_TIMES_LAST);
}

static int
count_key(struct rdb_reader *reader, struct err *err)
{
	struct rdb_summary *summary = &reader->summary;
	const struct rdb_key key = {
		.kind = reader->kind,
		.database = reader->database != NULL ? reader->database->index : 0,
		.bytes = reader->end - reader->part_began,
	};

	if (reader->database == NULL && select_database(reader, 0, err) < 0)
		return -1;
	if (reader->options.times != NULL && has_field_times(reader))
		reader->options.times->has_field_times = true;
	if (reader->kind == RDB_MODULE)
		rdb_summary_add_module(summary, reader->numbers[0]);
	summary->keys++;
	reader->database->keys++;
	reader->database->types[reader->kind]++;
	if (reader->has_expiry) {
		summary->expires++;
		reader->database->expires++;
		reader->database->expiring[reader->kind]++;
	}
	if (rdb_summary_is_big(summary, key.bytes))
		rdb_summary_add_big(summary, &key, reader->key.data, reader->key.size);
	reader->has_expiry = false;
	reader->expires_ms = 0;
	reader->is_part_begun = false;
	if (reader->options.watch != NULL)
		return reader->options.watch->end(reader->options.watch, reader->end, err);

	return 0;
}

/* The name of a key is behind us, its value comes. */
static int
tell_key(const struct rdb_reader *reader, struct err *err)
{
	struct rdb_watch *watch = reader->options.watch;
	bool is_kept = reader->key.size > 0 || reader->text.plain_bytes == 0;
	const struct rdb_seen_key key = {
		.name = !is_kept           ? NULL
		    : reader->key.size > 0 ? reader->key.data
					   : (const uint8_t *)"",
		.name_size = reader->key.size,
		.database = reader->database != NULL ? reader->database->index : 0,
		.expires_ms = reader->expires_ms,
		.type = reader->opcode,
	};

	return watch != NULL ? watch->begin(watch, &key, reader->end, err) : 0;
}

/* Four bytes of seconds or eight of milliseconds, little-endian; what is before 1970 is long over. */
static uint64_t
read_time(const struct rdb_reader *reader)
{
	uint64_t ms;
	uint32_t s;

	if (reader->opcode == RDB_EXPIRES_MS) {
		memcpy(&ms, reader->fixed, sizeof(ms));
		ms = le64toh(ms);
		return ms > 0 && ms <= INT64_MAX ? ms : 1;
	}
	memcpy(&s, reader->fixed, sizeof(s));
	s = le32toh(s);

	return s > 0 && s <= INT32_MAX ? (uint64_t)s * MS_PER_S : 1;
}

static void
tell_time(const struct rdb_reader *reader, unsigned width)
{
	if (reader->options.times != NULL)
		reader->options.times->see(reader->options.times, reader->end - width, width);
}

static int
end_opcode(struct rdb_reader *reader, struct err *err)
{
	switch (reader->opcode) {
	case RDB_EXPIRES_MS:
	case RDB_EXPIRES_S:
		reader->has_expiry = true;
		reader->expires_ms = read_time(reader);
		tell_time(reader, reader->opcode == RDB_EXPIRES_MS ? 8 : 4);
		return 0;
	case RDB_SELECT:
		return select_database(reader, reader->numbers[0], err);
	case RDB_RESIZE:
		if (reader->database == NULL && select_database(reader, 0, err) < 0)
			return -1;
		reader->database->is_announced = true;
		reader->database->announced_keys += reader->numbers[0];
		reader->database->announced_expires += reader->numbers[1];
		return 0;
	case RDB_FUNCTION:
		reader->summary.functions++;
		return 0;
	case RDB_MODULE_AUX:
		rdb_summary_add_module(&reader->summary, reader->numbers[0]);
		return 0;
	default:
		return 0;
	}
}

int
rdb_part_end(struct rdb_reader *reader, struct err *err)
{
	if (reader->is_key && !reader->is_value) {
		reader->is_value = true;
		reader->shape = reader->value_shape;
		if (tell_key(reader, err) < 0)
			return -1;
		return rdb_advance(reader, err);
	}
	if ((reader->is_key ? count_key(reader, err) : end_opcode(reader, err)) < 0)
		return -1;
	rdb_want(reader, RDB_STEP_OPCODE, 1);

	return 0;
}
