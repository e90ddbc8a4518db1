/*
 * What a message says, for people: one line for the subject, a plain text, the same as HTML.  The
 * site first, then what, since when, why, and what to type next.  Everything from outside is made
 * harmless here: no line break gets into a subject, no markup into the HTML.
 */
#ifndef APP_NOTIFY_MESSAGE_H
#define APP_NOTIFY_MESSAGE_H

#include "base/scope.h"
#include "base/str.h"

struct outbox_row;
struct zone;

struct message {
	const char *site;
	const struct zone *zone;
	const struct outbox_row *row;
};

/* "[north] CRITICAL: pg-daily: the last 2 runs failed (1 critical, 2 warnings)" */
void message_add_subject(const struct message *message, struct str *to);
void message_add_text(const struct message *message, struct str *to);
void message_add_html(const struct message *message, struct str *to);

/* One line without the counts, as for a summary. */
void message_add_summary(const struct message *message, struct str *to);

/* As a header's value: control characters become spaces, what is not ASCII an encoded word. */
void message_add_header_text(struct str *to, const char *text);

#endif
