/* Replies of a Redis server: refused or read, the same however they are cut. */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "source/redis/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct tally {
	int result;
	unsigned replies;
	uint64_t texts_bytes;
	uint64_t items;
};

static void
count(const struct resp_value *value, struct tally *tally)
{
	tally->texts_bytes += value->size;
	tally->items += value->count;
	assert(value->text == NULL || value->text[value->size] == '\0');
	for (size_t i = 0; i < value->count; i++)
		count(&value->items[i], tally);
}

static struct tally
read_in_pieces(const uint8_t *data, size_t size, size_t step)
{
	struct resp_parser *parser = resp_parser_new();
	struct tally tally = { .result = 0 };
	struct err err = ERR_INIT;
	size_t at = 0;

	while (at < size && tally.result == 0) {
		struct resp_value value;
		bool is_whole = false;
		size_t used = 0;

		tally.result = resp_parser_feed(parser, data + at,
		    size - at < step ? size - at : step, &used, &is_whole, &err);
		at += used;
		if (tally.result == 0 && is_whole) {
			resp_parser_take(parser, &value);
			count(&value, &tally);
			tally.replies++;
			resp_value_done(&value);
		}
	}
	assert(tally.result == 0 || (err.kind == ERR_DATA || err.kind == ERR_LIMIT));
	resp_parser_free(parser);

	return tally;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tally whole = read_in_pieces(data, size, size > 0 ? size : 1);
	struct tally pieces = read_in_pieces(data, size, 3);

	assert(whole.result == pieces.result && whole.replies == pieces.replies);
	assert(whole.texts_bytes == pieces.texts_bytes && whole.items == pieces.items);

	return 0;
}
