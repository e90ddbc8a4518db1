/* What is wrong with how jobs stand to each other in time: after what, at the same time, held. */
#ifndef APP_CONFIG_LINT_TIMES_H
#define APP_CONFIG_LINT_TIMES_H

#include "base/clock.h"

struct config;
struct config_problems;

void config_lint_times(const struct config *config, struct wall_time now,
    struct config_problems *problems);

#endif
