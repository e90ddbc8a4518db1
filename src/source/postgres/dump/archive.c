#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "os/process.h"
#include "repo/manifest.h"
#include "repo/names.h"
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/tool_internal.h"
#include "stream/links.h"
#include "stream/sink.h"

/* ---- where it is ------------------------------------------------------------------------------ */

static int
copy_one(const struct backup_view *view, const struct manifest_file *file, const char *dir,
    struct err *err)
{
	SCOPED(freep) char *path = path_join(dir, name_base(file->name));

	SCOPED(closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "cannot create '%s'", path);
	SCOPED(sink_freep) struct sink *to = fd_sink_new(fd, path);
	if (view->read(view, file, to, err) < 0)
		return -1;

	return sink_finish(to, err);
}

/* pg_restore needs the folder as it was written; a remote one is brought here. */
static int
open_directory(struct dump_archive *archive, const struct dump_database *database,
    const char *work_dir, struct err *err)
{
	const struct manifest *manifest = archive->view->manifest;
	SCOPED(freep) char *toc_part = xasprintf("%s/toc.dat", database->part);
	const struct manifest_file *toc = dump_find_part(manifest, toc_part);
	char *local;

	if (toc == NULL)
		return err_set(err, ERR_DATA, "the backup has no file '%s' for database '%s'",
		    toc_part, database->name);
	local = archive->view->local_path(archive->view, toc);
	if (local != NULL) {
		archive->path = name_folder(local);
		free(local);
		return 0;
	}

	if (spool_make(&archive->spool, work_dir, err) < 0)
		return -1;
	for (size_t i = 0; i < manifest->files.count; i++) {
		const struct manifest_file *file = &manifest->files.items[i];

		if (dump_is_in_directory(file, database->part) &&
		    copy_one(archive->view, file, archive->spool.path, err) < 0)
			return -1;
	}
	archive->path = xstrdup(archive->spool.path);

	return 0;
}

int
dump_archive_open(struct dump_archive *archive, const struct backup_view *view,
    const struct dump_database *database, const char *work_dir, struct err *err)
{
	*archive = (struct dump_archive){ .view = view, .spool = { .lock_fd = -1 } };
	if (database->is_directory)
		return open_directory(archive, database, work_dir, err);

	archive->file = dump_find_part(view->manifest, database->part);
	if (archive->file == NULL)
		return err_set(err, ERR_DATA, "the backup has no file '%s' for database '%s'",
		    database->part, database->name);
	archive->path = view->local_path(view, archive->file);

	return 0;
}

void
dump_archive_done(struct dump_archive *archive)
{
	free(TAKE(archive->path));
	spool_done(&archive->spool);
}

/* ---- reading it ---------------------------------------------------------------------------------- */

int
dump_find_pg_restore(const struct postgres *pg, const struct manifest *manifest,
    struct pg_program *ret_program, struct err *err)
{
	int version = dump_tool_version(manifest);

	if (version == 0)
		version = dump_server_version(manifest);

	return pg_program_find(pg, "pg_restore", version / 10000, false, ret_program, err);
}

int
dump_archive_feed(const struct dump_archive *archive, struct process *process, struct err *err)
{
	SCOPED(sink_freep) struct sink *to = tool_sink_new(process);

	if (archive->view->read(archive->view, archive->file, to, err) < 0)
		return -1;

	return sink_finish(to, err);
}

/* What is wrong with pg_restore itself rather than with the archive. */
static bool
is_own_failure(const struct err *err)
{
	static const char *const texts[] = { "unsupported version", "does not support compression",
		"not supported by this build", "was ended by signal" };

	if (err->kind != ERR_PEER)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (strstr(err->msg, texts[i]) != NULL)
			return true;
	}

	return false;
}

/* As a stream also where there is a path: its hash is checked on the way. */
static int
read_to_end(const struct dump_archive *archive, const struct pg_program *pg_restore,
    struct err *err)
{
	const struct tool_pipes pipes = { .wants_stdin = archive->file != NULL };
	SCOPED(tool_done) struct tool tool = { .passfile_fd = -1 };

	tool_init(&tool, pg_restore->path);
	tool_arg(&tool, "--file=/dev/null");
	if (archive->file == NULL)
		tool_arg(&tool, "%s", archive->path);
	SCOPED(process_freep) struct process *process = tool_start(&tool, &pipes, err);
	if (process == NULL ||
	    (archive->file != NULL && dump_archive_feed(archive, process, err) < 0))
		return -1;

	return tool_run(process, "pg_restore", NULL, err);
}

int
dump_archive_read(const struct dump_archive *archive, const struct pg_program *pg_restore,
    struct err *err)
{
	if (read_to_end(archive, pg_restore, err) == 0)
		return 0;
	if (is_own_failure(err))
		return -1;
	err->kind = ERR_DATA;

	return err_wrap(err, "the archive cannot be read to its end");
}
