/* A name for a text: short, the same everywhere and always.  Not for secrets, nor against forgers. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { HASH_BYTES = 16 };

/*
 * FNV-1a with 128 bits (draft-eastlake-fnv, section 3), most significant byte first.  Two texts that
 * nobody chose to collide have the same one once in 2^128.
 */
void hash_text(const char *text, uint8_t ret_hash[HASH_BYTES]);

/* The same with 64 bits, of bytes: for tables, and where it only has to tell new from old. */
uint64_t hash_short(const void *data, size_t size);

#endif
