#include "source/postgres/wal/push.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
#include "source/postgres/wal/offered.h"
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
	struct wal_offered offered;
	uint8_t *chunk; /* CHUNK_BYTES */
};

static void
push_done(struct push *push)
{
	wal_offered_done(&push->offered);
	free(push->chunk);
}

/* ---- the server's file ---------------------------------------------------------------------- */

/* The next piece of it past the guard (may be NULL) and into the sink; *ret_got is 0 at its end. */
static int
send_piece(struct push *push, uint64_t offset, struct wal_guard *guard, struct sink *to,
    size_t *ret_got, struct err *err)
{
	void *room;
	size_t size;

	if (sink_room(to, &room, &size, err) < 0)
		return -1;
	if (room == NULL) {
		room = push->chunk;
		size = CHUNK_BYTES;
	}
	if (size > CHUNK_BYTES)
		size = CHUNK_BYTES;
	if (wal_offered_read(&push->offered, offset, room, size, ret_got, err) < 0)
		return -1;
	if (guard != NULL && wal_guard_feed(guard, room, *ret_got, err) < 0)
		return -1;

	return sink_write(to, room, *ret_got, err);
}

static int
send_file(struct push *push, struct wal_guard *guard, struct sink *to, struct err *err)
{
	uint64_t offset = 0;
	size_t got = 1;

	while (got > 0) {
		if (stop_check(err) < 0 || send_piece(push, offset, guard, to, &got, err) < 0)
			return -1;
		offset += got;
	}
	if (offset != push->offered.bytes)
		return err_set(err, ERR_DATA, "'%s' has changed while it was read",
		    push->request->path);

	return guard != NULL ? wal_guard_end(guard, err) : 0;
}

/* ---- what is there already ------------------------------------------------------------------ */

static int
compare(const struct push *push, struct blob *blob, enum wal_sameness *ret_sameness,
    struct err *err)
{
	if (wal_offered_compare(&push->offered, blob, ret_sameness, err) == 0)
		return 0;
	(void)err_wrap(err, "the archive's '%s'", blob->name);
	if (err->kind != ERR_DATA)
		return -1;

	return err_hint(err, "Move the damaged file out of '%s': the server then pushes it again.",
	    push->archive->path);
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
	enum wal_sameness sameness = WAL_SAME;

	if (wal_stored_open(push->archive, stored, &blob, err) < 0)
		return -1;
	if (blob == NULL)
		return 0;
	if (compare(push, blob, &sameness, err) < 0)
		return -1;
	if (sameness == WAL_UNFINISHED && is_tail)
		return 0;
	if (sameness != WAL_SAME)
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
	const struct push_request *request = push->request;
	struct sink *to = archive_put(push->archive, stored, err);

	if (to == NULL || !str_ends_with(stored, ".zst"))
		return to;

	return wal_compress(to, request->compression_level, request->workers, note, err);
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
	if (wal_offered_read(&push->offered, 0, push->chunk, WAL_HEAD_BYTES, &got, err) < 0)
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

	if (push->offered.bytes == 0 || push->offered.bytes > max_bytes)
		return err_set(err, ERR_DATA, "'%s' has %" PRIu64 " bytes", name,
		    push->offered.bytes);
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
		.offered = { .fd = -1 },
	};

	if (push.file == WAL_FILE_OTHER)
		return refuse_name(request, err);
	if (push.file != WAL_FILE_HISTORY)
		(void)snprintf(push.segment, sizeof(push.segment), "%.24s", request->name);
	push.chunk = xmalloc(CHUNK_BYTES);
	if (wal_offered_open(&push.offered, request->path, err) < 0 ||
	    wal_archive_identifier(archive, &push.identifier, err) < 0)
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
