#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/scratch_internal.h"

enum { PASSWD_BYTES = 16 * 1024 };

int
pg_server_user(const struct postgres *pg, const char *owner, uid_t *ret_uid, gid_t *ret_gid,
    struct err *err)
{
	const char *name = owner != NULL ? owner : pg->scratch_user;
	char buffer[PASSWD_BYTES];
	struct passwd entry;
	struct passwd *found = NULL;
	int sys;

	if (geteuid() != 0 && owner == NULL) {
		*ret_uid = geteuid();
		*ret_gid = getegid();
		return 0;
	}
	sys = getpwnam_r(name, &entry, buffer, sizeof(buffer), &found);
	if (found == NULL) {
		(void)err_set(err, ERR_NOT_FOUND, "there is no user '%s' on this machine%s%s", name,
		    sys != 0 ? ": " : "", sys != 0 ? strerror(sys) : "");
		return err_hint(err,
		    "Install the PostgreSQL server, or name the user it runs as: "
		    "--owner, or scratch_user in the configuration.");
	}
	if (entry.pw_uid == 0) {
		(void)err_set(err, ERR_REFUSED, "a PostgreSQL server cannot run as '%s'", name);
		return err_hint(err,
		    "Name an ordinary user: --owner, or scratch_user in the "
		    "configuration.");
	}
	if (geteuid() != 0 && entry.pw_uid != geteuid())
		return err_set(err, ERR_PERMISSION, "only root can give files to user '%s'", name);
	*ret_uid = entry.pw_uid;
	*ret_gid = entry.pw_gid;

	return 0;
}

static bool
may_enter(const struct stat *st, uid_t uid, gid_t gid)
{
	if (st->st_uid == uid)
		return (st->st_mode & S_IXUSR) != 0;
	if (st->st_gid == gid)
		return (st->st_mode & S_IXGRP) != 0;

	return (st->st_mode & S_IXOTH) != 0;
}

int
scratch_user_can_enter(const char *path, uid_t uid, gid_t gid, struct err *err)
{
	SCOPED(freep) char *part = realpath(path, NULL);
	struct stat st;

	if (part == NULL)
		return err_sys(err, "cannot find folder '%s'", path);
	if (geteuid() != 0)
		return 0; /* we are that user, and came here ourselves */

	for (char *slash = part + strlen(part); slash != NULL; slash = strrchr(part, '/')) {
		*slash = '\0';
		if (stat(part[0] != '\0' ? part : "/", &st) < 0)
			return err_sys(err, "cannot look at folder '%s'", part);
		if (may_enter(&st, uid, gid))
			continue;
		(void)err_set(err, ERR_PERMISSION,
		    "the server's user cannot enter folder '%s', which leads to '%s'", part, path);
		return err_hint(err, "Type: chmod o+x '%s', or choose another folder.", part);
	}

	return 0;
}
