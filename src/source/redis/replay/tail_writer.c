#include "source/redis/replay/tail_writer.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "source/redis/resp.h"
#include "stream/sink.h"

enum { HELD_MAX_BYTES = 8 * 1024 * 1024, CHANGED_MORE_BYTES = 1024 };

static bool
is_for_replicas(const char *name)
{
	static const char *const names[] = { "PING", "REPLCONF", "PUBLISH", "SPUBLISH" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (str_equals(names[i], name))
			return true;
	}

	return false;
}

static int
write_command(struct tail_writer *writer, struct err *err)
{
	SCOPED(str_done)
	struct str text = STR_INIT_MAX(HELD_MAX_BYTES + CHANGED_MORE_BYTES);

	if (expiry_add_command(&writer->policy, writer->scan.words[0], writer->held.data,
		writer->held.size, &text, &writer->changed, err) < 0)
		return -1;
	if (str_is_full(&text))
		return err_set(err, ERR_LIMIT, "a command became too long");

	return sink_write(writer->to, text.data, text.size, err);
}

static int
end_command(struct tail_writer *writer, struct err *err)
{
	int result = 0;

	if (!writer->is_passing && !is_for_replicas(writer->scan.words[0])) {
		writer->commands++;
		result = write_command(writer, err);
	}
	writer->is_passing = false;
	str_cut(&writer->held, 0);

	return result;
}

/* Nothing that is dropped is ever so large: a message is published in one command of its size. */
static int
hold(struct tail_writer *writer, const void *data, size_t size, struct err *err)
{
	if (writer->is_passing)
		return sink_write(writer->to, data, size, err);
	if (writer->held.size + size <= HELD_MAX_BYTES) {
		str_add_bytes(&writer->held, data, size);
		return 0;
	}
	if (is_for_replicas(writer->scan.words[0])) {
		str_cut(&writer->held, 0);
		return 0;
	}
	writer->is_passing = true;
	writer->commands++;
	writer->left_as_are += writer->policy.ttl != RESTORE_TTL_KEEP;
	if (sink_write(writer->to, writer->held.data, writer->held.size, err) < 0)
		return -1;

	return sink_write(writer->to, data, size, err);
}

static int
take_bytes(struct replay_taker *taker, const void *data, size_t size, struct err *err)
{
	struct tail_writer *writer = (struct tail_writer *)taker;
	const uint8_t *bytes = data;

	for (size_t at = 0; at < size;) {
		enum scan_event event;
		size_t used;

		if (scan_feed(&writer->scan, bytes + at, size - at, &used, &event, err) < 0)
			return -1;
		if (event != SCAN_BLANK && hold(writer, bytes + at, used, err) < 0)
			return -1;
		at += used;
		if (event == SCAN_COMMAND && end_command(writer, err) < 0)
			return -1;
	}

	return 0;
}

static int
take_time(struct replay_taker *taker, struct wall_time time, struct err *err)
{
	struct tail_writer *writer = (struct tail_writer *)taker;
	char line[48];
	int size;

	if (!writer->has_time_lines || time.us / US_PER_S == writer->told.us / US_PER_S)
		return 0;
	writer->told = time;
	size = snprintf(line, sizeof(line), "#TS:%" PRId64 "\r\n", time.us / US_PER_S);

	return sink_write(writer->to, line, (size_t)size, err);
}

int
tail_writer_init(struct tail_writer *writer, struct sink *to, unsigned db,
    const struct expiry_policy *policy, bool has_time_lines, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT;
	char number[16];

	*writer = (struct tail_writer){
		.base = { .time = take_time, .bytes = take_bytes },
		.to = to,
		.policy = *policy,
		.has_time_lines = has_time_lines,
		.held = STR_INIT_MAX(HELD_MAX_BYTES),
	};
	scan_init(&writer->scan, db);
	(void)snprintf(number, sizeof(number), "%u", db);
	resp_add_command(&text, (const char *const[]){ "SELECT", number, NULL });

	return sink_write(to, text.data, text.size, err);
}

void
tail_writer_done(struct tail_writer *writer)
{
	str_done(&writer->held);
}
