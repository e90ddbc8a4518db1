/* What the files of the RDB reader share: the machine, the strings, the parts of the file. */
#ifndef SOURCE_REDIS_RDB_READER_INTERNAL_H
#define SOURCE_REDIS_RDB_READER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"
#include "source/redis/crc64.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/rdb_summary.h"

enum {
	RDB_CARRY_BYTES = 16,
	RDB_LOOPS_MAX = 4,
	RDB_NUMBERS_MAX = 3,
	RDB_TRAILER_BYTES = 8,
	RDB_FIXED_MAX_BYTES = 8,
	RDB_CAPTURE_MAX_BYTES = 4096, /* of a name: what is longer is shown without it */
	RDB_DEEP_MAX_BYTES = 64 * 1024 * 1024,
	RDB_LZF_RATIO_MAX = 264, /* no three bytes of it make more */
};

/* What the next bytes are. */
enum rdb_step {
	RDB_STEP_MAGIC,
	RDB_STEP_OPCODE,
	RDB_STEP_LENGTH,      /* its first byte */
	RDB_STEP_LENGTH_REST, /* 1, 4 or 8 more */
	RDB_STEP_FIXED,       /* bytes of the shape, or an integer that is a string */
	RDB_STEP_DOUBLE,      /* its length */
	RDB_STEP_SKIP,        /* bytes that nobody looks at */
	RDB_STEP_COLLECT,     /* a string that somebody does */
	RDB_STEP_TRAILER,
	RDB_STEP_END,
	RDB_STEP_BLIND, /* only the checksum is still looked at */
};

enum rdb_length_for {
	RDB_FOR_NUMBER,
	RDB_FOR_COUNT,
	RDB_FOR_STRING,
	RDB_FOR_STORED, /* of a compressed string: as it is stored, ... */
	RDB_FOR_PLAIN,  /* ... and expanded */
	RDB_FOR_CONTAINER,
	RDB_FOR_MODULE_PART,
	RDB_FOR_MODULE_NUMBER,
};

struct rdb_loop {
	const char *body;
	uint64_t left;
};

/* A string that is on its way. */
struct rdb_text {
	char role; /* as in a shape: 's', 'k', 'p', ... */
	bool is_compressed;
	uint64_t stored_bytes;
	uint64_t plain_bytes;
};

struct rdb_buffer {
	uint8_t *data;
	size_t size;
	size_t capacity;
};

struct rdb_reader {
	struct rdb_options options;
	struct rdb_summary summary;
	struct crc64 crc;
	uint8_t held[RDB_TRAILER_BYTES]; /* the last bytes seen: not in the checksum yet */
	size_t held_size;

	uint64_t offset; /* of the piece that is being read ... */
	uint64_t end;    /* ... and behind what was read of it */
	enum rdb_step step;
	size_t wanted;
	uint8_t carry[RDB_CARRY_BYTES]; /* a piece that came in two */
	size_t carried;
	uint64_t skip_bytes;

	const char *shape; /* what is still to come of this part */
	struct rdb_loop loops[RDB_LOOPS_MAX];
	unsigned loops_count;
	enum rdb_length_for length_for;
	uint8_t length_high; /* bits of a length whose other half is still to come */
	bool is_encoded;     /* the length stands for an integer or a compressed string */
	uint64_t numbers[RDB_NUMBERS_MAX];
	unsigned numbers_count;

	struct rdb_text text;
	struct rdb_buffer collected;
	struct rdb_buffer expanded;
	struct rdb_buffer key; /* the name; empty when it is too long to keep */
	struct rdb_buffer aux;

	uint8_t opcode; /* of the present part, or the type of the present key */
	bool is_key;
	bool is_value; /* the key's name is behind us */
	bool has_expiry;
	uint8_t fixed[RDB_FIXED_MAX_BYTES]; /* the last piece of a part that is no key */
	uint64_t expires_ms;                /* of the key that comes; 0: never */
	enum rdb_kind kind;
	const char *value_shape;
	uint64_t part_began; /* the first byte of the key with its expiry */
	bool is_part_begun;
	struct rdb_database *database; /* the one selected, NULL before the first */
};

/* ERR_DATA with the place. */
int rdb_damaged(const struct rdb_reader *reader, const char *what, struct err *err);

/* What comes next by the shape; at its end the part is finished. */
int rdb_advance(struct rdb_reader *reader, struct err *err) MUST_CHECK;
void rdb_want(struct rdb_reader *reader, enum rdb_step step, size_t bytes);
void rdb_want_length(struct rdb_reader *reader, enum rdb_length_for length_for);

/* A part begins with this byte; a part ends. */
int rdb_part_begin(struct rdb_reader *reader, uint8_t opcode, struct err *err) MUST_CHECK;
int rdb_part_end(struct rdb_reader *reader, struct err *err) MUST_CHECK;

/* A string begins (text.role and sizes are set), is an integer, has been collected. */
int rdb_text_begin(struct rdb_reader *reader, struct err *err) MUST_CHECK;
int rdb_text_number(struct rdb_reader *reader, const uint8_t *data, size_t size, struct err *err)
    MUST_CHECK;
int rdb_text_end(struct rdb_reader *reader, const uint8_t *data, struct err *err) MUST_CHECK;

void rdb_buffer_set(struct rdb_buffer *buffer, const void *data, size_t size);
void rdb_buffer_add(struct rdb_buffer *buffer, const void *data, size_t size);

#endif
