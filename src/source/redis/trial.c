/*
 * A scratch server that loads an RDB file.  It runs as a replica of a master that is not there:
 * a master would drop the keys that have expired while it loads, a replica keeps every one until
 * it is told, so that its counts can be compared exactly.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/progress.h"
#include "os/file.h"
#include "os/process.h"
#include "os/stop.h"
#include "source/redis/aof/manifest.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/rdb_summary.h"
#include "source/redis/ready.h"
#include "source/redis/redis_internal.h"
#include "stream/sink.h"

enum {
	DATABASES_MIN = 16,
	LOG_MAX_BYTES = 64 * 1024 * 1024,
	LOOK_MS = 25,
	PASSWD_BYTES = 16 * 1024,
	NUMBER_BYTES = 24,
	SOCKET_PATH_MAX_BYTES = 107,
	READ_BYTES = 256 * 1024,
};
#define AOF_DATABASES "1024" /* which of them its commands use is not known before */
#define SAVE_LOOK_US (100 * US_PER_MS)
#define SCAN_STEP "5000"

struct trial {
	const struct redis *redis;
	const struct rdb_summary *summary;
	bool is_valkey;
	unsigned rdb_version;
	struct verify_report *report;
	struct process *process;
	struct redis_conn *conn;
	char *programs[2];   /* those that may load it, the better one first */
	const char *program; /* the one at work */
	char *socket_path;
	char *log_path;
	uid_t uid; /* 0: as we are */
	gid_t gid;
};

static void
trial_done(struct trial *trial)
{
	redis_conn_free(trial->conn);
	process_free(trial->process);
	for (size_t i = 0; i < ARRAY_SIZE(trial->programs); i++)
		free(trial->programs[i]);
	free(trial->socket_path);
	free(trial->log_path);
}

/* ---- the server ----------------------------------------------------------------------------------- */

/* In the folders of PATH, and where packages put servers. */
static char *
find_in_path(const char *name)
{
	const char *path = getenv("PATH");
	SCOPED(freep)
	char *folders = xasprintf("%s:/usr/bin:/usr/sbin:/usr/local/bin:/opt/redis/bin",
	    path != NULL ? path : "");

	for (const char *at = folders; *at != '\0';) {
		size_t size = strcspn(at, ":");
		SCOPED(freep) char *file = xasprintf("%.*s/%s", (int)size, at, name);

		if (at[0] == '/' && access(file, X_OK) == 0)
			return TAKE(file);
		at += size + (at[size] == ':' ? 1 : 0);
	}

	return NULL;
}

/* A file loads into its own family for certain; the other one may be too old, or refuse it. */
static int
find_programs(struct trial *trial, struct err *err)
{
	const char *const own = trial->is_valkey ? "valkey-server" : "redis-server";

	trial->programs[0] = find_in_path(own);
	trial->programs[1] = find_in_path(trial->is_valkey ? "redis-server" : "valkey-server");
	if (trial->programs[0] == NULL)
		trial->programs[0] = TAKE(trial->programs[1]);
	if (trial->programs[0] != NULL)
		return 0;
	(void)err_set(err, ERR_UNSUPPORTED, "this machine has no %s to load the file with", own);

	return err_hint(err, "Type: apt-get install %s; it need not be running.", own);
}

/* Not as root: what it reads came from elsewhere. */
static int
find_user(struct trial *trial, struct err *err)
{
	char buffer[PASSWD_BYTES];
	struct passwd entry;
	struct passwd *found = NULL;

	if (geteuid() != 0)
		return 0;
	(void)getpwnam_r(trial->redis->scratch_user, &entry, buffer, sizeof(buffer), &found);
	if (found == NULL)
		(void)getpwnam_r("nobody", &entry, buffer, sizeof(buffer), &found);
	if (found == NULL || found->pw_uid == 0) {
		(void)err_set(err, ERR_NOT_FOUND, "there is no user '%s' to run a scratch server",
		    trial->redis->scratch_user);
		return err_hint(err, "Name an ordinary user with scratch_user.");
	}
	trial->uid = found->pw_uid;
	trial->gid = found->pw_gid;

	return 0;
}

static int
give(const struct trial *trial, const char *path, struct err *err)
{
	if (trial->uid != 0 && lchown(path, trial->uid, trial->gid) < 0)
		return err_sys(err, "cannot give '%s' to the server's user", path);

	return 0;
}

static int
start_program(struct trial *trial, const char *work_dir, const char *const *argv, struct err *err)
{
	const struct process_options options = {
		.argv = argv,
		.cwd = work_dir,
		.run_as_uid = trial->uid,
		.run_as_gid = trial->gid,
	};

	if (strlen(trial->socket_path) > SOCKET_PATH_MAX_BYTES) {
		(void)err_set(err, ERR_UNSUPPORTED, "the path '%s' is too long for a socket",
		    trial->socket_path);
		return err_hint(err, "Set TMPDIR to a folder with a shorter path.");
	}
	trial->process = process_start(&options, err);

	return trial->process != NULL ? 0 : -1;
}

static int
start(struct trial *trial, const char *work_dir, struct err *err)
{
	SCOPED(freep) char *file = path_join(work_dir, "dump.rdb");
	uint64_t databases = DATABASES_MIN;
	char databases_text[NUMBER_BYTES];

	for (size_t i = 0; i < trial->summary->databases.count; i++) {
		if (trial->summary->databases.items[i].index >= databases)
			databases = trial->summary->databases.items[i].index + 1;
	}
	(void)snprintf(databases_text, sizeof(databases_text), "%" PRIu64, databases);
	const char *const argv[] = { trial->program, "--port", "0", "--unixsocket",
		trial->socket_path, "--unixsocketperm", "700", "--dir", work_dir, "--dbfilename",
		"dump.rdb", "--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile",
		trial->log_path, "--databases", databases_text, "--maxmemory", "0", "--replicaof",
		"127.0.0.1", "1", NULL };

	if (give(trial, work_dir, err) < 0 || give(trial, file, err) < 0)
		return -1;

	return start_program(trial, work_dir, argv, err);
}

/* The last line of its log that complains. */
static char *
complaint(const struct str *log)
{
	const char *found = "";

	for (const char *line = str_text(log); line != NULL && *line != '\0';) {
		const char *mark = strstr(line, " # ");
		const char *end = strchr(line, '\n');

		if (mark != NULL && (end == NULL || mark < end) &&
		    strncmp(mark, " # Warning", 10) != 0 && strncmp(mark, " # WARNING", 10) != 0)
			found = mark + 3;
		line = end != NULL ? end + 1 : NULL;
	}

	return xstrndup(found, strcspn(found, "\n"));
}

static int
died(struct trial *trial, struct err *err)
{
	SCOPED(str_done) struct str log = STR_INIT_MAX(LOG_MAX_BYTES);
	struct err ignored = ERR_INIT;

	if (file_read_all(trial->log_path, LOG_MAX_BYTES, &log, &ignored) < 0)
		return err_set(err, ERR_DATA, "%s does not load the file, and left no log",
		    trial->program);
	SCOPED(freep) char *reason = complaint(&log);
	if (strstr(str_text(&log), "RDB format version") != NULL) {
		(void)err_set(err, ERR_UNSUPPORTED,
		    "%s cannot load the file: it does not handle RDB version %u", trial->program,
		    trial->rdb_version);
		return err_hint(err, "It needs %s or later.",
		    rdb_version_needs(trial->rdb_version, trial->is_valkey));
	}

	return err_set(err, ERR_DATA, "%s does not load the file: %s", trial->program, reason);
}

/* Until it answers, however long it loads. */
static int
wait_until_loaded(struct trial *trial, struct err *err)
{
	struct redis there = *trial->redis;
	struct process_exit how;
	struct err waiting = ERR_INIT;

	there.host = trial->socket_path;
	there.user = NULL;
	there.password = NULL;
	there.security = CHANNEL_PLAIN;
	for (;;) {
		if (stop_check(err) < 0)
			return -1;
		trial->conn = redis_conn_open(&there, &waiting);
		if (trial->conn != NULL)
			return 0;
		if (process_wait(trial->process, LOOK_MS, &how, &waiting) == 0)
			return died(trial, err);
		if (waiting.kind != ERR_TIMEOUT) {
			*err = waiting;
			return -1;
		}
	}
}

/* With the first program that can. */
static int
load(struct trial *trial, const char *work_dir, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(trial->programs); i++) {
		struct err refusal = ERR_INIT;

		trial->program = trial->programs[i];
		if (trial->program == NULL)
			return -1;
		process_free(TAKE(trial->process));
		(void)unlink(trial->log_path);
		if (start(trial, work_dir, &refusal) == 0 &&
		    wait_until_loaded(trial, &refusal) == 0)
			return 0;
		*err = refusal;
		if (refusal.kind != ERR_UNSUPPORTED)
			return -1;
	}

	return -1;
}

/* ---- comparing -------------------------------------------------------------------------------------- */

static int
compare_databases(struct trial *trial, struct err *err)
{
	SCOPED(str_done) struct str info = STR_INIT;

	if (redis_info(trial->conn, &info, err) < 0)
		return -1;

	return redis_content_compare_live(trial->summary, &info, true, err);
}

/* How many keys of a type a walk through the selected database shows. */
static int
count_type(struct trial *trial, enum rdb_kind kind, uint64_t *ret_count, struct err *err)
{
	SCOPED(freep) char *cursor = xstrdup("0");
	bool is_done = false;

	*ret_count = 0;
	while (!is_done) {
		const char *const words[] = { "SCAN", cursor, "COUNT", SCAN_STEP, "TYPE",
			rdb_kind_name(kind), NULL };
		struct resp_value value;

		if (stop_check(err) < 0 || redis_command(trial->conn, words, &value, err) < 0)
			return -1;
		if (value.count != 2 || value.items[0].text == NULL) {
			resp_value_done(&value);
			return err_set(err, ERR_PEER, "SCAN has an answer that cannot be read");
		}
		*ret_count += value.items[1].count;
		free(cursor);
		cursor = xstrdup(value.items[0].text);
		is_done = str_equals(cursor, "0");
		resp_value_done(&value);
	}

	return 0;
}

/* A walk leaves out what has expired, and only that may be missing. */
static int
compare_types(struct trial *trial, const struct rdb_database *database, uint64_t *expired,
    struct err *err)
{
	char index[NUMBER_BYTES];

	(void)snprintf(index, sizeof(index), "%" PRIu64, database->index);
	if (redis_execute(trial->conn, (const char *const[]){ "SELECT", index, NULL }, err) < 0)
		return -1;
	for (unsigned kind = 0; kind < RDB_MODULE; kind++) {
		uint64_t seen;

		if (count_type(trial, kind, &seen, err) < 0)
			return -1;
		if (seen > database->types[kind] ||
		    database->types[kind] - seen > database->expiring[kind])
			return err_set(err, ERR_MISMATCH,
			    "database %" PRIu64 " has %" PRIu64 " keys of type %s after loading, "
			    "and %" PRIu64 " in the file",
			    database->index, seen, rdb_kind_name(kind), database->types[kind]);
		*expired += database->types[kind] - seen;
	}

	return 0;
}

static int
climb(struct trial *trial, int level, struct err *err)
{
	struct verify_report *report = trial->report;
	uint64_t expired = 0;

	if (trial->summary->unknown != NULL) {
		report->level = 2;
		vec_push(&report->warnings,
		    xstrdup("the server loaded the file; its keys could not be compared, because "
			    "this program does not know all of its types"));
		return 0;
	}
	if (compare_databases(trial, err) < 0)
		return -1;
	report->level = 2;
	vec_push(&report->notes,
	    xasprintf("%s loaded it: %" PRIu64 " keys in %zu databases, as in the file",
		trial->program, trial->summary->keys, trial->summary->databases.count));
	if (level < 3)
		return 0;
	for (size_t i = 0; i < trial->summary->databases.count; i++) {
		if (compare_types(trial, &trial->summary->databases.items[i], &expired, err) < 0)
			return -1;
	}
	report->level = 3;
	vec_push(&report->notes,
	    xasprintf("keys of each type equal in each database (%" PRIu64
		      " have expired since the backup)",
		expired));

	return 0;
}

int
redis_trial(const struct redis *redis, const char *work_dir, const struct rdb_summary *summary,
    const struct verify_request *request, struct verify_report *report, struct err *err)
{
	SCOPED(trial_done)
	struct trial trial = {
		.redis = redis,
		.summary = summary,
		.is_valkey = summary->is_valkey || rdb_summary_aux(summary, "valkey-ver") != NULL,
		.rdb_version = summary->version,
		.report = report,
		.socket_path = path_join(work_dir, "s"),
		.log_path = path_join(work_dir, "log"),
	};

	if (find_programs(&trial, err) < 0 || find_user(&trial, err) < 0)
		return -1;
	progress_phase(request->progress, "loading into a scratch server", 0);
	if (load(&trial, work_dir, err) < 0)
		return err_wrap(err, "scratch server");

	return climb(&trial, request->level, err);
}

/* ---- an RDB file of an AOF ------------------------------------------------------------------------- */

/* All below, so that the server can read and write it. */
static int
give_tree(const struct trial *trial, const struct redis_aof_place *place, struct err *err)
{
	SCOPED(freep) char *folder = path_join(place->dir, place->folder_name);
	SCOPED(dir_listing_done) struct dir_listing listing = { .count = 0 };

	if (give(trial, place->dir, err) < 0 || give(trial, folder, err) < 0 ||
	    dir_list(folder, AOF_FILES_MAX, &listing, err) < 0)
		return -1;
	for (size_t i = 0; i < listing.count; i++) {
		SCOPED(freep) char *path = path_join(folder, listing.names[i]);

		if (give(trial, path, err) < 0)
			return -1;
	}

	return 0;
}

/* It must leave the AOF as it is: a replica expires nothing, and nothing makes it write it anew. */
static int
start_on_aof(struct trial *trial, const struct redis_aof_place *place, struct err *err)
{
	const char *const argv[] = { trial->program, "--port", "0", "--unixsocket",
		trial->socket_path, "--unixsocketperm", "700", "--dir", place->dir, "--dbfilename",
		place->dump_name, "--save", "", "--appendonly", "yes", "--appenddirname",
		place->folder_name, "--appendfilename", place->file_name,
		"--auto-aof-rewrite-percentage", "0", "--aof-load-truncated", "no", "--daemonize",
		"no", "--logfile", trial->log_path, "--databases", AOF_DATABASES, "--maxmemory",
		"0", "--replicaof", "127.0.0.1", "1", NULL };

	return start_program(trial, place->dir, argv, err);
}

static int
save(struct trial *trial, struct err *err)
{
	bool is_over = false;

	if (redis_execute(trial->conn, (const char *const[]){ "BGSAVE", NULL }, err) < 0)
		return -1;
	while (!is_over) {
		if (redis_pause(SAVE_LOOK_US, err) < 0 ||
		    redis_save_ended(trial->conn, &is_over, err) < 0)
			return -1;
	}

	return 0;
}

static int
read_dump(const char *path, struct rdb_reader *reader, struct err *err)
{
	SCOPED(sink_freep) struct sink *sink = rdb_sink_new(reader);
	SCOPED(freep) uint8_t *buffer = xmalloc(READ_BYTES);
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t got;

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	while ((got = read(fd, buffer, READ_BYTES)) > 0) {
		if (stop_check(err) < 0 || sink_write(sink, buffer, (size_t)got, err) < 0)
			return -1;
	}
	if (got < 0 || fsync(fd) < 0)
		return err_sys(err, "cannot read '%s'", path);

	return sink_finish(sink, err);
}

/* Whole, and such that the server it is for can load it. */
static int
check_dump(const struct trial *trial, const struct redis_aof_place *place, struct err *err)
{
	const struct rdb_options options = { .is_deep = true };
	SCOPED(rdb_reader_freep) struct rdb_reader *reader = rdb_reader_new(&options);
	SCOPED(freep) char *path = path_join(place->dir, place->dump_name);
	const struct rdb_summary *summary = rdb_reader_summary(reader);

	if (read_dump(path, reader, err) < 0)
		return -1;
	if (summary->version > place->rdb_version)
		return err_set(err, ERR_UNSUPPORTED,
		    "%s here writes RDB version %u, which the server may not load", trial->program,
		    summary->version);

	return 0;
}

int
redis_trial_dump(const struct redis *redis, const struct redis_aof_place *place,
    struct progress *progress, char **ret_program, struct err *err)
{
	SCOPED(trial_done)
	struct trial trial = {
		.redis = redis,
		.is_valkey = place->is_valkey,
		.rdb_version = place->rdb_version,
		.socket_path = path_join(place->dir, "s"),
		.log_path = path_join(place->dir, "log"),
	};

	if (find_programs(&trial, err) < 0 || find_user(&trial, err) < 0 ||
	    give_tree(&trial, place, err) < 0)
		return -1;
	progress_phase(progress, "writing an RDB file of it", 0);
	trial.program = trial.programs[0];
	if (start_on_aof(&trial, place, err) < 0 || wait_until_loaded(&trial, err) < 0 ||
	    save(&trial, err) < 0 || check_dump(&trial, place, err) < 0)
		return err_wrap(err, "scratch server");
	*ret_program = xstrdup(trial.program);

	return 0;
}
