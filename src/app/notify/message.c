#include "app/notify/message.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/zone.h"
#include "catalog/catalog_outbox.h"
#include "sched/alarm.h"

enum {
	SUBJECT_MAX = 200,
	ENCODED_WORD_BYTES = 39, /* of text: a line with "Subject: " within the 76 of RFC 2047 */
};

static bool
is_event(const struct message *message, const char *event)
{
	return str_equals(message->row->event, event);
}

/* ---- one line ------------------------------------------------------------------------------ */

static const char *
headline_word(const struct message *message)
{
	bool is_critical = message->row->severity >= ALARM_CRITICAL;

	if (is_event(message, "cleared"))
		return "OVER";
	if (is_event(message, "worse"))
		return is_critical ? "NOW CRITICAL" : "WORSE";
	if (is_event(message, "repeated"))
		return is_critical ? "STILL CRITICAL" : "STILL WARNING";

	return is_critical ? "CRITICAL" : "WARNING";
}

void
message_add_summary(const struct message *message, struct str *to)
{
	const struct outbox_row *row = message->row;

	if (is_event(message, "test"))
		str_add(to, "a test: this channel works");
	else if (is_event(message, "digest"))
		str_add(to, "the day");
	else
		str_addf(to, "%s: %s: %s", headline_word(message), row->subject,
		    row->text != NULL ? row->text : row->rule);
}

static void
add_counts(const struct message *message, struct str *to)
{
	unsigned criticals = message->row->criticals_count;
	unsigned warnings = message->row->warnings_count;

	if (criticals == 0 && warnings == 0)
		str_add(to, "no alarm stands");
	else
		str_addf(to, "%u critical, %u %s", criticals, warnings,
		    warnings == 1 ? "warning" : "warnings");
}

void
message_add_subject(const struct message *message, struct str *to)
{
	SCOPED(str_done) struct str line = STR_INIT_MAX(SUBJECT_MAX);

	message_add_summary(message, &line);
	str_addf(to, "[%s] %s", message->site, str_text(&line));
	if (is_event(message, "test"))
		return;
	str_add(to, " (");
	add_counts(message, to);
	str_add_char(to, ')');
}

static void
add_base64(struct str *to, const unsigned char *data, size_t size)
{
	static const char
	    digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < size; i += 3) {
		unsigned left = (unsigned)(size - i);
		unsigned group = (unsigned)data[i] << 16 |
		    (left > 1 ? (unsigned)data[i + 1] : 0U) << 8 |
		    (left > 2 ? (unsigned)data[i + 2] : 0U);

		str_add_char(to, digits[group >> 18]);
		str_add_char(to, digits[group >> 12 & 63]);
		str_add_char(to, left > 1 ? digits[group >> 6 & 63] : '=');
		str_add_char(to, left > 2 ? digits[group & 63] : '=');
	}
}

/* A character of several bytes must not be cut by the end of a word. */
static size_t
word_size(const char *text)
{
	size_t size = strnlen(text, ENCODED_WORD_BYTES + 1);

	if (size <= ENCODED_WORD_BYTES)
		return size;
	size = ENCODED_WORD_BYTES;
	while (size > 1 && ((unsigned char)text[size] & 0xc0) == 0x80)
		size--;

	return size;
}

void
message_add_header_text(struct str *to, const char *text)
{
	SCOPED(str_done) struct str line = STR_INIT;
	bool is_ascii = true;
	const char *at;

	for (const char *c = text; *c != '\0'; c++) {
		unsigned char byte = (unsigned char)*c;

		is_ascii = is_ascii && byte < 0x80;
		str_add_char(&line, byte < ' ' || byte == 0x7f ? ' ' : *c);
	}
	at = str_text(&line);
	if (is_ascii) {
		str_add(to, at);
		return;
	}
	while (*at != '\0') {
		size_t size = word_size(at);

		str_add(to, at == str_text(&line) ? "=?UTF-8?B?" : "\r\n =?UTF-8?B?");
		add_base64(to, (const unsigned char *)at, size);
		str_add(to, "?=");
		at += size;
	}
}

/* ---- plain text ---------------------------------------------------------------------------- */

/* From outside: nothing in it may look like another line of ours. */
static void
add_clean(struct str *to, const char *text)
{
	for (const char *c = text != NULL ? text : "-"; *c != '\0'; c++)
		str_add_char(to, (unsigned char)*c < ' ' || *c == 0x7f ? ' ' : *c);
}

static void
add_line(struct str *to, const char *label, const char *text)
{
	str_addf(to, "%-8s", label);
	add_clean(to, text);
	str_add_char(to, '\n');
}

static void
add_times(const struct message *message, struct str *to)
{
	const struct outbox_row *row = message->row;
	char since[CLOCK_TEXT_SIZE], until[CLOCK_TEXT_SIZE], lasted[CLOCK_TEXT_SIZE];
	int64_t lasted_us = row->at.us > row->since.us ? row->at.us - row->since.us : 0;

	(void)clock_format_duration(lasted_us, lasted);
	str_addf(to, "%-8s%s", "Since:", zone_format(message->zone, row->since, since));
	if (is_event(message, "cleared"))
		str_addf(to, "\n%-8s%s, after %s\n",
		    "Over:", zone_format(message->zone, row->at, until), lasted);
	else if (lasted_us >= 60 * US_PER_S)
		str_addf(to, " (for %s)\n", lasted);
	else
		str_add_char(to, '\n');
}

void
message_add_text(const struct message *message, struct str *to)
{
	const struct outbox_row *row = message->row;

	if (is_event(message, "digest")) {
		str_addf(to, "%s\n\n%s", message->site, row->text);
		return;
	}
	str_addf(to, "%s: ", message->site);
	message_add_summary(message, to);
	if (is_event(message, "test")) {
		str_add(to, "\n\nAlarms of blackstart will arrive here like this.\n");
		return;
	}
	str_add(to, "\n\n");
	add_line(to, "What:", row->subject);
	add_line(to, "", row->text);
	add_times(message, to);
	add_line(to, "Cause:", row->cause);
	if (!is_event(message, "cleared"))
		add_line(to, "Next:", row->next_command);
	str_addf(to, "%-8s", "Now:");
	add_counts(message, to);
	str_add_char(to, '\n');
	if (!is_event(message, "cleared"))
		str_addf(to,
		    "\nWhoever looks after it: blackstart alert ack %s/%s --reason '...'\n",
		    row->rule, row->subject);
}

/* ---- HTML ---------------------------------------------------------------------------------- */

static void
add_escaped(struct str *to, const char *text)
{
	for (const char *c = text; *c != '\0'; c++) {
		switch (*c) {
		case '<':
			str_add(to, "&lt;");
			break;
		case '>':
			str_add(to, "&gt;");
			break;
		case '&':
			str_add(to, "&amp;");
			break;
		case '"':
			str_add(to, "&quot;");
			break;
		case '\'':
			str_add(to, "&#39;");
			break;
		default:
			str_add_char(to, *c);
		}
	}
}

/* Colour only for what is abnormal, and the word beside it always. */
static const char *
colour_of(const struct message *message)
{
	if (is_event(message, "digest") || is_event(message, "test") ||
	    is_event(message, "cleared"))
		return "#555555";

	return message->row->severity >= ALARM_CRITICAL ? "#b00020" : "#9a6700";
}

void
message_add_html(const struct message *message, struct str *to)
{
	SCOPED(str_done) struct str headline = STR_INIT;
	SCOPED(str_done) struct str text = STR_INIT;

	message_add_subject(message, &headline);
	message_add_text(message, &text);
	str_add(to,
	    "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head>\n"
	    "<body style=\"font-family:sans-serif\">\n");
	str_addf(to, "<p style=\"border-left:6px solid %s;padding-left:10px;font-size:120%%\"><b>",
	    colour_of(message));
	add_escaped(to, str_text(&headline));
	str_add(to, "</b></p>\n<pre style=\"font-size:110%\">\n");
	add_escaped(to, str_text(&text));
	str_add(to, "</pre>\n</body></html>\n");
}
