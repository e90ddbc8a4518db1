#include "base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SECRET_MAX_BYTES = 64 * 1024 };

/* The text lives in its own pages, so that madvise can keep it out of a core dump. */
struct secret {
	char *text;
	size_t mapped_bytes;
};

static void *
checked(void *data)
{
	if (data == NULL) {
		(void)fputs("blackstart: out of memory\n", stderr);
		abort();
	}

	return data;
}

void *
xmalloc(size_t size)
{
	return checked(malloc(size > 0 ? size : 1));
}

void *
xcalloc(size_t count, size_t size)
{
	return checked(calloc(count > 0 ? count : 1, size > 0 ? size : 1));
}

void *
xrealloc(void *data, size_t size)
{
	return checked(realloc(data, size > 0 ? size : 1));
}

char *
xstrdup(const char *text)
{
	return text != NULL ? checked(strdup(text)) : NULL;
}

char *
xstrndup(const char *text, size_t size)
{
	return checked(strndup(text, size));
}

char *
xasprintf(const char *format, ...)
{
	char *text = NULL;
	va_list args;
	int size;

	va_start(args, format);
	size = vasprintf(&text, format, args);
	va_end(args);

	return checked(size >= 0 ? text : NULL);
}

bool
mem_is_zero(const void *data, size_t size)
{
	const uint8_t *at = data;

	return size == 0 || (at[0] == 0 && memcmp(at, at + 1, size - 1) == 0);
}

bool
mem_add(uint64_t a, uint64_t b, uint64_t *ret_sum)
{
	return !__builtin_add_overflow(a, b, ret_sum);
}

bool
mem_mul(uint64_t a, uint64_t b, uint64_t *ret_product)
{
	return !__builtin_mul_overflow(a, b, ret_product);
}

struct secret *
secret_new(const char *data, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct secret *secret = xmalloc(sizeof(*secret));

	assert(size <= SECRET_MAX_BYTES);
	secret->mapped_bytes = (size + 1 + page - 1) / page * page;
	secret->text = mmap(NULL, secret->mapped_bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	checked(secret->text == MAP_FAILED ? NULL : secret->text);
	(void)madvise(secret->text, secret->mapped_bytes, MADV_DONTDUMP);
	memcpy(secret->text, data, size);

	return secret;
}

const char *
secret_text(const struct secret *secret)
{
	return secret != NULL ? secret->text : NULL;
}

void
secret_free(struct secret *secret)
{
	if (secret == NULL)
		return;
	explicit_bzero(secret->text, secret->mapped_bytes);
	(void)munmap(secret->text, secret->mapped_bytes);
	free(secret);
}
