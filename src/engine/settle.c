#include "engine/settle.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/archive.h"
#include "engine/engine.h"
#include "engine/run.h"
#include "os/file.h"
#include "os/lockfile.h"
#include "os/random.h"
#include "source/archive.h"
#include "source/source.h"
#include "store/store.h"

enum { TAG_DIGITS = 8 };

static struct archive *
open_archive(struct engine *engine, const struct source *source, struct err *err)
{
	char tag[TAG_DIGITS + 1];

	random_hex(tag, TAG_DIGITS);

	return engine_archive_open(engine, source->ops, source->label, tag, err);
}

/* It would do no harm twice at once, but the same work twice. */
static int
take_lock(const struct engine *engine, const struct source *source, int *ret_fd, struct err *err)
{
	SCOPED(freep) char *folder = path_join(engine->state_dir, "lock");
	SCOPED(freep) char *path = xasprintf("%s/settle-%s.lock", folder, source->label);

	if (dir_make_all(folder, 0700, err) < 0)
		return -1;
	if (lockfile_take(path, "settle", ret_fd, err) < 0)
		return err_wrap(err, "source '%s'", source->label);

	return 0;
}

static int
settle(struct source *source, struct archive *archive, struct settle_report *report,
    struct err *err)
{
	if (source->ops->settle(source, archive, report, err) < 0)
		return err_wrap(err, "source '%s'", source->label);

	return 0;
}

int
settle_run(struct engine *engine, struct source *source, struct settle_report *report,
    struct err *err)
{
	SCOPED(closep) int lock_fd = -1;
	SCOPED(engine_archive_closep) struct archive *archive = open_archive(engine, source, err);

	if (archive == NULL || take_lock(engine, source, &lock_fd, err) < 0)
		return -1;

	return settle(source, archive, report, err);
}

void
settle_log_warnings(const struct settle_report *report)
{
	for (size_t i = 0; i < report->warnings.count; i++)
		log_warning("%s", report->warnings.items[i]);
}

int
settle_judge(const struct settle_report *report, const char *source, struct err *err)
{
	if (report->damaged_count == 0)
		return 0;
	(void)err_set(err, ERR_MISMATCH, "source '%s': %llu segments of its log are damaged",
	    source, (unsigned long long)report->damaged_count);

	return err_hint(err,
	    "'blackstart window %s' shows what can still be brought back; a new base backup starts a new window.",
	    source);
}

int
settle_job(struct engine *engine, struct source *source, const char *job,
    struct settle_report *report, struct err *err)
{
	const struct run_options options = {
		.verb = "wal",
		.job = job,
		.source = source->label,
		.is_exclusive = true,
	};
	struct run run;
	int result;

	if (run_begin(engine, &options, &run, err) < 0)
		return -1;
	result = settle_run(engine, source, report, err);
	settle_log_warnings(report);
	if (result == 0)
		result = settle_judge(report, source->label, err);
	run_end(&run, result < 0 ? err : NULL, (unsigned)report->warnings.count,
	    report->warnings.count > 0 ? report->warnings.items[0] : NULL);

	return result;
}

int
settle_reindex(struct engine *engine, struct source *source, struct settle_report *report,
    struct err *err)
{
	SCOPED(engine_archive_closep) struct archive *archive = open_archive(engine, source, err);

	report->is_index_only = true;
	if (archive == NULL || archive_index_clear(archive, err) < 0)
		return -1;

	return settle(source, archive, report, err);
}

int
settle_again(struct engine *engine, struct source *source, struct progress *progress,
    struct settle_report *report, struct err *err)
{
	SCOPED(engine_archive_closep) struct archive *archive = open_archive(engine, source, err);

	report->is_again = true;
	report->workers = report->parts == 0 ? engine->cores : 0;
	report->progress = progress;
	if (archive == NULL)
		return -1;

	return settle(source, archive, report, err);
}

/* ---- which sources there are ---- */

struct source_scan {
	struct store_visitor base;
	struct engine *engine;
	struct streamed_sources found;
};

static int
look_at_folder(struct store_visitor *visitor, const struct store_entry *entry, struct err *err)
{
	struct source_scan *scan = (struct source_scan *)visitor;
	struct engine *engine = scan->engine;

	(void)err;
	for (size_t i = 0; entry->is_folder && engine->drivers[i] != NULL; i++) {
		if (!engine_archive_exists(engine, engine->drivers[i], entry->name))
			continue;
		vec_push(&scan->found.items,
		    ((struct streamed_source){
			.name = xstrdup(entry->name),
			.type = engine->drivers[i]->type,
		    }));
		return 0;
	}

	return 0;
}

void
streamed_sources_done(struct streamed_sources *sources)
{
	for (size_t i = 0; i < sources->items.count; i++)
		free(sources->items.items[i].name);
	vec_done(&sources->items);
}

int
settle_find_sources(struct engine *engine, struct streamed_sources *ret_sources, struct err *err)
{
	struct source_scan scan = { .base = { .visit = look_at_folder }, .engine = engine };

	if (store_scan(engine->store, "", &scan.base, err) < 0) {
		streamed_sources_done(&scan.found);
		return -1;
	}
	*ret_sources = scan.found;

	return 0;
}
