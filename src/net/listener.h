/* A TCP socket on which a server of our user connects to us.  See channel.h for what comes of it. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "base/scope.h"
#include "net/channel.h"

struct err;
struct listener;

struct listener_options {
	const char *address; /* of this machine, as numbers: "10.0.0.5", "::1" */
	unsigned port;       /* 0: any free one */
	int cancel_fd;       /* as channel_options has it */
};

/* ERR_CONFIG when the address is none of this machine, or the port is taken. */
struct listener *listener_open(const struct listener_options *options, struct err *err) MUST_CHECK;
void listener_free(struct listener *listener); /* NULL is ok */
SCOPED_FREE(struct listener, listener_free)

unsigned listener_port(const struct listener *listener);

/*
 * The next connection, in the clear, and where it comes from.  ERR_TIMEOUT: none came.  What
 * comes over it is to be encrypted by channel_serve_tls.
 */
struct channel *listener_accept(struct listener *listener, int timeout_ms,
    char ret_peer[CHANNEL_ADDRESS_SIZE], struct err *err) MUST_CHECK;

#endif
