/* Rows of the catalog as JSON objects, the same in every command. */
#ifndef APP_CLI_ROWS_JSON_H
#define APP_CLI_ROWS_JSON_H

#include "base/scope.h"

struct backup_row;
struct json_t;
struct run_row;

struct json_t *backup_row_json(const struct backup_row *row) MUST_CHECK;
struct json_t *run_row_json(const struct run_row *row) MUST_CHECK;

#endif
