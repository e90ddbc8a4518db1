/*
 * What the configuration expects of each job at one moment: its age limit, when it is due, and of
 * a stream how far it reaches.
 */
#ifndef APP_EXPECT_H
#define APP_EXPECT_H

#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "engine/overview.h"

struct config;
struct err;
struct lanes;
struct wire;

struct expectations {
	VEC(struct overview_expectation) rows; /* texts are loans from the config */
	VEC(struct calendar *) calendars;
};

/* NULL config gives none: without one, jobs are known by what they left. */
int expectations_make(const struct config *config, struct wall_time now,
    struct expectations *ret_expectations, struct err *err) MUST_CHECK;

/* The next run of those whose time has come since; the rest of what is expected does not change. */
void expectations_move_on(struct expectations *expectations, const struct config *config,
    struct wall_time now);

/*
 * Fill in the lane of each job whose kind is its source's stream, read again by `lanes` when older
 * than `max_age_us`; loans from there.  The store is open, no password is read.
 */
int expectations_find_streams(struct expectations *expectations, struct wire *wire,
    struct lanes *lanes, int64_t max_age_us, struct err *err) MUST_CHECK;
void expectations_done(struct expectations *expectations);

/* The longest usual distance between two runs of the job; 0: it has no times. */
struct config_job;
int expect_interval(const struct config_job *job, struct wall_time now, int64_t *ret_interval_us,
    struct err *err) MUST_CHECK;

#endif
