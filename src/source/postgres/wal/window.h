/*
 * The recovery window: to which seconds a cluster can be brought back, on which timelines, and
 * what is missing between.  Pure: works on a survey alone.
 *
 * A span begins where a base becomes consistent and ends with the last commit before something is
 * missing.  On the main timeline every span is told; of a side branch the one that holds its own
 * WAL, and of a timeline that was left the part behind the fork, if it has one.
 */
#ifndef SOURCE_POSTGRES_WAL_WINDOW_H
#define SOURCE_POSTGRES_WAL_WINDOW_H

#include "base/scope.h"

struct wal_survey;
struct window_report;

/* Gaps beyond these are counted in a warning. */
enum { WAL_WINDOW_GAPS_MAX = 1000 };

/* `report` is empty before; its texts are its own. */
void wal_window(const struct wal_survey *survey, struct window_report *report);

#endif
