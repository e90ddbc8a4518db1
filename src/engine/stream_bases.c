#include "engine/stream_bases.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "engine/backup.h"
#include "engine/engine.h"
#include "engine/follow.h"
#include "os/process.h"

#define LOOK_EVERY_MAX_US (60 * US_PER_S)
/* Each copy costs the server a fork: no more than one in ten minutes by trying again. */
#define RETRY_AFTER_US (10 * 60 * US_PER_S)

enum { STDERR_KEPT_BYTES = 4096, LOOKS_A_PERIOD = 4 };

static int
take(struct base_taker *taker, const char *kind, void *attached, struct err *err)
{
	struct stream_bases *bases = (struct stream_bases *)taker;
	const struct backup_job job = {
		.name = bases->job->name,
		.source = bases->job->source,
		.kind = kind,
		.attached = attached,
		.is_of_stream = true,
	};
	SCOPED(backup_outcome_done) struct backup_outcome outcome = { .id = NULL };

	if (backup_run(bases->engine, &job, &outcome, err) < 0)
		return -1;
	log_info("base %s is stored: %llu bytes", outcome.id,
	    (unsigned long long)outcome.stored_bytes);

	return 0;
}

/* ---- beside the stream ---------------------------------------------------------------------------- */

/* When the newest good base was taken, by whichever job; 0: there is none. */
static int
find_newest(struct stream_bases *bases, struct wall_time *ret_at, struct err *err)
{
	const struct source *source = bases->job->source;
	const struct backup_filter mine = { .source = source->label };
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };

	if (catalog_backup_list(bases->engine->catalog, &mine, &rows, err) < 0)
		return -1;
	for (size_t i = 0; i < rows.rows.count; i++) {
		const struct backup_row *row = &rows.rows.items[i];
		const struct backup_kind *kind = source_kind(source, row->kind);

		if (kind != NULL && kind->is_window_base && !row->is_damaged && !row->is_unproven &&
		    row->consistent_at.us > ret_at->us)
			*ret_at = row->consistent_at;
	}

	return 0;
}

static void
start_child(struct stream_bases *bases)
{
	const struct process_options options = {
		.argv = bases->job->base_maker,
		.stderr_max_bytes = STDERR_KEPT_BYTES,
	};
	struct err err = ERR_INIT;

	bases->started = clock_mono();
	bases->child = process_start(&options, &err);
	bases->has_failed = bases->child == NULL;
	if (bases->child == NULL)
		log_warning("no base is taken: %s, continuing", err.msg);
	else
		log_info("a new base is due, and is taken beside the stream");
}

/* The last line that it wrote says why it ended, as a rule. */
static void
see_end(struct stream_bases *bases)
{
	struct process_exit end;
	struct err running = ERR_INIT;
	const char *said;
	size_t size;

	if (process_wait(bases->child, 0, &end, &running) < 0)
		return;
	said = process_stderr(bases->child);
	size = strlen(said);
	while (size > 0 && said[size - 1] == '\n')
		size--;
	bases->has_failed = end.was_signalled || err_kind_exit_code(ERR_NONE) != end.code;
	if (bases->has_failed)
		log_warning(
		    "taking a base ended with %s %d: %.*s; tried again in 10 minutes at the soonest, continuing",
		    end.was_signalled ? "signal" : "code", end.code, (int)size, said);
	else
		log_info("the new base is stored");
	process_free(TAKE(bases->child));
}

static void
tick(struct base_taker *taker)
{
	struct stream_bases *bases = (struct stream_bases *)taker;
	int64_t every_us = bases->job->base_every_us;
	int64_t look_us = every_us / LOOKS_A_PERIOD < LOOK_EVERY_MAX_US ? every_us / LOOKS_A_PERIOD
									: LOOK_EVERY_MAX_US;
	struct wall_time newest = { .us = 0 };
	struct err err = ERR_INIT;

	if (bases->child != NULL) {
		see_end(bases);
		return;
	}
	if (every_us == 0 || bases->job->base_maker == NULL ||
	    clock_elapsed_us(bases->looked) < look_us ||
	    (bases->has_failed && clock_elapsed_us(bases->started) < RETRY_AFTER_US))
		return;
	bases->looked = clock_mono();
	if (find_newest(bases, &newest, &err) < 0) {
		log_warning("cannot tell whether a base is due: %s, continuing", err.msg);
		return;
	}
	if (clock_wall().us - newest.us >= every_us)
		start_child(bases);
}

void
stream_bases_init(struct stream_bases *bases, struct engine *engine, const struct follow_job *job)
{
	*bases = (struct stream_bases){
		.base = { .take = take, .tick = tick },
		.engine = engine,
		.job = job,
		.looked = clock_mono(),
	};
}

void
stream_bases_done(struct stream_bases *bases)
{
	process_free(TAKE(bases->child));
}
