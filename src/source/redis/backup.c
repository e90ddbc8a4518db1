/*
 * Pulling an RDB file: we ask as a replica would, take the file as it comes, read it on its way
 * and leave.  Nothing is acknowledged, so the server never counts us as one that holds its data.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/progress.h"
#include "repo/manifest.h"
#include "source/redis/handshake.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/rdb_summary.h"
#include "source/redis/ready.h"
#include "source/redis/redis_internal.h"
#include "source/redis/sync_frame.h"
#include "stream/links.h"
#include "stream/sink.h"

enum {
	FORKS_MAX = 2,        /* of one run: each costs the server dear */
	FORK_PAUSE_MS = 5000, /* before the second */
	REAP_LOOKS = 40,      /* until the server has looked after its child */
	REAP_PAUSE_MS = 50,
};

struct pull {
	struct redis *redis;
	struct redis_choice choice; /* where the file comes from */
	unsigned forks;
	struct redis_conn *conn; /* for questions, until it becomes a replica's */
	struct redis_conn *from; /* where the file comes: the same, or a stream's; a loan */
	const struct backup_request *request;
	struct rdb_reader *reader;
	struct sync_frame frame;
	struct replication_answer answer; /* which place the file stands for */
	int64_t skew_us;                  /* the server's clock less ours */
	int64_t waited_us;                /* until its first byte */
	int64_t took_us;                  /* from then to its last */
};

/* ---- asking ------------------------------------------------------------------------------------ */

static int
ask_once(struct pull *pull, const struct str *info, struct err *err)
{
	const char *family;
	SCOPED(freep) char *version = redis_info_version(info, &family);
	const struct introduction introduction = {
		.family = family,
		.version = version,
		.is_for_file = true,
		.wants_disk = pull->redis->transfer == REDIS_TRANSFER_DISK,
	};

	if (redis_introduce(pull->from, &introduction, err) < 0 ||
	    redis_ask_stream(pull->from, NULL, &pull->answer, err) < 0)
		return -1;
	pull->forks++;
	if (redis_await_file(pull->from, &pull->frame, err) == 0)
		return 0;
	if (err->kind == ERR_NET || err->kind == ERR_PEER)
		(void)err_hint(err,
		    "The server's log says why: no memory to fork, a full disk, or an output buffer limit (client-output-buffer-limit).");

	return -1;
}

/*
 * A server that cannot now is waited for.  One that began and gave up is asked once more and no
 * oftener: a copy that overflows its buffers, or for which there is no memory, would be begun and
 * lost for ever, and each time the server forks.
 */
static int
ask(struct pull *pull, struct err *err)
{
	for (;;) {
		SCOPED(str_done) struct str info = STR_INIT;
		struct err why = ERR_INIT;
		bool has_forked;

		redis_conn_free(TAKE(pull->conn));
		if (redis_await_ready(pull->choice.at, pull->redis->wait_us,
			pull->request->progress, &pull->conn, &info, err) < 0)
			return -1;
		pull->from = pull->conn;
		if (ask_once(pull, &info, &why) == 0)
			return 0;
		has_forked = pull->forks > 0 && (why.kind == ERR_NET || why.kind == ERR_PEER);
		if ((why.kind != ERR_BUSY && !has_forked) || pull->forks >= FORKS_MAX) {
			*err = why;
			return -1;
		}
		log_warning("%s, continuing with another attempt", why.msg);
		if (redis_pause(FORK_PAUSE_MS * US_PER_MS, err) < 0)
			return -1;
	}
}

/* The file of an attached stream has been asked for already. */
static int
begin(struct pull *pull, const struct str *info, struct err *err)
{
	const struct redis_attachment *attached = pull->request->attached;

	if (attached != NULL) {
		pull->answer = attached->answer;
		pull->from = attached->conn;
		return redis_await_file(pull->from, &pull->frame, err);
	}
	if (pull->redis->prefers_replica)
		redis_choose_source(pull->redis, info, &pull->choice);

	return ask(pull, err);
}

/* ---- taking ------------------------------------------------------------------------------------ */

static int
ended_early(const struct pull *pull, struct err *err)
{
	(void)err_set(err, ERR_NET, "the server ended the connection after %llu bytes of the file",
	    (unsigned long long)pull->frame.body_bytes);

	return err_hint(err,
	    "The server's log says why: it was stopped, its child failed, or a limit was passed (repl-timeout, client-output-buffer-limit).");
}

static int
take(struct pull *pull, struct sink *to, struct err *err)
{
	struct mono_time began = clock_mono();

	progress_phase(pull->request->progress, "copying", pull->frame.total_bytes);
	while (!pull->frame.is_whole) {
		const void *data;
		size_t size;
		size_t extra;

		if (redis_hear(pull->from, REPLICATION_SILENCE_MS, &data, &size, err) < 0)
			return err_wrap(err, "after %llu bytes of the file",
			    (unsigned long long)pull->frame.body_bytes);
		if (size == 0)
			return ended_early(pull, err);
		/* Behind a file of known length the stream may begin at once: before 6.2 also ours. */
		extra = sync_frame_extra(&pull->frame, size);
		redis_unhear(pull->from, extra);
		if (sync_frame_feed(&pull->frame, data, size - extra, to, err) < 0)
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
	if (take(pull, sink, err) < 0 || sink_finish(sink, err) < 0)
		return err->kind == ERR_DATA ? err_wrap(err, "the server sent a damaged file") : -1;

	return 0;
}

/* ---- telling ------------------------------------------------------------------------------------- */

/* What the server says of its fork, once it has looked after the child: until then of an old one. */
static int
ask_costs(struct pull *pull, struct str *info, struct err *err)
{
	redis_conn_free(TAKE(pull->conn));
	pull->conn = redis_conn_open(pull->choice.at, err);
	for (unsigned i = 0; pull->conn != NULL && i < REAP_LOOKS; i++) {
		str_cut(info, 0);
		if (redis_info(pull->conn, info, err) < 0)
			return -1;
		if (redis_info_number(info, "rdb_bgsave_in_progress") == 0)
			return 0;
		if (redis_pause(REAP_PAUSE_MS * US_PER_MS, err) < 0)
			return -1;
	}

	return pull->conn != NULL ? 0 : -1;
}

/* Asked anew, since the connection has become that of a replica.  Only figures: may be missing. */
static void
add_costs(struct pull *pull, json_t *transfer)
{
	SCOPED(str_done) struct str info = STR_INIT;
	struct err ignored = ERR_INIT;

	if (ask_costs(pull, &info, &ignored) < 0)
		return;
	(void)json_object_set_new(transfer, "fork_us",
	    json_integer((json_int_t)redis_info_number(&info, "latest_fork_usec")));
	(void)json_object_set_new(transfer, "copy_on_write_bytes",
	    json_integer((json_int_t)redis_info_number(&info, "rdb_last_cow_size")));
}

/* Where the file came from, and how. */
static json_t *
transfer_json(struct pull *pull, struct manifest *draft)
{
	const struct redis_choice *choice = &pull->choice;
	json_t *transfer = json_object();

	(void)json_object_set_new(transfer, "is_from_replica", json_boolean(choice->replica));
	if (choice->place != NULL)
		(void)json_object_set_new(transfer, "replica", json_string(choice->place));
	else if (choice->why != NULL)
		(void)json_object_set_new(transfer, "replica_refused", json_string(choice->why));
	(void)json_object_set_new(transfer, "is_diskless", json_boolean(pull->frame.is_marked));
	(void)json_object_set_new(transfer, "forks", json_integer(pull->forks));
	(void)json_object_set_new(transfer, "waited_us", json_integer(pull->waited_us));
	(void)json_object_set_new(transfer, "took_us", json_integer(pull->took_us));
	add_costs(pull, transfer);
	if (pull->redis->transfer == REDIS_TRANSFER_DISKLESS && !pull->frame.is_marked)
		manifest_add_warning(draft, "not_diskless",
		    "the server wrote the file to its disk first: 'redis-cli CONFIG SET repl-diskless-sync yes' changes that");

	return transfer;
}

static void
tell(struct pull *pull, struct manifest *draft)
{
	const struct rdb_summary *summary = rdb_reader_summary(pull->reader);
	const char *stream_db = rdb_summary_aux(summary, "repl-stream-db");

	/* By the server's clock, as all times that the plant names. */
	draft->consistent_at.us = pull->answer.at.us + pull->skew_us;
	(void)json_object_set_new(draft->content, "clock_skew_us", json_integer(pull->skew_us));
	redis_content_add(draft->content, summary);
	(void)json_object_set_new(draft->content, "replication",
	    json_sprintf("%s %" PRIu64, pull->answer.place.id, pull->answer.place.offset));
	if (stream_db != NULL)
		(void)json_object_set_new(draft->content, "stream_db", json_string(stream_db));
	(void)json_object_set_new(draft->content, "transfer", transfer_json(pull, draft));
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

/* From a replica the stream begins without saying in which database. */
static void
note_stream_db(const struct rdb_reader *reader, struct redis_attachment *attached)
{
	const char *text = rdb_summary_aux(rdb_reader_summary(reader), "repl-stream-db");
	struct err ignored = ERR_INIT;
	uint64_t db;

	attached->stream_db = 0;
	if (text != NULL && parse_u64(text, 0, INT32_MAX, &db, &ignored) == 0)
		attached->stream_db = (unsigned)db;
}

static void
pull_done(struct pull *pull)
{
	redis_conn_free(pull->conn);
	redis_choice_done(&pull->choice);
	rdb_reader_free(pull->reader);
}

/* A server that makes the file of an attached stream is busy with just that. */
static int
look_first(struct pull *pull, struct str *info, struct err *err)
{
	if (pull->request->attached == NULL)
		return redis_await_ready(pull->redis, pull->redis->wait_us, pull->request->progress,
		    &pull->conn, info, err);
	pull->conn = redis_conn_open(pull->redis, err);

	return pull->conn != NULL ? redis_info(pull->conn, info, err) : -1;
}

static int
pull_all(struct pull *pull, struct intake *intake, struct manifest *draft, struct err *err)
{
	SCOPED(str_done) struct str info = STR_INIT;
	struct mono_time began = clock_mono();
	struct err unknown = ERR_INIT;
	const char *family;

	if (look_first(pull, &info, err) < 0)
		return -1;
	SCOPED(freep) char *version = redis_info_version(&info, &family);
	if (save_surroundings(pull, &info, intake, draft, err) < 0)
		return -1;
	if (redis_clock_skew(pull->conn, &pull->skew_us, &unknown) < 0)
		log_debug("the server's clock is taken to be ours: %s", unknown.msg);
	progress_phase(pull->request->progress, "waiting for the server", 0);
	if (begin(pull, &info, err) < 0)
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
	if (pull->request->attached != NULL)
		note_stream_db(pull->reader, pull->request->attached);

	return 0;
}

int
redis_backup(struct redis *redis, const struct backup_request *request, struct intake *intake,
    struct manifest *draft, struct err *err)
{
	const struct rdb_options options = { .is_deep = false };
	SCOPED(pull_done)
	struct pull pull = { .redis = redis, .request = request, .choice = { .at = redis } };

	pull.reader = rdb_reader_new(&options);
	if (pull_all(&pull, intake, draft, err) < 0)
		return err_wrap(err, "redis '%s'", redis->label);

	return 0;
}
