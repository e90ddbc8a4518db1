/*
 * Text that grows, up to a maximum it is born with.
 *
 * A str never aborts on outside input: what does not fit is left out and str_is_full() says so.
 * `data` is always NUL-terminated once anything was added; str_text() is safe at any time.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct str {
	char *data;
	size_t size; /* without the NUL */
	size_t capacity;
	size_t max;   /* 0 stands for STR_DEFAULT_MAX */
	bool is_full; /* something did not fit */
};

enum { STR_DEFAULT_MAX = 1024 * 1024 };

#define STR_INIT                                                                                   \
	{                                                                                          \
		.data = NULL                                                                       \
	}
#define STR_INIT_MAX(max_bytes)                                                                    \
	{                                                                                          \
		.max = (max_bytes)                                                                 \
	}

void str_add(struct str *str, const char *text);
void str_add_bytes(struct str *str, const void *data, size_t size);
void str_add_char(struct str *str, char c);
void str_addf(struct str *str, const char *format, ...) PRINTF_LIKE(2, 3);
void str_add_hex(struct str *str, const uint8_t *data, size_t size); /* lower case */

/* Cut back to `size` bytes and forget that something did not fit. */
void str_cut(struct str *str, size_t size);

const char *str_text(const struct str *str); /* a loan, "" when empty */
bool str_is_full(const struct str *str);
char *str_take(struct str *str); /* yours to free; the str is empty afterwards */
void str_done(struct str *str);

/* Do two texts equal; NULL equals only NULL. */
bool str_equals(const char *a, const char *b);
bool str_starts_with(const char *text, const char *prefix);
bool str_ends_with(const char *text, const char *suffix);

/* The candidate nearest to `word` by edit distance, or NULL if none is near: for "did you mean". */
const char *str_nearest(const char *word, const char *const *candidates, size_t count);

#endif
