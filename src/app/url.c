#include "app/url.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"

static const struct scheme {
	const char *begin;
	const char *type;
	const char *source_name;
	const char *sslmode; /* when the URL does not say */
} schemes[] = {
	{ "postgres://", "postgres", "postgresql", NULL },
	{ "postgresql://", "postgres", "postgresql", NULL },
	{ "redis://", "redis", "redis", NULL },
	{ "rediss://", "redis", "redis", "verify-full" },
};

static const struct scheme *
scheme_of(const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		if (str_starts_with(text, schemes[i].begin))
			return &schemes[i];
	}

	return NULL;
}

const char *
url_source_name(const char *text)
{
	const struct scheme *scheme = scheme_of(text);

	return scheme != NULL ? scheme->source_name : schemes[0].source_name;
}

bool
url_is(const char *text)
{
	return strstr(text, "://") != NULL;
}

void
url_done(struct url *url)
{
	free(url->type);
	free(url->user);
	free(url->host);
	free(url->database);
	free(url->sslmode);
	*url = (struct url){ .type = NULL };
}

static int
bad_url(struct err *err, const char *why)
{
	(void)err_set(err, ERR_USAGE, "the URL %s", why);

	return err_hint(err,
	    "Write it like postgres://USER@HOST:PORT/DATABASE or redis://USER@HOST:PORT.");
}

/* Undo %XX in a piece of the URL; NULL when it is malformed or holds a NUL. */
static char *
decode(const char *text, size_t size)
{
	SCOPED(str_done) struct str out = STR_INIT;

	for (size_t i = 0; i < size; i++) {
		struct err ignored = ERR_INIT;
		uint64_t byte;
		char hex[3] = { 0 };

		if (text[i] != '%') {
			str_add_char(&out, text[i]);
			continue;
		}
		if (i + 2 >= size)
			return NULL;
		memcpy(hex, text + i + 1, 2);
		if (parse_hex_u64(hex, 2, &byte, &ignored) < 0 || byte == 0)
			return NULL;
		str_add_char(&out, (char)byte);
		i += 2;
	}

	return str_take(&out);
}

static int
take_piece(const char *text, size_t size, char **ret_piece, struct err *err)
{
	char *piece;

	if (size == 0)
		return 0;
	piece = decode(text, size);
	if (piece == NULL)
		return bad_url(err, "has a malformed %XX in it");
	free(*ret_piece);
	*ret_piece = piece;

	return 0;
}

/* "host", "host:port", "[::1]:port". */
static int
take_host(const char *text, size_t size, struct url *url, struct err *err)
{
	const char *end = text + size;
	const char *host_end = text;
	SCOPED(freep) char *port = NULL;

	if (size > 0 && text[0] == '[') {
		host_end = memchr(text, ']', size);
		if (host_end == NULL)
			return bad_url(err, "has a '[' without ']'");
		if (take_piece(text + 1, (size_t)(host_end - text) - 1, &url->host, err) < 0)
			return -1;
		host_end++;
	} else {
		while (host_end < end && *host_end != ':')
			host_end++;
		if (take_piece(text, (size_t)(host_end - text), &url->host, err) < 0)
			return -1;
	}
	if (host_end == end)
		return 0;
	port = xstrndup(host_end + 1, (size_t)(end - host_end) - 1);
	if (*host_end != ':' || parse_unsigned(port, 1, 65535, &url->port, err) < 0)
		return bad_url(err, "has a port that is not a number from 1 to 65535");

	return 0;
}

static int
take_authority(const char *text, size_t size, struct url *url, struct err *err)
{
	const char *at = memrchr(text, '@', size);
	size_t user_size = at != NULL ? (size_t)(at - text) : 0;

	if (at != NULL && memchr(text, ':', user_size) != NULL) {
		(void)err_set(err, ERR_USAGE,
		    "there is a password in the URL, where everybody on this machine can read it");
		return err_hint(err,
		    "Put it into a file that only you can read (chmod 600) and name it with --password-file.");
	}
	if (take_piece(text, user_size, &url->user, err) < 0)
		return -1;
	if (at != NULL)
		return take_host(at + 1, size - user_size - 1, url, err);

	return take_host(text, size, url, err);
}

static int
take_parameter(const char *text, size_t size, struct url *url, struct err *err)
{
	static const struct {
		const char *name;
		size_t size;
	} known[] = { { "sslmode=", 8 }, { "host=", 5 }, { "user=", 5 } };

	if (size >= known[0].size && strncmp(text, known[0].name, known[0].size) == 0)
		return take_piece(text + known[0].size, size - known[0].size, &url->sslmode, err);
	if (size >= known[1].size && strncmp(text, known[1].name, known[1].size) == 0)
		return take_piece(text + known[1].size, size - known[1].size, &url->host, err);
	if (size >= known[2].size && strncmp(text, known[2].name, known[2].size) == 0)
		return take_piece(text + known[2].size, size - known[2].size, &url->user, err);

	return bad_url(err, "has a parameter other than sslmode, host and user");
}

static int
take_parameters(const char *text, struct url *url, struct err *err)
{
	while (*text != '\0') {
		size_t size = strcspn(text, "&");

		if (take_parameter(text, size, url, err) < 0)
			return -1;
		text += size + (text[size] == '&' ? 1 : 0);
	}

	return 0;
}

static int
parse_into(const char *text, struct url *url, struct err *err)
{
	const struct scheme *scheme = scheme_of(text);
	const char *rest;
	size_t authority_size;

	if (scheme == NULL)
		return bad_url(err, "does not begin with postgres:// or redis://");
	rest = text + strlen(scheme->begin);
	url->type = xstrdup(scheme->type);
	url->sslmode = xstrdup(scheme->sslmode);
	authority_size = strcspn(rest, "/?");
	if (take_authority(rest, authority_size, url, err) < 0)
		return -1;
	rest += authority_size;
	if (*rest == '/') {
		size_t size = strcspn(rest + 1, "?");

		if (take_piece(rest + 1, size, &url->database, err) < 0)
			return -1;
		rest += 1 + size;
	}
	if (url->database != NULL && str_equals(url->type, "redis"))
		return bad_url(err, "names a database, and a Redis backup holds all of them");

	return *rest == '?' ? take_parameters(rest + 1, url, err) : 0;
}

int
url_parse(const char *text, struct url *ret_url, struct err *err)
{
	SCOPED(url_done) struct url url = { .type = NULL };

	if (parse_into(text, &url, err) < 0)
		return -1;
	*ret_url = url;
	url = (struct url){ .type = NULL };

	return 0;
}
