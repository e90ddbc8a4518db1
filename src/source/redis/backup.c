/*
 * Pulling an RDB file: we ask as a replica would, take the file as it comes, read it on its way
 * and leave.  Nothing is acknowledged, so the server never counts us as one that holds its data.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "repo/manifest.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/rdb_summary.h"
#include "source/redis/redis_internal.h"
#include "source/redis/sync_frame.h"
#include "stream/links.h"
#include "stream/sink.h"

enum {
	/* A forking server sends an empty line each second; one that waits for others may be still. */
	PULL_SILENCE_MS = 60 * 1000,
};

struct pull {
	struct redis *redis;
	struct redis_conn *conn;
	const struct backup_request *request;
	struct rdb_reader *reader;
	struct sync_frame frame;
	struct wall_time at; /* when the server took its picture */
	char *replication;   /* "<id> <offset>" */
	int64_t waited_us;   /* until its first byte */
	int64_t took_us;     /* from then to its last */
};

/* ---- asking ------------------------------------------------------------------------------------ */

/* A word that the server need not know. */
static int
offer(struct redis_conn *conn, const char *const *words, struct err *err)
{
	struct err refusal = ERR_INIT;

	if (redis_execute(conn, words, &refusal) == 0 || refusal.kind == ERR_PEER)
		return 0;
	*err = refusal;

	return -1;
}

/*
 * The address is no address, so that a Sentinel does not take us for a replica that it lost.
 * rdb-only (6.2 and later): nothing is to be kept for us behind the file.
 */
static int
introduce(struct redis_conn *conn, const char *family, const char *version, struct err *err)
{
	if (offer(conn, (const char *const[]){ "REPLCONF", "ip-address", "backup-agent", NULL },
		err) < 0 ||
	    redis_execute(conn,
		(const char *const[]){ "REPLCONF", "capa", "eof", "capa", "psync2", NULL },
		err) < 0 ||
	    offer(conn, (const char *const[]){ "REPLCONF", "rdb-only", "1", NULL }, err) < 0)
		return -1;
	if (!str_equals(family, "valkey"))
		return 0;

	return offer(conn, (const char *const[]){ "REPLCONF", "version", version, NULL }, err);
}

static int
no_replication(struct err *err)
{
	if (err->kind == ERR_AUTH)
		return err_hint(err,
		    "'blackstart check --sql' prints the ACL rule that lets a user read a copy of the data.");
	if (err->kind == ERR_UNSUPPORTED)
		return err_hint(err,
		    "Take rename-command for PSYNC out of its configuration; a managed service that hides it has an export of its own.");

	return -1;
}

static int
ask(struct pull *pull, struct err *err)
{
	SCOPED(str_done) struct str line = STR_INIT;
	static const char full[] = "+FULLRESYNC ";

	if (redis_say(pull->conn, (const char *const[]){ "PSYNC", "?", "-1", NULL }, err) < 0 ||
	    redis_hear_line(pull->conn, PULL_SILENCE_MS, &line, err) < 0)
		return err_wrap(err, "PSYNC");
	pull->at = clock_wall();
	if (line.data[0] == '-') {
		(void)redis_refused(str_text(&line) + 1, err);
		(void)err_wrap(err, "PSYNC");
		return no_replication(err);
	}
	if (!str_starts_with(str_text(&line), full))
		return err_set(err, ERR_DATA, "PSYNC: '%.60s' is no answer to it", str_text(&line));
	pull->replication = xstrdup(str_text(&line) + sizeof(full) - 1);
	if (redis_hear_line(pull->conn, PULL_SILENCE_MS, &line, err) < 0)
		return err_wrap(err, "waiting for the file");
	if (line.data[0] == '-')
		return redis_refused(str_text(&line) + 1, err);

	return sync_frame_init(&pull->frame, str_text(&line), err);
}

/* ---- taking ------------------------------------------------------------------------------------ */

static int
take(struct pull *pull, struct sink *to, struct err *err)
{
	struct mono_time began = clock_mono();

	progress_phase(pull->request->progress, "copying", pull->frame.total_bytes);
	while (!pull->frame.is_whole) {
		const void *data;
		size_t size;

		if (redis_hear(pull->conn, PULL_SILENCE_MS, &data, &size, err) < 0)
			return err_wrap(err, "after %llu bytes of the file",
			    (unsigned long long)pull->frame.body_bytes);
		if (size == 0)
			return err_set(err, ERR_NET,
			    "the server ended the connection after %llu bytes of the file",
			    (unsigned long long)pull->frame.body_bytes);
		if (sync_frame_feed(&pull->frame, data, size, to, err) < 0)
			return -1;
	}
	pull->took_us = clock_elapsed_us(began);

	return 0;
}

/* What the server calls its files: a restore gives them the same names. */
static void
draft_names(struct manifest *draft, const json_t *settings)
{
	static const char *const names[] = { "dbfilename", "appendonly", "appendfilename",
		"appenddirname" };
	json_t *files = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		json_t *value = json_object_get(settings, names[i]);

		if (json_is_string(value))
			(void)json_object_set(files, names[i], value);
	}
	(void)json_object_set_new(draft->content, "files", files);
}

/* The side file first: a crash in between leaves no pair that looks whole. */
static int
save_surroundings(struct pull *pull, const struct str *info, struct intake *intake,
    struct manifest *draft, struct err *err)
{
	const struct part part = { .name = "settings.json" };
	struct err missing;
	json_t *root = redis_surroundings(pull->conn, info, &missing);
	SCOPED(freep) char *text = json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS);

	draft_names(draft, json_object_get(root, "settings"));
	json_decref(root);
	if (missing.kind == ERR_NET || missing.kind == ERR_CANCELLED) {
		*err = missing;
		return -1;
	}
	if (missing.kind != ERR_NONE)
		manifest_add_warning(draft, "settings_missing",
		    "settings, users or modules are not saved with it: %s", missing.msg);

	SCOPED(sink_freep) struct sink *sink = intake->open(intake, &part, err);
	if (sink == NULL || sink_write(sink, text, strlen(text), err) < 0)
		return -1;

	return sink_finish(sink, err);
}

static int
save_file(struct pull *pull, struct intake *intake, struct err *err)
{
	const struct part part = { .name = "rdb", .size_hint_bytes = pull->frame.total_bytes };
	SCOPED(sink_freep) struct sink *sink = intake->open(intake, &part, err);

	if (sink == NULL)
		return -1;
	sink = tee_sink_new(rdb_sink_new(pull->reader), TAKE(sink));
	if (take(pull, sink, err) < 0)
		return -1;
	if (sink_finish(sink, err) < 0)
		return err->kind == ERR_DATA ? err_wrap(err, "the server sent a damaged file") : -1;

	return 0;
}

/* ---- telling ------------------------------------------------------------------------------------- */

/* Asked anew, since the connection has become that of a replica.  Only figures: may be missing. */
static void
add_costs(struct pull *pull, json_t *transfer)
{
	SCOPED(str_done) struct str info = STR_INIT;
	struct err ignored = ERR_INIT;

	redis_conn_free(TAKE(pull->conn));
	SCOPED(redis_conn_freep)
	struct redis_conn *conn = redis_conn_open(pull->redis, &ignored);
	if (conn == NULL || redis_info(conn, &info, &ignored) < 0)
		return;
	(void)json_object_set_new(transfer, "fork_us",
	    json_integer((json_int_t)redis_info_number(&info, "latest_fork_usec")));
	(void)json_object_set_new(transfer, "copy_on_write_bytes",
	    json_integer((json_int_t)redis_info_number(&info, "rdb_last_cow_size")));
}

static void
tell(struct pull *pull, struct manifest *draft)
{
	const struct rdb_summary *summary = rdb_reader_summary(pull->reader);
	json_t *transfer = json_object();

	draft->consistent_at = pull->at;
	redis_content_add(draft->content, summary);
	(void)json_object_set_new(draft->content, "replication", json_string(pull->replication));
	(void)json_object_set_new(transfer, "is_diskless", json_boolean(pull->frame.is_marked));
	(void)json_object_set_new(transfer, "waited_us", json_integer(pull->waited_us));
	(void)json_object_set_new(transfer, "took_us", json_integer(pull->took_us));
	add_costs(pull, transfer);
	(void)json_object_set_new(draft->content, "transfer", transfer);
	if (summary->unknown != NULL)
		manifest_add_warning(draft, "structure_unknown",
		    "the file is newer than this program: its checksum is right, its keys are not counted (%s)",
		    summary->unknown);
	if (!summary->is_checksummed)
		manifest_add_warning(draft, "not_checksummed",
		    "the server writes no checksum into its files (rdbchecksum no)");
	if (summary->wrong_announcements > 0)
		manifest_add_warning(draft, "counts_differ",
		    "%llu databases have not as many keys as the file announces",
		    (unsigned long long)summary->wrong_announcements);
}

static void
pull_done(struct pull *pull)
{
	redis_conn_free(pull->conn);
	rdb_reader_free(pull->reader);
	free(pull->replication);
}

static int
pull_all(struct pull *pull, struct intake *intake, struct manifest *draft, struct err *err)
{
	SCOPED(str_done) struct str info = STR_INIT;
	struct mono_time began = clock_mono();
	const char *family;

	if (redis_info(pull->conn, &info, err) < 0)
		return no_replication(err);
	SCOPED(freep) char *version = redis_info_version(&info, &family);
	if (redis_info_number(&info, "loading") != 0)
		return err_set(err, ERR_BUSY, "the server is loading its data");
	if (save_surroundings(pull, &info, intake, draft, err) < 0)
		return -1;
	progress_phase(pull->request->progress, "waiting for the server", 0);
	if (introduce(pull->conn, family, version, err) < 0)
		return no_replication(err);
	if (ask(pull, err) < 0)
		return -1;
	pull->waited_us = clock_elapsed_us(began);
	if (save_file(pull, intake, err) < 0)
		return -1;
	free(draft->source_version);
	draft->source_version = TAKE(version);
	free(draft->source_identity);
	draft->source_identity = xstrdup("");
	(void)json_object_set_new(draft->content, "server", json_string(family));
	tell(pull, draft);

	return 0;
}

int
redis_backup(struct redis *redis, const struct backup_request *request, struct intake *intake,
    struct manifest *draft, struct err *err)
{
	const struct rdb_options options = { .is_deep = false };
	SCOPED(pull_done) struct pull pull = { .redis = redis, .request = request };

	pull.conn = redis_conn_open(redis, err);
	if (pull.conn == NULL)
		return -1;
	pull.reader = rdb_reader_new(&options);
	if (pull_all(&pull, intake, draft, err) < 0)
		return err_wrap(err, "redis '%s'", redis->label);

	return 0;
}
