/* Surveys for tests, told in segments of 1 MiB and seconds. */
#ifndef TESTS_UNIT_SOURCE_WAL_PLOT_H
#define TESTS_UNIT_SOURCE_WAL_PLOT_H

#include "source/postgres/wal/survey.h"

enum { PLOT_SEGMENT = 1024 * 1024 };

/* The position `offset` bytes into a segment. */
uint64_t plot_lsn(uint64_t segment, uint64_t offset);
struct wall_time plot_time(int64_t seconds);

/* A base from the start of `first` into `last`, consistent at `seconds`. */
void plot_base(struct wal_survey *survey, const char *id, uint32_t timeline, uint64_t first,
    uint64_t last, int64_t seconds, bool has_wal);

/* Whole segments whose commits lie between two times. */
void plot_span(struct wal_survey *survey, uint32_t timeline, uint64_t first, uint64_t last,
    int64_t from_s, int64_t to_s);

/* A tail, half full, with its last commit at `last_s`, written last at `modified_s`. */
void plot_tail(struct wal_survey *survey, uint32_t timeline, uint64_t segment, int64_t last_s,
    int64_t modified_s);

/* 0000000N.history as text, which arrived at `modified_s`. */
void plot_history(struct wal_survey *survey, uint32_t timeline, const char *text,
    int64_t modified_s);

/* Begin one; end it with wal_survey_done. */
void plot_begin(struct wal_survey *survey);

#endif
