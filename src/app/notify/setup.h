/*
 * From the configuration to what the watch looks at and whom it tells.  All texts are loans from
 * the configuration, which outlives it.
 */
#ifndef APP_NOTIFY_SETUP_H
#define APP_NOTIFY_SETUP_H

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "engine/watch.h"

struct err;
struct wire;

struct notify_setup {
	VEC(struct watch_job) jobs;
	VEC(struct watch_channel) channels;
	struct calendar *digest;        /* owned */
	struct watch_settings settings; /* points into the above */
};

/* The wire has a config; sources of streams are opened in it, without their passwords. */
int notify_setup_make(struct wire *wire, struct wall_time now, struct notify_setup *ret_setup,
    struct err *err) MUST_CHECK;
void notify_setup_done(struct notify_setup *setup);

#endif
