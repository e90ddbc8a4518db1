#include "app/web/web.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/web/address.h"
#include "app/web/app_internal.h"
#include "app/web/page_state.h"
#include "app/web/route.h"
#include "base/err.h"
#include "base/library.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"

enum {
	CONNECTIONS_MAX = 600,        /* of the 1024 descriptors that a process has by default */
	CONNECTION_BYTES = 16 * 1024, /* for the request's lines and headers */
	IDLE_S = 30,
	TOKEN_MIN_BYTES = 16,
	PEM_MAX_BYTES = 256 * 1024,
};
/* A request, or the wait for the next one, that takes longer is ended: a slow client holds a place. */
#define REQUEST_US (30 * US_PER_S)
#define SWEEP_US (US_PER_S)

/* clang-format off */
#define FUNCTIONS(F) \
	F(MHD_add_response_header) F(MHD_create_response_from_buffer) \
	F(MHD_destroy_response) F(MHD_get_connection_info) F(MHD_get_daemon_info) \
	F(MHD_get_timeout) F(MHD_lookup_connection_value) F(MHD_queue_response) \
	F(MHD_run) F(MHD_start_daemon) F(MHD_stop_daemon)
/* clang-format on */
#define CALL(function) LIBRARY_CALL(struct mhd, function),

/* libmicrohttpd, loaded by the first page (base/library.h). */
static struct mhd {
	FUNCTIONS(LIBRARY_MEMBER)
} mhd;

static const struct library_call calls[] = { FUNCTIONS(CALL) };
static struct library library = {
	.file = LIBMICROHTTPD_SONAME,
	.package = "libmicrohttpd12",
	.calls = calls,
	.count = ARRAY_SIZE(calls),
	.functions = &mhd,
};

/* One connection, from its acceptance on. */
struct guest {
	struct guest *next;
	int fd;                 /* the library's */
	struct mono_time since; /* accepted, or done with its last request */
};

struct web {
	struct web_app app;
	struct MHD_Daemon *daemon;
	struct guest *guests;
	struct mono_time swept;
	char url[ADDRESS_TEXT_SIZE + 16];
};

/* One request on its way in. */
struct exchange {
	struct request request;
	struct MHD_Connection *connection;
	struct str body;
};

/* ---- one request -------------------------------------------------------------------------------- */

static const char *
find_field(const struct request *request, enum request_field field, const char *name)
{
	static const enum MHD_ValueKind kinds[] = {
		[FIELD_QUERY] = MHD_GET_ARGUMENT_KIND,
		[FIELD_HEADER] = MHD_HEADER_KIND,
		[FIELD_COOKIE] = MHD_COOKIE_KIND,
	};
	const struct exchange *exchange = (const struct exchange *)request;

	return mhd.MHD_lookup_connection_value(exchange->connection, kinds[field], name);
}

static enum request_method
method_of(const char *method)
{
	if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0)
		return METHOD_GET;

	return strcmp(method, MHD_HTTP_METHOD_POST) == 0 ? METHOD_POST : METHOD_OTHER;
}

static void
name_client(struct MHD_Connection *connection, char *text)
{
	const union MHD_ConnectionInfo *info = mhd.MHD_get_connection_info(connection,
	    MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	struct address address = { .size = 0 };

	if (info == NULL || info->client_addr == NULL)
		return;
	if (info->client_addr->sa_family == AF_INET6)
		memcpy(&address.name.v6, info->client_addr, sizeof(address.name.v6));
	else
		memcpy(&address.name.v4, info->client_addr, sizeof(address.name.v4));
	(void)address_format(&address, true, text);
}

/* The library owns what it is given from here on. */
static enum MHD_Result
send_reply(struct MHD_Connection *connection, struct reply *reply)
{
	size_t size = reply->fixed != NULL ? reply->fixed_size : reply->body.size;
	struct MHD_Response *response;
	enum MHD_Result result;

	if (reply->fixed != NULL)
		response = mhd.MHD_create_response_from_buffer(size,
		    (void *)(uintptr_t)reply->fixed, MHD_RESPMEM_PERSISTENT);
	else
		response = mhd.MHD_create_response_from_buffer(size, str_take(&reply->body),
		    MHD_RESPMEM_MUST_FREE);
	if (response == NULL)
		return MHD_NO;
	if (reply->type != NULL)
		(void)mhd.MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
		    reply->type);
	for (size_t i = 0; i < reply->headers.count; i++)
		(void)mhd.MHD_add_response_header(response, reply->headers.items[i].name,
		    reply->headers.items[i].value);
	result = mhd.MHD_queue_response(connection, reply->status, response);
	mhd.MHD_destroy_response(response);

	return result;
}

static enum MHD_Result
refuse_large(struct MHD_Connection *connection)
{
	struct reply reply = REPLY_INIT;
	enum MHD_Result result;

	reply_refuse(&reply, 413, NULL, "a request may have %d bytes", REQUEST_BODY_MAX);
	reply_add_header(&reply, "Connection", "close");
	result = send_reply(connection, &reply);
	reply_done(&reply);

	return result;
}

static bool
is_announced_large(struct MHD_Connection *connection)
{
	const char *length = mhd.MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
	    MHD_HTTP_HEADER_CONTENT_LENGTH);

	return length != NULL && strtoull(length, NULL, 10) > REQUEST_BODY_MAX;
}

static enum MHD_Result
begin_request(struct MHD_Connection *connection, void **ret_exchange)
{
	struct exchange *exchange;

	if (is_announced_large(connection))
		return refuse_large(connection);
	exchange = xcalloc(1, sizeof(*exchange));
	exchange->connection = connection;
	exchange->body = (struct str)STR_INIT_MAX(REQUEST_BODY_MAX);
	exchange->request.find = find_field;
	name_client(connection, exchange->request.client);
	*ret_exchange = exchange;

	return MHD_YES;
}

/* Called first without, then with pieces of a body, and at last once more without. */
static enum MHD_Result
on_request(void *context, struct MHD_Connection *connection, const char *path, const char *method,
    const char *version, const char *data, size_t *size, void **state)
{
	struct web *web = context;
	struct exchange *exchange = *state;
	struct reply reply = REPLY_INIT;
	enum MHD_Result result;

	(void)version;
	if (exchange == NULL)
		return begin_request(connection, state);
	if (*size > 0) {
		str_add_bytes(&exchange->body, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (str_is_full(&exchange->body))
		return refuse_large(connection);
	exchange->request.method = method_of(method);
	exchange->request.path = path;
	exchange->request.body = str_text(&exchange->body);
	exchange->request.body_size = exchange->body.size;
	route_answer(&web->app, &exchange->request, &reply);
	result = send_reply(connection, &reply);
	reply_done(&reply);

	return result;
}

/* ---- connections -------------------------------------------------------------------------------- */

static void
on_connection(void *context, struct MHD_Connection *connection, void **state,
    enum MHD_ConnectionNotificationCode code)
{
	struct web *web = context;
	struct guest *guest = *state;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info = mhd.MHD_get_connection_info(connection,
		    MHD_CONNECTION_INFO_CONNECTION_FD);

		guest = xcalloc(1, sizeof(*guest));
		guest->fd = info != NULL ? info->connect_fd : -1;
		guest->since = clock_mono();
		guest->next = web->guests;
		web->guests = guest;
		*state = guest;
		return;
	}
	for (struct guest **at = &web->guests; *at != NULL; at = &(*at)->next) {
		if (*at != guest)
			continue;
		*at = guest->next;
		free(guest);
		break;
	}
	*state = NULL;
}

static void
on_completed(void *context, struct MHD_Connection *connection, void **state,
    enum MHD_RequestTerminationCode code)
{
	struct exchange *exchange = *state;
	const union MHD_ConnectionInfo *info = mhd.MHD_get_connection_info(connection,
	    MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	(void)context;
	(void)code;
	if (info != NULL && info->socket_context != NULL)
		((struct guest *)info->socket_context)->since = clock_mono();
	if (exchange == NULL)
		return;
	if (exchange->body.size > 0)
		explicit_bzero(exchange->body.data, exchange->body.size); /* it may be the token */
	str_done(&exchange->body);
	free(exchange);
	*state = NULL;
}

/*
 * The library's own limit starts anew with each byte; this one does not.  The socket is shut, not
 * closed: it is the library's, which then sees its end.
 */
static void
sweep(struct web *web)
{
	web->swept = clock_mono();
	for (struct guest *guest = web->guests; guest != NULL; guest = guest->next) {
		if (web->swept.us - guest->since.us > REQUEST_US && guest->fd >= 0)
			(void)shutdown(guest->fd, SHUT_RDWR);
	}
}

/* ---- the server --------------------------------------------------------------------------------- */

static int
check_options(const struct web_options *options, const struct address *address, struct err *err)
{
	bool has_tls = options->tls_cert != NULL && options->tls_key != NULL;

	if ((options->tls_cert != NULL) != (options->tls_key != NULL))
		return err_set(err, ERR_CONFIG, "web.tls_cert and web.tls_key belong together");
	if (address_is_loopback(address) || has_tls || options->is_insecure)
		return 0;
	(void)err_set(err, ERR_CONFIG, "the page at '%s' could be read on the way",
	    options->listen);

	return err_hint(err,
	    "Set web.tls_cert and web.tls_key, or web.insecure: true behind a proxy that has TLS.");
}

static int
check_token(const char *path, struct err *err)
{
	SCOPED(secret_freep) struct secret *secret = NULL;

	if (path == NULL)
		return 0;
	secret = file_read_secret(path, err);
	if (secret == NULL)
		return err_wrap(err, "web.token_file");
	if (strlen(secret_text(secret)) >= TOKEN_MIN_BYTES)
		return 0;
	(void)err_set(err, ERR_CONFIG, "the token in '%s' has fewer than %d characters", path,
	    TOKEN_MIN_BYTES);

	return err_hint(err, "Make one with 'openssl rand -hex 32'.");
}

static void
init_app(struct web_app *app, const struct web_options *options, const struct address *address,
    const struct web_host *host)
{
	size_t count = 0;

	while (options->names != NULL && options->names[count] != NULL)
		count++;
	app->host = host;
	app->token_path = xstrdup(options->token_path);
	app->names = xcalloc(count + 1, sizeof(*app->names));
	for (size_t i = 0; i < count; i++)
		app->names[i] = xstrdup(options->names[i]);
	app->is_loopback = address_is_loopback(address);
	app->is_tls = options->tls_cert != NULL;
	app->state = page_state_new(host);
	sessions_init(&app->sessions, clock_mono());
}

static void
app_done(struct web_app *app)
{
	for (size_t i = 0; app->names != NULL && app->names[i] != NULL; i++)
		free(app->names[i]);
	free(app->names);
	free(app->token_path);
	page_state_free(app->state);
	explicit_bzero(&app->sessions, sizeof(app->sessions));
}

/* With the PEM texts in `cert` and `key`, "" for none; the library reads them before it returns. */
static int
start(struct web *web, int listen_fd, const char *cert, const char *key, struct err *err)
{
	const struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)cert },
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)key },
		{ MHD_OPTION_HTTPS_PRIORITIES, 0,
		    (void *)(uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2" },
		{ MHD_OPTION_END, 0, NULL },
	};
	const struct MHD_OptionItem none[] = { { MHD_OPTION_END, 0, NULL } };
	unsigned flags = MHD_USE_EPOLL | (cert[0] != '\0' ? MHD_USE_TLS : 0);

	web->daemon = mhd.MHD_start_daemon(flags, 0, NULL, NULL, on_request, web,
	    MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_STRICT_FOR_CLIENT, 1,
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, web, MHD_OPTION_NOTIFY_COMPLETED,
	    on_completed, web, MHD_OPTION_ARRAY, cert[0] != '\0' ? tls : none, MHD_OPTION_END);
	if (web->daemon != NULL)
		return 0;
	if (cert[0] == '\0')
		return err_set(err, ERR_IO, "the page's server cannot start");
	(void)err_set(err, ERR_CONFIG, "the page's certificate and key cannot be used");

	return err_hint(err,
	    "Check that web.tls_cert and web.tls_key are PEM and belong together.");
}

static int
start_with_files(struct web *web, int *listen_fd, const struct web_options *options,
    struct err *err)
{
	SCOPED(str_done) struct str cert = STR_INIT_MAX(PEM_MAX_BYTES);
	SCOPED(str_done) struct str key = STR_INIT_MAX(PEM_MAX_BYTES);
	int result;

	if (options->tls_cert != NULL &&
	    (file_read_all(options->tls_cert, PEM_MAX_BYTES, &cert, err) < 0 ||
		file_read_all(options->tls_key, PEM_MAX_BYTES, &key, err) < 0))
		return err_wrap(err, "the page's certificate");
	result = start(web, *listen_fd, str_text(&cert), str_text(&key), err);
	if (result == 0)
		*listen_fd = -1; /* the library's now */
	if (key.size > 0)
		explicit_bzero(key.data, key.size);

	return result;
}

/* As it was bound: the port may have been chosen for us. */
static void
name_url(struct web *web, int listen_fd)
{
	struct address bound = { .size = sizeof(bound.name) };
	char text[ADDRESS_TEXT_SIZE];

	(void)getsockname(listen_fd, &bound.name.any, &bound.size);
	(void)snprintf(web->url, sizeof(web->url), "%s://%s/", web->app.is_tls ? "https" : "http",
	    address_format(&bound, false, text));
}

struct web *
web_open(const struct web_options *options, const struct web_host *host, struct err *err)
{
	SCOPED(web_closep) struct web *web = NULL;
	SCOPED(closep) int listen_fd = -1;
	struct address address;

	if (address_parse(options->listen, &address, err) < 0) {
		(void)err_wrap(err, "web.listen");
		return NULL;
	}
	if (check_options(options, &address, err) < 0 ||
	    check_token(options->token_path, err) < 0 || library_load(&library, err) < 0 ||
	    address_listen(&address, &listen_fd, err) < 0)
		return NULL;
	web = xcalloc(1, sizeof(*web));
	init_app(&web->app, options, &address, host);
	name_url(web, listen_fd);
	if (start_with_files(web, &listen_fd, options, err) < 0)
		return NULL;

	return TAKE(web);
}

void
web_close(struct web *web)
{
	if (web == NULL)
		return;
	if (web->daemon != NULL)
		mhd.MHD_stop_daemon(web->daemon);
	app_done(&web->app);
	free(web);
}

int
web_fd(const struct web *web)
{
	const union MHD_DaemonInfo *info = mhd.MHD_get_daemon_info(web->daemon,
	    MHD_DAEMON_INFO_EPOLL_FD);

	return info != NULL ? info->epoll_fd : -1;
}

int64_t
web_timeout_us(const struct web *web)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (web->guests == NULL)
		return -1;
	if (mhd.MHD_get_timeout(web->daemon, &ms) != MHD_YES ||
	    ms > (uint64_t)(SWEEP_US / US_PER_MS))
		return SWEEP_US;

	return (int64_t)ms * US_PER_MS;
}

void
web_work(struct web *web)
{
	bool had_guests = web->guests != NULL;

	(void)mhd.MHD_run(web->daemon);
	/*
	 * At its limit the library stops listening, and only the run after somebody has left makes it
	 * listen again.  When all left in this one, nothing would wake us for the next.
	 */
	if (had_guests && web->guests == NULL)
		(void)mhd.MHD_run(web->daemon);
	if (clock_elapsed_us(web->swept) >= SWEEP_US)
		sweep(web);
}

const char *
web_url(const struct web *web)
{
	return web->url;
}
