/*
 * What becomes of times of expiry when an old state is brought back.  They are absolute, so a key
 * that had an hour to live then is over now, and a server removes it within a second of becoming
 * a master: the state would not be the one that was asked for.
 */
#ifndef SOURCE_REDIS_REPLAY_EXPIRY_H
#define SOURCE_REDIS_REPLAY_EXPIRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"
#include "source/source.h"

struct err;
struct sink;
struct str;

struct expiry_policy {
	enum restore_ttl ttl;
	int64_t shift_us; /* RESTORE_TTL_SHIFT: added to each time */
};

/* What happened to the times of a file. */
struct expiry_report {
	uint64_t changed;
	bool
	    has_field_times; /* fields of hashes with times of their own, which are left as they are */
};

/*
 * A link that takes an RDB file and hands it on with its times changed and a checksum of its own
 * (none where it had none).  Takes over `next`; *ret_report is a loan, complete after finish.
 */
struct sink *expiry_sink_new(struct sink *next, const struct expiry_policy *policy,
    struct expiry_report *ret_report) MUST_CHECK;

/*
 * One command of a replication stream, whole, as bytes: add it to `to` with its times changed.
 * Servers send nothing but absolute times (propagateNow and rewriteClientCommandVector in the
 * sources of Redis).  `name` is in upper case.  ERR_DATA: it is no command.
 */
int expiry_add_command(const struct expiry_policy *policy, const char *name, const void *data,
    size_t size, struct str *to, uint64_t *changed, struct err *err) MUST_CHECK;

#endif
