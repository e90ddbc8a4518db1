/*
 * The page's own files: HTML, style, scripts, made part of the program when it is built
 * (tools/assets).  All but the page itself have a name that changes with what is in them, so that
 * a browser never asks for one twice.
 */
#ifndef APP_WEB_ASSET_H
#define APP_WEB_ASSET_H

#include <stdbool.h>
#include <stddef.h>

struct reply;
struct request;

struct asset {
	const char *path; /* "/", "/a/page-1f2e3d4c5b6a.js" */
	const char *type;
	const char *etag;
	const void *plain;
	size_t plain_size;
	const void *gzip;
	size_t gzip_size;
	bool is_immutable;
};

/* false: there is no asset of this path. */
bool asset_answer(const struct request *request, struct reply *reply);

#endif
