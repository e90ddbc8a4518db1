#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/channel_internal.h"

struct listener {
	struct channel socket; /* only waited for */
	unsigned port;
};

void
listener_free(struct listener *listener)
{
	if (listener == NULL)
		return;
	if (listener->socket.fd >= 0)
		(void)close(listener->socket.fd);
	free(listener);
}

unsigned
listener_port(const struct listener *listener)
{
	return listener->port;
}

static int
parse_address(const struct listener_options *options, union channel_address *address,
    socklen_t *size, struct err *err)
{
	uint16_t port = htons((uint16_t)options->port);

	*address = (union channel_address){ .any = { .sa_family = AF_UNSPEC } };
	if (inet_pton(AF_INET, options->address, &address->v4.sin_addr) == 1) {
		address->v4.sin_family = AF_INET;
		address->v4.sin_port = port;
		*size = sizeof(address->v4);
		return 0;
	}
	if (inet_pton(AF_INET6, options->address, &address->v6.sin6_addr) == 1) {
		address->v6.sin6_family = AF_INET6;
		address->v6.sin6_port = port;
		*size = sizeof(address->v6);
		return 0;
	}

	return err_set(err, ERR_CONFIG, "'%s' is not an address in numbers", options->address);
}

struct listener *
listener_open(const struct listener_options *options, struct err *err)
{
	SCOPED(listener_freep) struct listener *listener = xcalloc(1, sizeof(*listener));
	union channel_address address;
	socklen_t size;

	listener->socket.fd = -1;
	listener->socket.cancel_fd = options->cancel_fd;
	if (parse_address(options, &address, &size, err) < 0)
		return NULL;
	listener->socket.fd = socket(address.any.sa_family,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->socket.fd < 0 || bind(listener->socket.fd, &address.any, size) < 0 ||
	    listen(listener->socket.fd, SOMAXCONN) < 0 ||
	    getsockname(listener->socket.fd, &address.any, &size) < 0) {
		bool is_ours = errno == EADDRNOTAVAIL || errno == EADDRINUSE || errno == EACCES;

		(void)err_sys(err, "cannot listen at %s:%u", options->address, options->port);
		if (is_ours)
			err->kind = ERR_CONFIG;
		return NULL;
	}
	listener->port = ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port
								: address.v6.sin6_port);

	return TAKE(listener);
}

struct channel *
listener_accept(struct listener *listener, int timeout_ms, char ret_peer[CHANNEL_ADDRESS_SIZE],
    struct err *err)
{
	union channel_address address = { .any = { .sa_family = AF_UNSPEC } };

	for (;;) {
		socklen_t size = sizeof(address);
		struct channel *channel;
		int fd;

		if (channel_wait(&listener->socket, POLLIN, timeout_ms, err) < 0)
			return NULL;
		fd = accept4(listener->socket.fd, &address.any, &size,
		    SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0) {
			(void)err_sys(err, "cannot take a connection");
			return NULL;
		}
		channel_tune(fd);
		channel_address_text(&address, ret_peer);
		channel = xcalloc(1, sizeof(*channel));
		channel->fd = fd;
		channel->cancel_fd = listener->socket.cancel_fd;
		return channel;
	}
}
