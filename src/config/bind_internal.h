/* From the tree of a file to struct config, by the tables of the schema. */
#ifndef CONFIG_BIND_INTERNAL_H
#define CONFIG_BIND_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/scope.h"
#include "config/config.h"
#include "config/key_internal.h"
#include "config/node_internal.h"

enum { BINDER_WHERE_SIZE = 96, BINDER_ITEMS_MAX = 1000 };

struct binder {
	struct config *config;
	struct config_problems *problems;
	char where[BINDER_WHERE_SIZE]; /* "job 'pg-daily': ", in front of every message */
	unsigned depth;                /* of the entries of `config show` */
	bool is_silent;                /* adds no entries: the whole is shown as it was written */
	bool is_tolerant;              /* belongs to a later version: unknown keys are warnings */
};

/* Put the values of the mapping `node`, or defaults, into `object`. */
void bind_section(struct binder *binder, const struct node *node, const struct section *section,
    void *object);

/* As given, into the entries of `config show`. */
void bind_entries(struct binder *binder, const struct node *node, bool is_ignored);

/* What the schema's tables call for each item of `sources`, `jobs`, `blackouts` and `alerts.channels`. */
void bind_source(struct binder *binder, const struct node *node);
void bind_job(struct binder *binder, const struct node *node);
void bind_channel(struct binder *binder, const struct node *node);
void bind_blackout(struct binder *binder, const struct node *node);

void binder_error(struct binder *binder, struct config_place place, const char *hint,
    const char *format, ...) PRINTF_LIKE(4, 5);
void binder_warning(struct binder *binder, struct config_place place, const char *hint,
    const char *format, ...) PRINTF_LIKE(4, 5);

#endif
