/*
 * Numbers, sizes, durations and the like from text.  The only place where text becomes a number:
 * the whole string must be used, ranges and overflow are checked, and the error shows the text.
 */
#ifndef BASE_PARSE_H
#define BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct err;

int parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value, struct err *err)
    MUST_CHECK;
int parse_i64(const char *text, int64_t min, int64_t max, int64_t *ret_value, struct err *err)
    MUST_CHECK;
int parse_unsigned(const char *text, unsigned min, unsigned max, unsigned *ret_value,
    struct err *err) MUST_CHECK;
int parse_hex_u64(const char *text, size_t digits_max, uint64_t *ret_value, struct err *err)
    MUST_CHECK;

/* "true"/"false", "yes"/"no", "on"/"off". */
int parse_bool(const char *text, bool *ret_value, struct err *err) MUST_CHECK;

/* "4096", "64KiB", "100 MB", "1.5GiB": K, M, G, T with iB are powers of 1024, with B of 1000. */
int parse_size_bytes(const char *text, uint64_t *ret_bytes, struct err *err) MUST_CHECK;

/* "30d", "6h", "15min", "90s", "2w", "500ms", "1h30min".  A bare number is refused. */
int parse_duration_us(const char *text, int64_t *ret_us, struct err *err) MUST_CHECK;

/* "80%" or "80": 0 to 100. */
int parse_percent(const char *text, unsigned *ret_percent, struct err *err) MUST_CHECK;

/* Hex text of exactly 2 * size digits to bytes. */
int parse_hex_bytes(const char *text, uint8_t *ret_data, size_t size, struct err *err) MUST_CHECK;

/* "1.2 GiB", "640 kB" style text for people; `text` holds at least 32 bytes.  Returns `text`. */
const char *format_bytes(uint64_t bytes, char *text);

#endif
