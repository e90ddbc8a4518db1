/* The encrypted half of a channel, by OpenSSL 3.  TLS 1.2 is the oldest that is spoken. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/library.h"
#include "base/mem.h"
#include "net/channel_internal.h"

enum { REASON_BYTES = 256 };

/* clang-format off */
#define FUNCTIONS(F) \
	F(ERR_clear_error) F(ERR_error_string_n) F(ERR_peek_last_error) \
	F(SSL_CTX_ctrl) F(SSL_CTX_free) F(SSL_CTX_load_verify_locations) \
	F(SSL_CTX_new) F(SSL_CTX_set_default_verify_paths) F(SSL_CTX_set_verify) \
	F(SSL_CTX_use_PrivateKey_file) F(SSL_CTX_use_certificate_chain_file) \
	F(SSL_accept) F(SSL_connect) F(SSL_ctrl) F(SSL_free) F(SSL_get0_param) \
	F(SSL_get_error) F(SSL_get_verify_result) F(SSL_new) F(SSL_read) \
	F(SSL_set1_host) F(SSL_set_fd) F(SSL_shutdown) F(SSL_write) \
	F(TLS_client_method) F(TLS_server_method) F(X509_VERIFY_PARAM_set1_ip_asc) \
	F(X509_verify_cert_error_string)
/* clang-format on */
#define CALL(function) LIBRARY_CALL(struct openssl, function),

/* libssl and the libcrypto that it brings, loaded by the first connection that is encrypted. */
static struct openssl {
	FUNCTIONS(LIBRARY_MEMBER)
} openssl;

static const struct library_call calls[] = { FUNCTIONS(CALL) };
static struct library library = {
	.file = LIBSSL_SONAME,
	.package = "libssl3",
	.calls = calls,
	.count = ARRAY_SIZE(calls),
	.functions = &openssl,
};

/* The library's own words for its last failure, which is forgotten then. */
static const char *
last_reason(char *text)
{
	unsigned long code = openssl.ERR_peek_last_error();

	openssl.ERR_clear_error();
	if (code == 0)
		return "no reason given";
	openssl.ERR_error_string_n(code, text, REASON_BYTES);

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
		openssl.SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
		return 0;
	}
	openssl.SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	if (options->ca_path != NULL)
		return openssl.SSL_CTX_load_verify_locations(context, options->ca_path, NULL) == 1
		    ? 0
		    : unusable("certificate authorities", options->ca_path, err);
	if (openssl.SSL_CTX_set_default_verify_paths(context) != 1)
		return err_set(err, ERR_CONFIG,
		    "cannot load the system's certificate authorities: %s", last_reason(reason));

	return 0;
}

static int
load_own(SSL_CTX *context, const struct channel_options *options, struct err *err)
{
	if (options->cert_path == NULL)
		return 0;
	if (openssl.SSL_CTX_use_certificate_chain_file(context, options->cert_path) != 1)
		return unusable("certificate", options->cert_path, err);
	if (options->key_path != NULL &&
	    openssl.SSL_CTX_use_PrivateKey_file(context, options->key_path, SSL_FILETYPE_PEM) != 1)
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

	if (!is_address && options->host[0] != '/' &&
	    openssl.SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name) !=
		1)
		return err_set(err, ERR_CONFIG, "'%s' cannot be a server's name", options->host);
	if (options->security != CHANNEL_TLS_NAMED)
		return 0;
	if (is_address ? openssl.X509_VERIFY_PARAM_set1_ip_asc(openssl.SSL_get0_param(ssl),
			     options->host) != 1
		       : openssl.SSL_set1_host(ssl, options->host) != 1)
		return err_set(err, ERR_CONFIG, "'%s' cannot be looked for in a certificate",
		    options->host);

	return 0;
}

/* Turn a failed call into a wait (0, try again) or an error.  `result` is what the call gave. */
static int
settle(struct channel *channel, int result, int timeout_ms, struct err *err)
{
	int why = openssl.SSL_get_error(channel->ssl, result);
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

		openssl.ERR_clear_error();
		result = step(channel->ssl);
		if (result == 1)
			return 0;
		verdict = openssl.SSL_get_verify_result(channel->ssl);
		if (options->security >= CHANNEL_TLS_SIGNED && verdict != X509_V_OK) {
			openssl.ERR_clear_error();
			return err_set(err, ERR_AUTH,
			    "the server's certificate is not accepted: %s",
			    openssl.X509_verify_cert_error_string(verdict));
		}
		if (settle(channel, result, options->timeout_ms, err) < 0)
			return -1;
	}
}

static int
begin(struct channel *channel, const struct channel_options *options, bool is_server,
    struct err *err)
{
	char reason[REASON_BYTES];

	if (library_load(&library, err) < 0)
		return -1;
	openssl.ERR_clear_error();
	channel->context = openssl.SSL_CTX_new(is_server ? openssl.TLS_server_method()
							 : openssl.TLS_client_method());
	if (channel->context == NULL)
		return err_set(err, ERR_BUG, "cannot begin TLS: %s", last_reason(reason));
	(void)openssl.SSL_CTX_ctrl(channel->context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION,
	    NULL);
	(void)openssl.SSL_CTX_ctrl(channel->context, SSL_CTRL_MODE,
	    SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, NULL);
	if (load_trust(channel->context, options, err) < 0 ||
	    load_own(channel->context, options, err) < 0)
		return -1;
	channel->ssl = openssl.SSL_new(channel->context);
	if (channel->ssl == NULL || openssl.SSL_set_fd(channel->ssl, channel->fd) != 1)
		return err_set(err, ERR_BUG, "cannot begin TLS: %s", last_reason(reason));

	return 0;
}

int
channel_tls_open(struct channel *channel, const struct channel_options *options, struct err *err)
{
	if (begin(channel, options, false, err) < 0 || expect_host(channel->ssl, options, err) < 0)
		return -1;

	return shake_hands(channel, options, openssl.SSL_connect, err);
}

int
channel_serve_tls(struct channel *channel, const struct channel_options *ours, struct err *err)
{
	if (begin(channel, ours, true, err) < 0)
		return -1;

	return shake_hands(channel, ours, openssl.SSL_accept, err);
}

int
channel_tls_read(struct channel *channel, void *data, size_t size, int timeout_ms, size_t *ret_size,
    struct err *err)
{
	int wanted = size > INT_MAX ? INT_MAX : (int)size;

	for (;;) {
		int got;

		openssl.ERR_clear_error();
		errno = 0;
		got = openssl.SSL_read(channel->ssl, data, wanted);
		if (got > 0 || openssl.SSL_get_error(channel->ssl, got) == SSL_ERROR_ZERO_RETURN) {
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

		openssl.ERR_clear_error();
		errno = 0;
		put = openssl.SSL_write(channel->ssl, data, wanted);
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
		(void)openssl.SSL_shutdown(channel->ssl);
		openssl.SSL_free(channel->ssl);
	}
	if (channel->context != NULL) {
		openssl.SSL_CTX_free(channel->context);
		openssl.ERR_clear_error();
	}
}
