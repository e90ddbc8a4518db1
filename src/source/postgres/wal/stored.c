#include "source/postgres/wal/stored.h"

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/archive.h"
#include "source/postgres/wal/guard.h"
#include "source/postgres/wal/history.h"
#include "source/postgres/wal/names.h"
#include "stream/blob.h"
#include "stream/expand.h"
#include "stream/links.h"
#include "stream/sink.h"

enum {
	TIMELINE_DIGITS = 8,
	FAST_LEVEL = 1,
	FAST_HASH_LOG = 12,
	FRAME_BYTES = 256 * 1024,
};

int
wal_stored_open(struct archive *archive, const char *stored, struct blob **ret_blob,
    struct err *err)
{
	struct blob *blob = archive_get(archive, stored, err);

	if (blob == NULL && err->kind != ERR_NOT_FOUND)
		return -1;
	*ret_blob = blob;

	return 0;
}

int
wal_stored_read(struct blob *blob, struct sink *to, struct err *err)
{
	const struct expand_options options = { .is_zstd = str_ends_with(blob->name, ".zst") };

	return expand(blob, &options, to, err);
}

struct sink *
wal_compress(struct sink *to, int level, unsigned workers, const struct str *note, struct err *err)
{
	const struct zstd_options options = {
		.level = level,
		.workers = workers,
		.note = note,
		.frame_bytes = FRAME_BYTES,
		.hash_log = level == FAST_LEVEL ? FAST_HASH_LOG : 0,
	};

	return zstd_sink_new(to, &options, err);
}

int
wal_stored_read_history(struct blob *blob, const char *name, struct sink *to, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(WAL_HISTORY_MAX_BYTES);
	SCOPED(sink_freep) struct sink *into = str_sink_new(&text);
	SCOPED(wal_history_done) struct wal_history history = { .timeline = 0 };
	char digits[TIMELINE_DIGITS + 1];
	uint64_t timeline;

	(void)snprintf(digits, sizeof(digits), "%s", name);
	if (parse_hex_u64(digits, TIMELINE_DIGITS, &timeline, err) < 0 ||
	    wal_stored_read(blob, into, err) < 0)
		return -1;
	/* A server skips what is empty, and takes a file of zeros for a timeline without parents. */
	if (wal_history_parse((uint32_t)timeline, str_text(&text), text.size, &history, err) < 0)
		return err_wrap(err, "'%s' in the archive", name);
	/* The server ends each line: without its end the last position may have lost its last digits. */
	if (text.size > 0 && str_text(&text)[text.size - 1] != '\n')
		return err_set(err, ERR_DATA, "'%s' in the archive is cut off", name);

	return sink_write(to, str_text(&text), text.size, err);
}

/* The first segment that a listing happens to show. */
struct sample {
	struct archive_visitor base;
	char name[WAL_NAME_SIZE];
	char stored[WAL_STORED_NAME_SIZE];
};

static int
take_segment(struct archive_visitor *visitor, const char *name, struct err *err)
{
	struct sample *sample = (struct sample *)visitor;
	enum wal_form form = wal_form_of(name, sample->name);

	(void)err;
	if (form != WAL_FORM_PACKED && form != WAL_FORM_PLAIN && form != WAL_FORM_TAIL)
		return 0;
	(void)wal_stored_name(sample->name, form, sample->stored);

	return 1;
}

static int
identifier_of(struct archive *archive, const struct sample *sample, uint64_t *ret_identifier,
    struct err *err)
{
	SCOPED(blob_freep) struct blob *blob = NULL;
	SCOPED(wal_guard_done) struct wal_guard guard = { .reader = NULL };
	SCOPED(sink_freep) struct sink *to = NULL;

	wal_guard_init(&guard, sample->name, 0, WAL_DEPTH_HEAD, true);
	to = wal_guard_sink_new(null_sink_new(), &guard);
	if (wal_stored_open(archive, sample->stored, &blob, err) < 0)
		return -1;
	if (blob == NULL)
		return 0;
	if (wal_stored_read(blob, to, err) < 0)
		return err_wrap(err, "'%s'", sample->stored);
	if (guard.reader != NULL)
		*ret_identifier = wal_guard_summary(&guard)->system_identifier;

	return 0;
}

int
wal_archive_identifier(struct archive *archive, uint64_t *ret_identifier, struct err *err)
{
	struct sample sample = { .base = { .visit = take_segment } };

	*ret_identifier = 0;
	if (archive->identity != NULL) {
		if (parse_u64(archive->identity, 1, UINT64_MAX, ret_identifier, err) < 0)
			return err_wrap(err, "identity of source '%s'", archive->label);
		return 0;
	}
	if (archive_scan(archive, &sample.base, err) < 0)
		return -1;

	return sample.stored[0] != '\0' ? identifier_of(archive, &sample, ret_identifier, err) : 0;
}
