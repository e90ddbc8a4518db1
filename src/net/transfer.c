#include "net/transfer_internal.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/library.h"
#include "net/http.h"

/* clang-format off */
#define FUNCTIONS(F) \
	F(curl_easy_cleanup) F(curl_easy_getinfo) F(curl_easy_init) \
	F(curl_easy_perform) F(curl_easy_setopt) F(curl_easy_strerror) \
	F(curl_slist_append) F(curl_slist_free_all)
/* clang-format on */
#define CALL(function) LIBRARY_CALL(struct libcurl, function),

/* curl.h has some of these names as macros too: "(libcurl.curl_easy_setopt)(...)" goes past them. */
static struct libcurl {
	FUNCTIONS(LIBRARY_MEMBER)
} libcurl;

static const struct library_call calls[] = { FUNCTIONS(CALL) };
static struct library library = {
	.file = LIBCURL_SONAME,
	.package = "libcurl4",
	.calls = calls,
	.count = ARRAY_SIZE(calls),
	.functions = &libcurl,
};

/* ---- options -------------------------------------------------------------------------------- */

/* CURLOPTTYPE_* are the thousands of an option's number. */
static void
check(CURLoption option, int type, CURLcode code)
{
	assert((int)option / CURLOPTTYPE_OBJECTPOINT * CURLOPTTYPE_OBJECTPOINT == type);
	assert(code == CURLE_OK);
	(void)option;
	(void)type;
	(void)code;
}

void
transfer_set_number(CURL *curl, CURLoption option, long value)
{
	check(option, CURLOPTTYPE_LONG, (libcurl.curl_easy_setopt)(curl, option, value));
}

void
transfer_set_size(CURL *curl, CURLoption option, uint64_t bytes)
{
	check(option, CURLOPTTYPE_OFF_T,
	    (libcurl.curl_easy_setopt)(curl, option, (curl_off_t)bytes));
}

void
transfer_set_object(CURL *curl, CURLoption option, const void *object)
{
	check(option, CURLOPTTYPE_OBJECTPOINT, (libcurl.curl_easy_setopt)(curl, option, object));
}

void
transfer_set_function(CURL *curl, CURLoption option, curl_write_callback function)
{
	check(option, CURLOPTTYPE_FUNCTIONPOINT,
	    (libcurl.curl_easy_setopt)(curl, option, function));
}

/* ---- handles -------------------------------------------------------------------------------- */

CURL *
transfer_open(const char *ca_file, struct err *err)
{
	CURL *curl;

	if (library_load(&library, err) < 0)
		return NULL;
	curl = libcurl.curl_easy_init();
	if (curl == NULL) {
		(void)err_set(err, ERR_BUG, "libcurl cannot be used");
		return NULL;
	}
	transfer_set_number(curl, CURLOPT_NOSIGNAL, 1);
	transfer_set_number(curl, CURLOPT_CONNECTTIMEOUT_MS, HTTP_CONNECT_TIMEOUT_MS);
	transfer_set_number(curl, CURLOPT_TIMEOUT_MS, HTTP_TIMEOUT_MS);
	transfer_set_number(curl, CURLOPT_FOLLOWLOCATION, 0);
	transfer_set_number(curl, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	if (ca_file != NULL)
		transfer_set_object(curl, CURLOPT_CAINFO, ca_file);

	return curl;
}

void
transfer_endp(CURL **curl)
{
	if (*curl != NULL)
		libcurl.curl_easy_cleanup(*curl);
}

void
transfer_keep_words(CURL *curl, char *words)
{
	words[0] = '\0';
	transfer_set_object(curl, CURLOPT_ERRORBUFFER, words);
}

void
transfer_list_add(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = libcurl.curl_slist_append(*list, line);

	if (longer == NULL)
		abort(); /* no memory */
	*list = longer;
}

void
transfer_list_donep(struct curl_slist **list)
{
	if (*list != NULL)
		libcurl.curl_slist_free_all(*list);
}

CURLcode
transfer_run(CURL *curl, const char *url)
{
	CURLcode code = (libcurl.curl_easy_setopt)(curl, CURLOPT_URL, url);

	return code == CURLE_OK ? libcurl.curl_easy_perform(curl) : code;
}

unsigned
transfer_status(CURL *curl)
{
	long status = 0;

	if ((libcurl.curl_easy_getinfo)(curl, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK)
		return 0;

	return (unsigned)status;
}

/* ---- failures ------------------------------------------------------------------------------- */

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
		words = libcurl.curl_easy_strerror(code);
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
