/*
 * What a worker is told by the process that starts it: where to report, and which due run it is.
 * It comes in the environment, because the worker is an ordinary command that people type too.
 */
#ifndef WORK_ORDER_H
#define WORK_ORDER_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/scope.h"

struct err;

struct order {
	int fd;               /* where frames go; -1: nobody started us so */
	struct wall_time due; /* 0: not by the schedule */
	unsigned attempt;
	int nice;        /* 0..19 */
	bool is_idle_io; /* read and write only when nobody else does */
};

/* "BLACKSTART_WORKER=..." for the environment of a child; yours. */
char *order_format(const struct order *order) MUST_CHECK;

/*
 * Read and remove it from our own environment, so that no child of ours takes it for its own; the
 * descriptor is closed on exec from here on.  ERR_USAGE: it is there, but not ours.
 */
int order_take(struct order *ret_order, struct err *err) MUST_CHECK;

/* Step back behind others, as the order says; what the system refuses is left as it is. */
void order_obey(const struct order *order);

#endif
