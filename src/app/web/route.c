#include "app/web/route.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "app/web/address.h"
#include "app/web/app_internal.h"
#include "app/web/asset.h"
#include "app/wire.h"
#include "base/mem.h"

/* Who may call a route. */
enum access {
	ACCESS_ANYBODY, /* also under a name that is not ours: it tells nothing */
	ACCESS_READER,
	ACCESS_STORE,  /* a reader, of what is nothing without the store */
	ACCESS_LOGIN,  /* a write without a session: the login itself */
	ACCESS_WRITER, /* a session and its CSRF token */
};

struct full_route {
	struct route route;
	enum access access;
	void (*handle)(struct web_call *call);
};

static const struct full_route routes[] = {
	{ { METHOD_GET, "/healthz", "the daemon's loop turns" }, ACCESS_ANYBODY, web_get_health },
	{ { METHOD_GET, "/readyz", "catalog and store can be used" }, ACCESS_ANYBODY,
	    web_get_ready },
	{ { METHOD_GET, "/metrics", "Prometheus text" }, ACCESS_READER, web_get_metrics },
	{ { METHOD_GET, "/api/v1", "these routes" }, ACCESS_READER, web_get_routes },
	{ { METHOD_GET, "/api/v1/state", "all the page shows" }, ACCESS_STORE, web_get_state },
	{ { METHOD_GET, "/api/v1/runs", "runs, newest first" }, ACCESS_READER, web_get_runs },
	{ { METHOD_GET, "/api/v1/runs/{id}", "one run" }, ACCESS_READER, web_get_run },
	{ { METHOD_GET, "/api/v1/runs/{id}/log", "its log from a byte on" }, ACCESS_READER,
	    web_get_log },
	{ { METHOD_GET, "/api/v1/backups", "backups, newest first" }, ACCESS_READER,
	    web_get_backups },
	{ { METHOD_GET, "/api/v1/backups/{id}", "one backup and its manifest" }, ACCESS_STORE,
	    web_get_backup },
	{ { METHOD_GET, "/api/v1/audit", "who did what" }, ACCESS_READER, web_get_audit },
	{ { METHOD_GET, "/api/v1/plan", "how to bring a source back to an instant" }, ACCESS_STORE,
	    web_get_plan },
	{ { METHOD_GET, "/api/v1/session", "who is logged in" }, ACCESS_READER, web_get_session },
	{ { METHOD_POST, "/api/v1/login", "begin a session with the token" }, ACCESS_LOGIN,
	    web_post_login },
	{ { METHOD_POST, "/api/v1/logout", "end it" }, ACCESS_WRITER, web_post_logout },
	{ { METHOD_POST, "/api/v1/alarms/ack", "acknowledge an alarm" }, ACCESS_WRITER,
	    web_post_acknowledge },
	{ { METHOD_POST, "/api/v1/alarms/shelve", "put an alarm aside for a while" }, ACCESS_WRITER,
	    web_post_shelve },
	{ { METHOD_POST, "/api/v1/jobs/{id}/run", "run a job now" }, ACCESS_WRITER, web_post_run },
};

const struct route *
route_at(size_t index)
{
	return index < ARRAY_SIZE(routes) ? &routes[index].route : NULL;
}

/* ---- which route -------------------------------------------------------------------------------- */

/* Does the path follow the pattern; the part in braces becomes *ret_id, yours, NULL: none. */
static bool
matches(const char *pattern, const char *path, char **ret_id)
{
	const char *open = strchr(pattern, '{');
	size_t before = open != NULL ? (size_t)(open - pattern) : 0;
	const char *after, *end;

	if (open == NULL)
		return strcmp(pattern, path) == 0;
	if (strncmp(pattern, path, before) != 0)
		return false;
	after = strchr(open, '}') + 1;
	end = path + before + strcspn(path + before, "/");
	if (end == path + before || strcmp(end, after) != 0)
		return false;
	*ret_id = xstrndup(path + before, (size_t)(end - path) - before);

	return true;
}

static const struct full_route *
find_route(const struct request *request, char **ret_id, bool *ret_is_other_method)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (!matches(routes[i].route.pattern, request->path, ret_id))
			continue;
		if (routes[i].route.method == request->method)
			return &routes[i];
		*ret_is_other_method = true;
		free(TAKE(*ret_id));
	}

	return NULL;
}

/* ---- who may ------------------------------------------------------------------------------------ */

/*
 * A page of somebody else's can make its own name point at us (DNS rebinding) and would then read
 * along.  Addresses and localhost cannot be somebody else's name.
 */
static bool
is_our_host(const struct web_app *app, const struct request *request)
{
	const char *host = request_header(request, "Host");

	if (!app->is_loopback && app->names[0] == NULL)
		return true;
	if (host == NULL || host_is_plain(host))
		return true;
	for (size_t i = 0; app->names[i] != NULL; i++) {
		if (host_is_name(host, app->names[i]))
			return true;
	}

	return false;
}

/* A browser says where a request that writes comes from; what is no browser says nothing. */
static bool
is_same_origin(const struct request *request)
{
	const char *origin = request_header(request, "Origin");
	const char *host = request_header(request, "Host");
	const char *slashes = origin != NULL ? strstr(origin, "://") : NULL;

	return origin == NULL ||
	    (slashes != NULL && host != NULL && strcmp(slashes + 3, host) == 0);
}

static bool
is_json(const struct request *request)
{
	const char *type = request_header(request, "Content-Type");

	return type != NULL && strncmp(type, "application/json", strlen("application/json")) == 0;
}

/* A write must come from our own page, or from a program that says what it sends. */
static bool
may_write(struct web_call *call, enum access access)
{
	const char *csrf = request_header(call->request, "X-CSRF-Token");

	if (!is_same_origin(call->request) || !is_json(call->request)) {
		reply_refuse(call->reply, 403, NULL,
		    "a write must come from the page itself, as application/json");
		return false;
	}
	if (access == ACCESS_LOGIN)
		return true;
	if (call->session == NULL) {
		reply_refuse(call->reply, 401, "Log in with the token of web.token_file.",
		    "this needs a login");
		return false;
	}
	if (csrf == NULL || !session_text_equals(call->session->csrf, csrf)) {
		reply_refuse(call->reply, 403, "Load the page again.",
		    "the request does not carry the session's CSRF token");
		return false;
	}

	return true;
}

/* A store that is gone, as an unmounted disk is, is said to whoever asks. */
static bool
has_store(struct web_call *call)
{
	const struct web_host *host = call->app->host;
	SCOPED(str_done) struct str why = STR_INIT;

	if (host->wire->engine.store != NULL)
		return true;
	if (host->is_ready == NULL || host->is_ready(host->context, &why))
		str_add(&why, "no store");
	reply_refuse(call->reply, 503, "In a terminal, type: blackstart check", "%s",
	    str_text(&why));

	return false;
}

static bool
may_call(struct web_call *call, enum access access)
{
	if (access != ACCESS_ANYBODY && !is_our_host(call->app, call->request)) {
		reply_refuse(call->reply, 421,
		    "Use the address, or add the name to web.names in the configuration.",
		    "the page is not known under the name '%.100s'",
		    request_header(call->request, "Host"));
		return false;
	}
	if (access == ACCESS_LOGIN || access == ACCESS_WRITER)
		return may_write(call, access);
	if (access == ACCESS_STORE)
		return has_store(call);

	return true;
}

/* ---- headers of every reply --------------------------------------------------------------------- */

static void
add_common_headers(struct reply *reply)
{
	static const struct {
		const char *name;
		const char *value;
	} common[] = {
		{ "Content-Security-Policy",
		    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
		    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
		    "frame-ancestors 'none'" },
		{ "X-Content-Type-Options", "nosniff" },
		{ "X-Frame-Options", "DENY" },
		{ "Referrer-Policy", "no-referrer" },
		{ "Cross-Origin-Resource-Policy", "same-origin" },
		{ "Cross-Origin-Opener-Policy", "same-origin" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(common); i++)
		reply_add_header(reply, common[i].name, "%s", common[i].value);
	reply_add_header(reply, "Cache-Control", "%s",
	    reply->cache != NULL ? reply->cache : "no-store");
}

/* ---- all ---------------------------------------------------------------------------------------- */

static void
answer_asset(struct web_call *call)
{
	if (call->request->method != METHOD_GET) {
		reply_add_header(call->reply, "Allow", "GET");
		reply_refuse(call->reply, 405, NULL, "'%.100s' can only be read",
		    call->request->path);
		return;
	}
	if (may_call(call, ACCESS_READER) && !asset_answer(call->request, call->reply))
		reply_refuse(call->reply, 404, "'/api/v1' lists what there is.",
		    "there is nothing at '%.100s'", call->request->path);
}

void
route_answer(struct web_app *app, const struct request *request, struct reply *reply)
{
	SCOPED(freep) char *id = NULL;
	bool is_other_method = false;
	const struct full_route *found = find_route(request, &id, &is_other_method);
	struct web_call call = {
		.app = app,
		.request = request,
		.reply = reply,
		.id = id,
		.session = sessions_find(&app->sessions,
		    request_cookie(request, web_cookie_name(app)), clock_mono()),
	};

	if (found != NULL && may_call(&call, found->access)) {
		found->handle(&call);
	} else if (found == NULL && is_other_method) {
		reply_add_header(reply, "Allow", "%s",
		    request->method == METHOD_GET ? "POST" : "GET");
		reply_refuse(reply, 405, NULL, "'%.100s' does not take this method", request->path);
	} else if (found == NULL) {
		answer_asset(&call);
	}
	add_common_headers(reply);
}
