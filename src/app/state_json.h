/* The state of everything as one JSON object: what `/api/v1/state` answers, and `status --json`. */
#ifndef APP_STATE_JSON_H
#define APP_STATE_JSON_H

struct json_t;
struct state;

/*
 * `store` is where the backups are, `site` may be NULL.  A new object: answer, jobs and lanes.
 *
 * Of each job besides what the overview knows, oldest first: strip, one letter for each of the
 * last 30 due runs; due, when each of them was (0: none); days, "started stored_bytes took" of the
 * last good run of each day that has one.  Of each lane, newest first: backups, "started
 * consistent level job", level -1 not proved, -2 not good, job its place in jobs.  Times in these
 * are seconds since 1970, items are parted by ','.
 */
struct json_t *state_json(const struct state *state, const char *store, const char *site);

#endif
