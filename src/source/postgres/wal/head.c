#include "source/postgres/wal/head.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/archive.h"
#include "source/postgres/wal/note.h"
#include "source/postgres/wal/reader_internal.h"
#include "stream/blob.h"
#include "stream/blob_note.h"
#include "stream/expand.h"
#include "stream/sink.h"

/* Of the long header, access/xlog_internal.h. */
enum {
	AT_INFO = 2,
	AT_SYSTEM_IDENTIFIER = 24,
	AT_SEGMENT_BYTES = 32,
	AT_PAGE_BYTES = 36,
	SEGMENT_MIN_BYTES = 1024 * 1024,
	SEGMENT_MAX_BYTES = 1024 * 1024 * 1024,
};

/* Keeps the first bytes, and stops what pushes when it has them. */
struct head_sink {
	struct sink base;
	uint8_t data[WAL_LONG_HEADER_BYTES];
	size_t size;
};

static int
head_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct head_sink *head = (struct head_sink *)sink;
	size_t room = sizeof(head->data) - head->size;
	size_t take = size < room ? size : room;

	memcpy(head->data + head->size, data, take);
	head->size += take;

	return head->size < sizeof(head->data) ? 0 : err_set(err, ERR_LIMIT, "it is enough");
}

static const struct sink_ops head_ops = { .name = "head", .write = head_write };

/* The first bytes of what a blob expands to. */
static int
expand_head(struct blob *blob, struct head_sink *head, struct err *err)
{
	const struct expand_options options = { .is_zstd = str_ends_with(blob->name, ".zst") };

	if (expand(blob, &options, &head->base, err) < 0 && head->size < sizeof(head->data))
		return -1;
	if (head->size < sizeof(head->data))
		return err_set(err, ERR_DATA, "'%s' has only %zu bytes", blob->name, head->size);
	err_clear(err);

	return 0;
}

static int
parse_head(const uint8_t *data, const char *name, struct wal_head *ret_head, struct err *err)
{
	uint32_t segment_bytes = wal_u32(data + AT_SEGMENT_BYTES);

	if ((wal_u16(data + AT_INFO) & WAL_PAGE_LONG) == 0 ||
	    wal_u32(data + AT_PAGE_BYTES) != WAL_PAGE_BYTES || segment_bytes < SEGMENT_MIN_BYTES ||
	    segment_bytes > SEGMENT_MAX_BYTES || (segment_bytes & (segment_bytes - 1)) != 0)
		return err_set(err, ERR_DATA, "'%s' does not begin like a segment of WAL", name);
	ret_head->system_identifier = wal_u64(data + AT_SYSTEM_IDENTIFIER);
	ret_head->segment_bytes = segment_bytes;

	return 0;
}

static int
read_note(struct blob *blob, struct wal_head *ret_head)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(WAL_NOTE_MAX_BYTES);
	SCOPED(wal_note_done) struct wal_note note = { .segment_bytes = 0 };
	struct err ignored = ERR_INIT;

	if (blob_note_read(blob, WAL_NOTE_MAX_BYTES, &text, &ignored) < 0 ||
	    wal_note_parse(str_text(&text), text.size, &note, &ignored) < 0)
		return -1;
	ret_head->system_identifier = note.system_identifier;
	ret_head->segment_bytes = note.segment_bytes;

	return 0;
}

int
wal_head_read(struct archive *archive, const char *stored, struct wal_head *ret_head,
    struct err *err)
{
	SCOPED(blob_freep) struct blob *blob = archive_get(archive, stored, err);
	struct head_sink head = { .base = { .ops = &head_ops } };

	if (blob == NULL)
		return -1;
	if (str_ends_with(stored, ".zst") && read_note(blob, ret_head) == 0)
		return 0;
	if (expand_head(blob, &head, err) < 0)
		return -1;

	return parse_head(head.data, stored, ret_head, err);
}
