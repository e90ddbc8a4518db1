#include "source/redis/stream/branch.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/archive.h"
#include "stream/blob.h"
#include "stream/sink.h"

#define BRANCH_KIND "redis-branch"

enum { HISTORY_MAX_BYTES = 16 * 1024 };

void
branches_done(struct branches *branches)
{
	for (size_t i = 0; i < branches->items.count; i++)
		free(branches->items.items[i].reason);
	vec_done(&branches->items);
}

const struct branch *
branches_find(const struct branches *branches, uint32_t number)
{
	for (size_t i = 0; i < branches->items.count; i++) {
		if (branches->items.items[i].number == number)
			return &branches->items.items[i];
	}

	return NULL;
}

const struct branch *
branches_find_replid(const struct branches *branches, const char *replid)
{
	for (size_t i = branches->items.count; i > 0; i--) {
		if (str_equals(branches->items.items[i - 1].replid, replid))
			return &branches->items.items[i - 1];
	}

	return NULL;
}

/* ---- reading ---------------------------------------------------------------------------------- */

static int
parse_branch(const json_t *root, struct branch *branch, struct err *err)
{
	const char *replid = json_string_value(json_object_get(root, "replication_id"));
	const char *from = json_string_value(json_object_get(root, "from"));
	const char *at = json_string_value(json_object_get(root, "at"));
	json_int_t number = json_integer_value(json_object_get(root, "branch"));
	json_int_t parent = json_integer_value(json_object_get(root, "parent"));

	if (!str_equals(json_string_value(json_object_get(root, "kind")), BRANCH_KIND) ||
	    replid == NULL || strlen(replid) != REPLID_SIZE - 1 || from == NULL || at == NULL ||
	    number <= 0 || number > UINT32_MAX || parent < 0 || parent >= number)
		return err_set(err, ERR_DATA, "it does not say what timeline it is");
	branch->number = (uint32_t)number;
	branch->parent = (uint32_t)parent;
	memcpy(branch->replid, replid, REPLID_SIZE);
	if (parse_u64(from, 0, INT64_MAX, &branch->from, err) < 0 ||
	    clock_parse(at, &branch->at, err) < 0)
		return -1;
	branch->reason = xstrdup(json_string_value(json_object_get(root, "reason")));

	return 0;
}

static int
read_history(struct archive *archive, const char *name, struct branches *branches, struct err *err)
{
	SCOPED(blob_freep) struct blob *blob = archive_get(archive, name, err);
	char text[HISTORY_MAX_BYTES];
	struct branch branch = { .number = 0 };
	json_t *root;
	int result;

	if (blob == NULL)
		return -1;
	if (blob->size_bytes > sizeof(text))
		return err_set(err, ERR_DATA, "'%s' is too long", name);
	if (blob_read_at(blob, 0, text, (size_t)blob->size_bytes, err) < 0)
		return -1;
	root = json_loadb(text, (size_t)blob->size_bytes, JSON_REJECT_DUPLICATES, NULL);
	result = root != NULL ? parse_branch(root, &branch, err)
			      : err_set(err, ERR_DATA, "it is no JSON");
	json_decref(root);
	if (result < 0)
		return err_wrap(err, "'%s'", name);
	vec_push(&branches->items, branch);

	return 0;
}

struct history_scan {
	struct archive_visitor base;
	VEC(uint32_t) numbers;
};

static int
visit(struct archive_visitor *visitor, const char *name, struct err *err)
{
	uint32_t number;

	(void)err;
	if (piece_history_name_parse(name, &number))
		vec_push(&((struct history_scan *)visitor)->numbers, number);

	return 0;
}

static int
compare_numbers(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left;
	uint32_t b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

int
branches_read(struct archive *archive, struct branches *ret_branches, struct err *err)
{
	struct history_scan found = { .base = { .visit = visit } };
	SCOPED(branches_done) struct branches branches = { .items = { .count = 0 } };
	int result = archive_scan(archive, &found.base, err);

	if (result < 0 && err->kind == ERR_NOT_FOUND) {
		err_clear(err);
		result = 0;
	}
	if (found.numbers.count > 1)
		qsort(found.numbers.items, found.numbers.count, sizeof(found.numbers.items[0]),
		    compare_numbers);
	for (size_t i = 0; i < found.numbers.count && result == 0; i++) {
		char name[PIECE_NAME_SIZE];

		result = read_history(archive, piece_history_name(found.numbers.items[i], name),
		    &branches, err);
	}
	vec_done(&found.numbers);
	if (result < 0)
		return -1;
	*ret_branches = branches;
	branches = (struct branches){ .items = { .count = 0 } };

	return 0;
}

/* ---- writing ---------------------------------------------------------------------------------- */

static char *
format_branch(const struct branch *branch)
{
	char at[CLOCK_TEXT_SIZE];
	char from[24];
	char *text;
	json_t *root = json_object();

	(void)snprintf(from, sizeof(from), "%" PRIu64, branch->from);
	(void)json_object_set_new(root, "format", json_integer(1));
	(void)json_object_set_new(root, "kind", json_string(BRANCH_KIND));
	(void)json_object_set_new(root, "branch", json_integer(branch->number));
	(void)json_object_set_new(root, "replication_id", json_string(branch->replid));
	(void)json_object_set_new(root, "from", json_string(from));
	(void)json_object_set_new(root, "parent", json_integer(branch->parent));
	(void)json_object_set_new(root, "at", json_string(clock_format(branch->at, at)));
	(void)json_object_set_new(root, "reason",
	    json_string(branch->reason != NULL ? branch->reason : ""));
	text = json_dumps(root, JSON_INDENT(2));
	json_decref(root);

	return text;
}

int
branches_add(struct branches *branches, struct archive *archive, struct branch *branch,
    struct err *err)
{
	size_t count = branches->items.count;
	SCOPED(freep) char *text = NULL;
	char name[PIECE_NAME_SIZE];
	struct branch copy;

	branch->number = count > 0 ? branches->items.items[count - 1].number + 1 : 1;
	text = format_branch(branch);
	SCOPED(sink_freep)
	struct sink *sink = archive_put(archive, piece_history_name(branch->number, name), err);
	if (sink == NULL || sink_write(sink, text, strlen(text), err) < 0 ||
	    sink_finish(sink, err) < 0)
		return -1;
	copy = *branch;
	copy.reason = xstrdup(branch->reason);
	vec_push(&branches->items, copy);

	return 0;
}

/* ---- who comes from whom ------------------------------------------------------------------------ */

uint32_t
branches_root(const struct branches *branches, uint32_t branch)
{
	const struct branch *at;

	/* A parent's number is lower, so this ends. */
	while ((at = branches_find(branches, branch)) != NULL && at->parent != 0)
		branch = at->parent;

	return branch;
}

uint32_t
branches_before(const struct branches *branches, uint32_t branch)
{
	uint32_t root = branches_root(branches, branch);
	uint32_t before = 0;

	for (size_t i = 0; i < branches->items.count; i++) {
		if (branches->items.items[i].number < root)
			before = branches->items.items[i].number;
	}

	return before;
}

bool
branches_share(const struct branches *branches, uint32_t branch, uint32_t ancestor,
    uint64_t *ret_until)
{
	uint64_t until = UINT64_MAX;

	/* A parent's number is lower, so this ends. */
	while (branch != ancestor && branch != 0) {
		const struct branch *at = branches_find(branches, branch);

		if (at == NULL || at->parent == 0)
			return false;
		if (at->from < until)
			until = at->from;
		branch = at->parent;
	}
	*ret_until = until;

	return branch == ancestor;
}

bool
branches_is_history(const struct branches *branches, uint32_t branch, uint32_t ancestor,
    uint64_t offset)
{
	uint64_t until;

	return branches_share(branches, branch, ancestor, &until) && offset <= until;
}
