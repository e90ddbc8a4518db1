#include "app/notify/deliver.h"

#include <stdlib.h>

#include "app/notify/send.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "catalog/catalog_outbox.h"
#include "config/config.h"
#include "engine/alarm_desk.h"
#include "os/file.h"
#include "os/lockfile.h"
#include "os/stop.h"

struct delivery {
	struct catalog *catalog;
	const struct config *config;
	struct deliver_result result;
};

/* How long after this many attempts and one more the next may be. */
static int64_t
backoff_us(unsigned attempts)
{
	static const int64_t steps_s[] = { 10, 60, 300, 900, 3600 };
	size_t at = attempts < ARRAY_SIZE(steps_s) ? attempts : ARRAY_SIZE(steps_s) - 1;

	return steps_s[at] * US_PER_S;
}

static const struct config_channel *
find_channel(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->alerts.channels.count; i++) {
		if (str_equals(config->alerts.channels.items[i].name, name))
			return &config->alerts.channels.items[i];
	}

	return NULL;
}

/* The message and the channel's count change together. */
static int
record_inside(struct delivery *delivery, const struct outbox_row *row, const struct err *failure,
    struct wall_time now, struct err *err)
{
	struct catalog *catalog = delivery->catalog;

	if (failure == NULL) {
		if (catalog_outbox_done(catalog, row->id, now, err) < 0)
			return -1;
		return catalog_channel_count(catalog, row->channel, NULL, now, err);
	}
	if (catalog_outbox_failed(catalog, row->id, failure->msg, false, now, err) < 0 ||
	    catalog_outbox_postpone(catalog, row->channel,
		(struct wall_time){ now.us + backoff_us(row->attempts) }, err) < 0)
		return -1;

	return catalog_channel_count(catalog, row->channel, failure->msg, now, err);
}

static int
record(struct delivery *delivery, const struct outbox_row *row, const struct err *failure,
    struct err *err)
{
	if (catalog_begin(delivery->catalog, err) < 0)
		return -1;
	if (record_inside(delivery, row, failure, clock_wall(), err) < 0 ||
	    catalog_commit(delivery->catalog, err) < 0) {
		catalog_rollback(delivery->catalog);
		return -1;
	}

	return 0;
}

static int
send_one(struct delivery *delivery, const struct config_channel *channel,
    const struct outbox_row *row, struct err *err)
{
	SCOPED(alarm_states_done) struct alarm_states states = { .items = { .count = 0 } };
	struct wall_time now = clock_wall();
	struct err failure = ERR_INIT;
	const struct send_order order = {
		.config = delivery->config,
		.channel = channel,
		.row = row,
		.states = &states,
		.now = now,
	};

	if (catalog_outbox_begin(delivery->catalog, row->id,
		(struct wall_time){ now.us + backoff_us(row->attempts) }, err) < 0)
		return err->kind == ERR_NOT_FOUND ? 0 : -1; /* withdrawn: something newer waits */
	if (alarm_desk_list(delivery->catalog, &states, err) < 0)
		return -1;
	if (send_message(&order, &failure) == 0) {
		delivery->result.sent_count++;
		log_debug("alert: channel '%s': sent '%s'", row->channel, row->event);
		return record(delivery, row, NULL, err);
	}
	delivery->result.failed_count++;
	log_warning("alert: channel '%s': %s, continuing", row->channel, failure.msg);

	return record(delivery, row, &failure, err);
}

/*
 * What was tried for so long says something that is not so any more.  Once everything is tried:
 * it may be the clock that jumped.
 */
static int
deliver_one(struct delivery *delivery, const struct outbox_row *row, struct err *err)
{
	const struct config_channel *channel = find_channel(delivery->config, row->channel);
	struct wall_time now = clock_wall();

	if (channel == NULL)
		return catalog_outbox_failed(delivery->catalog, row->id,
		    "the configuration has no such channel any more", true, now, err);
	if (now.us > row->expires_at.us && row->attempts > 0)
		return catalog_outbox_failed(delivery->catalog, row->id,
		    row->failure != NULL ? row->failure : "it was not sent in time", true, now,
		    err);

	return send_one(delivery, channel, row, err);
}

/* A channel that failed lately comes behind all others: it may hang. */
static bool
is_failing(const struct channel_rows *channels, const char *name)
{
	for (size_t i = 0; i < channels->rows.count; i++) {
		if (str_equals(channels->rows.items[i].name, name))
			return channels->rows.items[i].failures_in_a_row > 0;
	}

	return false;
}

/* One message; 0 when none is due. */
static int
deliver_next(struct delivery *delivery, struct err *err)
{
	SCOPED(channel_rows_done) struct channel_rows channels = { .rows = { .count = 0 } };
	SCOPED(outbox_rows_done) struct outbox_rows due = { .rows = { .count = 0 } };
	size_t chosen = 0;

	if (catalog_outbox_due(delivery->catalog, clock_wall(), &due, err) < 0 ||
	    catalog_channel_list(delivery->catalog, &channels, err) < 0)
		return -1;
	if (due.rows.count == 0)
		return 0;
	while (chosen < due.rows.count && is_failing(&channels, due.rows.items[chosen].channel))
		chosen++;
	if (chosen == due.rows.count)
		chosen = 0;

	return deliver_one(delivery, &due.rows.items[chosen], err) < 0 ? -1 : 1;
}

static int
take_lock(const struct config *config, int *ret_fd, struct err *err)
{
	SCOPED(freep) char *folder = path_join(config->state_dir, "lock");
	SCOPED(freep) char *path = path_join(folder, "alert-deliver.lock");

	if (dir_make_all(folder, 0700, err) < 0)
		return -1;

	return lockfile_take(path, "alert deliver", ret_fd, err);
}

int
deliver_all(struct catalog *catalog, const struct config *config, struct deliver_result *ret_result,
    struct err *err)
{
	struct delivery delivery = { .catalog = catalog, .config = config };
	SCOPED(closep) int lock_fd = -1;
	int more;

	if (take_lock(config, &lock_fd, err) < 0)
		return -1;
	do {
		if (stop_check(err) < 0)
			return -1;
		more = deliver_next(&delivery, err);
	} while (more > 0);
	*ret_result = delivery.result;

	return more;
}
