/*
 * What is wrong with a configuration although each key is right: schedules that cannot be read,
 * jobs that cannot work together, times that do not exist on some days.
 */
#ifndef APP_CONFIG_LINT_H
#define APP_CONFIG_LINT_H

#include "base/clock.h"

struct config;
struct config_problems;

/* Add what is found to *problems.  Parts that have errors already are passed over. */
void config_lint(const struct config *config, struct wall_time now,
    struct config_problems *problems);

#endif
