/*
 * A byte stream to a server: TCP or a unix socket, in the clear or under TLS.  Every wait has a
 * limit and ends at once when work is to be cancelled.  What is spoken over it is not known here.
 */
#ifndef NET_CHANNEL_H
#define NET_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct channel;
struct err;

enum channel_security {
	CHANNEL_PLAIN,
	CHANNEL_TLS,        /* encrypted; whose certificate it is does not matter */
	CHANNEL_TLS_SIGNED, /* signed by an authority we trust */
	CHANNEL_TLS_NAMED,  /* and made out to the host we asked for */
};

struct channel_options {
	const char *host; /* a name, an address, or the absolute path of a unix socket */
	unsigned port;    /* not of a unix socket */
	enum channel_security security;
	const char *ca_path;   /* authorities in PEM; NULL: those of the system */
	const char *cert_path; /* our own certificate, if the server wants one; NULL: none */
	const char *key_path;
	int timeout_ms; /* for the connection and its handshake, each address anew */
	int cancel_fd;  /* readable when all is to end (ERR_CANCELLED); -1: none */
};

/*
 * Connect, trying each address of the name.  A name is looked up with the system's own limits of
 * time.  ERR_NET or ERR_TIMEOUT when nobody answers, ERR_AUTH when the certificate is not as it
 * must be, ERR_CONFIG for files of ours that cannot be used.
 */
struct channel *channel_open(const struct channel_options *options, struct err *err) MUST_CHECK;

enum { CHANNEL_ADDRESS_SIZE = 64 };

/*
 * Under which address the other side sees us, and we it, as numbers; both "" over a unix socket.
 * An IPv4 address in the clothes of IPv6 is told as what it is.
 */
int channel_addresses(const struct channel *channel, char ret_own[CHANNEL_ADDRESS_SIZE],
    char ret_peer[CHANNEL_ADDRESS_SIZE], struct err *err) MUST_CHECK;

/* TLS of a connection that came to us; of `ours` the files and timeout_ms are used. */
int channel_serve_tls(struct channel *channel, const struct channel_options *ours, struct err *err)
    MUST_CHECK;

/* What has arrived, at least one byte; *ret_size 0 is the end.  ERR_TIMEOUT when nothing comes. */
int channel_read(struct channel *channel, void *data, size_t size, int timeout_ms, size_t *ret_size,
    struct err *err) MUST_CHECK;

/* All of it; the limit is for each step forward. */
int channel_write(struct channel *channel, const void *data, size_t size, int timeout_ms,
    struct err *err) MUST_CHECK;

/* Ends the connection, orderly where that needs no waiting.  NULL is ok. */
void channel_free(struct channel *channel);
SCOPED_FREE(struct channel, channel_free)

#endif
