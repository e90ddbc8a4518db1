#include "source/redis/rdb_shape.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"

enum {
	VALKEY_HASH_WITH_TTLS = 22,
	REDIS_KNOWN_VERSION = 12,
	VALKEY_KNOWN_VERSION = 80,
	VALKEY_REDIS_VERSION = 11,
};

struct type {
	const char *shape;
	enum rdb_kind kind;
};

/* Types 6 (modules without a length) and 8 (never used) cannot be followed. */
static const struct type types[] = {
	[0] = { "s", RDB_STRING },
	[1] = { "*(s)", RDB_LIST },
	[2] = { "*(s)", RDB_SET },
	[3] = { "*(sd)", RDB_ZSET },
	[4] = { "*(ss)", RDB_HASH },
	[5] = { "*(s8)", RDB_ZSET },
	[7] = { "lM", RDB_MODULE },
	[9] = { "m", RDB_HASH },
	[10] = { "z", RDB_LIST },
	[11] = { "n", RDB_SET },
	[12] = { "z", RDB_ZSET },
	[13] = { "z", RDB_HASH },
	[14] = { "*(z)", RDB_LIST },
	/* entries; length, last id; groups: name, last id, pending, consumers */
	[15] = { "*(ip)lll*(sll*(b8l)*(s8*(b)))", RDB_STREAM },
	[16] = { "p", RDB_HASH },
	[17] = { "p", RDB_ZSET },
	[18] = { "*(q)", RDB_LIST },
	/* also first id, greatest deleted id, entries added; of a group: entries read */
	[19] = { "*(ip)llllllll*(slll*(b8l)*(s8*(b)))", RDB_STREAM },
	[20] = { "p", RDB_SET },
	/* also when a consumer was last active */
	[21] = { "*(ip)llllllll*(slll*(b8l)*(s88*(b)))", RDB_STREAM },
	/* hashes whose fields expire; 22 and 23 are those of a release candidate */
	[22] = { "*(lss)", RDB_HASH },
	[23] = { "p", RDB_HASH },
	[24] = { "8*(lss)", RDB_HASH },
	[25] = { "8p", RDB_HASH },
};

const char *
rdb_shape_of_type(uint8_t type, bool is_valkey, enum rdb_kind *ret_kind)
{
	if (is_valkey && type == VALKEY_HASH_WITH_TTLS) {
		*ret_kind = RDB_HASH;
		return "*(ss8)";
	}
	if (type >= ARRAY_SIZE(types) || (is_valkey && type > VALKEY_HASH_WITH_TTLS))
		return NULL;
	*ret_kind = types[type].kind;

	return types[type].shape;
}

const char *
rdb_shape_of_opcode(uint8_t opcode, bool is_valkey)
{
	switch (opcode) {
	case RDB_SLOT_IMPORT:
		return is_valkey ? "s*(ll)" : "*(4M)";
	case RDB_SLOT_INFO:
		return "lll";
	case RDB_FUNCTION:
		return "s";
	case RDB_MODULE_AUX:
		return "lllM"; /* id, 2, when */
	case RDB_IDLE:
		return "l";
	case RDB_FREQUENCY:
		return "1";
	case RDB_AUX:
		return "av";
	case RDB_RESIZE:
		return "ll";
	case RDB_EXPIRES_MS:
		return "8";
	case RDB_EXPIRES_S:
		return "4";
	case RDB_SELECT:
		return "l";
	default:
		return NULL;
	}
}

const char *
rdb_kind_name(enum rdb_kind kind)
{
	static const char *const names[RDB_KINDS_COUNT] = { "string", "list", "set", "zset", "hash",
		"stream", "module" };

	return names[kind];
}

bool
rdb_version_is_known(unsigned version, bool is_valkey)
{
	return version <= (is_valkey ? VALKEY_KNOWN_VERSION : REDIS_KNOWN_VERSION);
}

const char *
rdb_version_needs(unsigned version, bool is_valkey)
{
	static const char *const redis[] = {
		[5] = "Redis 2.6",
		[6] = "Redis 2.6",
		[7] = "Redis 3.2",
		[8] = "Redis 4.0",
		[9] = "Redis 5.0",
		[10] = "Redis 7.0",
		[11] = "Redis 7.2",
		[12] = "Redis 7.4",
		[13] = "Redis 8.6",
	};

	if (is_valkey)
		return "Valkey 9.0";
	if (version < ARRAY_SIZE(redis) && redis[version] != NULL)
		return redis[version];

	return "a Redis newer than 8.6";
}

/* "7.0.15" as 700: the last number changes no format. */
static unsigned
release_of(const char *version)
{
	char *end;
	unsigned long major = strtoul(version, &end, 10);
	unsigned long minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;

	return (unsigned)(major * 100 + minor);
}

bool
rdb_version_loads_into(unsigned version, bool is_valkey, const char *family,
    const char *server_version)
{
	static const struct {
		unsigned release;
		unsigned version;
	} redis[] = { { 200, 6 }, { 302, 7 }, { 400, 8 }, { 500, 9 }, { 700, 10 }, { 702, 11 },
		{ 704, 12 }, { 806, 13 }, { 808, 16 } };
	unsigned release = release_of(server_version);
	unsigned largest = 0;

	if (strcmp(family, "valkey") == 0)
		return is_valkey ? release >= 900 : version <= VALKEY_REDIS_VERSION;
	for (size_t i = 0; i < ARRAY_SIZE(redis); i++) {
		if (release >= redis[i].release)
			largest = redis[i].version;
	}

	return !is_valkey && version <= largest;
}
