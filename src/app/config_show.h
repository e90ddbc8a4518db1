/* `config show`: the settings and where each comes from. */
#ifndef APP_CONFIG_SHOW_H
#define APP_CONFIG_SHOW_H

#include <stdbool.h>
#include <stdio.h>

struct config;
struct json_t;

/* As YAML with "# line 12" behind each value; with `is_effective` also defaults, "# default". */
void config_show_print(const struct config *config, bool is_effective, FILE *to);

/*
 * {"schema": 1, "path": ..., "settings": {nested as in the file}, "origins": [{"key": ["jobs", "pg-daily", "at"], "line",
 * "is_default", "is_ignored"}]}; yours to json_decref.  Values are texts, as in the file.
 */
struct json_t *config_show_json(const struct config *config, bool is_effective);

#endif
