#include <assert.h>

#include "base/err.h"
#include "net/http.h"
#include "net/transfer_internal.h"

void
transfer_check(CURLcode code)
{
	assert(code == CURLE_OK);
	(void)code;
}

CURL *
transfer_open(const char *ca_file, struct err *err)
{
	CURL *curl = curl_easy_init();

	if (curl == NULL) {
		(void)err_set(err, ERR_BUG, "libcurl cannot be used");
		return NULL;
	}
	transfer_check(curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L));
	transfer_check(curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
	    (long)HTTP_CONNECT_TIMEOUT_MS));
	transfer_check(curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)HTTP_TIMEOUT_MS));
	transfer_check(curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L));
	transfer_check(curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
	if (ca_file != NULL)
		transfer_check(curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file));

	return curl;
}

void
transfer_keep_words(CURL *curl, char *words)
{
	words[0] = '\0';
	transfer_check(curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words));
}

static enum err_kind
kind_of(CURLcode code)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return ERR_TIMEOUT;
	case CURLE_LOGIN_DENIED:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_USE_SSL_FAILED:
		return ERR_AUTH;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return ERR_CONFIG;
	case CURLE_REMOTE_ACCESS_DENIED:
	case CURLE_QUOTE_ERROR:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UPLOAD_FAILED:
		return ERR_PEER;
	default:
		return ERR_NET;
	}
}

int
transfer_failed(CURLcode code, const char *host, const char *words, struct err *err)
{
	enum err_kind kind = kind_of(code);

	if (words[0] == '\0')
		words = curl_easy_strerror(code);
	(void)err_set(err, kind, "cannot send to '%s': %s", host, words);
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		return err_hint(err, "Name the certificate authority of that server with ca_file.");
	if (code == CURLE_USE_SSL_FAILED)
		return err_hint(err,
		    "The server offers no STARTTLS: set security to tls, or to none where that is safe.");
	if (code == CURLE_LOGIN_DENIED)
		return err_hint(err, "Check user and password_file of the channel.");

	return -1;
}
