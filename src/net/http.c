#include "net/http.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/transfer_internal.h"

void
http_answer_done(struct http_answer *answer)
{
	str_done(&answer->body);
}

/* What does not fit is read and dropped: the status is what matters. */
static size_t
on_answer(char *data, size_t size, size_t count, void *context)
{
	struct http_answer *answer = context;

	if (!str_is_full(&answer->body))
		str_add_bytes(&answer->body, data, size * count);

	return size * count;
}

/* The host of a URL, for messages: the rest may be secret. Yours. */
static char *
host_of(const char *url)
{
	const char *rest = strstr(url, "://");
	const char *at;
	size_t size;

	rest = rest != NULL ? rest + strlen("://") : url;
	size = strcspn(rest, "/?#");
	at = memchr(rest, '@', size);
	if (at != NULL) {
		size -= (size_t)(at + 1 - rest);
		rest = at + 1;
	}

	return xstrndup(rest, size);
}

static int
add_header(struct curl_slist **list, const char *header, struct err *err)
{
	if (strpbrk(header, "\r\n") != NULL)
		return err_set(err, ERR_CONFIG, "a header must not hold a line break");
	transfer_list_add(list, header);

	return 0;
}

static int
add_headers(const struct http_request *request, struct curl_slist **list, struct err *err)
{
	for (size_t i = 0; request->headers != NULL && request->headers[i] != NULL; i++) {
		if (add_header(list, request->headers[i], err) < 0)
			return -1;
	}

	return add_header(list, "Expect:", err); /* no waiting for a "100 Continue" */
}

static void
set_request(CURL *curl, const struct http_request *request, const struct curl_slist *headers)
{
	transfer_set_object(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	transfer_set_object(curl, CURLOPT_USERAGENT, "blackstart");
	transfer_set_object(curl, CURLOPT_HTTPHEADER, headers);
	transfer_set_object(curl, CURLOPT_CUSTOMREQUEST, request->method);
	if (request->body != NULL) {
		transfer_set_size(curl, CURLOPT_POSTFIELDSIZE_LARGE, request->body_bytes);
		transfer_set_object(curl, CURLOPT_POSTFIELDS, request->body);
	}
	if (request->bearer != NULL) {
		transfer_set_number(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
		transfer_set_object(curl, CURLOPT_XOAUTH2_BEARER, secret_text(request->bearer));
	}
}

int
http_send(const struct http_request *request, struct http_answer *ret_answer, struct err *err)
{
	SCOPED(http_answer_done)
	struct http_answer answer = { .body = STR_INIT_MAX(HTTP_ANSWER_MAX) };
	SCOPED(transfer_list_donep) struct curl_slist *headers = NULL;
	SCOPED(transfer_endp) CURL *curl = transfer_open(request->ca_file, err);
	SCOPED(freep) char *host = host_of(request->url);
	char words[CURL_ERROR_SIZE];
	CURLcode code;

	if (curl == NULL || add_headers(request, &headers, err) < 0)
		return -1;
	set_request(curl, request, headers);
	transfer_keep_words(curl, words);
	transfer_set_function(curl, CURLOPT_WRITEFUNCTION, on_answer);
	transfer_set_object(curl, CURLOPT_WRITEDATA, &answer);
	code = transfer_run(curl, request->url);
	if (code != CURLE_OK)
		return transfer_failed(code, host, words, err);
	answer.status = transfer_status(curl);
	*ret_answer = answer;
	answer.body = (struct str)STR_INIT;

	return 0;
}
