#include "source/postgres/wal/settler.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "os/process.h"

#define RESTART_AFTER_US (30 * US_PER_S)
#define LOOK_EVERY_US (US_PER_S / 2)

enum {
	STDERR_KEPT_BYTES = 4096,
	LINE_MAX_BYTES = 128,
};

void
wal_settler_init(struct wal_settler *settler, const char *const *argv)
{
	*settler = (struct wal_settler){ .argv = argv };
}

static void
start(struct wal_settler *settler)
{
	const struct process_options options = {
		.argv = settler->argv,
		.wants_stdin = true,
		.stderr_max_bytes = STDERR_KEPT_BYTES,
	};
	struct err err = ERR_INIT;

	settler->child = process_start(&options, &err);
	if (settler->child == NULL) {
		settler->has_ended = true;
		settler->ended = clock_mono();
		log_warning("received WAL is not compressed and checked: %s, continuing", err.msg);
		return;
	}
	/* A full pipe must not hold up the receiver. */
	(void)fcntl(process_stdin_fd(settler->child), F_SETFL, O_NONBLOCK);
}

/* The last line that it wrote says why it ended, as a rule. */
static void
tell_end(const struct process *child, const struct process_exit *end)
{
	const char *said = process_stderr(child);
	size_t size = strlen(said);
	const char *line;

	while (size > 0 && said[size - 1] == '\n')
		size--;
	for (line = said + size; line > said && line[-1] != '\n';)
		line--;
	log_warning(
	    "the process that compresses and checks WAL ended with %s %d%s%.*s; it is started again, receiving goes on",
	    end->was_signalled ? "signal" : "code", end->code, size > 0 ? ": " : "",
	    (int)(said + size - line), line);
}

void
wal_settler_tick(struct wal_settler *settler)
{
	struct process_exit end;
	struct err running = ERR_INIT;

	if (settler->argv == NULL)
		return;
	if (settler->child == NULL) {
		if (!settler->has_ended || clock_elapsed_us(settler->ended) >= RESTART_AFTER_US)
			start(settler);
		return;
	}
	/* Called between any two commits, of which there may be thousands in a second. */
	if (clock_elapsed_us(settler->looked) < LOOK_EVERY_US)
		return;
	settler->looked = clock_mono();
	if (process_wait(settler->child, 0, &end, &running) < 0)
		return;
	tell_end(settler->child, &end);
	process_free(TAKE(settler->child));
	settler->has_ended = true;
	settler->ended = clock_mono();
}

void
wal_settler_tell(struct wal_settler *settler, const char *name)
{
	char line[LINE_MAX_BYTES];
	int size = snprintf(line, sizeof(line), "%s\n", name);

	if (settler->child != NULL && size > 0 && (size_t)size < sizeof(line)) {
		/* One that is full or gone sees the file when it looks at the folder. */
		ssize_t ignored = write(process_stdin_fd(settler->child), line, (size_t)size);
		(void)ignored;
	}
}

void
wal_settler_done(struct wal_settler *settler)
{
	process_free(TAKE(settler->child));
}
