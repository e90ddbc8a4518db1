/* The state of everything as one JSON object: what `/api/v1/state` answers, and `status --json`. */
#ifndef APP_STATE_JSON_H
#define APP_STATE_JSON_H

struct json_t;
struct state;

/*
 * `store` is where the backups are, `site` may be NULL.  A new object: answer, jobs and lanes.
 * Of each job besides what the overview knows: strip, one letter for each of the last 30 due
 * runs; due, when each of them was, in seconds since 1970; days, [started_s, stored_bytes,
 * took_s] of the last good run of each day that has one.
 */
struct json_t *state_json(const struct state *state, const char *store, const char *site);

#endif
