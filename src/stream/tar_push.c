#include "stream/tar_push.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "stream/sink.h"

/*
 * A header block (POSIX ustar):
 *   0 name[100]  100 mode[8]  108 uid[8]  116 gid[8]  124 size[12]  136 mtime[12]  148 checksum[8]
 *   156 type[1]  157 link[100]  257 magic[6]  263 version[2]  265 user[32]  297 group[32]
 *   329 device[16]  345 prefix[155]
 * Numbers are octal text; with the top bit of the first byte set, big-endian binary.
 */
enum {
	NAME_AT = 0,
	NAME_BYTES = 100,
	MODE_AT = 100,
	MODE_BYTES = 8,
	SIZE_AT = 124,
	SIZE_BYTES = 12,
	MTIME_AT = 136,
	MTIME_BYTES = 12,
	CHECKSUM_AT = 148,
	CHECKSUM_BYTES = 8,
	TYPE_AT = 156,
	LINK_AT = 157,
	LINK_BYTES = 100,
	MAGIC_AT = 257,
	PREFIX_AT = 345,
	PREFIX_BYTES = 155,
	BINARY_FLAG = 0x80,
};

enum tar_state {
	TAR_IN_HEADER,
	TAR_IN_DATA,
	TAR_IN_PADDING,
	TAR_AT_END, /* a zero block was seen: only zeros may follow */
};

struct tar_push {
	struct sink base;
	struct tar_handler handler;
	enum tar_state state;
	uint8_t header[TAR_BLOCK_BYTES];
	size_t header_bytes;
	uint64_t left_bytes;  /* of the data or the padding */
	size_t padding_bytes; /* that follow the data */
	uint64_t offset;      /* of the next byte of the stream, for errors */
	bool is_skipping;     /* the entry for the root itself */
};

static int
fail(const struct tar_push *tar, const char *what, struct err *err)
{
	uint64_t begin = tar->offset - tar->header_bytes;

	return err_set(err, ERR_DATA, "tar stream: header at offset %" PRIu64 ": %s", begin, what);
}

static bool
is_zero(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (data[i] != 0)
			return false;
	}

	return true;
}

/* Big-endian, the flag bit taken away; negative and too large numbers are refused. */
static bool
parse_binary(const uint8_t *at, size_t size, uint64_t *ret_value)
{
	uint64_t value = at[0] & 0x7f;

	for (size_t i = 1; i < size; i++) {
		if (value > UINT64_MAX >> 8)
			return false;
		value = value << 8 | at[i];
	}
	*ret_value = value;

	return value <= INT64_MAX;
}

/* Octal text, spaces before it, ended by a space, a zero byte, or the field. */
static bool
parse_number(const uint8_t *at, size_t size, uint64_t *ret_value)
{
	uint64_t value = 0;
	size_t i = 0;

	if ((at[0] & BINARY_FLAG) != 0)
		return parse_binary(at, size, ret_value);
	while (i < size && at[i] == ' ')
		i++;
	/* Twelve digits of three bits cannot overflow. */
	for (; i < size && at[i] >= '0' && at[i] <= '7'; i++)
		value = value << 3 | (uint64_t)(at[i] - '0');
	if (i < size && at[i] != ' ' && at[i] != '\0')
		return false;
	*ret_value = value;

	return true;
}

static bool
has_right_checksum(const uint8_t *header)
{
	uint64_t told;
	uint64_t sum = 0;

	for (size_t i = 0; i < TAR_BLOCK_BYTES; i++) {
		bool is_checksum = i >= CHECKSUM_AT && i < CHECKSUM_AT + CHECKSUM_BYTES;

		sum += is_checksum ? (uint64_t)' ' : header[i];
	}

	return parse_number(header + CHECKSUM_AT, CHECKSUM_BYTES, &told) && told == sum;
}

/* Is every part of the name a plain one: not empty, not ".", not "..". */
static bool
is_safe_name(const char *name)
{
	const char *at = name;

	for (;;) {
		size_t size = strcspn(at, "/");

		if (size == 0 || (size == 1 && at[0] == '.') ||
		    (size == 2 && memcmp(at, "..", 2) == 0))
			return false;
		if (at[size] == '\0')
			return true;
		at += size + 1;
	}
}

/* "prefix/name" without a leading "./" and trailing '/'; "" stands for the root itself. */
static void
read_name(const uint8_t *header, char *ret_name)
{
	size_t prefix_size = strnlen((const char *)header + PREFIX_AT, PREFIX_BYTES);
	size_t name_size = strnlen((const char *)header + NAME_AT, NAME_BYTES);
	char name[PREFIX_BYTES + 1 + NAME_BYTES + 1];
	size_t size = 0;
	size_t begin = 0;

	if (prefix_size > 0) {
		memcpy(name, header + PREFIX_AT, prefix_size);
		name[prefix_size] = '/';
		size = prefix_size + 1;
	}
	memcpy(name + size, header + NAME_AT, name_size);
	size += name_size;
	name[size] = '\0';

	while (size > 1 && name[size - 1] == '/')
		name[--size] = '\0';
	while (name[begin] == '.' && name[begin + 1] == '/')
		begin += 2;
	if (strcmp(name + begin, ".") == 0)
		begin++;
	memcpy(ret_name, name + begin, size - begin + 1);
}

static int
read_type(const struct tar_push *tar, enum tar_type *ret_type, struct err *err)
{
	uint8_t type = tar->header[TYPE_AT];

	switch (type) {
	case '0':
	case '\0':
		*ret_type = TAR_FILE;
		return 0;
	case '5':
		*ret_type = TAR_DIRECTORY;
		return 0;
	case '2':
		*ret_type = TAR_SYMLINK;
		return 0;
	default:
		return err_set(err, ERR_UNSUPPORTED,
		    "tar stream: header at offset %" PRIu64 ": an entry of type 0x%02x",
		    tar->offset - tar->header_bytes, type);
	}
}

static int
read_header(const struct tar_push *tar, struct tar_entry *ret_entry, struct err *err)
{
	struct tar_entry entry = { .size_bytes = 0 };
	uint64_t mode;
	uint64_t mtime_s;

	if (memcmp(tar->header + MAGIC_AT, "ustar", 5) != 0)
		return fail(tar, "not a ustar header", err);
	if (!has_right_checksum(tar->header))
		return fail(tar, "wrong checksum", err);
	if (read_type(tar, &entry.type, err) < 0)
		return -1;
	if (!parse_number(tar->header + SIZE_AT, SIZE_BYTES, &entry.size_bytes) ||
	    !parse_number(tar->header + MODE_AT, MODE_BYTES, &mode) ||
	    !parse_number(tar->header + MTIME_AT, MTIME_BYTES, &mtime_s))
		return fail(tar, "not a number", err);
	if (entry.type != TAR_FILE && entry.size_bytes > 0)
		return fail(tar, "a size where there can be none", err);

	read_name(tar->header, entry.name);
	if (entry.name[0] == '\0' ? entry.type != TAR_DIRECTORY : !is_safe_name(entry.name))
		return fail(tar, "an unsafe name", err);
	if (entry.type == TAR_SYMLINK)
		memcpy(entry.link, tar->header + LINK_AT, LINK_BYTES);
	entry.mode = (unsigned)(mode & 07777);
	entry.mtime_s = (int64_t)mtime_s;
	*ret_entry = entry;

	return 0;
}

static int
end_entry(struct tar_push *tar, struct err *err)
{
	tar->left_bytes = tar->padding_bytes;
	tar->state = tar->padding_bytes > 0 ? TAR_IN_PADDING : TAR_IN_HEADER;

	return tar->is_skipping ? 0 : tar->handler.end(tar->handler.context, err);
}

static int
begin_entry(struct tar_push *tar, struct err *err)
{
	struct tar_entry entry;

	if (is_zero(tar->header, TAR_BLOCK_BYTES)) {
		tar->state = TAR_AT_END;
		return 0;
	}
	if (read_header(tar, &entry, err) < 0)
		return -1;
	tar->header_bytes = 0;
	tar->left_bytes = entry.size_bytes;
	tar->padding_bytes = (size_t)(-entry.size_bytes % TAR_BLOCK_BYTES);
	tar->is_skipping = entry.name[0] == '\0';
	if (!tar->is_skipping && tar->handler.begin(tar->handler.context, &entry, err) < 0)
		return -1;
	if (entry.size_bytes == 0)
		return end_entry(tar, err);
	tar->state = TAR_IN_DATA;

	return 0;
}

static int
take_header(struct tar_push *tar, const uint8_t *data, size_t size, struct err *err)
{
	memcpy(tar->header + tar->header_bytes, data, size);
	tar->header_bytes += size;

	return tar->header_bytes == TAR_BLOCK_BYTES ? begin_entry(tar, err) : 0;
}

static int
take_data(struct tar_push *tar, const uint8_t *data, size_t size, struct err *err)
{
	if (tar->handler.data(tar->handler.context, data, size, err) < 0)
		return -1;
	tar->left_bytes -= size;

	return tar->left_bytes == 0 ? end_entry(tar, err) : 0;
}

static int
take_end(const struct tar_push *tar, const uint8_t *data, size_t size, struct err *err)
{
	if (!is_zero(data, size))
		return err_set(err, ERR_DATA,
		    "tar stream: something follows its end at offset %" PRIu64, tar->offset - size);

	return 0;
}

/* Take from `data` what belongs to the present state; returns how much, or -1. */
static int
take(struct tar_push *tar, const uint8_t *data, size_t size, size_t *ret_taken, struct err *err)
{
	size_t header_left = TAR_BLOCK_BYTES - tar->header_bytes;
	uint64_t wanted = tar->state == TAR_IN_HEADER ? header_left : tar->left_bytes;

	if (tar->state != TAR_AT_END && wanted < size)
		size = (size_t)wanted;
	*ret_taken = size;
	tar->offset += size;

	switch (tar->state) {
	case TAR_IN_HEADER:
		return take_header(tar, data, size, err);
	case TAR_IN_DATA:
		return take_data(tar, data, size, err);
	case TAR_IN_PADDING:
		tar->left_bytes -= size;
		if (tar->left_bytes == 0)
			tar->state = TAR_IN_HEADER;
		return 0;
	case TAR_AT_END:
	default:
		return take_end(tar, data, size, err);
	}
}

static int
tar_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct tar_push *tar = (struct tar_push *)sink;
	const uint8_t *at = data;

	while (size > 0) {
		size_t taken;

		if (take(tar, at, size, &taken, err) < 0)
			return -1;
		at += taken;
		size -= taken;
	}

	return 0;
}

static int
tar_finish(struct sink *sink, struct err *err)
{
	const struct tar_push *tar = (const struct tar_push *)sink;

	if (tar->state == TAR_AT_END || (tar->state == TAR_IN_HEADER && tar->header_bytes == 0))
		return 0;

	return err_set(err, ERR_DATA, "tar stream is cut short at offset %" PRIu64, tar->offset);
}

static void
tar_free(struct sink *sink)
{
	free(sink);
}

static const struct sink_ops tar_ops = {
	.name = "tar",
	.write = tar_write,
	.finish = tar_finish,
	.free = tar_free,
};

struct sink *
tar_push_new(const struct tar_handler *handler)
{
	struct tar_push *tar = xcalloc(1, sizeof(*tar));

	tar->base.ops = &tar_ops;
	tar->handler = *handler;

	return &tar->base;
}
