#include "source/redis/stream/fork.h"

#include "base/err.h"
#include "source/archive.h"
#include "source/redis/stream/pack.h"
#include "source/redis/stream/piece.h"
#include "stream/sink.h"

/* ---- the piece ------------------------------------------------------------------------------------ */

struct piece_search {
	struct archive_visitor base;
	uint32_t branch;
	uint64_t offset;
	bool is_found;
	uint64_t from;
	enum piece_form form;
};

static int
visit(struct archive_visitor *visitor, const char *name, struct err *err)
{
	struct piece_search *search = (struct piece_search *)visitor;
	uint32_t branch;
	uint64_t from;
	enum piece_form form;

	(void)err;
	if (!piece_name_parse(name, &branch, &from, &form) || branch != search->branch ||
	    from > search->offset || (search->is_found && from < search->from))
		return 0;
	if (search->is_found && from == search->from && form == PIECE_TAIL)
		return 0;
	search->is_found = true;
	search->from = from;
	search->form = form;

	return 0;
}

/* ---- the place in it ------------------------------------------------------------------------------ */

struct fork_sink {
	struct sink base;
	struct piece_reader reader;
	uint64_t offset;
	bool is_boundary;
	unsigned db;
};

static void
see(struct fork_sink *fork)
{
	const struct piece_reader *reader = &fork->reader;

	if (!reader->has_select || reader->offset != fork->offset ||
	    !scan_is_boundary(&reader->scan))
		return;
	fork->is_boundary = true;
	fork->db = reader->scan.db;
}

static int
fork_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct fork_sink *fork = (struct fork_sink *)sink;
	const uint8_t *bytes = data;

	for (size_t at = 0; at < size;) {
		enum scan_event event;
		size_t used;

		if (piece_reader_feed(&fork->reader, bytes + at, size - at, &used, &event, err) < 0)
			return -1;
		see(fork);
		at += used;
	}

	return 0;
}

static int
fork_finish(struct sink *sink, struct err *err)
{
	(void)sink;
	(void)err;

	return 0;
}

static void
fork_free(struct sink *sink)
{
	(void)sink; /* it lives on the stack of who looks */
}

int
fork_look(struct archive *archive, uint32_t branch, uint64_t offset, bool *ret_is_boundary,
    unsigned *ret_db, struct err *err)
{
	static const struct sink_ops ops = {
		.name = "fork",
		.write = fork_write,
		.finish = fork_finish,
		.free = fork_free,
	};
	struct piece_search search = {
		.base = { .visit = visit },
		.branch = branch,
		.offset = offset,
	};
	struct fork_sink fork = { .base = { .ops = &ops }, .offset = offset };
	char name[PIECE_NAME_SIZE];
	int result;

	if (archive_scan(archive, &search.base, err) < 0)
		return -1;
	*ret_is_boundary = false;
	if (!search.is_found)
		return 0;
	(void)piece_name(branch, search.from, search.form, name);
	piece_reader_init(&fork.reader);
	result = pack_expand(archive, name, search.form, &fork.base, err);
	piece_reader_done(&fork.reader);
	if (result < 0)
		return err_wrap(err, "'%s'", name);
	*ret_is_boundary = fork.is_boundary;
	*ret_db = fork.db;

	return 0;
}
