/* The replication slot: what makes the server keep WAL until we have it. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/postgres/lsn.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/wal/stream_internal.h"

enum { VERSION_READ_SLOT = 150000 };

/* Columns: slot_type, restart_lsn, restart_tli; all null when there is no such slot. */
static int
parse_slot(const PGresult *result, const char *name, struct wal_slot *ret_slot, struct err *err)
{
	struct wal_slot slot = { .exists = false };
	uint64_t timeline = 0;

	if (libpq.PQntuples(result) == 0 || libpq.PQgetisnull(result, 0, 0)) {
		*ret_slot = slot;
		return 0;
	}
	if (!str_equals(libpq.PQgetvalue(result, 0, 0), "physical")) {
		(void)err_set(err, ERR_REFUSED,
		    "the replication slot '%s' is a %s one, it cannot send plain WAL", name,
		    libpq.PQgetvalue(result, 0, 0));
		return err_hint(err, "Choose another name with the key 'slot' of the job.");
	}
	slot.exists = true;
	if (!libpq.PQgetisnull(result, 0, 1) &&
	    lsn_parse(libpq.PQgetvalue(result, 0, 1), &slot.restart_lsn, err) < 0)
		return -1;
	if (!libpq.PQgetisnull(result, 0, 2) &&
	    parse_u64(libpq.PQgetvalue(result, 0, 2), 0, UINT32_MAX, &timeline, err) < 0)
		return -1;
	slot.timeline = (uint32_t)timeline;
	slot.is_usable = slot.restart_lsn != 0;
	*ret_slot = slot;

	return 0;
}

/* Before 15 only SQL can tell. */
static int
read_by_sql(const struct wal_stream *stream, const char *name, struct wal_slot *ret_slot,
    struct err *err)
{
	const char *const params[] = { name };

	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(stream->pg, NULL, PG_SQL, err);
	if (conn == NULL)
		return -1;
	SCOPED(pg_result_freep)
	PGresult *result = pg_query_params(conn,
	    "SELECT slot_type, CASE WHEN wal_status <> 'lost' THEN restart_lsn END, NULL "
	    "FROM pg_replication_slots WHERE slot_name = $1",
	    params, 1, err);
	if (result == NULL)
		return -1;

	return parse_slot(result, name, ret_slot, err);
}

int
wal_slot_read(struct wal_stream *stream, const char *name, struct wal_slot *ret_slot,
    struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT;

	if (stream->server.version < VERSION_READ_SLOT)
		return read_by_sql(stream, name, ret_slot, err);
	str_add(&sql, "READ_REPLICATION_SLOT ");
	pg_add_identifier(&sql, name);
	SCOPED(pg_result_freep) PGresult *result = wal_stream_ask(stream, str_text(&sql), err);
	if (result == NULL)
		return -1;

	return parse_slot(result, name, ret_slot, err);
}

int
wal_slot_create(struct wal_stream *stream, const char *name, struct wal_slot *ret_slot,
    struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT;

	str_add(&sql, "CREATE_REPLICATION_SLOT ");
	pg_add_identifier(&sql, name);
	str_add(&sql, " PHYSICAL RESERVE_WAL");
	SCOPED(pg_result_freep) PGresult *result = wal_stream_ask(stream, str_text(&sql), err);
	/* 42710: somebody made it in the meantime; what it is, is read below. */
	if (result == NULL && strcmp(stream->sqlstate, "42710") != 0) {
		(void)err_wrap(err, "replication slot '%s'", name);
		if (strcmp(stream->sqlstate, "53400") == 0)
			return err_hint(err,
			    "ALTER SYSTEM SET max_replication_slots = 10; then restart the server.");
		if (strcmp(stream->sqlstate, "22023") == 0 ||
		    strcmp(stream->sqlstate, "42602") == 0)
			return err_hint(err,
			    "The name of a slot has small letters, digits and '_' only: set the key 'slot'.");
		return -1;
	}

	return wal_slot_read(stream, name, ret_slot, err);
}

int
wal_slot_drop(struct wal_stream *stream, const char *name, struct err *err)
{
	SCOPED(str_done) struct str sql = STR_INIT;

	str_add(&sql, "DROP_REPLICATION_SLOT ");
	pg_add_identifier(&sql, name);
	SCOPED(pg_result_freep) PGresult *result = wal_stream_ask(stream, str_text(&sql), err);
	if (result == NULL)
		return err_wrap(err, "replication slot '%s'", name);

	return 0;
}
