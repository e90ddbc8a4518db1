#include "repo/manifest_scan.h"

#include <jansson.h>
#include <string.h>

struct scan {
	const char *text;
	size_t size;
	size_t at;
};

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void
skip_space(struct scan *scan)
{
	while (scan->at < scan->size && is_space(scan->text[scan->at]))
		scan->at++;
}

static bool
take(struct scan *scan, char c)
{
	skip_space(scan);
	if (scan->at == scan->size || scan->text[scan->at] != c)
		return false;
	scan->at++;

	return true;
}

/* Past a string whose opening quote has been taken; what is in it, escapes and all. */
static bool
take_string(struct scan *scan, const char **ret_text, size_t *ret_size)
{
	size_t begin = scan->at;

	for (; scan->at < scan->size; scan->at++) {
		if (scan->text[scan->at] == '"') {
			*ret_text = scan->text + begin;
			*ret_size = scan->at++ - begin;
			return true;
		}
		if (scan->text[scan->at] == '\\')
			scan->at++;
	}

	return false;
}

/* Past one value of any kind: to the comma or bracket that ends it. */
static bool
skip_value(struct scan *scan)
{
	size_t depth = 0;

	for (; scan->at < scan->size; scan->at++) {
		char c = scan->text[scan->at];
		const char *text;
		size_t size;

		if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			return true;
		if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
		if (c != '"')
			continue;
		scan->at++;
		if (!take_string(scan, &text, &size))
			return false;
		scan->at--;
	}

	return false;
}

/* The opening bracket of the list has been taken. */
static bool
take_list(struct scan *scan, struct files_span *ret_span)
{
	size_t begin = scan->at;

	do {
		if (!skip_value(scan))
			return false;
	} while (take(scan, ','));
	if (scan->text[scan->at] != ']')
		return false;
	*ret_span = (struct files_span){ .begin = begin, .end = scan->at };

	return true;
}

bool
manifest_scan_files(const char *text, size_t size, struct files_span *ret_span)
{
	struct scan scan = { .text = text, .size = size };

	if (!take(&scan, '{'))
		return false;
	do {
		const char *key;
		size_t key_size;

		if (!take(&scan, '"') || !take_string(&scan, &key, &key_size) || !take(&scan, ':'))
			return false;
		if (key_size == strlen("files") && memcmp(key, "files", key_size) == 0)
			return take(&scan, '[') && take_list(&scan, ret_span);
		if (!skip_value(&scan))
			return false;
	} while (take(&scan, ','));

	return false;
}

int
manifest_scan_next(const char *text, struct files_span *span, struct json_t **ret_file)
{
	struct scan scan = { .text = text, .size = span->end, .at = span->begin };
	json_error_t problem;

	skip_space(&scan);
	if (scan.at == scan.size)
		return 0;
	*ret_file = json_loadb(text + scan.at, scan.size - scan.at,
	    JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &problem);
	if (*ret_file == NULL)
		return -1;
	scan.at += (size_t)problem.position;
	skip_space(&scan);
	/* A comma, and something behind it; or the end. */
	if (scan.at < scan.size && take(&scan, ',')) {
		span->begin = scan.at;
		skip_space(&scan);
		if (scan.at < scan.size)
			return 1;
	} else if (scan.at == scan.size) {
		span->begin = scan.size;
		return 1;
	}
	json_decref(*ret_file);

	return -1;
}

bool
manifest_is_shallow(const char *text, size_t size, int depth)
{
	int level = 0;
	bool is_string = false;

	for (size_t i = 0; i < size && level <= depth; i++) {
		if (is_string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			is_string = !is_string;
		else if (!is_string && (text[i] == '{' || text[i] == '['))
			level++;
		else if (!is_string && (text[i] == '}' || text[i] == ']'))
			level--;
	}

	return level <= depth;
}
