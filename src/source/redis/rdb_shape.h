/*
 * How the parts of an RDB file are built, as data: for each type of value and each opcode the
 * sequence of its pieces.  Pure.  From src/rdb.c of Redis 2.6 to 8.0 and of Valkey 8 and 9.
 *
 *   s  a string              k  the key         a v  name and value of an auxiliary field
 *   l  a length              1 4 8 b  that many (b: 16) bytes
 *   d  a number as text      i  a stream's id: a string of 16 bytes
 *   p z n m  a string that holds a listpack, ziplist, intset, zipmap
 *   q  a node of a list: 1 and a string, or 2 and a listpack
 *   *(...)  a length, and so often what is in the brackets
 *   M  a module's value: numbered pieces until 0
 */
#ifndef SOURCE_REDIS_RDB_SHAPE_H
#define SOURCE_REDIS_RDB_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

enum rdb_kind {
	RDB_STRING,
	RDB_LIST,
	RDB_SET,
	RDB_ZSET,
	RDB_HASH,
	RDB_STREAM,
	RDB_MODULE,
	RDB_KINDS_COUNT,
};

enum rdb_opcode {
	RDB_SLOT_IMPORT = 0xf3, /* Valkey; of Redis: facts about a key that modules keep */
	RDB_SLOT_INFO = 0xf4,
	RDB_FUNCTION = 0xf5,
	RDB_MODULE_AUX = 0xf7,
	RDB_IDLE = 0xf8,
	RDB_FREQUENCY = 0xf9,
	RDB_AUX = 0xfa,
	RDB_RESIZE = 0xfb,
	RDB_EXPIRES_MS = 0xfc,
	RDB_EXPIRES_S = 0xfd,
	RDB_SELECT = 0xfe,
	RDB_END = 0xff,
};

/* NULL: not known, or not of this family. */
const char *rdb_shape_of_type(uint8_t type, bool is_valkey, enum rdb_kind *ret_kind);
const char *rdb_shape_of_opcode(uint8_t opcode, bool is_valkey);

/* "string", "zset", as the server's TYPE says; "module" for all of them. */
const char *rdb_kind_name(enum rdb_kind kind);

/* Is every type and opcode of this version known here. */
bool rdb_version_is_known(unsigned version, bool is_valkey);

/*
 * Does a server of the family ("redis", "valkey") and version ("7.0.15") load such a file.  A Redis
 * refuses what is newer than it writes itself; Valkey all of Redis' since the two parted (12 to 79).
 */
bool rdb_version_loads_into(unsigned version, bool is_valkey, const char *family,
    const char *server_version);

/* The least server that loads it: "Redis 7.0".  A const text. */
const char *rdb_version_needs(unsigned version, bool is_valkey);

#endif
