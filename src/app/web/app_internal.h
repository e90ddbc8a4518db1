/* What the routes share: the daemon they speak for, who is logged in, and the state as it was told. */
#ifndef APP_WEB_APP_INTERNAL_H
#define APP_WEB_APP_INTERNAL_H

#include <stdbool.h>

#include "app/web/reply.h"
#include "app/web/request.h"
#include "app/web/session.h"
#include "app/web/web.h"
#include "base/clock.h"

struct page_state;

struct web_app {
	const struct web_host *host;
	char *token_path; /* NULL: nobody can log in */
	char **names;     /* NULL-terminated */
	bool is_loopback;
	bool is_tls;
	struct sessions sessions;
	struct page_state *state;
	struct mono_time planned_at; /* the last plan, which is dear */
};

/* What a route is called with; params are the parts of the path that stand for names. */
struct web_call {
	struct web_app *app;
	const struct request *request;
	struct reply *reply;
	const char *id;          /* the part of the path in braces; NULL: none */
	struct session *session; /* NULL: not logged in */
};

/* ---- looking (api_look.c, api_log.c, api_plan.c, page_state.c) ---- */
void web_get_routes(struct web_call *call);
void web_get_state(struct web_call *call);
void web_get_runs(struct web_call *call);
void web_get_run(struct web_call *call);
void web_get_log(struct web_call *call);
void web_get_backups(struct web_call *call);
void web_get_backup(struct web_call *call);
void web_get_audit(struct web_call *call);
void web_get_plan(struct web_call *call);
void web_get_session(struct web_call *call);
void web_get_health(struct web_call *call);
void web_get_ready(struct web_call *call);
void web_get_metrics(struct web_call *call);

/* ---- acting (api_act.c) ---- */
void web_post_login(struct web_call *call);
void web_post_logout(struct web_call *call);
void web_post_acknowledge(struct web_call *call);
void web_post_shelve(struct web_call *call);
void web_post_run(struct web_call *call);

/* The name of the session's cookie: over TLS no other host or path can set it. */
const char *web_cookie_name(const struct web_app *app);

#endif
