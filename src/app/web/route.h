/*
 * From a request to its reply: which route it is, whether the client may, and the headers that
 * every reply carries.  Needs no socket.
 */
#ifndef APP_WEB_ROUTE_H
#define APP_WEB_ROUTE_H

#include "app/web/reply.h"
#include "app/web/request.h"

struct web_app;

struct route {
	enum request_method method;
	const char *pattern; /* "/api/v1/runs/{id}/log" */
	const char *doc;
};

/* All of them but the assets; NULL beyond the last. */
const struct route *route_at(size_t index);

/* Never fails: what goes wrong is in the reply. */
void route_answer(struct web_app *app, const struct request *request, struct reply *reply);

#endif
