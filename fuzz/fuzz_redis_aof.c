/*
 * An AOF: its manifest, which what is formatted of it must be again; and its files, refused or read
 * the same however they are cut, never good for more bytes than they have.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "source/redis/aof/manifest.h"
#include "source/redis/aof/reader.h"
#include "stream/sink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
parse(const char *text, size_t size)
{
	struct aof_manifest manifest, again;
	struct err err = ERR_INIT;
	char *formatted;

	if (aof_manifest_parse(text, size, &manifest, &err) < 0) {
		assert(err.msg[0] != '\0');
		return;
	}
	formatted = aof_manifest_format(&manifest);
	if (formatted[0] != '\0') {
		assert(aof_manifest_parse(formatted, strlen(formatted), &again, &err) == 0);
		assert(again.files.count <= manifest.files.count);
		aof_manifest_done(&again);
	}
	free(formatted);
	aof_manifest_done(&manifest);
}

static int
read_in_pieces(const uint8_t *data, size_t size, size_t step, struct aof_summary *ret_summary)
{
	struct aof_reader *reader = aof_reader_new();
	struct sink *sink = aof_reader_file(reader, "appendonly.aof");
	struct err err = ERR_INIT;
	int result = 0;

	for (size_t at = 0; at < size && result == 0; at += step)
		result = sink_write(sink, data + at, size - at < step ? size - at : step, &err);
	if (result == 0)
		result = sink_finish(sink, &err);
	assert(result == 0 || err.msg[0] != '\0');
	*ret_summary = *aof_reader_summary(reader);
	sink_free(sink);
	aof_reader_free(reader);

	return result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct aof_summary whole, pieces;
	int result = read_in_pieces(data, size, size > 0 ? size : 1, &whole);

	parse((const char *)data, size);
	assert(read_in_pieces(data, size, 3, &pieces) == result);
	if (result == 0) {
		assert(whole.bytes == size && pieces.bytes == size);
		assert(whole.commands == pieces.commands);
		assert(whole.good_bytes == pieces.good_bytes && whole.good_bytes <= size);
		assert(whole.is_cut == (whole.good_bytes < size));
	}

	return 0;
}
