#include "tar_text.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

enum { BLOCK = 512 };

static void
add_header(struct str *to, const char *name, char type, const char *link, size_t size,
    unsigned mode)
{
	char block[BLOCK] = { 0 };
	unsigned sum = 0;

	(void)snprintf(block, 100, "%s", name);
	(void)snprintf(block + 100, 8, "%07o", mode);
	(void)snprintf(block + 108, 8, "%07o", 0u);
	(void)snprintf(block + 116, 8, "%07o", 0u);
	(void)snprintf(block + 124, 12, "%011zo", size);
	(void)snprintf(block + 136, 12, "%011o", 1234567u);
	memset(block + 148, ' ', 8);
	block[156] = type;
	(void)snprintf(block + 157, 100, "%s", link);
	memcpy(block + 257, "ustar\00000", 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)block[i];
	(void)snprintf(block + 148, 8, "%06o", sum);
	str_add_bytes(to, block, BLOCK);
}

void
tar_text_file(struct str *to, const char *name, const void *data, size_t size)
{
	static const char zeros[BLOCK];

	add_header(to, name, '0', "", size, 0600);
	str_add_bytes(to, data, size);
	str_add_bytes(to, zeros, (BLOCK - size % BLOCK) % BLOCK);
}

void
tar_text_folder(struct str *to, const char *name, unsigned mode)
{
	add_header(to, name, '5', "", 0, mode);
}

void
tar_text_link(struct str *to, const char *name, const char *target)
{
	add_header(to, name, '2', target, 0, 0777);
}

void
tar_text_end(struct str *to)
{
	static const char zeros[2 * BLOCK];

	str_add_bytes(to, zeros, sizeof(zeros));
}
