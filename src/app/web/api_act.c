/* The routes that change something: each leaves a row in the audit, also when it is refused. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "app/cli/out.h"
#include "app/web/app_internal.h"
#include "app/wire.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "catalog/catalog_audit.h"
#include "engine/alarm_desk.h"
#include "os/file.h"

enum {
	NAME_MAX_BYTES = 40,
	WHY_MAX_BYTES = 500,
	SHELVE_MAX_DAYS = 30,
};

/* ---- what they have in common -------------------------------------------------------------------- */

/* The object of the body; NULL: the reply says what is wrong. */
static json_t *
read_body(struct web_call *call)
{
	json_error_t error;
	json_t *root = json_loadb(call->request->body, call->request->body_size,
	    JSON_REJECT_DUPLICATES, &error);

	if (json_is_object(root))
		return root;
	json_decref(root);
	reply_refuse(call->reply, 400, NULL, "the body is not a JSON object");

	return NULL;
}

/* A text of the body of at most `max_bytes`, without control characters; NULL: none, or not so. */
static const char *
body_text(const json_t *body, const char *name, size_t max_bytes)
{
	const char *text = json_string_value(json_object_get(body, name));

	if (text == NULL || text[0] == '\0' || strlen(text) > max_bytes)
		return NULL;
	for (const char *c = text; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return NULL;
	}

	return text;
}

static void
audit(struct web_call *call, const char *who, const char *action, const char *subject,
    const char *detail)
{
	SCOPED(freep) char *copies[4] = { NULL };
	struct err err = ERR_INIT;
	const struct audit_row row = {
		.at = clock_wall(),
		.who = copies[0] = xstrdup(who),
		.action = copies[1] = xstrdup(action),
		.subject = copies[2] = xstrdup(subject),
		.detail = copies[3] = xstrdup(detail),
	};

	if (catalog_audit_add(call->app->host->wire->engine.catalog, &row, &err) < 0)
		log_warning("cannot write to the audit that %s did '%s': %s, continuing", who,
		    action, err.msg);
	for (size_t i = 1; i < ARRAY_SIZE(copies); i++)
		freep(&copies[i]);
}

/* Done, or why not; either way it is written down. */
static void
conclude(struct web_call *call, const char *action, const char *subject, const char *why,
    const struct err *failure)
{
	SCOPED(freep)
	char *detail = failure != NULL ? xasprintf("refused: %s", failure->msg) : xstrdup(why);

	audit(call, call->session->who, action, subject, detail);
	if (failure != NULL)
		reply_error(call->reply, 0, failure);
	else
		reply_json(call->reply, "blackstart.done/1",
		    json_pack("{s:s, s:o}", "done", action, "subject", out_json_text(subject)));
}

/* ---- login --------------------------------------------------------------------------------------- */

const char *
web_cookie_name(const struct web_app *app)
{
	return app->is_tls ? "__Host-blackstart" : "blackstart";
}

static void
set_cookie(struct web_call *call, const char *value, int age_s)
{
	reply_add_header(call->reply, "Set-Cookie",
	    "%s=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Strict%s", web_cookie_name(call->app),
	    value, age_s, call->app->is_tls ? "; Secure" : "");
}

static void
tell_session(struct web_call *call, const struct session *session)
{
	json_t *root = json_object();

	(void)json_object_set_new(root, "can_log_in", json_boolean(call->app->token_path != NULL));
	(void)json_object_set_new(root, "who",
	    session != NULL ? out_json_text(session->who) : json_null());
	(void)json_object_set_new(root, "csrf",
	    session != NULL ? json_string(session->csrf) : json_null());
	reply_json(call->reply, "blackstart.session/1", root);
}

void
web_get_session(struct web_call *call)
{
	tell_session(call, call->session);
}

/* The file is read at each login, so that a new token counts at once. */
static bool
is_right_token(struct web_call *call, const char *token, struct err *err)
{
	SCOPED(secret_freep) struct secret *secret = file_read_secret(call->app->token_path, err);

	if (secret == NULL)
		return false;
	if (token != NULL && session_text_equals(secret_text(secret), token))
		return true;
	(void)err_set(err, ERR_AUTH, "this is not the token");

	return false;
}

static void
log_in(struct web_call *call, const json_t *body)
{
	const char *name = body_text(body, "name", NAME_MAX_BYTES);
	SCOPED(freep)
	char *who = xasprintf("%s (page, %s)", name != NULL ? name : "somebody",
	    call->request->client);
	struct session *session;
	struct err err = ERR_INIT;

	if (!is_right_token(call, json_string_value(json_object_get(body, "token")), &err)) {
		if (err.kind != ERR_AUTH)
			log_warning("nobody can log in to the page: %s", err.msg);
		audit(call, who, "login refused", NULL, err.msg);
		reply_error(call->reply, err.kind == ERR_AUTH ? 401 : 500, &err);
		return;
	}
	session = sessions_begin(&call->app->sessions, call->request->client, who, clock_mono());
	audit(call, who, "login", NULL, NULL);
	set_cookie(call, session->id, SESSION_HOURS * 3600);
	tell_session(call, session);
}

void
web_post_login(struct web_call *call)
{
	SCOPED(json_decrefp) json_t *body = NULL;
	unsigned wait_s;

	if (call->app->token_path == NULL) {
		reply_refuse(call->reply, 403, "Set web.token_file in the configuration.",
		    "this page only shows");
		return;
	}
	if (!sessions_may_try(&call->app->sessions, call->request->client, clock_mono(), &wait_s)) {
		reply_add_header(call->reply, "Retry-After", "%u", wait_s);
		reply_refuse(call->reply, 429, NULL, "too many wrong tokens: try again in %u s",
		    wait_s);
		return;
	}
	body = read_body(call);
	if (body != NULL)
		log_in(call, body);
}

void
web_post_logout(struct web_call *call)
{
	audit(call, call->session->who, "logout", NULL, NULL);
	sessions_end(call->session);
	set_cookie(call, "", 0);
	tell_session(call, NULL);
}

/* ---- alarms -------------------------------------------------------------------------------------- */

static bool
read_order(struct web_call *call, const json_t *body, struct alarm_order *order)
{
	*order = (struct alarm_order){
		.alarm = body_text(body, "alarm", WHY_MAX_BYTES),
		.why = body_text(body, "why", WHY_MAX_BYTES),
		.who = call->session->who,
		.now = clock_wall(),
	};
	if (order->alarm != NULL)
		return true;
	reply_refuse(call->reply, 400, NULL, "'alarm' must name one, like job_failed/pg-daily");

	return false;
}

void
web_post_acknowledge(struct web_call *call)
{
	struct catalog *catalog = call->app->host->wire->engine.catalog;
	SCOPED(json_decrefp) json_t *body = read_body(call);
	struct alarm_order order;
	struct err err = ERR_INIT;
	bool is_done;

	if (body == NULL || !read_order(call, body, &order))
		return;
	is_done = alarm_desk_acknowledge(catalog, &order, &err) == 0;
	conclude(call, "acknowledge", order.alarm, order.why, is_done ? NULL : &err);
}

/* "for": how long, at most 30 days: an alarm that is put aside for ever is no alarm. */
static bool
read_span(struct web_call *call, const json_t *body, struct wall_time *ret_until)
{
	const char *text = body_text(body, "for", WHY_MAX_BYTES);
	struct err err = ERR_INIT;
	int64_t span_us;

	if (text != NULL && parse_duration_us(text, &span_us, &err) == 0 && span_us > 0 &&
	    span_us <= SHELVE_MAX_DAYS * 86400 * US_PER_S) {
		ret_until->us = clock_wall().us + span_us;
		return true;
	}
	reply_refuse(call->reply, 400, "Write it like 4h or 2d.",
	    "'for' must say how long, at most %d days", SHELVE_MAX_DAYS);

	return false;
}

void
web_post_shelve(struct web_call *call)
{
	struct catalog *catalog = call->app->host->wire->engine.catalog;
	SCOPED(json_decrefp) json_t *body = read_body(call);
	struct alarm_order order;
	struct wall_time until;
	struct err err = ERR_INIT;
	bool is_done;

	if (body == NULL || !read_order(call, body, &order) || !read_span(call, body, &until))
		return;
	is_done = alarm_desk_shelve(catalog, &order, until, &err) == 0;
	conclude(call, "shelve", order.alarm, order.why, is_done ? NULL : &err);
}

/* ---- jobs ---------------------------------------------------------------------------------------- */

void
web_post_run(struct web_call *call)
{
	const struct web_host *host = call->app->host;
	struct err err = ERR_INIT;
	bool is_done;

	if (host->run_now == NULL) {
		reply_refuse(call->reply, 501, "'blackstart serve' can.",
		    "this server cannot run jobs");
		return;
	}
	is_done = host->run_now(host->context, call->id, &err) == 0;
	conclude(call, "run", call->id, NULL, is_done ? NULL : &err);
}
