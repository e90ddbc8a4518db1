#include "source/postgres/wal/chain.h"

#include <inttypes.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/archive.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/reader.h"
#include "stream/blob.h"
#include "stream/expand.h"
#include "stream/sink.h"

/* A record that is longer than so many segments is not read again from its beginning. */
enum { WARM_UP_MAX = 64 };

void
wal_chain_break(struct wal_chain *chain)
{
	wal_reader_free(TAKE(chain->reader));
}

void
wal_chain_done(struct wal_chain *chain)
{
	wal_chain_break(chain);
}

/* ---- one segment ---- */

struct feed_sink {
	struct sink base;
	struct wal_reader *reader;
	struct sink *also; /* NULL: none */
	const char *name;
	uint64_t segment_bytes;
	uint64_t bytes;
	uint64_t until; /* enough, when a record that begins here or later is whole; 0: all of it */
	bool is_enough;
};

static int
feed_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct feed_sink *feed = (struct feed_sink *)sink;

	if (size > feed->segment_bytes - feed->bytes)
		return err_set(err, ERR_DATA,
		    "'%s' has more than the %" PRIu64 " bytes of a segment", feed->name,
		    feed->segment_bytes);
	if (wal_reader_feed(feed->reader, data, size, err) < 0)
		return -1;
	feed->bytes += size;
	feed->is_enough = feed->until != 0 &&
	    wal_reader_summary(feed->reader)->last_lsn >= feed->until;
	if (feed->is_enough)
		return err_set(err, ERR_LIMIT, "it is enough");

	return feed->also != NULL ? sink_write(feed->also, data, size, err) : 0;
}

static const struct sink_ops feed_ops = { .name = "feed", .write = feed_write };

static void
stored_name(const struct wal_chain *chain, const struct wal_link *link, char *ret_stored)
{
	char name[WAL_NAME_SIZE];

	(void)wal_name_format(link->timeline, link->number, chain->segment_bytes, name);
	(void)wal_stored_name(name, link->form, ret_stored);
}

/* Its bytes through the reader, which expects it: all, or see feed_sink.until; 1: it was enough. */
static int
feed_segment(struct wal_chain *chain, const struct wal_link *link, struct sink *also,
    uint64_t until, struct err *err)
{
	const struct expand_options options = { .is_zstd = link->form == WAL_FORM_PACKED };
	char stored[WAL_STORED_NAME_SIZE];
	SCOPED(blob_freep) struct blob *blob = NULL;
	struct feed_sink feed = {
		.base = { .ops = &feed_ops },
		.reader = chain->reader,
		.also = also,
		.name = stored,
		.segment_bytes = chain->segment_bytes,
		.until = until,
	};

	stored_name(chain, link, stored);
	blob = archive_get(chain->archive, stored, err);
	if (blob == NULL)
		return -1;
	if (expand(blob, &options, &feed.base, err) < 0) {
		if (!feed.is_enough)
			return -1;
		err_clear(err);
		return 1;
	}
	if (feed.bytes < chain->segment_bytes)
		return err_set(err, ERR_DATA,
		    "'%s' is cut off: %" PRIu64 " of %" PRIu64 " bytes are there", stored,
		    feed.bytes, chain->segment_bytes);
	chain->next = link->number + 1;

	return wal_reader_finish(chain->reader, err);
}

static void
begin(struct wal_chain *chain, uint32_t timeline, uint64_t number)
{
	const struct wal_options options = {
		.depth = WAL_DEPTH_RECORDS,
		.timeline = timeline,
		.segment = number,
		.segment_bytes = chain->segment_bytes,
		.system_identifier = chain->system_identifier,
	};

	wal_chain_break(chain);
	chain->reader = wal_reader_new(&options);
	chain->timeline = timeline;
	chain->next = number;
}

/* ---- where to begin ---- */

/*
 * The segment in which the record begins that crosses into `number`: the last one before it in
 * which a record ends.  All from there on must be sound; `number` itself where they are not.
 */
static int
find_begin(const struct wal_chain *chain, const struct wal_link *link, struct pieces *ret_before,
    size_t *ret_first, struct err *err)
{
	uint64_t from = link->number > WARM_UP_MAX ? link->number - WARM_UP_MAX : 0;
	uint64_t due = link->number;
	size_t at;

	*ret_first = 0;
	if (link->number == 0)
		return 0;
	if (archive_index_list(chain->archive, link->timeline, from, link->number - 1, ret_before,
		err) < 0)
		return -1;
	for (at = ret_before->items.count; at > 0; at--) {
		const struct piece *piece = &ret_before->items.items[at - 1];

		if (piece->state != PIECE_SOUND || piece->number != --due)
			break;
		if (piece->end_position != 0) {
			*ret_first = at - 1;
			return 0;
		}
	}
	*ret_first = ret_before->items.count;

	return 0;
}

/* Read what is before it again; where that fails, the segment is read on its own. */
static int
warm_up(struct wal_chain *chain, const struct wal_link *link, struct err *err)
{
	SCOPED(pieces_done) struct pieces before = { .items = { .count = 0 } };
	struct err why = ERR_INIT;
	size_t first;

	if (find_begin(chain, link, &before, &first, err) < 0)
		return -1;
	if (first < before.items.count)
		begin(chain, link->timeline, before.items.items[first].number);
	for (size_t i = first; i < before.items.count && why.kind == ERR_NONE; i++) {
		const struct piece *piece = &before.items.items[i];
		const struct wal_link one = {
			.timeline = link->timeline,
			.number = piece->number,
			.form = piece->is_stored_plain ? WAL_FORM_PLAIN : WAL_FORM_PACKED,
		};

		(void)feed_segment(chain, &one, NULL, 0, &why);
	}
	if (why.kind == ERR_CANCELLED) {
		*err = why;
		return -1;
	}
	if (why.kind != ERR_NONE)
		wal_chain_break(chain);

	return 0;
}

static int
prepare(struct wal_chain *chain, const struct wal_link *link, struct err *err)
{
	if (chain->reader != NULL &&
	    (chain->timeline != link->timeline || chain->next != link->number))
		wal_chain_break(chain);
	if (chain->reader == NULL && warm_up(chain, link, err) < 0)
		return -1;
	if (chain->reader == NULL)
		begin(chain, link->timeline, link->number);
	wal_reader_forget(chain->reader);

	return 0;
}

/* The reader expects this segment. */
static int
read_segment(struct wal_chain *chain, const struct wal_link *link, struct sink *also,
    struct wal_note *ret_note, struct err *err)
{
	const struct wal_summary *summary = wal_reader_summary(chain->reader);

	if (feed_segment(chain, link, also, 0, err) < 0) {
		wal_chain_break(chain);
		return -1;
	}
	*ret_note = (struct wal_note){
		.segment_bytes = chain->segment_bytes,
		.timeline = link->timeline,
		.segment = link->number,
		.is_checked = summary->depth == WAL_DEPTH_RECORDS,
	};
	wal_note_fill(ret_note, summary);

	return 0;
}

int
wal_chain_read(struct wal_chain *chain, const struct wal_link *link, struct sink *also,
    struct wal_note *ret_note, uint64_t *ret_crossing, struct err *err)
{
	*ret_crossing = 0;
	if (prepare(chain, link, err) < 0)
		return -1;
	*ret_crossing = wal_reader_summary(chain->reader)->open_lsn;

	return read_segment(chain, link, also, ret_note, err);
}

int
wal_chain_read_alone(struct wal_chain *chain, const struct wal_link *link,
    struct wal_note *ret_note, struct err *err)
{
	begin(chain, link->timeline, link->number);

	return read_segment(chain, link, NULL, ret_note, err);
}

int
wal_chain_join(struct wal_chain *chain, const struct wal_link *links, size_t count,
    bool *ret_is_joined, struct err *err)
{
	uint64_t begin = chain->next * chain->segment_bytes;
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++)
		result = feed_segment(chain, &links[i], NULL, begin, err);
	wal_chain_break(chain);
	*ret_is_joined = result == 1;

	return result < 0 ? -1 : 0;
}
