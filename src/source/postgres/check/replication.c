#include <errno.h>
#include <poll.h>

#include "base/clock.h"
#include "base/err.h"
#include "os/stop.h"
#include "source/postgres/check/check_internal.h"

enum {
	VERSION_BLACKHOLE = 150000,
	BASE_BACKUP_MAX_MS = 60 * 1000,
};

/* Wait for more of an answer; *ret_is_late when the time is over. */
static int
wait_for_more(PGconn *conn, struct mono_time began, bool *ret_is_late, struct err *err)
{
	int64_t left_ms = BASE_BACKUP_MAX_MS - clock_elapsed_us(began) / US_PER_MS;
	struct pollfd fds[] = {
		{ .fd = libpq.PQsocket(conn), .events = POLLIN },
		{ .fd = stop_fd(), .events = POLLIN },
	};

	*ret_is_late = left_ms <= 0;
	if (*ret_is_late)
		return 0;
	if (poll(fds, 2, (int)left_ms) < 0 && errno != EINTR)
		return err_sys(err, "cannot wait for the server");
	if (libpq.PQconsumeInput(conn) == 0)
		return pg_error(conn, NULL, err, "the connection broke");

	return stop_check(err);
}

/* Take all progress messages that have arrived.  0: more to come, 1: the copy has ended. */
static int
drain_copy(PGconn *conn)
{
	char *data;
	int size;

	while ((size = libpq.PQgetCopyData(conn, &data, 1)) > 0)
		libpq.PQfreemem(data);

	return size < 0 ? 1 : 0;
}

/* Everything a base backup does, but the server throws the bytes away. */
static int
run_blackhole(PGconn *conn, bool *ret_is_late, struct err *err)
{
	struct mono_time began = clock_mono();
	bool is_copying = false;

	if (libpq.PQsendQuery(conn,
		"BASE_BACKUP (LABEL 'blackstart check', CHECKPOINT 'fast', WAIT 0, "
		"TARGET 'blackhole')") == 0)
		return pg_error(conn, NULL, err, "cannot ask for a base backup");
	for (;;) {
		PGresult *result;

		if (is_copying)
			is_copying = drain_copy(conn) == 0;
		if (is_copying || libpq.PQisBusy(conn) != 0) {
			if (wait_for_more(conn, began, ret_is_late, err) < 0)
				return -1;
			if (*ret_is_late)
				return 0;
			continue;
		}
		result = libpq.PQgetResult(conn);
		if (result == NULL)
			return 0;
		is_copying = libpq.PQresultStatus(result) == PGRES_COPY_OUT;
		if (libpq.PQresultStatus(result) == PGRES_FATAL_ERROR) {
			(void)pg_error(conn, result, err, "base backup");
			pg_clear(result);
			return -1;
		}
		pg_clear(result);
	}
}

static int
check_blackhole(struct checking *checking, PGconn *conn, struct err *err)
{
	struct err failure = ERR_INIT;
	struct mono_time began = clock_mono();
	char duration[CLOCK_TEXT_SIZE];
	bool is_late = false;

	if (checking->version < VERSION_BLACKHOLE) {
		check_report_add(checking->report, CHECK_NOTE, "base_backup", NULL,
		    "a trial without storing anything needs PostgreSQL 15 or newer");
		return 0;
	}
	if (run_blackhole(conn, &is_late, &failure) < 0) {
		*err = failure;
		if (failure.kind == ERR_CANCELLED)
			return -1;
		check_report_add(checking->report, CHECK_FAILED, "base_backup",
		    failure.kind == ERR_DATA
			? "Pages are damaged on the server's disk: see its log, and back up what can be read."
			: failure.hint[0] != '\0' ? failure.hint
						  : "See the server's log.",
		    "%s", failure.msg);
		return 0;
	}
	if (is_late)
		pg_cancel(conn);
	if (is_late)
		check_report_add(checking->report, CHECK_OK, "base_backup", NULL,
		    "the server reads its files for a base backup (ended by us after %d s)",
		    BASE_BACKUP_MAX_MS / 1000);
	else
		check_report_add(checking->report, CHECK_OK, "base_backup", NULL,
		    "a trial base backup read every file in %s",
		    clock_format_duration(clock_elapsed_us(began), duration));

	return 0;
}

int
check_replication(struct checking *checking, struct err *err)
{
	struct err failure = ERR_INIT;

	if (!checking->has_replication)
		return 0;
	SCOPED(pg_conn_freep)
	PGconn *conn = pg_connect(checking->pg, NULL, PG_REPLICATION, &failure);
	SCOPED(pg_result_freep)
	PGresult *result = conn != NULL ? pg_query(conn, "IDENTIFY_SYSTEM", &failure) : NULL;
	if (result == NULL) {
		*err = failure;
		if (failure.kind == ERR_CANCELLED)
			return -1;
		check_report_add(checking->report, CHECK_FAILED, "replication",
		    failure.hint[0] != '\0' ? failure.hint : NULL, "%s", failure.msg);
		return 0;
	}
	check_report_add(checking->report, CHECK_OK, "replication", NULL,
	    "system identifier %s, timeline %s", libpq.PQgetvalue(result, 0, 0),
	    libpq.PQgetvalue(result, 0, 1));

	return check_blackhole(checking, conn, err);
}
