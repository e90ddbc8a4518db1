#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/stop.h"
#include "source/redis/redis_internal.h"

enum { CONNECT_MS = 10 * 1000, BUFFER_BYTES = 64 * 1024, LINE_MAX_BYTES = 1024 };

struct redis_conn {
	struct channel *channel;
	struct resp_parser *parser;
	uint8_t buffer[BUFFER_BYTES];
	size_t at; /* what is still to be read of the buffer */
	size_t end;
};

void
redis_conn_free(struct redis_conn *conn)
{
	if (conn == NULL)
		return;
	channel_free(conn->channel);
	resp_parser_free(conn->parser);
	free(conn);
}

int
redis_refused(const char *text, struct err *err)
{
	static const struct {
		const char *begin;
		enum err_kind kind;
	} known[] = {
		{ "NOAUTH", ERR_AUTH },
		{ "WRONGPASS", ERR_AUTH },
		{ "NOPERM", ERR_AUTH },
		{ "ERR invalid password", ERR_AUTH },
		{ "ERR Client sent AUTH", ERR_AUTH },
		{ "ERR AUTH <password> called", ERR_AUTH },
		{ "LOADING", ERR_BUSY },
		{ "MASTERDOWN", ERR_BUSY },
		{ "NOMASTERLINK", ERR_BUSY },
		{ "ERR unknown command", ERR_UNSUPPORTED },
	};
	enum err_kind kind = ERR_PEER;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (str_starts_with(text, known[i].begin))
			kind = known[i].kind;
	}

	return err_set(err, kind, "the server says: %.300s", text);
}

/* ---- bytes -------------------------------------------------------------------------------------- */

static int
fill(struct redis_conn *conn, int timeout_ms, struct err *err)
{
	conn->at = 0;
	conn->end = 0;

	return channel_read(conn->channel, conn->buffer, sizeof(conn->buffer), timeout_ms,
	    &conn->end, err);
}

static int
ended(struct err *err)
{
	return err_set(err, ERR_NET, "the server closed the connection");
}

int
redis_hear(struct redis_conn *conn, int timeout_ms, const void **ret_data, size_t *ret_size,
    struct err *err)
{
	if (conn->at == conn->end && fill(conn, timeout_ms, err) < 0)
		return -1;
	*ret_data = conn->buffer + conn->at;
	*ret_size = conn->end - conn->at;
	conn->at = conn->end;

	return 0;
}

void
redis_unhear(struct redis_conn *conn, size_t size)
{
	assert(size <= conn->at);
	conn->at -= size;
}

int
redis_hear_line(struct redis_conn *conn, int timeout_ms, struct str *to, struct err *err)
{
	str_cut(to, 0);
	for (;;) {
		char byte;

		if (conn->at == conn->end && fill(conn, timeout_ms, err) < 0)
			return -1;
		if (conn->end == 0)
			return ended(err);
		byte = (char)conn->buffer[conn->at++];
		if (byte == '\n' && to->size > 0)
			break;
		if (byte != '\n')
			str_add_char(to, byte);
		if (to->size > LINE_MAX_BYTES)
			return err_set(err, ERR_DATA, "the server's answer is no line of text");
	}
	if (to->data[to->size - 1] == '\r')
		str_cut(to, to->size - 1);

	return 0;
}

int
redis_say_text(struct redis_conn *conn, const struct str *text, struct err *err)
{
	return channel_write(conn->channel, text->data, text->size, REDIS_ANSWER_MS, err);
}

int
redis_say(struct redis_conn *conn, const char *const *words, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT;

	resp_add_command(&text, words);

	return redis_say_text(conn, &text, err);
}

/* ---- replies -------------------------------------------------------------------------------------- */

int
redis_reply(struct redis_conn *conn, struct resp_value *ret_value, struct err *err)
{
	bool is_whole = false;

	while (!is_whole) {
		size_t used;

		if (conn->at == conn->end && fill(conn, REDIS_ANSWER_MS, err) < 0)
			return -1;
		if (conn->end == 0)
			return ended(err);
		if (resp_parser_feed(conn->parser, conn->buffer + conn->at, conn->end - conn->at,
			&used, &is_whole, err) < 0)
			return -1;
		conn->at += used;
	}
	resp_parser_take(conn->parser, ret_value);

	return 0;
}

int
redis_answer(struct redis_conn *conn, struct resp_value *ret_value, struct err *err)
{
	struct resp_value value;

	if (redis_reply(conn, &value, err) < 0)
		return -1;
	if (value.type == RESP_ERROR) {
		(void)redis_refused(value.text, err);
		resp_value_done(&value);
		return -1;
	}
	*ret_value = value;

	return 0;
}

int
redis_command(struct redis_conn *conn, const char *const *words, struct resp_value *ret_value,
    struct err *err)
{
	if (redis_say(conn, words, err) < 0 || redis_answer(conn, ret_value, err) < 0)
		return err_wrap(err, "%s", words[0]);

	return 0;
}

int
redis_execute(struct redis_conn *conn, const char *const *words, struct err *err)
{
	struct resp_value value;

	if (redis_command(conn, words, &value, err) < 0)
		return -1;
	resp_value_done(&value);

	return 0;
}

/* ---- the begin ------------------------------------------------------------------------------------- */

static int
log_in(const struct redis *redis, struct redis_conn *conn, struct err *err)
{
	const char *password = secret_text(redis->password);
	const char *const with_user[] = { "AUTH", redis->user, password, NULL };
	const char *const plain[] = { "AUTH", password, NULL };

	if (password == NULL && redis->user != NULL) {
		(void)err_set(err, ERR_CONFIG, "there is a user, '%s', but no password",
		    redis->user);
		return err_hint(err, "Name a password_file, or --password-file.");
	}
	if (password != NULL &&
	    redis_execute(conn, redis->user != NULL ? with_user : plain, err) < 0)
		return err_hint(err, "Check the user and the password file.");
	if (redis_execute(conn, (const char *const[]){ "PING", NULL }, err) == 0)
		return 0;
	if (err->kind == ERR_AUTH && password == NULL)
		return err_hint(err,
		    "The server wants a password: name a password_file, or --password-file.");
	if (err->kind == ERR_BUSY)
		return err_hint(err, "Try again when it has loaded its data.");

	return -1;
}

int
redis_conn_addresses(const struct redis_conn *conn, char ret_own[CHANNEL_ADDRESS_SIZE],
    char ret_peer[CHANNEL_ADDRESS_SIZE], struct err *err)
{
	return channel_addresses(conn->channel, ret_own, ret_peer, err);
}

static struct redis_conn *
open_conn(const struct redis *redis, int cancel_fd, struct err *err)
{
	SCOPED(redis_conn_freep) struct redis_conn *conn = NULL;
	const struct channel_options options = {
		.host = redis->host,
		.port = redis->port,
		.security = redis->security,
		.ca_path = redis->sslrootcert,
		.cert_path = redis->sslcert,
		.key_path = redis->sslkey,
		.timeout_ms = CONNECT_MS,
		.cancel_fd = cancel_fd,
	};

	if (redis->host == NULL) {
		(void)err_set(err, ERR_USAGE, "no live server of '%s' is known", redis->label);
		return NULL;
	}
	conn = xcalloc(1, sizeof(*conn));
	conn->parser = resp_parser_new();
	conn->channel = channel_open(&options, err);
	if (conn->channel == NULL || log_in(redis, conn, err) < 0) {
		(void)err_wrap(err, "cannot connect to redis '%s' at %s:%u", redis->label,
		    redis->host, redis->port);
		if (err->hint[0] == '\0' && (err->kind == ERR_NET || err->kind == ERR_TIMEOUT))
			(void)err_hint(err,
			    "Check host and port, that the server runs, and that it listens there (bind, protected-mode).");
		return NULL;
	}

	return TAKE(conn);
}

struct redis_conn *
redis_conn_open(const struct redis *redis, struct err *err)
{
	return open_conn(redis, stop_fd(), err);
}

struct redis_conn *
redis_conn_open_steady(const struct redis *redis, struct err *err)
{
	return open_conn(redis, -1, err);
}
