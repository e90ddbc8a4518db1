#include "source/postgres/wal/push.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "os/stop.h"
#include "source/archive.h"
#include "source/postgres/wal/guard.h"
#include "source/postgres/wal/history.h"
#include "source/postgres/wal/names.h"
#include "source/postgres/wal/note.h"
#include "source/postgres/wal/stored.h"
#include "source/source.h"
#include "stream/blob.h"
#include "stream/digest.h"
#include "stream/links.h"
#include "stream/sink.h"

enum {
	/* Checked and copied while the processor's cache has it; beyond 192 KiB the kernel is slow. */
	CHUNK_BYTES = 128 * 1024,
	END_HASH_DIGITS = 8,
	LABEL_MAX_BYTES = 64 * 1024,
	/* A copy may be settled, that is take another name, between two looks at it. */
	ATTEMPTS = 3,
};

struct push {
	struct archive *archive;
	const struct push_request *request;
	enum wal_file file;
	char segment[WAL_NAME_SIZE]; /* "" for a history */
	uint64_t identifier;         /* of the archive's system, 0: not known yet */
	int fd;
	uint64_t bytes;
	uint8_t *chunk; /* CHUNK_BYTES */
};

static void
push_done(struct push *push)
{
	closep(&push->fd);
	free(push->chunk);
}

/* ---- the server's file ---------------------------------------------------------------------- */

static int
read_at(const struct push *push, uint64_t offset, void *data, size_t size, size_t *ret_got,
    struct err *err)
{
	ssize_t got;

	do {
		got = pread(push->fd, data, size, (off_t)offset);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_sys(err, "cannot read '%s'", push->request->path);
	*ret_got = (size_t)got;

	return 0;
}

/* All of it, past the guard (may be NULL) and into the sink. */
static int
send_file(struct push *push, struct wal_guard *guard, struct sink *to, struct err *err)
{
	uint64_t offset = 0;
	size_t got = 1;

	while (got > 0) {
		if (stop_check(err) < 0 ||
		    read_at(push, offset, push->chunk, CHUNK_BYTES, &got, err) < 0)
			return -1;
		if (guard != NULL && wal_guard_feed(guard, push->chunk, got, err) < 0)
			return -1;
		if (got > 0 && sink_write(to, push->chunk, got, err) < 0)
			return -1;
		offset += got;
	}
	if (offset != push->bytes)
		return err_set(err, ERR_DATA, "'%s' has changed while it was read",
		    push->request->path);

	return guard != NULL ? wal_guard_end(guard, err) : 0;
}

static int
open_file(struct push *push, struct err *err)
{
	const char *path = push->request->path;
	struct stat st;

	push->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (push->fd < 0 || fstat(push->fd, &st) < 0) {
		(void)err_sys(err, "cannot open '%s'", path);
		return err_hint(err,
		    "In postgresql.conf, archive_command names it with %%p; the server runs it in its data directory.");
	}
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_DATA, "'%s' is not a file", path);
	push->bytes = (uint64_t)st.st_size;
	push->chunk = xmalloc(CHUNK_BYTES);

	return 0;
}

/* ---- what is there already ------------------------------------------------------------------ */

enum sameness {
	SAME,
	DIFFERENT,
	UNFINISHED, /* as far as it goes the same: a tail that is still being written */
};

/* Compares what passes with the server's file. */
struct compare_sink {
	struct sink base;
	const struct push *push;
	uint8_t *other;
	uint64_t offset;
	enum sameness sameness;
};

static size_t
first_difference(const uint8_t *a, const uint8_t *b, size_t size)
{
	size_t at = 0;

	while (at < size && a[at] == b[at])
		at++;

	return at;
}

/*
 * The first byte that differs decides.  Zero in a tail: it was not received yet; what is behind it
 * may be written while we look, and proves nothing.
 */
static int
compare_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct compare_sink *compare = (struct compare_sink *)sink;
	const uint8_t *stored = data;

	while (size > 0 && compare->sameness == SAME) {
		size_t got = 0, piece = size < CHUNK_BYTES ? size : CHUNK_BYTES;

		if (read_at(compare->push, compare->offset, compare->other, piece, &got, err) < 0)
			return -1;
		if (got == 0 || memcmp(stored, compare->other, got) != 0) {
			size_t at = first_difference(stored, compare->other, got);

			compare->sameness = at < got && stored[at] == 0 ? UNFINISHED : DIFFERENT;
		}
		compare->offset += got;
		stored += got;
		size -= got;
	}

	return 0;
}

static int
compare_finish(struct sink *sink, struct err *err)
{
	struct compare_sink *compare = (struct compare_sink *)sink;

	(void)err;
	if (compare->sameness == SAME && compare->offset != compare->push->bytes)
		compare->sameness = DIFFERENT;

	return 0;
}

static void
compare_free(struct sink *sink)
{
	(void)sink;
}

static const struct sink_ops compare_ops = {
	.name = "compare",
	.write = compare_write,
	.finish = compare_finish,
	.free = compare_free,
};

static int
compare(const struct push *push, struct blob *blob, enum sameness *ret_sameness, struct err *err)
{
	SCOPED(freep) uint8_t *other = xmalloc(CHUNK_BYTES);
	struct compare_sink to = {
		.base = { .ops = &compare_ops },
		.push = push,
		.other = other,
		.sameness = SAME,
	};

	if (wal_stored_read(blob, &to.base, err) < 0 || sink_finish(&to.base, err) < 0) {
		(void)err_wrap(err, "the archive's '%s'", blob->name);
		return err->kind != ERR_DATA
		    ? -1
		    : err_hint(err,
			  "Move the damaged file out of '%s': the server then pushes it again.",
			  push->archive->path);
	}
	*ret_sameness = to.sameness;

	return 0;
}

/*
 * A copy that an earlier push, or cp, left there: on disk only after this.  ERR_NOT_FOUND when it
 * has gone meanwhile.
 */
static int
make_durable(const struct push *push, const char *stored, struct err *err)
{
	SCOPED(freep) char *path = path_join(push->archive->path, stored);
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return err_set(err, ERR_NOT_FOUND, "'%s' has gone", path);
	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	if (fsync(fd) < 0)
		return err_sys(err, "cannot make '%s' durable", path);

	return dir_sync(push->archive->path, err);
}

static int
refuse_other(const struct push *push, const char *stored, struct err *err)
{
	SCOPED(freep)
	char *text = xasprintf("the server pushed another %s than the archive has as '%s'",
	    push->request->name, stored);
	SCOPED(freep) char *file = xstrdup(stored);
	struct archive_entry entry = { .name = file };
	struct archive_event event = {
		.kind = "conflict",
		.branch = push->segment[0] != '\0' ? (uint32_t)strtoul(push->segment, NULL, 16) : 0,
		.text = text,
		.is_once = true,
	};

	/* The server tries for ever; noted is when the copy that is in the way came. */
	if (archive_stat(push->archive, &entry, err) < 0)
		return -1;
	event.at = entry.modified;
	if (archive_note_event(push->archive, &event, err) < 0)
		return -1;
	(void)err_set(err, ERR_MISMATCH,
	    "'%s' is in the archive with other content, as '%s/%s': it was not touched",
	    push->request->name, push->archive->path, stored);

	return err_hint(err,
	    "Two servers write one archive, or a copy of this one was promoted: give this server a source of its own.");
}

/* Is it there, the same, in this form.  A different one is an error. */
static int
look_for(const struct push *push, const char *stored, bool is_tail, bool *ret_is_there,
    struct err *err)
{
	SCOPED(blob_freep) struct blob *blob = NULL;
	enum sameness sameness = SAME;

	if (wal_stored_open(push->archive, stored, &blob, err) < 0)
		return -1;
	if (blob == NULL)
		return 0;
	if (compare(push, blob, &sameness, err) < 0)
		return -1;
	if (sameness == UNFINISHED && is_tail)
		return 0;
	if (sameness != SAME)
		return refuse_other(push, stored, err);
	if (make_durable(push, stored, err) < 0)
		return err->kind == ERR_NOT_FOUND ? 0 : -1;
	*ret_is_there = true;

	return 0;
}

static int
look_for_segment(const struct push *push, bool *ret_is_there, struct err *err)
{
	static const enum wal_form forms[] = { WAL_FORM_PACKED, WAL_FORM_PLAIN, WAL_FORM_TAIL };
	char stored[WAL_STORED_NAME_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(forms) && !*ret_is_there; i++) {
		if (look_for(push, wal_stored_name(push->segment, forms[i], stored),
			forms[i] == WAL_FORM_TAIL, ret_is_there, err) < 0)
			return -1;
	}

	return 0;
}

/* ---- segments ------------------------------------------------------------------------------- */

/* The chain to a new file of the archive, compressed when it is to be. */
static struct sink *
open_target(const struct push *push, const char *stored, const struct str *note, struct err *err)
{
	const struct zstd_options options = {
		.level = push->request->compression_level,
		.workers = push->request->workers,
		.note = note,
		.frame_bytes = ZSTD_SMALL_FRAME_BYTES,
	};
	struct sink *to = archive_put(push->archive, stored, err);

	if (to == NULL || !str_ends_with(stored, ".zst"))
		return to;

	return zstd_sink_new(to, &options, err);
}

static int
explain_guard(const struct push *push, struct err *err)
{
	if (err->kind == ERR_REFUSED)
		return err_hint(err,
		    "This archive is of another server: give this one a source of its own, or type 'blackstart source adopt %s' if the server was rebuilt.",
		    push->archive->label);
	if (err->kind == ERR_DATA)
		return err_hint(err,
		    "It was not archived. Take a base backup soon: recovery cannot pass a damaged segment.");

	return -1;
}

/* The first segment decides whose archive it is. */
static int
claim(const struct push *push, const struct wal_guard *guard, struct err *err)
{
	char identity[24];

	if (push->archive->identity != NULL)
		return 0;
	(void)snprintf(identity, sizeof(identity), "%" PRIu64,
	    wal_guard_summary(guard)->system_identifier);

	return archive_claim(push->archive, identity, err);
}

/* What was found on the way goes with it; the check in its place in the log comes later. */
static void
write_note(const struct wal_guard *guard, struct str *note)
{
	SCOPED(wal_note_done)
	struct wal_note facts = {
		.segment_bytes = guard->segment_bytes,
		.timeline = guard->timeline,
		.segment = guard->segment,
	};

	wal_note_fill(&facts, wal_guard_summary(guard));
	wal_note_format(&facts, note);
}

static int
store_segment(struct push *push, const char *stored, enum wal_depth depth, struct err *err)
{
	SCOPED(wal_guard_done) struct wal_guard guard = { .reader = NULL };
	SCOPED(str_done) struct str note = STR_INIT_MAX(WAL_NOTE_MAX_BYTES);
	SCOPED(sink_freep) struct sink *to = open_target(push, stored, &note, err);

	if (to == NULL)
		return -1;
	wal_guard_init(&guard, push->segment, push->identifier, depth, depth == WAL_DEPTH_HEAD);
	if (send_file(push, &guard, to, err) < 0 || claim(push, &guard, err) < 0)
		return explain_guard(push, err);
	if (depth == WAL_DEPTH_RECORDS)
		write_note(&guard, &note);

	return sink_finish(to, err);
}

/*
 * Its pages must be right.  Records that are not are the server's own doing: keeping the segment
 * back would fill its disk and heal nothing.
 */
static int
store_sound_segment(struct push *push, const char *stored, struct err *err)
{
	struct err found;

	if (store_segment(push, stored, WAL_DEPTH_RECORDS, err) == 0)
		return 0;
	found = *err;
	if (found.kind != ERR_DATA || store_segment(push, stored, WAL_DEPTH_PAGES, err) < 0)
		return -1;
	log_warning("%s: archived as it is, continuing", found.msg);

	return 0;
}

/* Whose it is comes first: to be told of other content alone would lead astray. */
static int
check_head(const struct push *push, struct err *err)
{
	SCOPED(wal_guard_done) struct wal_guard guard = { .reader = NULL };
	size_t got = 0;

	wal_guard_init(&guard, push->segment, push->identifier, WAL_DEPTH_HEAD, true);
	if (read_at(push, 0, push->chunk, WAL_HEAD_BYTES, &got, err) < 0)
		return -1;

	return wal_guard_feed(&guard, push->chunk, got, err) < 0 ? explain_guard(push, err) : 0;
}

static int
push_segment(struct push *push, struct err *err)
{
	char stored[WAL_STORED_NAME_SIZE];
	enum wal_form form = push->request->compression_level > 0 ? WAL_FORM_PACKED
								  : WAL_FORM_PLAIN;

	(void)wal_stored_name(push->segment, form, stored);
	if (check_head(push, err) < 0)
		return -1;
	for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
		bool is_there = false;

		if (look_for_segment(push, &is_there, err) < 0)
			return -1;
		if (is_there || store_sound_segment(push, stored, err) == 0)
			return 0;
		if (err->kind != ERR_EXISTS)
			return -1;
	}

	return -1;
}

static int
hash_file(struct push *push, char *ret_hex, struct err *err)
{
	SCOPED(digest_done) struct digest digest = DIGEST_INIT;
	SCOPED(sink_freep) struct sink *to = digest_sink_new(NULL, &digest, err);

	if (to == NULL || send_file(push, NULL, to, err) < 0 || sink_finish(to, err) < 0)
		return -1;
	digest_sha256_hex(&digest, ret_hex);

	return 0;
}

/*
 * What a promotion leaves of the old timeline's last segment.  Two servers may each have one, and
 * both may be right: they are told apart by content, and never in each other's way.
 */
static int
push_end(struct push *push, struct err *err)
{
	char hex[DIGEST_SHA256_HEX_SIZE];
	SCOPED(freep) char *stored = NULL;
	bool is_there = false;

	if (hash_file(push, hex, err) < 0)
		return -1;
	stored = xasprintf("%s.partial-%.*s.zst", push->segment, END_HASH_DIGITS, hex);
	if (look_for(push, stored, false, &is_there, err) < 0 || is_there)
		return is_there ? 0 : -1;
	if (store_segment(push, stored, WAL_DEPTH_HEAD, err) == 0)
		return 0;

	return err->kind == ERR_EXISTS ? make_durable(push, stored, err) : -1;
}

/* ---- histories and labels --------------------------------------------------------------------- */

/* They do not say of which system they are, but the server that pushes them does. */
static int
check_server(const struct push *push, struct err *err)
{
	uint64_t identifier = wal_server_identifier(push->request->path);

	if (identifier == 0 || push->identifier == 0 || identifier == push->identifier)
		return 0;
	(void)err_set(err, ERR_REFUSED,
	    "'%s' is of another system: the server's identifier is %" PRIu64
	    ", the archive's is %" PRIu64,
	    push->request->name, identifier, push->identifier);

	return explain_guard(push, err);
}

static int
check_history(struct push *push, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(WAL_HISTORY_MAX_BYTES);
	struct wal_history history = { .timeline = 0 };
	uint32_t timeline = (uint32_t)strtoul(push->request->name, NULL, 16);
	SCOPED(sink_freep) struct sink *to = str_sink_new(&text);

	if (send_file(push, NULL, to, err) < 0)
		return -1;
	if (wal_history_parse(timeline, str_text(&text), text.size, &history, err) < 0)
		return err_wrap(err, "'%s'", push->request->name);
	wal_history_done(&history);

	return 0;
}

static int
push_small(struct push *push, struct err *err)
{
	const char *name = push->request->name;
	uint64_t max_bytes = push->file == WAL_FILE_HISTORY ? WAL_HISTORY_MAX_BYTES
							    : LABEL_MAX_BYTES;

	if (push->bytes == 0 || push->bytes > max_bytes)
		return err_set(err, ERR_DATA, "'%s' has %" PRIu64 " bytes", name, push->bytes);
	if (check_server(push, err) < 0 ||
	    (push->file == WAL_FILE_HISTORY && check_history(push, err) < 0))
		return -1;
	for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
		bool is_there = false;
		SCOPED(sink_freep) struct sink *to = NULL;

		if (look_for(push, name, false, &is_there, err) < 0)
			return -1;
		if (is_there)
			return 0;
		to = open_target(push, name, NULL, err);
		if (to != NULL && send_file(push, NULL, to, err) == 0 && sink_finish(to, err) == 0)
			return 0;
		if (err->kind != ERR_EXISTS)
			return -1;
	}

	return -1;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int
refuse_name(const struct push_request *request, struct err *err)
{
	(void)err_set(err, ERR_USAGE, "'%.80s' is no file of the write-ahead log", request->name);

	return err_hint(err,
	    "A segment is named like 00000001000000000000000A; archive_command passes its path with %%p.");
}

int
wal_push(struct archive *archive, const struct push_request *request, struct err *err)
{
	SCOPED(push_done)
	struct push push = {
		.archive = archive,
		.request = request,
		.file = wal_file_of(request->name),
		.fd = -1,
	};

	if (push.file == WAL_FILE_OTHER)
		return refuse_name(request, err);
	if (push.file != WAL_FILE_HISTORY)
		(void)snprintf(push.segment, sizeof(push.segment), "%.24s", request->name);
	if (open_file(&push, err) < 0 || wal_archive_identifier(archive, &push.identifier, err) < 0)
		return -1;
	switch (push.file) {
	case WAL_FILE_SEGMENT:
		return push_segment(&push, err);
	case WAL_FILE_PARTIAL:
		return push_end(&push, err);
	case WAL_FILE_HISTORY:
	case WAL_FILE_LABEL:
	case WAL_FILE_OTHER:
	default:
		return push_small(&push, err);
	}
}
