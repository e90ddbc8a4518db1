#include "source/redis/master/target.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "os/random.h"
#include "repo/manifest.h"
#include "source/redis/rdb_shape.h"
#include "source/redis/redis_internal.h"

enum { TOKEN_DIGITS = 48 };

/* "blackstart-SETTING-DIGITS": the setting is repl-diskless-load as it was; masterauth was empty. */
static const char token_begin[] = "blackstart-";

void
target_done(struct target *target)
{
	free(target->name);
	free(target->family);
	free(target->version);
	free(target->role);
	free(target->master);
	for (size_t i = 0; i < target->modules.count; i++)
		free(target->modules.items[i]);
	vec_done(&target->modules);
	free(target->masterauth);
	free(target->diskless_load);
	*target = (struct target){ .name = NULL };
}

/* ---- looking -------------------------------------------------------------------------------------- */

static void
read_info(struct target *target, const struct str *info)
{
	const char *family;
	SCOPED(freep) char *host = redis_info_get(info, "master_host");
	uint64_t port = redis_info_number(info, "master_port");

	target->version = redis_info_version(info, &family);
	target->family = xstrdup(family);
	target->role = redis_info_get(info, "role");
	target->is_cluster = redis_info_number(info, "cluster_enabled") == 1;
	target->is_loading = redis_info_number(info, "loading") != 0;
	target->has_aof = redis_info_number(info, "aof_enabled") == 1;
	target->memory_used = redis_info_number(info, "used_memory");
	target->memory_total = redis_info_number(info, "total_system_memory");
	target->memory_limit = redis_info_number(info, "maxmemory");
	target->replicas = redis_info_number(info, "connected_slaves");
	if (host != NULL)
		target->master = xasprintf("%s:%" PRIu64, host, port);
}

static void
add_modules(struct target *target, const struct resp_value *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct resp_value *module = &list->items[i];

		for (size_t j = 0; j + 1 < module->count; j += 2) {
			if (resp_is_text(&module->items[j], "name") &&
			    module->items[j + 1].text != NULL)
				vec_push(&target->modules, xstrdup(module->items[j + 1].text));
		}
	}
}

/* What need not be there: modules and functions may not be known to it, or not be ours to ask. */
static void
read_lists(struct target *target, struct redis_conn *conn)
{
	struct err ignored = ERR_INIT;
	struct resp_value list;

	if (redis_command(conn, (const char *const[]){ "MODULE", "LIST", NULL }, &list, &ignored) ==
	    0) {
		add_modules(target, &list);
		resp_value_done(&list);
	}
	if (redis_command(conn, (const char *const[]){ "FUNCTION", "LIST", NULL }, &list,
		&ignored) == 0) {
		target->functions = list.count;
		resp_value_done(&list);
	}
	if (redis_sentinels(conn, &target->sentinels, &ignored) < 0)
		target->sentinels = 0;
}

static int
read_settings(struct target *target, struct redis_conn *conn, struct err *err)
{
	SCOPED(freep) char *databases = redis_setting(conn, "databases", err);
	SCOPED(freep) char *deletes = NULL;
	SCOPED(freep)
	char *tls = databases != NULL ? redis_setting(conn, "tls-replication", err) : NULL;

	target->masterauth = tls != NULL ? redis_setting(conn, "masterauth", err) : NULL;
	target->diskless_load = target->masterauth != NULL
	    ? redis_setting(conn, "repl-diskless-load", err)
	    : NULL;
	if (target->diskless_load == NULL)
		return err_hint(err,
		    "To become its master we must set masterauth and repl-diskless-load there: give the user +config|get +config|set +replicaof, or restore into the folder of a stopped server.");
	target->wants_tls = str_equals(tls, "yes");
	deletes = redis_setting(conn, "rdb-del-sync-files", err);
	if (deletes == NULL)
		return -1;
	target->deletes_files = str_equals(deletes, "yes");

	return parse_u64(databases, 1, INT32_MAX, &target->databases, err);
}

/* A token that a dead run left says what the settings were. */
static void
read_token(struct target *target)
{
	const char *setting = target->masterauth + sizeof(token_begin) - 1;
	const char *end;

	if (!str_starts_with(target->masterauth, token_begin))
		return;
	end = strrchr(target->masterauth, '-');
	if (end == NULL || end < setting)
		return;
	target->is_left_behind = str_equals(target->role, "slave");
	free(target->diskless_load);
	target->diskless_load = xstrndup(setting, (size_t)(end - setting));
	free(target->masterauth);
	target->masterauth = xstrdup("");
}

int
target_look(const struct redis *redis, struct redis_conn *conn, struct target *ret_target,
    struct err *err)
{
	SCOPED(target_done) struct target target = { .name = NULL };
	SCOPED(str_done) struct str info = STR_INIT;

	target.name = redis->host[0] == '/' ? xstrdup(redis->host)
					    : xasprintf("%s:%u", redis->host, redis->port);
	if (redis_conn_addresses(conn, target.own, target.peer, err) < 0 ||
	    redis_info(conn, &info, err) < 0)
		return -1;
	read_info(&target, &info);
	if (redis_info_keys(&info, &target.keys, err) < 0)
		return -1;
	/* While it loads it answers nothing else. */
	if (!target.is_loading) {
		if (read_settings(&target, conn, err) < 0)
			return -1;
		read_lists(&target, conn);
		read_token(&target);
	}
	*ret_target = target;
	target = (struct target){ .name = NULL };

	return 0;
}

bool
target_has_data(const struct target *target)
{
	return (target->keys > 0 || target->functions > 0) && !target->is_left_behind;
}

/* ---- weighing ---------------------------------------------------------------------------------------- */

static void
obstacle(struct restore_plan *plan, char *text, const char *hint)
{
	vec_push(&plan->obstacles, text);
	if (plan->hint == NULL)
		plan->hint = xstrdup(hint);
}

static void
weigh_role(const struct target *target, struct restore_plan *plan)
{
	if (target->is_loading)
		obstacle(plan, xstrdup("the server is loading its data"),
		    "Type this again when it has: redis-cli INFO persistence tells 'loading:0'.");
	if (target->is_cluster)
		obstacle(plan,
		    xstrdup(
			"the server is a node of a cluster, which takes no master from outside"),
		    "Write keys in place of that: the same command with --keys '*' or a pattern.");
	if (str_equals(target->role, "slave") && !target->is_left_behind) {
		vec_push(&plan->obstacles,
		    xasprintf("the server is a replica of %s, which would overwrite it again",
			target->master != NULL ? target->master : "another one"));
		if (plan->hint == NULL)
			plan->hint = xasprintf(
			    "Restore into that one, its replicas follow; or detach this one: redis-cli -u redis://%s REPLICAOF NO ONE",
			    target->name);
	}
	if (target->sentinels > 0)
		obstacle(plan,
		    xasprintf(
			"%" PRId64
			" Sentinels watch the server: they would elect another master while it is our replica",
			target->sentinels),
		    "On each Sentinel type 'redis-cli -p 26379 SENTINEL REMOVE NAME', and afterwards 'SENTINEL MONITOR NAME HOST PORT QUORUM'.");
	if (target->is_left_behind)
		vec_push(&plan->warnings,
		    xstrdup(
			"an earlier restore died while it was the master of this server: it goes on from there"));
}

static uint64_t
highest_database(const json_t *content)
{
	const json_t *databases = json_object_get(content, "databases");
	const json_t *database;
	uint64_t highest = 0;
	size_t i;

	json_array_foreach(databases, i, database)
	{
		uint64_t index = (uint64_t)json_integer_value(json_object_get(database, "db"));

		if (index > highest)
			highest = index;
	}

	return highest;
}

static bool
has_module(const struct target *target, const char *name)
{
	for (size_t i = 0; i < target->modules.count; i++) {
		if (str_equals(target->modules.items[i], name))
			return true;
	}

	return false;
}

static void
weigh_version(const struct target *target, const json_t *content, struct restore_plan *plan)
{
	unsigned version = (unsigned)json_integer_value(json_object_get(content, "rdb_version"));
	bool is_valkey = str_equals(json_string_value(json_object_get(content, "family")),
	    "valkey");

	if (rdb_version_loads_into(version, is_valkey, target->family, target->version))
		return;
	vec_push(&plan->obstacles,
	    xasprintf("%s %s cannot load the file: that needs %s", target->family, target->version,
		rdb_version_needs(version, is_valkey)));
	if (plan->hint == NULL)
		plan->hint = xasprintf("Restore into %s or later.",
		    rdb_version_needs(version, is_valkey));
}

static void
weigh_content(const struct target *target, const json_t *content, struct restore_plan *plan)
{
	const json_t *modules = json_object_get(content, "modules");
	const json_t *module;
	size_t i;

	weigh_version(target, content, plan);
	if (highest_database(content) >= target->databases)
		obstacle(plan,
		    xasprintf("the backup has database %" PRIu64 ", the server only %" PRIu64
			      " databases",
			highest_database(content), target->databases),
		    "Raise 'databases' in its configuration and start it again.");
	json_array_foreach(modules, i, module)
	{
		if (!has_module(target, json_string_value(module)))
			obstacle(plan,
			    xasprintf(
				"the backup has data of the module '%s', which the server has not loaded",
				json_string_value(module)),
			    "Load it first: redis-cli MODULE LOAD PATH, and 'loadmodule' in its configuration.");
	}
	if (!json_is_true(json_object_get(content, "is_counted")))
		vec_push(&plan->warnings,
		    xstrdup(
			"this program does not know all types of the file: its keys are not counted afterwards"));
}

/* What the data took in the server it came from; 0: not told. */
static uint64_t
memory_needed(const struct manifest *manifest)
{
	const json_t *aux = json_object_get(manifest->content, "aux");
	const char *text = json_string_value(json_object_get(aux, "used-mem"));
	struct err ignored = ERR_INIT;
	uint64_t bytes;

	return text != NULL && parse_u64(text, 0, INT64_MAX, &bytes, &ignored) == 0 ? bytes : 0;
}

static void
weigh_memory(const struct target *target, const struct manifest *manifest,
    struct restore_plan *plan)
{
	uint64_t needed = memory_needed(manifest);
	char has[32], needs[32];

	(void)format_bytes(needed, needs);
	if (target->memory_limit > 0 && needed > target->memory_limit)
		obstacle(plan,
		    xasprintf("the data took %s of memory, and the server's maxmemory is %s", needs,
			format_bytes(target->memory_limit, has)),
		    "Raise it: redis-cli CONFIG SET maxmemory BYTES.");
	if (target->memory_total > 0 && needed > target->memory_total)
		obstacle(plan,
		    xasprintf("the data took %s of memory, and the server's machine has %s", needs,
			format_bytes(target->memory_total, has)),
		    "Restore into a server on a larger machine.");
}

bool
target_holds_both(const struct target *target, const struct manifest *manifest)
{
	uint64_t needed = memory_needed(manifest);
	uint64_t both = target->memory_used + needed;

	/* A quarter stays for the rest of the machine. */
	return needed > 0 && target->memory_total > 0 && both <= target->memory_total / 4 * 3 &&
	    (target->memory_limit == 0 || both <= target->memory_limit);
}

void
target_weigh(const struct target *target, const struct redis *redis,
    const struct manifest *manifest, const struct restore_request *request,
    struct restore_plan *plan)
{
	(void)request;
	weigh_role(target, plan);
	/* What is not known of a server that loads cannot be weighed. */
	if (target->is_loading)
		return;
	weigh_content(target, manifest->content, plan);
	weigh_memory(target, manifest, plan);
	if (target->wants_tls && (redis->sslcert == NULL || redis->sslkey == NULL))
		obstacle(plan,
		    xstrdup(
			"the server speaks TLS to its master (tls-replication), and we have no certificate to show"),
		    "Name sslcert and sslkey of the source in the configuration; or type: redis-cli CONFIG SET tls-replication no");
}

/* ---- its settings -------------------------------------------------------------------------------------- */

char *
target_token(const struct target *target)
{
	char digits[TOKEN_DIGITS + 1];

	if (target->masterauth[0] != '\0')
		return xstrdup(target->masterauth);
	random_hex(digits, TOKEN_DIGITS);

	return xasprintf("%s%s-%s", token_begin, target->diskless_load, digits);
}

static int
set(struct redis_conn *conn, const char *name, const char *value, struct err *err)
{
	if (redis_execute(conn, (const char *const[]){ "CONFIG", "SET", name, value, NULL }, err) <
	    0)
		return err_wrap(err, "%s", name);

	return 0;
}

int
target_prepare(const struct target *target, struct redis_conn *conn, const char *token,
    bool keeps_both, struct err *err)
{
	if (!str_equals(token, target->masterauth) && set(conn, "masterauth", token, err) < 0)
		return -1;

	return set(conn, "repl-diskless-load", keeps_both ? "swapdb" : "disabled", err);
}

int
target_settle(const struct target *target, struct redis_conn *conn, struct err *err)
{
	if (set(conn, "masterauth", target->masterauth, err) < 0 ||
	    set(conn, "repl-diskless-load", target->diskless_load, err) < 0)
		return err_hint(err,
		    "See 'redis-cli CONFIG GET masterauth' and 'CONFIG GET repl-diskless-load'; they come back with the next start of the server.");

	return 0;
}
