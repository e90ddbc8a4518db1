#include "source/redis/aof/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "source/redis/aof/manifest.h"
#include "source/redis/ready.h"

enum { TRIES = 50 };
#define PAUSE_US INT64_C(100000)

void
aof_files_done(struct aof_files *files)
{
	for (size_t i = 0; i < files->files.count; i++) {
		free(files->files.items[i].name);
		(void)close(files->files.items[i].fd);
	}
	vec_done(&files->files);
	free(files->manifest_name);
	free(files->manifest_text);
	*files = (struct aof_files){ .manifest_name = NULL };
}

/* ERR_NOT_FOUND when the name is gone. */
static int
open_one(const struct aof_names *names, const char *name, struct aof_files *files, struct err *err)
{
	SCOPED(freep) char *path = path_join(names->folder, name);
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return err_set(err, ERR_NOT_FOUND, "there is no '%s'", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "cannot open '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_DATA, "'%s' is no file", path);
	vec_push(&files->files,
	    ((struct aof_open_file){ .name = xstrdup(name),
		.fd = TAKE_FD(fd),
		.bytes = (uint64_t)st.st_size }));

	return 0;
}

static int
open_parts(const struct aof_names *names, const struct str *text, struct aof_files *files,
    struct err *err)
{
	SCOPED(aof_manifest_done) struct aof_manifest manifest = { .files = { .count = 0 } };
	static const enum aof_file_type order[] = { AOF_BASE, AOF_INCREMENT };

	if (aof_manifest_parse(str_text(text), text->size, &manifest, err) < 0)
		return -1;
	for (size_t pass = 0; pass < ARRAY_SIZE(order); pass++) {
		for (size_t i = 0; i < manifest.files.count; i++) {
			const struct aof_file *file = &manifest.files.items[i];

			if (file->type != order[pass])
				continue;
			SCOPED(freep) char *name = path_join(names->aof_folder, file->name);
			if (open_one(names, name, files, err) < 0)
				return -1;
		}
	}
	files->manifest_text = aof_manifest_format(&manifest);

	return 0;
}

/* 1: they belong together; 0: the manifest has changed meanwhile. */
static int
try_parts(const struct aof_names *names, struct aof_files *files, struct err *err)
{
	SCOPED(freep) char *path = path_join(names->folder, files->manifest_name);
	SCOPED(str_done) struct str before = STR_INIT_MAX(AOF_MANIFEST_MAX_BYTES);
	SCOPED(str_done) struct str after = STR_INIT_MAX(AOF_MANIFEST_MAX_BYTES);
	int result;

	if (file_read_all(path, AOF_MANIFEST_MAX_BYTES, &before, err) < 0)
		return -1;
	result = open_parts(names, &before, files, err);
	if (result < 0 && err->kind != ERR_NOT_FOUND)
		return -1;
	if (file_read_all(path, AOF_MANIFEST_MAX_BYTES, &after, err) < 0)
		return -1;
	if (before.size != after.size ||
	    memcmp(str_text(&before), str_text(&after), before.size) != 0)
		return 0;

	return result < 0 ? -1 : 1;
}

static int
no_aof(const struct aof_names *names, struct err *err)
{
	(void)err_set(err, ERR_NOT_FOUND, "there is no AOF in '%s', neither '%s' nor '%s'",
	    names->folder, names->aof_folder, names->aof_name);

	return err_hint(err,
	    "Name the server's folder with aof_dir in the configuration; with appendonly no there is none, and a job with 'do: rdb' is the way.");
}

int
aof_files_open(const struct aof_names *names, struct aof_files *ret_files, struct err *err)
{
	SCOPED(freep) char *name = xasprintf("%s/%s.manifest", names->aof_folder, names->aof_name);
	SCOPED(freep) char *path = path_join(names->folder, name);

	*ret_files = (struct aof_files){ .manifest_name = NULL };
	if (!file_exists(path)) {
		if (open_one(names, names->aof_name, ret_files, err) == 0)
			return 0;
		return err->kind == ERR_NOT_FOUND ? no_aof(names, err) : -1;
	}
	for (unsigned i = 0; i < TRIES; i++) {
		int result;

		ret_files->manifest_name = xstrdup(name);
		result = try_parts(names, ret_files, err);
		if (result > 0)
			return 0;
		aof_files_done(ret_files);
		if (result < 0 || redis_pause(PAUSE_US, err) < 0)
			return -1;
	}

	return err_set(err, ERR_BUSY, "the AOF in '%s' is rewritten again and again",
	    names->folder);
}
