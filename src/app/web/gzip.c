#include "app/web/gzip.h"

#include <stdint.h>
#include <stdlib.h>

#define ZLIB_CONST
#include <zlib.h>

#include "base/str.h"

enum {
	LEVEL = 1, /* the state is a few kB at any level, and this one takes a third of the time */
	GZIP_WINDOW = 15 + 16,
	MEMORY_LEVEL = 8,
};

void
gzip_add(struct str *to, const void *data, size_t size)
{
	z_stream stream = { .next_in = data, .avail_in = (uInt)size };
	uint8_t out[16 * 1024];
	int result;

	if (deflateInit2(&stream, LEVEL, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL,
		Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	do {
		stream.next_out = out;
		stream.avail_out = sizeof(out);
		result = deflate(&stream, Z_FINISH);
		str_add_bytes(to, out, sizeof(out) - stream.avail_out);
	} while (result == Z_OK);
	(void)deflateEnd(&stream);
}
