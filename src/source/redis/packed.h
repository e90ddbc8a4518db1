/*
 * The packed forms in which Redis keeps small collections, and which an RDB file holds as one
 * string: every length, count and end is followed, no byte outside is read.  Pure.
 *
 *   listpack  u32 bytes, u16 count (65535: not known), entries { encoding, data, back length }, ff
 *   ziplist   u32 bytes, u32 offset of the last, u16 count, entries { previous, encoding, data }, ff
 *   intset    u32 width (2, 4, 8), u32 count, numbers, ascending
 *   zipmap    u8 count (254: not known), { length, key, length, free, value, free bytes }, ff
 *
 * From src/listpack.c, ziplist.c, intset.c and zipmap.c of Redis.  Numbers are little-endian.
 */
#ifndef SOURCE_REDIS_PACKED_H
#define SOURCE_REDIS_PACKED_H

#include <stddef.h>
#include <stdint.h>

/* NULL, or what is wrong with it.  *ret_count is the number of entries (pairs in a zipmap). */
const char *packed_check_listpack(const uint8_t *data, size_t size, size_t *ret_count);
const char *packed_check_ziplist(const uint8_t *data, size_t size, size_t *ret_count);
const char *packed_check_intset(const uint8_t *data, size_t size, size_t *ret_count);
const char *packed_check_zipmap(const uint8_t *data, size_t size, size_t *ret_count);

#endif
