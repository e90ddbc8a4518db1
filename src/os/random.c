#include "os/random.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/random.h>
#include <sys/types.h>

/* getrandom never gives less than asked for up to this many bytes. */
enum { CHUNK_BYTES = 64 };

void
random_hex(char *text, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t bytes[CHUNK_BYTES];

	for (size_t i = 0; i < size; i++) {
		if (i % CHUNK_BYTES == 0) {
			ssize_t got;

			do
				got = getrandom(bytes, sizeof(bytes), 0);
			while (got < 0 && errno == EINTR);
			assert(got == (ssize_t)sizeof(bytes));
		}
		text[i] = digits[bytes[i % CHUNK_BYTES] & 15];
	}
	text[size] = '\0';
}
