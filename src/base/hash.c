#include "base/hash.h"

void
hash_text(const char *text, uint8_t ret_hash[HASH_BYTES])
{
	const unsigned __int128 prime = (unsigned __int128)1 << 88 | 0x13b;
	unsigned __int128 hash = (unsigned __int128)0x6c62272e07bb0142 << 64 | 0x62b821756295c58d;

	for (const char *c = text; *c != '\0'; c++)
		hash = (hash ^ (uint8_t)*c) * prime;
	for (size_t i = 0; i < HASH_BYTES; i++)
		ret_hash[i] = (uint8_t)(hash >> (8 * (HASH_BYTES - 1 - i)));
}

uint64_t
hash_short(const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);

	return hash;
}
