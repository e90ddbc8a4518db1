/*
 * Hand one message to a mail server by SMTP, over libcurl.  The message is whole: headers, an
 * empty line, body, with CRLF.  When 0 comes back the server has taken it over.
 */
#ifndef NET_MAIL_H
#define NET_MAIL_H

#include <stddef.h>

#include "base/scope.h"

struct err;
struct secret;

enum mail_security {
	MAIL_STARTTLS, /* plain at first, and refused when it cannot be secured */
	MAIL_TLS,
	MAIL_PLAIN,
};

struct mail_request {
	const char *host;
	unsigned port;
	enum mail_security security;
	const char *ca_file;           /* NULL: those that the machine trusts */
	const char *user;              /* NULL: no login */
	const struct secret *password; /* with `user` */
	const char *from;
	const char *const *to; /* NULL-terminated, at least one */
	const char *message;
	size_t message_bytes;
};

/*
 * ERR_AUTH: login or certificate; ERR_TIMEOUT; ERR_NET: no way there, or it broke, perhaps after
 * the server took the message; ERR_PEER: the server refused, with its words.
 */
int mail_send(const struct mail_request *request, struct err *err) MUST_CHECK;

#endif
