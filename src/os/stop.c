#include "os/stop.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"

/* Atomics without locks may be used in a signal handler and from every thread. */
static atomic_bool is_requested;
static atomic_int asking_signal;
static atomic_int event_fd = -1;

void
stop_request(void)
{
	const uint64_t one = 1;
	int fd = atomic_load(&event_fd);

	atomic_store(&is_requested, true);
	if (fd >= 0) {
		/* Full means readable already; nothing else can fail. */
		ssize_t ignored = write(fd, &one, sizeof(one));
		(void)ignored;
	}
}

static void
on_signal(int number)
{
	int saved = errno;

	atomic_store(&asking_signal, number);
	stop_request();
	errno = saved;
}

void
stop_install(void)
{
	static const int asking[] = { SIGINT, SIGTERM, SIGHUP };
	/* SA_RESETHAND: the second signal of a kind meets the default action and ends us. */
	struct sigaction action = {
		.sa_handler = on_signal,
		.sa_flags = (int)(SA_RESTART | SA_RESETHAND),
	};
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction present;

	if (atomic_load(&event_fd) < 0)
		atomic_store(&event_fd, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	(void)sigemptyset(&action.sa_mask);
	(void)sigemptyset(&ignore.sa_mask);

	for (size_t i = 0; i < ARRAY_SIZE(asking); i++) {
		/* What nohup or a shell's & has silenced stays silent. */
		if (sigaction(asking[i], NULL, &present) == 0 && present.sa_handler == SIG_IGN)
			continue;
		(void)sigaction(asking[i], &action, NULL);
	}
	(void)sigaction(SIGPIPE, &ignore, NULL);
}

bool
stop_is_requested(void)
{
	return atomic_load(&is_requested);
}

int
stop_signal(void)
{
	return atomic_load(&asking_signal);
}

int
stop_check(struct err *err)
{
	if (stop_is_requested())
		return err_set(err, ERR_CANCELLED, "stopped on request");

	return 0;
}

int
stop_fd(void)
{
	return atomic_load(&event_fd);
}
