#include "app/web/attach.h"

#include <stdlib.h>

#include "app/web/web.h"
#include "base/mem.h"
#include "os/loop.h"

struct web_attachment {
	struct web *web;
	struct loop_watch *watch;
	struct loop_timer *timer;
};

/* Idle connections need to be ended, and what the library has read may wait for no descriptor. */
static void
work(struct web_attachment *attachment)
{
	int64_t timeout_us;

	web_work(attachment->web);
	timeout_us = web_timeout_us(attachment->web);
	if (timeout_us < 0)
		loop_timer_stop(attachment->timer);
	else
		loop_timer_start(attachment->timer, timeout_us);
}

static void
on_readable(int fd, unsigned events, void *context)
{
	(void)fd;
	(void)events;
	work(context);
}

static void
on_time(void *context)
{
	work(context);
}

struct web_attachment *
web_attach(struct web *web, struct loop *loop, struct err *err)
{
	SCOPED(web_detachp)
	struct web_attachment *attachment = xcalloc(1, sizeof(*attachment));

	attachment->web = web;
	attachment->timer = loop_timer_new(loop, on_time, attachment);
	attachment->watch = loop_watch(loop, web_fd(web), LOOP_READ, on_readable, attachment, err);
	if (attachment->watch == NULL)
		return NULL;

	return TAKE(attachment);
}

void
web_detach(struct web_attachment *attachment)
{
	if (attachment == NULL)
		return;
	loop_unwatch(attachment->watch);
	loop_timer_free(attachment->timer);
	free(attachment);
}
