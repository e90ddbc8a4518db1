/*
 * The URL of a server on the command line: postgres://USER@HOST:PORT/DATABASE[?sslmode=...], or
 * redis://USER@HOST:PORT; rediss:// is the same under TLS, with the server's name verified.
 * A password in it is refused: command lines are seen by everybody on the machine.
 */
#ifndef APP_URL_H
#define APP_URL_H

#include <stdbool.h>

#include "base/scope.h"

struct err;

struct url {
	char *type; /* "postgres", "redis" */
	char *user; /* NULL: not given */
	char *host; /* NULL: not given; a name, an address, or a socket folder ("%2Fvar%2Frun") */
	unsigned port;  /* 0: not given */
	char *database; /* NULL: not given */
	char *sslmode;  /* NULL: not given */
};

/* Does the text look like a URL rather than a name. */
bool url_is(const char *text);

/* What a source is called in the store when nobody says it: "postgresql", "redis". */
const char *url_source_name(const char *text);

int url_parse(const char *text, struct url *ret_url, struct err *err) MUST_CHECK;
void url_done(struct url *url);

#endif
