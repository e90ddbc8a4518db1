#include "config/node_internal.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/mem.h"
#include "base/str.h"

/* The tree under construction. */
struct builder {
	struct config_problems *problems;
	struct node *root;
	struct node *open[NODE_DEPTH_MAX]; /* the lists and mappings around, outermost first */
	size_t depth;
	size_t count;
	char *key; /* the mapping's key whose value comes next */
	struct config_place key_place;
	bool is_done;
	bool has_failed;
};

void
node_free(struct node *node)
{
	if (node == NULL)
		return;
	for (size_t i = 0; i < node->children.count; i++)
		node_free(node->children.items[i]); /* at most NODE_DEPTH_MAX deep */
	vec_done(&node->children);
	free(node->key);
	free(node->text);
	free(node);
}

const struct node *
node_find(const struct node *map, const char *key)
{
	for (size_t i = 0; i < map->children.count; i++) {
		if (str_equals(map->children.items[i]->key, key))
			return map->children.items[i];
	}

	return NULL;
}

const char *
node_describe(const struct node *node)
{
	if (node->kind == NODE_LIST)
		return "a list";
	if (node->kind == NODE_MAP)
		return "a mapping";

	return node->is_missing ? "nothing" : "a text";
}

static struct config_place
place_of(const yaml_mark_t *mark)
{
	return (struct config_place){ .line = (unsigned)mark->line + 1,
		.column = (unsigned)mark->column + 1 };
}

static void
fail(struct builder *b, struct config_place place, const char *hint, const char *text)
{
	config_problems_error(b->problems, place, hint, "%s", text);
	b->has_failed = true;
}

static struct node *
innermost(struct builder *b)
{
	return b->depth > 0 ? b->open[b->depth - 1] : NULL;
}

/* A key comes next: in a mapping, before each value. */
static bool
is_key_next(struct builder *b)
{
	struct node *around = innermost(b);

	return around != NULL && around->kind == NODE_MAP && b->key == NULL;
}

/* Put a new node where the tree grows; the tree owns it. NULL when it has grown enough. */
static struct node *
add_node(struct builder *b, enum node_kind kind, struct config_place place)
{
	struct node *around = innermost(b);
	struct node *node;

	if (++b->count > NODE_COUNT_MAX) {
		fail(b, place, NULL, "the file has too many values");
		return NULL;
	}
	node = xcalloc(1, sizeof(*node));
	node->kind = kind;
	node->place = place;
	node->key = TAKE(b->key);
	node->key_place = b->key_place;
	if (around != NULL)
		vec_push(&around->children, node);
	else
		b->root = node;

	return node;
}

static void
open_node(struct builder *b, enum node_kind kind, struct config_place place)
{
	struct node *node;

	if (is_key_next(b)) {
		fail(b, place, NULL, "a key must be a plain word");
		return;
	}
	if (b->depth == NODE_DEPTH_MAX) {
		fail(b, place, NULL, "the file is nested too deeply");
		return;
	}
	node = add_node(b, kind, place);
	if (node != NULL)
		b->open[b->depth++] = node;
}

static int
compare_keys(const void *a, const void *b)
{
	const struct node *left = *(const struct node *const *)a;
	const struct node *right = *(const struct node *const *)b;
	int order = strcmp(left->key, right->key);

	if (order != 0)
		return order;
	if (left->key_place.line != right->key_place.line)
		return left->key_place.line < right->key_place.line ? -1 : 1;

	return left->key_place.column < right->key_place.column ? -1 : 1;
}

/* By sorting, so that a file made of nothing but keys costs no more than reading it. */
static void
refuse_duplicates(struct builder *b, const struct node *map)
{
	size_t count = map->children.count;
	SCOPED(freep) struct node **sorted = xcalloc(count, sizeof(*sorted));

	if (count == 0)
		return;
	memcpy(sorted, map->children.items, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_keys);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(sorted[i]->key, sorted[i - 1]->key) == 0)
			config_problems_error(b->problems, sorted[i]->key_place, NULL,
			    "key '%.60s' is already set in line %u", sorted[i]->key,
			    sorted[i - 1]->key_place.line);
	}
}

static void
close_node(struct builder *b)
{
	struct node *node = b->open[--b->depth];

	if (node->kind == NODE_MAP)
		refuse_duplicates(b, node);
}

static void
add_text(struct builder *b, const yaml_event_t *event, struct config_place place)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t size = event->data.scalar.length;
	struct node *node;

	if (memchr(text, '\0', size) != NULL) {
		fail(b, place, NULL, "a text with a NUL character");
		return;
	}
	if (is_key_next(b)) {
		b->key = xstrndup(text, size);
		b->key_place = place;
		return;
	}
	node = add_node(b, NODE_TEXT, place);
	if (node == NULL)
		return;
	node->text = xstrndup(text, size);
	node->is_missing = size == 0 && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* What would let one value stand for another, or change its type behind the reader's back. */
static void
refuse_decorations(struct builder *b, const yaml_event_t *event, struct config_place place)
{
	const yaml_char_t *anchor = NULL;
	const yaml_char_t *tag = NULL;

	if (event->type == YAML_SCALAR_EVENT) {
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
	} else if (event->type == YAML_SEQUENCE_START_EVENT) {
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
	} else if (event->type == YAML_MAPPING_START_EVENT) {
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
	}
	if (anchor != NULL)
		config_problems_error(b->problems, place, "Write the value out where it is used.",
		    "anchors ('&%.40s') are not accepted", (const char *)anchor);
	if (tag != NULL)
		config_problems_error(b->problems, place,
		    "Leave the tag away: every value is a text.", "tags ('%.40s') are not accepted",
		    (const char *)tag);
}

static void
take_event(struct builder *b, const yaml_event_t *event)
{
	struct config_place place = place_of(&event->start_mark);

	refuse_decorations(b, event, place);
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (b->root != NULL)
			fail(b, place, NULL,
			    "a second document begins here; there may be only one");
		break;
	case YAML_ALIAS_EVENT:
		fail(b, place, "Write the value out.", "aliases ('*name') are not accepted");
		break;
	case YAML_SCALAR_EVENT:
		add_text(b, event, place);
		break;
	case YAML_SEQUENCE_START_EVENT:
		open_node(b, NODE_LIST, place);
		break;
	case YAML_MAPPING_START_EVENT:
		open_node(b, NODE_MAP, place);
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		close_node(b);
		break;
	case YAML_STREAM_END_EVENT:
		b->is_done = true;
		break;
	default:
		break;
	}
}

static void
take_syntax_error(struct builder *b, const yaml_parser_t *parser)
{
	const char *problem = parser->problem != NULL ? parser->problem : "the file is not YAML";
	const char *context = parser->context != NULL ? parser->context : "";

	config_problems_error(b->problems, place_of(&parser->problem_mark),
	    "A text with ': ', '#', or a leading '*', '&', '%', '@' or '{' must stand in quotes.",
	    "not YAML: %s%s%s", context, context[0] != '\0' ? ", " : "", problem);
	b->has_failed = true;
}

struct node *
node_parse(const char *data, size_t size, struct config_problems *problems)
{
	struct builder b = { .problems = problems };
	yaml_parser_t parser;

	if (yaml_parser_initialize(&parser) == 0)
		abort(); /* out of memory, nothing else */
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)data, size);
	while (!b.is_done && !b.has_failed) {
		yaml_event_t event;

		if (yaml_parser_parse(&parser, &event) == 0) {
			take_syntax_error(&b, &parser);
			break;
		}
		take_event(&b, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	free(b.key);
	if (b.root == NULL && !b.has_failed)
		fail(&b, (struct config_place){ .line = 0 }, NULL, "the file is empty");
	if (b.has_failed) {
		node_free(b.root);
		return NULL;
	}

	return b.root;
}
