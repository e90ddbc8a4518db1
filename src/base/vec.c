#include "base/vec.h"

#include <assert.h>
#include <string.h>

void
vec_grow_(void **items, size_t *capacity, size_t count, size_t item_size)
{
	if (count == *capacity) {
		size_t wanted = *capacity > 0 ? *capacity * 2 : 8;

		assert(wanted < SIZE_MAX / 2 / item_size);
		*items = xrealloc(*items, wanted * item_size);
		*capacity = wanted;
	}
	memset((char *)*items + count * item_size, 0, item_size);
}
