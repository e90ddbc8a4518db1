#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/stop.h"
#include "source/postgres/dump/target_internal.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/traits_internal.h"

/*
 * Both renames happen in one transaction, so there is no moment at which a crash of ours, of the
 * network or of the server leaves the name missing: either all of it happened or nothing.
 *
 * ALTER DATABASE RENAME takes a lock that lets nobody new into the database, and then gives
 * those inside five seconds to leave.  While it waits, a second connection shows them the door.
 * So nothing has to be switched off beforehand that a crash could leave switched off.
 */

enum {
	ATTEMPTS = 3,
	KICK_EVERY_MS = 200,
};

struct swap {
	const struct postgres *pg;
	const char *name; /* what restore made */
	const char *live;
	char *broken; /* what live is called afterwards */
	bool has_live;
	PGconn *conn;   /* renames */
	PGconn *kicker; /* ends sessions meanwhile */
	json_t *traits; /* of live, for its successor ... */
	char *comment;  /* ... and its comment, NULL: none */
	struct traits_remarks remarks;
	unsigned sessions; /* ended */
};

static void
swap_done(struct swap *swap)
{
	pg_close(swap->conn);
	pg_close(swap->kicker);
	free(swap->broken);
	free(swap->comment);
	json_decref(swap->traits);
	traits_remarks_done(&swap->remarks);
}

/* ---- may it be done --------------------------------------------------------------------------------- */

static int
check_complete(const struct swap *swap, const struct target_mark *mark, struct err *err)
{
	if (mark->state != TARGET_INCOMPLETE && mark->state != TARGET_BEGUN)
		return 0;
	(void)err_set(err, ERR_REFUSED, "the restore of database '%s' is not complete", swap->name);

	return err_hint(err,
	    "Restore again: 'blackstart restore'. To remove this one: DROP DATABASE "
	    "\"%s\".",
	    swap->name);
}

/* A name mistyped must not make a database that nobody asked for, nor replace another one. */
static int
check_live(const struct swap *swap, const struct target_mark *mark, struct err *err)
{
	if (mark->state == TARGET_COMPLETE && strcmp(mark->origin, swap->live) != 0) {
		(void)err_set(err, ERR_REFUSED,
		    "'%s' was restored from database '%s', not from '%s'", swap->name, mark->origin,
		    swap->live);
		return err_hint(err, "Type the name that it takes the place of: --confirm=%s",
		    mark->origin);
	}
	if (mark->state == TARGET_FOREIGN && !swap->has_live)
		return err_set(err, ERR_REFUSED,
		    "there is no database '%s' whose place '%s' could take", swap->live,
		    swap->name);

	return 0;
}

static int
check_names(struct swap *swap, struct err *err)
{
	SCOPED(target_mark_done) struct target_mark mark = { .origin = NULL };

	if (target_mark_read(swap->conn, swap->name, &mark, err) < 0)
		return err->kind == ERR_NOT_FOUND
		    ? err_hint(err,
			  "It is made by 'blackstart restore'; a promote that is repeated "
			  "after it has worked also ends here.")
		    : -1;
	if (target_exists(swap->conn, swap->live, &swap->has_live, err) < 0 ||
	    check_complete(swap, &mark, err) < 0)
		return -1;

	return check_live(swap, &mark, err);
}

/* Prepared transactions and logical slots keep a database from being renamed or moved away. */
static int
check_prepared(struct swap *swap, struct err *err)
{
	const char *params[] = { swap->live, swap->name };

	SCOPED(pg_result_freep)
	PGresult *result = pg_query_params(swap->conn,
	    "SELECT gid, database FROM pg_prepared_xacts WHERE database IN ($1, $2)", params, 2,
	    err);
	if (result == NULL)
		return -1;
	if (libpq.PQntuples(result) == 0)
		return 0;
	(void)err_set(err, ERR_REFUSED, "database '%s' has the prepared transaction '%s'",
	    libpq.PQgetvalue(result, 0, 1), libpq.PQgetvalue(result, 0, 0));

	return err_hint(err,
	    "End it first, in that database: COMMIT PREPARED or ROLLBACK PREPARED.");
}

/* The comment of live goes to its successor, in the place of our mark. */
static int
read_comment(struct swap *swap, struct err *err)
{
	const char *params[] = { swap->live };

	SCOPED(pg_result_freep)
	PGresult *result = pg_query_params(swap->conn,
	    "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1",
	    params, 1, err);
	if (result == NULL)
		return -1;
	if (libpq.PQntuples(result) > 0 && !libpq.PQgetisnull(result, 0, 0))
		swap->comment = xstrdup(libpq.PQgetvalue(result, 0, 0));

	return 0;
}

static int
prepare(struct swap *swap, struct err *err)
{
	swap->conn = target_admin(swap->pg, swap->live, swap->name, err);
	if (swap->conn == NULL)
		return -1;
	swap->kicker = target_admin(swap->pg, swap->live, swap->name, err);
	if (swap->kicker == NULL || check_names(swap, err) < 0 || check_prepared(swap, err) < 0)
		return -1;
	swap->traits = json_object();
	swap->broken = target_stamped(swap->live, "broken");
	if (!swap->has_live)
		return 0;
	if (read_comment(swap, err) < 0)
		return -1;

	return traits_read(swap->conn, swap->live, swap->traits, err);
}

/* ---- doing it ------------------------------------------------------------------------------------------ */

static int
kick(struct swap *swap, const char *database, struct err *err)
{
	const char *params[] = { database };

	SCOPED(pg_result_freep)
	PGresult *result = pg_query_params(swap->kicker,
	    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
	    "WHERE datname = $1 AND pid <> pg_backend_pid()",
	    params, 1, err);
	if (result == NULL)
		return err_wrap(err, "cannot end the sessions in database '%s'", database);
	swap->sessions += (unsigned)libpq.PQntuples(result);

	return 0;
}

/* Wait for the rename that was sent; end the sessions that stand in its way. */
static int
await_rename(struct swap *swap, const char *database, struct err *err)
{
	for (;;) {
		struct pollfd fd = { .fd = libpq.PQsocket(swap->conn), .events = POLLIN };

		if (stop_check(err) < 0) {
			pg_cancel(swap->conn);
			return -1;
		}
		if (kick(swap, database, err) < 0)
			return -1;
		if (poll(&fd, 1, KICK_EVERY_MS) > 0 && libpq.PQconsumeInput(swap->conn) == 0)
			return pg_error(swap->conn, NULL, err, "cannot rename database '%s'",
			    database);
		if (!libpq.PQisBusy(swap->conn))
			return 0;
	}
}

static int
rename_once(struct swap *swap, const char *from, const char *to, struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT;
	struct err failure = ERR_INIT;
	bool has_failed = false;

	str_add(&sql, "ALTER DATABASE ");
	pg_add_identifier(&sql, from);
	str_add(&sql, " RENAME TO ");
	pg_add_identifier(&sql, to);
	if (libpq.PQsendQuery(swap->conn, str_text(&sql)) == 0)
		return pg_error(swap->conn, NULL, err, "cannot rename database '%s'", from);
	if (await_rename(swap, from, err) < 0)
		return -1;
	for (;;) {
		SCOPED(pg_result_freep) PGresult *result = NULL;

		if (pg_next_result(swap->conn, &result, err) < 0)
			return -1;
		if (result == NULL)
			break;
		if (libpq.PQresultStatus(result) == PGRES_COMMAND_OK)
			continue;
		(void)pg_error(swap->conn, result, &failure, "cannot rename database '%s'", from);
		has_failed = true;
	}
	if (has_failed)
		*err = failure;

	return has_failed ? -1 : 0;
}

static int
rename_database(struct swap *swap, const char *from, const char *to, struct err *err)
{
	for (int attempt = 1;; attempt++) {
		if (pg_execute(swap->conn, "SAVEPOINT blackstart_rename", err) < 0)
			return -1;
		if (rename_once(swap, from, to, err) == 0)
			return pg_execute(swap->conn, "RELEASE blackstart_rename", err);
		if (attempt == ATTEMPTS || err->kind != ERR_PEER)
			return -1;
		if (pg_execute(swap->conn, "ROLLBACK TO blackstart_rename", err) < 0)
			return -1;
	}
}

static int
swap_inside(struct swap *swap, struct err *err)
{
	if (pg_execute(swap->conn, "BEGIN", err) < 0)
		return -1;
	if (swap->has_live && rename_database(swap, swap->live, swap->broken, err) < 0)
		return -1;
	if (rename_database(swap, swap->name, swap->live, err) < 0 ||
	    traits_apply(swap->conn, swap->live, swap->traits, &swap->remarks, err) < 0 ||
	    target_comment(swap->conn, swap->live, swap->comment, err) < 0)
		return -1;
	if (pg_execute(swap->conn, "COMMIT", err) == 0)
		return 0;

	return err->kind == ERR_NET
	    ? err_hint(err,
		  "The connection broke at the last moment: run the same command again. "
		  "If it finds no '%s', the swap has been made.",
		  swap->name)
	    : -1;
}

/* ---- what is told ---------------------------------------------------------------------------------------- */

static void
tell(const struct swap *swap, struct restore_report *report)
{
	report->target = xasprintf("database '%s' on %s:%u", swap->live, swap->pg->host,
	    swap->pg->port);
	vec_push(&report->notes, xasprintf("'%s' is now '%s'", swap->name, swap->live));
	if (swap->sessions > 0)
		vec_push(&report->notes, xasprintf("%u sessions were ended", swap->sessions));
	for (size_t i = 0; i < swap->remarks.texts.count; i++)
		vec_push(&report->warnings, xstrdup(swap->remarks.texts.items[i]));
	if (!swap->has_live) {
		vec_push(&report->notes,
		    xasprintf("there was no database '%s' to keep", swap->live));
		return;
	}
	vec_push(&report->notes,
	    xasprintf("what '%s' was is kept as '%s'", swap->live, swap->broken));
	vec_push(&report->notes,
	    xstrdup("its owner, connection limit, settings and rights were given to "
		    "the new one"));
	report->next = xasprintf("when it is no longer needed: DROP DATABASE \"%s\";",
	    swap->broken);
}

static void
tell_plan(const struct swap *swap, struct restore_report *report)
{
	SCOPED(freep) char *from = target_word(swap->name);
	SCOPED(freep) char *to = target_word(swap->live);

	report->target = xasprintf("database '%s' on %s:%u", swap->live, swap->pg->host,
	    swap->pg->port);
	if (swap->has_live)
		vec_push(&report->notes,
		    xasprintf("would end all sessions in '%s' and '%s' and rename '%s' "
			      "to '%s'",
			swap->live, swap->name, swap->live, swap->broken));
	vec_push(&report->notes, xasprintf("would rename '%s' to '%s'", swap->name, swap->live));
	report->next = xasprintf("blackstart promote %s --confirm=%s", from, to);
}

/* The live name is typed by the operator; what it must be is known only from the new name. */
static int
check_confirm(const struct promote_request *request, struct err *err)
{
	static const char mark[] = "_restored_";
	const char *end = strstr(request->name, mark);

	if (request->confirm == NULL || request->confirm[0] == '\0') {
		(void)err_set(err, ERR_REFUSED,
		    "promote replaces a live database and must be confirmed");
		return err_hint(err,
		    "Type the name it takes the place of: blackstart promote %s "
		    "--confirm=%.*s",
		    request->name, end != NULL ? (int)(end - request->name) : 4,
		    end != NULL ? request->name : "NAME");
	}
	if (strcmp(request->confirm, request->name) == 0)
		return err_set(err, ERR_REFUSED, "'%s' cannot take its own place", request->name);

	return 0;
}

int
pg_promote(struct postgres *pg, const struct promote_request *request,
    struct restore_report *report, struct err *err)
{
	SCOPED(swap_done)
	struct swap swap = {
		.pg = pg,
		.name = request->name,
		.live = request->confirm,
	};

	if (check_confirm(request, err) < 0 || prepare(&swap, err) < 0)
		return -1;
	if (request->is_dry_run) {
		tell_plan(&swap, report);
		return 0;
	}
	if (swap_inside(&swap, err) < 0)
		return err_wrap(err, "promote '%s'", request->name);
	tell(&swap, report);

	return 0;
}
