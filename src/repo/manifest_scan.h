/*
 * Finds the list of files in a manifest's text, so that it can be read one file at a time: as one
 * tree of JSON it takes ten times its text, and a dump in directory format has a file for each
 * table.  Only finds; what is no such text is for the JSON parser to refuse.
 */
#ifndef REPO_MANIFEST_SCAN_H
#define REPO_MANIFEST_SCAN_H

#include <stdbool.h>
#include <stddef.h>

struct json_t;

/* What stands between the brackets of the first "files": [...] at the top. */
struct files_span {
	size_t begin;
	size_t end; /* where the closing bracket is */
};

/* False when there is none, or the text is too odd to tell. */
bool manifest_scan_files(const char *text, size_t size, struct files_span *ret_span);

/*
 * Take the first file out of the span.  1: *ret_file is it, yours; 0: there is none; -1: what
 * stands there is not one object after the other.
 */
int manifest_scan_next(const char *text, struct files_span *span, struct json_t **ret_file);

/* Is the JSON nested no deeper than `depth`; counted in the text, before anything recurses. */
bool manifest_is_shallow(const char *text, size_t size, int depth);

#endif
