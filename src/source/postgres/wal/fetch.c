#include "source/postgres/wal/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "base/str.h"
#include "os/file.h"
#include "source/archive.h"
#include "source/postgres/wal/guard.h"
#include "source/postgres/wal/history.h"
#include "source/postgres/wal/names.h"
#include "source/postgres/wal/reader_internal.h"
#include "source/postgres/wal/stored.h"
#include "source/postgres/wal/torn.h"
#include "stream/blob.h"
#include "stream/links.h"
#include "stream/sink.h"

enum {
	/* A segment that is settled has another name between two looks at the folder. */
	ATTEMPTS = 3,
	PAGE_HEADER_BYTES = 16,
	ZERO_CHUNK_BYTES = 1024 * 1024,
};

struct delivery {
	struct archive *archive;
	const char *name;
	uint64_t identifier; /* the system it must be of, 0: any */
	bool is_foreign;     /* the archive is of another system by now */
	int fd;
	const char *fd_name;
	struct wal_delivery *result;
};

/* ---- one copy ------------------------------------------------------------------------------- */

static int
empty_target(const struct delivery *delivery, struct err *err)
{
	if (ftruncate(delivery->fd, 0) < 0 || lseek(delivery->fd, 0, SEEK_SET) < 0)
		return err_sys(err, "cannot write '%s'", delivery->fd_name);

	return 0;
}

/* A short tail gets the zeros that the server expects behind it. */
static int
fill_up(const struct delivery *delivery, const struct wal_guard *guard, struct err *err)
{
	if (guard->bytes < guard->segment_bytes &&
	    ftruncate(delivery->fd, (off_t)guard->segment_bytes) < 0)
		return err_sys(err, "cannot write '%s'", delivery->fd_name);

	return 0;
}

static int
copy_segment(const struct delivery *delivery, struct blob *blob, struct wal_guard *guard,
    struct err *err)
{
	SCOPED(sink_freep)
	struct sink *to = wal_guard_sink_new(fd_sink_new(delivery->fd, delivery->fd_name), guard);

	if (empty_target(delivery, err) < 0 || wal_stored_read(blob, to, err) < 0 ||
	    sink_finish(to, err) < 0 || fill_up(delivery, guard, err) < 0)
		return err_wrap(err, "'%s'", blob->name);
	delivery->result->bytes = guard->segment_bytes;

	return 0;
}

/* ---- where a timeline ends --------------------------------------------------------------------- */

struct lookup_visitor {
	struct archive_visitor base;
	struct wal_lookup lookup;
};

static int
see_name(struct archive_visitor *visitor, const char *name, struct err *err)
{
	(void)err;
	wal_lookup_see(&((struct lookup_visitor *)visitor)->lookup, name);

	return 0;
}

/* All names of the folder, seen once. */
static int
look_around(const struct delivery *delivery, struct wal_lookup *ret_lookup, struct err *err)
{
	struct lookup_visitor visitor = { .base = { .visit = see_name } };

	wal_lookup_begin(&visitor.lookup, delivery->name);
	if (archive_scan(delivery->archive, &visitor.base, err) < 0)
		return err_wrap(err, "what the archive has of this timeline is not known");
	*ret_lookup = visitor.lookup;

	return 0;
}

/* Is there a later segment of the timeline: mostly the next one, so that is tried first. */
static int
goes_on(const struct delivery *delivery, uint64_t segment_bytes, bool *ret_goes_on, struct err *err)
{
	struct wal_lookup lookup;
	uint32_t timeline;
	uint64_t segment;

	if (wal_name_parse(delivery->name, segment_bytes, &timeline, &segment)) {
		char next[WAL_NAME_SIZE], stored[WAL_STORED_NAME_SIZE];

		(void)wal_name_format(timeline, segment + 1, segment_bytes, next);
		for (int form = WAL_FORM_PACKED; form <= WAL_FORM_TAIL; form++) {
			SCOPED(freep)
			char *path = path_join(delivery->archive->path,
			    wal_stored_name(next, (enum wal_form)form, stored));

			*ret_goes_on = file_exists(path);
			if (*ret_goes_on)
				return 0;
		}
	}
	if (look_around(delivery, &lookup, err) < 0)
		return -1;
	*ret_goes_on = lookup.later[0] != '\0';

	return 0;
}

/*
 * Is a page behind the last good one right as well.  Then something is damaged; where WAL simply
 * ends, what an earlier use of the file left stands behind, and is of another place.
 */
static int
has_more_pages(const struct wal_guard *guard, struct blob *blob, bool *ret_has, struct err *err)
{
	const struct wal_summary *found = wal_guard_summary(guard);
	uint64_t begin = guard->segment * guard->segment_bytes;
	uint64_t at = found->page_lsn >= begin ? found->page_lsn - begin + WAL_PAGE_BYTES : 0;

	for (*ret_has = false; at < guard->segment_bytes && !*ret_has; at += WAL_PAGE_BYTES) {
		uint8_t header[PAGE_HEADER_BYTES];

		if (blob_read_at(blob, at, header, sizeof(header), err) < 0)
			return -1;
		*ret_has = wal_u64(header + 8) == begin + at &&
		    (wal_u64(header) & 0xFFFF) == found->magic;
	}

	return 0;
}

/*
 * A segment that a person copied from pg_wal of a dead server: its WAL ends somewhere, and behind
 * that is rubbish.  It will do where nothing follows; PostgreSQL finds the end as we do.
 */
static int
take_dead_end(const struct delivery *delivery, struct blob *blob, const struct wal_guard *checked,
    struct err *err)
{
	SCOPED(wal_guard_done) struct wal_guard guard = { .reader = NULL };
	bool has_later = false, is_damaged = false;
	struct err other = ERR_INIT;

	if (err->kind != ERR_DATA || checked->segment_bytes == 0 ||
	    blob->size_bytes != checked->segment_bytes)
		return -1;
	if (goes_on(delivery, checked->segment_bytes, &has_later, &other) < 0 || has_later ||
	    has_more_pages(checked, blob, &is_damaged, &other) < 0 || is_damaged)
		return -1;
	wal_guard_init(&guard, delivery->name, delivery->identifier, WAL_DEPTH_HEAD, false);
	if (copy_segment(delivery, blob, &guard, err) < 0)
		return -1;
	(void)snprintf(delivery->result->note, sizeof(delivery->result->note),
	    "'%s' is not whole, and the last of its timeline: recovery ends in it", blob->name);

	return 0;
}

/* ---- the forms of a segment ------------------------------------------------------------------- */

static int
take_whole(const struct delivery *delivery, struct blob *blob, enum wal_form form, struct err *err)
{
	SCOPED(wal_guard_done) struct wal_guard guard = { .reader = NULL };

	wal_guard_init(&guard, delivery->name, delivery->identifier, WAL_DEPTH_RECORDS, false);
	if (copy_segment(delivery, blob, &guard, err) == 0)
		return 0;

	return form == WAL_FORM_PLAIN ? take_dead_end(delivery, blob, &guard, err) : -1;
}

/* Nothing but zeros: a tail that was made, and that nothing was received into. */
static int
is_all_zero(struct blob *blob, bool *ret_is_zero, struct err *err)
{
	SCOPED(freep) uint8_t *data = xmalloc(ZERO_CHUNK_BYTES);

	*ret_is_zero = true;
	for (uint64_t at = 0; at < blob->size_bytes && *ret_is_zero; at += ZERO_CHUNK_BYTES) {
		uint64_t left = blob->size_bytes - at;
		size_t size = left < ZERO_CHUNK_BYTES ? (size_t)left : ZERO_CHUNK_BYTES;

		if (blob_read_at(blob, at, data, size, err) < 0)
			return -1;
		*ret_is_zero = mem_is_zero(data, size);
	}

	return 0;
}

/*
 * The tail of a machine that lost its power will do: recovery ends at the first record that is not
 * whole.  Otherwise the disk or somebody has damaged it, and rows may lack that were acknowledged.
 */
static int
take_torn_tail(const struct delivery *delivery, struct blob *blob, const struct wal_guard *checked,
    bool *ret_is_there, struct err *err)
{
	SCOPED(wal_guard_done) struct wal_guard guard = { .reader = NULL };
	const struct wal_summary *found = wal_guard_summary(checked);
	uint64_t begin = checked->segment * checked->segment_bytes;
	uint64_t from = found != NULL && found->end_lsn > begin ? found->end_lsn - begin : 0;
	uint8_t head[8];
	bool is_torn = false;
	struct err other = ERR_INIT;

	if (err->kind != ERR_DATA || wal_torn_look(blob, from, &is_torn, &other) < 0 || !is_torn ||
	    blob_read_at(blob, 0, head, sizeof(head), &other) < 0)
		return -1;
	(void)snprintf(delivery->result->note, sizeof(delivery->result->note),
	    "'%s' was torn by a power failure: recovery ends at its last whole record", blob->name);
	err_clear(err);
	/* Not even its first page was synced: nothing of it was acknowledged. */
	*ret_is_there = wal_u64(head) != 0;
	if (!*ret_is_there)
		return 0;
	wal_guard_init(&guard, delivery->name, delivery->identifier, WAL_DEPTH_HEAD, true);

	return copy_segment(delivery, blob, &guard, err);
}

static int
take_tail(const struct delivery *delivery, struct blob *blob, bool *ret_is_there, struct err *err)
{
	SCOPED(wal_guard_done) struct wal_guard guard = { .reader = NULL };
	bool is_whole = false, is_zero = false;

	if (blob->size_bytes == 0)
		return err_set(err, ERR_DATA, "'%s' is empty", blob->name);
	/* A tail is made in full size, so its length tells the size of segments. */
	if (goes_on(delivery, blob->size_bytes, &is_whole, err) < 0 ||
	    (!is_whole && is_all_zero(blob, &is_zero, err) < 0))
		return -1;
	*ret_is_there = !is_zero;
	delivery->result->is_growing = !is_whole;
	if (is_zero)
		return 0;
	wal_guard_init(&guard, delivery->name, delivery->identifier, WAL_DEPTH_RECORDS, !is_whole);
	if (copy_segment(delivery, blob, &guard, err) == 0)
		return 0;

	return is_whole ? -1 : take_torn_tail(delivery, blob, &guard, ret_is_there, err);
}

/* 0 with *ret_is_there false: it is not there in this form. */
static int
try_form(const struct delivery *delivery, enum wal_form form, bool *ret_is_there, struct err *err)
{
	SCOPED(blob_freep) struct blob *blob = NULL;
	char stored[WAL_STORED_NAME_SIZE];

	if (wal_stored_open(delivery->archive, wal_stored_name(delivery->name, form, stored), &blob,
		err) < 0)
		return -1;
	if (blob == NULL || (form == WAL_FORM_TAIL && MUTANT("drop-partial")))
		return 0;
	*ret_is_there = true;

	return form == WAL_FORM_TAIL ? take_tail(delivery, blob, ret_is_there, err)
				     : take_whole(delivery, blob, form, err);
}

/* The best copy there is; one that is damaged gives way to one that is not, and is told of. */
static int
try_forms(const struct delivery *delivery, bool *ret_is_there, struct err *err)
{
	struct err first = ERR_INIT;

	for (int form = WAL_FORM_PACKED; form <= WAL_FORM_TAIL; form++) {
		bool is_there = false;

		if (try_form(delivery, (enum wal_form)form, &is_there, err) == 0) {
			if (!is_there)
				continue;
			if (first.kind != ERR_NONE)
				(void)snprintf(delivery->result->note,
				    sizeof(delivery->result->note),
				    "%s: another copy of it is sound and was taken", first.msg);
			*ret_is_there = true;
			return 0;
		}
		if (first.kind == ERR_NONE)
			first = *err;
	}
	if (first.kind == ERR_NONE)
		return 0;
	*err = first;

	return -1;
}

/* ---- absent, for certain ---------------------------------------------------------------------- */

static int
refuse_hole(const struct delivery *delivery, const struct wal_lookup *lookup, struct err *err)
{
	(void)err_set(err, ERR_DATA,
	    "segment %s is missing in '%s', but the timeline goes on with %s", delivery->name,
	    delivery->archive->path, lookup->later);

	return err_hint(err,
	    "'blackstart window %s' shows to where it can be brought back; recovery beyond the gap would lose data without a word.",
	    delivery->archive->label);
}

/* A folder without any segment is more likely the wrong one, or not mounted, than an archive. */
/* What was rebuilt and adopted leaves the old system's log here; that it ends cannot be told. */
static int
refuse_foreign(const struct delivery *delivery, struct err *err)
{
	(void)err_set(err, ERR_REFUSED,
	    "the archive of source '%s' is of system %s, the server that asks is %" PRIu64,
	    delivery->archive->label, delivery->archive->identity, delivery->identifier);

	return err_hint(err, "Name the right source in restore_command with --source.");
}

static int
check_is_archive(const struct delivery *delivery, const struct wal_lookup *lookup, struct err *err)
{
	if (lookup->segments > 0)
		return delivery->is_foreign ? refuse_foreign(delivery, err) : 0;
	(void)err_set(err, ERR_NOT_FOUND,
	    "'%s' has no segment at all: whether %s was ever there cannot be told",
	    delivery->archive->path, delivery->name);

	return err_hint(err,
	    "Check --source and that the store is mounted; to recover without an archive, remove restore_command.");
}

static int
deliver_segment(const struct delivery *delivery, struct err *err)
{
	struct wal_lookup lookup;

	for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
		bool is_there = false;

		if (try_forms(delivery, &is_there, err) < 0)
			return -1;
		delivery->result->result = FETCH_DELIVERED;
		if (is_there)
			return 0;
		if (look_around(delivery, &lookup, err) < 0 ||
		    check_is_archive(delivery, &lookup, err) < 0)
			return -1;
		switch (wal_lookup_answer(&lookup)) {
		case WAL_ABSENT:
			delivery->result->result = FETCH_ABSENT;
			return 0;
		case WAL_TAIL: /* looked at, and empty; or it has just come */
			if (!delivery->result->is_growing)
				break;
			delivery->result->result = FETCH_ABSENT;
			return 0;
		case WAL_HOLE:
			return refuse_hole(delivery, &lookup, err);
		case WAL_WHOLE:
		default:
			break; /* it has come, or was renamed, meanwhile */
		}
	}

	return err_set(err, ERR_IO, "segment %s appears and disappears in '%s'", delivery->name,
	    delivery->archive->path);
}

static int
deliver_small(const struct delivery *delivery, struct err *err)
{
	SCOPED(blob_freep) struct blob *blob = NULL;
	SCOPED(sink_freep) struct sink *to = fd_sink_new(delivery->fd, delivery->fd_name);
	struct wal_lookup lookup;

	if (wal_stored_open(delivery->archive, delivery->name, &blob, err) < 0)
		return -1;
	if (blob != NULL) {
		delivery->result->bytes = blob->size_bytes;
		if (blob->size_bytes == 0 || blob->size_bytes > WAL_HISTORY_MAX_BYTES)
			return err_set(err, ERR_DATA, "'%s' in the archive has %" PRIu64 " bytes",
			    delivery->name, blob->size_bytes);
		if (empty_target(delivery, err) < 0)
			return -1;
		return wal_file_of(delivery->name) == WAL_FILE_HISTORY
		    ? wal_stored_read_history(blob, delivery->name, to, err)
		    : wal_stored_read(blob, to, err);
	}
	delivery->result->result = FETCH_ABSENT;

	return look_around(delivery, &lookup, err) < 0 ? -1
						       : check_is_archive(delivery, &lookup, err);
}

/* Segments must be of the server that asks; where it is not known, of the archive's. */
static int
agree_on_system(struct delivery *delivery, uint64_t asking, struct err *err)
{
	uint64_t known = 0;

	if (wal_archive_identifier(delivery->archive, &known, err) < 0)
		return -1;
	delivery->identifier = asking != 0 ? asking : known;
	delivery->is_foreign = delivery->archive->identity != NULL && delivery->identifier != known;

	return 0;
}

int
wal_deliver(struct archive *archive, const char *name, uint64_t system_identifier, int fd,
    const char *fd_name, struct wal_delivery *ret_delivery, struct err *err)
{
	struct wal_delivery result = { .result = FETCH_DELIVERED };
	struct delivery delivery = {
		.archive = archive,
		.name = name,
		.fd = fd,
		.fd_name = fd_name,
		.result = &result,
	};
	enum wal_file file = wal_file_of(name);

	if (file == WAL_FILE_OTHER || file == WAL_FILE_PARTIAL) {
		(void)err_set(err, ERR_USAGE, "'%.80s' is no file that recovery asks for", name);
		return err_hint(err,
		    "restore_command passes the name with %%f, the path with %%p.");
	}
	if (agree_on_system(&delivery, system_identifier, err) < 0)
		return -1;
	if ((file == WAL_FILE_SEGMENT ? deliver_segment(&delivery, err)
				      : deliver_small(&delivery, err)) < 0)
		return -1;
	*ret_delivery = result;

	return 0;
}

/* ---- into a path -------------------------------------------------------------------------------- */

struct half_file {
	char *path;
	int fd;
};

static void
half_file_done(struct half_file *half)
{
	closep(&half->fd);
	if (half->path != NULL)
		(void)unlink(half->path);
	free(half->path);
}

/*
 * Beside the path and under a fixed name, so that a killed one leaves one file at most.  No fsync:
 * the server copes with its loss by asking again.
 */
int
wal_fetch(struct archive *archive, const char *name, const char *to_path,
    enum fetch_result *ret_result, struct err *err)
{
	SCOPED(half_file_done)
	struct half_file half = { .path = xasprintf("%s.blackstart", to_path), .fd = -1 };
	struct wal_delivery delivery;

	half.fd = open(half.path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (half.fd < 0)
		return err_sys(err, "cannot write '%s'", half.path);
	if (wal_deliver(archive, name, wal_server_identifier(to_path), half.fd, half.path,
		&delivery, err) < 0)
		return -1;
	if (delivery.note[0] != '\0')
		log_warning("%s, continuing", delivery.note);
	*ret_result = delivery.result;
	if (delivery.result == FETCH_ABSENT)
		return 0;
	if (rename(half.path, to_path) < 0)
		return err_sys(err, "cannot give '%s' its name", to_path);
	free(TAKE(half.path));

	return 0;
}
