#include "source/redis/stream/chain.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "repo/manifest.h"
#include "source/archive.h"
#include "source/redis/handshake.h"
#include "source/redis/stream/pack.h"

void
chain_done(struct chain *chain)
{
	branches_done(&chain->branches);
	vec_done(&chain->links);
	vec_done(&chain->outages);
	for (size_t i = 0; i < chain->warnings.count; i++)
		free(chain->warnings.items[i]);
	vec_done(&chain->warnings);
}

uint32_t
chain_newest(const struct chain *chain)
{
	size_t count = chain->branches.items.count;

	return count > 0 ? chain->branches.items.items[count - 1].number : 0;
}

/* ---- reading ------------------------------------------------------------------------------------ */

static void
add_outage(struct chain *chain, uint32_t branch, const struct piece_outage *outage)
{
	vec_push(&chain->outages, ((struct chain_outage){ .branch = branch, .outage = *outage }));
}

static int
read_index(struct chain *chain, struct archive *archive, uint32_t branch, struct err *err)
{
	SCOPED(pieces_done) struct pieces pieces = { .items = { .count = 0 } };

	if (archive_index_list(archive, branch, 0, INT64_MAX, &pieces, err) < 0)
		return -1;
	for (size_t i = 0; i < pieces.items.count; i++) {
		const struct piece *piece = &pieces.items.items[i];

		chain->stored_bytes += piece->stored_bytes;
		if (piece->state == PIECE_DAMAGED) {
			chain->damaged_count++;
			continue;
		}
		chain->not_sound_count += piece->state == PIECE_FOUND;
		vec_push(&chain->links,
		    ((struct link){
			.branch = piece->branch,
			.from = piece->number,
			.to = piece->end_position,
			.form = PIECE_PACKED,
			.first = piece->first_time,
			.last = piece->last_time,
			.stored_bytes = piece->stored_bytes,
		    }));
	}

	return 0;
}

static int
read_marks(struct chain *chain, struct archive *archive, struct err *err)
{
	SCOPED(archive_marks_done) struct archive_marks marks = { .items = { .count = 0 } };

	if (archive_index_marks(archive, NULL, &marks, err) < 0)
		return -1;
	for (size_t i = 0; i < marks.items.count; i++) {
		struct piece_outage outage;

		if (piece_outage_from_mark(&marks.items.items[i], &outage))
			add_outage(chain, marks.items.items[i].branch, &outage);
	}

	return 0;
}

struct folder {
	struct archive_visitor base;
	struct chain *chain;
	VEC(struct link) tails;
	uint64_t packed_count;
};

static int
visit(struct archive_visitor *visitor, const char *name, struct err *err)
{
	struct folder *folder = (struct folder *)visitor;
	struct link link = { .branch = 0 };

	(void)err;
	if (!piece_name_parse(name, &link.branch, &link.from, &link.form))
		return 0;
	if (link.form == PIECE_TAIL)
		vec_push(&folder->tails, link);
	else
		folder->packed_count++;

	return 0;
}

/*
 * As far as it goes: it may be growing, and a crash may have cut it.  Of one that is packed
 * meanwhile nothing is lost, the index has it.
 */
static int
read_tail(struct chain *chain, struct archive *archive, struct link link, struct err *err)
{
	SCOPED(piece_reader_done) struct piece_reader reader;
	char name[PIECE_NAME_SIZE];

	(void)piece_name(link.branch, link.from, PIECE_TAIL, name);
	if (pack_read_open(archive, name, &reader, err) < 0) {
		if (err->kind == ERR_NOT_FOUND) {
			err_clear(err);
			return 0;
		}
		if (err->kind != ERR_DATA)
			return -1;
		vec_push(&chain->warnings, xstrdup(err->msg));
		chain->damaged_count++;
		err_clear(err);
		return 0;
	}
	link.to = reader.safe;
	link.first = reader.first;
	link.last = reader.last;
	link.stored_bytes = reader.file_read;
	chain->stored_bytes += reader.file_read;
	vec_push(&chain->links, link);
	for (size_t i = 0; i < reader.outages.count; i++)
		add_outage(chain, link.branch, &reader.outages.items[i]);

	return 0;
}

static int
compare_links(const void *left, const void *right)
{
	const struct link *a = left;
	const struct link *b = right;

	if (a->branch != b->branch)
		return a->branch < b->branch ? -1 : 1;
	if (a->from != b->from)
		return a->from < b->from ? -1 : 1;

	/* The packed one counts. */
	return (a->form == PIECE_TAIL) - (b->form == PIECE_TAIL);
}

static int
read_folder(struct chain *chain, struct archive *archive, struct folder *folder, struct err *err)
{
	size_t indexed = chain->links.count + chain->damaged_count;

	if (archive_scan(archive, &folder->base, err) < 0) {
		if (err->kind != ERR_NOT_FOUND)
			return -1;
		err_clear(err);
	}
	for (size_t i = 0; i < folder->tails.count; i++) {
		if (read_tail(chain, archive, folder->tails.items[i], err) < 0)
			return -1;
	}
	if (folder->packed_count != indexed)
		vec_push(&chain->warnings,
		    xasprintf("the folder has %" PRIu64 " pieces of the stream and the index %zu: "
			      "'blackstart settle %s' looks at them",
			folder->packed_count, indexed, archive->label));
	if (chain->links.count > 1)
		qsort(chain->links.items, chain->links.count, sizeof(chain->links.items[0]),
		    compare_links);

	return 0;
}

int
chain_read(struct archive *archive, struct chain *ret_chain, struct err *err)
{
	SCOPED(chain_done) struct chain chain = { .stored_bytes = 0 };
	struct folder folder = { .base = { .visit = visit }, .chain = &chain };
	int result;

	if (branches_read(archive, &chain.branches, err) < 0)
		return -1;
	for (size_t i = 0; i < chain.branches.items.count; i++) {
		if (read_index(&chain, archive, chain.branches.items.items[i].number, err) < 0)
			return -1;
	}
	if (read_marks(&chain, archive, err) < 0)
		return -1;
	result = read_folder(&chain, archive, &folder, err);
	vec_done(&folder.tails);
	if (result < 0)
		return -1;
	*ret_chain = chain;
	chain = (struct chain){ .stored_bytes = 0 };

	return 0;
}

/* ---- places ------------------------------------------------------------------------------------- */

bool
chain_place_of(const struct chain *chain, const struct manifest *manifest,
    struct chain_place *ret_place)
{
	struct replication_place place;
	struct err ignored = ERR_INIT;
	const struct branch *branch;

	if (replication_place_parse(json_string_value(json_object_get(manifest->content,
					"replication")),
		&place, &ignored) < 0)
		return false;
	branch = branches_find_replid(&chain->branches, place.id);
	if (branch == NULL)
		return false;
	ret_place->branch = branch->number;
	ret_place->offset = place.offset;

	return true;
}

bool
chain_is_on(const struct chain *chain, uint32_t branch, struct chain_place place)
{
	return branches_is_history(&chain->branches, branch, place.branch, place.offset);
}

/* ---- walking ------------------------------------------------------------------------------------ */

/* The piece of `branch` that has the byte behind `offset`. */
static const struct link *
find_link(const struct chain *chain, uint32_t branch, uint64_t offset)
{
	size_t low = 0;
	size_t high = chain->links.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct link *link = &chain->links.items[middle];

		if (link->branch < branch || (link->branch == branch && link->from <= offset))
			low = middle + 1;
		else
			high = middle;
	}
	/* A tail beside its packed piece begins at the same place. */
	for (size_t i = low; i > 0 && i + 2 > low; i--) {
		const struct link *link = &chain->links.items[i - 1];

		if (link->branch == branch && link->from <= offset && offset < link->to)
			return link;
	}

	return NULL;
}

/* The branch on the way to `line` that leaves `at` just there; NULL: none does. */
static const struct branch *
find_child(const struct chain *chain, uint32_t line, struct chain_place at)
{
	for (size_t i = 0; i < chain->branches.items.count; i++) {
		const struct branch *branch = &chain->branches.items.items[i];
		uint64_t until;

		if (branch->parent == at.branch && branch->from == at.offset &&
		    branches_share(&chain->branches, line, branch->number, &until))
			return branch;
	}

	return NULL;
}

const struct link *
chain_step(const struct chain *chain, uint32_t line, struct chain_place *at, uint64_t *ret_until)
{
	for (;;) {
		uint64_t limit = 0;
		bool is_shared = branches_share(&chain->branches, line, at->branch, &limit);
		const struct link *link = is_shared && at->offset < limit
		    ? find_link(chain, at->branch, at->offset)
		    : NULL;
		const struct branch *child;

		if (link != NULL) {
			*ret_until = link->to < limit ? link->to : limit;
			return link;
		}
		child = find_child(chain, line, *at);
		if (child == NULL)
			return NULL;
		at->branch = child->number;
	}
}

void
chain_reach(const struct chain *chain, uint32_t line, struct chain_place from,
    struct chain_reach *ret_reach)
{
	struct chain_reach reach = { .to = from };
	const struct link *link;
	uint64_t until;

	while ((link = chain_step(chain, line, &reach.to, &until)) != NULL) {
		reach.to.offset = until;
		if (link->last.us > reach.time.us)
			reach.time = link->last;
	}
	*ret_reach = reach;
}
