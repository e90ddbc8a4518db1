#include "app/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli/args.h"
#include "app/config_open.h"
#include "app/local_zone.h"
#include "app/url.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/zone.h"
#include "catalog/catalog.h"
#include "config/config.h"
#include "os/cores.h"
#include "os/file.h"
#include "source/postgres/postgres.h"
#include "source/redis/redis.h"
#include "source/source.h"
#include "store/store.h"

#define DEFAULT_SCRATCH_ROOT "/var/tmp"

/* Each worker of a chain holds 8 MiB; four outrun what one server process can send. */
enum { CORES_MAX = 4 };

/* For a busy server that a URL names, at whose end somebody sits and looks on. */
#define URL_WAIT_US (2 * 60 * US_PER_S)

static const struct source_ops *const drivers[] = { &postgres_source_ops, &redis_source_ops, NULL };

/* A server as the configuration or a URL names it; each driver takes what it knows. */
struct server {
	const char *label;
	const char *host; /* NULL: no live server is known */
	unsigned port;    /* 0: as usual */
	const char *user;
	const struct secret *password; /* a loan */
	const char *sslmode;
	const char *sslrootcert;
	const char *sslcert;
	const char *sslkey;
	const char *const *databases;
	const char *maintenance_database;
	const char *const *bin_dirs;
	const char *scratch_user;
	bool prefers_replica;
	const char *transfer;
	int64_t wait_us;
	const char *aof_dir;
};

/* ---- the configuration ---------------------------------------------------------------------- */

/* All problems of the file on stderr, one line each, hints below them. */
static void
tell_problems(const struct config_problems *problems, const char *path)
{
	for (size_t i = 0; i < problems->items.count; i++) {
		const struct config_problem *problem = &problems->items.items[i];
		SCOPED(freep) char *text = config_problem_format(problem, path);

		log_info("%s", text);
		if (problem->hint != NULL)
			log_info("  hint: %s", problem->hint);
	}
}

static int
read_config(struct wire *wire, const char *path, struct err *err)
{
	SCOPED(config_problems_done)
	struct config_problems problems = { .is_without_warnings = true };

	wire->config = config_open(path, clock_wall(), &problems, err);
	if (wire->config == NULL) {
		tell_problems(&problems, path);
		if (err->kind == ERR_NOT_FOUND) {
			err->kind = ERR_CONFIG;
			return err_hint(err,
			    "Make one with 'blackstart config init', name another with -c FILE, or do without one with --store DIR.");
		}
		return -1;
	}
	return 0;
}

/* What libpq would take from the environment to connect somewhere else than the config says. */
static void
forget_redirections(void)
{
	static const char *const names[] = {
		"PGSERVICE",
		"PGSERVICEFILE",
		"PGHOSTADDR",
		"PGOPTIONS",
		"PGTARGETSESSIONATTRS",
		"PGLOADBALANCEHOSTS",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unsetenv(names[i]);
}

static struct source *
open_postgres(const struct server *server, struct err *err)
{
	const struct postgres_options options = {
		.label = server->label,
		.host = server->host,
		.port = server->port,
		.user = server->user,
		.databases = server->databases,
		.maintenance_database = server->maintenance_database,
		.password = server->password,
		.sslmode = server->sslmode,
		.sslrootcert = server->sslrootcert,
		.bin_dirs = server->bin_dirs,
		.scratch_user = server->scratch_user,
	};

	forget_redirections();

	return postgres_open(&options, err);
}

static struct source *
open_redis(const struct server *server, struct err *err)
{
	const struct redis_options options = {
		.label = server->label,
		.host = server->host,
		.port = server->port,
		.user = server->user,
		.password = server->password,
		.sslmode = server->sslmode,
		.sslrootcert = server->sslrootcert,
		.sslcert = server->sslcert,
		.sslkey = server->sslkey,
		.scratch_user = server->scratch_user,
		.prefers_replica = server->prefers_replica,
		.transfer = server->transfer,
		.wait_us = server->wait_us,
		.aof_dir = server->aof_dir,
	};

	return redis_open(&options, err);
}

static struct source *
add_source(struct wire *wire, const char *type, const struct server *server, struct err *err)
{
	static const struct {
		const char *type;
		struct source *(*open)(const struct server *server, struct err *err);
	} makers[] = { { "postgres", open_postgres }, { "redis", open_redis } };
	struct source *source = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(makers); i++) {
		if (!str_equals(makers[i].type, type))
			continue;
		source = makers[i].open(server, err);
		if (source != NULL)
			vec_push(&wire->sources, source);
		return source;
	}
	(void)err_set(err, ERR_UNSUPPORTED, "this version knows no source of type '%s'", type);

	return NULL;
}

/* The password in `path`, kept until wire_done; NULL path gives NULL. */
static int
add_secret(struct wire *wire, const char *path, const struct secret **ret_secret, struct err *err)
{
	struct secret *secret;

	*ret_secret = NULL;
	if (path == NULL)
		return 0;
	secret = file_read_secret(path, err);
	if (secret == NULL)
		return -1;
	vec_push(&wire->secrets, secret);
	*ret_secret = secret;

	return 0;
}

static struct source *
open_configured(struct wire *wire, const struct config_source *from, struct err *err)
{
	SCOPED(freep)
	char *password_path = from->password_file != NULL
	    ? config_secret_path(wire->config, from->password_file)
	    : NULL;
	struct server server = {
		.label = from->name,
		.host = from->host,
		.port = from->port,
		.user = from->user,
		.databases = (const char *const *)from->databases.items,
		.maintenance_database = from->maintenance_database,
		.sslmode = from->sslmode,
		.sslrootcert = from->sslrootcert,
		.sslcert = from->sslcert,
		.sslkey = from->sslkey,
		.bin_dirs = (const char *const *)from->bin_dirs.items,
		.scratch_user = from->scratch_user,
		.prefers_replica = from->prefers_replica,
		.transfer = from->transfer,
		.wait_us = from->wait_us,
		.aof_dir = from->aof_dir,
	};

	if (add_secret(wire, password_path, &server.password, err) < 0) {
		(void)err_wrap(err, "source '%s'", from->name);
		return NULL;
	}

	return add_source(wire, from->type, &server, err);
}

static void
note_jobs(struct wire *wire)
{
	for (size_t i = 0; i < wire->config->jobs.count; i++) {
		const struct config_job *job = &wire->config->jobs.items[i];
		const struct config_source *source = config_find_source(wire->config, job->source);

		if (job->is_supported && source != NULL)
			vec_push(&wire->known_jobs,
			    ((struct known_job){ .name = job->name,
				.source = job->source,
				.source_type = source->type,
				.kind = job->kind }));
	}
	wire->engine.jobs = wire->known_jobs.items;
	wire->engine.jobs_count = wire->known_jobs.count;
}

int
wire_init(struct wire *wire, const struct args *args, struct err *err)
{
	const char *path = args_text(args, "config");
	unsigned cores = cores_available();

	*wire = (struct wire){ .config = NULL };
	wire->engine.drivers = drivers;
	wire->engine.cores = cores > CORES_MAX ? CORES_MAX : cores;
	wire->engine.scratch_root = getenv("TMPDIR") != NULL ? getenv("TMPDIR")
							     : DEFAULT_SCRATCH_ROOT;
	if (path != NULL || args_text(args, "store") == NULL) {
		if (read_config(wire, path != NULL ? path : CONFIG_DEFAULT_PATH, err) < 0)
			return -1;
		wire->engine.zone = wire->config->zone;
		note_jobs(wire);
		return 0;
	}
	wire->zone = local_zone_open(err);
	wire->engine.zone = wire->zone;

	return wire->zone != NULL ? 0 : -1;
}

void
wire_done(struct wire *wire)
{
	for (size_t i = 0; i < wire->sources.count; i++)
		source_free(wire->sources.items[i]);
	vec_done(&wire->sources);
	for (size_t i = 0; i < wire->secrets.count; i++)
		secret_free(wire->secrets.items[i]);
	vec_done(&wire->secrets);
	vec_done(&wire->known_jobs);
	catalog_close(wire->engine.catalog);
	store_close(wire->engine.store);
	zone_close(wire->zone);
	config_free(wire->config);
	free(wire->state_dir);
	*wire = (struct wire){ .config = NULL };
}

/* ---- sources ------------------------------------------------------------------------------------ */

static int
unknown_source(const struct wire *wire, const char *name, struct err *err)
{
	VEC(const char *) names = { .count = 0 };
	const char *nearest;

	for (size_t i = 0; wire->config != NULL && i < wire->config->sources.count; i++)
		vec_push(&names, wire->config->sources.items[i].name);
	nearest = str_nearest(name, names.items, names.count);
	(void)err_set(err, ERR_USAGE, "there is no source '%s' in the configuration", name);
	if (nearest != NULL)
		(void)err_hint(err, "Did you mean '%s'?", nearest);
	else
		(void)err_hint(err, "'blackstart config show' lists the sources.");
	vec_done(&names);

	return -1;
}

static struct source *
find_open(const struct wire *wire, const char *label)
{
	for (size_t i = 0; i < wire->sources.count; i++) {
		if (str_equals(wire->sources.items[i]->label, label))
			return wire->sources.items[i];
	}

	return NULL;
}

struct source *
wire_source(struct wire *wire, const char *name, struct err *err)
{
	const struct config_source *from = wire->config != NULL
	    ? config_find_source(wire->config, name)
	    : NULL;
	struct source *source = find_open(wire, name);

	if (source != NULL)
		return source;
	if (from == NULL) {
		(void)unknown_source(wire, name, err);
		return NULL;
	}
	if (!from->is_supported) {
		(void)err_set(err, ERR_UNSUPPORTED, "source '%s': this version cannot back up a %s",
		    name, from->type);
		return NULL;
	}

	return open_configured(wire, from, err);
}

struct source *
wire_source_url(struct wire *wire, const struct args *args, const char *url_text, const char *label,
    const char *like_name, struct err *err)
{
	SCOPED(url_done) struct url url = { .type = NULL };
	const char *databases[2] = { NULL, NULL };
	const struct config_source *like = wire->config != NULL && like_name != NULL
	    ? config_find_source(wire->config, like_name)
	    : NULL;
	struct server server = {
		.label = label,
		/* What gives way at a target (NAME-replaced) is what that very server has. */
		.prefers_replica = like_name == NULL || str_equals(label, like_name),
		.wait_us = URL_WAIT_US,
	};

	if (url_parse(url_text, &url, err) < 0 ||
	    add_secret(wire, args_text(args, "password-file"), &server.password, err) < 0)
		return NULL;
	databases[0] = url.database;
	server.host = url.host != NULL ? url.host : "localhost";
	server.port = url.port;
	server.user = url.user;
	server.databases = databases;
	server.sslmode = url.sslmode;
	if (like != NULL && str_equals(like->type, url.type)) {
		server.sslrootcert = like->sslrootcert;
		server.sslcert = like->sslcert;
		server.sslkey = like->sslkey;
	}

	return add_source(wire, url.type, &server, err);
}

struct source *
wire_source_for(struct wire *wire, const char *name, const char *type, struct err *err)
{
	const struct config_source *from = wire->config != NULL
	    ? config_find_source(wire->config, name)
	    : NULL;

	if (find_open(wire, name) == NULL && from != NULL && from->is_supported &&
	    str_equals(from->type, type))
		return open_configured(wire, from, err);

	return wire_source_offline(wire, name, type, err);
}

struct source *
wire_source_offline(struct wire *wire, const char *name, const char *type, struct err *err)
{
	const struct server bare = { .label = name };
	struct source *open = find_open(wire, name);

	if (open != NULL)
		return open;
	return add_source(wire, type, &bare, err);
}
