#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "os/random.h"
#include "repo/store_info.h"
#include "store/posix.h"
#include "store/posix_internal.h"

enum { OPEN_TAG_DIGITS = 8 };

static int
find_group(const char *name, int *ret_gid, struct err *err)
{
	const struct group *group;

	if (name == NULL)
		return 0;
	group = getgrnam(name);
	if (group == NULL)
		return err_set(err, ERR_CONFIG, "this machine has no group '%s'", name);
	*ret_gid = (int)group->gr_gid;

	return 0;
}

static int
check_mount(const struct posix_store_options *options, struct err *err)
{
	if (!options->require_mount || dir_is_mount_point(options->path))
		return 0;
	(void)err_set(err, ERR_REFUSED, "store '%s' is not mounted", options->path);

	return err_hint(err,
	    "Type: mount %s  (or set store.require_mount: false, if it lies on this disk).",
	    options->path);
}

static int
fail_missing(const struct posix_store_options *options, struct err *err)
{
	(void)err_set(err, ERR_NOT_FOUND, "there is no store at '%s'", options->path);

	return err_hint(err,
	    "Check store.path in the configuration or --store, and that its disk is mounted.");
}

/* The folder is there, or may be made. */
static int
check_folder(const struct posix_store *store, const struct posix_store_options *options,
    struct err *err)
{
	struct stat st;

	if (check_mount(options, err) < 0)
		return -1;
	if (stat(options->path, &st) < 0) {
		if (errno != ENOENT)
			return err_sys(err, "cannot open store '%s'", options->path);
		if (!options->may_create)
			return fail_missing(options, err);
		return posix_make_folder(store, options->path, err);
	}
	if (!S_ISDIR(st.st_mode)) {
		(void)err_set(err, ERR_REFUSED, "store '%s' is not a folder", options->path);
		return err_hint(err, "Name a folder in store.path or --store.");
	}

	return 0;
}

static int
check_writable(const struct posix_store_options *options, struct err *err)
{
	bool is_read_only_mount;

	if (options->is_read_only ||
	    faccessat(AT_FDCWD, options->path, W_OK | X_OK, AT_EACCESS) == 0)
		return 0;
	is_read_only_mount = errno == EROFS;
	(void)err_sys(err, "cannot write to store '%s'", options->path);
	if (is_read_only_mount)
		return err_hint(err, "Type: mount -o remount,rw %s", options->path);

	return err_hint(err, "Give the folder to the user that runs blackstart: chown %u %s",
	    (unsigned)geteuid(), options->path);
}

static int
read_info(struct posix_store *store, struct store_info *ret_info, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(STORE_INFO_MAX_BYTES);

	if (store_get_text(&store->base, STORE_INFO_NAME, STORE_INFO_MAX_BYTES, &text, err) < 0)
		return -1;
	if (store_info_parse(str_text(&text), text.size, ret_info, err) < 0)
		return err_wrap(err, "store '%s': '%s'", store->base.location, STORE_INFO_NAME);

	return 0;
}

static int
write_info(struct posix_store *store, const char *site, struct err *err)
{
	char id[STORE_INFO_ID_DIGITS + 1];
	char tag[OPEN_TAG_DIGITS + 1];
	SCOPED(freep) char *own_site = xstrdup(site != NULL ? site : "");
	const struct store_info info = { .id = id, .site = own_site, .created = clock_wall() };
	SCOPED(freep) char *text = NULL;

	random_hex(id, STORE_INFO_ID_DIGITS);
	random_hex(tag, OPEN_TAG_DIGITS);
	text = store_info_format(&info);

	/* Whoever is second when two open a new store at once takes the record of the first. */
	if (store_put_text(&store->base, STORE_INFO_NAME, tag, text, err) < 0 &&
	    err->kind != ERR_EXISTS)
		return -1;

	return 0;
}

/* Somebody's folder, as cron filled it: looked at without leaving a trace in it. */
static void
make_bare(struct posix_store *store, struct store_info *ret_info)
{
	uint8_t hash[HASH_BYTES];
	SCOPED(str_done) struct str id = STR_INIT;

	hash_text(store->base.location, hash);
	str_add_hex(&id, hash, STORE_INFO_ID_DIGITS / 2);
	ret_info->id = str_take(&id);
	ret_info->site = xstrdup("");
	store->base.is_bare = true;
}

static int
load_info(struct posix_store *store, const struct posix_store_options *options,
    struct store_info *ret_info, struct err *err)
{
	if (read_info(store, ret_info, err) == 0)
		return 0;
	if (err->kind != ERR_NOT_FOUND)
		return -1;
	if (options->accepts_bare) {
		err_clear(err);
		make_bare(store, ret_info);
		return 0;
	}
	if (!options->may_create || options->is_read_only) {
		(void)err_set(err, ERR_NOT_FOUND, "'%s' is not a store yet: it has no '%s'",
		    options->path, STORE_INFO_NAME);
		return err_hint(err,
		    "The first backup makes it one; check the path if there was one.");
	}
	if (write_info(store, options->site, err) < 0)
		return -1;

	return read_info(store, ret_info, err);
}

static int
check_site(const struct posix_store *store, const char *site, struct err *err)
{
	if (site == NULL || store->base.site[0] == '\0' || str_equals(site, store->base.site))
		return 0;
	(void)err_set(err, ERR_REFUSED, "store '%s' belongs to site '%s', not to '%s'",
	    store->base.location, store->base.site, site);

	return err_hint(err,
	    "Use another folder in store.path, or set 'site: %s' if this is that site.",
	    store->base.site);
}

/* The path without '/' at its end, so that names can be put behind it. */
static char *
clean_path(const char *path)
{
	size_t size = strlen(path);

	while (size > 1 && path[size - 1] == '/')
		size--;

	return xstrndup(path, size);
}

struct store *
posix_store_open(const struct posix_store_options *options, struct err *err)
{
	struct posix_store *store = xcalloc(1, sizeof(*store));
	SCOPED(store_closep) struct store *base = &store->base;
	struct store_info info = { .id = NULL };

	base->ops = &posix_ops;
	base->location = clean_path(options->path);
	store->gid = -1;
	store->folder_mode = options->group != NULL ? 0750 : 0700;
	store->file_mode = options->group != NULL ? 0640 : 0600;
	base->is_read_only = options->is_read_only;
	base->file_mode = store->file_mode;
	if (find_group(options->group, &store->gid, err) < 0 ||
	    check_folder(store, options, err) < 0 || check_writable(options, err) < 0 ||
	    load_info(store, options, &info, err) < 0)
		return NULL;
	base->file_gid = store->gid;
	base->id = TAKE(info.id);
	base->site = TAKE(info.site);
	if (check_site(store, options->site, err) < 0)
		return NULL;

	return TAKE(base);
}
