#include "wal_plot.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

uint64_t
plot_lsn(uint64_t segment, uint64_t offset)
{
	return segment * PLOT_SEGMENT + offset;
}

struct wall_time
plot_time(int64_t seconds)
{
	return (struct wall_time){ .us = (1700000000 + seconds) * US_PER_S };
}

void
plot_begin(struct wal_survey *survey)
{
	memset(survey, 0, sizeof(*survey));
	survey->segment_bytes = PLOT_SEGMENT;
}

void
plot_base(struct wal_survey *survey, const char *id, uint32_t timeline, uint64_t first,
    uint64_t last, int64_t seconds, bool has_wal)
{
	vec_push(&survey->bases,
	    ((struct wal_base){
		.id = id,
		.index = survey->bases.count,
		.start_timeline = timeline,
		.end_timeline = timeline,
		.start_lsn = plot_lsn(first, 40),
		.end_lsn = plot_lsn(last, 256),
		.consistent_at = plot_time(seconds),
		.has_wal = has_wal,
	    }));
}

void
plot_span(struct wal_survey *survey, uint32_t timeline, uint64_t first, uint64_t last,
    int64_t from_s, int64_t to_s)
{
	vec_push(&survey->spans,
	    ((struct archive_span){
		.branch = timeline,
		.first = first,
		.last = last,
		.stored_bytes = (last - first + 1) * 1000,
		.end_position = plot_lsn(last + 1, 0),
		.first_time = plot_time(from_s),
		.last_time = plot_time(to_s),
	    }));
}

void
plot_tail(struct wal_survey *survey, uint32_t timeline, uint64_t segment, int64_t last_s,
    int64_t modified_s)
{
	vec_push(&survey->tails,
	    ((struct wal_tail){
		.timeline = timeline,
		.segment = segment,
		.is_read = true,
		.end_lsn = plot_lsn(segment, PLOT_SEGMENT / 2),
		.last_lsn = plot_lsn(segment, PLOT_SEGMENT / 2 - 40),
		.first_time = plot_time(last_s),
		.last_time = plot_time(last_s),
		.modified = plot_time(modified_s),
	    }));
}

void
plot_history(struct wal_survey *survey, uint32_t timeline, const char *text, int64_t modified_s)
{
	struct wal_lineage lineage = { .modified = plot_time(modified_s) };
	struct err err = ERR_INIT;

	if (wal_history_parse(timeline, text, strlen(text), &lineage.history, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err.msg);
		abort();
	}
	vec_push(&survey->lineages, lineage);
}
