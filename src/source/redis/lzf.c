#include "source/redis/lzf.h"

#include <string.h>

enum { LITERAL_BELOW = 32, LONG_COPY = 7 };

bool
lzf_expand(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
	size_t at = 0;
	size_t made = 0;

	while (at < in_size) {
		unsigned control = in[at++];
		size_t length = control < LITERAL_BELOW ? control + 1 : control >> 5;
		size_t distance;

		if (control < LITERAL_BELOW) {
			if (length > in_size - at || length > out_size - made)
				return false;
			memcpy(out + made, in + at, length);
			at += length;
			made += length;
			continue;
		}
		if (length == LONG_COPY && at < in_size)
			length += in[at++];
		length += 2;
		if (at == in_size)
			return false;
		distance = ((size_t)(control & 31) << 8) + in[at++] + 1;
		if (distance > made || length > out_size - made)
			return false;
		/* It may overlap: that repeats a pattern. */
		for (size_t i = 0; i < length; i++, made++)
			out[made] = out[made - distance];
	}

	return made == out_size;
}
