/*
 * A growing array of one type:  `VEC(struct part) parts;` zero-initialised is empty.
 * Items move when the array grows, so keep indexes, not pointers, across a push.
 * What the items own is freed by their owner before vec_done.
 */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include <stddef.h>
#include <stdlib.h>

#include "base/mem.h"

#define VEC(type)                                                                                  \
	struct {                                                                                   \
		type *items;                                                                       \
		size_t count;                                                                      \
		size_t capacity;                                                                   \
	}

/* Add one zeroed item and give a pointer to it, good until the next push. */
#define vec_add(vec)                                                                               \
	(vec_grow_((void **)&(vec)->items, &(vec)->capacity, (vec)->count, sizeof(*(vec)->items)), \
	    &(vec)->items[(vec)->count++])

#define vec_push(vec, item) (*vec_add(vec) = (item))

#define vec_done(vec)                                                                              \
	do {                                                                                       \
		free((vec)->items);                                                                \
		(vec)->items = NULL;                                                               \
		(vec)->count = 0;                                                                  \
		(vec)->capacity = 0;                                                               \
	} while (0)

/* Not for direct use: room for one more zeroed item. */
void vec_grow_(void **items, size_t *capacity, size_t count, size_t item_size);

#endif
