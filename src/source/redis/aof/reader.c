#include "source/redis/aof/reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/rdb_summary.h"
#include "source/redis/stream/scan.h"
#include "stream/sink.h"

enum { HEAD_BYTES = 5 };

enum part {
	PART_HEAD, /* not known yet what it begins with */
	PART_RDB,
	PART_COMMANDS,
};

struct aof_reader {
	struct aof_summary summary;
	struct rdb_reader *first_rdb; /* kept for its summary */
	char *cut_name;               /* the file that ended inside of something */
	/* Of the file in work: */
	char *name;
	enum part part;
	uint8_t head[HEAD_BYTES];
	size_t head_size;
	struct rdb_reader *rdb;
	struct scan scan;
	uint64_t bytes;
	uint64_t good_bytes;
};

struct aof_reader *
aof_reader_new(void)
{
	return xcalloc(1, sizeof(struct aof_reader));
}

void
aof_reader_free(struct aof_reader *reader)
{
	if (reader == NULL)
		return;
	if (reader->rdb != reader->first_rdb)
		rdb_reader_free(reader->rdb);
	rdb_reader_free(reader->first_rdb);
	free(reader->cut_name);
	free(reader->name);
	free(reader);
}

const struct aof_summary *
aof_reader_summary(const struct aof_reader *reader)
{
	return &reader->summary;
}

const struct rdb_summary *
aof_reader_rdb(const struct aof_reader *reader)
{
	return reader->first_rdb != NULL ? rdb_reader_summary(reader->first_rdb) : NULL;
}

static int
damaged(const struct aof_reader *reader, struct err *err)
{
	(void)err_wrap(err, "'%s', behind byte %" PRIu64, reader->name, reader->good_bytes);

	return err_hint(err, "redis-check-aof shows the same place; an older backup may be whole.");
}

/* ---- pieces ------------------------------------------------------------------------------------- */

static int
begin_rdb(struct aof_reader *reader)
{
	const struct rdb_options options = { .is_deep = false };

	reader->part = PART_RDB;
	reader->rdb = rdb_reader_new(&options);
	if (reader->first_rdb == NULL)
		reader->first_rdb = reader->rdb;
	reader->summary.has_rdb = true;

	return 0;
}

static int
end_rdb(struct aof_reader *reader, struct err *err)
{
	if (rdb_reader_finish(reader->rdb, err) < 0)
		return damaged(reader, err);
	if (reader->rdb != reader->first_rdb)
		rdb_reader_free(reader->rdb);
	reader->rdb = NULL;
	reader->part = PART_COMMANDS;
	reader->good_bytes = reader->bytes;

	return 0;
}

static int
feed_rdb(struct aof_reader *reader, const uint8_t *data, size_t size, size_t *ret_used,
    struct err *err)
{
	if (rdb_reader_feed_part(reader->rdb, data, size, ret_used, err) < 0)
		return damaged(reader, err);
	reader->bytes += *ret_used;

	return *ret_used < size ? end_rdb(reader, err) : 0;
}

/* "#TS:1764000000" */
static void
take_note(struct aof_reader *reader)
{
	if (str_starts_with(reader->scan.note, "TS:"))
		reader->summary.last_time_s = strtoull(reader->scan.note + 3, NULL, 10);
}

static int
feed_commands(struct aof_reader *reader, const uint8_t *data, size_t size, size_t *ret_used,
    struct err *err)
{
	enum scan_event event;

	if (scan_feed(&reader->scan, data, size, ret_used, &event, err) < 0)
		return damaged(reader, err);
	reader->bytes += *ret_used;
	if (event == SCAN_BLANK) {
		(void)err_set(err, ERR_DATA, "there is an empty line, which no server loads");
		return damaged(reader, err);
	}
	if (event == SCAN_NOTE)
		take_note(reader);
	if (event != SCAN_NOTHING && scan_is_boundary(&reader->scan))
		reader->good_bytes = reader->bytes;

	return 0;
}

static int
feed(struct aof_reader *reader, const uint8_t *data, size_t size, struct err *err)
{
	while (size > 0) {
		size_t used = 0;

		if ((reader->part == PART_RDB ? feed_rdb(reader, data, size, &used, err)
					      : feed_commands(reader, data, size, &used, err)) < 0)
			return -1;
		data += used;
		size -= used;
	}

	return 0;
}

/* As soon as it can be told what the file begins with, all of the head goes on its way. */
static int
feed_head(struct aof_reader *reader, bool is_whole, struct err *err)
{
	size_t size = reader->head_size;

	if (size < HEAD_BYTES && !is_whole)
		return 0;
	reader->head_size = 0;
	reader->part = PART_COMMANDS;
	if (size == HEAD_BYTES &&
	    (memcmp(reader->head, "REDIS", HEAD_BYTES) == 0 ||
		memcmp(reader->head, "VALKE", HEAD_BYTES) == 0))
		(void)begin_rdb(reader);

	return feed(reader, reader->head, size, err);
}

/* ---- a file ------------------------------------------------------------------------------------- */

struct aof_sink {
	struct sink base;
	struct aof_reader *reader; /* a loan */
};

static int
aof_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct aof_reader *reader = ((struct aof_sink *)sink)->reader;
	const uint8_t *at = data;

	while (reader->part == PART_HEAD && size > 0) {
		reader->head[reader->head_size++] = *at++;
		size--;
		if (feed_head(reader, false, err) < 0)
			return -1;
	}

	return feed(reader, at, size, err);
}

static int
aof_finish(struct sink *sink, struct err *err)
{
	struct aof_reader *reader = ((struct aof_sink *)sink)->reader;
	struct aof_summary *summary = &reader->summary;

	if (reader->part == PART_HEAD && feed_head(reader, true, err) < 0)
		return -1;
	if (reader->part == PART_RDB && end_rdb(reader, err) < 0)
		return -1;
	summary->files++;
	summary->bytes += reader->bytes;
	summary->commands += reader->scan.commands_count;
	summary->is_cut = reader->good_bytes < reader->bytes;
	summary->good_bytes = reader->good_bytes;
	free(reader->cut_name);
	reader->cut_name = summary->is_cut ? xstrdup(reader->name) : NULL;

	return 0;
}

static void
aof_free(struct sink *sink)
{
	free(sink);
}

static const struct sink_ops aof_ops = {
	.name = "aof",
	.write = aof_write,
	.finish = aof_finish,
	.free = aof_free,
};

/* Written to in place of a file, when the one before it was cut: that is damage. */
static int
refuse_finish(struct sink *sink, struct err *err)
{
	struct aof_reader *reader = ((struct aof_sink *)sink)->reader;

	(void)err_set(err, ERR_DATA,
	    "'%s' ends inside a command behind byte %" PRIu64 ", and is not the last file",
	    reader->cut_name, reader->summary.good_bytes);

	return err_hint(err, "redis-check-aof shows the same place; an older backup may be whole.");
}

static int
refuse_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	(void)data;

	return size > 0 ? refuse_finish(sink, err) : 0;
}

static const struct sink_ops refuse_ops = {
	.name = "aof",
	.write = refuse_write,
	.finish = refuse_finish,
	.free = aof_free,
};

struct sink *
aof_reader_file(struct aof_reader *reader, const char *name)
{
	struct aof_sink *sink = xcalloc(1, sizeof(*sink));

	sink->base.ops = reader->cut_name != NULL ? &refuse_ops : &aof_ops;
	sink->reader = reader;
	free(reader->name);
	reader->name = xstrdup(name);
	reader->part = PART_HEAD;
	reader->head_size = 0;
	reader->bytes = 0;
	reader->good_bytes = 0;
	scan_init(&reader->scan, 0);
	reader->scan.has_notes = true;

	return &sink->base;
}
