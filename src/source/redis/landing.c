#include "source/redis/landing.h"

#include <errno.h>
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
#include "os/file.h"
#include "os/random.h"
#include "repo/manifest.h"
#include "source/redis/aof/manifest.h"
#include "source/redis/redis_internal.h"

enum { STAMP_DIGITS = 8, FIRST_WITH_PARTS = 7, PASSWD_BYTES = 16 * 1024 };

void
landing_done(struct landing *landing)
{
	struct err ignored = ERR_INIT;

	if (landing->staging != NULL)
		(void)!dir_remove_all(landing->staging, &ignored);
	free(landing->folder);
	free(landing->staging);
	free(landing->aside);
	free(landing->dump_name);
	free(landing->aof_name);
	free(landing->aof_folder);
}

/* A name that the server had at the time of the backup, if it is one. */
static char *
name_of(const struct manifest *manifest, const char *setting, const char *usual)
{
	const json_t *files = json_object_get(manifest->content, "files");
	const char *name = json_string_value(json_object_get(files, setting));

	if (name == NULL || name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL)
		name = usual;

	return xstrdup(name);
}

static int
find_owner(struct landing *landing, const char *owner, struct err *err)
{
	char buffer[PASSWD_BYTES];
	struct passwd entry;
	struct passwd *found = NULL;
	struct stat st;

	landing->gives_files = geteuid() == 0;
	if (owner != NULL) {
		(void)getpwnam_r(owner, &entry, buffer, sizeof(buffer), &found);
		if (found == NULL)
			return err_set(err, ERR_USAGE, "there is no user '%s' on this machine",
			    owner);
		if (geteuid() != 0 && found->pw_uid != geteuid())
			return err_set(err, ERR_PERMISSION, "only root can give files to user '%s'",
			    owner);
		landing->uid = found->pw_uid;
		landing->gid = found->pw_gid;
		return 0;
	}
	/* As the folder is; a new one is ours, also where a scratch server had the files meanwhile. */
	if (landing->gives_files && stat(landing->folder, &st) == 0) {
		landing->uid = st.st_uid;
		landing->gid = st.st_gid;
	}

	return 0;
}

int
landing_init(struct landing *landing, const struct manifest *manifest,
    const struct restore_request *request, struct err *err)
{
	const char *version = manifest->source_version != NULL ? manifest->source_version : "";

	*landing = (struct landing){ .folder = NULL };
	if (request->to == NULL || strstr(request->to, "://") != NULL) {
		(void)err_set(err, ERR_USAGE, "a Redis backup is restored into a folder");
		return err_hint(err,
		    "Stop the server and name its data folder, --to /var/lib/redis; or write "
		    "keys into one that runs: --keys '*' --to redis://HOST:PORT.");
	}
	if (request->to[0] != '/') {
		char *here = realpath(".", NULL);

		landing->folder = path_join(here != NULL ? here : ".", request->to);
		free(here);
	} else {
		landing->folder = xstrdup(request->to);
	}
	landing->dump_name = name_of(manifest, "dbfilename", "dump.rdb");
	landing->aof_name = name_of(manifest, "appendfilename", "appendonly.aof");
	landing->aof_folder = name_of(manifest, "appenddirname", "appendonlydir");
	landing->has_parts = version[0] == '\0' || strtol(version, NULL, 10) >= FIRST_WITH_PARTS;

	return find_owner(landing, request->owner, err);
}

int
landing_check(const struct landing *landing, bool *ret_is_blind, struct err *err)
{
	unsigned pid;

	if (redis_server_in(landing->folder, &pid, ret_is_blind, err) < 0)
		return -1;
	if (pid == 0)
		return 0;
	(void)err_set(err, ERR_REFUSED, "a Redis server, process %u, works in '%s'", pid,
	    landing->folder);

	return err_hint(err,
	    "Stop it first, as with 'systemctl stop redis-server': it would write over the restored files.");
}

/* ---- while they are written ------------------------------------------------------------------------ */

char *
landing_aof_folder(const struct landing *landing)
{
	return landing->has_parts ? path_join(landing->staging, landing->aof_folder)
				  : xstrdup(landing->staging);
}

char *
landing_aof_base(const struct landing *landing)
{
	return landing->has_parts ? xasprintf("%s.1.base.rdb", landing->aof_name)
				  : xstrdup(landing->aof_name);
}

int
landing_begin(struct landing *landing, struct err *err)
{
	char stamp[STAMP_DIGITS + 1];

	random_hex(stamp, STAMP_DIGITS);
	if (dir_make_all(landing->folder, 0750, err) < 0)
		return -1;
	landing->staging = xasprintf("%s/.restoring-%s", landing->folder, stamp);
	SCOPED(freep) char *aof_folder = landing_aof_folder(landing);

	return dir_make_all(aof_folder, 0750, err);
}

/* ---- when they are ---------------------------------------------------------------------------------- */

static int
give(const struct landing *landing, const char *path, mode_t mode, struct err *err)
{
	if (landing->gives_files && lchown(path, landing->uid, landing->gid) < 0)
		return err_sys(err, "cannot give '%s' to the server's user", path);
	if (chmod(path, mode) < 0)
		return err_sys(err, "cannot set the mode of '%s'", path);

	return 0;
}

/* Says in its own words which files make up the AOF; see aofLoadManifestFromFile in src/aof.c. */
int
landing_write_manifest(const struct landing *landing, struct err *err)
{
	SCOPED(freep) char *folder = landing_aof_folder(landing);
	SCOPED(freep) char *base = landing_aof_base(landing);
	SCOPED(freep) char *path = xasprintf("%s/%s.manifest", folder, landing->aof_name);
	SCOPED(freep)
	char *text = landing->has_increment
	    ? xasprintf("file %s seq 1 type b\nfile %s.1.incr.aof seq 1 type i\n", base,
		  landing->aof_name)
	    : xasprintf("file %s seq 1 type b\n", base);

	if (file_write_all(path, text, strlen(text), 0640, err) < 0 ||
	    give(landing, path, 0640, err) < 0)
		return -1;

	return give(landing, folder, 0750, err);
}

static int
give_aof(const struct landing *landing, struct err *err)
{
	SCOPED(freep) char *folder = landing_aof_folder(landing);
	SCOPED(dir_listing_done) struct dir_listing listing = { .count = 0 };

	if (dir_list(folder, AOF_FILES_MAX, &listing, err) < 0)
		return -1;
	for (size_t i = 0; i < listing.count; i++) {
		SCOPED(freep) char *path = path_join(folder, listing.names[i]);

		if (give(landing, path, 0640, err) < 0)
			return -1;
	}
	if (landing->has_parts && give(landing, folder, 0750, err) < 0)
		return -1;

	return dir_sync(folder, err);
}

static bool
has_dump(const struct landing *landing)
{
	return !landing->is_aof_only && !landing->lacks_dump;
}

static int
give_all(const struct landing *landing, struct err *err)
{
	if (landing->has_increment && landing->has_parts &&
	    landing_write_manifest(landing, err) < 0)
		return -1;
	SCOPED(freep) char *dump = path_join(landing->staging, landing->dump_name);

	if (has_dump(landing) && landing->has_increment && give(landing, dump, 0640, err) < 0)
		return -1;
	if (landing->is_aof_only || landing->has_increment)
		return give_aof(landing, err);
	SCOPED(freep) char *folder = landing_aof_folder(landing);
	SCOPED(freep) char *base = landing_aof_base(landing);
	SCOPED(freep) char *aof = path_join(folder, base);

	if (give(landing, aof, 0640, err) < 0 || give(landing, dump, 0640, err) < 0)
		return -1;
	if (landing->has_parts && landing_write_manifest(landing, err) < 0)
		return -1;

	return dir_sync(landing->staging, err);
}

/* Out of the way, never removed.  A missing one is ok. */
static int
move_aside(struct landing *landing, const char *name, unsigned *moved, struct err *err)
{
	SCOPED(freep) char *from = path_join(landing->folder, name);
	SCOPED(freep) char *to = NULL;
	struct stat st;

	if (lstat(from, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "cannot look at '%s'", from);
	if (landing->aside == NULL) {
		char stamp[CLOCK_TEXT_SIZE], digits[STAMP_DIGITS + 1];

		random_hex(digits, STAMP_DIGITS);
		landing->aside = xasprintf("%s/replaced-%s-%s", landing->folder,
		    clock_format_compact(clock_wall(), stamp), digits);
		if (dir_make_all(landing->aside, 0750, err) < 0 ||
		    give(landing, landing->aside, 0750, err) < 0)
			return -1;
	}
	to = path_join(landing->aside, name);
	if (rename(from, to) < 0)
		return err_sys(err, "cannot move '%s' to '%s'", from, to);
	(*moved)++;

	return dir_sync(landing->aside, err);
}

static int
move_in(const struct landing *landing, const char *name, struct err *err)
{
	SCOPED(freep) char *from = path_join(landing->staging, name);
	SCOPED(freep) char *to = path_join(landing->folder, name);

	if (rename(from, to) < 0)
		return err_sys(err, "cannot move '%s' to '%s'", from, to);

	return dir_sync(landing->folder, err);
}

static int
replace(struct landing *landing, unsigned *moved, struct err *err)
{
	const char *aof = landing->has_parts ? landing->aof_folder : landing->aof_name;

	if (move_aside(landing, landing->aof_folder, moved, err) < 0 ||
	    move_aside(landing, landing->aof_name, moved, err) < 0 ||
	    move_in(landing, aof, err) < 0 ||
	    move_aside(landing, landing->dump_name, moved, err) < 0)
		return -1;

	return has_dump(landing) ? move_in(landing, landing->dump_name, err) : 0;
}

int
landing_commit(struct landing *landing, unsigned *ret_moved, struct err *err)
{
	bool is_blind;
	unsigned moved = 0;

	if (give_all(landing, err) < 0 || landing_check(landing, &is_blind, err) < 0)
		return -1;
	if (replace(landing, &moved, err) < 0) {
		(void)err_wrap(err, "the folder '%s' is half changed", landing->folder);
		return err_hint(err,
		    "Do not start the server. Remove the cause and restore again; old files are in %s.",
		    landing->aside != NULL ? landing->aside : landing->folder);
	}
	*ret_moved = moved;

	return 0;
}
