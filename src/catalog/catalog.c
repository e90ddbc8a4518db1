#include "catalog/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/sql_internal.h"
#include "os/file.h"

#define ASIDE_MARK ".damaged-"

enum {
	FOLDER_MAX_ENTRIES = 100 * 1000,
	APPLICATION_ID = 0x62736374, /* "bsct": tells our file from another program's */
	BUSY_TIMEOUT_MS = 10 * 1000,
	ASIDE_MAX_ATTEMPTS = 100,
};

/*
 * The schema, one step for each version; a step that was ever released is never changed.  Times
 * are UTC microseconds since 1970, 0 for none.
 *
 * The partial indexes answer what `status` asks for each job without touching a row that is not
 * shown; the others give run lists their order.
 */
static const char *const migrations[] = {
	"CREATE TABLE run ("
	"  seq INTEGER PRIMARY KEY,"
	"  id TEXT NOT NULL UNIQUE,"
	"  job TEXT NOT NULL,"
	"  source TEXT NOT NULL,"
	"  verb TEXT NOT NULL,"
	"  state TEXT NOT NULL,"
	"  started INTEGER NOT NULL,"
	"  finished INTEGER NOT NULL,"
	"  backup_id TEXT,"
	"  source_bytes INTEGER NOT NULL,"
	"  stored_bytes INTEGER NOT NULL,"
	"  message TEXT,"
	"  hint TEXT,"
	"  log_path TEXT,"
	"  lock_path TEXT"
	");"
	"CREATE INDEX run_by_started ON run (started);"
	"CREATE INDEX run_by_job ON run (job, started);"
	"CREATE INDEX run_by_job_verb_state ON run (job, verb, state, started);"
	"CREATE INDEX run_by_source ON run (source, started);"
	"CREATE INDEX run_by_state ON run (state, started);"
	"CREATE INDEX run_by_verb ON run (verb, started);"
	"CREATE INDEX run_by_verb_job ON run (verb, job, started);"
	"CREATE INDEX run_backup_finished ON run (job)"
	"  WHERE verb = 'backup' AND state <> 'running';"
	"CREATE INDEX run_backup_good ON run (job)"
	"  WHERE verb = 'backup' AND state IN ('ok', 'warning');"
	"CREATE INDEX run_backup_running ON run (job)"
	"  WHERE verb = 'backup' AND state = 'running';"
	"CREATE TABLE backup ("
	"  id TEXT PRIMARY KEY NOT NULL,"
	"  job TEXT,"
	"  source TEXT,"
	"  source_type TEXT,"
	"  kind TEXT,"
	"  manifest_name TEXT NOT NULL,"
	"  manifest_bytes INTEGER NOT NULL,"
	"  manifest_modified INTEGER NOT NULL,"
	"  identity TEXT,"
	"  version TEXT,"
	"  started INTEGER NOT NULL,"
	"  finished INTEGER NOT NULL,"
	"  consistent_at INTEGER NOT NULL,"
	"  content_bytes INTEGER NOT NULL,"
	"  stored_bytes INTEGER NOT NULL,"
	"  warnings_count INTEGER NOT NULL,"
	"  is_unproven INTEGER NOT NULL,"
	"  is_damaged INTEGER NOT NULL,"
	"  is_pinned INTEGER NOT NULL,"
	"  pin_reason TEXT,"
	"  level INTEGER NOT NULL,"
	"  level_at INTEGER NOT NULL,"
	"  checked_at INTEGER NOT NULL,"
	"  check_message TEXT"
	");"
	"CREATE INDEX backup_by_consistent_at ON backup (consistent_at);"
	"CREATE INDEX backup_by_job ON backup (job, consistent_at);"
	"CREATE INDEX backup_by_source ON backup (source, consistent_at);",

	/* Pieces of continuous streams; read in the order of their key, a million at a time. */
	"CREATE TABLE piece ("
	"  source TEXT NOT NULL,"
	"  branch INTEGER NOT NULL,"
	"  number INTEGER NOT NULL,"
	"  state INTEGER NOT NULL,"
	"  is_stored_plain INTEGER NOT NULL,"
	"  stored_bytes INTEGER NOT NULL,"
	"  modified INTEGER NOT NULL,"
	"  end_position INTEGER NOT NULL,"
	"  commits INTEGER NOT NULL,"
	"  first_time INTEGER NOT NULL,"
	"  last_time INTEGER NOT NULL,"
	"  message TEXT,"
	"  PRIMARY KEY (source, branch, number)"
	") WITHOUT ROWID;"
	"CREATE TABLE mark ("
	"  source TEXT NOT NULL,"
	"  branch INTEGER NOT NULL,"
	"  number INTEGER NOT NULL,"
	"  position INTEGER NOT NULL,"
	"  time INTEGER NOT NULL,"
	"  name TEXT NOT NULL,"
	"  PRIMARY KEY (source, branch, number, position)"
	") WITHOUT ROWID;",

	/*
	 * Alarms, what was done about them and by whom, the messages on their way, and what the
	 * watch has to remember.  An id of a message is never used again: it is in Message-IDs.
	 */
	"CREATE TABLE alarm ("
	"  rule TEXT NOT NULL,"
	"  subject TEXT NOT NULL,"
	"  severity INTEGER NOT NULL,"
	"  peak INTEGER NOT NULL,"
	"  since INTEGER NOT NULL,"
	"  raised_at INTEGER NOT NULL,"
	"  changed_at INTEGER NOT NULL,"
	"  cleared_at INTEGER NOT NULL,"
	"  told_at INTEGER NOT NULL,"
	"  is_acknowledged INTEGER NOT NULL,"
	"  shelved_until INTEGER NOT NULL,"
	"  text TEXT,"
	"  cause TEXT,"
	"  next_command TEXT,"
	"  PRIMARY KEY (rule, subject)"
	") WITHOUT ROWID;"
	"CREATE TABLE alarm_change ("
	"  seq INTEGER PRIMARY KEY,"
	"  rule TEXT NOT NULL,"
	"  subject TEXT NOT NULL,"
	"  at INTEGER NOT NULL,"
	"  event TEXT NOT NULL,"
	"  severity INTEGER NOT NULL,"
	"  who TEXT,"
	"  why TEXT"
	");"
	"CREATE INDEX alarm_change_by_alarm ON alarm_change (rule, subject, seq);"
	"CREATE TABLE outbox ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  channel TEXT NOT NULL,"
	"  event TEXT NOT NULL,"
	"  rule TEXT,"
	"  subject TEXT,"
	"  severity INTEGER NOT NULL,"
	"  since INTEGER NOT NULL,"
	"  raised_at INTEGER NOT NULL,"
	"  at INTEGER NOT NULL,"
	"  text TEXT,"
	"  cause TEXT,"
	"  next_command TEXT,"
	"  criticals_count INTEGER NOT NULL,"
	"  warnings_count INTEGER NOT NULL,"
	"  attempts INTEGER NOT NULL,"
	"  due_at INTEGER NOT NULL,"
	"  expires_at INTEGER NOT NULL,"
	"  done_at INTEGER NOT NULL,"
	"  is_given_up INTEGER NOT NULL,"
	"  failure TEXT"
	");"
	"CREATE INDEX outbox_waiting ON outbox (due_at) WHERE done_at = 0;"
	"CREATE INDEX outbox_done ON outbox (done_at);"
	"CREATE TABLE channel ("
	"  name TEXT PRIMARY KEY NOT NULL,"
	"  failures_in_a_row INTEGER NOT NULL,"
	"  failing_since INTEGER NOT NULL,"
	"  failures_total INTEGER NOT NULL,"
	"  sent_total INTEGER NOT NULL,"
	"  sent_at INTEGER NOT NULL,"
	"  failure TEXT"
	") WITHOUT ROWID;"
	"CREATE TABLE space_sample ("
	"  at INTEGER PRIMARY KEY,"
	"  used_bytes INTEGER NOT NULL,"
	"  capacity_bytes INTEGER NOT NULL"
	");"
	"CREATE TABLE watch_mark ("
	"  name TEXT PRIMARY KEY NOT NULL,"
	"  at INTEGER NOT NULL,"
	"  value TEXT"
	") WITHOUT ROWID;",

	/* Who did what through the page. */
	"CREATE TABLE audit ("
	"  seq INTEGER PRIMARY KEY,"
	"  at INTEGER NOT NULL,"
	"  who TEXT NOT NULL,"
	"  action TEXT NOT NULL,"
	"  subject TEXT,"
	"  detail TEXT"
	");",

	/*
	 * The schedule.  A run knows for which due time it was begun (0: none) and at which attempt;
	 * attempt 0 is a note about due times that became no run, from due to due_last.  The index
	 * is the last word on "none twice".
	 */
	"ALTER TABLE run ADD COLUMN due INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN due_last INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN due_count INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0;"
	"CREATE UNIQUE INDEX run_by_due ON run (job, due, attempt) WHERE due <> 0;"
	"CREATE TABLE schedule ("
	"  job TEXT PRIMARY KEY NOT NULL,"
	"  times TEXT NOT NULL,"
	"  begun INTEGER NOT NULL,"
	"  considered INTEGER NOT NULL,"
	"  due INTEGER NOT NULL,"
	"  is_begun INTEGER NOT NULL,"
	"  attempt INTEGER NOT NULL,"
	"  not_before INTEGER NOT NULL,"
	"  settled_due INTEGER NOT NULL,"
	"  is_settled_good INTEGER NOT NULL,"
	"  recorded INTEGER NOT NULL"
	") WITHOUT ROWID;"
	"CREATE TABLE maintenance ("
	"  seq INTEGER PRIMARY KEY,"
	"  begins INTEGER NOT NULL,"
	"  until INTEGER NOT NULL,"
	"  who TEXT NOT NULL,"
	"  why TEXT"
	");",

	/* How the job of a continuous stream is connected, as it said last: struct link_state. */
	"CREATE TABLE link ("
	"  job TEXT PRIMARY KEY NOT NULL,"
	"  told INTEGER NOT NULL,"
	"  phase INTEGER NOT NULL,"
	"  since INTEGER NOT NULL,"
	"  next_try INTEGER NOT NULL,"
	"  behind_bytes INTEGER NOT NULL,"
	"  behind_us INTEGER NOT NULL,"
	"  why TEXT NOT NULL"
	") WITHOUT ROWID;",

	/* A failure that may pass by itself is tried again, also by a daemon that did not see it. */
	"ALTER TABLE run ADD COLUMN may_pass INTEGER NOT NULL DEFAULT 0;",
};

/* Make the file ourselves: SQLite would give it a mode by the umask, and its log copies that. */
static int
make_file(const char *path, struct err *err)
{
	SCOPED(closep)
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	SCOPED(freep) char *folder = NULL;
	const char *slash = strrchr(path, '/');

	if (fd < 0 && errno == EEXIST)
		return 0;
	if (fd < 0 || fchmod(fd, 0600) < 0)
		return err_sys(err, "cannot create catalog '%s'", path);
	if (slash == NULL)
		folder = xstrdup(".");
	else
		folder = slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));

	return dir_sync(folder, err);
}

/* The one number that a statement gives. */
static int
query_number(struct catalog *catalog, const char *sql, int64_t *ret_value, struct err *err)
{
	SCOPED(sql_releasep) struct sql_statement *statement = sql_prepare(catalog, sql, err);
	struct sql_reader reader = { .statement = statement };

	if (statement == NULL || sql_step(catalog, statement, "open the catalog", err) < 0)
		return -1;
	*ret_value = sql_read_int(&reader);

	return 0;
}

/*
 * A database that is not empty must carry our mark.  The mark is read last: it comes in one
 * transaction with the first table, which another process may be committing just now.
 */
static int
check_owner(struct catalog *catalog, struct err *err)
{
	int64_t application_id;
	int64_t tables;

	if (query_number(catalog, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0 ||
	    query_number(catalog, "PRAGMA application_id", &application_id, err) < 0)
		return -1;
	if (application_id == APPLICATION_ID || (application_id == 0 && tables == 0))
		return 0;
	(void)err_set(err, ERR_DATA,
	    "'%s' is not a catalog of blackstart, but another SQLite database", catalog->path);

	return err_hint(err, "Check 'state_dir' in the configuration, or move that file away.");
}

static int
check_version(const struct catalog *catalog, int64_t version, struct err *err)
{
	if (version >= 0 && version <= (int64_t)ARRAY_SIZE(migrations))
		return 0;
	(void)err_set(err, ERR_UNSUPPORTED,
	    "catalog '%s' has schema version %lld, this version of blackstart knows up to %zu",
	    catalog->path, (long long)version, ARRAY_SIZE(migrations));

	return err_hint(err,
	    "Use the newer blackstart, or move the file away and run 'blackstart catalog rebuild' (the history of runs is then lost, no backup is).");
}

/* One step, inside the caller's transaction. */
static int
migrate_step(struct catalog *catalog, int64_t version, struct err *err)
{
	char mark[96];

	(void)snprintf(mark, sizeof(mark), "PRAGMA application_id = %d; PRAGMA user_version = %lld",
	    APPLICATION_ID, (long long)version + 1);
	if (sql_execute(catalog, migrations[version], "bring the catalog to its newest schema",
		err) < 0)
		return -1;

	return sql_execute(catalog, mark, "bring the catalog to its newest schema", err);
}

/* Each step is a transaction; the version is read again inside, for another may have been first. */
static int
migrate(struct catalog *catalog, struct err *err)
{
	for (;;) {
		int64_t version;

		if (query_number(catalog, "PRAGMA user_version", &version, err) < 0 ||
		    check_version(catalog, version, err) < 0)
			return -1;
		if (version == (int64_t)ARRAY_SIZE(migrations))
			return 0;
		if (catalog_begin(catalog, err) < 0)
			return -1;
		if (query_number(catalog, "PRAGMA user_version", &version, err) < 0 ||
		    check_version(catalog, version, err) < 0 ||
		    (version < (int64_t)ARRAY_SIZE(migrations) &&
			migrate_step(catalog, version, err) < 0) ||
		    catalog_commit(catalog, err) < 0) {
			catalog_rollback(catalog);
			return -1;
		}
	}
}

/* Changing to WAL needs the file alone and does not wait by itself when others are opening it. */
static int
enter_wal_mode(struct catalog *catalog, struct err *err)
{
	struct mono_time began = clock_mono();

	for (;;) {
		if (sqlite3_exec(catalog->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) ==
		    SQLITE_OK)
			return 0;
		if ((sqlite3_errcode(catalog->db) & 0xff) != SQLITE_BUSY ||
		    clock_elapsed_us(began) > BUSY_TIMEOUT_MS * US_PER_MS)
			return sql_error(catalog, "open the catalog", err);
		(void)usleep(10 * 1000);
	}
}

struct catalog *
catalog_open(const char *path, struct err *err)
{
	SCOPED(catalog_closep) struct catalog *catalog = NULL;
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;

	if (make_file(path, err) < 0)
		return NULL;
	catalog = xcalloc(1, sizeof(*catalog));
	catalog->path = xstrdup(path);
	if (sqlite3_open_v2(path, &catalog->db, flags, NULL) != SQLITE_OK) {
		(void)sql_error(catalog, "open the catalog", err);
		return NULL;
	}
	(void)sqlite3_extended_result_codes(catalog->db, 1);
	(void)sqlite3_busy_timeout(catalog->db, BUSY_TIMEOUT_MS);
	if (check_owner(catalog, err) < 0 || enter_wal_mode(catalog, err) < 0 ||
	    sql_execute(catalog, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
		"open the catalog", err) < 0 ||
	    migrate(catalog, err) < 0)
		return NULL;

	return TAKE(catalog);
}

void
catalog_close(struct catalog *catalog)
{
	if (catalog == NULL)
		return;
	if (catalog->db != NULL) {
		catalog_rollback(catalog);
		sql_forget_all(catalog);
		(void)sqlite3_close_v2(catalog->db);
	}
	free(catalog->path);
	free(catalog);
}

int
catalog_begin(struct catalog *catalog, struct err *err)
{
	/* IMMEDIATE: to wait for the other writer here, not to be refused at the first write. */
	return sql_execute(catalog, "BEGIN IMMEDIATE", "begin to write", err);
}

int
catalog_commit(struct catalog *catalog, struct err *err)
{
	if (sqlite3_get_autocommit(catalog->db) != 0)
		return err_set(err, ERR_IO,
		    "catalog '%s' took the changes back after a failed write", catalog->path);

	return sql_execute(catalog, "COMMIT", "write", err);
}

void
catalog_rollback(struct catalog *catalog)
{
	if (sqlite3_get_autocommit(catalog->db) == 0)
		(void)sqlite3_exec(catalog->db, "ROLLBACK", NULL, NULL, NULL);
}

/* Rename without overwriting; 1: done or nothing there, 0: the new name is taken, -1: failed. */
static int
move_aside(const char *path, const char *suffix, const char *aside, struct err *err)
{
	SCOPED(freep) char *from = xasprintf("%s%s", path, suffix);
	SCOPED(freep) char *to = xasprintf("%s%s", aside, suffix);

	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0 || errno == ENOENT)
		return 1;
	if (errno == EEXIST)
		return 0;

	return err_sys(err, "cannot rename '%s' to '%s'", from, to);
}

int
catalog_set_aside(const char *path, char **ret_moved, struct err *err)
{
	static const char *const suffixes[] = { "-wal", "-shm", "" };
	char stamp[CLOCK_TEXT_SIZE];

	(void)clock_format_compact(clock_wall(), stamp);
	for (unsigned attempt = 0; attempt < ASIDE_MAX_ATTEMPTS; attempt++) {
		SCOPED(freep)
		char *aside = attempt == 0
		    ? xasprintf("%s" ASIDE_MARK "%s", path, stamp)
		    : xasprintf("%s" ASIDE_MARK "%s-%u", path, stamp, attempt);
		int moved = file_exists(aside) ? 0 : 1;

		for (size_t i = 0; i < ARRAY_SIZE(suffixes) && moved > 0; i++)
			moved = move_aside(path, suffixes[i], aside, err);
		if (moved < 0)
			return -1;
		if (moved > 0) {
			*ret_moved = TAKE(aside);
			return 0;
		}
	}

	return err_set(err, ERR_EXISTS, "cannot set '%s' aside: no free name for it", path);
}

char *
catalog_find_aside(const struct catalog *catalog)
{
	SCOPED(freep) char *folder = xstrdup(catalog->path);
	SCOPED(freep) char *prefix = NULL;
	SCOPED(dir_listing_done) struct dir_listing listing = { .count = 0 };
	struct err err = ERR_INIT;
	char *slash = strrchr(folder, '/');

	if (slash == NULL)
		return NULL;
	*slash = '\0';
	prefix = xasprintf("%s" ASIDE_MARK, slash + 1);
	if (dir_list(folder, FOLDER_MAX_ENTRIES, &listing, &err) < 0)
		return NULL;
	for (size_t i = listing.count; i > 0; i--) {
		const char *name = listing.names[i - 1];

		if (str_starts_with(name, prefix) && !str_ends_with(name, "-wal") &&
		    !str_ends_with(name, "-shm"))
			return path_join(folder, name);
	}

	return NULL;
}
