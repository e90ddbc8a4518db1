#include "source/postgres/base/target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "os/file.h"
#include "source/postgres/base/content.h"
#include "source/postgres/postgres_internal.h"

enum {
	FIRST_PORT = 5433,
	LAST_PORT = 5532,
	SOCKET_DIR_MAX_BYTES = 107 - 20, /* room for "/.s.PGSQL.65535.lock" */
	ENTRIES_MAX = 100000,
};

/* ---- paths --------------------------------------------------------------------------------------- */

static char *
make_absolute(const char *to)
{
	SCOPED(freep) char *here = NULL;
	char *path;
	size_t size;

	if (to[0] == '/') {
		path = xstrdup(to);
	} else {
		here = getcwd(NULL, 0);
		path = path_join(here != NULL ? here : "/", to);
	}
	for (size = strlen(path); size > 1 && path[size - 1] == '/'; size--)
		path[size - 1] = '\0';

	return path;
}

static char *
nearest_existing(const char *path)
{
	char *folder = xstrdup(path);

	while (!dir_exists(folder)) {
		char *slash = strrchr(folder, '/');

		if (slash == NULL || slash == folder) {
			free(folder);
			return xstrdup("/");
		}
		*slash = '\0';
	}

	return folder;
}

char *
base_target_space(const struct base_target *target, const char *oid)
{
	return path_join(target->spaces_dir, oid);
}

/* ---- port --------------------------------------------------------------------------------------- */

/* Listens there, so that nobody else takes the port to be free; -1 when it is not. */
static int
hold_port(unsigned port)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	const int yes = 1;

	SCOPED(closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* As the server does: an ended connection does not hold the port. */
	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 1) < 0)
		return -1;

	return TAKE_FD(fd);
}

static void
choose_port(struct base_target *target, unsigned asked)
{
	target->port = asked != 0 ? asked : FIRST_PORT;
	for (unsigned port = FIRST_PORT; asked == 0 && port <= LAST_PORT; port++) {
		target->port_fd = hold_port(port);
		if (target->port_fd >= 0) {
			target->port = port;
			return;
		}
	}
}

void
base_target_yield_port(struct base_target *target)
{
	closep(&target->port_fd);
	target->port_fd = -1;
}

/* ---- the target ----------------------------------------------------------------------------------- */

int
base_target_init(struct base_target *target, const struct postgres *pg,
    const struct restore_request *request, struct err *err)
{
	memset(target, 0, sizeof(*target));
	target->port_fd = -1;
	if (request->to == NULL || request->to[0] == '\0' || strstr(request->to, "://") != NULL) {
		(void)err_set(err, ERR_USAGE, "a base backup is restored into a folder");
		return err_hint(err, "Name a new folder: --to DIR.");
	}
	target->data_dir = make_absolute(request->to);
	target->spaces_dir = xasprintf("%s.tablespaces", target->data_dir);
	target->existing = nearest_existing(target->data_dir);
	if (strlen(target->data_dir) <= SOCKET_DIR_MAX_BYTES &&
	    strchr(target->data_dir, '"') == NULL)
		target->socket_dir = xstrdup(target->data_dir);
	choose_port(target, request->port);
	target->has_owner = geteuid() == 0;

	return pg_server_user(pg, request->owner, &target->uid, &target->gid, err);
}

void
base_target_done(struct base_target *target)
{
	base_target_yield_port(target);
	free(target->data_dir);
	free(target->spaces_dir);
	free(target->existing);
	free(target->socket_dir);
	memset(target, 0, sizeof(*target));
	target->port_fd = -1;
}

static int
check_folder(const char *path, struct err *err)
{
	SCOPED(freep) char *marker = path_join(path, BASE_TARGET_MARKER);

	if (!file_exists(path) && !dir_exists(path))
		return 0;
	if (!dir_exists(path))
		return err_set(err, ERR_REFUSED, "'%s' is not a folder", path);
	if (dir_is_empty(path))
		return 0;
	(void)err_set(err, ERR_REFUSED, "folder '%s' is not empty", path);
	if (file_exists(marker))
		return err_hint(err, "It holds a restore that was cut off; remove it: rm -r '%s'",
		    path);

	return err_hint(err, "Name a new folder with --to; nothing that exists is overwritten.");
}

static int
check_space(const struct base_target *target, const struct base_content *content, struct err *err)
{
	uint64_t needed = base_content_bytes(content);
	struct disk_space space;
	char needs[32], has[32];

	if (disk_space_of(target->existing, &space, err) < 0)
		return -1;
	if (space.available_bytes >= needed)
		return 0;
	(void)err_set(err, ERR_SPACE, "'%s' has %s free, the restore needs %s", target->existing,
	    format_bytes(space.available_bytes, has), format_bytes(needed, needs));

	return err_hint(err, "Free space there, or name a folder on another disk with --to.");
}

int
base_target_check(const struct base_target *target, const struct base_content *content,
    struct err *err)
{
	if (check_folder(target->data_dir, err) < 0)
		return -1;
	if (content->spaces.count > 0 && check_folder(target->spaces_dir, err) < 0)
		return -1;

	return check_space(target, content, err);
}

/* ---- making and unmaking ---------------------------------------------------------------------------- */

static int
make_folder(const struct base_target *target, const char *path, struct err *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "cannot make folder '%s'", path);
	if (chmod(path, 0700) < 0 ||
	    (target->has_owner && lchown(path, target->uid, target->gid) < 0))
		return err_sys(err, "cannot give folder '%s' to its owner", path);

	return 0;
}

int
base_target_make(const struct base_target *target, const struct base_content *content,
    struct err *err)
{
	SCOPED(freep) char *above = xstrdup(target->data_dir);
	SCOPED(freep) char *marker = path_join(target->data_dir, BASE_TARGET_MARKER);
	char *slash = strrchr(above, '/');

	if (slash != NULL && slash != above) {
		*slash = '\0';
		if (dir_make_all(above, 0755, err) < 0)
			return -1;
	}
	if (make_folder(target, target->data_dir, err) < 0 ||
	    file_write_all(marker, "", 0, 0600, err) < 0)
		return -1;
	if (content->spaces.count > 0 && make_folder(target, target->spaces_dir, err) < 0)
		return -1;
	for (size_t i = 0; i < content->spaces.count; i++) {
		SCOPED(freep) char *space = base_target_space(target, content->spaces.items[i].oid);

		if (make_folder(target, space, err) < 0)
			return -1;
	}

	return 0;
}

/* Remove what is in a folder, and the folder when nothing held it before. */
static void
empty_folder(const char *path)
{
	struct dir_listing listing = { .names = NULL };
	struct err err = ERR_INIT;

	if (!dir_exists(path) || dir_list(path, ENTRIES_MAX, &listing, &err) < 0)
		return;
	for (size_t i = 0; i < listing.count; i++) {
		SCOPED(freep) char *below = path_join(path, listing.names[i]);
		int result = dir_exists(below) ? dir_remove_all(below, &err) : unlink(below);

		if (result < 0)
			log_warning("cannot remove '%s', continuing", below);
	}
	dir_listing_done(&listing);
}

void
base_target_undo(const struct base_target *target)
{
	empty_folder(target->data_dir);
	empty_folder(target->spaces_dir);
	(void)rmdir(target->spaces_dir);
	/* An empty folder that was there before is left to its maker. */
	if (!str_equals(target->existing, target->data_dir))
		(void)rmdir(target->data_dir);
}
