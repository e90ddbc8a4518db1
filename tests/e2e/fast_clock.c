/*
 * Preloaded by tests of the daemon: time passes FAST_CLOCK times as fast, for it and for all it
 * starts, so that an hour's schedule takes a minute.  CLOCK_MONOTONIC, by which transfers are
 * measured, stays as it is.
 *
 * FAST_CLOCK="FACTOR REAL_S BOOT_S WALL_S": at the real time REAL_S (and BOOT_S on the clock of
 * the machine's start) the wall clock says WALL_S.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>

enum { NS = 1000000000 };
#define FAR_AWAY_S ((long long)1 << 32)

struct fast {
	double factor;
	double real_s, boot_s, wall_s;
};

static int
get(struct fast *fast)
{
	const char *text = getenv("FAST_CLOCK");

	return text != NULL &&
	    sscanf(text, "%lf %lf %lf %lf", &fast->factor, &fast->real_s, &fast->boot_s,
		&fast->wall_s) == 4;
}

static double
seconds(const struct timespec *time)
{
	return (double)time->tv_sec + (double)time->tv_nsec / NS;
}

static struct timespec
timespec_of(double s)
{
	struct timespec time = { .tv_sec = (time_t)s };

	time.tv_nsec = (long)((s - (double)time.tv_sec) * NS);

	return time;
}

int
clock_gettime(clockid_t id, struct timespec *ret_time)
{
	int (*real)(clockid_t, struct timespec *) = (int (*)(clockid_t,
	    struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	struct fast fast;
	int result = real(id, ret_time);

	if (result < 0 || !get(&fast))
		return result;
	if (id == CLOCK_REALTIME)
		*ret_time = timespec_of(fast.wall_s +
		    (seconds(ret_time) - fast.real_s) * fast.factor);
	else if (id == CLOCK_BOOTTIME)
		*ret_time = timespec_of(fast.boot_s +
		    (seconds(ret_time) - fast.boot_s) * fast.factor);

	return result;
}

/* Absolute times on the clock of the machine's start are all that the loop asks for. */
int
timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *before)
{
	int (*real)(int, int, const struct itimerspec *, struct itimerspec *) = (int (*)(int, int,
	    const struct itimerspec *, struct itimerspec *))dlsym(RTLD_NEXT, "timerfd_settime");
	struct itimerspec mapped = *when;
	struct fast fast;

	if ((flags & TFD_TIMER_ABSTIME) != 0 && when->it_value.tv_sec > 0 &&
	    when->it_value.tv_sec < FAR_AWAY_S && get(&fast))
		mapped.it_value = timespec_of(fast.boot_s +
		    (seconds(&when->it_value) - fast.boot_s) / fast.factor);

	return real(fd, flags, &mapped, before);
}
