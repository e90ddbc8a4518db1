/* Replication messages: any bytes are refused or describe themselves, and nothing lies outside. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "source/postgres/wal/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t
big_endian(const uint8_t *from)
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | from[i];

	return value;
}

static void
check_data(const struct wal_message *message, const uint8_t *data, size_t size)
{
	assert(data[0] == 'w' && message->data == data + 25 && message->size == size - 25);
	assert(message->size > 0 && message->size <= WAL_DATA_MAX_BYTES);
	assert(message->start_lsn == big_endian(data + 1));
	assert(message->end_lsn == big_endian(data + 9));
	assert(message->start_lsn + message->size > message->start_lsn);
}

/* What is answered says what the server said. */
static void
check_reply(const struct wal_message *message)
{
	const struct wal_reply reply = {
		.written_lsn = message->end_lsn,
		.flushed_lsn = message->start_lsn,
		.time = message->time,
		.wants_reply = message->wants_reply,
	};
	uint8_t bytes[WAL_REPLY_BYTES];

	wal_reply_format(&reply, bytes);
	assert(bytes[0] == 'r' && big_endian(bytes + 1) == message->end_lsn);
	assert(big_endian(bytes + 9) == message->start_lsn && big_endian(bytes + 17) == 0);
	assert(bytes[33] == message->wants_reply);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wal_message message = { .start_lsn = 0 };
	struct err err = ERR_INIT;

	if (wal_message_parse(data, size, &message, &err) < 0) {
		assert(err.kind == ERR_PEER && err.msg[0] != '\0');
		return 0;
	}
	if (message.kind == WAL_MESSAGE_DATA)
		check_data(&message, data, size);
	else
		assert(data[0] == 'k' && size == 18 && message.end_lsn == big_endian(data + 1));
	check_reply(&message);

	return 0;
}
