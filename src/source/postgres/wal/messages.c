#include "source/postgres/wal/messages.h"

#include "base/err.h"

/* From 1970 to 2000. */
#define POSTGRES_EPOCH_US INT64_C(946684800000000)

enum {
	DATA_HEADER_BYTES = 25,
	KEEPALIVE_BYTES = 18,
};

static uint64_t
read_u64(const uint8_t *from)
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | from[i];

	return value;
}

static void
write_u64(uint8_t *to, uint64_t value)
{
	for (int i = 7; i >= 0; i--) {
		to[i] = (uint8_t)value;
		value >>= 8;
	}
}

/* A time that 1970 cannot count is shown as 1970: it is information only. */
static struct wall_time
read_time(const uint8_t *from)
{
	uint64_t since_2000 = read_u64(from);

	if (since_2000 > (uint64_t)(INT64_MAX - POSTGRES_EPOCH_US))
		return (struct wall_time){ .us = 0 };

	return (struct wall_time){ .us = (int64_t)since_2000 + POSTGRES_EPOCH_US };
}

static int
parse_data(const uint8_t *bytes, size_t size, struct wal_message *message, struct err *err)
{
	if (size <= DATA_HEADER_BYTES || size > DATA_HEADER_BYTES + WAL_DATA_MAX_BYTES)
		return err_set(err, ERR_PEER, "the server sent WAL in a message of %zu bytes",
		    size);
	message->kind = WAL_MESSAGE_DATA;
	message->start_lsn = read_u64(bytes + 1);
	message->end_lsn = read_u64(bytes + 9);
	message->time = read_time(bytes + 17);
	message->data = bytes + DATA_HEADER_BYTES;
	message->size = size - DATA_HEADER_BYTES;
	if (message->start_lsn > UINT64_MAX - message->size)
		return err_set(err, ERR_PEER, "the server sent WAL behind the end of all WAL");

	return 0;
}

static int
parse_keepalive(const uint8_t *bytes, size_t size, struct wal_message *message, struct err *err)
{
	if (size != KEEPALIVE_BYTES)
		return err_set(err, ERR_PEER, "the server sent a keepalive message of %zu bytes",
		    size);
	message->kind = WAL_MESSAGE_KEEPALIVE;
	message->end_lsn = read_u64(bytes + 1);
	message->time = read_time(bytes + 9);
	message->wants_reply = bytes[17] != 0;

	return 0;
}

int
wal_message_parse(const void *data, size_t size, struct wal_message *ret_message, struct err *err)
{
	const uint8_t *bytes = data;
	struct wal_message message = { .data = NULL };
	int result;

	if (size == 0)
		return err_set(err, ERR_PEER, "the server sent an empty message");
	if (bytes[0] == 'w')
		result = parse_data(bytes, size, &message, err);
	else if (bytes[0] == 'k')
		result = parse_keepalive(bytes, size, &message, err);
	else
		return err_set(err, ERR_PEER, "the server sent a message of unknown type 0x%02x",
		    bytes[0]);
	if (result == 0)
		*ret_message = message;

	return result;
}

void
wal_reply_format(const struct wal_reply *reply, uint8_t bytes[WAL_REPLY_BYTES])
{
	bytes[0] = 'r';
	write_u64(bytes + 1, reply->written_lsn);
	write_u64(bytes + 9, reply->flushed_lsn);
	write_u64(bytes + 17, reply->applied_lsn);
	write_u64(bytes + 25, (uint64_t)(reply->time.us - POSTGRES_EPOCH_US));
	bytes[33] = reply->wants_reply ? 1 : 0;
}
