/* The encrypted half of a channel, by OpenSSL 3.  TLS 1.2 is the oldest that is spoken. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/channel_internal.h"

enum { REASON_BYTES = 256 };

/* The library's own words for its last failure, which is forgotten then. */
static const char *
last_reason(char *text)
{
	unsigned long code = ERR_peek_last_error();

	ERR_clear_error();
	if (code == 0)
		return "no reason given";
	ERR_error_string_n(code, text, REASON_BYTES);

	return text;
}

static int
unusable(const char *what, const char *path, struct err *err)
{
	char reason[REASON_BYTES];

	return err_set(err, ERR_CONFIG, "cannot use the %s '%s': %s", what, path,
	    last_reason(reason));
}

static int
load_trust(SSL_CTX *context, const struct channel_options *options, struct err *err)
{
	char reason[REASON_BYTES];

	if (options->security < CHANNEL_TLS_SIGNED) {
		SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
		return 0;
	}
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	if (options->ca_path != NULL)
		return SSL_CTX_load_verify_locations(context, options->ca_path, NULL) == 1
		    ? 0
		    : unusable("certificate authorities", options->ca_path, err);
	if (SSL_CTX_set_default_verify_paths(context) != 1)
		return err_set(err, ERR_CONFIG,
		    "cannot load the system's certificate authorities: %s", last_reason(reason));

	return 0;
}

static int
load_own(SSL_CTX *context, const struct channel_options *options, struct err *err)
{
	if (options->cert_path == NULL)
		return 0;
	if (SSL_CTX_use_certificate_chain_file(context, options->cert_path) != 1)
		return unusable("certificate", options->cert_path, err);
	if (options->key_path != NULL &&
	    SSL_CTX_use_PrivateKey_file(context, options->key_path, SSL_FILETYPE_PEM) != 1)
		return unusable("key", options->key_path, err);

	return 0;
}

/* Whom the certificate must name; an address is named in a field of its own. */
static int
expect_host(SSL *ssl, const struct channel_options *options, struct err *err)
{
	unsigned char binary[sizeof(struct in6_addr)];
	SCOPED(freep) char *name = xstrdup(options->host); /* the macro casts const away */
	bool is_address = inet_pton(AF_INET, options->host, binary) == 1 ||
	    inet_pton(AF_INET6, options->host, binary) == 1;

	if (!is_address && options->host[0] != '/' && SSL_set_tlsext_host_name(ssl, name) != 1)
		return err_set(err, ERR_CONFIG, "'%s' cannot be a server's name", options->host);
	if (options->security != CHANNEL_TLS_NAMED)
		return 0;
	if (is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), options->host) != 1
		       : SSL_set1_host(ssl, options->host) != 1)
		return err_set(err, ERR_CONFIG, "'%s' cannot be looked for in a certificate",
		    options->host);

	return 0;
}

/* Turn a failed call into a wait (0, try again) or an error.  `result` is what the call gave. */
static int
settle(struct channel *channel, int result, int timeout_ms, struct err *err)
{
	int why = SSL_get_error(channel->ssl, result);
	int sys = errno;
	char reason[REASON_BYTES];

	switch (why) {
	case SSL_ERROR_WANT_READ:
		return channel_wait(channel, POLLIN, timeout_ms, err);
	case SSL_ERROR_WANT_WRITE:
		return channel_wait(channel, POLLOUT, timeout_ms, err);
	case SSL_ERROR_SYSCALL:
		return err_set(err, ERR_NET, "%s",
		    sys != 0 ? strerror(sys) : "the connection ended without a word");
	default:
		return err_set(err, ERR_NET, "TLS: %s", last_reason(reason));
	}
}

/* `step` is SSL_connect or SSL_accept. */
static int
shake_hands(struct channel *channel, const struct channel_options *options, int (*step)(SSL *),
    struct err *err)
{
	for (;;) {
		int result;
		long verdict;

		ERR_clear_error();
		result = step(channel->ssl);
		if (result == 1)
			return 0;
		verdict = SSL_get_verify_result(channel->ssl);
		if (options->security >= CHANNEL_TLS_SIGNED && verdict != X509_V_OK) {
			ERR_clear_error();
			return err_set(err, ERR_AUTH,
			    "the server's certificate is not accepted: %s",
			    X509_verify_cert_error_string(verdict));
		}
		if (settle(channel, result, options->timeout_ms, err) < 0)
			return -1;
	}
}

static int
begin(struct channel *channel, const struct channel_options *options, const SSL_METHOD *method,
    struct err *err)
{
	char reason[REASON_BYTES];

	ERR_clear_error();
	channel->context = SSL_CTX_new(method);
	if (channel->context == NULL)
		return err_set(err, ERR_BUG, "cannot begin TLS: %s", last_reason(reason));
	(void)SSL_CTX_set_min_proto_version(channel->context, TLS1_2_VERSION);
	(void)SSL_CTX_set_mode(channel->context,
	    SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (load_trust(channel->context, options, err) < 0 ||
	    load_own(channel->context, options, err) < 0)
		return -1;
	channel->ssl = SSL_new(channel->context);
	if (channel->ssl == NULL || SSL_set_fd(channel->ssl, channel->fd) != 1)
		return err_set(err, ERR_BUG, "cannot begin TLS: %s", last_reason(reason));

	return 0;
}

int
channel_tls_open(struct channel *channel, const struct channel_options *options, struct err *err)
{
	if (begin(channel, options, TLS_client_method(), err) < 0 ||
	    expect_host(channel->ssl, options, err) < 0)
		return -1;

	return shake_hands(channel, options, SSL_connect, err);
}

int
channel_serve_tls(struct channel *channel, const struct channel_options *ours, struct err *err)
{
	if (begin(channel, ours, TLS_server_method(), err) < 0)
		return -1;

	return shake_hands(channel, ours, SSL_accept, err);
}

int
channel_tls_read(struct channel *channel, void *data, size_t size, int timeout_ms, size_t *ret_size,
    struct err *err)
{
	int wanted = size > INT_MAX ? INT_MAX : (int)size;

	for (;;) {
		int got;

		ERR_clear_error();
		errno = 0;
		got = SSL_read(channel->ssl, data, wanted);
		if (got > 0 || SSL_get_error(channel->ssl, got) == SSL_ERROR_ZERO_RETURN) {
			*ret_size = got > 0 ? (size_t)got : 0;
			return 0;
		}
		if (settle(channel, got, timeout_ms, err) < 0)
			return -1;
	}
}

int
channel_tls_write(struct channel *channel, const void *data, size_t size, int timeout_ms,
    size_t *ret_size, struct err *err)
{
	int wanted = size > INT_MAX ? INT_MAX : (int)size;

	for (;;) {
		int put;

		ERR_clear_error();
		errno = 0;
		put = SSL_write(channel->ssl, data, wanted);
		if (put > 0) {
			*ret_size = (size_t)put;
			return 0;
		}
		if (settle(channel, put, timeout_ms, err) < 0)
			return -1;
	}
}

void
channel_tls_close(struct channel *channel)
{
	if (channel->ssl != NULL) {
		/* Our goodbye; the answer to it is not waited for. */
		(void)SSL_shutdown(channel->ssl);
		SSL_free(channel->ssl);
	}
	SSL_CTX_free(channel->context);
	ERR_clear_error();
}
