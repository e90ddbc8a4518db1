#include "source/redis/keyed/writer.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/redis/crc64.h"
#include "source/redis/keyed/glob.h"
#include "source/redis/rdb_summary.h"
#include "source/redis/redis_internal.h"
#include "stream/sink.h"

enum {
	OUT_BYTES = 128 * 1024,
	TYPE_BYTES = 1,
	FOOTER_BYTES = 2 + 8,                      /* version and checksum */
	SERVER_BULK_MAX_BYTES = 512 * 1024 * 1024, /* proto-max-bulk-len, as servers come */
	NUMBER_TEXT_BYTES = 24,
};

struct keyed_writer {
	struct sink base;
	struct rdb_watch watch;
	struct rdb_reader *reader;
	struct keyed_order order;
	struct keyed_report *report;
	struct crc64 crc; /* of the payload so far */
	struct str out;   /* commands that are still to be said */
	struct str value; /* a payload that is held */
	struct str name;
	uint64_t expires_ms;
	unsigned dump_version;
	unsigned pending; /* commands whose reply was not heard yet */
	size_t next_large;
	bool has_selected;
	uint64_t selected;

	bool is_value; /* what is read now is a value that was picked ... */
	bool is_held;
	const uint8_t *piece; /* ... which goes on here in the piece that is being read */
	size_t value_from;
	uint64_t piece_at; /* offset of the piece in the file */
};

bool
keyed_picks(const struct keyed_pick *pick, const struct rdb_seen_key *key)
{
	return key->name != NULL && (!pick->is_one_database || pick->database == key->database) &&
	    glob_matches(pick->pattern, key->name, key->name_size);
}

/*
 * The oldest version of a payload that has this type: a server refuses one newer than itself.
 * Version 10 came with types 16 to 19, 11 with 20 and 21 (src/rdb.h of Redis).
 */
static unsigned
dump_version_of(uint8_t type, unsigned file_version)
{
	if (type <= 15)
		return 9;
	if (type <= 19)
		return 10;

	return type <= 21 ? 11 : file_version;
}

/* ---- replies ------------------------------------------------------------------------------------ */

static int
take_reply(struct keyed_writer *writer, struct err *err)
{
	struct resp_value reply;
	int result = 0;

	if (redis_reply(writer->order.conn, &reply, err) < 0)
		return -1;
	if (reply.type != RESP_ERROR)
		writer->report->restored++;
	else if (str_starts_with(reply.text, "BUSYKEY"))
		writer->report->kept++;
	else if (str_starts_with(reply.text, "MOVED ") || str_starts_with(reply.text, "ASK "))
		writer->report->elsewhere++;
	else
		result = redis_refused(reply.text, err);
	resp_value_done(&reply);

	return result;
}

static int
say(struct keyed_writer *writer, struct err *err)
{
	if (writer->out.size == 0)
		return 0;
	if (redis_say_text(writer->order.conn, &writer->out, err) < 0)
		return -1;
	str_cut(&writer->out, 0);

	return 0;
}

static int
settle(struct keyed_writer *writer, struct err *err)
{
	if (say(writer, err) < 0)
		return -1;
	for (; writer->pending > 0; writer->pending--) {
		if (take_reply(writer, err) < 0)
			return -1;
	}

	return 0;
}

static int
use_database(struct keyed_writer *writer, uint64_t database, struct err *err)
{
	char text[NUMBER_TEXT_BYTES];

	if (writer->has_selected && writer->selected == database)
		return 0;
	if (settle(writer, err) < 0)
		return -1;
	(void)snprintf(text, sizeof(text), "%" PRIu64, database);
	/* A connection begins in 0, and a cluster has no other. */
	if ((writer->has_selected || database != 0) &&
	    redis_execute(writer->order.conn, (const char *const[]){ "SELECT", text, NULL }, err) <
		0)
		return err_wrap(err, "database %" PRIu64, database);
	writer->has_selected = true;
	writer->selected = database;

	return 0;
}

/* ---- a command ------------------------------------------------------------------------------------ */

/* RESTORE name time payload ABSTTL [REPLACE], up to the payload. */
static void
add_head(struct keyed_writer *writer, uint64_t payload_bytes)
{
	char time[NUMBER_TEXT_BYTES];
	int digits = snprintf(time, sizeof(time), "%" PRIu64, writer->expires_ms);

	str_addf(&writer->out, "*%d\r\n$7\r\nRESTORE\r\n$%zu\r\n", writer->order.replaces ? 6 : 5,
	    writer->name.size);
	str_add_bytes(&writer->out, writer->name.data, writer->name.size);
	str_addf(&writer->out, "\r\n$%d\r\n%s\r\n$%" PRIu64 "\r\n", digits, time, payload_bytes);
}

static int
add_payload(struct keyed_writer *writer, const void *data, size_t size, struct err *err)
{
	const uint8_t *bytes = data;

	crc64_add(&writer->crc, data, size);
	if (writer->is_held) {
		str_add_bytes(&writer->value, data, size);
		return 0;
	}
	while (size > 0) {
		size_t step = size < OUT_BYTES ? size : OUT_BYTES;

		str_add_bytes(&writer->out, bytes, step);
		if (writer->out.size >= OUT_BYTES && say(writer, err) < 0)
			return -1;
		bytes += step;
		size -= step;
	}

	return 0;
}

static int
end_command(struct keyed_writer *writer, struct err *err)
{
	uint16_t version = htole16((uint16_t)writer->dump_version);
	uint64_t sum;

	if (add_payload(writer, &version, sizeof(version), err) < 0)
		return -1;
	sum = htole64(writer->crc.value);
	if (add_payload(writer, &sum, sizeof(sum), err) < 0)
		return -1;
	if (writer->is_held) {
		add_head(writer, writer->value.size);
		str_add_bytes(&writer->out, writer->value.data, writer->value.size);
	}
	str_add(&writer->out, "\r\n$6\r\nABSTTL\r\n");
	if (writer->order.replaces)
		str_add(&writer->out, "$7\r\nREPLACE\r\n");
	if (str_is_full(&writer->out) || str_is_full(&writer->value))
		return err_set(err, ERR_BUG, "a command is larger than what was made for it");
	writer->pending++;
	if (writer->pending < KEYED_PENDING_MAX && writer->out.size < OUT_BYTES)
		return 0;

	return settle(writer, err);
}

/* ---- keys ------------------------------------------------------------------------------------------- */

/* What becomes of its time of expiry; false: it is over. */
static bool
take_time(struct keyed_writer *writer, const struct rdb_seen_key *key)
{
	const struct expiry_policy *policy = &writer->order.policy;

	writer->expires_ms = key->expires_ms;
	if (key->expires_ms == 0)
		return true;
	if (policy->ttl == RESTORE_TTL_PERSIST)
		writer->expires_ms = 0;
	else if (policy->ttl == RESTORE_TTL_SHIFT)
		writer->expires_ms += (uint64_t)(policy->shift_us / US_PER_MS);
	else
		return key->expires_ms > (uint64_t)(clock_wall().us / US_PER_MS);

	return true;
}

/* The size of a value that is not held; 0: it is. */
static uint64_t
large_at(struct keyed_writer *writer, uint64_t offset)
{
	const struct keyed_order *order = &writer->order;

	while (writer->next_large < order->large_count &&
	    order->large[writer->next_large].offset < offset)
		writer->next_large++;
	if (writer->next_large < order->large_count &&
	    order->large[writer->next_large].offset == offset)
		return order->large[writer->next_large].bytes;

	return 0;
}

static int
begin_value(struct rdb_watch *watch, const struct rdb_seen_key *key, uint64_t offset,
    struct err *err)
{
	struct keyed_writer *writer = watch->owner;
	uint64_t large = large_at(writer, offset);
	unsigned file_version = rdb_reader_summary(writer->reader)->version;

	if (!keyed_picks(&writer->order.pick, key))
		return 0;
	if (!take_time(writer, key)) {
		writer->report->expired++;
		return 0;
	}
	if (large > SERVER_BULK_MAX_BYTES - TYPE_BYTES - FOOTER_BYTES) {
		writer->report->too_large++;
		return 0;
	}
	if (use_database(writer, key->database, err) < 0)
		return -1;
	writer->is_value = true;
	writer->is_held = large == 0;
	writer->value_from = (size_t)(offset - writer->piece_at);
	writer->dump_version = dump_version_of(key->type, file_version);
	writer->crc.value = 0;
	str_cut(&writer->value, 0);
	str_cut(&writer->name, 0);
	str_add_bytes(&writer->name, key->name, key->name_size);
	if (!writer->is_held)
		add_head(writer, TYPE_BYTES + large + FOOTER_BYTES);

	return add_payload(writer, &key->type, TYPE_BYTES, err);
}

static int
end_value(struct rdb_watch *watch, uint64_t offset, struct err *err)
{
	struct keyed_writer *writer = watch->owner;
	size_t to = (size_t)(offset - writer->piece_at);

	if (!writer->is_value)
		return 0;
	writer->is_value = false;
	if (add_payload(writer, writer->piece + writer->value_from, to - writer->value_from, err) <
	    0)
		return -1;

	return end_command(writer, err);
}

/* ---- the sink --------------------------------------------------------------------------------------- */

static int
writer_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct keyed_writer *writer = (struct keyed_writer *)sink;

	writer->piece = data;
	if (rdb_reader_feed(writer->reader, data, size, err) < 0)
		return -1;
	if (writer->is_value &&
	    add_payload(writer, writer->piece + writer->value_from, size - writer->value_from,
		err) < 0)
		return -1;
	writer->value_from = 0;
	writer->piece_at += size;

	return 0;
}

static int
writer_finish(struct sink *sink, struct err *err)
{
	struct keyed_writer *writer = (struct keyed_writer *)sink;

	return rdb_reader_finish(writer->reader, err) < 0 ? -1 : settle(writer, err);
}

static void
writer_free(struct sink *sink)
{
	struct keyed_writer *writer = (struct keyed_writer *)sink;

	rdb_reader_free(writer->reader);
	str_done(&writer->out);
	str_done(&writer->value);
	str_done(&writer->name);
	free(writer);
}

struct sink *
keyed_writer_new(const struct keyed_order *order, struct keyed_report *ret_report)
{
	static const struct sink_ops ops = {
		.name = "keyed",
		.write = writer_write,
		.finish = writer_finish,
		.free = writer_free,
	};
	struct keyed_writer *writer = xcalloc(1, sizeof(*writer));
	struct rdb_options options = { .watch = &writer->watch };

	writer->base.ops = &ops;
	writer->order = *order;
	writer->report = ret_report;
	writer->watch.begin = begin_value;
	writer->watch.end = end_value;
	writer->watch.owner = writer;
	writer->reader = rdb_reader_new(&options);
	writer->out = (struct str)STR_INIT_MAX(4 * KEYED_HELD_MAX_BYTES);
	writer->value = (struct str)STR_INIT_MAX(2 * KEYED_HELD_MAX_BYTES);
	writer->name = (struct str)STR_INIT;
	crc64_init(&writer->crc);
	*ret_report = (struct keyed_report){ .restored = 0 };

	return &writer->base;
}
