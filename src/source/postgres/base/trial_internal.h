/* Levels 2 to 4 of a base backup: a copy that is started, read from end to end, and stopped. */
#ifndef SOURCE_POSTGRES_BASE_TRIAL_INTERNAL_H
#define SOURCE_POSTGRES_BASE_TRIAL_INTERNAL_H

#include "base/scope.h"
#include "source/postgres/libpq_internal.h"

struct backup_view;
struct base_content;
struct base_observer;
struct base_trial;
struct err;
struct postgres;
struct verify_report;
struct verify_request;

/*
 * Make ready for a copy in request->scratch_dir.  What would make the trial impossible is said
 * here, before anything is read: no server of that major (ERR_UNSUPPORTED), no space, no WAL in
 * the backup.  Yours.
 */
struct base_trial *base_trial_new(const struct postgres *pg, const struct base_content *content,
    const struct backup_view *view, const struct verify_request *request,
    struct verify_report *report, struct err *err) MUST_CHECK;

/* Writes the files while level 1 reads them; a loan. */
const struct base_observer *base_trial_observer(struct base_trial *trial);

/* Climb from level 1, which was reached, to request->level; report->level says how far. */
int base_trial_climb(struct base_trial *trial, struct err *err) MUST_CHECK;

void base_trial_free(struct base_trial *trial); /* NULL is ok; stops the server */
SCOPED_FREE(struct base_trial, base_trial_free)

/* ---- base_contents.c: what level 3 asks of each database ---- */

/* Read every row of every table, then let amcheck look at tables and indexes where it is there. */
int base_read_database(const struct postgres *server, const char *database,
    struct verify_report *report, struct err *err) MUST_CHECK;

/* ---- base_pages.c ---- */

/* Every page checksum of a stopped data directory.  ERR_DATA names the first bad page. */
int base_check_stopped(const struct base_content *content, const char *data_dir,
    struct verify_report *report, struct err *err) MUST_CHECK;

#endif
