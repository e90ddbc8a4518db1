/*
 * The page of `serve`, its API, /healthz, /readyz and /metrics, over HTTP or HTTPS.
 *
 * It has no thread and no loop of its own: whoever holds it waits for web_fd and calls web_work.
 * It only looks into the catalog and the store's manifests; what it may start or change goes
 * through struct web_host, needs a login with the token, and leaves an audit row.
 */
#ifndef APP_WEB_WEB_H
#define APP_WEB_WEB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"

struct err;
struct str;
struct web;
struct wire;

struct web_options {
	const char *listen;     /* "127.0.0.1:8480" */
	const char *token_path; /* NULL: nobody may do more than look */
	const char *tls_cert;   /* paths; NULL: no TLS */
	const char *tls_key;
	bool is_insecure;         /* other addresses than loopback without TLS */
	const char *const *names; /* NULL-terminated: Host names that are ours; NULL: none */
};

/* How far a running job is. */
struct web_progress {
	const char *phase; /* a loan until the loop turns; NULL: not known */
	double ratio;      /* 0 to 1; negative: not known */
};

/* What keeps the alarms themselves from being raised, and so cannot be one.  Loans, as above. */
struct web_trouble {
	struct wall_time since;
	const char *text;
	const char *cause;
	const char *full_folder; /* that has no space left; NULL: it is something else */
};

/* The daemon behind the page.  A NULL member: it cannot do that. */
struct web_host {
	struct wire *wire; /* a loan; its catalog is open, its store may not be */
	void *context;

	/* Take the job on, to run as soon as it can.  ERR_BUSY: it runs; ERR_NOT_FOUND. */
	int (*run_now)(void *context, const char *job, struct err *err);
	/* When it is due next; false: not known here, and the calendar is asked. */
	bool (*next_run)(void *context, const char *job, struct wall_time *ret_next);
	bool (*progress)(void *context, const char *job, struct web_progress *ret_progress);
	/* false: there is none. */
	bool (*trouble)(void *context, struct web_trouble *ret_trouble);
	/* Is everything up that it promises; `why` else. */
	bool (*is_ready)(void *context, struct str *why);
	/* /metrics, Prometheus text. */
	int (*metrics)(void *context, struct str *to, struct err *err);
};

/*
 * Listen.  ERR_CONFIG: an address that needs TLS, a certificate or token that cannot be used;
 * ERR_BUSY: the port is taken.  `options` need not outlive the call, `host` must.
 */
struct web *web_open(const struct web_options *options, const struct web_host *host,
    struct err *err) MUST_CHECK;
void web_close(struct web *web);
SCOPED_FREE(struct web, web_close)

/* Readable when there is something to do; the server's, never to be closed. */
int web_fd(const struct web *web);

/* Call web_work after so long even if web_fd says nothing; -1: there is no need. */
int64_t web_timeout_us(const struct web *web);

/* Do what there is to do, without waiting. */
void web_work(struct web *web);

/* "http://127.0.0.1:8480/", for people; a loan. */
const char *web_url(const struct web *web);

#endif
