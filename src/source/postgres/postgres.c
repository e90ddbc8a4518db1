#include "source/postgres/postgres.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "repo/manifest.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/wal/expire.h"
#include "source/postgres/wal/feed.h"
#include "source/postgres/wal/fetch.h"
#include "source/postgres/wal/guard.h"
#include "source/postgres/wal/push.h"
#include "source/postgres/wal/receive.h"
#include "source/postgres/wal/recovery.h"
#include "source/postgres/wal/settle.h"
#include "source/postgres/wal/survey.h"

enum { DEFAULT_PORT = 5432 };

static const struct backup_kind postgres_kinds[] = {
	{
	    .name = "dump",
	    .layout = { .subfolder = "daily", .stem_prefix = "backup-", .has_time = false },
	    .adopts = "dump",
	    .is_window_base = false,
	    .default_level = 1,
	},
	{
	    .name = "base",
	    .layout = { .subfolder = "base", .stem_prefix = NULL, .has_time = false },
	    .adopts = NULL,
	    .is_window_base = true,
	    .default_level = 1,
	},
};

static const struct stream_kind postgres_stream = {
	.name = "wal",
	.folder = "wal",
	.target = "RECOVERYXLOG",
};

static bool
is_base(const char *kind)
{
	return str_equals(kind, "base");
}

static int
unknown_kind(const char *kind, struct err *err)
{
	(void)err_set(err, ERR_UNSUPPORTED, "postgres has no backups of kind '%.40s'",
	    kind != NULL ? kind : "");
	return err_hint(err, "The kinds are 'dump' and 'base'.");
}

static int
wrap(const struct postgres *pg, struct err *err)
{
	return err_wrap(err, "postgres '%s'", pg->label);
}

/* A role that may only replicate, or whose database is missing, is asked over the other protocol. */
static int
identify_by_replication(const struct postgres *pg, struct source_identity *ret_identity,
    struct err *err)
{
	struct source_identity identity;

	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(pg, NULL, PG_REPLICATION, err);
	if (conn == NULL)
		return -1;
	identity.identity = pg_query_value(conn, "IDENTIFY_SYSTEM", err);
	if (identity.identity == NULL)
		return wrap(pg, err);
	identity.version = pg_version_text(pg_server_version(conn));
	*ret_identity = identity;

	return 0;
}

static int
postgres_identify(struct source *source, struct source_identity *ret_identity, struct err *err)
{
	struct postgres *pg = postgres_of(source);
	struct source_identity identity;
	struct err other = ERR_INIT;

	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(pg, NULL, PG_SQL, err);
	if (conn == NULL && err->kind != ERR_NET && err->kind != ERR_TIMEOUT &&
	    err->kind != ERR_CANCELLED)
		return identify_by_replication(pg, ret_identity, &other) < 0 ? -1 : 0;
	if (conn == NULL)
		return -1;
	identity.identity = pg_query_value(conn,
	    "SELECT system_identifier FROM pg_control_system()", err);
	if (identity.identity == NULL)
		return wrap(pg, err);
	identity.version = pg_version_text(pg_server_version(conn));
	*ret_identity = identity;

	return 0;
}

static int
postgres_check(struct source *source, struct check_report *report, struct err *err)
{
	return pg_check(postgres_of(source), report, err);
}

static char *
postgres_setup_sql(struct source *source)
{
	return pg_setup_sql(postgres_of(source));
}

static int
postgres_backup(struct source *source, const struct backup_request *request, struct intake *intake,
    struct manifest *draft, struct err *err)
{
	struct postgres *pg = postgres_of(source);

	if (is_base(request->kind))
		return pg_base_backup(pg, request, intake, draft, err);
	if (str_equals(request->kind, "dump"))
		return pg_dump_backup(pg, request, intake, draft, err);

	return unknown_kind(request->kind, err);
}

static int
postgres_verify(struct source *source, const struct backup_view *view,
    const struct verify_request *request, struct verify_report *report, struct err *err)
{
	struct postgres *pg = postgres_of(source);

	if (is_base(view->manifest->kind))
		return pg_base_verify(pg, view, request, report, err);
	if (str_equals(view->manifest->kind, "dump"))
		return pg_dump_verify(pg, view, request, report, err);

	return unknown_kind(view->manifest->kind, err);
}

static int
postgres_adopt(struct source *source, const char *kind, const char *path, struct manifest *draft,
    struct err *err)
{
	if (!str_equals(kind, "dump"))
		return unknown_kind(kind, err);

	return pg_dump_adopt(postgres_of(source), path, draft, err);
}

static int
postgres_plan(struct source *source, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err)
{
	struct postgres *pg = postgres_of(source);

	if (is_base(view->manifest->kind))
		return pg_base_plan(pg, view, request, plan, err);
	if (str_equals(view->manifest->kind, "dump"))
		return pg_dump_plan(pg, view, request, plan, err);

	return unknown_kind(view->manifest->kind, err);
}

static int
postgres_restore(struct source *source, const struct backup_view *view,
    const struct restore_request *request, struct restore_report *report, struct err *err)
{
	struct postgres *pg = postgres_of(source);

	if (is_base(view->manifest->kind))
		return pg_base_restore(pg, view, request, report, err);
	if (str_equals(view->manifest->kind, "dump"))
		return pg_dump_restore(pg, view, request, report, err);

	return unknown_kind(view->manifest->kind, err);
}

static int
postgres_promote(struct source *source, const struct promote_request *request,
    struct restore_report *report, struct err *err)
{
	/* No database's name has a slash that anybody would want to type. */
	if (strchr(request->name, '/') != NULL)
		return pg_base_promote(request, report, err);

	return pg_promote(postgres_of(source), request, report, err);
}

static int
postgres_settle(struct source *source, struct archive *archive, struct settle_report *report,
    struct err *err)
{
	(void)source;

	return wal_settle(archive, report, err);
}

static int
postgres_expire(struct source *source, struct archive *archive,
    const struct expire_request *request, struct expire_report *report, struct err *err)
{
	(void)source;

	return wal_expire(archive, request, report, err);
}

static int
postgres_push(struct source *source, struct archive *archive, const struct push_request *request,
    struct err *err)
{
	(void)source;

	return wal_push(archive, request, err);
}

static int
postgres_fetch(struct source *source, struct archive *archive, const char *name,
    const char *to_path, enum fetch_result *ret_result, struct err *err)
{
	(void)source;

	return wal_fetch(archive, name, to_path, ret_result, err);
}

static char *
postgres_asking(const char *to_path)
{
	uint64_t identifier = wal_server_identifier(to_path);

	return identifier != 0 ? xasprintf("%" PRIu64, identifier) : NULL;
}

static int
postgres_window(struct source *source, struct archive *archive, const struct manifest *const *bases,
    size_t bases_count, struct window_report *report, struct err *err)
{
	(void)source;

	return pg_wal_window(archive, bases, bases_count, report, err);
}

static int
postgres_choose(struct source *source, struct archive *archive, const struct manifest *const *bases,
    size_t bases_count, struct restore_target *target, size_t *ret_index, struct err *err)
{
	struct postgres *pg = postgres_of(source);

	wal_survey_free(TAKE(pg->known));

	return pg_wal_choose(archive, bases, bases_count, target, &pg->known, ret_index, err);
}

static int
postgres_feed(struct source *source, struct archive *archive, const struct feed_request *request,
    struct err *err)
{
	(void)source;

	return wal_feed(archive, request, err);
}

static int
postgres_follow(struct source *source, const struct follow_request *request,
    struct archive *archive, struct err *err)
{
	return wal_receive(postgres_of(source), request, NULL, archive, err);
}

static void
texts_free(char **texts)
{
	for (size_t i = 0; texts != NULL && texts[i] != NULL; i++)
		free(texts[i]);
	free(texts);
}

static void
postgres_free(struct source *source)
{
	struct postgres *pg = postgres_of(source);

	if (pg == NULL)
		return;
	free(pg->label);
	free(pg->host);
	free(pg->user);
	texts_free(pg->databases);
	free(pg->maintenance_database);
	free(pg->sslmode);
	free(pg->sslrootcert);
	texts_free(pg->bin_dirs);
	free(pg->scratch_user);
	free(pg->dump_format);
	wal_survey_free(pg->known);
	free(pg);
}

const struct source_ops postgres_source_ops = {
	.type = "postgres",
	.kinds = postgres_kinds,
	.kinds_count = ARRAY_SIZE(postgres_kinds),
	.stream = &postgres_stream,
	.identify = postgres_identify,
	.check = postgres_check,
	.setup_sql = postgres_setup_sql,
	.backup = postgres_backup,
	.verify = postgres_verify,
	.adopt = postgres_adopt,
	.plan = postgres_plan,
	.restore = postgres_restore,
	.promote = postgres_promote,
	.follow = postgres_follow,
	.settle = postgres_settle,
	.expire = postgres_expire,
	.push = postgres_push,
	.fetch = postgres_fetch,
	.asking = postgres_asking,
	.feed = postgres_feed,
	.window = postgres_window,
	.choose = postgres_choose,
	.sweep_scratch = pg_scratch_sweep,
	.free = postgres_free,
};

/* A NULL-terminated copy of a NULL-terminated list; NULL becomes an empty list. */
static char **
texts_copy(const char *const *texts)
{
	size_t count = 0;
	char **copy;

	while (texts != NULL && texts[count] != NULL)
		count++;
	copy = xcalloc(count + 1, sizeof(*copy));
	for (size_t i = 0; i < count; i++)
		copy[i] = xstrdup(texts[i]);

	return copy;
}

static const char *
maintenance_of(const struct postgres_options *options)
{
	if (options->maintenance_database != NULL)
		return options->maintenance_database;
	if (options->databases != NULL && options->databases[0] != NULL)
		return options->databases[0];

	return "postgres";
}

struct source *
postgres_open(const struct postgres_options *options, struct err *err)
{
	struct postgres *pg;

	assert(options->label != NULL);
	if (options->port > 65535) {
		(void)err_set(err, ERR_CONFIG, "postgres '%s': port %u is not below 65536",
		    options->label, options->port);
		return NULL;
	}
	pg = xcalloc(1, sizeof(*pg));
	pg->label = xstrdup(options->label);
	pg->base.ops = &postgres_source_ops;
	pg->base.label = pg->label;
	pg->host = xstrdup(options->host);
	pg->port = options->port != 0 ? options->port : DEFAULT_PORT;
	pg->user = xstrdup(options->user);
	pg->databases = texts_copy(options->databases);
	pg->maintenance_database = xstrdup(maintenance_of(options));
	pg->password = options->password;
	pg->sslmode = xstrdup(options->sslmode != NULL ? options->sslmode : "prefer");
	pg->sslrootcert = xstrdup(options->sslrootcert);
	pg->bin_dirs = texts_copy(options->bin_dirs);
	pg->scratch_user = xstrdup(options->scratch_user != NULL ? options->scratch_user
								 : "postgres");
	pg->dump_format = xstrdup(options->dump_format);

	return &pg->base;
}
