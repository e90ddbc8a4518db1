#include "catalog/catalog_piece.h"

#include <inttypes.h>

#include "base/err.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "catalog/sql_internal.h"

/* In the order of bind_piece and read_piece; the brief ones are all that a span is made of. */
#define BRIEF_COLUMNS "branch, number, state, stored_bytes, end_position, first_time, last_time"
#define PIECE_COLUMNS BRIEF_COLUMNS ", is_stored_plain, modified, commits, message"

/* ---- writing ---- */

static void
bind_piece(struct sql_statement *statement, const char *source, const struct piece_row *piece)
{
	struct sql_binder to = { .statement = statement };

	sql_bind_text(&to, source);
	sql_bind_int(&to, piece->branch);
	sql_bind_bytes(&to, piece->number);
	sql_bind_int(&to, piece->state);
	sql_bind_bytes(&to, piece->stored_bytes);
	sql_bind_bytes(&to, piece->end_position);
	sql_bind_time(&to, piece->first_time);
	sql_bind_time(&to, piece->last_time);
	sql_bind_int(&to, piece->is_stored_plain ? 1 : 0);
	sql_bind_time(&to, piece->modified);
	sql_bind_bytes(&to, piece->commits);
	sql_bind_text(&to, piece->message);
}

static void
bind_key(struct sql_statement *statement, const char *source, uint32_t branch, uint64_t number)
{
	struct sql_binder to = { .statement = statement };

	sql_bind_text(&to, source);
	sql_bind_int(&to, branch);
	sql_bind_bytes(&to, number);
}

/* Run a statement that was bound, and make it ready for the next row. */
static int
run_again(struct catalog *catalog, struct sql_statement *statement, const char *doing,
    struct err *err)
{
	int result = sql_run(catalog, statement, doing, err);

	(void)sqlite3_reset(statement->handle);

	return result;
}

int
catalog_piece_put(struct catalog *catalog, const char *source, const struct piece_row *pieces,
    size_t count, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *put = sql_prepare(catalog,
	    "INSERT OR REPLACE INTO piece (source, " PIECE_COLUMNS ") VALUES"
	    " (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	    err);
	SCOPED(sql_releasep)
	struct sql_statement *unmark = put == NULL
	    ? NULL
	    : sql_prepare(catalog,
		  "DELETE FROM mark WHERE source = ? AND branch = ?"
		  " AND number = ?",
		  err);

	if (unmark == NULL)
		return -1;
	for (size_t i = 0; i < count; i++) {
		bind_piece(put, source, &pieces[i]);
		bind_key(unmark, source, pieces[i].branch, pieces[i].number);
		if (run_again(catalog, put, "index a piece", err) < 0 ||
		    run_again(catalog, unmark, "index a piece", err) < 0)
			return -1;
	}

	return 0;
}

int
catalog_piece_put_marks(struct catalog *catalog, const char *source, const struct mark_row *marks,
    size_t count, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "INSERT OR REPLACE INTO mark (source, branch, number, position, time, name)"
	    " VALUES (?, ?, ?, ?, ?, ?)",
	    err);

	if (statement == NULL)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct sql_binder to = { .statement = statement };

		sql_bind_text(&to, source);
		sql_bind_int(&to, marks[i].branch);
		sql_bind_bytes(&to, marks[i].number);
		sql_bind_bytes(&to, marks[i].position);
		sql_bind_time(&to, marks[i].time);
		sql_bind_text(&to, marks[i].name);
		if (run_again(catalog, statement, "index a mark", err) < 0)
			return -1;
	}

	return 0;
}

int
catalog_piece_remove(struct catalog *catalog, const char *source, uint32_t branch, uint64_t number,
    struct err *err)
{
	static const char *const texts[] = {
		"DELETE FROM mark WHERE source = ? AND branch = ? AND number = ?",
		"DELETE FROM piece WHERE source = ? AND branch = ? AND number = ?",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		SCOPED(sql_releasep)
		struct sql_statement *statement = sql_prepare(catalog, texts[i], err);

		if (statement == NULL)
			return -1;
		bind_key(statement, source, branch, number);
		if (sql_run(catalog, statement, "forget a piece", err) < 0)
			return -1;
	}

	return 0;
}

int
catalog_piece_clear(struct catalog *catalog, const char *source, struct err *err)
{
	static const char *const texts[] = {
		"DELETE FROM mark WHERE source = ?",
		"DELETE FROM piece WHERE source = ?",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		SCOPED(sql_releasep)
		struct sql_statement *statement = sql_prepare(catalog, texts[i], err);
		struct sql_binder to = { .statement = statement };

		if (statement == NULL)
			return -1;
		sql_bind_text(&to, source);
		if (sql_run(catalog, statement, "forget the pieces", err) < 0)
			return -1;
	}

	return 0;
}

/* ---- reading ---- */

/* The text is the statement's until its next step. */
static const char *
borrow_text(struct sql_reader *from)
{
	return (const char *)sqlite3_column_text(from->statement->handle, from->at++);
}

static void
read_piece(struct sql_statement *statement, bool is_brief, struct piece_row *piece)
{
	struct sql_reader from = { .statement = statement };

	piece->branch = (uint32_t)sql_read_int(&from);
	piece->number = sql_read_bytes(&from);
	piece->state = (int)sql_read_int(&from);
	piece->stored_bytes = sql_read_bytes(&from);
	piece->end_position = sql_read_bytes(&from);
	piece->first_time = sql_read_time(&from);
	piece->last_time = sql_read_time(&from);
	if (is_brief)
		return;
	piece->is_stored_plain = sql_read_int(&from) != 0;
	piece->modified = sql_read_time(&from);
	piece->commits = sql_read_bytes(&from);
	piece->message = borrow_text(&from);
}

int
catalog_piece_each(struct catalog *catalog, const char *source, const struct piece_filter *filter,
    struct piece_viewer *viewer, struct err *err)
{
	SCOPED(freep)
	char *text = xasprintf("SELECT %s FROM piece WHERE source = ?%s ORDER BY branch, number",
	    filter->is_brief ? BRIEF_COLUMNS : PIECE_COLUMNS,
	    filter->branch != 0 ? " AND branch = ? AND number >= ? AND number <= ?" : "");
	SCOPED(sql_releasep) struct sql_statement *statement = sql_prepare(catalog, text, err);
	struct sql_binder to = { .statement = statement };
	struct piece_row piece = { .branch = 0 };
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, source);
	if (filter->branch != 0) {
		sql_bind_int(&to, filter->branch);
		sql_bind_bytes(&to, filter->first);
		sql_bind_bytes(&to, filter->last);
	}
	while ((got = sql_step(catalog, statement, "read the index of pieces", err)) > 0) {
		read_piece(statement, filter->is_brief, &piece);
		viewer->see(viewer, &piece);
	}

	return got;
}

int
catalog_piece_each_mark(struct catalog *catalog, const char *source, const char *name,
    struct mark_viewer *viewer, struct err *err)
{
	SCOPED(sql_releasep)
	struct sql_statement *statement = sql_prepare(catalog,
	    "SELECT branch, number, position, time, name FROM mark"
	    " WHERE source = ?1 AND (?2 IS NULL OR name = ?2) ORDER BY time, branch, position",
	    err);
	struct sql_binder to = { .statement = statement };
	int got;

	if (statement == NULL)
		return -1;
	sql_bind_text(&to, source);
	sql_bind_text(&to, name);
	while ((got = sql_step(catalog, statement, "read the index of marks", err)) > 0) {
		struct sql_reader from = { .statement = statement };
		const struct mark_row mark = {
			.branch = (uint32_t)sql_read_int(&from),
			.number = sql_read_bytes(&from),
			.position = sql_read_bytes(&from),
			.time = sql_read_time(&from),
			.name = borrow_text(&from),
		};

		viewer->see(viewer, &mark);
	}

	return got;
}
