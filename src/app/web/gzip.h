/* gzip, for what the page fetches again and again.  The only file that knows zlib. */
#ifndef APP_WEB_GZIP_H
#define APP_WEB_GZIP_H

#include <stddef.h>

struct str;

/* Append `data` as one gzip member to `to`; its `is_full` tells when it did not fit. */
void gzip_add(struct str *to, const void *data, size_t size);

#endif
