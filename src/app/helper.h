/*
 * The feeder that archive-get leaves behind for the calls that follow it: a recovery asks for one
 * segment after the other, each with a command of its own.  It is a help and no more: whatever is
 * wrong with it, the caller does the work himself.
 */
#ifndef APP_HELPER_H
#define APP_HELPER_H

#include <stdbool.h>

struct archive;
struct source;
struct store;

/*
 * Where the helper for this archive and this target's folder listens, yours; NULL: there is no
 * safe place for it.  Nobody but this user can reach it.
 */
char *helper_socket(const struct store *store, const struct archive *archive, const char *to_path);

/* Is there a helper, and has it delivered `name` into `to_path`. */
bool helper_fetch(const char *socket_path, const char *name, const char *to_path);

/*
 * Start one: `name` lies in `to_path` now, others will be asked for.  Returns in this process; the
 * helper ends by itself.
 */
void helper_start(const char *socket_path, struct source *source, struct archive *archive,
    const char *name, const char *to_path);

#endif
