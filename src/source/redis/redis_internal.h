/* What the files of the Redis driver share: the driver object and conversations with a server. */
#ifndef SOURCE_REDIS_REDIS_INTERNAL_H
#define SOURCE_REDIS_REDIS_INTERNAL_H

#include <stdbool.h>

#include "base/scope.h"
#include "base/str.h"
#include "net/channel.h"
#include "source/redis/handshake.h"
#include "source/redis/redis.h"
#include "source/redis/resp.h"
#include "source/source.h"

struct err;
struct json_t;
struct manifest;
struct rdb_summary;
struct secret;

struct redis {
	struct source base;
	char *label;
	char *host;
	unsigned port;
	char *user;
	const struct secret *password; /* a loan */
	enum channel_security security;
	char *sslrootcert;
	char *sslcert;
	char *sslkey;
	char *scratch_user;
	bool prefers_replica;
	enum redis_transfer transfer;
	int64_t wait_us;
	char *aof_dir; /* the server's folder on this machine; NULL: as it says itself */
};

static inline struct redis *
redis_of(struct source *source)
{
	return (struct redis *)source;
}

enum { REDIS_ANSWER_MS = 30 * 1000 };

/* ---- conn.c: a conversation ------------------------------------------------------------------- */

struct redis_conn;

/* Connect and log in.  ERR_AUTH when the password or the user is refused. */
struct redis_conn *redis_conn_open(const struct redis *redis, struct err *err) MUST_CHECK;

/* The same, of a conversation that goes on when a stop is asked for: to put things back in order. */
struct redis_conn *redis_conn_open_steady(const struct redis *redis, struct err *err) MUST_CHECK;

void redis_conn_free(struct redis_conn *conn); /* NULL is ok */
SCOPED_FREE(struct redis_conn, redis_conn_free)

/* See channel_addresses. */
int redis_conn_addresses(const struct redis_conn *conn, char ret_own[CHANNEL_ADDRESS_SIZE],
    char ret_peer[CHANNEL_ADDRESS_SIZE], struct err *err) MUST_CHECK;

/*
 * Say a command (words end with NULL) and hear the reply, which is yours.  An error reply is an
 * error here, by its first word: ERR_AUTH for a missing right, ERR_BUSY for a server that loads
 * or has lost its master, ERR_UNSUPPORTED for an unknown command, else ERR_PEER.
 */
int redis_command(struct redis_conn *conn, const char *const *words, struct resp_value *ret_value,
    struct err *err) MUST_CHECK;

/* Only that it is done. */
int redis_execute(struct redis_conn *conn, const char *const *words, struct err *err) MUST_CHECK;

/* Without hearing the reply. */
int redis_say(struct redis_conn *conn, const char *const *words, struct err *err) MUST_CHECK;

/* Commands that resp_add_command has put together, in one piece; and the reply to one of them. */
int redis_say_text(struct redis_conn *conn, const struct str *text, struct err *err) MUST_CHECK;
int redis_answer(struct redis_conn *conn, struct resp_value *ret_value, struct err *err) MUST_CHECK;

/* The same, with an error reply as a value. */
int redis_reply(struct redis_conn *conn, struct resp_value *ret_value, struct err *err) MUST_CHECK;

/* The next line that is not empty, without its end: of a master that keeps the link alive. */
int redis_hear_line(struct redis_conn *conn, int timeout_ms, struct str *to, struct err *err)
    MUST_CHECK;

/* Bytes as they come: a loan until the next call; *ret_size 0 is the end. */
int redis_hear(struct redis_conn *conn, int timeout_ms, const void **ret_data, size_t *ret_size,
    struct err *err) MUST_CHECK;

/* The last `size` bytes heard are to be heard once more. */
void redis_unhear(struct redis_conn *conn, size_t size);

/* Fill err from the text of an error reply. */
int redis_refused(const char *text, struct err *err);

/* ---- info.c: what a server says of itself ------------------------------------------------------ */

/* All of INFO. */
int redis_info(struct redis_conn *conn, struct str *to, struct err *err) MUST_CHECK;

/* The value of a field: yours, NULL when it is not there. */
char *redis_info_get(const struct str *info, const char *field) MUST_CHECK;
uint64_t redis_info_number(const struct str *info, const char *field); /* 0: not there */

/* Keys of a numbered database, and how many of them expire: 0 and 0 when it has no such. */
int redis_info_database(const struct str *info, uint64_t index, uint64_t *ret_keys,
    uint64_t *ret_expires, struct err *err) MUST_CHECK;

/* Keys of all databases. */
int redis_info_keys(const struct str *info, uint64_t *ret_keys, struct err *err) MUST_CHECK;

/* Is the RDB file that BGSAVE began written.  ERR_PEER: it could not be. */
int redis_save_ended(struct redis_conn *conn, bool *ret_is_over, struct err *err) MUST_CHECK;

/* ERR_PEER with what to do, unless the field ("aof_last_write_status") is "ok" or not there. */
int redis_info_wrote(const struct str *info, const char *field, const char *what, struct err *err)
    MUST_CHECK;

/* How many Sentinels watch it: each listens to a channel of theirs on every server that it watches. */
int redis_sentinels(struct redis_conn *conn, int64_t *ret_count, struct err *err) MUST_CHECK;

/* "7.0.15", with the name of the family in *ret_family ("redis", "valkey"); yours. */
char *redis_info_version(const struct str *info, const char **ret_family) MUST_CHECK;

/* CONFIG GET of one name; yours.  NULL with err set: not allowed; "" when there is no such. */
char *redis_setting(struct redis_conn *conn, const char *name, struct err *err) MUST_CHECK;

/*
 * The server's clock less ours, by TIME: half of the way there and back is taken off, and of several
 * probes the one that took least time counts.
 */
int redis_clock_skew(struct redis_conn *conn, int64_t *ret_skew_us, struct err *err) MUST_CHECK;

/*
 * Settings, users, modules and server as JSON, with no secret in it.  What may not be asked is
 * left out, and the last reason is in *ret_missing (ERR_NONE: all is there).
 */
struct json_t *redis_surroundings(struct redis_conn *conn, const struct str *info,
    struct err *ret_missing) MUST_CHECK;

/*
 * A file that comes in the middle of a stream: the `attached` of a backup request.  The server has
 * answered on `conn`, and the file is next there; afterwards the stream.
 */
struct redis_attachment {
	struct redis_conn *conn;
	struct replication_answer answer;
	unsigned stream_db; /* out: the database in force where the stream begins */
};

/* ---- the verbs ---------------------------------------------------------------------------------- */

int redis_backup(struct redis *redis, const struct backup_request *request, struct intake *intake,
    struct manifest *draft, struct err *err) MUST_CHECK;
int redis_verify(struct redis *redis, const struct backup_view *view,
    const struct verify_request *request, struct verify_report *report, struct err *err) MUST_CHECK;
int redis_check(struct redis *redis, struct check_report *report, struct err *err) MUST_CHECK;
char *redis_setup_acl(const struct redis *redis) MUST_CHECK;
int redis_plan(struct redis *redis, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err) MUST_CHECK;
int redis_restore(struct redis *redis, const struct backup_view *view,
    const struct restore_request *request, struct restore_report *report, struct err *err)
    MUST_CHECK;

/* ---- content.c: what the manifest says ------------------------------------------------------------ */

/* The counts of a file into the manifest's content. */
void redis_content_add(struct json_t *content, const struct rdb_summary *summary);

/* ERR_MISMATCH names the first count that differs. */
int redis_content_compare(const struct json_t *content, const struct rdb_summary *summary,
    struct err *err) MUST_CHECK;

/*
 * A server that has just loaded it, by its INFO: keys of each database, and unless all were made
 * to stay those that expire.  ERR_MISMATCH.
 */
int redis_content_compare_live(const struct rdb_summary *summary, const struct str *info,
    bool has_expires, struct err *err) MUST_CHECK;

/* "the data of a redis 7.0.15 server, 12 keys"; yours. */
char *redis_content_title(const struct manifest *manifest) MUST_CHECK;

/* The RDB file among the manifest's files; NULL with err set: there is none. */
const struct manifest_file *redis_content_file(const struct manifest *manifest, struct err *err);

/* ---- trial.c: a server of our own ------------------------------------------------------------------ */

/*
 * Start a server in `work_dir`, which holds dump.rdb, and compare what it has loaded with the
 * counts of the file: keys and expiring keys of each database (level 2), keys by type (level 3).
 */
int redis_trial(const struct redis *redis, const char *work_dir, const struct rdb_summary *summary,
    const struct verify_request *request, struct verify_report *report, struct err *err) MUST_CHECK;

/* An AOF in parts, where a server is to load it. */
struct redis_aof_place {
	const char *dir;         /* the server's folder */
	const char *folder_name; /* appenddirname, in it */
	const char *file_name;   /* appendfilename */
	const char *dump_name;   /* what it is to write */
	unsigned rdb_version;    /* and no newer than this */
	bool is_valkey;
};

/*
 * Let a server of our own load it and write an RDB file of that state beside it.  *ret_program is
 * what did it, yours.  ERR_UNSUPPORTED: this machine has no server that can.
 */
int redis_trial_dump(const struct redis *redis, const struct redis_aof_place *place,
    struct progress *progress, char **ret_program, struct err *err) MUST_CHECK;

/* Stop the servers that run in a scratch folder whose run is dead. */
int redis_trial_sweep(const char *work_dir, struct err *err) MUST_CHECK;

/* Processes of a Redis server that work in `folder`, at most one is named; 0: none. */
int redis_server_in(const char *folder, unsigned *ret_pid, bool *ret_is_blind, struct err *err)
    MUST_CHECK;

#endif
