/*
 * Send one message through one channel.  Secrets are read from their files each time, so that a
 * new password needs no restart; none of them is ever in an error.
 */
#ifndef APP_NOTIFY_SEND_H
#define APP_NOTIFY_SEND_H

#include "base/clock.h"
#include "base/scope.h"

struct alarm_states;
struct config;
struct config_channel;
struct err;
struct outbox_row;

struct send_order {
	const struct config *config;
	const struct config_channel *channel;
	const struct outbox_row *row;
	const struct alarm_states *states; /* for a channel that is sent everything that stands */
	struct wall_time now;
};

/* 0: the other side has it.  It may have it after ERR_TIMEOUT or ERR_NET as well. */
int send_message(const struct send_order *order, struct err *err) MUST_CHECK;

#endif
