#include "app/web/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"

enum {
	BACKLOG = 512,
	PORT_MAX = 65535,
};

/* ---- text --------------------------------------------------------------------------------------- */

static bool
read_v4(const char *host, unsigned port, struct address *to)
{
	to->name.v4.sin_family = AF_INET;
	to->name.v4.sin_port = htons((uint16_t)port);
	to->size = sizeof(to->name.v4);

	return inet_pton(AF_INET, host, &to->name.v4.sin_addr) == 1;
}

static bool
read_v6(const char *host, unsigned port, struct address *to)
{
	to->name.v6.sin6_family = AF_INET6;
	to->name.v6.sin6_port = htons((uint16_t)port);
	to->size = sizeof(to->name.v6);

	return inet_pton(AF_INET6, host, &to->name.v6.sin6_addr) == 1;
}

static bool
read_host(const char *text, size_t size, unsigned port, struct address *to)
{
	SCOPED(freep) char *host = xstrndup(text, size);
	bool is_bracketed = size > 2 && text[0] == '[' && text[size - 1] == ']';

	if (str_equals(host, "localhost"))
		return read_v4("127.0.0.1", port, to);
	if (str_equals(host, "*"))
		return read_v4("0.0.0.0", port, to);
	if (is_bracketed) {
		host[size - 1] = '\0';
		return read_v6(host + 1, port, to);
	}

	return read_v4(host, port, to);
}

int
address_parse(const char *text, struct address *ret_address, struct err *err)
{
	struct address address = { .size = 0 };
	const char *colon = strrchr(text, ':');
	unsigned port;

	if (colon == NULL || parse_unsigned(colon + 1, 0, PORT_MAX, &port, err) < 0 ||
	    !read_host(text, (size_t)(colon - text), port, &address)) {
		(void)err_set(err, ERR_CONFIG, "'%.100s' is not an address and a port", text);
		return err_hint(err, "Write it like 127.0.0.1:8480, [::1]:8480 or *:8480.");
	}
	*ret_address = address;

	return 0;
}

bool
address_is_loopback(const struct address *address)
{
	if (address->name.any.sa_family == AF_INET)
		return ntohl(address->name.v4.sin_addr.s_addr) >> 24 == 127;

	return IN6_IS_ADDR_LOOPBACK(&address->name.v6.sin6_addr);
}

const char *
address_format(const struct address *address, bool is_bare, char *text)
{
	char host[INET6_ADDRSTRLEN] = "?";
	bool is_v6 = address->name.any.sa_family == AF_INET6;

	if (is_v6)
		(void)inet_ntop(AF_INET6, &address->name.v6.sin6_addr, host, sizeof(host));
	else
		(void)inet_ntop(AF_INET, &address->name.v4.sin_addr, host, sizeof(host));
	if (is_bare)
		(void)snprintf(text, ADDRESS_TEXT_SIZE, "%s", host);
	else
		(void)snprintf(text, ADDRESS_TEXT_SIZE, is_v6 ? "[%s]:%u" : "%s:%u", host,
		    ntohs(is_v6 ? address->name.v6.sin6_port : address->name.v4.sin_port));

	return text;
}

/* ---- the socket --------------------------------------------------------------------------------- */

int
address_listen(const struct address *address, int *ret_fd, struct err *err)
{
	const int yes = 1;
	char text[ADDRESS_TEXT_SIZE];
	SCOPED(closep)
	int fd = socket(address->name.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(err, "cannot make a socket for the page");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, &address->name.any, address->size) < 0 || listen(fd, BACKLOG) < 0) {
		bool is_taken = errno == EADDRINUSE;

		(void)err_sys(err, "the page cannot listen on %s",
		    address_format(address, false, text));
		if (!is_taken)
			return -1;
		err->kind = ERR_BUSY;
		return err_hint(err,
		    "Another program has that port ('ss -ltnp' shows which): end it, or set another one at web.listen.");
	}
	*ret_fd = TAKE_FD(fd);

	return 0;
}

/* ---- the Host header ---------------------------------------------------------------------------- */

/* Without its port. */
static size_t
host_size(const char *host)
{
	const char *close = strchr(host, ']');

	if (host[0] == '[' && close != NULL)
		return (size_t)(close - host) + 1;

	return strcspn(host, ":");
}

bool
host_is_name(const char *host, const char *name)
{
	size_t size = host_size(host);

	return size == strlen(name) && strncasecmp(host, name, size) == 0;
}

bool
host_is_plain(const char *host)
{
	struct address ignored = { .size = 0 };
	size_t size = host_size(host);

	return host_is_name(host, "localhost") ||
	    (size > 0 && size < ADDRESS_TEXT_SIZE && host[0] != '*' &&
		read_host(host, size, 0, &ignored));
}
