/* The page in an event loop: its descriptor watched, its time kept. */
#ifndef APP_WEB_ATTACH_H
#define APP_WEB_ATTACH_H

#include "base/scope.h"

struct err;
struct loop;
struct web;
struct web_attachment;

/* Both are loans that outlive the attachment; end it before web_close. */
struct web_attachment *web_attach(struct web *web, struct loop *loop, struct err *err) MUST_CHECK;
void web_detach(struct web_attachment *attachment); /* NULL is ok */
SCOPED_FREE(struct web_attachment, web_detach)

#endif
