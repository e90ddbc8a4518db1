#include "net/channel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/channel_internal.h"

enum { PORT_TEXT_BYTES = 16 };

/* ---- waiting ---------------------------------------------------------------------------------- */

static int
cancelled(struct err *err)
{
	return err_set(err, ERR_CANCELLED, "stopped on request");
}

int
channel_wait(const struct channel *channel, short events, int timeout_ms, struct err *err)
{
	struct pollfd fds[2] = {
		{ .fd = channel->fd, .events = events },
		{ .fd = channel->cancel_fd, .events = POLLIN },
	};
	struct mono_time began = clock_mono();

	for (;;) {
		int64_t left_ms = timeout_ms - clock_elapsed_us(began) / US_PER_MS;
		int ready = poll(fds, ARRAY_SIZE(fds), left_ms > 0 ? (int)left_ms : 0);

		if (ready < 0 && errno != EINTR)
			return err_sys(err, "cannot wait for the server");
		if (ready > 0 && fds[1].revents != 0)
			return cancelled(err);
		if (ready > 0)
			return 0;
		if (ready == 0 && left_ms <= 0)
			return err_set(err, ERR_TIMEOUT, "no answer within %d s",
			    (timeout_ms + 999) / 1000);
	}
}

/* ---- connecting ------------------------------------------------------------------------------- */

static int
net_failure(int sys, struct err *err)
{
	(void)err_set(err, sys == ETIMEDOUT ? ERR_TIMEOUT : ERR_NET, "%s", strerror(sys));
	err->sys = sys;

	return -1;
}

void
channel_tune(int fd)
{
	const int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

/* On success channel->fd is the connection. */
static int
connect_to(struct channel *channel, const struct sockaddr *address, socklen_t size, int timeout_ms,
    struct err *err)
{
	int sys = 0;
	socklen_t sys_size = sizeof(sys);
	SCOPED(closep)
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct channel trial = { .fd = fd, .cancel_fd = channel->cancel_fd };

	if (fd < 0)
		return err_sys(err, "cannot make a socket");
	if (connect(fd, address, size) < 0) {
		if (errno != EINPROGRESS)
			return net_failure(errno, err);
		if (channel_wait(&trial, POLLOUT, timeout_ms, err) < 0)
			return -1;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys, &sys_size) < 0)
			return err_sys(err, "cannot ask how connecting went");
		if (sys != 0)
			return net_failure(sys, err);
	}
	channel->fd = TAKE_FD(fd);

	return 0;
}

static int
connect_unix(struct channel *channel, const struct channel_options *options, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t size = strlen(options->host);

	if (size >= sizeof(address.sun_path))
		return err_set(err, ERR_CONFIG, "the path of a socket has at most %zu bytes",
		    sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, options->host, size);

	return connect_to(channel, (const struct sockaddr *)&address, sizeof(address),
	    options->timeout_ms, err);
}

static int
connect_tcp(struct channel *channel, const struct channel_options *options, struct err *err)
{
	const struct addrinfo wanted = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
	struct addrinfo *found = NULL;
	char port[PORT_TEXT_BYTES];
	int failure;
	int result = -1;

	(void)snprintf(port, sizeof(port), "%u", options->port);
	failure = getaddrinfo(options->host, port, &wanted, &found);
	if (failure != 0)
		return err_set(err, ERR_NET, "cannot find the host: %s", gai_strerror(failure));
	for (const struct addrinfo *at = found; at != NULL && result < 0; at = at->ai_next) {
		result = connect_to(channel, at->ai_addr, at->ai_addrlen, options->timeout_ms, err);
		if (result < 0 && err->kind == ERR_CANCELLED)
			break;
	}
	freeaddrinfo(found);
	if (result == 0)
		channel_tune(channel->fd);

	return result;
}

struct channel *
channel_open(const struct channel_options *options, struct err *err)
{
	SCOPED(channel_freep) struct channel *channel = xcalloc(1, sizeof(*channel));
	int result;

	channel->fd = -1;
	channel->cancel_fd = options->cancel_fd;
	result = options->host[0] == '/' ? connect_unix(channel, options, err)
					 : connect_tcp(channel, options, err);
	if (result < 0)
		return NULL;
	if (options->security != CHANNEL_PLAIN && channel_tls_open(channel, options, err) < 0)
		return NULL;

	return TAKE(channel);
}

void
channel_free(struct channel *channel)
{
	if (channel == NULL)
		return;
	channel_tls_close(channel);
	if (channel->fd >= 0)
		(void)close(channel->fd);
	free(channel);
}

/* ---- addresses -------------------------------------------------------------------------------- */

void
channel_address_text(const union channel_address *address, char text[CHANNEL_ADDRESS_SIZE])
{
	const struct in6_addr *v6 = &address->v6.sin6_addr;

	text[0] = '\0';
	if (address->any.sa_family == AF_INET)
		(void)inet_ntop(AF_INET, &address->v4.sin_addr, text, CHANNEL_ADDRESS_SIZE);
	else if (address->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(v6))
		(void)inet_ntop(AF_INET, v6->s6_addr + 12, text, CHANNEL_ADDRESS_SIZE);
	else if (address->any.sa_family == AF_INET6)
		(void)inet_ntop(AF_INET6, v6, text, CHANNEL_ADDRESS_SIZE);
}

int
channel_addresses(const struct channel *channel, char ret_own[CHANNEL_ADDRESS_SIZE],
    char ret_peer[CHANNEL_ADDRESS_SIZE], struct err *err)
{
	union channel_address own = { .any = { .sa_family = AF_UNSPEC } };
	union channel_address peer = { .any = { .sa_family = AF_UNSPEC } };
	socklen_t own_size = sizeof(own);
	socklen_t peer_size = sizeof(peer);

	if (getsockname(channel->fd, &own.any, &own_size) < 0 ||
	    getpeername(channel->fd, &peer.any, &peer_size) < 0)
		return err_sys(err, "cannot tell between which addresses a connection is");
	channel_address_text(&own, ret_own);
	channel_address_text(&peer, ret_peer);

	return 0;
}

/* ---- reading and writing ------------------------------------------------------------------------ */

static bool
would_block(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

int
channel_read(struct channel *channel, void *data, size_t size, int timeout_ms, size_t *ret_size,
    struct err *err)
{
	if (channel->ssl != NULL)
		return channel_tls_read(channel, data, size, timeout_ms, ret_size, err);
	for (;;) {
		ssize_t got = recv(channel->fd, data, size, 0);

		if (got >= 0) {
			*ret_size = (size_t)got;
			return 0;
		}
		if (!would_block())
			return net_failure(errno, err);
		if (channel_wait(channel, POLLIN, timeout_ms, err) < 0)
			return -1;
	}
}

static int
write_some(struct channel *channel, const void *data, size_t size, int timeout_ms, size_t *ret_size,
    struct err *err)
{
	if (channel->ssl != NULL)
		return channel_tls_write(channel, data, size, timeout_ms, ret_size, err);
	for (;;) {
		ssize_t put = send(channel->fd, data, size, MSG_NOSIGNAL);

		if (put >= 0) {
			*ret_size = (size_t)put;
			return 0;
		}
		if (!would_block())
			return net_failure(errno, err);
		if (channel_wait(channel, POLLOUT, timeout_ms, err) < 0)
			return -1;
	}
}

int
channel_write(struct channel *channel, const void *data, size_t size, int timeout_ms,
    struct err *err)
{
	const uint8_t *at = data;

	while (size > 0) {
		size_t put;

		if (write_some(channel, at, size, timeout_ms, &put, err) < 0)
			return -1;
		at += put;
		size -= put;
	}

	return 0;
}
