/*
 * LZF, the compression of strings in RDB files.  A control byte below 32 announces that many and
 * one literal bytes; any other holds the length (upper 3 bits, 7: one more byte follows) and, with
 * the next byte, the distance of a copy from what is already there.
 */
#ifndef SOURCE_REDIS_LZF_H
#define SOURCE_REDIS_LZF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Expand all of `in` into exactly `out_size` bytes; false when it is not sound. */
bool lzf_expand(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size);

#endif
