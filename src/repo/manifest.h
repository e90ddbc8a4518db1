/*
 * The manifest: what one backup is, in JSON, written last and once.  Fields are only ever added;
 * those we do not know are kept, at the top and inside the objects we know.  64-bit ids and LSNs
 * are strings.  The format is described in docs/store-format.md.  Pure: no I/O here.
 */
#ifndef REPO_MANIFEST_H
#define REPO_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

struct err;
struct json_t;

enum {
	MANIFEST_FORMAT = 1,
	MANIFEST_MAX_BYTES = 256 * 1024 * 1024,
	MANIFEST_MAX_FILES = 1000 * 1000,
	MANIFEST_MAX_DEPTH = 32, /* of nested JSON */
	MANIFEST_BLOCK_BYTES = 4 * 1024 * 1024,
};

struct manifest_file {
	char *name; /* in the manifest's own folder; '/' for a dump in directory format */
	uint64_t bytes;
	char sha256[65];
	uint64_t content_bytes;     /* before compression; equal to bytes where there is none */
	char *compression;          /* "none" or "zstd" (ours, around the content) */
	char *of;                   /* NULL, or the id of the earlier backup that keeps this file */
	VEC(uint32_t) block_crc32c; /* of each MANIFEST_BLOCK_BYTES stored; empty: not known */
	struct json_t *unknown;     /* fields we do not know, kept; NULL or owned */
};

struct manifest_warning {
	char *code; /* "damaged_at_source", "tool_message", ... */
	char *text;
	struct json_t *unknown; /* as above */
};

struct manifest {
	char *id;
	char *job;
	char *kind; /* "dump", "base", ... */
	char *source_name;
	char *source_type;     /* "postgres" */
	char *source_identity; /* PostgreSQL system identifier, ...; "" when not known */
	char *source_version;  /* "16.4" */
	struct wall_time started;
	struct wall_time finished;
	struct wall_time consistent_at; /* the instant its content stands for */
	VEC(struct manifest_file) files;
	VEC(struct manifest_warning) warnings;
	struct json_t *content;        /* per kind; an object; owned */
	struct json_t *unknown;        /* top-level fields we do not know, kept; NULL or owned */
	struct json_t *source_unknown; /* the same inside "source" ... */
	struct json_t *tool_unknown;   /* ... and "tool" */
	char *tool_name;
	char *tool_version;
	bool is_adopted; /* written by verify for a file that was there before */
};

/* An empty manifest with an empty content object.  Yours. */
struct manifest *manifest_new(void) MUST_CHECK;

/*
 * ERR_DATA names the field that is missing or wrong, ERR_LIMIT the limit that is exceeded;
 * ERR_UNSUPPORTED for a newer format.  What comes back is safe to use: the id fits into a name,
 * file names are relative, distinct and stay inside their folder, hashes are 64 lower-case hex
 * digits, block checksums are one for each block of the file.
 */
struct manifest *manifest_parse(const char *text, size_t size, struct err *err) MUST_CHECK;

/*
 * JSON text with a newline at its end; the same manifest gives the same text, and parsing that
 * text gives the same manifest.  One line for each file and warning.  A NULL text is written as
 * "", a NULL compression as "none".  Yours.
 */
char *manifest_format(const struct manifest *manifest) MUST_CHECK;

void manifest_add_warning(struct manifest *manifest, const char *code, const char *format, ...)
    PRINTF_LIKE(3, 4);
bool manifest_has_warning(const struct manifest *manifest, const char *code);

/* The file of this name, or NULL. */
const struct manifest_file *manifest_find_file(const struct manifest *manifest, const char *name);

/* The name that two files have, or NULL; a loan. */
const char *manifest_repeated_name(const struct manifest *manifest);

/* Sums over all files; files of earlier backups ("of") are content, but not stored here. */
uint64_t manifest_stored_bytes(const struct manifest *manifest);
uint64_t manifest_content_bytes(const struct manifest *manifest);

void manifest_free(struct manifest *manifest);
SCOPED_FREE(struct manifest, manifest_free)

#endif
