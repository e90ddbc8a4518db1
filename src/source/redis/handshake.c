#include "source/redis/handshake.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/redis/redis_internal.h"
#include "source/redis/sync_frame.h"

int
replication_place_parse(const char *text, struct replication_place *ret_place, struct err *err)
{
	struct replication_place place;
	const char *blank = text != NULL ? strchr(text, ' ') : NULL;

	if (blank == NULL || blank - text != REPLICATION_ID_SIZE - 1 ||
	    parse_u64(blank + 1, 0, INT64_MAX, &place.offset, err) < 0)
		return err_set(err, ERR_DATA, "'%.80s' is no place in a replication stream",
		    text != NULL ? text : "");
	memcpy(place.id, text, REPLICATION_ID_SIZE - 1);
	place.id[REPLICATION_ID_SIZE - 1] = '\0';
	*ret_place = place;

	return 0;
}

/* A word that the server need not know. */
static int
offer(struct redis_conn *conn, const char *const *words, struct err *err)
{
	struct err refusal = ERR_INIT;

	if (redis_execute(conn, words, &refusal) == 0 || refusal.kind == ERR_PEER)
		return 0;
	*err = refusal;

	return -1;
}

static int
no_replication(struct err *err)
{
	if (err->kind == ERR_AUTH)
		return err_hint(err,
		    "'blackstart check --sql' prints the ACL rule that lets a user read a copy of the data.");
	if (err->kind == ERR_UNSUPPORTED)
		return err_hint(err,
		    "Take rename-command for PSYNC out of its configuration; a managed service that hides it has an export of its own.");

	return -1;
}

/* Without "eof" a server has no way to mark an end that it does not know in advance. */
static int
tell_abilities(struct redis_conn *conn, bool wants_disk, struct err *err)
{
	const char *const all[] = { "REPLCONF", "capa", "eof", "capa", "psync2", NULL };
	const char *const without_marks[] = { "REPLCONF", "capa", "psync2", NULL };

	return redis_execute(conn, wants_disk ? without_marks : all, err);
}

int
redis_introduce(struct redis_conn *conn, const struct introduction *introduction, struct err *err)
{
	const char *const address[] = { "REPLCONF", "ip-address", "backup-agent", NULL };
	const char *const file_only[] = { "REPLCONF", "rdb-only", "1", NULL };
	const char *const version[] = { "REPLCONF", "version", introduction->version, NULL };

	if (offer(conn, address, err) < 0 ||
	    tell_abilities(conn, introduction->wants_disk, err) < 0 ||
	    (introduction->is_for_file && offer(conn, file_only, err) < 0))
		return no_replication(err);
	if (!str_equals(introduction->family, "valkey"))
		return 0;

	return offer(conn, version, err);
}

static int
read_answer(const char *line, const struct replication_place *asked,
    struct replication_answer *answer, struct err *err)
{
	static const char full[] = "+FULLRESYNC ";
	static const char go_on[] = "+CONTINUE";

	if (line[0] == '-') {
		(void)redis_refused(line + 1, err);
		(void)err_wrap(err, "PSYNC");
		return no_replication(err);
	}
	if (str_starts_with(line, full)) {
		answer->is_full = true;
		return replication_place_parse(line + sizeof(full) - 1, &answer->place, err);
	}
	if (asked == NULL || !str_starts_with(line, go_on))
		return err_set(err, ERR_DATA, "PSYNC: '%.60s' is no answer to it", line);
	answer->is_full = false;
	answer->place = *asked;
	line += sizeof(go_on) - 1;
	/* Since 4.0 with the id under which it goes on, which differs after a failover. */
	if (strlen(line) == REPLICATION_ID_SIZE && line[0] == ' ')
		memcpy(answer->place.id, line + 1, REPLICATION_ID_SIZE);

	return 0;
}

int
redis_ask_stream(struct redis_conn *conn, const struct replication_place *place,
    struct replication_answer *ret_answer, struct err *err)
{
	SCOPED(str_done) struct str line = STR_INIT;
	struct replication_answer answer = { .is_full = false };
	char next[24];

	(void)snprintf(next, sizeof(next), "%" PRIu64, place != NULL ? place->offset + 1 : 0);
	if (redis_say(conn,
		(const char *const[]){ "PSYNC", place != NULL ? place->id : "?",
		    place != NULL ? next : "-1", NULL },
		err) < 0 ||
	    redis_hear_line(conn, REPLICATION_SILENCE_MS, &line, err) < 0)
		return err_wrap(err, "PSYNC");
	answer.at = clock_wall();
	if (read_answer(str_text(&line), place, &answer, err) < 0)
		return -1;
	*ret_answer = answer;

	return 0;
}

int
redis_await_file(struct redis_conn *conn, struct sync_frame *ret_frame, struct err *err)
{
	SCOPED(str_done) struct str line = STR_INIT;

	if (redis_hear_line(conn, REPLICATION_SILENCE_MS, &line, err) < 0)
		return err_wrap(err, "waiting for the file");
	if (line.data[0] == '-')
		return redis_refused(str_text(&line) + 1, err);

	return sync_frame_init(ret_frame, str_text(&line), err);
}
