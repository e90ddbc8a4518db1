/*
 * The index of continuous streams: which pieces a source's archive holds, what was learned of
 * them, and the named places in them.  A cache of the archive's folder, as the backups are one of
 * the manifests.  Failures as in catalog.h.
 */
#ifndef CATALOG_CATALOG_PIECE_H
#define CATALOG_CATALOG_PIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"

struct catalog;
struct err;

/* One piece.  (source, branch, number) is its key. */
struct piece_row {
	uint32_t branch;
	uint64_t number;
	int state; /* the archive's own words; the catalog only keeps it */
	bool is_stored_plain;
	uint64_t stored_bytes;
	struct wall_time modified;
	uint64_t end_position;
	uint64_t commits;
	struct wall_time first_time;
	struct wall_time last_time;
	const char *message; /* a loan; NULL: none */
};

/* A named place in piece `number`. */
struct mark_row {
	uint32_t branch;
	uint64_t number;
	uint64_t position;
	struct wall_time time;
	const char *name; /* a loan */
};

/* Insert or replace; a replaced piece's marks go.  Slow outside of begin and commit. */
int catalog_piece_put(struct catalog *catalog, const char *source, const struct piece_row *pieces,
    size_t count, struct err *err) MUST_CHECK;
int catalog_piece_put_marks(struct catalog *catalog, const char *source,
    const struct mark_row *marks, size_t count, struct err *err) MUST_CHECK;

/* Forget a piece and its marks; one that is not there is ok. */
int catalog_piece_remove(struct catalog *catalog, const char *source, uint32_t branch,
    uint64_t number, struct err *err) MUST_CHECK;
/* Forget everything of the source. */
int catalog_piece_clear(struct catalog *catalog, const char *source, struct err *err) MUST_CHECK;

/* Rows are shown one after the other; what they point to lives until `see` returns. */
struct piece_viewer {
	void (*see)(struct piece_viewer *viewer, const struct piece_row *piece);
};
struct mark_viewer {
	void (*see)(struct mark_viewer *viewer, const struct mark_row *mark);
};

struct piece_filter {
	uint32_t branch; /* 0: all branches, from their first piece to their last */
	uint64_t first;
	uint64_t last;
	bool is_brief; /* only state, stored_bytes, end_position and the times: twice as fast */
};

/* By branch, then number, read through the primary key, without sorting. */
int catalog_piece_each(struct catalog *catalog, const char *source,
    const struct piece_filter *filter, struct piece_viewer *viewer, struct err *err) MUST_CHECK;

/* Those of this name, or all with NULL; by time. */
int catalog_piece_each_mark(struct catalog *catalog, const char *source, const char *name,
    struct mark_viewer *viewer, struct err *err) MUST_CHECK;

#endif
