/* What the plain and the encrypted half of a channel share. */
#ifndef NET_CHANNEL_INTERNAL_H
#define NET_CHANNEL_INTERNAL_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "net/channel.h"

struct channel {
	int fd; /* non-blocking */
	int cancel_fd;
	SSL_CTX *context; /* NULL: in the clear */
	SSL *ssl;
};

union channel_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_storage storage;
};

/* "" for what is no internet address. */
void channel_address_text(const union channel_address *address, char text[CHANNEL_ADDRESS_SIZE]);

/* Small messages go at once, and a peer that has gone is noticed some time. */
void channel_tune(int fd);

/* Until the descriptor is ready for `events` (POLLIN, POLLOUT). */
int channel_wait(const struct channel *channel, short events, int timeout_ms, struct err *err)
    MUST_CHECK;

int channel_tls_open(struct channel *channel, const struct channel_options *options,
    struct err *err) MUST_CHECK;
int channel_tls_read(struct channel *channel, void *data, size_t size, int timeout_ms,
    size_t *ret_size, struct err *err) MUST_CHECK;
int channel_tls_write(struct channel *channel, const void *data, size_t size, int timeout_ms,
    size_t *ret_size, struct err *err) MUST_CHECK;
void channel_tls_close(struct channel *channel);

#endif
