#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "repo/manifest.h"
#include "source/postgres/dump/dump_internal.h"
#include "source/postgres/dump/verify_internal.h"

/* Level 1: every archive is read to its end by the vendor's own reader. */
static int
climb_1(const struct dump_climb *climb, struct err *err)
{
	const struct manifest *manifest = climb->view->manifest;

	progress_phase(climb->request->progress, "reading the dump",
	    manifest_stored_bytes(manifest));
	for (size_t i = 0; i < dump_databases_count(manifest); i++) {
		struct dump_database database;
		SCOPED(dump_archive_done) struct dump_archive archive = DUMP_ARCHIVE_INIT;

		if (dump_database_get(manifest, i, &database, err) < 0 ||
		    dump_archive_open(&archive, climb->view, &database, climb->request->scratch_dir,
			err) < 0 ||
		    dump_archive_read(&archive, &climb->pg_restore, err) < 0)
			return -1;
	}
	climb->report->level = 1;
	vec_push(&climb->report->notes,
	    xasprintf("%zu %s read to the last byte by pg_restore %d.%d",
		dump_databases_count(manifest),
		dump_databases_count(manifest) == 1 ? "dump" : "dumps",
		climb->pg_restore.version / 10000, climb->pg_restore.version % 10000));

	return 0;
}

int
pg_dump_verify(struct postgres *pg, const struct backup_view *view,
    const struct verify_request *request, struct verify_report *report, struct err *err)
{
	struct dump_climb climb = {
		.pg = pg,
		.view = view,
		.request = request,
		.report = report,
	};
	int result;

	report->level = -1;
	if (report->details == NULL)
		report->details = json_object();
	if (dump_databases_count(view->manifest) == 0)
		return err_set(err, ERR_DATA, "the manifest describes no database");
	if (dump_find_pg_restore(pg, view->manifest, &climb.pg_restore, err) < 0)
		return -1;
	result = climb_1(&climb, err);
	if (result == 0 && request->level >= 2)
		result = dump_climb_scratch(&climb, err);
	pg_program_done(&climb.pg_restore);

	return result;
}
