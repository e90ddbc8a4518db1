#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "os/file.h"
#include "os/process.h"
#include "os/stop.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/scratch_internal.h"

enum {
	SOCKET_DIR_MAX_BYTES = 107 - 20, /* room for "/.s.PGSQL.65535.lock" */
	DEFAULT_SOCKET_PORT = 5432,
	POLL_MS = 50,
	START_MAX_S = 6 * 3600, /* recovery replays WAL first, which may be much */
	STOP_FAST_MS = 60 * 1000,
	STOP_IMMEDIATE_MS = 10 * 1000,
	LOG_TAIL_BYTES = 256 * 1024,
};
#define START_GRACE_US (5 * US_PER_S)

struct scratch {
	struct postgres server;  /* how to connect to it */
	struct process *process; /* NULL: stopped, or kept and not our child */
	char *work_dir;
	char *data_dir;
	char *socket_dir;
	char *log_path;
	char *socket_dir_made; /* in /tmp, to be removed; else NULL */
	char *superuser;
	char *no_databases[1]; /* what the struct postgres above points to */
	char label[8];
	char database[10];
	char sslmode[8];
	char fallback_user[9];
	uid_t uid; /* 0: as we are */
	gid_t gid;
	bool is_kept;
};

/* ---- arguments ------------------------------------------------------------------------------------ */

/* A list of texts for exec; it owns them. */
struct args {
	VEC(char *) list;
};

static void
args_add(struct args *args, char *text)
{
	vec_push(&args->list, text);
}

static void
args_set(struct args *args, const char *name, const char *value)
{
	args_add(args, xstrdup("-c"));
	args_add(args, xasprintf("%s=%s", name, value));
}

static const char *const *
args_end(struct args *args)
{
	args_add(args, NULL);

	return (const char *const *)args->list.items;
}

static void
args_done(struct args *args)
{
	for (size_t i = 0; i < args->list.count; i++)
		free(args->list.items[i]);
	vec_done(&args->list);
}

/*
 * What must not reach the world from a copy: archives, standbys, subscriptions, jobs.  And what
 * would keep it from starting here: certificates, libraries, huge pages.
 */
static const char *const safe_settings[][2] = {
	{ "listen_addresses", "" },
	{ "unix_socket_permissions", "0700" },
	{ "external_pid_file", "" },
	{ "ssl", "off" },
	{ "archive_mode", "off" },
	{ "archive_command", "" },
	{ "restore_command", "" },
	{ "synchronous_standby_names", "" },
	{ "primary_conninfo", "" },
	{ "primary_slot_name", "" },
	{ "max_logical_replication_workers", "0" },
	{ "shared_preload_libraries", "" },
	{ "session_preload_libraries", "" },
	{ "local_preload_libraries", "" },
	{ "logging_collector", "on" },
	{ "log_destination", "stderr" },
	{ "log_filename", "server.log" },
	{ "log_file_mode", "0600" },
	{ "log_rotation_age", "0" },
	{ "log_rotation_size", "0" },
	{ "lc_messages", "C" },
	{ "huge_pages", "off" },
	{ "autovacuum", "off" },
	{ "fsync", "off" },
};

static void
add_server_args(const struct scratch *scratch, const struct scratch_options *options,
    const char *program, struct args *args)
{
	SCOPED(freep) char *config = path_join(scratch->work_dir, "scratch.conf");
	SCOPED(freep) char *hba = path_join(scratch->work_dir, "scratch_hba.conf");
	SCOPED(freep) char *logs = path_join(scratch->work_dir, "log");
	SCOPED(freep) char *port = xasprintf("%u", scratch->server.port);

	args_add(args, xstrdup(program));
	args_add(args, xstrdup("-D"));
	args_add(args, xstrdup(scratch->data_dir));
	args_set(args, "config_file", config);
	args_set(args, "hba_file", hba);
	args_set(args, "ident_file", config);
	args_set(args, "port", port);
	args_set(args, "unix_socket_directories", scratch->socket_dir);
	args_set(args, "log_directory", logs);
	for (size_t i = 0; i < ARRAY_SIZE(safe_settings); i++)
		args_set(args, safe_settings[i][0], safe_settings[i][1]);
	if (options->port != 0)
		args_set(args, "listen_addresses", "127.0.0.1");
	for (size_t i = 0; options->settings != NULL && options->settings[i] != NULL; i++) {
		args_add(args, xstrdup("-c"));
		args_add(args, xstrdup(options->settings[i]));
	}
}

/* ---- folders -------------------------------------------------------------------------------------- */

static int
give(const struct scratch *scratch, const char *path, struct err *err)
{
	if (scratch->uid != 0 && lchown(path, scratch->uid, scratch->gid) < 0)
		return err_sys(err, "cannot give '%s' to the server's user", path);

	return 0;
}

static int
make_folder(const struct scratch *scratch, const char *path, struct err *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "cannot make folder '%s'", path);

	return give(scratch, path, err);
}

/* In the work folder, or in /tmp when the path would be too long for a socket. */
static int
make_socket_dir(struct scratch *scratch, struct err *err)
{
	scratch->socket_dir = path_join(scratch->work_dir, "socket");
	if (strlen(scratch->socket_dir) <= SOCKET_DIR_MAX_BYTES)
		return make_folder(scratch, scratch->socket_dir, err);

	free(scratch->socket_dir);
	scratch->socket_dir = xstrdup(SCRATCH_SOCKET_PREFIX "XXXXXX");
	if (mkdtemp(scratch->socket_dir) == NULL)
		return err_sys(err, "cannot make a folder for the socket in /tmp");
	scratch->socket_dir_made = xstrdup(scratch->socket_dir);

	return give(scratch, scratch->socket_dir, err);
}

static int
write_file(const struct scratch *scratch, const char *name, const char *text, struct err *err)
{
	SCOPED(freep) char *path = path_join(scratch->work_dir, name);

	if (file_write_all(path, text, strlen(text), 0600, err) < 0)
		return -1;

	return give(scratch, path, err);
}

/* The socket's folder is closed to all others, so whoever reaches the socket is trusted. */
static int
prepare_work_dir(struct scratch *scratch, struct err *err)
{
	SCOPED(freep) char *logs = path_join(scratch->work_dir, "log");

	scratch->log_path = path_join(logs, "server.log");
	if (give(scratch, scratch->work_dir, err) < 0 ||
	    scratch_user_can_enter(scratch->work_dir, scratch->uid, scratch->gid, err) < 0 ||
	    make_folder(scratch, logs, err) < 0 || make_socket_dir(scratch, err) < 0 ||
	    write_file(scratch, "scratch.conf", "# all settings are on the command line\n", err) <
		0)
		return -1;

	return write_file(scratch, "scratch_hba.conf",
	    "local all all trust\nlocal replication all trust\n"
	    "host all all 127.0.0.1/32 scram-sha-256\n",
	    err);
}

/* ---- programs ------------------------------------------------------------------------------------- */

static struct process *
start_program(const struct scratch *scratch, const char *const *argv, struct err *err)
{
	static const char *const env[] = { "LC_ALL=C", "PGOPTIONS=", "PGDATA=", NULL };
	const struct process_options options = {
		.argv = argv,
		.env = env,
		.cwd = scratch->work_dir,
		.run_as_uid = scratch->uid,
		.run_as_gid = scratch->gid,
	};

	return process_start(&options, err);
}

/* A program of the same folder as `postgres`, whose path is given. */
static char *
sibling(const char *postgres_path, const char *name)
{
	const char *slash = strrchr(postgres_path, '/');

	return xasprintf("%.*s%s", (int)(slash - postgres_path) + 1, postgres_path, name);
}

static int
run_initdb(struct scratch *scratch, const struct scratch_options *options,
    const char *postgres_path, struct err *err)
{
	SCOPED(args_done) struct args args = { .list = { .count = 0 } };
	static const char *const fixed[] = {
		"-U",
		"postgres",
		"--auth=trust",
		"--no-sync",
		"--locale=C",
		"-E",
	};

	args_add(&args, sibling(postgres_path, "initdb"));
	args_add(&args, xstrdup("-D"));
	args_add(&args, xstrdup(scratch->data_dir));
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		args_add(&args, xstrdup(fixed[i]));
	args_add(&args, xstrdup(options->encoding != NULL ? options->encoding : "UTF8"));

	SCOPED(process_freep)
	struct process *process = start_program(scratch, args_end(&args), err);
	if (process == NULL || process_run(process, NULL, err) < 0)
		return err_wrap(err, "cannot make a scratch server");

	return 0;
}

/* ---- waiting until it answers ------------------------------------------------------------------------ */

/* The last line of the log that says why: FATAL or PANIC, else the last one. */
static void
find_reason(const char *log, char **ret_reason)
{
	const char *best = NULL;
	bool is_grave = false;

	for (const char *line = log; line != NULL && *line != '\0';) {
		const char *end = strchr(line, '\n');
		SCOPED(freep)
		char *text = end != NULL ? xstrndup(line, (size_t)(end - line)) : xstrdup(line);
		bool is_now_grave = strstr(text, "FATAL:") != NULL ||
		    strstr(text, "PANIC:") != NULL;

		if (text[0] != '\0' && (is_now_grave || !is_grave)) {
			is_grave |= is_now_grave;
			best = line;
		}
		line = end != NULL ? end + 1 : NULL;
	}
	*ret_reason = best != NULL ? xstrndup(best, strcspn(best, "\n")) : NULL;
}

/* A long recovery logs a line for each segment: only the end of it tells why it ended. */
static void
read_log_tail(const struct scratch *scratch, struct str *to)
{
	SCOPED(closep) int fd = open(scratch->log_path, O_RDONLY | O_CLOEXEC);
	SCOPED(freep) char *text = xmalloc(LOG_TAIL_BYTES);
	off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	ssize_t got;

	if (size <= 0)
		return;
	got = pread(fd, text, LOG_TAIL_BYTES, size > LOG_TAIL_BYTES ? size - LOG_TAIL_BYTES : 0);
	if (got > 0)
		str_add_bytes(to, text, (size_t)got);
}

static int
explain_end(const struct scratch *scratch, struct err *err)
{
	SCOPED(str_done) struct str log = STR_INIT_MAX(LOG_TAIL_BYTES);
	SCOPED(freep) char *reason = NULL;

	read_log_tail(scratch, &log);
	find_reason(str_text(&log), &reason);
	if (reason == NULL && scratch->process != NULL)
		find_reason(process_stderr(scratch->process), &reason);

	return err_set(err, ERR_PEER, "the scratch server did not start: %s",
	    reason != NULL ? reason : "it said nothing");
}

/*
 * Roles to try: a copy of somebody's cluster need not have one called postgres.  ERR_AUTH means
 * that the role does not exist or may not log in.
 */
static int
connect_once(struct scratch *scratch, const struct postgres *pg, struct err *err)
{
	char *const candidates[] = { scratch->superuser, pg->user, scratch->fallback_user };

	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		if (candidates[i] == NULL)
			continue;
		scratch->server.user = candidates[i];

		SCOPED(pg_conn_freep)
		PGconn *conn = pg_connect(&scratch->server, NULL, PG_SQL, err);
		if (conn != NULL)
			return 0;
		if (err->kind != ERR_AUTH)
			return -1;
	}

	return -1;
}

static int
wait_while_idle(struct scratch *scratch, const struct scratch_options *options, struct err *err)
{
	struct mono_time began = clock_mono();
	bool was_there = false;

	/* It has START_GRACE_US to write the file at all. */
	for (;;) {
		enum scratch_state state = scratch_state_read(scratch->data_dir);
		bool is_young = !was_there && clock_elapsed_us(began) < START_GRACE_US;
		struct process_exit end;
		struct err running = ERR_INIT;

		was_there |= state != SCRATCH_GONE;
		if (state == SCRATCH_READY)
			return 0;
		if (scratch->process != NULL &&
		    process_wait(scratch->process, 0, &end, &running) == 0)
			return explain_end(scratch, err);
		if (scratch->process == NULL && state == SCRATCH_GONE && !is_young)
			return explain_end(scratch, err);
		if (stop_check(err) < 0 || options->idle(options->idle_context, err) < 0)
			return -1;
	}
}

static int
wait_until_ready(struct scratch *scratch, const struct postgres *pg, struct err *err)
{
	struct mono_time began = clock_mono();
	struct process_exit end;
	struct err waiting = ERR_INIT;

	for (;;) {
		if (stop_check(err) < 0)
			return -1;
		if (connect_once(scratch, pg, err) == 0)
			return 0;
		if (err->kind != ERR_NET && err->kind != ERR_TIMEOUT)
			return err_wrap(err, "scratch server");
		if (scratch->process == NULL)
			(void)poll(NULL, 0, POLL_MS);
		else if (process_wait(scratch->process, POLL_MS, &end, &waiting) == 0)
			return explain_end(scratch, err);
		if (clock_elapsed_us(began) > START_MAX_S * US_PER_S)
			return err_set(err, ERR_TIMEOUT,
			    "the scratch server is not ready after %d h", START_MAX_S / 3600);
	}
}

/* ---- starting -------------------------------------------------------------------------------------- */

/* Kept: the server's own settings are used, and it must outlive us, so pg_ctl starts it. */
static int
start_kept(struct scratch *scratch, const struct scratch_options *options,
    const char *postgres_path, struct err *err)
{
	SCOPED(args_done) struct args args = { .list = { .count = 0 } };
	const char *const fixed[] = { "start", options->idle != NULL ? "-W" : "-w", "-s", "-t",
		"86400" };

	scratch->log_path = path_join(scratch->work_dir, "server.log");
	args_add(&args, sibling(postgres_path, "pg_ctl"));
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		args_add(&args, xstrdup(fixed[i]));
	args_add(&args, xstrdup("-D"));
	args_add(&args, xstrdup(scratch->data_dir));
	args_add(&args, xstrdup("-l"));
	args_add(&args, xstrdup(scratch->log_path));

	SCOPED(process_freep)
	struct process *process = start_program(scratch, args_end(&args), err);
	if (process == NULL)
		return -1;
	if (process_run(process, NULL, err) < 0)
		return err->kind == ERR_PEER ? explain_end(scratch, err) : -1;

	return 0;
}

static int
start_own(struct scratch *scratch, const struct scratch_options *options, const char *postgres_path,
    struct err *err)
{
	SCOPED(args_done) struct args args = { .list = { .count = 0 } };

	if (prepare_work_dir(scratch, err) < 0)
		return -1;
	if (options->data_dir == NULL && run_initdb(scratch, options, postgres_path, err) < 0)
		return -1;
	add_server_args(scratch, options, postgres_path, &args);
	scratch->process = start_program(scratch, args_end(&args), err);

	return scratch->process != NULL ? 0 : -1;
}

static struct scratch *
scratch_new(const struct scratch_options *options)
{
	struct scratch *scratch = xcalloc(1, sizeof(*scratch));

	scratch->work_dir = xstrdup(options->work_dir);
	scratch->data_dir = options->data_dir != NULL ? xstrdup(options->data_dir)
						      : path_join(options->work_dir, "data");
	scratch->socket_dir = options->is_kept ? xstrdup(options->socket_dir) : NULL;
	scratch->superuser = xstrdup(options->superuser);
	scratch->is_kept = options->is_kept;

	return scratch;
}

/* How to connect: the superuser on the private socket; template1 is in every cluster. */
static void
describe_server(struct scratch *scratch, const struct postgres *pg,
    const struct scratch_options *options)
{
	(void)snprintf(scratch->label, sizeof(scratch->label), "scratch");
	(void)snprintf(scratch->database, sizeof(scratch->database), "template1");
	(void)snprintf(scratch->sslmode, sizeof(scratch->sslmode), "disable");
	(void)snprintf(scratch->fallback_user, sizeof(scratch->fallback_user), "postgres");
	scratch->server.base.ops = pg->base.ops;
	scratch->server.base.label = scratch->label;
	scratch->server.label = scratch->label;
	scratch->server.port = options->port != 0 ? options->port : DEFAULT_SOCKET_PORT;
	scratch->server.databases = scratch->no_databases;
	scratch->server.maintenance_database = scratch->database;
	scratch->server.sslmode = scratch->sslmode;
	scratch->server.bin_dirs = pg->bin_dirs;
	scratch->server.scratch_user = pg->scratch_user;
}

struct scratch *
scratch_start(const struct postgres *pg, const struct scratch_options *options, struct err *err)
{
	SCOPED(scratch_freep) struct scratch *scratch = scratch_new(options);
	SCOPED(pg_program_done) struct pg_program program = { .path = NULL };

	describe_server(scratch, pg, options);
	if (pg_server_user(pg, options->owner, &scratch->uid, &scratch->gid, err) < 0 ||
	    pg_program_find(pg, "postgres", options->major, options->is_exact, &program, err) < 0)
		return NULL;
	if (geteuid() != 0)
		scratch->uid = 0; /* nothing to change */
	if ((options->is_kept ? start_kept(scratch, options, program.path, err)
			      : start_own(scratch, options, program.path, err)) < 0)
		return NULL;
	scratch->server.host = scratch->socket_dir;
	if (options->idle != NULL && wait_while_idle(scratch, options, err) < 0)
		return NULL;
	if (wait_until_ready(scratch, pg, err) < 0)
		return NULL;

	return TAKE(scratch);
}

const struct postgres *
scratch_postgres(const struct scratch *scratch)
{
	return &scratch->server;
}

const char *
scratch_socket_dir(const struct scratch *scratch)
{
	return scratch->socket_dir;
}

/* ---- stopping ---------------------------------------------------------------------------------------- */

int
scratch_stop(struct scratch *scratch, struct err *err)
{
	struct process_exit end;

	if (scratch->process == NULL)
		return 0;
	process_signal(scratch->process, SIGINT);
	if (process_wait(scratch->process, STOP_FAST_MS, &end, err) < 0) {
		process_signal(scratch->process, SIGQUIT);
		return err_set(err, ERR_TIMEOUT, "the scratch server did not stop within %d s",
		    STOP_FAST_MS / 1000);
	}
	if (end.was_signalled || end.code != 0)
		return explain_end(scratch, err);
	process_free(TAKE(scratch->process));

	return 0;
}

void
scratch_free(struct scratch *scratch)
{
	struct err ignored = ERR_INIT;
	struct process_exit end;

	if (scratch == NULL)
		return;
	if (scratch->process != NULL) {
		process_signal(scratch->process, SIGQUIT);
		if (process_wait(scratch->process, STOP_IMMEDIATE_MS, &end, &ignored) < 0)
			process_signal(scratch->process, SIGKILL);
		process_free(scratch->process);
	}
	if (scratch->socket_dir_made != NULL &&
	    dir_remove_all(scratch->socket_dir_made, &ignored) < 0)
		log_debug("cannot remove '%s': %s, continuing", scratch->socket_dir_made,
		    ignored.msg);
	free(scratch->socket_dir_made);
	free(scratch->socket_dir);
	free(scratch->work_dir);
	free(scratch->data_dir);
	free(scratch->log_path);
	free(scratch->superuser);
	free(scratch);
}
