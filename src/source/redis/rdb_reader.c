/* The machine that takes an RDB file apart: pieces of any size in, one step after the other. */
#include "source/redis/rdb_reader.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "source/redis/rdb_reader_internal.h"
#include "stream/sink.h"

enum {
	MAGIC_BYTES = 9,
	VERSION_MIN = 5, /* the first with a checksum */
	VALKEY_VERSION_MIN = 80,
	/* How a length begins. */
	LENGTH_6 = 0,
	LENGTH_14 = 1,
	LENGTH_LONG = 2,
	LENGTH_32 = 0x80,
	LENGTH_64 = 0x81,
	/* What an encoded string is. */
	ENCODED_INT8 = 0,
	ENCODED_INT16 = 1,
	ENCODED_INT32 = 2,
	ENCODED_LZF = 3,
	/* A node of a list. */
	CONTAINER_PLAIN = 1,
	CONTAINER_PACKED = 2,
	/* The parts of a module's value. */
	MODULE_END = 0,
	MODULE_SIGNED = 1,
	MODULE_UNSIGNED = 2,
	MODULE_FLOAT = 3,
	MODULE_DOUBLE = 4,
	MODULE_STRING = 5,
	DOUBLE_NO_TEXT = 253, /* this and above: nan, inf, -inf */
};

int
rdb_damaged(const struct rdb_reader *reader, const char *what, struct err *err)
{
	return err_set(err, ERR_DATA, "byte %llu: %s", (unsigned long long)reader->offset, what);
}

struct rdb_reader *
rdb_reader_new(const struct rdb_options *options)
{
	struct rdb_reader *reader = xcalloc(1, sizeof(*reader));

	reader->options = *options;
	crc64_init(&reader->crc);
	rdb_want(reader, RDB_STEP_MAGIC, MAGIC_BYTES);

	return reader;
}

void
rdb_reader_free(struct rdb_reader *reader)
{
	if (reader == NULL)
		return;
	rdb_summary_done(&reader->summary);
	free(reader->collected.data);
	free(reader->expanded.data);
	free(reader->key.data);
	free(reader->aux.data);
	free(reader);
}

const struct rdb_summary *
rdb_reader_summary(const struct rdb_reader *reader)
{
	return &reader->summary;
}

void
rdb_want(struct rdb_reader *reader, enum rdb_step step, size_t bytes)
{
	reader->step = step;
	reader->wanted = bytes;
}

void
rdb_want_length(struct rdb_reader *reader, enum rdb_length_for length_for)
{
	reader->length_for = length_for;
	rdb_want(reader, RDB_STEP_LENGTH, 1);
}

/* ---- shapes ----------------------------------------------------------------------------------- */

/* Behind the bracket that closes the one at `at`. */
static const char *
skip_brackets(const char *at)
{
	unsigned depth = 0;

	do {
		depth += *at == '(' ? 1 : 0;
		depth -= *at == ')' ? 1 : 0;
		at++;
	} while (depth > 0);

	return at;
}

/* The end of a loop's body: once more, or go on behind it. */
static void
loop_end(struct rdb_reader *reader)
{
	struct rdb_loop *loop = &reader->loops[reader->loops_count - 1];

	if (--loop->left > 0)
		reader->shape = loop->body;
	else
		reader->loops_count--;
}

static void
want_string(struct rdb_reader *reader, char role)
{
	reader->text.role = role;
	rdb_want_length(reader, RDB_FOR_STRING);
}

int
rdb_advance(struct rdb_reader *reader, struct err *err)
{
	while (*reader->shape == ')') {
		reader->shape++;
		loop_end(reader);
	}
	switch (*reader->shape) {
	case '\0':
		return rdb_part_end(reader, err);
	case 'l':
		rdb_want_length(reader, RDB_FOR_NUMBER);
		break;
	case '*':
		rdb_want_length(reader, RDB_FOR_COUNT);
		break;
	case '1':
		rdb_want(reader, RDB_STEP_FIXED, 1);
		break;
	case '4':
		rdb_want(reader, RDB_STEP_FIXED, 4);
		break;
	case '8':
		rdb_want(reader, RDB_STEP_FIXED, 8);
		break;
	case 'b':
		rdb_want(reader, RDB_STEP_FIXED, 16);
		break;
	case 'd':
		rdb_want(reader, RDB_STEP_DOUBLE, 1);
		break;
	case 'q':
		rdb_want_length(reader, RDB_FOR_CONTAINER);
		break;
	case 'M':
		rdb_want_length(reader, RDB_FOR_MODULE_PART);
		break;
	default:
		want_string(reader, *reader->shape);
		break;
	}
	reader->shape++;
	reader->is_encoded = false;

	return 0;
}

static int
begin_loop(struct rdb_reader *reader, uint64_t count, struct err *err)
{
	if (count == 0) {
		reader->shape = skip_brackets(reader->shape);
		return rdb_advance(reader, err);
	}
	reader->shape++;
	reader->loops[reader->loops_count++] = (struct rdb_loop){
		.body = reader->shape,
		.left = count,
	};

	return rdb_advance(reader, err);
}

/* ---- lengths ---------------------------------------------------------------------------------- */

static int
got_module_part(struct rdb_reader *reader, uint64_t part, struct err *err)
{
	if (part == MODULE_END)
		return rdb_advance(reader, err);
	/* After this one comes another. */
	reader->shape--;
	switch (part) {
	case MODULE_SIGNED:
	case MODULE_UNSIGNED:
		rdb_want_length(reader, RDB_FOR_MODULE_NUMBER);
		return 0;
	case MODULE_FLOAT:
		rdb_want(reader, RDB_STEP_FIXED, 4);
		return 0;
	case MODULE_DOUBLE:
		rdb_want(reader, RDB_STEP_FIXED, 8);
		return 0;
	case MODULE_STRING:
		want_string(reader, 's');
		return 0;
	default:
		return rdb_damaged(reader, "unknown piece of a module's value", err);
	}
}

static int
got_container(struct rdb_reader *reader, uint64_t container, struct err *err)
{
	if (container != CONTAINER_PLAIN && container != CONTAINER_PACKED)
		return rdb_damaged(reader, "unknown node of a list", err);
	want_string(reader, container == CONTAINER_PLAIN ? 's' : 'p');

	return 0;
}

static int
got_encoded(struct rdb_reader *reader, uint64_t encoding, struct err *err)
{
	reader->is_encoded = true;
	switch (encoding) {
	case ENCODED_INT8:
	case ENCODED_INT16:
	case ENCODED_INT32:
		rdb_want(reader, RDB_STEP_FIXED, (size_t)1 << encoding);
		return 0;
	case ENCODED_LZF:
		rdb_want_length(reader, RDB_FOR_STORED);
		return 0;
	default:
		return rdb_damaged(reader, "unknown encoding of a string", err);
	}
}

static int
got_length(struct rdb_reader *reader, uint64_t value, struct err *err)
{
	switch (reader->length_for) {
	case RDB_FOR_NUMBER:
		if (reader->numbers_count < RDB_NUMBERS_MAX)
			reader->numbers[reader->numbers_count++] = value;
		return rdb_advance(reader, err);
	case RDB_FOR_COUNT:
		return begin_loop(reader, value, err);
	case RDB_FOR_STORED:
		reader->text.stored_bytes = value;
		rdb_want_length(reader, RDB_FOR_PLAIN);
		return 0;
	case RDB_FOR_PLAIN:
		reader->text.plain_bytes = value;
		reader->text.is_compressed = true;
		return rdb_text_begin(reader, err);
	case RDB_FOR_CONTAINER:
		return got_container(reader, value, err);
	case RDB_FOR_MODULE_PART:
		return got_module_part(reader, value, err);
	case RDB_FOR_MODULE_NUMBER:
		return rdb_advance(reader, err);
	case RDB_FOR_STRING:
		break;
	}
	reader->text.stored_bytes = value;
	reader->text.plain_bytes = value;
	reader->text.is_compressed = false;

	return rdb_text_begin(reader, err);
}

static int
read_length(struct rdb_reader *reader, const uint8_t *byte, struct err *err)
{
	unsigned low = byte[0] & 0x3f;

	switch (byte[0] >> 6) {
	case LENGTH_6:
		return got_length(reader, low, err);
	case LENGTH_14:
		reader->length_high = (uint8_t)low;
		rdb_want(reader, RDB_STEP_LENGTH_REST, 1);
		return 0;
	case LENGTH_LONG:
		if (byte[0] != LENGTH_32 && byte[0] != LENGTH_64)
			return rdb_damaged(reader, "unknown form of a length", err);
		rdb_want(reader, RDB_STEP_LENGTH_REST, byte[0] == LENGTH_32 ? 4 : 8);
		return 0;
	default:
		if (reader->length_for != RDB_FOR_STRING)
			return rdb_damaged(reader, "a length is not a number", err);
		return got_encoded(reader, low, err);
	}
}

static int
read_length_rest(struct rdb_reader *reader, const uint8_t *bytes, struct err *err)
{
	uint64_t value = reader->wanted == 1 ? reader->length_high : 0;

	for (size_t i = 0; i < reader->wanted; i++)
		value = (value << 8) + bytes[i];

	return got_length(reader, value, err);
}

/* ---- the other steps -------------------------------------------------------------------------- */

static int
read_magic(struct rdb_reader *reader, const uint8_t *bytes, struct err *err)
{
	struct rdb_summary *summary = &reader->summary;
	char text[MAGIC_BYTES + 1] = { 0 };
	const char *digits;
	struct err ignored = ERR_INIT;

	memcpy(text, bytes, MAGIC_BYTES);
	summary->is_valkey = memcmp(text, "VALKEY", 6) == 0;
	if (!summary->is_valkey && memcmp(text, "REDIS", 5) != 0)
		return rdb_damaged(reader, "this is no RDB file", err);
	digits = text + (summary->is_valkey ? 6 : 5);
	for (const char *at = digits; *at != '\0'; at++) {
		if (*at < '0' || *at > '9')
			return rdb_damaged(reader, "this is no RDB file", err);
	}
	if (parse_unsigned(digits, 0, 9999, &summary->version, &ignored) < 0)
		return rdb_damaged(reader, "this is no RDB file", err);
	if (summary->version < (summary->is_valkey ? VALKEY_VERSION_MIN : VERSION_MIN))
		return err_set(err, ERR_UNSUPPORTED, "RDB files of version %u cannot be read",
		    summary->version);
	rdb_want(reader, RDB_STEP_OPCODE, 1);

	return 0;
}

/* One piece is whole. */
static int
take_step(struct rdb_reader *reader, const uint8_t *bytes, struct err *err)
{
	switch (reader->step) {
	case RDB_STEP_MAGIC:
		return read_magic(reader, bytes, err);
	case RDB_STEP_OPCODE:
		return rdb_part_begin(reader, bytes[0], err);
	case RDB_STEP_LENGTH:
		return read_length(reader, bytes, err);
	case RDB_STEP_LENGTH_REST:
		return read_length_rest(reader, bytes, err);
	case RDB_STEP_FIXED:
		if (!reader->is_key && reader->wanted <= RDB_FIXED_MAX_BYTES)
			memcpy(reader->fixed, bytes, reader->wanted);
		return reader->is_encoded ? rdb_text_number(reader, bytes, reader->wanted, err)
					  : rdb_advance(reader, err);
	case RDB_STEP_DOUBLE:
		reader->skip_bytes = bytes[0] >= DOUBLE_NO_TEXT ? 0 : bytes[0];
		if (reader->skip_bytes == 0)
			return rdb_advance(reader, err);
		rdb_want(reader, RDB_STEP_SKIP, 0);
		return 0;
	default:
		rdb_want(reader, RDB_STEP_END, 0);
		return 0;
	}
}

/* ---- bytes ------------------------------------------------------------------------------------ */

/* Bytes up to the wanted ones, gathered where they came in pieces; NULL: there are more to come. */
static const uint8_t *
gather(struct rdb_reader *reader, const uint8_t *data, size_t size, size_t *ret_used)
{
	size_t missing = reader->wanted - reader->carried;

	if (reader->carried == 0 && size >= reader->wanted) {
		*ret_used = reader->wanted;
		return data;
	}
	*ret_used = missing < size ? missing : size;
	memcpy(reader->carry + reader->carried, data, *ret_used);
	reader->carried += *ret_used;
	if (reader->carried < reader->wanted)
		return NULL;
	reader->carried = 0;

	return reader->carry;
}

static int
feed_piece(struct rdb_reader *reader, const uint8_t *data, size_t size, size_t *ret_used,
    struct err *err)
{
	const uint8_t *piece;

	if (reader->carried == 0)
		reader->offset = reader->end;
	piece = gather(reader, data, size, ret_used);
	reader->end += *ret_used;

	return piece != NULL ? take_step(reader, piece, err) : 0;
}

static int
feed_skip(struct rdb_reader *reader, size_t size, size_t *ret_used, struct err *err)
{
	*ret_used = reader->skip_bytes < size ? (size_t)reader->skip_bytes : size;
	reader->skip_bytes -= *ret_used;
	reader->end += *ret_used;

	return reader->skip_bytes == 0 ? rdb_advance(reader, err) : 0;
}

/* A string that lies in one piece is not copied. */
static int
feed_collect(struct rdb_reader *reader, const uint8_t *data, size_t size, size_t *ret_used,
    struct err *err)
{
	size_t wanted = (size_t)reader->text.stored_bytes;
	size_t missing = wanted - reader->collected.size;

	*ret_used = missing < size ? missing : size;
	if (reader->collected.size == 0)
		reader->offset = reader->end;
	reader->end += *ret_used;
	if (reader->collected.size == 0 && missing <= size)
		return rdb_text_end(reader, data, err);
	rdb_buffer_add(&reader->collected, data, *ret_used);
	if (reader->collected.size < wanted)
		return 0;

	return rdb_text_end(reader, reader->collected.data, err);
}

/* *ret_used is less than size when the file ends there. */
static int
follow(struct rdb_reader *reader, const uint8_t *data, size_t size, size_t *ret_used,
    struct err *err)
{
	size_t all = size;

	*ret_used = all;
	while (size > 0 && reader->step != RDB_STEP_BLIND) {
		size_t used = 0;
		int result;

		if (reader->step == RDB_STEP_END) {
			*ret_used = all - size;
			return 0;
		}
		if (reader->step == RDB_STEP_SKIP)
			result = feed_skip(reader, size, &used, err);
		else if (reader->step == RDB_STEP_COLLECT)
			result = feed_collect(reader, data, size, &used, err);
		else
			result = feed_piece(reader, data, size, &used, err);
		if (result < 0)
			return -1;
		data += used;
		size -= used;
	}

	return 0;
}

/* Everything but the last eight bytes goes into the checksum. */
static void
add_checksum(struct rdb_reader *reader, const uint8_t *data, size_t size)
{
	size_t together = reader->held_size + size;
	size_t surplus = together > RDB_TRAILER_BYTES ? together - RDB_TRAILER_BYTES : 0;
	size_t from_held = surplus < reader->held_size ? surplus : reader->held_size;
	size_t from_data = surplus - from_held;

	crc64_add(&reader->crc, reader->held, from_held);
	crc64_add(&reader->crc, data, from_data);
	memmove(reader->held, reader->held + from_held, reader->held_size - from_held);
	reader->held_size -= from_held;
	memcpy(reader->held + reader->held_size, data + from_data, size - from_data);
	reader->held_size += size - from_data;
}

int
rdb_reader_feed_part(struct rdb_reader *reader, const void *data, size_t size, size_t *ret_used,
    struct err *err)
{
	size_t used = size;

	if (size > 0 && follow(reader, data, size, &used, err) < 0)
		return -1;
	add_checksum(reader, data, used);
	reader->summary.bytes += used;
	*ret_used = used;

	return 0;
}

int
rdb_reader_feed(struct rdb_reader *reader, const void *data, size_t size, struct err *err)
{
	size_t used;

	if (rdb_reader_feed_part(reader, data, size, &used, err) < 0)
		return -1;
	if (used == size)
		return 0;
	reader->offset = reader->end;

	return rdb_damaged(reader, "there is something behind the end", err);
}

static void
compare_announced(struct rdb_summary *summary)
{
	for (size_t i = 0; i < summary->databases.count; i++) {
		const struct rdb_database *database = &summary->databases.items[i];

		if (database->is_announced &&
		    (database->announced_keys != database->keys ||
			database->announced_expires != database->expires))
			summary->wrong_announcements++;
	}
}

int
rdb_reader_finish(struct rdb_reader *reader, struct err *err)
{
	struct rdb_summary *summary = &reader->summary;
	uint64_t stored;

	if ((reader->step != RDB_STEP_END && reader->step != RDB_STEP_BLIND) ||
	    reader->held_size < RDB_TRAILER_BYTES) {
		reader->offset = summary->bytes;
		return rdb_damaged(reader, "the file ends before its end", err);
	}
	memcpy(&stored, reader->held, sizeof(stored));
	summary->checksum = le64toh(stored);
	if (summary->checksum == 0 && reader->step == RDB_STEP_BLIND)
		return err_set(err, ERR_UNSUPPORTED,
		    "the file has no checksum, and its structure is not known: %s",
		    summary->unknown);
	if (summary->checksum != 0 && summary->checksum != reader->crc.value)
		return err_set(err, ERR_DATA, "the checksum is %016llx, and should be %016llx",
		    (unsigned long long)reader->crc.value, (unsigned long long)summary->checksum);
	summary->is_checksummed = summary->checksum != 0;
	compare_announced(summary);

	return 0;
}

/* ---- as a sink -------------------------------------------------------------------------------- */

struct rdb_sink {
	struct sink base;
	struct rdb_reader *reader; /* a loan */
};

static int
rdb_sink_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	return rdb_reader_feed(((struct rdb_sink *)sink)->reader, data, size, err);
}

static int
rdb_sink_finish(struct sink *sink, struct err *err)
{
	return rdb_reader_finish(((struct rdb_sink *)sink)->reader, err);
}

static void
rdb_sink_free(struct sink *sink)
{
	free(sink);
}

static const struct sink_ops rdb_sink_ops = {
	.name = "rdb",
	.write = rdb_sink_write,
	.finish = rdb_sink_finish,
	.free = rdb_sink_free,
};

struct sink *
rdb_sink_new(struct rdb_reader *reader)
{
	struct rdb_sink *sink = xcalloc(1, sizeof(*sink));

	sink->base.ops = &rdb_sink_ops;
	sink->reader = reader;

	return &sink->base;
}
