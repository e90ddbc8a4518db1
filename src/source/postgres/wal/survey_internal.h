/* The inside of a survey: the index's spans, cut where recovery cannot or must not go on. */
#ifndef SOURCE_POSTGRES_WAL_SURVEY_INTERNAL_H
#define SOURCE_POSTGRES_WAL_SURVEY_INTERNAL_H

#include "base/scope.h"
#include "base/vec.h"
#include "source/archive.h"
#include "source/postgres/wal/folder.h"

struct err;
struct wal_survey;

/* What the index says, and what the folder has no more of it. */
struct survey_index {
	struct archive_spans spans;
	VEC(struct wal_folder_range) ranges; /* one for each span, in their order */
};
int survey_index_read(struct archive *archive, struct survey_index *ret_index, struct err *err)
    MUST_CHECK;
void survey_index_done(struct survey_index *index);

/* Fill in survey->spans; its lineages, its segment_bytes and what is missing are known. */
int survey_take_spans(struct wal_survey *survey, struct archive *archive,
    const struct survey_index *index, struct err *err) MUST_CHECK;

#endif
