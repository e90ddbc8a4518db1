#include <stdlib.h>

#include "base/err.h"
#include "source/archive.h"
#include "source/postgres/wal/survey.h"
#include "source/postgres/wal/survey_internal.h"

enum { PIECES_AT_ONCE = 4096 };

/* What a part of a span says of itself, from the pieces first..last of the index. */
static int
sum_pieces(struct archive *archive, struct archive_span *part, struct err *err)
{
	uint64_t next = part->first;

	part->not_sound_count = part->stored_bytes = part->end_position = 0;
	part->first_time.us = part->last_time.us = 0;
	while (next <= part->last) {
		SCOPED(pieces_done) struct pieces pieces = { .items = { .count = 0 } };
		uint64_t last = part->last - next < PIECES_AT_ONCE ? part->last
								   : next + PIECES_AT_ONCE - 1;

		if (archive_index_list(archive, part->branch, next, last, &pieces, err) < 0)
			return -1;
		for (size_t i = 0; i < pieces.items.count; i++) {
			const struct piece *piece = &pieces.items.items[i];

			part->not_sound_count += piece->state == PIECE_FOUND;
			part->stored_bytes += piece->stored_bytes;
			if (piece->end_position > part->end_position)
				part->end_position = piece->end_position;
			if (part->first_time.us == 0)
				part->first_time = piece->first_time;
			if (piece->last_time.us != 0)
				part->last_time = piece->last_time;
		}
		next = last + 1;
	}

	return 0;
}

/* Add first..last of `whole`, whose facts are only known for all of it. */
static int
add_part(struct wal_survey *survey, struct archive *archive, const struct archive_span *whole,
    uint64_t first, uint64_t last, struct err *err)
{
	struct archive_span part = *whole;

	if (first > last)
		return 0;
	part.first = first;
	part.last = last;
	part.damaged_count = 0;
	if ((first != whole->first || last != whole->last) && sum_pieces(archive, &part, err) < 0)
		return -1;
	vec_push(&survey->spans, part);

	return 0;
}

/* Where a timeline is left within this span by another one: the lowest segment after `from`. */
static uint64_t
next_fork(const struct wal_survey *survey, const struct archive_span *span, uint64_t from)
{
	uint64_t nearest = UINT64_MAX;

	for (size_t i = 0; i < survey->lineages.count; i++) {
		uint64_t lsn, segment;

		if (!wal_history_switch(&survey->lineages.items[i].history, span->branch, &lsn))
			continue;
		segment = lsn / survey->segment_bytes;
		if (segment > from && segment <= span->last && segment < nearest)
			nearest = segment;
	}

	return nearest;
}

/* The damaged pieces of a span are holes in it; their numbers, ascending. */
struct numbers {
	VEC(uint64_t) items;
};

static int
find_damaged(struct archive *archive, const struct archive_span *span, struct numbers *ret_numbers,
    struct err *err)
{
	uint64_t next = span->first;

	while (span->damaged_count > 0 && next <= span->last) {
		SCOPED(pieces_done) struct pieces pieces = { .items = { .count = 0 } };
		uint64_t last = span->last - next < PIECES_AT_ONCE ? span->last
								   : next + PIECES_AT_ONCE - 1;

		if (archive_index_list(archive, span->branch, next, last, &pieces, err) < 0)
			return -1;
		for (size_t i = 0; i < pieces.items.count; i++) {
			if (pieces.items.items[i].state == PIECE_DAMAGED)
				vec_push(&ret_numbers->items, pieces.items.items[i].number);
		}
		next = last + 1;
	}

	return 0;
}

static int
split_span(struct wal_survey *survey, struct archive *archive, const struct archive_span *span,
    const struct numbers *damaged, struct err *err)
{
	uint64_t first = span->first;
	size_t d = 0;

	while (first <= span->last) {
		uint64_t fork = next_fork(survey, span, first);
		uint64_t hole = d < damaged->items.count ? damaged->items.items[d] : UINT64_MAX;
		uint64_t end = fork < hole ? fork : hole;

		if (end == UINT64_MAX)
			return add_part(survey, archive, span, first, span->last, err);
		if (end > first && add_part(survey, archive, span, first, end - 1, err) < 0)
			return -1;
		first = end;
		if (end == hole)
			first++;
		while (d < damaged->items.count && damaged->items.items[d] < first)
			d++;
	}

	return 0;
}

static int
compare_numbers(const void *a, const void *b)
{
	const uint64_t *left = a;
	const uint64_t *right = b;

	return (*left > *right) - (*left < *right);
}

/* What the index knows, and the folder has no more: somebody removed it. */
static void
add_removed(struct wal_survey *survey, const struct wal_folder_range *range, struct numbers *holes)
{
	for (size_t i = 0; i < range->missing.count; i++)
		vec_push(&holes->items, range->missing.items[i]);
	survey->removed_count += range->missing.count;
	if (holes->items.count > 1)
		qsort(holes->items.items, holes->items.count, sizeof(uint64_t), compare_numbers);
}

int
survey_take_spans(struct wal_survey *survey, struct archive *archive,
    const struct survey_index *index, struct err *err)
{
	for (size_t i = 0; i < index->spans.items.count; i++) {
		const struct archive_span *span = &index->spans.items.items[i];
		struct numbers holes = { .items = { .count = 0 } };
		int result = find_damaged(archive, span, &holes, err);

		if (survey->damaged_count == 0 && holes.items.count > 0) {
			survey->damaged_timeline = span->branch;
			survey->damaged_segment = holes.items.items[0];
		}
		survey->damaged_count += holes.items.count;
		add_removed(survey, &index->ranges.items[i], &holes);
		if (result == 0)
			result = split_span(survey, archive, span, &holes, err);
		vec_done(&holes.items);
		if (result < 0)
			return -1;
	}

	return 0;
}

int
survey_index_read(struct archive *archive, struct survey_index *ret_index, struct err *err)
{
	struct survey_index index = { .spans = { .items = { .count = 0 } } };

	if (archive_index_spans(archive, &index.spans, err) < 0)
		return -1;
	for (size_t i = 0; i < index.spans.items.count; i++) {
		const struct archive_span *span = &index.spans.items.items[i];

		vec_push(&index.ranges,
		    ((struct wal_folder_range){
			.timeline = span->branch,
			.first = span->first,
			.last = span->last,
		    }));
	}
	*ret_index = index;

	return 0;
}

void
survey_index_done(struct survey_index *index)
{
	archive_spans_done(&index->spans);
	for (size_t i = 0; i < index->ranges.count; i++)
		vec_done(&index->ranges.items[i].missing);
	vec_done(&index->ranges);
}
