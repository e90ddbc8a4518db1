/* Tar entries as a server sends them, for tests: headers, data, padding into a str. */
#ifndef TESTS_UNIT_SOURCE_TAR_TEXT_H
#define TESTS_UNIT_SOURCE_TAR_TEXT_H

#include <stddef.h>

struct str;

void tar_text_file(struct str *to, const char *name, const void *data, size_t size);
void tar_text_folder(struct str *to, const char *name, unsigned mode);
void tar_text_link(struct str *to, const char *name, const char *target);
void tar_text_end(struct str *to);

#endif
