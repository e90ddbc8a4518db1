#include "source/postgres/wal/ranges.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "source/postgres/wal/chain.h"
#include "source/postgres/wal/reader.h"
#include "stream/pool.h"

struct range {
	size_t first; /* of the links */
	size_t count;
	size_t sound_count; /* so many are right, from the first on */
	/*
	 * So many hang on the range before: up to the one in which the first record that begins
	 * in this range ends.
	 */
	size_t opening_count;
	bool is_joined; /* the opening of the next range goes on from this one */
};

struct wal_ranges {
	struct wal_ranges_options options;
	size_t handed_out;   /* links, to the pool's filler */
	struct range *slots; /* the pool's */
	struct pool *pool;
	struct range current; /* that the caller is told of */
	size_t told;          /* links */
	bool is_attached;     /* the opening of the current one is right */
};

static size_t
at_most(size_t count, size_t limit)
{
	return count < limit ? count : limit;
}

static int
hand_out(void *context, unsigned slot, bool *ret_is_end, struct err *err)
{
	struct wal_ranges *ranges = context;
	size_t left = ranges->options.count - ranges->handed_out;
	size_t count = at_most(left, ranges->options.step);

	(void)err;
	*ret_is_end = left == 0;
	ranges->slots[slot] = (struct range){
		.first = ranges->handed_out,
		.count = count,
		.opening_count = count,
	};
	ranges->handed_out += count;

	return 0;
}

/* One segment of the range; false: it is not right, or could not be read. */
static bool
read_one(struct wal_chain *chain, const struct wal_link *link, bool is_first)
{
	SCOPED(wal_note_done) struct wal_note note = { .segment_bytes = 0 };
	struct err why = ERR_INIT;
	uint64_t crossing;
	int result = is_first ? wal_chain_read_alone(chain, link, &note, &why)
			      : wal_chain_read(chain, link, NULL, &note, &crossing, &why);

	return result == 0 && note.is_checked;
}

/* Why something is not right is found out by who reads it after us, so no failure is told. */
static int
read_range(void *context, unsigned worker, unsigned slot, struct err *err)
{
	struct wal_ranges *ranges = context;
	struct range *range = &ranges->slots[slot];
	const struct wal_link *links = &ranges->options.links[range->first];
	size_t after = at_most(ranges->options.count - range->first - range->count,
	    ranges->options.step);
	SCOPED(wal_chain_done)
	struct wal_chain chain = {
		.archive = ranges->options.archive,
		.segment_bytes = ranges->options.segment_bytes,
		.system_identifier = ranges->options.system_identifier,
	};
	bool has_own = false;
	struct err why = ERR_INIT;

	(void)worker;
	(void)err;
	for (size_t i = 0; i < range->count; i++) {
		if (!read_one(&chain, &links[i], i == 0))
			return 0;
		range->sound_count++;
		if (!has_own && wal_reader_summary(chain.reader)->end_lsn != 0) {
			has_own = true;
			range->opening_count = i + 1;
		}
	}
	/* Of a record that began before this range nobody here has seen the beginning. */
	if (has_own &&
	    wal_chain_join(&chain, links + range->count, after, &range->is_joined, &why) < 0)
		range->is_joined = false;

	return 0;
}

struct wal_ranges *
wal_ranges_start(const struct wal_ranges_options *options, struct err *err)
{
	SCOPED(wal_ranges_freep) struct wal_ranges *ranges = xcalloc(1, sizeof(*ranges));
	const struct pool_options pool = {
		.slots = options->workers * 2,
		.workers = options->workers,
		.context = ranges,
		.fill = hand_out,
		.work = read_range,
	};

	ranges->options = *options;
	ranges->slots = xcalloc(pool.slots, sizeof(*ranges->slots));
	ranges->current.is_joined = !options->has_before;
	ranges->pool = pool_start(&pool, err);

	return ranges->pool != NULL ? TAKE(ranges) : NULL;
}

static int
next_range(struct wal_ranges *ranges, struct err *err)
{
	bool is_end;
	unsigned slot;

	if (pool_take(ranges->pool, &slot, &is_end, err) < 0)
		return -1;
	assert(!is_end);
	ranges->is_attached = ranges->current.is_joined;
	ranges->current = ranges->slots[slot];
	pool_release(ranges->pool);

	return 0;
}

int
wal_ranges_next(struct wal_ranges *ranges, bool *ret_is_sound, struct err *err)
{
	const struct range *current = &ranges->current;
	size_t index;

	if (ranges->told == current->first + current->count && next_range(ranges, err) < 0)
		return -1;
	index = ranges->told++ - current->first;
	*ret_is_sound = index < current->sound_count &&
	    (index >= current->opening_count || ranges->is_attached);

	return 0;
}

void
wal_ranges_free(struct wal_ranges *ranges)
{
	if (ranges == NULL)
		return;
	pool_free(ranges->pool);
	free(ranges->slots);
	free(ranges);
}
