/* What the server keeps on its own disk, and what a restart or a restored file would meet. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "source/redis/check/check_internal.h"

static void
check_health(struct checking *checking)
{
	SCOPED(freep) char *saved = redis_info_get(&checking->info, "rdb_last_bgsave_status");
	SCOPED(freep) char *written = redis_info_get(&checking->info, "aof_last_write_status");
	SCOPED(freep)
	char *rewritten = redis_info_get(&checking->info, "aof_last_bgrewrite_status");
	bool is_good = !str_equals(saved, "err") && !str_equals(written, "err") &&
	    !str_equals(rewritten, "err");

	checking_add(checking, is_good ? CHECK_OK : CHECK_WARNING, "persistence",
	    is_good ? NULL : "Look into the server's log: it cannot write its own files.",
	    "last save %s, last AOF write %s, last AOF rewrite %s",
	    saved != NULL ? saved : "not known", written != NULL ? written : "not known",
	    rewritten != NULL ? rewritten : "not known");
}

static void
check_files(struct checking *checking)
{
	struct err ignored = ERR_INIT;
	SCOPED(freep) char *points = redis_setting(checking->conn, "save", &ignored);
	SCOPED(freep) char *sync = redis_setting(checking->conn, "appendfsync", &ignored);
	bool has_aof = redis_info_number(&checking->info, "aof_enabled") != 0;

	if (has_aof)
		checking_add(checking, CHECK_NOTE, "appendonly",
		    "blackstart restore writes the AOF as well: use it in place of a copy of "
		    "dump.rdb",
		    "appendonly yes, appendfsync %s: a restart loads the AOF alone, and passes by "
		    "a dump.rdb that was put beside it",
		    sync != NULL && sync[0] != '\0' ? sync : "not known");
	else if (points != NULL && points[0] == '\0')
		checking_add(checking, CHECK_WARNING, "appendonly",
		    "redis-cli CONFIG SET appendonly yes",
		    "appendonly no and no save points: a restart of the server begins empty");
	else
		checking_add(checking, CHECK_OK, "appendonly", NULL,
		    "appendonly no: a restart loads dump.rdb");
}

void
check_keeping(struct checking *checking)
{
	check_health(checking);
	check_files(checking);
}
