/*
 * A YAML file as a tree of texts, lists and mappings, each with its place.  No value is
 * interpreted: 02:00, no and 1.0 stay texts.  What makes YAML dangerous or ambiguous is an error:
 * anchors and aliases, tags, several documents, duplicate keys, tabs as indentation, bytes that
 * are not UTF-8, deep nesting, very many nodes.
 */
#ifndef CONFIG_NODE_INTERNAL_H
#define CONFIG_NODE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/scope.h"
#include "base/vec.h"
#include "config/config.h"

enum {
	NODE_FILE_MAX_BYTES = 1024 * 1024,
	NODE_DEPTH_MAX = 16,
	NODE_COUNT_MAX = 100000,
};

enum node_kind {
	NODE_TEXT,
	NODE_LIST,
	NODE_MAP,
};

struct node {
	enum node_kind kind;
	struct config_place place;
	char *key; /* in a mapping, else NULL */
	struct config_place key_place;
	char *text;      /* of NODE_TEXT */
	bool is_missing; /* a text that was not written at all, as in "store:" */
	VEC(struct node *) children;
};

/*
 * Add every byte that has no business in the file to *problems: it would end the YAML parser
 * without a place.  false when there is one.
 */
bool text_check(const char *data, size_t size, struct config_problems *problems);

/* NULL when there is no tree to go on with; the reason is in *problems. */
struct node *node_parse(const char *data, size_t size, struct config_problems *problems) MUST_CHECK;
void node_free(struct node *node);
SCOPED_FREE(struct node, node_free)

/* The child of a mapping, or NULL. */
const struct node *node_find(const struct node *map, const char *key);

/* "a text", "a list", "a mapping", "nothing" */
const char *node_describe(const struct node *node);

#endif
