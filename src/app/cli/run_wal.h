/* `run` of a job that looks after a continuous stream. */
#ifndef APP_CLI_RUN_WAL_H
#define APP_CLI_RUN_WAL_H

#include <stdbool.h>

#include "base/scope.h"

struct cli;
struct config_job;
struct err;
struct source;

/* Is it such a job: `do` says the name of the source's stream. */
bool run_wal_is_it(const struct config_job *job, const struct source *source);

/*
 * A continuous one receives until it is stopped, which is success; any other looks once at what
 * has arrived (*warnings counts what is wrong with it).
 */
int run_wal(struct cli *cli, const struct config_job *job, struct source *source,
    unsigned *warnings, struct err *err) MUST_CHECK;

#endif
