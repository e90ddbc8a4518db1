#include "source/postgres/wal/guard.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "source/postgres/control.h"
#include "source/postgres/lsn.h"
#include "stream/sink.h"

/* The first page's header (access/xlog_internal.h, XLogLongPageHeaderData). */
enum {
	AT_INFO = 2,
	AT_ADDRESS = 8,
	AT_SYSTEM_IDENTIFIER = 24,
	AT_SEGMENT_BYTES = 32,
	INFO_LONG_HEADER = 0x0002,
	SEGMENT_MIN_BYTES = 1024 * 1024,
	SEGMENT_MAX_BYTES = 1024 * 1024 * 1024,
};

static uint64_t
load(const uint8_t *data, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | data[bytes];

	return value;
}

void
wal_guard_init(struct wal_guard *guard, const char *name, uint64_t system_identifier,
    enum wal_depth depth, bool is_unfinished)
{
	*guard = (struct wal_guard){
		.system_identifier = system_identifier,
		.depth = depth,
		.is_unfinished = is_unfinished,
	};
	(void)snprintf(guard->name, sizeof(guard->name), "%s", name);
}

void
wal_guard_done(struct wal_guard *guard)
{
	wal_reader_free(TAKE(guard->reader));
}

const struct wal_summary *
wal_guard_summary(const struct wal_guard *guard)
{
	return guard->reader != NULL ? wal_reader_summary(guard->reader) : NULL;
}

static int
check_system(const struct wal_guard *guard, uint64_t identifier, struct err *err)
{
	if (guard->system_identifier == 0 || guard->system_identifier == identifier)
		return 0;

	return err_set(err, ERR_REFUSED,
	    "segment %s is of another system: its identifier is %" PRIu64 ", not %" PRIu64,
	    guard->name, identifier, guard->system_identifier);
}

/* The head is complete: it decides how long the segment is, and whether it is the right one. */
static int
begin(struct wal_guard *guard, struct err *err)
{
	uint64_t identifier = load(guard->head + AT_SYSTEM_IDENTIFIER, 8);
	uint64_t segment_bytes = load(guard->head + AT_SEGMENT_BYTES, 4);
	uint64_t address = load(guard->head + AT_ADDRESS, 8);
	struct wal_options options = {
		.depth = guard->depth,
		.segment_bytes = segment_bytes,
		.system_identifier = identifier,
		.is_unfinished = guard->is_unfinished,
	};

	if (load(guard->head, 2) == 0 || (load(guard->head + AT_INFO, 2) & INFO_LONG_HEADER) == 0 ||
	    segment_bytes < SEGMENT_MIN_BYTES || segment_bytes > SEGMENT_MAX_BYTES ||
	    (segment_bytes & (segment_bytes - 1)) != 0)
		return err_set(err, ERR_DATA, "%s does not begin as a WAL segment does",
		    guard->name);
	if (check_system(guard, identifier, err) < 0)
		return -1;
	if (!wal_name_parse(guard->name, segment_bytes, &options.timeline, &options.segment))
		return err_set(err, ERR_DATA, "%s cannot be a segment of %" PRIu64 " bytes",
		    guard->name, segment_bytes);
	if (address != options.segment * segment_bytes) {
		char name[WAL_NAME_SIZE];

		return err_set(err, ERR_DATA, "%s has the content of segment %s", guard->name,
		    wal_name_format(options.timeline, address / segment_bytes, segment_bytes,
			name));
	}
	guard->segment_bytes = segment_bytes;
	guard->segment = options.segment;
	guard->timeline = options.timeline;
	guard->reader = wal_reader_new(&options);

	return wal_reader_feed(guard->reader, guard->head, WAL_HEAD_BYTES, err);
}

static int
check_length(const struct wal_guard *guard, struct err *err)
{
	if (guard->bytes == guard->segment_bytes ||
	    (guard->is_unfinished && guard->bytes < guard->segment_bytes))
		return 0;

	return err_set(err, ERR_DATA,
	    "segment %s has %" PRIu64 " bytes%s, and its first page says %" PRIu64, guard->name,
	    guard->bytes, guard->bytes > guard->segment_bytes ? " or more" : "",
	    guard->segment_bytes);
}

int
wal_guard_feed(struct wal_guard *guard, const void *data, size_t size, struct err *err)
{
	const uint8_t *at = data;

	if (guard->bytes < WAL_HEAD_BYTES) {
		size_t take = WAL_HEAD_BYTES - (size_t)guard->bytes;

		take = take < size ? take : size;
		memcpy(guard->head + guard->bytes, at, take);
		guard->bytes += take;
		at += take;
		size -= take;
		if (guard->bytes < WAL_HEAD_BYTES)
			return 0;
		if (begin(guard, err) < 0)
			return -1;
	}
	guard->bytes += size;
	if (guard->bytes > guard->segment_bytes)
		return check_length(guard, err);

	return wal_reader_feed(guard->reader, at, size, err);
}

int
wal_guard_end(struct wal_guard *guard, struct err *err)
{
	if (guard->reader == NULL)
		return err_set(err, ERR_DATA, "segment %s has only %" PRIu64 " bytes", guard->name,
		    guard->bytes);
	if (check_length(guard, err) < 0)
		return -1;

	return wal_reader_finish(guard->reader, err);
}

/* ---- as a link of a chain ------------------------------------------------------------------ */

struct guard_sink {
	struct sink base;
	struct wal_guard *guard;
};

static int
guard_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	if (wal_guard_feed(((struct guard_sink *)sink)->guard, data, size, err) < 0)
		return -1;

	return sink_write(sink->next, data, size, err);
}

static int
guard_finish(struct sink *sink, struct err *err)
{
	if (wal_guard_end(((struct guard_sink *)sink)->guard, err) < 0)
		return -1;

	return sink_finish(sink->next, err);
}

static void
guard_free(struct sink *sink)
{
	free(sink);
}

static const struct sink_ops guard_ops = {
	.name = "wal guard",
	.write = guard_write,
	.finish = guard_finish,
	.free = guard_free,
};

struct sink *
wal_guard_sink_new(struct sink *next, struct wal_guard *guard)
{
	struct guard_sink *sink = xcalloc(1, sizeof(*sink));

	sink->base.ops = &guard_ops;
	sink->base.next = next;
	sink->guard = guard;

	return &sink->base;
}

/* ---- whose it is --------------------------------------------------------------------------- */

/* "pg_wal/X" or "/data/pg_wal/X" gives "global/pg_control", "/data/global/pg_control". */
static char *
control_path_of(const char *path)
{
	static const char folder[] = "pg_wal";
	const char *slash = strrchr(path, '/');
	size_t size = slash != NULL ? (size_t)(slash - path) : 0;
	size_t before;

	if (size < strlen(folder) ||
	    strncmp(path + size - strlen(folder), folder, strlen(folder)) != 0)
		return NULL;
	before = size - strlen(folder);
	if (before > 0 && path[before - 1] != '/')
		return NULL;

	return xasprintf("%.*sglobal/pg_control", (int)before, path);
}

uint64_t
wal_server_identifier(const char *path)
{
	SCOPED(freep) char *control_path = control_path_of(path);
	SCOPED(str_done) struct str text = STR_INIT_MAX(CONTROL_FILE_BYTES * 2);
	struct control control;
	struct err ignored = ERR_INIT;

	if (control_path == NULL ||
	    file_read_all(control_path, CONTROL_FILE_BYTES * 2, &text, &ignored) < 0 ||
	    control_parse(str_text(&text), text.size, &control, &ignored) < 0)
		return 0;

	return control.system_identifier;
}
