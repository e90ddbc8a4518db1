/*
 * Allocation that cannot fail, and keys that wipe themselves.
 *
 * The x functions abort the process when memory is exhausted: a program that cannot allocate a
 * few bytes cannot keep its promises.  Anything sized by outside input is bounded by the caller
 * before it is allocated.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

void *xmalloc(size_t size) MUST_CHECK;
void *xcalloc(size_t count, size_t size) MUST_CHECK;
void *xrealloc(void *data, size_t size) MUST_CHECK;
char *xstrdup(const char *text) MUST_CHECK; /* NULL gives NULL */
char *xstrndup(const char *text, size_t size) MUST_CHECK;
char *xasprintf(const char *format, ...) MUST_CHECK PRINTF_LIKE(1, 2);

/* Overflow-checked arithmetic for sizes that come from outside; false on overflow. */
bool mem_add(uint64_t a, uint64_t b, uint64_t *ret_sum) MUST_CHECK;
bool mem_mul(uint64_t a, uint64_t b, uint64_t *ret_product) MUST_CHECK;

/* Nothing but zeros; so is nothing at all. */
bool mem_is_zero(const void *data, size_t size);

/* A password or key: excluded from core dumps where the kernel can, wiped by secret_free. */
struct secret;

/* Copy `size` bytes (at most 64 KiB) into a new secret, NUL-terminated. */
struct secret *secret_new(const char *data, size_t size) MUST_CHECK;
const char *secret_text(const struct secret *secret); /* a loan; NULL secret gives NULL */
void secret_free(struct secret *secret);
SCOPED_FREE(struct secret, secret_free)

#endif
