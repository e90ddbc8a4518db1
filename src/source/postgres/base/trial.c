#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/progress.h"
#include "base/str.h"
#include "os/file.h"
#include "os/stop.h"
#include "source/postgres/base/content.h"
#include "source/postgres/base/covered.h"
#include "source/postgres/base/extract.h"
#include "source/postgres/base/reader.h"
#include "source/postgres/base/trial_internal.h"
#include "source/postgres/control.h"
#include "source/postgres/postgres_internal.h"

enum { SETTINGS_MAX = 8 };

struct base_trial {
	const struct postgres *pg;
	const struct base_content *content;
	const struct backup_view *view;
	const struct verify_request *request;
	struct verify_report *report;
	char *data_dir;
	char *spaces_dir;
	struct base_extract *extract;
	struct base_observer observer;
	struct scratch *scratch;
	char *settings[SETTINGS_MAX + 1];
	size_t settings_count;
	bool has_owner;
	uid_t uid;
	gid_t gid;
};

static void
note(struct base_trial *trial, char *text)
{
	vec_push(&trial->report->notes, text);
}

/* ---- before anything is read -------------------------------------------------------------------------- */

static int
check_possible(const struct base_trial *trial, struct err *err)
{
	SCOPED(pg_program_done) struct pg_program program = { .path = NULL };
	uint64_t needed = base_content_bytes(trial->content);
	struct disk_space space;
	char needs[32], has[32];

	if (!trial->content->has_wal && trial->request->archive == NULL) {
		(void)err_set(err, ERR_UNSUPPORTED,
		    "the backup has no WAL of its own, so it cannot be "
		    "started alone: level 2 needs the WAL archive, and there is none");
		return err_hint(err,
		    "Verify it at level 1, or drill a recovery to a point in time.");
	}
	if (pg_program_find(trial->pg, "postgres", trial->content->server_version / 10000, true,
		&program, err) < 0)
		return -1;
	if (disk_space_of(trial->request->scratch_dir, &space, err) < 0)
		return -1;
	if (space.available_bytes >= needed)
		return 0;
	(void)err_set(err, ERR_SPACE, "'%s' has %s free, a trial copy needs %s",
	    trial->request->scratch_dir, format_bytes(space.available_bytes, has),
	    format_bytes(needed, needs));

	return err_hint(err, "Free space there, or verify at level 1.");
}

static int
make_folder(const struct base_trial *trial, const char *path, struct err *err)
{
	if (mkdir(path, 0700) < 0)
		return err_sys(err, "cannot make folder '%s'", path);
	if (trial->has_owner && lchown(path, trial->uid, trial->gid) < 0)
		return err_sys(err, "cannot give '%s' to the server's user", path);

	return 0;
}

static int
open_extract(struct base_trial *trial, struct err *err)
{
	const struct base_extract_options options = {
		.data_dir = trial->data_dir,
		.has_owner = trial->has_owner,
		.uid = trial->uid,
		.gid = trial->gid,
	};

	if (make_folder(trial, trial->data_dir, err) < 0)
		return -1;
	trial->extract = base_extract_new(&options, err);
	if (trial->extract == NULL)
		return -1;
	trial->observer = base_extract_observer(trial->extract);
	if (trial->content->spaces.count > 0 && make_folder(trial, trial->spaces_dir, err) < 0)
		return -1;
	for (size_t i = 0; i < trial->content->spaces.count; i++) {
		const char *oid = trial->content->spaces.items[i].oid;
		SCOPED(freep) char *folder = path_join(trial->spaces_dir, oid);

		if (make_folder(trial, folder, err) < 0 ||
		    base_extract_add_space(trial->extract, oid, folder, err) < 0)
			return -1;
	}

	return 0;
}

struct base_trial *
base_trial_new(const struct postgres *pg, const struct base_content *content,
    const struct backup_view *view, const struct verify_request *request,
    struct verify_report *report, struct err *err)
{
	SCOPED(base_trial_freep) struct base_trial *trial = xcalloc(1, sizeof(*trial));

	trial->pg = pg;
	trial->content = content;
	trial->view = view;
	trial->request = request;
	trial->report = report;
	trial->data_dir = path_join(request->scratch_dir, "data");
	trial->spaces_dir = path_join(request->scratch_dir, "tablespaces");
	trial->has_owner = geteuid() == 0;
	if (pg_server_user(pg, NULL, &trial->uid, &trial->gid, err) < 0 ||
	    check_possible(trial, err) < 0 || open_extract(trial, err) < 0)
		return NULL;

	return TAKE(trial);
}

const struct base_observer *
base_trial_observer(struct base_trial *trial)
{
	return &trial->observer;
}

void
base_trial_free(struct base_trial *trial)
{
	if (trial == NULL)
		return;
	scratch_free(trial->scratch);
	base_extract_free(trial->extract);
	for (size_t i = 0; i < trial->settings_count; i++)
		free(trial->settings[i]);
	free(trial->data_dir);
	free(trial->spaces_dir);
	free(trial);
}

/* ---- level 2: it starts -------------------------------------------------------------------------------- */

static void
add_setting(struct base_trial *trial, char *text)
{
	trial->settings[trial->settings_count++] = text;
}

/* Prepared transactions in the WAL need their slots; the rest is what the server ran with. */
static int
choose_settings(struct base_trial *trial, struct err *err)
{
	SCOPED(freep) char *libraries = NULL;
	struct control control;
	const void *data;
	json_t *settings = NULL;
	size_t size;

	data = base_extract_control(trial->extract, &size);
	if (data == NULL)
		return err_set(err, ERR_DATA, "the backup has no pg_control");
	if (control_parse(data, size, &control, err) < 0 ||
	    base_content_settings(trial->view, &settings, err) < 0)
		return -1;
	libraries = xstrdup(json_string_value(json_object_get(settings,
	    "shared_preload_libraries")));
	json_decref(settings);
	add_setting(trial, xasprintf("max_connections=%u", control.max_connections));
	add_setting(trial, xasprintf("max_worker_processes=%u", control.max_worker_processes));
	add_setting(trial,
	    xasprintf("max_prepared_transactions=%u", control.max_prepared_transactions));
	add_setting(trial,
	    xasprintf("max_locks_per_transaction=%u", control.max_locks_per_transaction));
	if (libraries != NULL && libraries[0] != '\0')
		vec_push(&trial->report->warnings,
		    xasprintf("the trial runs without "
			      "shared_preload_libraries '%s'",
			libraries));

	return 0;
}

/*
 * Settings that ALTER SYSTEM made would come after ours and undo them; a signal file of a backup
 * from a standby would make the copy one, which never ends its recovery.
 */
static int
drop_foreign_files(const struct base_trial *trial, struct err *err)
{
	static const char *const names[] = {
		"postgresql.auto.conf",
		"standby.signal",
		"recovery.signal",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (base_extract_remove(trial->extract, names[i], err) < 0)
			return -1;
	}

	return 0;
}

static int
start_copy(struct base_trial *trial, struct err *err)
{
	const struct scratch_options options = {
		.data_dir = trial->data_dir,
		.work_dir = trial->request->scratch_dir,
		.major = trial->content->server_version / 10000,
		.is_exact = true,
		.settings = (const char *const *)trial->settings,
		.superuser = trial->content->superuser,
	};
	struct mono_time began = clock_mono();
	char took[CLOCK_TEXT_SIZE];

	progress_phase(trial->request->progress, "starting a copy", 0);
	if (!trial->content->has_wal &&
	    covered_extract(trial->request->archive, trial->content, trial->extract, err) < 0)
		return -1;
	if (choose_settings(trial, err) < 0 || base_extract_write_map(trial->extract, err) < 0 ||
	    drop_foreign_files(trial, err) < 0 ||
	    base_extract_finish(trial->extract, false, err) < 0)
		return -1;
	trial->scratch = scratch_start(trial->pg, &options, err);
	if (trial->scratch == NULL)
		return -1;
	trial->report->level = 2;
	note(trial,
	    xasprintf("a copy started with PostgreSQL %d and became consistent in %s",
		options.major, clock_format_duration(clock_elapsed_us(began), took)));

	return 0;
}

/* ---- level 3: all of it can be read ------------------------------------------------------------------------ */

/* Asked of the copy itself: the backup may have been made without SQL. */
static int
read_databases(struct base_trial *trial, struct err *err)
{
	const struct postgres *server = scratch_postgres(trial->scratch);

	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(server, NULL, PG_SQL, err);
	if (conn == NULL)
		return -1;
	SCOPED(pg_result_freep)
	PGresult *result = pg_query(conn,
	    "SELECT datname FROM pg_database WHERE datallowconn ORDER BY oid", err);
	if (result == NULL)
		return -1;
	progress_phase(trial->request->progress, "reading every table", 0);
	for (int row = 0; row < libpq.PQntuples(result); row++) {
		if (stop_check(err) < 0 ||
		    base_read_database(server, libpq.PQgetvalue(result, row, 0), trial->report,
			err) < 0)
			return -1;
	}

	return 0;
}

/* ---- level 4 ------------------------------------------------------------------------------------------------ */

/* The first database of the users' own. */
static const char *
default_database(const struct base_trial *trial)
{
	size_t index;
	const json_t *name;

	if (trial->pg->databases != NULL && trial->pg->databases[0] != NULL)
		return trial->pg->databases[0];
	json_array_foreach(trial->content->databases, index, name)
	{
		const char *text = json_string_value(name);

		if (text != NULL && !str_starts_with(text, "template") &&
		    strcmp(text, "postgres") != 0)
			return text;
	}

	return "postgres";
}

static int
ask_smoke(struct base_trial *trial, bool *ret_is_passed, struct err *err)
{
	*ret_is_passed = false;
	if (trial->request->level < 4)
		return 0;
	if (trial->request->smoke_count == 0) {
		vec_push(&trial->report->warnings,
		    xstrdup("no smoke queries are configured, so level 4 cannot be reached"));
		return 0;
	}
	if (pg_smoke_run(scratch_postgres(trial->scratch), trial->request, default_database(trial),
		trial->report, err) < 0)
		return -1;
	*ret_is_passed = true;

	return 0;
}

int
base_trial_climb(struct base_trial *trial, struct err *err)
{
	bool is_smoke_passed = false;

	if (start_copy(trial, err) < 0)
		return -1;
	if (trial->request->level >= 3 &&
	    (read_databases(trial, err) < 0 || ask_smoke(trial, &is_smoke_passed, err) < 0))
		return -1;
	progress_phase(trial->request->progress, "stopping the copy", 0);
	if (scratch_stop(trial->scratch, err) < 0)
		return -1;
	if (trial->request->level < 3)
		return 0;
	if (trial->content->has_checksums &&
	    base_check_stopped(trial->content, trial->data_dir, trial->report, err) < 0)
		return -1;
	trial->report->level = is_smoke_passed ? 4 : 3;

	return 0;
}
