/*
 * The content of a base backup's manifest as a plain struct, and its parts by name.  What it
 * means is described in docs/store-format.md.
 */
#ifndef SOURCE_POSTGRES_BASE_CONTENT_H
#define SOURCE_POSTGRES_BASE_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/vec.h"

struct backup_view;
struct err;
struct json_t;
struct manifest;
struct manifest_file;

struct base_space {
	const char *oid;      /* loans of the manifest, as all texts here */
	const char *name;     /* NULL: not known */
	const char *location; /* where it was at the source */
	const struct manifest_file *file;
};

struct base_content {
	uint64_t system_identifier;
	int server_version; /* 150004 */
	uint64_t start_lsn;
	uint64_t end_lsn;
	uint32_t start_timeline;
	uint32_t end_timeline;
	uint64_t wal_segment_bytes;
	bool has_wal;
	uint64_t next_xid; /* no transaction before it ran at the end; 0: not known */
	bool has_checksums;
	const char *superuser;                /* NULL: not known */
	const struct manifest_file *base;     /* base.tar */
	const struct manifest_file *manifest; /* backup_manifest */
	VEC(struct base_space) spaces;
	const struct json_t *databases;     /* names; may be NULL */
	const struct json_t *damaged_files; /* known when the backup was made; may be NULL */
};

/* ERR_DATA names the field or the part that is missing.  A loan of `manifest`. */
int base_content_read(const struct manifest *manifest, struct base_content *ret_content,
    struct err *err) MUST_CHECK;
void base_content_done(struct base_content *content);

/* The part `name` (stored as "name" or "name.zst"), or NULL. */
const struct manifest_file *base_part(const struct manifest *manifest, const char *name);

bool base_content_is_damaged(const struct base_content *content, const char *path);

/* Bytes of all archives before compression. */
uint64_t base_content_bytes(const struct base_content *content);

/*
 * Read every archive and the server's manifest through `reader`: nothing is left unread, and the
 * manifest agrees, when this succeeds.  The manifest's bytes go to `copy` too (taken over; NULL:
 * nowhere).
 */
struct base_reader;
struct sink;
int base_content_read_all(const struct base_content *content, const struct backup_view *view,
    struct base_reader *reader, struct sink *copy, struct err *err) MUST_CHECK;

/* settings.json of the backup, or NULL when it has none.  Yours.  Fails only on a bad one. */
int base_content_settings(const struct backup_view *view, struct json_t **ret_settings,
    struct err *err) MUST_CHECK;

/* A small part as text into `to`; ERR_NOT_FOUND when there is none. */
struct str;
int base_content_text(const struct backup_view *view, const char *part, struct str *to,
    struct err *err) MUST_CHECK;

#endif
