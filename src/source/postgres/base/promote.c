#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "source/postgres/base/config.h"
#include "source/postgres/base/target.h"
#include "source/postgres/control.h"
#include "source/postgres/postgres_internal.h"

/*
 * A restored data directory takes the place of the live one, which is kept beside it.
 *
 * Two renames, the live one first, so that nothing is ever overwritten.  Dying between them
 * leaves no live directory but two whole ones; the same command then finds nothing to keep and
 * makes the second rename.
 */

enum { CONF_MAX_BYTES = 1024 * 1024 };

struct swap {
	char *name;      /* the restored one, absolute */
	char *live;      /* whose place it takes */
	char *live_home; /* the folder that is in */
	char *kept;      /* what live is called afterwards */
	bool has_live;
	struct control control;
	struct stat stat; /* of the restored one */
};

static void
swap_done(struct swap *swap)
{
	free(swap->name);
	free(swap->live);
	free(swap->live_home);
	free(swap->kept);
}

/* ---- what is there --------------------------------------------------------------------------------- */

static char *
absolute(const char *path)
{
	SCOPED(freep) char *here = getcwd(NULL, 0);
	char *full = path[0] == '/' || here == NULL ? xstrdup(path) : path_join(here, path);

	for (size_t size = strlen(full); size > 1 && full[size - 1] == '/'; size--)
		full[size - 1] = '\0';

	return full;
}

static char *
folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

static int
read_control(const char *dir, struct control *ret_control, struct err *err)
{
	SCOPED(freep) char *path = path_join(dir, "global/pg_control");
	SCOPED(str_done) struct str data = STR_INIT_MAX(CONTROL_FILE_BYTES + 1);

	if (!file_exists(path))
		return err_set(err, ERR_REFUSED, "'%s' is no data directory of PostgreSQL", dir);
	if (file_read_all(path, CONTROL_FILE_BYTES, &data, err) < 0 ||
	    control_parse(data.data, data.size, ret_control, err) < 0)
		return err_wrap(err, "'%s'", path);

	return 0;
}

static int
refuse_running(const char *dir, struct err *err)
{
	bool is_running;

	if (pg_server_runs_in(dir, &is_running, err) < 0)
		return -1;
	if (!is_running)
		return 0;
	(void)err_set(err, ERR_REFUSED, "a server runs in '%s'", dir);

	return err_hint(err,
	    "Stop it: pg_ctl -D '%s' stop, or as its service is called: systemctl stop postgresql.",
	    dir);
}

static int
refuse_unfinished(const struct swap *swap, struct err *err)
{
	SCOPED(freep) char *marker = path_join(swap->name, BASE_TARGET_MARKER);
	SCOPED(freep) char *signal = path_join(swap->name, "recovery.signal");

	if (file_exists(marker))
		return err_set(err, ERR_REFUSED, "the restore into '%s' was cut off", swap->name);
	if (!file_exists(signal))
		return 0;
	(void)err_set(err, ERR_REFUSED, "'%s' has not recovered yet", swap->name);

	return err_hint(err, "Start it once (pg_ctl -D '%s' start), look at it, and stop it again.",
	    swap->name);
}

static int
look_at_restored(struct swap *swap, struct err *err)
{
	if (stat(swap->name, &swap->stat) < 0)
		return err_sys(err, "cannot look at '%s'", swap->name);
	if (read_control(swap->name, &swap->control, err) < 0 || refuse_unfinished(swap, err) < 0)
		return -1;

	return refuse_running(swap->name, err);
}

static int
look_at_live(struct swap *swap, struct err *err)
{
	struct control control;

	swap->has_live = dir_exists(swap->live);
	if (!swap->has_live)
		return file_exists(swap->live)
		    ? err_set(err, ERR_REFUSED, "'%s' is no folder", swap->live)
		    : 0;
	if (dir_is_empty(swap->live))
		return 0;
	if (read_control(swap->live, &control, err) < 0 || refuse_running(swap->live, err) < 0)
		return -1;
	if (control.system_identifier == swap->control.system_identifier)
		return 0;

	return err_set(err, ERR_REFUSED, "'%s' is of another system (%llu) than '%s' (%llu)",
	    swap->live, (unsigned long long)control.system_identifier, swap->name,
	    (unsigned long long)swap->control.system_identifier);
}

/* A rename cannot leave its disk, and a mount point cannot be renamed. */
static int
look_at_disks(const struct swap *swap, struct err *err)
{
	struct stat home;

	if (stat(swap->live_home, &home) < 0)
		return err_sys(err, "cannot look at '%s'", swap->live_home);
	if (swap->stat.st_dev == home.st_dev && !(swap->has_live && dir_is_mount_point(swap->live)))
		return 0;
	(void)err_set(err, ERR_REFUSED, "'%s' and '%s' are on different disks", swap->name,
	    swap->live);

	return err_hint(err, "Type: mkdir '%s' && mv '%s'/* '%s'/ && cp -a '%s'/. '%s'/ && sync",
	    swap->kept, swap->live, swap->kept, swap->name, swap->live);
}

/* ---- what sets it apart ------------------------------------------------------------------------------- */

/* Without the block that kept the copy away from the world; *ret_had says whether there was one. */
static void
add_without_block(struct str *to, const char *text, bool *ret_had)
{
	bool is_inside = false;

	*ret_had = false;
	for (const char *line = text; *line != '\0';) {
		size_t size = strcspn(line, "\n");

		if (str_starts_with(line, BASE_CONFIG_BEGIN))
			is_inside = *ret_had = true;
		if (!is_inside)
			str_addf(to, "%.*s\n", (int)size, line);
		if (str_starts_with(line, BASE_CONFIG_END))
			is_inside = false;
		line += size + (line[size] == '\n');
	}
}

static int
join_the_world(const struct swap *swap, struct err *err)
{
	SCOPED(freep) char *path = path_join(swap->name, "postgresql.auto.conf");
	SCOPED(str_done) struct str text = STR_INIT_MAX(CONF_MAX_BYTES);
	SCOPED(str_done) struct str kept = STR_INIT_MAX(CONF_MAX_BYTES);
	bool had;

	if (!file_exists(path))
		return 0;
	if (file_read_all(path, CONF_MAX_BYTES, &text, err) < 0)
		return -1;
	add_without_block(&kept, str_text(&text), &had);
	if (!had)
		return 0;
	if (file_write_all(path, str_text(&kept), kept.size, 0600, err) < 0)
		return -1;
	if (geteuid() == 0 && lchown(path, swap->stat.st_uid, swap->stat.st_gid) < 0)
		return err_sys(err, "cannot give '%s' to the server's user", path);

	return 0;
}

/* ---- doing it ----------------------------------------------------------------------------------------- */

static int
rename_dir(const char *from, const char *to, struct err *err)
{
	SCOPED(freep) char *from_home = folder_of(from);
	SCOPED(freep) char *to_home = folder_of(to);

	if (rename(from, to) < 0)
		return err_sys(err, "cannot rename '%s' to '%s'", from, to);
	if (dir_sync(to_home, err) < 0)
		return -1;

	return dir_sync(from_home, err);
}

static int
swap_dirs(const struct swap *swap, struct err *err)
{
	struct err back = ERR_INIT;

	if (join_the_world(swap, err) < 0)
		return -1;
	if (swap->has_live && rename_dir(swap->live, swap->kept, err) < 0)
		return -1;
	if (rename_dir(swap->name, swap->live, err) == 0)
		return 0;
	if (swap->has_live && !dir_exists(swap->live) &&
	    rename_dir(swap->kept, swap->live, &back) < 0)
		return err_hint(err, "The old data directory is '%s': mv '%s' '%s'", swap->kept,
		    swap->kept, swap->live);

	return -1;
}

/* ---- telling ------------------------------------------------------------------------------------------ */

static void
tell(const struct swap *swap, bool is_dry_run, struct restore_report *report)
{
	const char *is = is_dry_run ? "would be" : "is now";
	SCOPED(freep) char *spaces = xasprintf("%s.tablespaces", swap->name);
	SCOPED(freep)
	char *original = path_join(is_dry_run ? swap->name : swap->live,
	    "postgresql.conf.from-backup");

	report->target = xstrdup(swap->live);
	report->details = json_object();
	if (swap->has_live) {
		(void)json_object_set_new(report->details, "kept", json_string(swap->kept));
		vec_push(&report->notes,
		    xasprintf("what was '%s' %s '%s'", swap->live, is, swap->kept));
	} else {
		vec_push(&report->notes, xasprintf("there was no '%s' to keep", swap->live));
	}
	vec_push(&report->notes, xasprintf("'%s' %s '%s'", swap->name, is, swap->live));
	vec_push(&report->notes,
	    xstrdup(
		"what set it apart from the world (port, no archiving, no standbys) is taken out "
		"of its postgresql.auto.conf"));
	if (dir_exists(spaces))
		vec_push(&report->notes, xasprintf("its tablespaces stay in '%s'", spaces));
	if (file_exists(original))
		vec_push(&report->notes,
		    xasprintf(
			"its postgresql.conf was made by the restore; '%s' is the server's own: "
			"look at both before it is started",
			original));
	report->next = is_dry_run
	    ? xasprintf("blackstart promote '%s' --confirm='%s'", swap->name, swap->live)
	    : xasprintf("start it as the live server is started; when the old one is no longer "
			"needed: rm -r '%s'",
		  swap->kept);
}

static int
check_confirm(const struct promote_request *request, struct err *err)
{
	if (request->confirm != NULL && request->confirm[0] != '\0')
		return 0;
	(void)err_set(err, ERR_REFUSED,
	    "promote replaces a live data directory and must be confirmed");

	return err_hint(err,
	    "Type the data directory it takes the place of: blackstart promote %s "
	    "--confirm=/var/lib/postgresql/15/main",
	    request->name);
}

static char *
stamped(const char *live)
{
	char stamp[CLOCK_TEXT_SIZE];

	return xasprintf("%s.before-%s", live, clock_format_compact(clock_wall(), stamp));
}

int
pg_base_promote(const struct promote_request *request, struct restore_report *report,
    struct err *err)
{
	SCOPED(swap_done) struct swap swap = { .name = NULL };

	if (check_confirm(request, err) < 0)
		return -1;
	swap.name = absolute(request->name);
	swap.live = absolute(request->confirm);
	swap.live_home = folder_of(swap.live);
	swap.kept = stamped(swap.live);
	if (str_equals(swap.name, swap.live))
		return err_set(err, ERR_REFUSED, "'%s' cannot take its own place", swap.name);
	if (look_at_restored(&swap, err) < 0 || look_at_live(&swap, err) < 0 ||
	    look_at_disks(&swap, err) < 0)
		return -1;
	if (!request->is_dry_run && swap_dirs(&swap, err) < 0)
		return err_wrap(err, "promote '%s'", swap.name);
	tell(&swap, request->is_dry_run, report);

	return 0;
}
