#include "source/postgres/wal/twin.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/archive.h"
#include "stream/blob.h"
#include "stream/expand.h"
#include "stream/sink.h"

enum { CHUNK_BYTES = 256 * 1024 };

/* Takes the whole one's bytes, and reads the plain one's beside them. */
struct twin_sink {
	struct sink base;
	struct blob *plain;
	uint64_t at;
	bool is_beyond; /* they differed: from there on the plain one must be zeros */
	bool is_other;
	uint8_t data[CHUNK_BYTES];
};

/* `size` bytes of both, the plain one's in twin->data. */
static void
judge(struct twin_sink *twin, const uint8_t *whole, size_t size)
{
	size_t same = 0;

	if (!twin->is_beyond && memcmp(twin->data, whole, size) == 0)
		return;
	while (!twin->is_beyond && twin->data[same] == whole[same])
		same++;
	twin->is_beyond = true;
	twin->is_other = twin->is_other || !mem_is_zero(twin->data + same, size - same);
}

static int
twin_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct twin_sink *twin = (struct twin_sink *)sink;
	const uint8_t *whole = data;

	while (size > 0 && !twin->is_other) {
		uint64_t left = twin->plain->size_bytes - twin->at;
		size_t take = size < sizeof(twin->data) ? size : sizeof(twin->data);

		if (left == 0) {
			twin->is_beyond = true;
			return 0;
		}
		if (take > left)
			take = (size_t)left;
		if (blob_read_at(twin->plain, twin->at, twin->data, take, err) < 0)
			return -1;
		judge(twin, whole, take);
		twin->at += take;
		whole += take;
		size -= take;
	}

	return 0;
}

static const struct sink_ops twin_ops = { .name = "twin", .write = twin_write };

int
wal_twin_compare(struct archive *archive, const char *plain, const char *whole,
    enum wal_twin *ret_twin, struct err *err)
{
	const struct expand_options options = { .is_zstd = str_ends_with(whole, ".zst") };
	SCOPED(blob_freep) struct blob *plain_blob = archive_get(archive, plain, err);
	SCOPED(blob_freep)
	struct blob *whole_blob = plain_blob != NULL ? archive_get(archive, whole, err) : NULL;
	SCOPED(freep) struct twin_sink *twin = xcalloc(1, sizeof(*twin));

	if (whole_blob == NULL)
		return -1;
	twin->base.ops = &twin_ops;
	twin->plain = plain_blob;
	if (expand(whole_blob, &options, &twin->base, err) < 0)
		return -1;
	/* More than the whole one has is something else, too. */
	if (twin->is_other || twin->at < plain_blob->size_bytes)
		*ret_twin = WAL_TWIN_OTHER;
	else
		*ret_twin = twin->is_beyond ? WAL_TWIN_BEGINNING : WAL_TWIN_SAME;

	return 0;
}
