#include "net/mail.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/transfer_internal.h"

struct reading {
	const char *data;
	size_t left_bytes;
};

static size_t
on_read(char *to, size_t size, size_t count, void *context)
{
	struct reading *reading = context;
	size_t bytes = size * count < reading->left_bytes ? size * count : reading->left_bytes;

	memcpy(to, reading->data, bytes);
	reading->data += bytes;
	reading->left_bytes -= bytes;

	return bytes;
}

static struct curl_slist *
list_receivers(const struct mail_request *request)
{
	struct curl_slist *list = NULL;

	for (size_t i = 0; request->to[i] != NULL; i++)
		transfer_list_add(&list, request->to[i]);

	return list;
}

static void
set_request(CURL *curl, const struct mail_request *request, const struct curl_slist *receivers)
{
	transfer_set_object(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	transfer_set_object(curl, CURLOPT_MAIL_FROM, request->from);
	transfer_set_object(curl, CURLOPT_MAIL_RCPT, receivers);
	transfer_set_number(curl, CURLOPT_UPLOAD, 1);
	transfer_set_size(curl, CURLOPT_INFILESIZE_LARGE, request->message_bytes);
	if (request->security != MAIL_PLAIN)
		transfer_set_number(curl, CURLOPT_USE_SSL, CURLUSESSL_ALL);
	if (request->user != NULL) {
		transfer_set_object(curl, CURLOPT_USERNAME, request->user);
		transfer_set_object(curl, CURLOPT_PASSWORD, secret_text(request->password));
	}
}

/* The server's own words are in its last answer, which libcurl leaves out of its error. */
static size_t
on_server_line(char *data, size_t size, size_t count, void *context)
{
	char *last = context;
	size_t bytes = size * count < CURL_ERROR_SIZE - 1 ? size * count : CURL_ERROR_SIZE - 1;

	memcpy(last, data, bytes);
	last[bytes] = '\0';
	last[strcspn(last, "\r\n")] = '\0';

	return size * count;
}

static int
failed(CURLcode code, const struct mail_request *request, const char *words, const char *last,
    struct err *err)
{
	bool is_refusal = (last[0] == '4' || last[0] == '5') && strlen(last) > 3;

	(void)transfer_failed(code, request->host, is_refusal ? last : words, err);
	if (is_refusal && err->kind == ERR_NET)
		err->kind = ERR_PEER;

	return -1;
}

int
mail_send(const struct mail_request *request, struct err *err)
{
	SCOPED(transfer_list_donep) struct curl_slist *receivers = NULL;
	SCOPED(transfer_endp) CURL *curl = transfer_open(request->ca_file, err);
	bool is_literal = strchr(request->host, ':') != NULL;
	SCOPED(freep)
	char *url = xasprintf("%s://%s%s%s:%u", request->security == MAIL_TLS ? "smtps" : "smtp",
	    is_literal ? "[" : "", request->host, is_literal ? "]" : "", request->port);
	struct reading reading = { request->message, request->message_bytes };
	char words[CURL_ERROR_SIZE];
	char last[CURL_ERROR_SIZE] = "";
	CURLcode code;

	if (curl == NULL)
		return -1;
	receivers = list_receivers(request);
	set_request(curl, request, receivers);
	transfer_keep_words(curl, words);
	transfer_set_function(curl, CURLOPT_READFUNCTION, on_read);
	transfer_set_object(curl, CURLOPT_READDATA, &reading);
	transfer_set_function(curl, CURLOPT_HEADERFUNCTION, on_server_line);
	transfer_set_object(curl, CURLOPT_HEADERDATA, last);
	code = transfer_run(curl, url);
	if (code != CURLE_OK)
		return failed(code, request, words, last, err);

	return 0;
}
