/*
 * Files of a base backup written into a new data directory, as a base_observer.
 *
 * pg_control is the file without which no server starts, so its bytes stay in memory until
 * everything else is on the disk: a restore that was cut off cannot be taken for a whole one.
 * Symbolic links are refused: the server describes tablespaces in tablespace_map, and anything
 * else of the kind would let an archive write outside the folder.
 */
#ifndef SOURCE_POSTGRES_BASE_EXTRACT_H
#define SOURCE_POSTGRES_BASE_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/scope.h"
#include "source/postgres/base/reader.h"

struct base_extract;
struct err;
struct progress;

struct base_extract_options {
	const char *data_dir; /* exists and is empty */
	bool has_owner;       /* give what is made to this user */
	uid_t uid;
	gid_t gid;
	struct progress *progress; /* told of the bytes written */
};

struct base_extract *base_extract_new(const struct base_extract_options *options, struct err *err)
    MUST_CHECK;

/* Files of tablespace `oid` go to `folder`, which exists and is empty. */
int base_extract_add_space(struct base_extract *extract, const char *oid, const char *folder,
    struct err *err) MUST_CHECK;

struct base_observer base_extract_observer(struct base_extract *extract) MUST_CHECK;

/*
 * Write one more file of our own into the data directory, replacing one of the backup's; 0600
 * (0640 where the backup is readable by the group), owned as the rest.
 */
int base_extract_write(struct base_extract *extract, const char *name, const void *data,
    size_t size, struct err *err) MUST_CHECK;

/* Remove a file of the backup from the data directory; a missing one is ok. */
int base_extract_remove(struct base_extract *extract, const char *name, struct err *err) MUST_CHECK;

/* An open file of our own, write-only; the descriptor is yours. */
int base_extract_create(struct base_extract *extract, const char *name, int *ret_fd,
    struct err *err) MUST_CHECK;

/*
 * Write tablespace_map anew, for the folders that were added; recovery makes the links in
 * pg_tblspc from it.  After the server's manifest was compared: it lists the original.
 */
int base_extract_write_map(struct base_extract *extract, struct err *err) MUST_CHECK;

/* What pg_control holds, once it was seen; a loan.  NULL and 0 before. */
const void *base_extract_control(const struct base_extract *extract, size_t *ret_size);

/*
 * Make everything durable, then write pg_control and make that durable as well.  One syncfs for
 * each file system takes the place of an fsync for each of thousands of files: it writes the
 * same pages, in the disk's order, and waits once (since Linux 5.8 it reports write errors like
 * fsync).  With `is_durable` false nothing is synced: for a copy that is thrown away.
 */
int base_extract_finish(struct base_extract *extract, bool is_durable, struct err *err) MUST_CHECK;

void base_extract_free(struct base_extract *extract); /* NULL is ok; files stay */
SCOPED_FREE(struct base_extract, base_extract_free)

#endif
