/*
 * Output for people and programs: columns that line up, one JSON object, progress on stderr.
 * Names from outside are printed with control characters made visible.
 */
#ifndef APP_CLI_OUT_H
#define APP_CLI_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/scope.h"

struct cli;
struct err;
struct json_t;
struct progress;
struct table;

/* printf to stdout with control characters made visible. */
void out_line(const char *format, ...) PRINTF_LIKE(1, 2);

/* A table whose columns are as wide as their widest cell; `headers` is NULL-terminated. */
struct table *table_new(const char *const *headers) MUST_CHECK;
void table_cell(struct table *table, const char *format, ...) PRINTF_LIKE(2, 3); /* left to right */
void table_print(const struct table *table);
void table_free(struct table *table);
SCOPED_FREE(struct table, table_free)

/* One JSON object with its "schema" ("blackstart.list/1"); takes over `root`. */
int out_json(struct json_t *root, const char *schema, struct err *err) MUST_CHECK;

/* Text or null; bytes that are no UTF-8 are replaced. */
struct json_t *out_json_text(const char *text) MUST_CHECK;
/* RFC 3339, or null for time 0. */
struct json_t *out_json_time(struct wall_time time) MUST_CHECK;

/* stdout must have taken everything that was printed: a full disk is not "done". */
int out_flush(struct err *err) MUST_CHECK;

/* "2025-11-25 03:00" in the site's zone; `text` holds CLOCK_TEXT_SIZE.  "-" for time 0. */
const char *out_time(const struct cli *cli, struct wall_time time, char *text);
/* "3 h 5 min ago" or "in 3 h 5 min"; `text` holds 2 * CLOCK_TEXT_SIZE. */
const char *out_ago(struct wall_time time, char *text);
/* "proved L3", "damaged", "unproven", "not proved"; a loan. */
struct backup_row;
const char *out_proof(const struct backup_row *row);

/* "next: COMMAND" with the --store or -c that this command was given, so that it can be typed. */
void out_next(const struct cli *cli, const char *command);

/* The listener for progress: a bar on a terminal, else a line each 30 s or 10 %. */
void out_progress(const struct progress *progress, void *cli);
/* End the bar's line, if one is being shown. */
void out_progress_end(struct cli *cli);

#endif
