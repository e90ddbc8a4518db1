#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/progress.h"

enum { BAR_WIDTH = 24, LINE_INTERVAL_S = 30, RATE_SETTLES_MS = 500 };

/* "copying  1.2 GiB of 2.7 GiB, 640 MiB/s, 3 s left" without the phase. */
static void
describe(const struct progress *progress, char *text, size_t size)
{
	char done[32], total[32], rate[32], left[CLOCK_TEXT_SIZE];
	int64_t elapsed_us = clock_elapsed_us(progress->began);
	double per_us = elapsed_us > 0 ? (double)progress->done_bytes / (double)elapsed_us : 0;

	(void)format_bytes(progress->done_bytes, done);
	(void)format_bytes((uint64_t)(per_us * 1e6), rate);
	if (progress->total_bytes <= progress->done_bytes ||
	    elapsed_us < RATE_SETTLES_MS * US_PER_MS || per_us <= 0) {
		(void)snprintf(text, size, "%s, %s/s", done, rate);
		return;
	}
	(void)snprintf(text, size, "%s of %s, %s/s, %s left", done,
	    format_bytes(progress->total_bytes, total), rate,
	    clock_format_duration((int64_t)((double)(progress->total_bytes - progress->done_bytes) /
				      per_us),
		left));
}

static unsigned
percent_of(const struct progress *progress)
{
	double part;

	if (progress->total_bytes == 0)
		return 0;
	part = (double)progress->done_bytes * 100 / (double)progress->total_bytes;

	return part > 100 ? 100 : (unsigned)part;
}

static void
draw_bar(const struct progress *progress)
{
	char text[160];
	char bar[BAR_WIDTH + 1];
	unsigned percent = percent_of(progress);
	unsigned filled = percent * BAR_WIDTH / 100;

	describe(progress, text, sizeof(text));
	memset(bar, '.', BAR_WIDTH);
	memset(bar, '#', filled);
	bar[BAR_WIDTH] = '\0';
	if (progress->total_bytes > 0)
		(void)fprintf(stderr, "\r%s [%s] %u%%  %s\x1b[K", progress->phase, bar, percent,
		    text);
	else
		(void)fprintf(stderr, "\r%s  %s\x1b[K", progress->phase, text);
}

/* Where nobody watches, a line when 30 s or a tenth of the work has passed. */
static void
print_line(struct cli *cli, const struct progress *progress)
{
	char text[160];
	unsigned tenth = percent_of(progress) / 10;
	bool is_late = clock_elapsed_us(cli->progress_line_at) >= LINE_INTERVAL_S * US_PER_S;
	bool is_early = clock_elapsed_us(progress->began) < 2 * US_PER_S;

	if (progress->done_bytes == 0) {
		cli->progress_tenth = 0;
		cli->progress_line_at = progress->began;
		return;
	}
	if (is_early || (!is_late && tenth <= cli->progress_tenth))
		return;
	cli->progress_tenth = tenth;
	cli->progress_line_at = clock_mono();
	describe(progress, text, sizeof(text));
	log_info("%s: %u%%, %s", progress->phase, percent_of(progress), text);
}

void
out_progress(const struct progress *progress, void *context)
{
	struct cli *cli = context;

	if (cli->is_quiet || progress->phase == NULL)
		return;
	if (isatty(STDERR_FILENO))
		draw_bar(progress);
	else
		print_line(cli, progress);
}

void
out_progress_end(struct cli *cli)
{
	if (!cli->is_quiet && cli->progress.phase != NULL && isatty(STDERR_FILENO))
		(void)fprintf(stderr, "\r\x1b[K");
	cli->progress.phase = NULL;
}
