/* RDB files: any bytes are refused or read, the same however they are cut, with bounded memory. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "source/redis/crc64.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/rdb_summary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rdb_reader *
read_in_pieces(const uint8_t *data, size_t size, size_t step, int *ret_result)
{
	const struct rdb_options options = { .is_deep = size % 4 != 3 };
	struct rdb_reader *reader = rdb_reader_new(&options);
	struct err err = ERR_INIT;
	int result = 0;

	for (size_t at = 0; at < size && result == 0; at += step)
		result = rdb_reader_feed(reader, data + at, size - at < step ? size - at : step,
		    &err);
	if (result == 0)
		result = rdb_reader_finish(reader, &err);
	assert(result == 0 || err.kind == ERR_DATA || err.kind == ERR_UNSUPPORTED ||
	    err.kind == ERR_LIMIT);
	assert(result == 0 || err.msg[0] != '\0');
	*ret_result = result;

	return reader;
}

static void
compare(const uint8_t *data, size_t size)
{
	int whole_result, result;
	struct rdb_reader *whole = read_in_pieces(data, size, size > 0 ? size : 1, &whole_result);
	struct rdb_reader *pieces = read_in_pieces(data, size, 3, &result);
	const struct rdb_summary *expected = rdb_reader_summary(whole);
	const struct rdb_summary *found = rdb_reader_summary(pieces);

	assert(whole_result == result);
	assert(expected->keys == found->keys && expected->expires == found->expires);
	assert(expected->databases.count == found->databases.count);
	assert(expected->deep_checked == found->deep_checked);
	assert(found->biggest.count <= RDB_BIGGEST_MAX && found->aux.count <= RDB_AUX_MAX);
	assert(found->modules.count <= RDB_MODULES_MAX);
	rdb_reader_free(whole);
	rdb_reader_free(pieces);
}

/* As it is, and with the checksum put right, so that what is damaged is not only the checksum. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);
	struct crc64 *crc = malloc(sizeof(*crc));

	assert(copy != NULL && crc != NULL);
	compare(data, size);
	if (size > sizeof(crc->value)) {
		memcpy(copy, data, size);
		crc64_init(crc);
		crc64_add(crc, copy, size - sizeof(crc->value));
		memcpy(copy + size - sizeof(crc->value), &crc->value, sizeof(crc->value));
		compare(copy, size);
	}
	free(copy);
	free(crc);

	return 0;
}
