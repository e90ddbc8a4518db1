/* Where the page listens, as the configuration writes it. */
#ifndef APP_WEB_ADDRESS_H
#define APP_WEB_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/scope.h"

struct err;

enum { ADDRESS_TEXT_SIZE = 64 };

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} name;
	socklen_t size;
};

/* "127.0.0.1:8480", "[::1]:8480", "*:8480", "localhost:8480"; no name is looked up. */
int address_parse(const char *text, struct address *ret_address, struct err *err) MUST_CHECK;

/* Only this machine itself can reach it. */
bool address_is_loopback(const struct address *address);

/* "127.0.0.1:8480"; without the port when is_bare; `text` holds ADDRESS_TEXT_SIZE. */
const char *address_format(const struct address *address, bool is_bare, char *text);

/* A listening socket, yours.  ERR_BUSY: the port is taken. */
int address_listen(const struct address *address, int *ret_fd, struct err *err) MUST_CHECK;

/* Is `host`, of a Host header, an address or localhost: it cannot be a name of somebody else's. */
bool host_is_plain(const char *host);
/* Is it `name`, whatever its port. */
bool host_is_name(const char *host, const char *name);

#endif
