#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/progress.h"
#include "base/str.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "source/postgres/base/covered.h"
#include "source/postgres/base/reader.h"
#include "source/postgres/base/settings_internal.h"
#include "source/postgres/base/stream_internal.h"
#include "source/postgres/base/wal.h"
#include "source/postgres/lsn.h"
#include "source/postgres/postgres_internal.h"
#include "stream/sink.h"

/*
 * One pass over the server's stream: every buffer goes to the part's chain and to the reader that
 * checks each file.  The server's manifest comes last and decides.
 */
#define LOG_WAIT_US (60 * US_PER_S)

struct making {
	struct postgres *pg;
	const struct backup_request *request;
	struct intake *intake;
	struct manifest *draft;
	struct base_stream *stream;
	PGconn *sql;      /* NULL: the role may not run SQL */
	json_t *settings; /* NULL as well */
	struct base_start start;
	struct base_end end;
	struct base_reader *reader;
	struct base_wal *wal; /* from the start on */
	struct sink *part;    /* the archive, or the manifest, being stored */
	struct sink *tar;     /* the same archive, being read */
	uint64_t archive_bytes;
	json_t *tablespaces; /* for the content */
	char *next_xid;      /* NULL: not known */
};

static void
making_done(struct making *making)
{
	sink_free(making->part);
	sink_free(making->tar);
	base_reader_free(making->reader);
	base_wal_free(making->wal);
	base_start_done(&making->start);
	base_end_done(&making->end);
	base_stream_free(making->stream);
	json_decref(making->settings);
	json_decref(making->tablespaces);
	free(making->next_xid);
	pg_close(making->sql);
}

/* ---- the WAL among the files, as the reader finds them ------------------------------------------------ */

static int
on_file(void *context, const char *path, const struct tar_entry *entry, struct err *err)
{
	struct making *making = context;

	(void)err;
	base_wal_begin(making->wal, path, entry);

	return 0;
}

static int
on_file_data(void *context, const void *data, size_t size, struct err *err)
{
	struct making *making = context;

	(void)err;
	base_wal_data(making->wal, data, size);

	return 0;
}

static int
on_file_end(void *context, struct err *err)
{
	struct making *making = context;

	(void)err;
	base_wal_end(making->wal);

	return 0;
}

/* ---- the parts, as the stream delivers them ---------------------------------------------------------- */

static const struct base_tablespace *
tablespace_of(const struct making *making, const char *oid)
{
	for (size_t i = 0; i < making->start.tablespaces.count; i++) {
		const struct base_tablespace *space = &making->start.tablespaces.items[i];

		if (str_equals(space->oid, oid))
			return space;
	}

	return NULL;
}

static int
on_start(void *context, const struct base_start *start, struct err *err)
{
	struct making *making = context;
	const struct base_server *server = base_stream_server(making->stream);
	struct base_wal_options options = {
		.segment_bytes = server->wal_segment_bytes,
		.server_major = server->version / 10000,
		.start_timeline = start->start_timeline,
		.start_lsn = start->start_lsn,
	};

	if (parse_u64(server->system_identifier, 0, UINT64_MAX, &options.system_identifier, err) <
	    0)
		return -1;
	making->wal = base_wal_new(&options);
	progress_phase(making->request->progress, "copying", start->size_bytes);

	return 0;
}

static int
on_archive(void *context, const char *oid, struct err *err)
{
	struct making *making = context;
	const struct base_tablespace *space = tablespace_of(making, oid);
	SCOPED(freep) char *name = xasprintf("%s.tar", oid != NULL ? oid : "base");
	const struct part part = {
		.name = name,
		.compression = PART_COMPRESSED,
		.size_hint_bytes = space != NULL ? space->size_bytes : 0,
	};

	making->archive_bytes = 0;
	making->part = making->intake->open(making->intake, &part, err);
	if (making->part == NULL)
		return err_wrap(err, "part '%s'", name);
	making->tar = base_reader_archive(making->reader, oid);
	if (oid != NULL)
		(void)json_array_append_new(making->tablespaces,
		    json_pack("{s:s, s:s, s:s+}", "oid", oid, "location", space->location, "file",
			oid, ".tar"));

	return 0;
}

static int
on_data(void *context, const void *data, size_t size, struct err *err)
{
	struct making *making = context;

	making->archive_bytes += size;
	if (sink_write(making->part, data, size, err) < 0)
		return -1;

	return sink_write(making->tar, data, size, err);
}

static int
finish_part(struct making *making, struct err *err)
{
	if (sink_finish(making->part, err) < 0)
		return -1;
	sink_free(TAKE(making->part));

	return 0;
}

static int
on_archive_end(void *context, struct err *err)
{
	struct making *making = context;
	size_t count = json_array_size(making->tablespaces);
	json_t *last = count > 0 ? json_array_get(making->tablespaces, count - 1) : NULL;

	if (sink_finish(making->tar, err) < 0)
		return err_wrap(err, "the server's archive");
	sink_free(TAKE(making->tar));
	if (last != NULL && json_object_get(last, "bytes") == NULL)
		(void)json_object_set_new(last, "bytes",
		    json_integer((json_int_t)making->archive_bytes));

	return finish_part(making, err);
}

static int
on_manifest(void *context, const void *data, size_t size, struct err *err)
{
	const struct part part = { .name = "backup_manifest", .compression = PART_STORED };
	struct making *making = context;

	if (making->part == NULL) {
		making->part = making->intake->open(making->intake, &part, err);
		if (making->part == NULL)
			return err_wrap(err, "part 'backup_manifest'");
	}
	if (sink_write(making->part, data, size, err) < 0)
		return -1;

	return base_reader_manifest(making->reader, data, size, err);
}

/* ---- before and after -------------------------------------------------------------------------------- */

/* SQL is a help, not a need: a role that may only replicate can take base backups as well. */
static int
look_around(struct making *making, struct err *err)
{
	struct err denied = ERR_INIT;

	making->sql = pg_connect(making->pg, NULL, PG_SQL, &denied);
	if (making->sql != NULL)
		making->settings = base_settings_collect(making->pg, making->sql, &denied);
	if (stop_check(err) < 0)
		return -1;
	if (making->settings == NULL) {
		pg_close(TAKE(making->sql));
		manifest_add_warning(making->draft, "settings_not_saved",
		    "the server's settings are not in the backup: %s; to change that, let role '%s' "
		    "connect to a database (a line in pg_hba.conf: host all %s ADDRESS/32 "
		    "scram-sha-256)",
		    denied.msg, making->pg->user, making->pg->user);
	}

	return 0;
}

/* For the choice of a base by a transaction's number; without SQL it stays unknown. */
static void
ask_next_xid(struct making *making)
{
	struct err ignored = ERR_INIT;

	if (making->sql != NULL)
		making->next_xid = pg_query_value(making->sql,
		    "SELECT pg_snapshot_xmax(pg_current_snapshot())", &ignored);
}

/* The instant that the content stands for, by the clock that stamps the server's commits. */
static int
ask_time(struct making *making, struct err *err)
{
	struct err failed = ERR_INIT;

	SCOPED(freep) char *text = NULL;
	if (making->sql != NULL)
		text = pg_query_value(making->sql,
		    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", &failed);
	if (stop_check(err) < 0)
		return -1;
	if (text != NULL &&
	    parse_i64(text, 0, INT64_MAX, &making->draft->consistent_at.us, &failed) == 0) {
		ask_next_xid(making);
		return 0;
	}
	making->draft->consistent_at = clock_wall();
	manifest_add_warning(making->draft, "clock_not_asked",
	    "the time of this backup is by the clock of this machine, the server's could not be "
	    "asked");

	return 0;
}

/* Paths in quotes in what the server warned of; "./" before them is dropped. */
static json_t *
damaged_files(const struct base_end *end)
{
	json_t *files = json_array();

	for (size_t i = 0; i < end->notices.count; i++) {
		const char *from = strchr(end->notices.items[i], '"');
		const char *to = from != NULL ? strchr(from + 1, '"') : NULL;
		bool is_known = false;
		size_t index;
		json_t *known;

		if (to == NULL)
			continue;
		from += str_starts_with(from + 1, "./") ? 3 : 1;
		json_array_foreach(files, index, known)
		    is_known |= json_string_length(known) == (size_t)(to - from) &&
		    memcmp(json_string_value(known), from, (size_t)(to - from)) == 0;
		if (!is_known)
			(void)json_array_append_new(files, json_stringn(from, (size_t)(to - from)));
	}

	return files;
}

/* One warning for the damage, and the server's own words for each of its warnings. */
static void
report_notices(struct making *making, const json_t *damaged)
{
	const struct base_end *end = &making->end;
	size_t index;
	json_t *file;

	if (end->is_damaged) {
		SCOPED(str_done) struct str names = STR_INIT_MAX(4096);

		json_array_foreach(damaged, index, file)
		    str_addf(&names, "%s'%s'", index > 0 ? ", " : "", json_string_value(file));
		manifest_add_warning(making->draft, "damaged_at_source",
		    "pages at the source fail their checksums, in %s: the backup is kept, and has the "
		    "damage",
		    names.size > 0 ? str_text(&names) : "files that the server did not name");
	}
	for (size_t i = 0; i < end->notices.count; i++)
		manifest_add_warning(making->draft,
		    end->is_damaged ? "damaged_at_source" : "server_message", "%s",
		    end->notices.items[i]);
}

/* ---- the content -------------------------------------------------------------------------------------- */

static void
set_text(json_t *object, const char *key, const char *text)
{
	(void)json_object_set_new(object, key, json_string(text));
}

static void
set_number(json_t *object, const char *key, uint64_t number)
{
	(void)json_object_set_new(object, key, json_integer((json_int_t)number));
}

/* Names of the tablespaces are known only to SQL. */
static void
name_tablespaces(const struct making *making)
{
	size_t i, j;
	json_t *space, *known;

	json_array_foreach(making->tablespaces, i, space)
	{
		json_array_foreach(json_object_get(making->settings, "tablespaces"), j, known)
		{
			if (json_equal(json_object_get(space, "oid"),
				json_object_get(known, "oid")))
				(void)json_object_set(space, "name",
				    json_object_get(known, "name"));
		}
	}
}

static json_t *
database_names(const json_t *settings)
{
	json_t *names = json_array();
	size_t index;
	json_t *database;

	json_array_foreach(json_object_get(settings, "databases"), index, database)
	{
		if (json_is_true(json_object_get(database, "allow_connections")))
			(void)json_array_append(names, json_object_get(database, "name"));
	}

	return names;
}

static void
fill_wal(const struct making *making, json_t *content)
{
	const struct base_server *server = base_stream_server(making->stream);
	char text[LSN_TEXT_SIZE], name[WAL_NAME_SIZE];
	uint64_t first, last;

	wal_range_segments(making->start.start_lsn, making->end.end_lsn, server->wal_segment_bytes,
	    &first, &last);
	set_text(content, "start_lsn", lsn_format(making->start.start_lsn, text));
	set_number(content, "start_timeline", making->start.start_timeline);
	set_text(content, "end_lsn", lsn_format(making->end.end_lsn, text));
	set_number(content, "end_timeline", making->end.end_timeline);
	(void)json_object_set_new(content, "wal_included",
	    json_boolean(making->request->archive == NULL));
	set_text(content, "wal_first_segment",
	    wal_name_format(making->start.start_timeline, first, server->wal_segment_bytes, name));
	set_text(content, "wal_last_segment",
	    wal_name_format(making->end.end_timeline, last, server->wal_segment_bytes, name));
	set_number(content, "wal_segment_size", server->wal_segment_bytes);
}

static void
fill_content(struct making *making, const char *label, json_t *damaged)
{
	const struct base_server *server = base_stream_server(making->stream);
	struct base_reader_totals totals = base_reader_totals(making->reader);
	json_t *content = making->draft->content;
	const json_t *superuser = json_object_get(making->settings, "superuser");

	name_tablespaces(making);
	fill_wal(making, content);
	set_text(content, "label", label);
	set_text(content, "system_identifier", server->system_identifier);
	set_number(content, "server_version_num", (uint64_t)server->version);
	(void)json_object_set_new(content, "checksums", json_boolean(server->has_checksums));
	set_number(content, "files", totals.files);
	set_number(content, "file_bytes", totals.bytes);
	(void)json_object_set(content, "tablespaces", making->tablespaces);
	(void)json_object_set_new(content, "databases", database_names(making->settings));
	(void)json_object_set(content, "damaged_files", damaged);
	if (making->next_xid != NULL)
		set_text(content, "next_xid", making->next_xid);
	if (json_is_string(superuser))
		set_text(content, "superuser", json_string_value(superuser));
	if (json_is_true(json_object_get(making->settings, "is_standby")))
		(void)json_object_set_new(content, "from_standby", json_true());
}

static void
fill_identity(struct making *making)
{
	const struct base_server *server = base_stream_server(making->stream);

	free(making->draft->source_identity);
	free(making->draft->source_version);
	making->draft->source_identity = xstrdup(server->system_identifier);
	making->draft->source_version = pg_version_text(server->version);
}

/* ---- the backup ---------------------------------------------------------------------------------------- */

static int
prepare(struct making *making, struct err *err)
{
	const struct base_observer observer = {
		.begin = on_file,
		.data = on_file_data,
		.end = on_file_end,
		.context = making,
	};

	progress_phase(making->request->progress, "asking the server", 0);
	if (look_around(making, err) < 0)
		return -1;
	making->stream = base_stream_open(making->pg, err);
	if (making->stream == NULL)
		return -1;
	making->reader = base_reader_new(&observer,
	    base_stream_server(making->stream)->wal_segment_bytes);
	making->tablespaces = json_array();
	fill_identity(making);
	progress_phase(making->request->progress, "waiting for a checkpoint", 0);

	return 0;
}

static int
copy(struct making *making, const char *label, struct err *err)
{
	const struct base_stream_options options = {
		.label = label,
		.rate_limit_bytes_per_s = making->request->rate_limit_bytes_per_s,
		.wants_wal = making->request->archive == NULL,
	};
	const struct base_stream_handler handler = {
		.start = on_start,
		.archive = on_archive,
		.data = on_data,
		.archive_end = on_archive_end,
		.manifest = on_manifest,
		.context = making,
	};

	return base_stream_run(making->stream, &options, &handler, &making->start, &making->end,
	    err);
}

/* What was received is what the server meant to send, and enough to become consistent. */
static int
judge(struct making *making, struct err *err)
{
	const struct base_server *server = base_stream_server(making->stream);
	struct base_wal_result wal;
	uint64_t system_identifier;

	if (making->part != NULL && finish_part(making, err) < 0)
		return -1;
	if (parse_u64(server->system_identifier, 0, UINT64_MAX, &system_identifier, err) < 0 ||
	    base_reader_finish(making->reader, system_identifier, err) < 0 ||
	    base_reader_check_ranges(making->reader, making->start.start_lsn, making->end.end_lsn,
		err) < 0)
		return -1;
	if (making->request->archive != NULL)
		return 0;

	if (base_reader_check_wal(making->reader, making->start.start_timeline,
		making->start.start_lsn, making->end.end_lsn, err) < 0)
		return -1;

	return base_wal_finish(making->wal, making->end.end_timeline, making->end.end_lsn, &wal,
	    err);
}

/* The receiver has what the server wrote meanwhile, or will have it in a moment. */
static int
await_log(struct making *making, struct err *err)
{
	const struct covered_range range = {
		.start_timeline = making->start.start_timeline,
		.end_timeline = making->end.end_timeline,
		.start_lsn = making->start.start_lsn,
		.end_lsn = making->end.end_lsn,
		.segment_bytes = base_stream_server(making->stream)->wal_segment_bytes,
	};
	int64_t wait_us = making->request->archive_wait_us != 0 ? making->request->archive_wait_us
								: LOG_WAIT_US;
	char missing[WAL_NAME_SIZE];
	bool is_there;

	if (making->request->archive == NULL)
		return 0;
	if (covered_wait(making->request->archive, &range, wait_us, making->request->progress,
		&is_there, missing, err) < 0)
		return -1;
	if (!is_there)
		manifest_add_warning(making->draft, "log_not_arrived",
		    "the backup has no log of its own, and segment %s of it has not arrived in the "
		    "archive: it cannot be restored before that has",
		    missing);

	return 0;
}

static int
save_settings(struct making *making, struct err *err)
{
	if (making->settings == NULL)
		return 0;
	if (base_settings_save(making->settings, making->intake, err) < 0)
		return -1;

	return base_settings_save_files(making->pg, making->sql, making->settings, making->intake,
	    making->draft, err);
}

int
pg_base_backup(struct postgres *pg, const struct backup_request *request, struct intake *intake,
    struct manifest *draft, struct err *err)
{
	SCOPED(making_done)
	struct making making = {
		.pg = pg,
		.request = request,
		.intake = intake,
		.draft = draft,
	};
	SCOPED(freep) char *label = xasprintf("blackstart %s", request->run_id);
	json_t *damaged;

	if (prepare(&making, err) < 0)
		return -1;
	if (copy(&making, label, err) < 0 || judge(&making, err) < 0 ||
	    ask_time(&making, err) < 0 || await_log(&making, err) < 0 ||
	    save_settings(&making, err) < 0)
		return err_wrap(err, "postgres '%s'", pg->label);

	damaged = damaged_files(&making.end);
	report_notices(&making, damaged);
	fill_content(&making, label, damaged);
	json_decref(damaged);

	return 0;
}
