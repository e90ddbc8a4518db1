/* Random bytes from the kernel, for ids and one-time names. */
#ifndef OS_RANDOM_H
#define OS_RANDOM_H

#include <stddef.h>

/* `size` hex digits and a NUL into `text` (size + 1 bytes). */
void random_hex(char *text, size_t size);

#endif
