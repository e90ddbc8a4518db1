/* A message as a whole e-mail: headers, plain text and HTML (RFC 5322, RFC 2045 to 2047). */
#ifndef APP_NOTIFY_MAIL_MESSAGE_H
#define APP_NOTIFY_MAIL_MESSAGE_H

#include "base/str.h"

struct message;

struct mail_addresses {
	const char *from;      /* "name@domain" */
	const char *const *to; /* NULL-terminated */
};

/*
 * The messages of one alarm make one thread: the first has a Message-ID made of the alarm, the
 * later ones refer to it.  The same message has the same Message-ID whenever it is sent, so that a
 * receiver sees that it got it twice.
 */
void mail_message_add(const struct message *message, const struct mail_addresses *addresses,
    struct str *to);

#endif
