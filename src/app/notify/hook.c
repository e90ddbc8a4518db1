#include "app/notify/hook.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "app/notify/message.h"
#include "base/hash.h"
#include "base/str.h"
#include "catalog/catalog_outbox.h"
#include "sched/alarm.h"

enum { FINGERPRINT_BYTES = 8 };
#define STANDS_ON_US (4 * 60 * US_PER_S)
#define TOLD_OVER_US (10 * 60 * US_PER_S)
#define TEST_LASTS_US (60 * US_PER_S)

/* Text or "": bytes that are no UTF-8 are replaced, as everywhere in JSON of ours. */
static json_t *
text_json(const char *text)
{
	json_t *value = json_string(text != NULL ? text : "");

	if (value == NULL) {
		SCOPED(str_done) struct str clean = STR_INIT;

		for (const char *c = text; *c != '\0'; c++)
			str_add_char(&clean, (unsigned char)*c < 0x80 ? *c : '?');
		value = json_string(str_text(&clean));
	}

	return value;
}

static json_t *
time_json(struct wall_time time)
{
	char text[CLOCK_TEXT_SIZE];

	/* Go's zero time stands for "not yet" in these formats. */
	return json_string(time.us != 0 ? clock_format(time, text) : "0001-01-01T00:00:00Z");
}

/* "job_failed" becomes "BlackstartJobFailed". */
static json_t *
name_json(const char *rule)
{
	SCOPED(str_done) struct str name = STR_INIT;
	bool is_begin = true;

	str_add(&name, "Blackstart");
	for (const char *c = rule; *c != '\0'; c++) {
		if (*c == '_') {
			is_begin = true;
			continue;
		}
		str_add_char(&name, is_begin ? (char)toupper((unsigned char)*c) : *c);
		is_begin = false;
	}

	return json_string(str_text(&name));
}

struct alert {
	const char *site;
	const char *rule;
	const char *subject;
	int severity;
	const char *text;
	const char *cause;
	const char *next_command;
	struct wall_time starts_at;
	struct wall_time ends_at;
};

static json_t *
labels_json(const struct alert *alert)
{
	json_t *labels = json_object();

	(void)json_object_set_new(labels, "alertname", name_json(alert->rule));
	(void)json_object_set_new(labels, "name", text_json(alert->subject));
	(void)json_object_set_new(labels, "rule", text_json(alert->rule));
	(void)json_object_set_new(labels, "severity",
	    text_json(alert->severity < 0
		    ? "none"
		    : alarm_severity_name((enum alarm_severity)alert->severity)));
	(void)json_object_set_new(labels, "site", text_json(alert->site));

	return labels;
}

static json_t *
annotations_json(const struct alert *alert)
{
	json_t *annotations = json_object();
	SCOPED(str_done) struct str summary = STR_INIT;

	str_addf(&summary, "%s: %s", alert->subject,
	    alert->text != NULL ? alert->text : alert->rule);
	(void)json_object_set_new(annotations, "summary", text_json(str_text(&summary)));
	(void)json_object_set_new(annotations, "description", text_json(alert->cause));
	(void)json_object_set_new(annotations, "next_command", text_json(alert->next_command));

	return annotations;
}

static json_t *
alert_json(const struct alert *alert)
{
	json_t *object = json_object();

	(void)json_object_set_new(object, "labels", labels_json(alert));
	(void)json_object_set_new(object, "annotations", annotations_json(alert));
	(void)json_object_set_new(object, "startsAt", time_json(alert->starts_at));
	(void)json_object_set_new(object, "endsAt", time_json(alert->ends_at));
	(void)json_object_set_new(object, "generatorURL", json_string(""));

	return object;
}

static char *
dump(json_t *root)
{
	char *text = json_dumps(root, JSON_COMPACT);

	json_decref(root);

	return text;
}

/* ---- webhook ------------------------------------------------------------------------------- */

static json_t *
fingerprint_json(const json_t *labels)
{
	SCOPED(freep) char *text = json_dumps(labels, JSON_COMPACT | JSON_SORT_KEYS);
	SCOPED(str_done) struct str hex = STR_INIT;
	uint8_t hash[HASH_BYTES];

	hash_text(text, hash);
	str_add_hex(&hex, hash, FINGERPRINT_BYTES);

	return json_string(str_text(&hex));
}

char *
hook_body(const struct message *message, const char *receiver)
{
	const struct outbox_row *row = message->row;
	bool is_over = str_equals(row->event, "cleared") || str_equals(row->event, "test");
	const struct alert alert = {
		.site = message->site,
		.rule = row->rule != NULL ? row->rule : row->event,
		.subject = row->subject != NULL ? row->subject : "blackstart",
		.severity = row->rule != NULL ? row->severity : -1,
		.text = row->rule != NULL ? row->text : "a test: this channel works",
		.cause = row->cause,
		.next_command = row->next_command,
		.starts_at = row->raised_at.us != 0 ? row->raised_at : row->at,
		.ends_at = { is_over ? row->at.us : 0 },
	};
	json_t *one = alert_json(&alert);
	json_t *labels = json_object_get(one, "labels");
	json_t *root = json_object();
	SCOPED(str_done) struct str group = STR_INIT;

	str_addf(&group, "blackstart/%s/%s/%s", alert.site, alert.rule, alert.subject);
	(void)json_object_set_new(one, "status", json_string(is_over ? "resolved" : "firing"));
	(void)json_object_set_new(one, "fingerprint", fingerprint_json(labels));
	(void)json_object_set_new(root, "version", json_string("4"));
	(void)json_object_set_new(root, "groupKey", text_json(str_text(&group)));
	(void)json_object_set_new(root, "truncatedAlerts", json_integer(0));
	(void)json_object_set_new(root, "status", json_string(is_over ? "resolved" : "firing"));
	(void)json_object_set_new(root, "receiver", text_json(receiver));
	(void)json_object_set(root, "groupLabels", labels);
	(void)json_object_set(root, "commonLabels", labels);
	(void)json_object_set(root, "commonAnnotations", json_object_get(one, "annotations"));
	(void)json_object_set_new(root, "externalURL", json_string(""));
	(void)json_object_set_new(root, "alerts", json_pack("[o]", one));

	return dump(root);
}

/* ---- Alertmanager -------------------------------------------------------------------------- */

static struct alert
alert_of(const char *site, const struct alarm_state *state, enum alarm_severity severity)
{
	return (struct alert){
		.site = site,
		.rule = alarm_rule_name(state->rule),
		.subject = state->subject,
		.severity = (int)severity,
		.text = state->text,
		.cause = state->cause,
		.next_command = state->next_command,
		.starts_at = state->raised_at,
	};
}

/* The severity is a label: what it was before is another alert, and that one is over. */
static void
add_former(json_t *array, const char *site, const struct alarm_state *state, struct wall_time now)
{
	enum alarm_severity former = state->severity == ALARM_WARNING ? ALARM_CRITICAL
								      : ALARM_WARNING;
	struct alert alert = alert_of(site, state, former);

	if (state->changed_at.us == state->raised_at.us ||
	    now.us - state->changed_at.us >= TOLD_OVER_US)
		return;
	alert.ends_at = state->changed_at;
	(void)json_array_append_new(array, alert_json(&alert));
}

static void
add_state(json_t *array, const char *site, const struct alarm_state *state, struct wall_time now)
{
	struct alert alert;

	if (alarm_is_standing(state)) {
		alert = alert_of(site, state, state->severity);
		alert.ends_at.us = alarm_is_shelved(state, now) ? now.us : now.us + STANDS_ON_US;
		(void)json_array_append_new(array, alert_json(&alert));
		add_former(array, site, state, now);
		return;
	}
	if (now.us - state->cleared_at.us >= TOLD_OVER_US)
		return;
	for (int severity = ALARM_WARNING; severity <= (int)state->peak; severity++) {
		alert = alert_of(site, state, (enum alarm_severity)severity);
		alert.ends_at = state->cleared_at;
		(void)json_array_append_new(array, alert_json(&alert));
	}
}

char *
hook_state(const char *site, const struct alarm_states *states, struct wall_time now)
{
	json_t *array = json_array();

	for (size_t i = 0; i < states->items.count; i++)
		add_state(array, site, &states->items.items[i], now);

	return dump(array);
}

char *
hook_state_test(const char *site, struct wall_time now)
{
	const struct alert alert = {
		.site = site,
		.rule = "test",
		.subject = "blackstart",
		.severity = -1,
		.text = "a test: this channel works",
		.starts_at = now,
		.ends_at = { now.us + TEST_LASTS_US },
	};
	json_t *array = json_array();

	(void)json_array_append_new(array, alert_json(&alert));

	return dump(array);
}
