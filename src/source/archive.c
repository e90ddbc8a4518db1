#include "source/archive.h"

#include <stdlib.h>

#include "base/mem.h"

void
archive_listing_done(struct archive_listing *listing)
{
	for (size_t i = 0; i < listing->entries.count; i++)
		free(listing->entries.items[i].name);
	vec_done(&listing->entries);
}

void
piece_done(struct piece *piece)
{
	free(piece->message);
}

void
pieces_done(struct pieces *pieces)
{
	for (size_t i = 0; i < pieces->items.count; i++)
		piece_done(&pieces->items.items[i]);
	vec_done(&pieces->items);
}

void
archive_marks_done(struct archive_marks *marks)
{
	for (size_t i = 0; i < marks->items.count; i++)
		free(marks->items.items[i].name);
	vec_done(&marks->items);
}

void
archive_spans_done(struct archive_spans *spans)
{
	vec_done(&spans->items);
}

struct sink *
archive_put(struct archive *archive, const char *name, struct err *err)
{
	return archive->ops->put(archive, name, err);
}

struct blob *
archive_get(struct archive *archive, const char *name, struct err *err)
{
	return archive->ops->get(archive, name, err);
}

int
archive_remove(struct archive *archive, const char *name, struct err *err)
{
	return archive->ops->remove(archive, name, err);
}

int
archive_scan(struct archive *archive, struct archive_visitor *visitor, struct err *err)
{
	return archive->ops->scan(archive, visitor, err);
}

struct lister {
	struct archive_visitor base;
	struct archive_listing listing;
};

static int
add_to_listing(struct archive_visitor *visitor, const char *name, struct err *err)
{
	struct lister *lister = (struct lister *)visitor;

	(void)err;
	vec_add(&lister->listing.entries)->name = xstrdup(name);

	return 0;
}

int
archive_list(struct archive *archive, struct archive_listing *ret_listing, struct err *err)
{
	struct lister lister = { .base = { .visit = add_to_listing } };

	if (archive_scan(archive, &lister.base, err) < 0) {
		archive_listing_done(&lister.listing);
		return -1;
	}
	*ret_listing = lister.listing;

	return 0;
}

int
archive_stat(struct archive *archive, struct archive_entry *entry, struct err *err)
{
	return archive->ops->stat(archive, entry, err);
}

int
archive_index_put(struct archive *archive, const struct piece *pieces, size_t count,
    const struct archive_mark *marks, size_t marks_count, struct err *err)
{
	return archive->ops->index_put(archive, pieces, count, marks, marks_count, err);
}

int
archive_index_remove(struct archive *archive, uint32_t branch, uint64_t number, struct err *err)
{
	return archive->ops->index_remove(archive, branch, number, err);
}

int
archive_index_clear(struct archive *archive, struct err *err)
{
	return archive->ops->index_clear(archive, err);
}

int
archive_index_list(struct archive *archive, uint32_t branch, uint64_t first, uint64_t last,
    struct pieces *ret_pieces, struct err *err)
{
	return archive->ops->index_list(archive, branch, first, last, ret_pieces, err);
}

int
archive_index_spans(struct archive *archive, struct archive_spans *ret_spans, struct err *err)
{
	return archive->ops->index_spans(archive, ret_spans, err);
}

int
archive_index_marks(struct archive *archive, const char *name, struct archive_marks *ret_marks,
    struct err *err)
{
	return archive->ops->index_marks(archive, name, ret_marks, err);
}

int
archive_note_event(struct archive *archive, const struct archive_event *event, struct err *err)
{
	return archive->ops->note_event(archive, event, err);
}

int
archive_claim(struct archive *archive, const char *identity, struct err *err)
{
	return archive->ops->claim(archive, identity, err);
}
