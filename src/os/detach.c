#include "os/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "os/stop.h"

/*
 * A pipe that the helper held open would look to the one at its other end as if we still ran.  Our
 * own descriptors are closed on exec and go too, but that of os/stop.
 */
static void
let_go(void)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int kept = stop_fd();

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && null_fd >= 0; fd++)
		(void)dup2(null_fd, fd);
	if (kept < 0) {
		(void)close_range(STDERR_FILENO + 1, ~0U, 0);
		return;
	}
	if (kept > STDERR_FILENO + 1)
		(void)close_range(STDERR_FILENO + 1, (unsigned)kept - 1, 0);
	(void)close_range((unsigned)kept + 1, ~0U, 0);
}

int
detach(bool *ret_is_helper, struct err *err)
{
	pid_t child = fork();
	int status = 0;

	if (child < 0)
		return err_sys(err, "cannot start a helper");
	if (child > 0) {
		/* It ends at once; nothing is to be read from how. */
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			continue;
		*ret_is_helper = false;
		return 0;
	}
	if (setsid() < 0 || fork() != 0)
		_exit(0);
	let_go();
	*ret_is_helper = true;

	return 0;
}
