/* What the files of the posix store share. */
#ifndef STORE_POSIX_INTERNAL_H
#define STORE_POSIX_INTERNAL_H

#include <dirent.h>
#include <stdbool.h>
#include <sys/types.h>

#include "store/store.h"

/* Folders nested deeper than this are not ours; the bound keeps a walk from running wild. */
enum { POSIX_MAX_DEPTH = 64 };

struct posix_store {
	struct store base; /* base.location is the path of the root */
	int gid;           /* group that may read, -1: none */
	mode_t folder_mode;
	mode_t file_mode;
};

extern const struct store_ops posix_ops;

/* Make the folder `path` whose parent exists, with the store's mode and group. */
int posix_make_folder(const struct posix_store *store, const char *path, struct err *err)
    MUST_CHECK;

/* Open the folder `name` in `at` for reading; NULL without an error when it is gone by now. */
DIR *posix_open_folder(int at, const char *name, const char *path, bool *ret_is_gone,
    struct err *err) MUST_CHECK;
void posix_close_folder(DIR **dir);

/* What an entry is, without following a symbolic link: DT_REG, DT_DIR or anything else. */
unsigned char posix_entry_type(int at, const struct dirent *entry);

/* Entries that no walk looks at: "." and "..", and what the file system keeps for itself. */
bool posix_is_foreign(const char *name);

int posix_sweep(struct store *store, unsigned *ret_removed, struct err *err) MUST_CHECK;
int posix_unfinished(struct store *store, const char *folder, struct store_names *ret_names,
    struct err *err) MUST_CHECK;

#endif
