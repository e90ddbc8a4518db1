/* doctor, version: this machine and this program. Nothing secret is shown. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "app/config_open.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "base/version.h"
#include "config/config.h"
#include "os/cores.h"
#include "os/file.h"

#define POSTGRES_PACKAGES "/usr/lib/postgresql"

enum { PACKAGES_MAX = 1000 };

struct finding {
	const char *name;
	char *text;
	bool is_bad;
};

struct findings {
	VEC(struct finding) items;
	unsigned bad_count;
};

static void
findings_done(struct findings *findings)
{
	for (size_t i = 0; i < findings->items.count; i++)
		free(findings->items.items[i].text);
	vec_done(&findings->items);
}

/* Takes over `text`. */
static void
find(struct findings *findings, const char *name, bool is_bad, char *text)
{
	vec_push(&findings->items,
	    ((struct finding){ .name = name, .text = text, .is_bad = is_bad }));
	findings->bad_count += is_bad ? 1 : 0;
}

static void
look_at_machine(struct findings *findings)
{
	struct utsname machine;

	if (uname(&machine) == 0)
		find(findings, "system", false,
		    xasprintf("%s %s %s, %u cores", machine.sysname, machine.release,
			machine.machine, cores_available()));
	find(findings, "program", false,
	    xasprintf("blackstart %s, running as uid %u", BLACKSTART_VERSION, (unsigned)geteuid()));
	if (dir_exists("/usr/share/zoneinfo"))
		find(findings, "time zones", false, xstrdup("found in /usr/share/zoneinfo"));
	else
		find(findings, "time zones", true,
		    xstrdup("not found: install the package 'tzdata' (apt-get install tzdata)"));
}

/* Which majors of the vendor's programs Debian's packages have put here. */
static void
look_at_postgres(struct findings *findings)
{
	SCOPED(dir_listing_done) struct dir_listing listing = { .names = NULL };
	SCOPED(str_done) struct str majors = STR_INIT;
	struct err ignored = ERR_INIT;

	if (dir_list(POSTGRES_PACKAGES, PACKAGES_MAX, &listing, &ignored) == 0) {
		for (size_t i = 0; i < listing.count; i++)
			str_addf(&majors, "%s%s", i > 0 ? ", " : "", listing.names[i]);
	}
	if (majors.size > 0)
		find(findings, "PostgreSQL", false,
		    xasprintf("programs of version %s in " POSTGRES_PACKAGES, str_text(&majors)));
	else
		find(findings, "PostgreSQL", true,
		    xstrdup("no programs in " POSTGRES_PACKAGES
			    ": dumps need the package 'postgresql-client', proofs 'postgresql'"));
}

static void
look_at_folder(struct findings *findings, const char *name, const char *path)
{
	struct disk_space space;
	struct err err = ERR_INIT;
	char available[32];

	if (!dir_exists(path))
		find(findings, name, true, xasprintf("'%s' does not exist", path));
	else if (access(path, W_OK) < 0)
		find(findings, name, true,
		    xasprintf("'%s' cannot be written: %s", path, strerror(errno)));
	else if (disk_space_of(path, &space, &err) < 0)
		find(findings, name, true, xstrdup(err.msg));
	else
		find(findings, name, false,
		    xasprintf("'%s', %s free", path,
			format_bytes(space.available_bytes, available)));
}

static void
look_at_config(struct findings *findings, const char *path)
{
	SCOPED(config_problems_done) struct config_problems problems = { .errors_count = 0 };
	struct err err = ERR_INIT;
	SCOPED(config_freep)
	struct config *config = config_open(path, clock_wall(), &problems, &err);

	if (config == NULL) {
		find(findings, "config", true,
		    xasprintf("%s (blackstart config check -c %s)", err.msg, path));
		return;
	}
	find(findings, "config", false,
	    xasprintf("'%s': %zu sources, %zu jobs, %zu warnings", path, config->sources.count,
		config->jobs.count, problems.warnings_count));
	look_at_folder(findings, "state_dir", config->state_dir);
	look_at_folder(findings, "store", config->store.path);
	for (size_t i = 0; i < config->sources.count; i++) {
		const struct config_source *source = &config->sources.items[i];
		SCOPED(freep) char *secret_path = NULL;
		SCOPED(secret_freep) struct secret *secret = NULL;
		struct err secret_err = ERR_INIT;

		if (source->password_file == NULL)
			continue;
		secret_path = config_secret_path(config, source->password_file);
		secret = file_read_secret(secret_path, &secret_err);
		find(findings, "password file", secret == NULL,
		    secret == NULL ? xasprintf("source '%s': %s", source->name, secret_err.msg)
				   : xasprintf("source '%s': '%s' can be read, not by every user",
					 source->name, secret_path));
	}
}

static int
findings_json(const struct findings *findings, struct err *err)
{
	json_t *root = json_object();
	json_t *array = json_array();

	for (size_t i = 0; i < findings->items.count; i++) {
		const struct finding *finding = &findings->items.items[i];
		json_t *object = json_object();

		(void)json_object_set_new(object, "name", json_string(finding->name));
		(void)json_object_set_new(object, "ok", json_boolean(!finding->is_bad));
		(void)json_object_set_new(object, "text", out_json_text(finding->text));
		(void)json_array_append_new(array, object);
	}
	(void)json_object_set_new(root, "findings", array);

	return out_json(root, "blackstart.doctor/1", err);
}

static int
cmd_doctor(struct cli *cli, struct err *err)
{
	SCOPED(findings_done) struct findings findings = { .bad_count = 0 };
	const char *path = args_text_or(cli->args, "config", CONFIG_DEFAULT_PATH);
	const char *store = args_text(cli->args, "store");

	look_at_machine(&findings);
	look_at_postgres(&findings);
	if (store != NULL)
		look_at_folder(&findings, "store", store);
	if (store == NULL || args_text(cli->args, "config") != NULL)
		look_at_config(&findings, path);
	if (cli->is_json) {
		if (findings_json(&findings, err) < 0)
			return -1;
	} else {
		for (size_t i = 0; i < findings.items.count; i++)
			out_line("%s %-14s %s", findings.items.items[i].is_bad ? "!" : " ",
			    findings.items.items[i].name, findings.items.items[i].text);
	}

	return findings.bad_count > 0 ? EXIT_WARNINGS : EXIT_OK;
}

static int
cmd_version(struct cli *cli, struct err *err)
{
	if (cli->is_json)
		return out_json(json_pack("{s:s}", "version", BLACKSTART_VERSION),
		    "blackstart.version/1", err);
	out_line("blackstart %s", BLACKSTART_VERSION);

	return EXIT_OK;
}

const struct command_entry cmd_doctor_entries[] = {
	{ .verb = "doctor", .is_bare = true, .run = cmd_doctor },
	{ .verb = "version", .is_bare = true, .run = cmd_version },
	{ .verb = NULL },
};
