/* The state of everything as one JSON object: what `/api/v1/state` answers, and `status --json`. */
#ifndef APP_STATE_JSON_H
#define APP_STATE_JSON_H

struct json_t;
struct state;
struct answer;
struct state_job;

/* {verdict, word, text, sources: [{source, verdict, from, to, text, why}]} */
struct json_t *answer_json(const struct answer *answer);

/*
 * {strip: one letter for each of the last 30 due runs, due: when each was, in seconds since 1970,
 * days: [[started_s, stored_bytes, took_s], ...] of the days that have one}
 */
void job_history_json(const struct state_job *job, struct json_t *to);

/* Per source with its backups and the window of its stream: the recovery timeline's lanes. */
struct json_t *lanes_json(const struct state *state);

#endif
