#include "source/redis/redis.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "repo/manifest.h"
#include "source/redis/aof/aof.h"
#include "source/redis/keyed/keyed.h"
#include "source/redis/ready.h"
#include "source/redis/redis_internal.h"
#include "source/redis/stream/chain.h"
#include "source/redis/stream/expire.h"
#include "source/redis/stream/follow.h"
#include "source/redis/stream/pack.h"
#include "source/redis/stream/window.h"

enum { DEFAULT_PORT = 6379 };

static const struct backup_kind redis_kinds[] = {
	{
	    .name = "rdb",
	    .layout = { .subfolder = "", .stem_prefix = "dump-", .has_time = true },
	    .adopts = NULL,
	    .is_window_base = true,
	    .default_level = 1,
	},
	{
	    .name = "aof",
	    .layout = { .subfolder = "aof", .stem_prefix = NULL },
	    .adopts = NULL,
	    .is_window_base = false,
	    .default_level = 1,
	},
};

static const struct stream_kind redis_stream = {
	.name = "stream",
	.folder = "stream",
	.base = "rdb",
	.counts_bytes = true,
};

/*
 * A Redis has no identity: its run id changes with every start, its replication id with every
 * start or failover.  A check against them would refuse the backup after a reboot.
 */
static int
redis_identify(struct source *source, struct source_identity *ret_identity, struct err *err)
{
	SCOPED(str_done) struct str info = STR_INIT;
	const char *family;

	SCOPED(redis_conn_freep) struct redis_conn *conn = NULL;
	if (redis_await_answer(redis_of(source), redis_of(source)->wait_us, &conn, &info, err) <
	    0) {
		/* Its AOF can be taken while it is down. */
		if (redis_of(source)->aof_dir == NULL || err->kind != ERR_NET)
			return -1;
		*err = (struct err)ERR_INIT;
	}
	ret_identity->version = redis_info_version(&info, &family);
	ret_identity->identity = xstrdup("");

	return 0;
}

static int
redis_check_op(struct source *source, struct check_report *report, struct err *err)
{
	return redis_check(redis_of(source), report, err);
}

static char *
redis_setup_op(struct source *source)
{
	return redis_setup_acl(redis_of(source));
}

static bool
is_aof(const char *kind)
{
	return str_equals(kind, "aof");
}

static int
known_kind(const char *kind, struct err *err)
{
	if (str_equals(kind, "rdb") || is_aof(kind))
		return 0;
	(void)err_set(err, ERR_UNSUPPORTED, "redis has no backups of kind '%.40s'",
	    kind != NULL ? kind : "");

	return err_hint(err, "The kinds are 'rdb' and 'aof'.");
}

static int
redis_backup_op(struct source *source, const struct backup_request *request, struct intake *intake,
    struct manifest *draft, struct err *err)
{
	if (known_kind(request->kind, err) < 0)
		return -1;
	if (is_aof(request->kind))
		return redis_aof_backup(redis_of(source), request, intake, draft, err);

	return redis_backup(redis_of(source), request, intake, draft, err);
}

static int
redis_verify_op(struct source *source, const struct backup_view *view,
    const struct verify_request *request, struct verify_report *report, struct err *err)
{
	if (known_kind(view->manifest->kind, err) < 0)
		return -1;
	if (is_aof(view->manifest->kind))
		return redis_aof_verify(view, request, report, err);

	return redis_verify(redis_of(source), view, request, report, err);
}

/* The driver says of no kind that it adopts: nobody comes here. */
static int
redis_adopt_op(struct source *source, const char *kind, const char *path, struct manifest *draft,
    struct err *err)
{
	(void)source;
	(void)kind;
	(void)draft;

	return err_set(err, ERR_UNSUPPORTED, "'%s' cannot become a backup of ours", path);
}

/* What is only for keys, where none are asked for or there is no RDB file to take them from. */
static int
refuse_keys(const struct restore_request *request, struct err *err)
{
	if (request->keys != NULL) {
		(void)err_set(err, ERR_USAGE, "--keys takes keys out of RDB files alone");
		return err_hint(err, "Choose one: --kind rdb.");
	}

	return 0;
}

static int
redis_plan_op(struct source *source, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err)
{
	if (request->keys != NULL && !is_aof(view->manifest->kind))
		return keyed_plan(redis_of(source), view, request, plan, err);
	if (refuse_keys(request, err) < 0)
		return -1;
	if (is_aof(view->manifest->kind))
		return redis_aof_plan(view, request, plan, err);

	return redis_plan(redis_of(source), view, request, plan, err);
}

static int
redis_restore_op(struct source *source, const struct backup_view *view,
    const struct restore_request *request, struct restore_report *report, struct err *err)
{
	if (request->keys != NULL && !is_aof(view->manifest->kind))
		return keyed_restore(redis_of(source), view, request, report, err);
	if (refuse_keys(request, err) < 0)
		return -1;
	if (is_aof(view->manifest->kind))
		return redis_aof_restore(view, request, report, err);

	return redis_restore(redis_of(source), view, request, report, err);
}

static int
redis_promote_op(struct source *source, const struct promote_request *request,
    struct restore_report *report, struct err *err)
{
	(void)source;
	(void)request;
	(void)report;
	(void)err_set(err, ERR_UNSUPPORTED, "a restored Redis is not promoted");

	return err_hint(err, "Start the server on the folder that the restore has filled.");
}

static int
redis_follow_op(struct source *source, const struct follow_request *request,
    struct archive *archive, struct err *err)
{
	return redis_follow(redis_of(source), request, archive, err);
}

static int
redis_settle_op(struct source *source, struct archive *archive, struct settle_report *report,
    struct err *err)
{
	(void)source;

	return pack_settle(archive, report, err);
}

static int
redis_window_op(struct source *source, struct archive *archive, const struct manifest *const *bases,
    size_t bases_count, struct window_report *report, struct err *err)
{
	SCOPED(chain_done) struct chain chain = { .stored_bytes = 0 };

	(void)source;
	if (chain_read(archive, &chain, err) < 0)
		return -1;
	redis_window(&chain, bases, bases_count, report);

	return 0;
}

static int
redis_choose_op(struct source *source, struct archive *archive, const struct manifest *const *bases,
    size_t bases_count, struct restore_target *target, size_t *ret_index, struct err *err)
{
	SCOPED(chain_done) struct chain chain = { .stored_bytes = 0 };

	(void)source;
	if (chain_read(archive, &chain, err) < 0)
		return -1;

	return redis_choose(&chain, bases, bases_count, target, ret_index, err);
}

static int
redis_expire_op(struct source *source, struct archive *archive,
    const struct expire_request *request, struct expire_report *report, struct err *err)
{
	(void)source;

	return redis_expire(archive, request, report, err);
}

static void
redis_free(struct source *source)
{
	struct redis *redis = redis_of(source);

	if (redis == NULL)
		return;
	free(redis->label);
	free(redis->host);
	free(redis->user);
	free(redis->sslrootcert);
	free(redis->sslcert);
	free(redis->sslkey);
	free(redis->scratch_user);
	free(redis->aof_dir);
	free(redis);
}

const struct source_ops redis_source_ops = {
	.type = "redis",
	.kinds = redis_kinds,
	.kinds_count = ARRAY_SIZE(redis_kinds),
	.stream = &redis_stream,
	.identify = redis_identify,
	.check = redis_check_op,
	.setup_sql = redis_setup_op,
	.backup = redis_backup_op,
	.verify = redis_verify_op,
	.adopt = redis_adopt_op,
	.plan = redis_plan_op,
	.restore = redis_restore_op,
	.promote = redis_promote_op,
	.follow = redis_follow_op,
	.settle = redis_settle_op,
	.window = redis_window_op,
	.choose = redis_choose_op,
	.expire = redis_expire_op,
	.sweep_scratch = redis_trial_sweep,
	.free = redis_free,
};

/* PostgreSQL's words.  Redis cannot negotiate, so what only prefers encryption goes without. */
static enum channel_security
security_of(const char *sslmode)
{
	if (str_equals(sslmode, "require"))
		return CHANNEL_TLS;
	if (str_equals(sslmode, "verify-ca"))
		return CHANNEL_TLS_SIGNED;
	if (str_equals(sslmode, "verify-full"))
		return CHANNEL_TLS_NAMED;

	return CHANNEL_PLAIN;
}

static enum redis_transfer
transfer_of(const char *text)
{
	if (str_equals(text, "diskless"))
		return REDIS_TRANSFER_DISKLESS;

	return str_equals(text, "disk") ? REDIS_TRANSFER_DISK : REDIS_TRANSFER_AUTO;
}

struct source *
redis_open(const struct redis_options *options, struct err *err)
{
	struct redis *redis;

	assert(options->label != NULL);
	if (options->sslkey != NULL && options->sslcert == NULL) {
		(void)err_set(err, ERR_CONFIG, "redis '%s': there is a key, but no certificate",
		    options->label);
		return NULL;
	}
	redis = xcalloc(1, sizeof(*redis));
	redis->label = xstrdup(options->label);
	redis->base.ops = &redis_source_ops;
	redis->base.label = redis->label;
	redis->host = xstrdup(options->host);
	redis->port = options->port != 0 ? options->port : DEFAULT_PORT;
	redis->user = xstrdup(options->user);
	redis->password = options->password;
	redis->security = security_of(options->sslmode);
	redis->sslrootcert = xstrdup(options->sslrootcert);
	redis->sslcert = xstrdup(options->sslcert);
	redis->sslkey = xstrdup(options->sslkey);
	redis->scratch_user = xstrdup(options->scratch_user != NULL ? options->scratch_user
								    : "redis");
	redis->prefers_replica = options->prefers_replica;
	redis->transfer = transfer_of(options->transfer);
	redis->wait_us = options->wait_us;
	redis->aof_dir = xstrdup(options->aof_dir);

	return &redis->base;
}
