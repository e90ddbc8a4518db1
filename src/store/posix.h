/* The store in a folder of this machine (or a mounted share). */
#ifndef STORE_POSIX_H
#define STORE_POSIX_H

#include <stdbool.h>

#include "base/scope.h"

struct err;
struct store;

struct posix_store_options {
	const char *path;
	const char *site;   /* NULL: any site, for reading and for use without a config */
	const char *group;  /* group that may read the files, NULL: nobody else */
	bool require_mount; /* refuse when `path` is not a mount point */
	bool may_create;    /* make the folder and store.json when missing */
	bool is_read_only;  /* do not demand that it is writable */
	bool accepts_bare;  /* a folder without store.json will do: its id is made of its path */
};

/*
 * Open it: the path exists (or may be created), is writable, is mounted when that is required,
 * and belongs to our site.  Writes .blackstart/store.json once.  ERR_REFUSED, with the way out,
 * for a store of another site or of a newer format.
 */
struct store *posix_store_open(const struct posix_store_options *options, struct err *err)
    MUST_CHECK;

#endif
