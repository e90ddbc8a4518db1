/* The server's manifest: any bytes are refused or read, the same however they are cut. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "source/postgres/base/check.h"
#include "source/postgres/base/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
on_file(void *context, const struct base_manifest_file *file, struct err *err)
{
	uint64_t *files = context;

	(void)err;
	assert(file->path_size > 0 && strlen(file->path) == file->path_size);
	assert(file->size_bytes <= INT64_MAX);
	(*files)++;

	return 0;
}

static int
on_range(void *context, const struct base_manifest_range *range, struct err *err)
{
	(void)context;
	(void)err;
	assert(range->start_lsn <= range->end_lsn);

	return 0;
}

/* Read it in pieces of `step` bytes; -1 when it was refused. */
static int
read_in_pieces(const uint8_t *data, size_t size, size_t step, uint64_t *ret_files)
{
	const struct base_manifest_handler handler = {
		.file = on_file,
		.range = on_range,
		.context = ret_files,
	};
	struct base_manifest *manifest = base_manifest_new(&handler);
	struct base_manifest_summary summary;
	struct err err = ERR_INIT;
	int result = 0;

	for (size_t at = 0; at < size && result == 0; at += step)
		result = base_manifest_feed(manifest, data + at,
		    size - at < step ? size - at : step, &err);
	if (result == 0)
		result = base_manifest_finish(manifest, &summary, &err);
	assert(result == 0 || err.msg[0] != '\0');
	assert(result < 0 || summary.files == *ret_files);
	base_manifest_free(manifest);

	return result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole_files = 0;
	uint64_t piece_files = 0;
	int whole = read_in_pieces(data, size, size > 0 ? size : 1, &whole_files);
	int pieces = read_in_pieces(data, size, 7, &piece_files);

	assert(whole == pieces);
	assert(whole_files == piece_files);

	return 0;
}
