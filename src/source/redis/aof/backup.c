/* Taking the files of an AOF into the store, each read to its end on the way. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "source/redis/aof/aof.h"
#include "source/redis/aof/files.h"
#include "source/redis/aof/reader.h"
#include "source/redis/rdb_summary.h"
#include "source/redis/redis_internal.h"
#include "stream/links.h"
#include "stream/sink.h"

enum { COPY_BYTES = 256 * 1024 };

/* What the server says of its files, or the folder that the configuration names. */
struct whereabouts {
	char *folder;
	char *aof_name;
	char *aof_folder;
	char *version;
};

static void
whereabouts_done(struct whereabouts *where)
{
	free(where->folder);
	free(where->aof_name);
	free(where->aof_folder);
	free(where->version);
}

/* A setting, or what is usual where the server has none or does not say. */
static char *
setting_or(struct redis_conn *conn, const char *name, const char *usual)
{
	struct err ignored = ERR_INIT;
	SCOPED(freep) char *value = conn != NULL ? redis_setting(conn, name, &ignored) : NULL;

	return value != NULL && value[0] != '\0' ? TAKE(value) : xstrdup(usual);
}

/* The server need not run when the folder is known. */
static int
find_out(const struct redis *redis, struct whereabouts *where, struct err *err)
{
	SCOPED(str_done) struct str info = STR_INIT;
	struct err why = ERR_INIT;
	const char *family;

	SCOPED(redis_conn_freep) struct redis_conn *conn = redis_conn_open(redis, &why);
	if (conn == NULL && redis->aof_dir == NULL) {
		*err = why;
		return -1;
	}
	where->folder = redis->aof_dir != NULL ? xstrdup(redis->aof_dir)
					       : setting_or(conn, "dir", "");
	where->aof_name = setting_or(conn, "appendfilename", "appendonly.aof");
	where->aof_folder = setting_or(conn, "appenddirname", "appendonlydir");
	if (conn != NULL && redis_info(conn, &info, &why) == 0)
		where->version = redis_info_version(&info, &family);
	if (where->folder[0] == '/')
		return 0;
	(void)err_set(err, ERR_UNSUPPORTED, "the server does not say in which folder it works");

	return err_hint(err, "Name it with aof_dir in the configuration.");
}

static int
copy_file(const struct aof_open_file *file, struct sink *to, struct err *err)
{
	SCOPED(freep) uint8_t *buffer = xmalloc(COPY_BYTES);
	uint64_t left = file->bytes;

	while (left > 0) {
		ssize_t got = read(file->fd, buffer, left < COPY_BYTES ? (size_t)left : COPY_BYTES);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(err, "cannot read '%s'", file->name);
		if (got == 0)
			return err_set(err, ERR_DATA, "'%s' became shorter while it was read",
			    file->name);
		if (stop_check(err) < 0 || sink_write(to, buffer, (size_t)got, err) < 0)
			return -1;
		left -= (uint64_t)got;
	}

	return 0;
}

static int
take_file(const struct aof_open_file *file, struct aof_reader *reader, struct intake *intake,
    struct err *err)
{
	const struct part part = { .name = file->name, .size_hint_bytes = file->bytes };
	SCOPED(sink_freep) struct sink *sink = intake->open(intake, &part, err);

	if (sink == NULL)
		return -1;
	sink = tee_sink_new(aof_reader_file(reader, file->name), TAKE(sink));
	if (copy_file(file, sink, err) < 0)
		return -1;

	return sink_finish(sink, err);
}

/* Last, as a server does: it names files that are there. */
static int
take_manifest(const struct aof_files *files, struct intake *intake, struct err *err)
{
	const struct part part = { .name = files->manifest_name };

	if (files->manifest_name == NULL)
		return 0;
	SCOPED(sink_freep) struct sink *sink = intake->open(intake, &part, err);
	if (sink == NULL ||
	    sink_write(sink, files->manifest_text, strlen(files->manifest_text), err) < 0)
		return -1;

	return sink_finish(sink, err);
}

static void
tell(const struct aof_reader *reader, const struct whereabouts *where, bool has_parts,
    struct manifest *draft)
{
	const struct aof_summary *summary = aof_reader_summary(reader);
	const struct rdb_summary *rdb = aof_reader_rdb(reader);
	json_t *aof = json_object();
	json_t *names = json_object();

	if (rdb != NULL)
		redis_content_add(draft->content, rdb);
	(void)json_object_set_new(aof, "has_parts", json_boolean(has_parts));
	(void)json_object_set_new(aof, "bytes", json_integer((json_int_t)summary->bytes));
	(void)json_object_set_new(aof, "commands", json_integer((json_int_t)summary->commands));
	if (summary->is_cut)
		(void)json_object_set_new(aof, "cut_at",
		    json_integer((json_int_t)summary->good_bytes));
	(void)json_object_set_new(draft->content, "aof", aof);
	(void)json_object_set_new(names, "appendfilename", json_string(where->aof_name));
	(void)json_object_set_new(names, "appenddirname", json_string(where->aof_folder));
	(void)json_object_set_new(draft->content, "files", names);
	if (where->version == NULL && rdb != NULL && rdb_summary_aux(rdb, "redis-ver") != NULL)
		draft->source_version = xstrdup(rdb_summary_aux(rdb, "redis-ver"));
	else
		draft->source_version = xstrdup(where->version != NULL ? where->version : "");
	draft->source_identity = xstrdup("");
	if (summary->is_cut)
		manifest_add_warning(draft, "aof_cut",
		    "the last file ends inside a command or a transaction: a server that loads it drops what is behind byte %" PRIu64,
		    summary->good_bytes);
}

int
redis_aof_backup(struct redis *redis, const struct backup_request *request, struct intake *intake,
    struct manifest *draft, struct err *err)
{
	SCOPED(whereabouts_done) struct whereabouts where = { .folder = NULL };
	SCOPED(aof_files_done) struct aof_files files = { .manifest_name = NULL };
	SCOPED(aof_reader_freep) struct aof_reader *reader = aof_reader_new();

	if (find_out(redis, &where, err) < 0)
		return err_wrap(err, "redis '%s'", redis->label);
	const struct aof_names names = {
		.folder = where.folder,
		.aof_name = where.aof_name,
		.aof_folder = where.aof_folder,
	};
	if (aof_files_open(&names, &files, err) < 0)
		return err_wrap(err, "redis '%s'", redis->label);
	draft->consistent_at = clock_wall();
	progress_phase(request->progress, "copying", 0);
	for (size_t i = 0; i < files.files.count; i++) {
		if (take_file(&files.files.items[i], reader, intake, err) < 0)
			return err_wrap(err, "the AOF in '%s'", where.folder);
	}
	if (take_manifest(&files, intake, err) < 0)
		return -1;
	tell(reader, &where, files.manifest_name != NULL, draft);

	return 0;
}
