/*
 * Where finished files live.  Objects have relative names with '/' between the parts; they are
 * written once, whole or not at all, and never changed.  A folder today, a bucket later.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

struct blob;
struct err;
struct sink;
struct store;

struct store_object {
	char *name;
	uint64_t bytes;
	struct wall_time modified;
};

struct store_listing {
	VEC(struct store_object) objects; /* sorted by name */
};

struct store_names {
	VEC(char *) items; /* without their folder's */
};

/* An entry of a folder; name is without the folder's, a loan until the visit ends. */
struct store_entry {
	const char *name;
	bool is_folder;
};
/* 0: go on, 1: enough, -1: failed. */
struct store_visitor {
	int (*visit)(struct store_visitor *visitor, const struct store_entry *entry,
	    struct err *err);
};

struct store_space {
	uint64_t used_bytes;
	uint64_t capacity_bytes; /* 0: without limit */
	uint64_t available_bytes;
};

struct store_ops {
	const char *kind; /* "posix" */
	struct sink *(*put)(struct store *store, const char *name, const char *run_id,
	    struct err *err);
	struct blob *(*get)(struct store *store, const char *name, struct err *err);
	int (*list)(struct store *store, const char *prefix, struct store_listing *ret_listing,
	    struct err *err);
	int (*scan)(struct store *store, const char *folder, struct store_visitor *visitor,
	    struct err *err);
	int (*make_folder)(struct store *store, const char *folder, struct err *err);
	int (*stat)(struct store *store, const char *name, struct store_object *ret_object,
	    struct err *err);
	int (*remove)(struct store *store, const char *name, struct err *err);
	int (*space)(struct store *store, struct store_space *ret_space, struct err *err);
	char *(*local_path)(struct store *store, const char *name);
	int (*sweep)(struct store *store, unsigned *ret_removed, struct err *err);
	int (*unfinished)(struct store *store, const char *folder, struct store_names *ret_names,
	    struct err *err);
	void (*free)(struct store *store);
};

struct store {
	const struct store_ops *ops;
	char *location; /* for people: "/backups" */
	char *id;       /* from .blackstart/store.json */
	char *site;     /* the site it belongs to, "" when none has claimed it */
	bool is_bare;   /* a folder of somebody's files, without a store.json: for reading only */
	bool is_read_only;  /* opened for reading: nothing is made in it */
	unsigned file_mode; /* of files in it, for those that are not written by store_put */
	int file_gid;       /* group of its files, -1: none */
};

/* A sink for a new object; durable when its finish returns 0.  ERR_EXISTS if the name is taken. */
struct sink *store_put(struct store *store, const char *name, const char *run_id, struct err *err)
    MUST_CHECK;

/* A small whole object in one call. */
int store_put_text(struct store *store, const char *name, const char *run_id, const char *text,
    struct err *err) MUST_CHECK;

struct blob *store_get(struct store *store, const char *name, struct err *err) MUST_CHECK;

/* A small whole object of at most `max_bytes`. */
struct str;
int store_get_text(struct store *store, const char *name, size_t max_bytes, struct str *to,
    struct err *err) MUST_CHECK;

/*
 * All objects below `prefix` ("" or "folder" or "folder/sub"), recursively, without temporary
 * ones.  A missing prefix is an empty listing.
 */
int store_list(struct store *store, const char *prefix, struct store_listing *ret_listing,
    struct err *err) MUST_CHECK;
void store_listing_done(struct store_listing *listing);

/*
 * Visit what lies in one folder ("" is the root), not what is below its folders: no sorting, no
 * look at each file, so that a million files take half a second.  Temporary ones are left out; a
 * missing folder is empty.
 */
int store_scan(struct store *store, const char *folder, struct store_visitor *visitor,
    struct err *err) MUST_CHECK;

/* Make a folder and those above it, durably; one that is there is ok. */
int store_make_folder(struct store *store, const char *folder, struct err *err) MUST_CHECK;

bool store_has(struct store *store, const char *name);
int store_stat(struct store *store, const char *name, struct store_object *ret_object,
    struct err *err) MUST_CHECK; /* free ret_object->name */

/* Durable removal; a folder left empty by it goes too.  A missing object is ok. */
int store_remove(struct store *store, const char *name, struct err *err) MUST_CHECK;

int store_space(struct store *store, struct store_space *ret_space, struct err *err) MUST_CHECK;

/* The object's path on this machine, yours, or NULL where the store has none. */
char *store_local_path(struct store *store, const char *name) MUST_CHECK;

/* Remove temporary objects whose run is dead (their lock is free).  Tells how many. */
int store_sweep(struct store *store, unsigned *ret_removed, struct err *err) MUST_CHECK;

/*
 * Which of the finished files in a folder ("" is the root) are of a run that has not got to its
 * manifest, alive or dead: they belong to no backup.  A missing folder has none.
 */
int store_unfinished(struct store *store, const char *folder, struct store_names *ret_names,
    struct err *err) MUST_CHECK;
void store_names_done(struct store_names *names);

void store_close(struct store *store);
SCOPED_FREE(struct store, store_close)

#endif
