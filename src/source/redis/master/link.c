#include "source/redis/master/link.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "net/channel.h"
#include "net/listener.h"
#include "os/random.h"
#include "source/redis/resp.h"
#include "source/redis/sync_frame.h"
#include "stream/sink.h"

enum {
	BUFFER_BYTES = 64 * 1024,
	HANDSHAKE_MS = 5 * 1000, /* for each word of it; meanwhile nobody else is heard */
	/* A replica that loads a large value takes nothing meanwhile. */
	WRITE_MS = 5 * 60 * 1000,
	FIRST_OFFSET = 1,
};

struct master_link {
	struct channel *channel;
	struct resp_parser *parser;
	bool is_in_word; /* a message has begun to come */
	bool is_loaded;
	uint64_t sent; /* offset of the stream */
	uint64_t applied;
	char mark[SYNC_MARK_BYTES + 1];
	uint8_t buffer[BUFFER_BYTES]; /* of what is read */
	size_t at;
	size_t end;
};

void
master_link_free(struct master_link *link)
{
	if (link == NULL)
		return;
	channel_free(link->channel);
	resp_parser_free(link->parser);
	free(link);
}

uint64_t
master_link_sent(const struct master_link *link)
{
	return link->sent;
}

bool
master_link_is_loaded(const struct master_link *link)
{
	return link->is_loaded;
}

uint64_t
master_link_applied(const struct master_link *link)
{
	return link->applied;
}

/* ---- what the replica says ---------------------------------------------------------------------- */

/* One message out of what has been read; false: it is not whole yet. */
static int
next_word(struct master_link *link, struct resp_value *ret_value, bool *ret_is_whole,
    struct err *err)
{
	*ret_is_whole = false;
	while (link->at < link->end && !*ret_is_whole) {
		size_t used;

		/* An empty line between two messages says only that it lives. */
		if (!link->is_in_word &&
		    (link->buffer[link->at] == '\n' || link->buffer[link->at] == '\r')) {
			link->at++;
			continue;
		}
		link->is_in_word = true;
		if (resp_parser_feed(link->parser, link->buffer + link->at, link->end - link->at,
			&used, ret_is_whole, err) < 0)
			return -1;
		link->at += used;
	}
	if (*ret_is_whole) {
		link->is_in_word = false;
		resp_parser_take(link->parser, ret_value);
	}

	return 0;
}

static int
fill(struct master_link *link, int timeout_ms, struct err *err)
{
	link->at = 0;
	link->end = 0;
	if (channel_read(link->channel, link->buffer, sizeof(link->buffer), timeout_ms, &link->end,
		err) < 0)
		return -1;

	return link->end > 0 ? 0 : err_set(err, ERR_NET, "the server closed the connection to us");
}

static bool
is_word(const struct resp_value *value, size_t index, const char *word)
{
	return value->type == RESP_ARRAY && index < value->count &&
	    value->items[index].text != NULL && strcasecmp(value->items[index].text, word) == 0;
}

static void
note_ack(struct master_link *link, const struct resp_value *value)
{
	struct err ignored = ERR_INIT;
	uint64_t offset;

	if (!is_word(value, 0, "REPLCONF") || !is_word(value, 1, "ACK") || value->count < 3 ||
	    value->items[2].text == NULL ||
	    parse_u64(value->items[2].text, 0, INT64_MAX, &offset, &ignored) < 0)
		return;
	link->is_loaded = true;
	link->applied = offset;
}

/* Every whole message out of what has been read. */
static int
take_all(struct master_link *link, struct err *err)
{
	bool is_whole = true;

	while (is_whole) {
		struct resp_value value;

		if (next_word(link, &value, &is_whole, err) < 0)
			return err_wrap(err, "what the server says is no acknowledgement");
		if (is_whole) {
			note_ack(link, &value);
			resp_value_done(&value);
		}
	}

	return 0;
}

int
master_link_hear(struct master_link *link, int timeout_ms, struct err *err)
{
	/* What came in one piece with the handshake. */
	if (take_all(link, err) < 0)
		return -1;
	if (fill(link, timeout_ms, err) < 0) {
		if (err->kind != ERR_TIMEOUT)
			return -1;
		err_clear(err);
		return 0;
	}

	return take_all(link, err);
}

/* ---- the begin ------------------------------------------------------------------------------------ */

static int
say(struct master_link *link, const char *line, struct err *err)
{
	return channel_write(link->channel, line, strlen(line), HANDSHAKE_MS, err);
}

/* The last word of AUTH is the password; how much of it is right takes the same time to find out. */
static bool
is_token(const struct resp_value *value, const char *token)
{
	const struct resp_value *last = value->count > 1 ? &value->items[value->count - 1] : NULL;
	unsigned char differs = 0;

	if (last == NULL || last->text == NULL || last->size != strlen(token))
		return false;
	for (size_t i = 0; i < last->size; i++)
		differs |= (unsigned char)(last->text[i] ^ token[i]);

	return differs == 0;
}

/* One word of the replica's and our answer; *ret_is_done: the file comes next. */
static int
answer(struct master_link *link, const struct resp_value *value,
    const struct master_link_options *options, bool *is_known, bool *ret_is_done, struct err *err)
{
	char line[REPLICATION_ID_SIZE + 48];

	if (is_word(value, 0, "PING"))
		return say(link, "+PONG\r\n", err);
	if (is_word(value, 0, "AUTH") && is_token(value, options->token)) {
		*is_known = true;
		return say(link, "+OK\r\n", err);
	}
	if (!*is_known) {
		struct err ignored = ERR_INIT;

		(void)!say(link, "-NOAUTH this is no database\r\n", &ignored);
		return err_set(err, ERR_AUTH, "somebody connected without our token");
	}
	if (is_word(value, 0, "REPLCONF"))
		return say(link, "+OK\r\n", err);
	if (!is_word(value, 0, "PSYNC"))
		return say(link, "-ERR unknown command\r\n", err);
	*ret_is_done = true;
	(void)snprintf(line, sizeof(line), "+FULLRESYNC %s %d\r\n", options->id, FIRST_OFFSET);
	link->sent = FIRST_OFFSET;

	return say(link, line, err);
}

static int
shake_hands(struct master_link *link, const struct master_link_options *options, struct err *err)
{
	bool is_known = false;
	bool is_done = false;

	while (!is_done) {
		struct resp_value value;
		bool is_whole;
		int result;

		if (next_word(link, &value, &is_whole, err) < 0)
			return -1;
		if (!is_whole) {
			if (fill(link, HANDSHAKE_MS, err) < 0)
				return -1;
			continue;
		}
		result = answer(link, &value, options, &is_known, &is_done, err);
		resp_value_done(&value);
		if (result < 0)
			return -1;
	}

	return 0;
}

static struct master_link *
try_peer(struct channel *channel, const char *peer, const struct master_link_options *options,
    struct err *err)
{
	SCOPED(master_link_freep) struct master_link *link = xcalloc(1, sizeof(*link));

	link->channel = channel;
	link->parser = resp_parser_new();
	if (options->peer != NULL && !str_equals(peer, options->peer)) {
		(void)err_set(err, ERR_AUTH, "it is not %s", options->peer);
		return NULL;
	}
	if (options->tls != NULL && channel_serve_tls(channel, options->tls, err) < 0)
		return NULL;

	return shake_hands(link, options, err) == 0 ? TAKE(link) : NULL;
}

struct master_link *
master_link_accept(struct listener *listener, const struct master_link_options *options,
    struct err *err)
{
	struct mono_time began = clock_mono();
	struct err last = ERR_INIT;

	for (;;) {
		int64_t left_ms = options->timeout_ms - clock_elapsed_us(began) / US_PER_MS;
		char peer[CHANNEL_ADDRESS_SIZE];
		struct channel *channel;
		struct master_link *link;

		channel = listener_accept(listener, left_ms > 0 ? (int)left_ms : 0, peer, err);
		if (channel == NULL) {
			/* Why those who came were turned away says more than that nobody comes. */
			if (err->kind == ERR_TIMEOUT && last.kind != ERR_NONE)
				*err = last;
			return NULL;
		}
		link = try_peer(channel, peer, options, err);
		if (link != NULL || err->kind == ERR_CANCELLED)
			return link;
		log_warning("a connection from %s was turned away: %s", peer, err->msg);
		last = *err;
		err_clear(err);
	}
}

/* ---- what we send ------------------------------------------------------------------------------------ */

static int
send_bytes(struct master_link *link, const void *data, size_t size, struct err *err)
{
	if (channel_write(link->channel, data, size, WRITE_MS, err) < 0)
		return err_wrap(err, "sending to the server");

	return 0;
}

struct link_sink {
	struct sink base;
	struct master_link *link; /* a loan */
	struct str held;          /* commands, put together */
};

static void
sink_free_op(struct sink *sink)
{
	str_done(&((struct link_sink *)sink)->held);
	free(sink);
}

static struct sink *
link_sink_new(struct master_link *link, const struct sink_ops *ops)
{
	struct link_sink *sink = xcalloc(1, sizeof(*sink));

	sink->base.ops = ops;
	sink->link = link;
	sink->held = (struct str)STR_INIT_MAX(2 * BUFFER_BYTES);

	return &sink->base;
}

static int
file_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	return send_bytes(((struct link_sink *)sink)->link, data, size, err);
}

static int
file_finish(struct sink *sink, struct err *err)
{
	struct master_link *link = ((struct link_sink *)sink)->link;

	return send_bytes(link, link->mark, SYNC_MARK_BYTES, err);
}

/* The mark is chosen by chance and long, so that no file holds it. */
struct sink *
master_link_file_sink(struct master_link *link, struct err *err)
{
	static const struct sink_ops ops = {
		.name = "replica",
		.write = file_write,
		.finish = file_finish,
		.free = sink_free_op,
	};
	char line[SYNC_MARK_BYTES + 16];
	int size;

	random_hex(link->mark, SYNC_MARK_BYTES);
	size = snprintf(line, sizeof(line), "$EOF:%s\r\n", link->mark);
	if (send_bytes(link, line, (size_t)size, err) < 0)
		return NULL;

	return link_sink_new(link, &ops);
}

static int
send_stream(struct master_link *link, const void *data, size_t size, struct err *err)
{
	if (send_bytes(link, data, size, err) < 0)
		return -1;
	link->sent += size;

	/* Nobody reads what it says meanwhile: it would be stuck some time. */
	return master_link_hear(link, 0, err);
}

static int
stream_flush(struct link_sink *sink, struct err *err)
{
	int result = send_stream(sink->link, sink->held.data, sink->held.size, err);

	str_cut(&sink->held, 0);

	return result;
}

static int
stream_write(struct sink *base, const void *data, size_t size, struct err *err)
{
	struct link_sink *sink = (struct link_sink *)base;

	if (sink->held.size + size > BUFFER_BYTES && sink->held.size > 0 &&
	    stream_flush(sink, err) < 0)
		return -1;
	if (size > BUFFER_BYTES)
		return send_stream(sink->link, data, size, err);
	str_add_bytes(&sink->held, data, size);

	return 0;
}

static int
stream_finish(struct sink *base, struct err *err)
{
	struct link_sink *sink = (struct link_sink *)base;

	return sink->held.size > 0 ? stream_flush(sink, err) : 0;
}

struct sink *
master_link_stream_sink(struct master_link *link)
{
	static const struct sink_ops ops = {
		.name = "replica's commands",
		.write = stream_write,
		.finish = stream_finish,
		.free = sink_free_op,
	};

	return link_sink_new(link, &ops);
}

static int
say_command(struct master_link *link, const char *const *words, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT;

	resp_add_command(&text, words);

	return send_stream(link, text.data, text.size, err);
}

int
master_link_ping(struct master_link *link, struct err *err)
{
	return say_command(link, (const char *const[]){ "PING", NULL }, err);
}

int
master_link_ask(struct master_link *link, struct err *err)
{
	return say_command(link, (const char *const[]){ "REPLCONF", "GETACK", "*", NULL }, err);
}
