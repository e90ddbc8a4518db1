#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/notify/hook.h"
#include "app/notify/mail_message.h"
#include "app/notify/message.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/zone.h"
#include "catalog/catalog_outbox.h"
#include "sched/alarm.h"

#define START (INT64_C(1790000000) * US_PER_S)
#define MINUTE (60 * US_PER_S)

static struct zone *zone;

static int
group_setup(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	zone = zone_open("UTC", &err);

	return zone != NULL ? 0 : -1;
}

static int
group_teardown(void **state)
{
	(void)state;
	zone_close(zone);

	return 0;
}

static char *
literal(const char *text)
{
	return (char *)(uintptr_t)text;
}

static struct outbox_row
a_row(void)
{
	return (struct outbox_row){
		.id = 7,
		.channel = literal("mail"),
		.event = literal("raised"),
		.rule = literal("job_failed"),
		.subject = literal("pg-daily"),
		.severity = ALARM_WARNING,
		.since = { START },
		.raised_at = { START },
		.at = { START + MINUTE },
		.text = literal("the last run failed"),
		.cause = literal("no space left"),
		.next_command = literal("blackstart log pg-daily-1"),
		.warnings_count = 1,
	};
}

static char *
whole_mail(const struct outbox_row *row)
{
	const char *const to[] = { "a@b", "c@d", NULL };
	const struct message message = { .site = "north", .zone = zone, .row = row };
	struct str text = STR_INIT;

	mail_message_add(&message, &(struct mail_addresses){ .from = "x@y", .to = to }, &text);

	return str_take(&text);
}

/* What stands in a header, up to its end; "" when it is not there. */
static char *
header(const char *mail, const char *name)
{
	SCOPED(freep) char *begin = xasprintf("\r\n%s: ", name);
	const char *end = strstr(mail, "\r\n\r\n");
	const char *at = strstr(mail, begin);

	if (at == NULL || at > end)
		return xstrdup("");
	at += strlen(begin);

	return xstrndup(at, strcspn(at, "\r"));
}

static void
assert_sound_lines(const char *mail)
{
	for (const char *line = mail; *line != '\0';) {
		size_t size = strcspn(line, "\n");

		assert_true(size <= 78 || line < strstr(mail, "\r\n\r\n"));
		assert_true(size > 0 && line[size - 1] == '\r'); /* no bare line feed */
		assert_true(line[0] != '.');                     /* nothing for SMTP to stuff */
		for (size_t i = 0; i + 1 < size; i++)
			assert_in_range((unsigned char)line[i], ' ', 0x7e);
		line += size + 1;
	}
}

static void
test_lines_of_a_mail(void **state)
{
	SCOPED(str_done) struct str cause = STR_INIT;
	SCOPED(freep) char *mail = NULL;
	SCOPED(freep) char *digest = NULL;
	struct outbox_row row = a_row();

	(void)state;
	str_add(&cause, ".\n..x\r\n=3D ");
	for (int i = 0; i < 300; i++)
		str_add(&cause, "\xc3\xbc ");
	for (int i = 0; i < 300; i++)
		str_add_char(&cause, '.');
	row.cause = cause.data;
	mail = whole_mail(&row);
	assert_sound_lines(mail);
	assert_non_null(strstr(mail, "=C3=BC"));
	assert_non_null(strstr(mail, "=3D3D"));
	row = (struct outbox_row){ .event = literal("digest"), .text = literal(".\n..x \n\t.\n") };
	digest = whole_mail(&row);
	assert_sound_lines(digest);
	assert_non_null(strstr(digest, "\r\n=2E.x=20\r\n"));
}

static void
test_a_thread(void **state)
{
	struct outbox_row row = a_row();
	SCOPED(freep) char *first = whole_mail(&row);
	SCOPED(freep) char *again = whole_mail(&row);
	SCOPED(freep) char *id = header(first, "Message-ID");
	SCOPED(freep) char *later = NULL;
	SCOPED(freep) char *reference = NULL;
	SCOPED(freep) char *later_id = NULL;
	SCOPED(freep) char *other = NULL;
	SCOPED(freep) char *other_id = NULL;

	(void)state;
	assert_string_equal(first, again);
	row.event = literal("cleared");
	row.id = 8;
	later = whole_mail(&row);
	reference = header(later, "References");
	later_id = header(later, "Message-ID");
	assert_string_equal(reference, id);
	assert_string_not_equal(later_id, id);
	row = a_row();
	row.raised_at.us++; /* the same alarm another time is another thread */
	other = whole_mail(&row);
	other_id = header(other, "Message-ID");
	assert_string_not_equal(other_id, id);
}

static void
test_nothing_breaks_out_of_a_header(void **state)
{
	struct outbox_row row = a_row();
	SCOPED(freep) char *mail = NULL;
	SCOPED(freep) char *subject = NULL;
	SCOPED(freep) char *bcc = NULL;

	(void)state;
	row.text = literal("x\r\nBcc: evil@example.org\n\nbody\x7f\t");
	mail = whole_mail(&row);
	subject = header(mail, "Subject");
	bcc = header(mail, "Bcc");
	assert_string_equal(bcc, "");
	assert_string_equal(subject,
	    "[north] WARNING: pg-daily: x  Bcc: evil@example.org  body   (0 critical, 1 warning)");
}

static void
test_encoded_words(void **state)
{
	SCOPED(str_done) struct str text = STR_INIT;
	SCOPED(str_done) struct str header = STR_INIT;

	(void)state;
	for (int i = 0; i < 40; i++)
		str_add(&text, "\xe2\x82\xac"); /* three bytes that no word may part */
	message_add_header_text(&header, str_text(&text));
	for (const char *word = str_text(&header); word != NULL; word = strstr(word + 1, "=?")) {
		size_t size = strcspn(word + 10, "?");

		assert_memory_equal(word, "=?UTF-8?B?", 10);
		assert_true(size + 12 <= 75);
		assert_int_equal(size % 4, 0);
		assert_memory_equal(word + 10, "4oKs", 4);
	}
}

static void
test_html(void **state)
{
	struct outbox_row row = a_row();
	const struct message message = { .site = "<b>&\"'", .zone = zone, .row = &row };
	SCOPED(str_done) struct str html = STR_INIT;

	(void)state;
	row.text = literal("<script>alert(1)</script>");
	message_add_html(&message, &html);
	assert_null(strstr(str_text(&html), "<script>"));
	assert_null(strstr(str_text(&html), "<b>&\""));
	assert_non_null(strstr(str_text(&html), "&lt;script&gt;"));
	assert_non_null(strstr(str_text(&html), "&lt;b&gt;&amp;&quot;&#39;"));
}

static void
test_texts(void **state)
{
	struct outbox_row row = a_row();
	const struct message message = { .site = "north", .zone = zone, .row = &row };
	SCOPED(str_done) struct str text = STR_INIT;

	(void)state;
	message_add_text(&message, &text);
	assert_string_equal(str_text(&text),
	    "north: WARNING: pg-daily: the last run failed\n\n"
	    "What:   pg-daily\n"
	    "        the last run failed\n"
	    "Since:  2026-09-21 14:13:20 +00:00 (for 1 min 0 s)\n"
	    "Cause:  no space left\n"
	    "Next:   blackstart log pg-daily-1\n"
	    "Now:    0 critical, 1 warning\n"
	    "\nWhoever looks after it: blackstart alert ack job_failed/pg-daily --reason '...'\n");
	str_cut(&text, 0);
	row.event = literal("cleared");
	row.warnings_count = 0;
	message_add_text(&message, &text);
	assert_non_null(strstr(str_text(&text), "Over:   2026-09-21 14:14:20 +00:00, after 1 min"));
	assert_null(strstr(str_text(&text), "Next:"));
	assert_non_null(strstr(str_text(&text), "Now:    no alarm stands"));
}

/* ---- JSON ---- */

static struct alarm_state
a_state(enum alarm_severity severity)
{
	return (struct alarm_state){
		.rule = ALARM_JOB_FAILED,
		.subject = literal("pg-daily"),
		.severity = severity,
		.peak = severity,
		.raised_at = { START },
		.changed_at = { START },
		.text = literal("x"),
	};
}

/* "warning:ENDS critical:ENDS ": seconds from `now`, in the order of the array. */
static char *
ends(const struct alarm_state *state, int64_t now_us)
{
	struct alarm_states states = { .items = { .items = NULL } };
	SCOPED(freep) char *body = NULL;
	struct str text = STR_INIT;
	struct err err = ERR_INIT;
	json_t *array;

	vec_push(&states.items, *state);
	body = hook_state("north", &states, (struct wall_time){ now_us });
	vec_done(&states.items);
	array = json_loads(body, 0, NULL);
	assert_non_null(array);
	str_add(&text, "");
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *alert = json_array_get(array, i);
		struct wall_time at;

		assert_int_equal(clock_parse(json_string_value(json_object_get(alert, "endsAt")),
				     &at, &err),
		    0);
		str_addf(&text, "%s:%d ",
		    json_string_value(json_object_get(json_object_get(alert, "labels"),
			"severity")),
		    (int)((at.us - now_us) / US_PER_S));
	}
	json_decref(array);

	return text.data != NULL ? str_take(&text) : xstrdup("");
}

static void
assert_ends(const struct alarm_state *state, int64_t now_us, const char *expected)
{
	SCOPED(freep) char *found = ends(state, now_us);

	assert_string_equal(found, expected);
}

static void
test_state(void **state)
{
	struct alarm_state alarm = a_state(ALARM_WARNING);

	(void)state;
	assert_ends(&alarm, START + MINUTE, "warning:240 ");
	alarm.shelved_until.us = START + 60 * MINUTE;
	assert_ends(&alarm, START + MINUTE, "warning:0 ");
	alarm.shelved_until.us = 0;
	alarm.severity = ALARM_CRITICAL;
	alarm.peak = ALARM_CRITICAL;
	alarm.changed_at.us = START + 2 * MINUTE;
	assert_ends(&alarm, START + 3 * MINUTE, "critical:240 warning:-60 ");
	assert_ends(&alarm, START + 30 * MINUTE, "critical:240 ");
	alarm.severity = ALARM_WELL;
	alarm.cleared_at.us = START + 30 * MINUTE;
	assert_ends(&alarm, START + 31 * MINUTE, "warning:-60 critical:-60 ");
	assert_ends(&alarm, START + 45 * MINUTE, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_of_a_mail),
		cmocka_unit_test(test_a_thread),
		cmocka_unit_test(test_nothing_breaks_out_of_a_header),
		cmocka_unit_test(test_encoded_words),
		cmocka_unit_test(test_html),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_state),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
