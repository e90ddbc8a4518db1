#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "base/vec.h"
#include "os/file.h"
#include "os/process.h"
#include "os/stop.h"
#include "source/postgres/postgres_internal.h"

enum {
	DIR_ENTRIES_MAX = 1000,
	VERSION_TEXT_MAX = 4096,
	VERSION_FACTOR = 10000, /* 15.4 is 150004 */
};

/* The folders to look into, in order. */
struct search {
	VEC(char *) dirs;
};

static void
search_done(struct search *search)
{
	for (size_t i = 0; i < search->dirs.count; i++)
		free(search->dirs.items[i]);
	vec_done(&search->dirs);
}

void
pg_program_done(struct pg_program *program)
{
	free(program->path);
	program->path = NULL;
	program->version = 0;
}

/* Every "PARENT/PREFIX<something>SUFFIX" that is a folder: where packages put one major each. */
static void
search_add_majors(struct search *search, const char *parent, const char *prefix, const char *suffix)
{
	struct dir_listing listing = { .names = NULL };
	struct err ignored = ERR_INIT;

	if (!dir_exists(parent) || dir_list(parent, DIR_ENTRIES_MAX, &listing, &ignored) < 0)
		return;
	for (size_t i = 0; i < listing.count; i++) {
		char *dir;

		if (!str_starts_with(listing.names[i], prefix))
			continue;
		dir = xasprintf("%s/%s%s", parent, listing.names[i], suffix);
		if (dir_exists(dir))
			vec_push(&search->dirs, dir);
		else
			free(dir);
	}
	dir_listing_done(&listing);
}

static void
search_add_path(struct search *search)
{
	const char *path = getenv("PATH");

	while (path != NULL && *path != '\0') {
		size_t size = strcspn(path, ":");

		if (size > 0 && path[0] == '/')
			vec_push(&search->dirs, xstrndup(path, size));
		path += size + (path[size] == ':' ? 1 : 0);
	}
}

static void
search_make(const struct postgres *pg, struct search *search)
{
	if (pg->bin_dirs != NULL && pg->bin_dirs[0] != NULL) {
		for (size_t i = 0; pg->bin_dirs[i] != NULL; i++)
			vec_push(&search->dirs, xstrdup(pg->bin_dirs[i]));
		return;
	}
	search_add_majors(search, "/usr/lib/postgresql", "", "/bin");
	search_add_majors(search, "/usr", "pgsql-", "/bin");
	vec_push(&search->dirs, xstrdup("/usr/local/pgsql/bin"));
	search_add_path(search);
}

/* Debian's wrapper picks a program by rules of its own; the real ones were looked at before. */
static bool
is_debian_wrapper(const char *path)
{
	SCOPED(freep) char *real = realpath(path, NULL);

	return real != NULL && str_ends_with(real, "/pg_wrapper");
}

static int
keep_text(void *context, const void *data, size_t size, struct err *err)
{
	(void)err;
	str_add_bytes(context, data, size);

	return 0;
}

/* "pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)" or "... 19devel"; 0 when it is neither. */
static int
parse_version(const char *text)
{
	const char *at = strstr(text, "(PostgreSQL) ");
	SCOPED(freep) char *major_text = NULL;
	SCOPED(freep) char *minor_text = NULL;
	struct err ignored = ERR_INIT;
	unsigned major = 0;
	unsigned minor = 0;
	size_t size;

	if (at == NULL)
		return 0;
	at += strlen("(PostgreSQL) ");
	size = strspn(at, "0123456789");
	major_text = xstrndup(at, size);
	if (parse_unsigned(major_text, 1, 999, &major, &ignored) < 0)
		return 0;
	if (at[size] == '.') {
		at += size + 1;
		minor_text = xstrndup(at, strspn(at, "0123456789"));
		if (parse_unsigned(minor_text, 0, 999, &minor, &ignored) < 0)
			minor = 0;
	}

	return (int)(major * VERSION_FACTOR + minor);
}

/* What the program itself says; 0 when it cannot be run or is something else. */
static int
program_version(const char *path)
{
	const char *const argv[] = { path, "--version", NULL };
	const char *const env[] = { "LC_ALL=C", NULL };
	const struct process_options options = { .argv = argv, .env = env, .wants_stdout = true };
	struct str text = STR_INIT_MAX(VERSION_TEXT_MAX);
	const struct process_flow flow = { .on_stdout = keep_text, .context = &text };
	struct err ignored = ERR_INIT;
	int version = 0;

	SCOPED(process_freep) struct process *process = process_start(&options, &ignored);
	if (process != NULL && process_run(process, &flow, &ignored) == 0)
		version = parse_version(str_text(&text));
	str_done(&text);

	return version;
}

/* Is `version` a better choice for `major` than `best` (0: none yet). */
static bool
is_better(int version, int best, int major, bool is_exact)
{
	int version_major = version / VERSION_FACTOR;
	int best_major = best / VERSION_FACTOR;

	if (version_major < major || (is_exact && version_major != major))
		return false;
	if (best == 0 || version_major < best_major)
		return true;

	return version_major == best_major && version > best;
}

static bool
needs_server_package(const char *name)
{
	static const char *const programs[] = { "postgres", "initdb", "pg_ctl", "pg_controldata",
		"pg_resetwal", "pg_checksums", "pg_amcheck" };

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		if (strcmp(programs[i], name) == 0)
			return true;
	}

	return false;
}

static int
not_found(const char *name, int major, bool is_exact, const struct str *seen, struct err *err)
{
	/* While we are to stop no program is asked, and so none is found. */
	if (stop_check(err) < 0)
		return -1;
	(void)err_set(err, ERR_UNSUPPORTED,
	    "no '%s' of PostgreSQL %d%s on this machine (found: %s)", name, major,
	    is_exact ? "" : " or newer", seen->size > 0 ? str_text(seen) : "none");

	return err_hint(err,
	    "Install the package postgresql-%s%d (from apt.postgresql.org where "
	    "the system has none), or name its folder in bin_dir.",
	    needs_server_package(name) ? "" : "client-", major);
}

int
pg_program_find(const struct postgres *pg, const char *name, int major, bool is_exact,
    struct pg_program *ret_program, struct err *err)
{
	struct str seen = STR_INIT_MAX(200);
	struct search search = { .dirs = { .count = 0 } };
	struct pg_program best = { .path = NULL };

	search_make(pg, &search);
	for (size_t i = 0; i < search.dirs.count; i++) {
		SCOPED(freep) char *path = path_join(search.dirs.items[i], name);
		int version;

		if (access(path, X_OK) < 0 || is_debian_wrapper(path))
			continue;
		version = program_version(path);
		if (version == 0)
			continue;
		str_addf(&seen, "%s%d.%d in %s", seen.size > 0 ? ", " : "",
		    version / VERSION_FACTOR, version % VERSION_FACTOR, search.dirs.items[i]);
		if (is_better(version, best.version, major, is_exact)) {
			pg_program_done(&best);
			best = (struct pg_program){ .path = TAKE(path), .version = version };
		}
	}
	search_done(&search);
	if (best.path == NULL)
		(void)not_found(name, major, is_exact, &seen, err);
	else
		*ret_program = best;
	str_done(&seen);

	return best.path != NULL ? 0 : -1;
}
