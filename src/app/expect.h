/* What the configuration expects of each job at one moment: its age limit and its next run. */
#ifndef APP_EXPECT_H
#define APP_EXPECT_H

#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "engine/overview.h"

struct config;
struct err;

struct expectations {
	VEC(struct overview_expectation) rows; /* texts are loans from the config */
};

/* NULL config gives none: without one, jobs are known by what they left. */
int expectations_make(const struct config *config, struct wall_time now,
    struct expectations *ret_expectations, struct err *err) MUST_CHECK;
void expectations_done(struct expectations *expectations);

/* The longest usual distance between two runs of the job; 0: it has no times. */
struct config_job;
int expect_interval(const struct config_job *job, struct wall_time now, int64_t *ret_interval_us,
    struct err *err) MUST_CHECK;

#endif
