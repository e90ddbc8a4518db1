/* To which point a restore goes, as it is typed; and how its server will ask for the log. */
#ifndef APP_CLI_TARGET_H
#define APP_CLI_TARGET_H

#include "base/scope.h"
#include "base/vec.h"

struct cli;
struct err;
struct restore_target;

/*
 * --at, --lsn, --xid, --point (at most one of them), --exclusive, --timeline.  A time without an
 * offset is of the site's zone, and that is said aloud; one that does not exist, or exists twice,
 * is refused.  Without any of them TARGET_BACKUP.  Texts are loans of the command line.
 */
int cli_target(const struct cli *cli, struct restore_target *ret_target, struct err *err)
    MUST_CHECK;

/* argv of this very program with `archive-get` and where the store is, NULL-terminated. */
struct fetcher {
	VEC(char *) words; /* owned */
	const char *const *argv;
};
int fetcher_init(struct fetcher *fetcher, const struct cli *cli, const char *source,
    struct err *err) MUST_CHECK;
void fetcher_done(struct fetcher *fetcher);

#endif
