#include "work/order.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

#define VARIABLE "BLACKSTART_WORKER"

/* linux/ioprio.h, which not every libc's headers have. */
enum { IOPRIO_WHO_PROCESS = 1, IOPRIO_CLASS_IDLE = 3, IOPRIO_CLASS_SHIFT = 13 };

char *
order_format(const struct order *order)
{
	return xasprintf(VARIABLE "=%d %lld %u %d %d", order->fd, (long long)order->due.us,
	    order->attempt, order->nice, order->is_idle_io ? 1 : 0);
}

static bool
parse(const char *text, struct order *order)
{
	long long due;
	int idle;
	int end = 0;

	if (sscanf(text, "%d %lld %u %d %d%n", &order->fd, &due, &order->attempt, &order->nice,
		&idle, &end) != 5 ||
	    text[end] != '\0')
		return false;
	order->due.us = due;
	order->is_idle_io = idle != 0;

	return order->fd > STDERR_FILENO && due >= 0 && order->nice >= 0 && order->nice <= 19;
}

int
order_take(struct order *ret_order, struct err *err)
{
	const char *text = getenv(VARIABLE);
	struct order order = { .fd = -1 };
	struct stat stat;

	if (text == NULL) {
		*ret_order = order;
		return 0;
	}
	if (!parse(text, &order) || fstat(order.fd, &stat) < 0 || !S_ISFIFO(stat.st_mode))
		return err_set(err, ERR_USAGE,
		    "%s is in the environment, but blackstart serve did not start this process",
		    VARIABLE);
	(void)unsetenv(VARIABLE);
	(void)fcntl(order.fd, F_SETFD, FD_CLOEXEC);
	(void)fcntl(order.fd, F_SETFL, O_NONBLOCK);
	*ret_order = order;

	return 0;
}

void
order_obey(const struct order *order)
{
	if (order->nice > 0)
		(void)setpriority(PRIO_PROCESS, 0, order->nice);
	if (order->is_idle_io)
		(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
		    IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT);
}
