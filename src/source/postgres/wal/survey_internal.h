/* The inside of a survey: the index's spans, cut where recovery cannot or must not go on. */
#ifndef SOURCE_POSTGRES_WAL_SURVEY_INTERNAL_H
#define SOURCE_POSTGRES_WAL_SURVEY_INTERNAL_H

#include <stdint.h>

#include "base/scope.h"

struct archive;
struct err;
struct wal_survey;

/*
 * Fill in survey->spans; segment_bytes and lineages are known.  `files`: whole segments that the
 * folder has, so that removed ones are looked for when they are fewer; 0: in any case.
 */
int survey_read_spans(struct wal_survey *survey, struct archive *archive, uint64_t files,
    struct err *err) MUST_CHECK;

#endif
