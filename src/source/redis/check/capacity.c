/*
 * Is there room for what a copy of the data costs the server: memory for the fork, and backlog and
 * buffers for what clients write meanwhile.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "os/file.h"
#include "source/redis/check/check_internal.h"

enum {
	REPL_TIMEOUT_MIN_S = 30,
	FORK_LONG_US = 1000 * 1000,
	BREAK_SHORT_S = 60,
	BREAK_LONG_S = 15 * 60,
	SIZE_TEXT_BYTES = 32,
	PROC_MAX_BYTES = 64 * 1024,
};
/* What a server with one core makes of its data in a second, with its own compression. */
#define COPY_BYTES_PER_S UINT64_C(50000000)

/* ---- memory ------------------------------------------------------------------------------------ */

/* The first number behind `field` in a file of /proc. */
static bool
proc_number(const char *path, const char *field, uint64_t *ret_value)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(PROC_MAX_BYTES);
	struct err ignored = ERR_INIT;
	const char *at;
	char *end;

	if (file_read_all(path, PROC_MAX_BYTES, &text, &ignored) < 0)
		return false;
	at = strstr(str_text(&text), field);
	if (at == NULL)
		return false;
	at += strlen(field);
	*ret_value = strtoull(at, &end, 10);

	return end != at;
}

/* Of this machine's kernel, so only when the server runs on it. */
static void
check_overcommit(struct checking *checking, uint64_t used)
{
	uint64_t mode, available_kb;
	char used_text[SIZE_TEXT_BYTES], free_text[SIZE_TEXT_BYTES];
	bool is_short;

	if (!checking->is_local || !proc_number("/proc/sys/vm/overcommit_memory", "", &mode) ||
	    !proc_number("/proc/meminfo", "MemAvailable:", &available_kb))
		return;
	is_short = used / 1024 > available_kb;
	checking_add(checking, mode == 1 || !is_short ? CHECK_OK : CHECK_WARNING, "overcommit",
	    mode == 1 || !is_short ? NULL : "sysctl vm.overcommit_memory=1",
	    "vm.overcommit_memory is %" PRIu64 ", %s are in use by the server and %s free%s", mode,
	    format_bytes(used, used_text), format_bytes(available_kb * 1024, free_text),
	    mode == 1 || !is_short ? "" : ": the kernel may refuse the fork that a copy needs");
}

/* The picture is taken by a fork: pages that change meanwhile exist twice. */
void
check_memory(struct checking *checking)
{
	uint64_t used = redis_info_number(&checking->info, "used_memory");
	uint64_t total = redis_info_number(&checking->info, "total_system_memory");
	uint64_t fork_us = redis_info_number(&checking->info, "latest_fork_usec");
	char used_text[SIZE_TEXT_BYTES], total_text[SIZE_TEXT_BYTES];
	bool is_tight = total > 0 && used > total / 2;

	if (total > 0)
		checking_add(checking, is_tight ? CHECK_WARNING : CHECK_OK, "memory",
		    is_tight ? "Back up a replica on a machine with more memory, or set a lower "
			       "maxmemory."
			     : NULL,
		    "%s of data on a machine with %s%s", format_bytes(used, used_text),
		    format_bytes(total, total_text),
		    is_tight ? ": while a copy is made, up to twice the data may be needed" : "");
	check_overcommit(checking, used);
	if (fork_us > FORK_LONG_US)
		checking_add(checking, CHECK_WARNING, "fork_time",
		    "Back up a replica: its clients can wait.",
		    "the last fork held the server for %" PRIu64 " ms", fork_us / 1000);
}

/* ---- limits of replication --------------------------------------------------------------------- */

static void
check_timeout(struct checking *checking)
{
	struct err ignored = ERR_INIT;
	SCOPED(freep) char *text = redis_setting(checking->conn, "repl-timeout", &ignored);
	unsigned seconds;
	bool is_short;

	if (text == NULL || parse_unsigned(text, 0, 1000000, &seconds, &ignored) < 0)
		return;
	is_short = seconds < REPL_TIMEOUT_MIN_S;
	checking_add(checking, is_short ? CHECK_WARNING : CHECK_OK, "repl_timeout",
	    is_short ? "redis-cli CONFIG SET repl-timeout 60" : NULL,
	    "the server gives up a copy that stands still for %u s", seconds);
}

/* How long a stream may be cut before it needs a whole new copy. */
static void
check_backlog(struct checking *checking)
{
	struct err ignored = ERR_INIT;
	SCOPED(freep) char *text = redis_setting(checking->conn, "repl-backlog-size", &ignored);
	uint64_t rate = checking->writes_bytes_per_s;
	const char *about = checking->is_writes_exact ? "" : "at most ";
	char size_text[SIZE_TEXT_BYTES], rate_text[SIZE_TEXT_BYTES];
	uint64_t size, lasts_s;

	if (text == NULL || parse_u64(text, 1, UINT64_MAX, &size, &ignored) < 0)
		return;
	(void)format_bytes(size, size_text);
	lasts_s = rate > 0 ? size / rate : UINT64_MAX;
	if (lasts_s >= BREAK_LONG_S) {
		checking_add(checking, CHECK_OK, "backlog", NULL,
		    "%s; clients write %s%s a second now", size_text, about,
		    format_bytes(rate, rate_text));
		return;
	}
	SCOPED(freep)
	char *fix = xasprintf("redis-cli CONFIG SET repl-backlog-size %" PRIu64,
	    rate * BREAK_LONG_S);
	checking_add(checking, lasts_s < BREAK_SHORT_S ? CHECK_WARNING : CHECK_NOTE, "backlog", fix,
	    "%s hold %" PRIu64 " s of what clients write now (%s%s a second): a stream that was "
	    "cut for longer begins anew, with a whole copy",
	    size_text, lasts_s, about, format_bytes(rate, rate_text));
}

/* "normal 0 0 0 slave 268435456 67108864 60 pubsub ...": the hard limit of replicas. */
static bool
replica_buffer(const char *text, uint64_t *ret_hard)
{
	static const char *const names[] = { "slave ", "replica " };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *at = strstr(text, names[i]);

		if (at == NULL)
			continue;
		*ret_hard = strtoull(at + strlen(names[i]), NULL, 10);
		return true;
	}

	return false;
}

/*
 * Writes queue up in the server while a copy is under way, unless it was asked for the copy alone
 * (rdb-only, 6.2 and later).  More than the buffer holds, and it ends the copy, each time anew.
 */
static void
check_buffer(struct checking *checking)
{
	struct err ignored = ERR_INIT;
	SCOPED(freep)
	char *text = redis_setting(checking->conn, "client-output-buffer-limit", &ignored);
	uint64_t data = redis_info_number(&checking->info, "used_memory");
	uint64_t needed = data / COPY_BYTES_PER_S * checking->writes_bytes_per_s;
	char hard_text[SIZE_TEXT_BYTES], needed_text[SIZE_TEXT_BYTES];
	uint64_t hard;

	if (text == NULL || !replica_buffer(text, &hard))
		return;
	if (hard == 0 || needed <= hard) {
		checking_add(checking, CHECK_OK, "output_buffer", NULL,
		    "%s for a replica that takes a copy",
		    hard == 0 ? "no limit" : format_bytes(hard, hard_text));
		return;
	}
	SCOPED(freep)
	char *fix = xasprintf("redis-cli CONFIG SET client-output-buffer-limit 'replica %" PRIu64
			      " %" PRIu64 " 60'",
	    needed * 2, needed);
	checking_add(checking, CHECK_WARNING, "output_buffer", fix,
	    "%s for a replica that takes a copy; clients would write about %s meanwhile",
	    format_bytes(hard, hard_text), format_bytes(needed, needed_text));
}

void
check_replication_limits(struct checking *checking)
{
	check_timeout(checking);
	check_backlog(checking);
	check_buffer(checking);
}
