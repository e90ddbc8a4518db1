/* alert list, ack, shelve, unshelve, test, watch, deliver. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "app/notify/deliver.h"
#include "app/notify/send.h"
#include "app/notify/setup.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "catalog/catalog_alarm.h"
#include "catalog/catalog_outbox.h"
#include "config/config.h"
#include "engine/alarm_desk.h"
#include "engine/watch.h"

enum { CHANGES_SHOWN_MAX = 20 };
#define SHELVE_USUAL_US (8 * 3600 * US_PER_S)
#define SHELVE_MAX_US (INT64_C(30) * 24 * 3600 * US_PER_S)

/* ---- list ---------------------------------------------------------------------------------- */

static json_t *
alarm_json(const struct alarm_state *state, struct wall_time now)
{
	json_t *root = json_object();
	SCOPED(freep) char *name = xasprintf("%s/%s", alarm_rule_name(state->rule), state->subject);

	(void)json_object_set_new(root, "alarm", out_json_text(name));
	(void)json_object_set_new(root, "rule", json_string(alarm_rule_name(state->rule)));
	(void)json_object_set_new(root, "subject", out_json_text(state->subject));
	(void)json_object_set_new(root, "state", json_string(alarm_state_name(state, now)));
	(void)json_object_set_new(root, "severity",
	    json_string(alarm_severity_name(alarm_is_standing(state) ? state->severity
								     : state->peak)));
	(void)json_object_set_new(root, "since", out_json_time(state->since));
	(void)json_object_set_new(root, "raised_at", out_json_time(state->raised_at));
	(void)json_object_set_new(root, "cleared_at", out_json_time(state->cleared_at));
	(void)json_object_set_new(root, "told_at", out_json_time(state->told_at));
	(void)json_object_set_new(root, "shelved_until",
	    alarm_is_shelved(state, now) ? out_json_time(state->shelved_until) : json_null());
	(void)json_object_set_new(root, "text", out_json_text(state->text));
	(void)json_object_set_new(root, "cause", out_json_text(state->cause));
	(void)json_object_set_new(root, "next_command", out_json_text(state->next_command));

	return root;
}

static json_t *
changes_json(const struct alarm_change_rows *changes)
{
	json_t *array = json_array();

	for (size_t i = 0; i < changes->rows.count; i++) {
		const struct alarm_change_row *row = &changes->rows.items[i];
		json_t *object = json_object();
		SCOPED(freep) char *name = xasprintf("%s/%s", row->rule, row->subject);

		(void)json_object_set_new(object, "at", out_json_time(row->at));
		(void)json_object_set_new(object, "alarm", out_json_text(name));
		(void)json_object_set_new(object, "event", out_json_text(row->event));
		(void)json_object_set_new(object, "who", out_json_text(row->who));
		(void)json_object_set_new(object, "why", out_json_text(row->why));
		(void)json_array_append_new(array, object);
	}

	return array;
}

static int
list_json(const struct alarm_states *states, const struct alarm_change_rows *changes,
    bool wants_all, struct err *err)
{
	struct wall_time now = clock_wall();
	json_t *root = json_object();
	json_t *array = json_array();

	for (size_t i = 0; i < states->items.count; i++) {
		if (wants_all || alarm_is_standing(&states->items.items[i]))
			(void)json_array_append_new(array,
			    alarm_json(&states->items.items[i], now));
	}
	(void)json_object_set_new(root, "alarms", array);
	if (wants_all)
		(void)json_object_set_new(root, "changes", changes_json(changes));

	return out_json(root, "blackstart.alerts/1", err);
}

static void
print_alarm(const struct cli *cli, const struct alarm_state *state, struct wall_time now)
{
	char since[CLOCK_TEXT_SIZE], ago[2 * CLOCK_TEXT_SIZE], until[CLOCK_TEXT_SIZE];
	bool is_standing = alarm_is_standing(state);

	out_line("%s %s/%s: %s", alarm_severity_name(is_standing ? state->severity : state->peak),
	    alarm_rule_name(state->rule), state->subject, state->text);
	out_line("    since %s (%s), %s%s%s", out_time(cli, state->since, since),
	    out_ago(state->since, ago), alarm_state_name(state, now),
	    alarm_is_shelved(state, now) ? " until " : "",
	    alarm_is_shelved(state, now) ? out_time(cli, state->shelved_until, until) : "");
	if (!is_standing)
		return;
	out_line("    cause: %s", state->cause != NULL ? state->cause : "-");
	out_line("    next:  %s", state->next_command != NULL ? state->next_command : "-");
}

static void
print_changes(const struct cli *cli, const struct alarm_change_rows *changes)
{
	for (size_t i = 0; i < changes->rows.count; i++) {
		const struct alarm_change_row *row = &changes->rows.items[i];
		char at[CLOCK_TEXT_SIZE];

		out_line("%s %s/%s %s by %s: %s", out_time(cli, row->at, at), row->rule,
		    row->subject, row->event, row->who != NULL ? row->who : "the watch",
		    row->why != NULL ? row->why : "-");
	}
}

static int
cmd_alert_list(struct cli *cli, struct err *err)
{
	SCOPED(alarm_states_done) struct alarm_states states = { .items = { .count = 0 } };
	SCOPED(alarm_change_rows_done)
	struct alarm_change_rows changes = { .rows = { .count = 0 } };
	bool wants_all = args_flag(cli->args, "all");
	struct wall_time now = clock_wall();
	unsigned standing = 0;

	if (wire_open_catalog(&cli->wire, err) < 0 ||
	    alarm_desk_list(cli->wire.engine.catalog, &states, err) < 0 ||
	    (wants_all &&
		catalog_alarm_change_list(cli->wire.engine.catalog, NULL, NULL, CHANGES_SHOWN_MAX,
		    &changes, err) < 0))
		return -1;
	if (cli->is_json)
		return list_json(&states, &changes, wants_all, err);
	for (size_t i = 0; i < states.items.count; i++) {
		const struct alarm_state *state = &states.items.items[i];

		standing += alarm_is_standing(state);
		if (wants_all || alarm_is_standing(state))
			print_alarm(cli, state, now);
	}
	if (standing == 0)
		out_line("no alarm stands");
	print_changes(cli, &changes);

	return EXIT_OK;
}

/* ---- ack, shelve, unshelve ----------------------------------------------------------------- */

static int
make_order(struct cli *cli, bool needs_reason, struct alarm_order *ret_order, struct err *err)
{
	const char *reason = args_text(cli->args, "reason");

	if (needs_reason && (reason == NULL || reason[0] == '\0')) {
		(void)err_set(err, ERR_USAGE, "--reason is missing");
		return err_hint(err, "Say why, for whoever comes next: --reason 'disk ordered'.");
	}
	*ret_order = (struct alarm_order){
		.alarm = args_word(cli->args, 0),
		.who = cli_who(),
		.why = reason,
		.now = clock_wall(),
	};

	return wire_open_catalog(&cli->wire, err);
}

/* What was done to which alarm, for people or programs. */
static int
tell(struct cli *cli, const struct alarm_order *order, const char *what, struct wall_time until,
    struct err *err)
{
	char when[CLOCK_TEXT_SIZE];

	if (cli->is_json) {
		json_t *root = json_object();

		(void)json_object_set_new(root, "alarm", out_json_text(order->alarm));
		(void)json_object_set_new(root, "event", json_string(what));
		(void)json_object_set_new(root, "who", out_json_text(order->who));
		(void)json_object_set_new(root, "until", out_json_time(until));
		return out_json(root, "blackstart.alert/1", err);
	}
	out_line("%s: %s by %s%s%s", order->alarm, what, order->who, until.us != 0 ? " until " : "",
	    until.us != 0 ? out_time(cli, until, when) : "");

	return EXIT_OK;
}

static int
cmd_alert_ack(struct cli *cli, struct err *err)
{
	struct alarm_order order;

	if (make_order(cli, true, &order, err) < 0 ||
	    alarm_desk_acknowledge(cli->wire.engine.catalog, &order, err) < 0)
		return -1;

	return tell(cli, &order, "acknowledged", (struct wall_time){ 0 }, err);
}

static int
cmd_alert_shelve(struct cli *cli, struct err *err)
{
	const char *text = args_text(cli->args, "for");
	int64_t for_us = SHELVE_USUAL_US;
	struct alarm_order order;
	struct wall_time until;

	if (text != NULL && parse_duration_us(text, &for_us, err) < 0) {
		err->kind = ERR_USAGE;
		return err_wrap(err, "--for");
	}
	if (for_us <= 0 || for_us > SHELVE_MAX_US)
		return err_set(err, ERR_USAGE,
		    "--for must be at most 30d: what is shelved is forgotten");
	if (make_order(cli, true, &order, err) < 0)
		return -1;
	until.us = order.now.us + for_us;
	if (alarm_desk_shelve(cli->wire.engine.catalog, &order, until, err) < 0)
		return -1;

	return tell(cli, &order, "shelved", until, err);
}

static int
cmd_alert_unshelve(struct cli *cli, struct err *err)
{
	struct alarm_order order;

	if (make_order(cli, false, &order, err) < 0 ||
	    alarm_desk_unshelve(cli->wire.engine.catalog, &order, err) < 0)
		return -1;

	return tell(cli, &order, "unshelved", (struct wall_time){ 0 }, err);
}

/* ---- test ---------------------------------------------------------------------------------- */

struct tested {
	const struct config_channel *channel;
	struct err failure; /* kind ERR_NONE: it works */
	int64_t took_us;
};

static bool
is_wanted(const struct cli *cli, const char *name)
{
	size_t count = args_words_count(cli->args);

	for (size_t i = 0; i < count; i++) {
		if (str_equals(args_word(cli->args, i), name))
			return true;
	}

	return count == 0;
}

static int
refuse_unknown_channel(const struct cli *cli, struct err *err)
{
	const struct config *config = cli->wire.config;

	if (config->alerts.channels.count == 0) {
		(void)err_set(err, ERR_CONFIG, "the configuration has no channels: nobody is told");
		return err_hint(err,
		    "Add one under alerts: channels:, see 'blackstart config init'.");
	}
	for (size_t i = 0; i < args_words_count(cli->args); i++) {
		bool is_known = false;

		for (size_t j = 0; j < config->alerts.channels.count; j++)
			is_known = is_known ||
			    str_equals(config->alerts.channels.items[j].name,
				args_word(cli->args, i));
		if (!is_known)
			return err_set(err, ERR_USAGE, "there is no channel '%s'",
			    args_word(cli->args, i));
	}

	return 0;
}

static int
test_channel(struct cli *cli, struct tested *tested, struct err *err)
{
	SCOPED(freep) char *event = xstrdup("test");
	struct mono_time began = clock_mono();
	struct outbox_row row = { .event = event, .at = clock_wall() };
	const struct send_order order = {
		.config = cli->wire.config,
		.channel = tested->channel,
		.row = &row,
		.now = row.at,
	};
	bool is_sent = send_message(&order, &tested->failure) == 0;

	tested->took_us = clock_elapsed_us(began);

	return catalog_channel_count(cli->wire.engine.catalog, tested->channel->name,
	    is_sent ? NULL : tested->failure.msg, clock_wall(), err);
}

static void
print_tested(const struct tested *tested)
{
	char took[CLOCK_TEXT_SIZE];

	if (tested->failure.kind == ERR_NONE) {
		out_line("ok      %-16s %s took it within %s", tested->channel->name,
		    tested->channel->type, clock_format_duration(tested->took_us, took));
		return;
	}
	out_line("FAILED  %-16s %s", tested->channel->name, tested->failure.msg);
	if (tested->failure.hint[0] != '\0')
		out_line("        %-16s hint: %s", "", tested->failure.hint);
}

static json_t *
tested_json(const struct tested *tested)
{
	json_t *object = json_object();
	bool is_ok = tested->failure.kind == ERR_NONE;

	(void)json_object_set_new(object, "channel", out_json_text(tested->channel->name));
	(void)json_object_set_new(object, "type", out_json_text(tested->channel->type));
	(void)json_object_set_new(object, "ok", json_boolean(is_ok));
	(void)json_object_set_new(object, "took_us", json_integer(tested->took_us));
	(void)json_object_set_new(object, "message",
	    out_json_text(is_ok ? NULL : tested->failure.msg));
	(void)json_object_set_new(object, "hint",
	    out_json_text(is_ok || tested->failure.hint[0] == '\0' ? NULL : tested->failure.hint));

	return object;
}

static int
cmd_alert_test(struct cli *cli, struct err *err)
{
	const struct config *config = cli->wire.config;
	json_t *array = json_array();
	json_t *root = json_object();
	unsigned failed = 0, count = 0;

	(void)json_object_set_new(root, "channels", array);
	if (refuse_unknown_channel(cli, err) < 0 || wire_open_catalog(&cli->wire, err) < 0) {
		json_decref(root);
		return -1;
	}
	for (size_t i = 0; i < config->alerts.channels.count; i++) {
		struct tested tested = { .channel = &config->alerts.channels.items[i] };

		if (!is_wanted(cli, tested.channel->name))
			continue;
		if (test_channel(cli, &tested, err) < 0) {
			json_decref(root);
			return -1;
		}
		count++;
		failed += tested.failure.kind != ERR_NONE;
		(void)json_array_append_new(array, tested_json(&tested));
		if (!cli->is_json)
			print_tested(&tested);
	}
	if (cli->is_json) {
		cli->has_answered = true;
		if (out_json(root, "blackstart.alert_test/1", err) < 0)
			return -1;
	} else {
		json_decref(root);
	}
	if (failed == 0)
		return EXIT_OK;
	(void)err_set(err, ERR_PEER, "%u of %u channels failed", failed, count);

	return err_hint(err, "Each line above says why.");
}

/* ---- watch, deliver ------------------------------------------------------------------------ */

static int
deliver(struct cli *cli, struct err *err)
{
	struct deliver_result result;

	if (deliver_all(cli->wire.engine.catalog, cli->wire.config, &result, err) < 0)
		return -1;
	if (result.sent_count + result.failed_count > 0)
		log_info("alert: %u sent, %u failed and tried again later", result.sent_count,
		    result.failed_count);

	return EXIT_OK;
}

static int
cmd_alert_deliver(struct cli *cli, struct err *err)
{
	if (wire_open_catalog(&cli->wire, err) < 0)
		return -1;

	return deliver(cli, err);
}

static int
cmd_alert_watch(struct cli *cli, struct err *err)
{
	SCOPED(notify_setup_done) struct notify_setup setup = { .digest = NULL };
	SCOPED(watch_freep) struct watch *watch = NULL;
	SCOPED(freep) char *store_failure = NULL;
	struct watch_result result;

	if (wire_open_watch(&cli->wire, cli->args, &store_failure, err) < 0 ||
	    notify_setup_make(&cli->wire, clock_wall(), &setup, err) < 0)
		return -1;
	watch = watch_new(&cli->wire.engine, &setup.settings, store_failure);
	if (watch_tick(watch, NULL, clock_wall(), &result, err) < 0)
		return -1;
	log_info("alert: %u %s", result.changes_count,
	    result.changes_count == 1 ? "change" : "changes");

	if (!result.has_due || deliver(cli, err) == 0)
		return EXIT_OK;
	if (err->kind != ERR_BUSY)
		return -1;
	log_info("alert: another process delivers already");

	return EXIT_OK;
}

const struct command_entry cmd_alert_entries[] = {
	{ .verb = "alert list", .run = cmd_alert_list },
	{ .verb = "alert ack", .run = cmd_alert_ack },
	{ .verb = "alert shelve", .run = cmd_alert_shelve },
	{ .verb = "alert unshelve", .run = cmd_alert_unshelve },
	{ .verb = "alert test", .run = cmd_alert_test },
	{ .verb = "alert watch", .run = cmd_alert_watch },
	{ .verb = "alert deliver", .run = cmd_alert_deliver },
	{ .verb = NULL },
};
