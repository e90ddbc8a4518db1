#include "work/report.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <unistd.h>

#include "base/err.h"
#include "base/progress.h"
#include "work/frame.h"

enum { LAST_WORD_MS = 1000 };

/* Whole or not at all: it is shorter than what a pipe takes in one piece. */
static bool
send_frame(int fd, const struct frame *frame)
{
	uint8_t data[FRAME_MAX];
	size_t size = frame_pack(frame, data);

	return write(fd, data, size) == (ssize_t)size || errno != EAGAIN;
}

static void
send_text(int fd, enum frame_kind kind, const char *text)
{
	if (fd >= 0)
		(void)send_frame(fd, &(struct frame){ .kind = kind, .text = text });
}

void
report_started(int fd, const char *run_id)
{
	send_text(fd, FRAME_STARTED, run_id);
}

void
report_warning(int fd, const char *text)
{
	send_text(fd, FRAME_WARNING, text);
}

void
report_link(int fd, const struct link_state *state)
{
	if (fd >= 0)
		(void)send_frame(fd, &(struct frame){ .kind = FRAME_STATE, .link = *state });
}

void
report_progress(int fd, const struct progress *progress)
{
	if (fd >= 0)
		(void)send_frame(fd,
		    &(struct frame){ .kind = FRAME_PROGRESS,
			.done_bytes = progress->done_bytes,
			.total_bytes = progress->total_bytes,
			.text = progress->phase });
}

void
report_result(int fd, const struct err *failure, unsigned warnings_count)
{
	const struct frame frame = {
		.kind = FRAME_RESULT,
		.failure = failure != NULL ? failure->kind : ERR_NONE,
		.warnings_count = warnings_count,
		.text = failure != NULL ? failure->msg : "",
		.hint = failure != NULL ? failure->hint : "",
	};
	struct pollfd room = { .fd = fd, .events = POLLOUT };

	if (fd >= 0 && !send_frame(fd, &frame) && poll(&room, 1, LAST_WORD_MS) > 0)
		(void)send_frame(fd, &frame);
}
