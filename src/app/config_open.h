/* The configuration as the commands get it: read, linted, refused as a whole if anything is wrong. */
#ifndef APP_CONFIG_OPEN_H
#define APP_CONFIG_OPEN_H

#include "base/clock.h"
#include "base/scope.h"

struct config;
struct config_problems;
struct err;

/*
 * Read and lint the file; `now` is where the lint's look ahead begins.  NULL with `err` set when
 * it cannot be used: ERR_CONFIG says how many errors there are and the list itself is in
 * *problems (sorted; also the warnings, with which it can be used).
 */
struct config *config_open(const char *path, struct wall_time now, struct config_problems *problems,
    struct err *err) MUST_CHECK;

#endif
