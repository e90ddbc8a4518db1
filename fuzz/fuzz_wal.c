/* WAL: any bytes are refused or read, the same however they are cut, and as far. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "source/postgres/wal/reader.h"

enum { SEGMENT_BYTES = 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The segment that the bytes say to be, so that they get past the first check. */
static struct wal_options
options_of(const uint8_t *data, size_t size)
{
	uint32_t timeline = 1;
	uint64_t address = 0;

	if (size >= 16) {
		memcpy(&timeline, data + 4, sizeof(timeline));
		memcpy(&address, data + 8, sizeof(address));
	}

	return (struct wal_options){
		.depth = WAL_DEPTH_RECORDS,
		.timeline = timeline,
		.segment = address / SEGMENT_BYTES,
		.segment_bytes = SEGMENT_BYTES,
		.is_unfinished = size % 2 == 0,
	};
}

static struct wal_reader *
read_in_pieces(const uint8_t *data, size_t size, size_t step, int *ret_result)
{
	const struct wal_options options = options_of(data, size);
	struct wal_reader *reader = wal_reader_new(&options);
	struct err err = ERR_INIT;
	int result = 0;

	for (size_t at = 0; at < size && result == 0; at += step)
		result = wal_reader_feed(reader, data + at, size - at < step ? size - at : step,
		    &err);
	if (result == 0)
		result = wal_reader_finish(reader, &err);
	assert(result == 0 || (err.kind == ERR_DATA && err.msg[0] != '\0'));
	*ret_result = result;

	return reader;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int whole_result, result;
	struct wal_reader *whole = read_in_pieces(data, size, size > 0 ? size : 1, &whole_result);
	struct wal_reader *pieces = read_in_pieces(data, size, 7, &result);
	const struct wal_summary *expected = wal_reader_summary(whole);
	const struct wal_summary *found = wal_reader_summary(pieces);

	assert(whole_result == result);
	assert(expected->records == found->records);
	assert(expected->end_lsn == found->end_lsn);
	assert(expected->commits == found->commits);
	assert(expected->last_commit.us == found->last_commit.us);
	assert(expected->restore_points == found->restore_points);
	assert(found->points.count <= WAL_POINTS_MAX && found->switches.count <= WAL_SWITCHES_MAX);
	wal_reader_free(whole);
	wal_reader_free(pieces);

	return 0;
}
