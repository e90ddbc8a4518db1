#include "engine/backup.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/version.h"
#include "engine/archive.h"
#include "engine/engine.h"
#include "engine/intake.h"
#include "engine/run.h"
#include "engine/sync.h"
#include "engine/systems.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "repo/names.h"
#include "repo/record.h"
#include "source/source.h"
#include "store/store.h"
#include "stream/sink.h"

enum { PLACE_MAX_ATTEMPTS = 1000 };

/* Everything one backup holds while it is made. */
struct making {
	struct engine *engine;
	const struct backup_job *job;
	struct run run;
	struct place place;
	struct sink *marker; /* never finished: tells a sweep that the folder is unfinished */
	struct manifest *draft;
	struct archive *archive; /* of a stream that covers it; NULL: it carries its own */
	struct engine_intake intake;
};

void
backup_outcome_done(struct backup_outcome *outcome)
{
	free(outcome->id);
	free(outcome->folder);
	free(outcome->first_warning);
	*outcome = (struct backup_outcome){ .id = NULL };
}

/* A source's folder takes backups of one identity; the first one it sees decides. */
static int
check_identity(struct engine *engine, const char *source, const struct source_identity *who,
    struct err *err)
{
	SCOPED(freep) char *prefix = xasprintf(RECORD_SOURCE_PREFIX "/%s", source);
	SCOPED(store_listing_done) struct store_listing listing = { .objects = { .count = 0 } };
	SCOPED(freep) char *known = NULL;

	if (who->identity == NULL || who->identity[0] == '\0')
		return 0;
	if (store_list(engine->store, prefix, &listing, err) < 0)
		return -1;
	for (size_t i = 0; i < listing.objects.count; i++) {
		free(known);
		known = source_record_identity(listing.objects.items[i].name);
		if (str_equals(known, who->identity))
			return 0;
	}
	if (known == NULL)
		return systems_accept(engine, source, who->identity, who->version, err);

	(void)err_set(err, ERR_REFUSED,
	    "source '%s' is another system than before: its identity is %s, the backups in %s are of %s",
	    source, who->identity, engine->store->location, known);

	return err_hint(err,
	    "If it was rebuilt on purpose, type 'blackstart source adopt %s' (without a config file, with the URL and --store); otherwise check host and port.",
	    source);
}

int
backup_adopt_identity(struct engine *engine, struct source *source, char **ret_identity,
    char **ret_aside, struct err *err)
{
	SCOPED(source_identity_done) struct source_identity who = { .identity = NULL };

	if (source->ops->identify(source, &who, err) < 0)
		return -1;
	if (who.identity == NULL || who.identity[0] == '\0')
		return err_set(err, ERR_UNSUPPORTED,
		    "source '%s': a %s server has no identity that could be adopted", source->label,
		    source->ops->type);
	if (systems_change(engine, source->ops, source->label, who.identity, who.version, ret_aside,
		err) < 0)
		return -1;
	*ret_identity = TAKE(who.identity);

	return 0;
}

/* Is any object of the store in the way of this place. */
static int
is_taken(struct engine *engine, const struct place *place, bool *ret_taken, struct err *err)
{
	SCOPED(store_listing_done) struct store_listing listing = { .objects = { .count = 0 } };
	SCOPED(freep)
	char *stem = place->stem != NULL ? xasprintf("%s/%s.", place->folder, place->stem) : NULL;
	bool is_found = false;

	if (store_list(engine->store, place->folder, &listing, err) < 0)
		return -1;
	for (size_t i = 0; i < listing.objects.count && !is_found; i++)
		is_found = stem == NULL || str_starts_with(listing.objects.items[i].name, stem);
	*ret_taken = is_found;

	return 0;
}

static int
find_place(struct making *making, const struct backup_kind *kind, struct err *err)
{
	struct layout layout = kind->layout;

	if (making->job->subfolder != NULL)
		layout.subfolder = making->job->subfolder;
	for (unsigned attempt = 0; attempt < PLACE_MAX_ATTEMPTS; attempt++) {
		bool is_in_the_way;

		place_make(making->job->source->label, &layout, making->engine->zone,
		    making->run.row.started, attempt, &making->place);
		if (is_taken(making->engine, &making->place, &is_in_the_way, err) < 0)
			return -1;
		if (!is_in_the_way)
			return 0;
		place_done(&making->place);
	}

	return err_set(err, ERR_EXISTS, "no free name for the backup in '%s'",
	    making->engine->store->location);
}

/* See store_sweep: a dead one says that its folder, or the files of its stem, are unfinished. */
static int
put_marker(struct making *making, struct err *err)
{
	SCOPED(freep) char *name = place_part_name(&making->place, PLACE_MARKER);

	making->marker = store_put(making->engine->store, name, making->run.row.id, err);

	return making->marker != NULL ? 0 : -1;
}

static void
fill_draft(struct making *making)
{
	struct manifest *draft = making->draft;

	draft->id = xstrdup(making->run.row.id);
	draft->job = xstrdup(making->job->name);
	draft->kind = xstrdup(making->job->kind);
	draft->source_name = xstrdup(making->job->source->label);
	draft->source_type = xstrdup(making->job->source->ops->type);
	draft->tool_name = xstrdup("blackstart");
	draft->tool_version = xstrdup(BLACKSTART_VERSION);
	draft->started = making->run.row.started;
}

static int
write_manifest(struct making *making, struct err *err)
{
	SCOPED(freep) char *name = place_manifest_name(&making->place);
	SCOPED(freep) char *text = NULL;

	making->draft->finished = clock_wall();
	if (making->draft->consistent_at.us == 0)
		making->draft->consistent_at = making->draft->started;
	text = manifest_format(making->draft);

	return store_put_text(making->engine->store, name, making->run.row.id, text, err);
}

/*
 * Does a receiver run for this source: its slot was there before us, so that the log of this
 * backup cannot miss, and the backup need not carry it.
 */
static bool
is_covered(const struct making *making, const struct backup_kind *kind)
{
	const struct engine *engine = making->engine;
	const struct source *source = making->job->source;

	if (!kind->is_window_base || source->ops->stream == NULL)
		return false;
	for (size_t i = 0; i < engine->jobs_count; i++) {
		const struct known_job *job = &engine->jobs[i];

		if (str_equals(job->source, source->label) &&
		    str_equals(job->kind, source->ops->stream->name) &&
		    run_is_held(engine, job->name))
			return true;
	}

	return false;
}

static int
open_archive(struct making *making, const struct backup_kind *kind, struct err *err)
{
	const struct backup_job *job = making->job;

	if (job->archive != NULL || !is_covered(making, kind))
		return 0;
	making->archive = engine_archive_open(making->engine, job->source->ops, job->source->label,
	    making->run.row.id, err);

	return making->archive != NULL ? 0 : -1;
}

static int
make_parts(struct making *making, struct err *err)
{
	const struct backup_job *job = making->job;
	const struct backup_request request = {
		.kind = job->kind,
		.run_id = making->run.row.id,
		.rate_limit_bytes_per_s = job->rate_limit_bytes_per_s,
		.parallel = job->parallel,
		.format = job->format,
		.archive = job->archive != NULL ? job->archive : making->archive,
		.spool_dir = making->engine->scratch_root,
		.attached = job->attached,
		.progress = job->progress,
	};

	making->intake = (struct engine_intake){
		.engine = making->engine,
		.place = &making->place,
		.run_id = making->run.row.id,
		.draft = making->draft,
		.progress = job->progress,
		.compression_level = job->compression_level,
		.rate_limit_bytes_per_s = job->rate_limit_bytes_per_s,
	};
	intake_init(&making->intake);

	return job->source->ops->backup(job->source, &request, &making->intake.base, making->draft,
	    err);
}

static int
make_backup(struct making *making, struct err *err)
{
	struct source *source = making->job->source;
	const struct backup_kind *kind = source_kind(source, making->job->kind);
	SCOPED(source_identity_done) struct source_identity who = { .identity = NULL };
	unsigned swept;

	if (kind == NULL)
		return err_set(err, ERR_CONFIG, "a %s source has no backup of kind '%s'",
		    source->ops->type, making->job->kind);
	if (store_sweep(making->engine->store, &swept, err) < 0)
		return -1;
	if (swept > 0)
		log_info("removed %u unfinished files of runs that died", swept);
	if (source->ops->identify(source, &who, err) < 0 ||
	    check_identity(making->engine, source->label, &who, err) < 0 ||
	    find_place(making, kind, err) < 0 || put_marker(making, err) < 0 ||
	    open_archive(making, kind, err) < 0)
		return -1;

	making->draft = manifest_new();
	fill_draft(making);
	/* The manifest is last: until its name exists, the backup does not. */
	if (make_parts(making, err) < 0 || stop_check(err) < 0 ||
	    intake_commit(&making->intake, err) < 0 || write_manifest(making, err) < 0) {
		intake_abandon(&making->intake);
		return -1;
	}

	return 0;
}

static void
making_done(struct making *making)
{
	sink_free(making->marker);
	intake_done(&making->intake);
	manifest_free(making->draft);
	place_done(&making->place);
	engine_archive_close(making->archive);
}

static void
report(struct making *making, struct backup_outcome *outcome)
{
	const struct manifest *draft = making->draft;

	outcome->id = xstrdup(draft->id);
	outcome->folder = xstrdup(making->place.folder);
	outcome->content_bytes = manifest_content_bytes(draft);
	outcome->stored_bytes = manifest_stored_bytes(draft);
	outcome->duration_us = clock_elapsed_us(making->run.began);
	outcome->warnings_count = (unsigned)draft->warnings.count;
	if (draft->warnings.count > 0)
		outcome->first_warning = xstrdup(draft->warnings.items[0].text);
	making->run.row.backup_id = xstrdup(draft->id);
	making->run.row.source_bytes = outcome->content_bytes;
	making->run.row.stored_bytes = outcome->stored_bytes;
}

int
backup_run(struct engine *engine, const struct backup_job *job, struct backup_outcome *ret_outcome,
    struct err *err)
{
	SCOPED(making_done) struct making making = { .engine = engine, .job = job };
	const struct run_options options = {
		.verb = "backup",
		.job = job->name,
		.source = job->source->label,
		.is_exclusive = !job->is_of_stream,
	};
	struct backup_outcome outcome = { .id = NULL };
	struct sync_result synced;
	struct err sync_err = ERR_INIT;

	if (run_begin(engine, &options, &making.run, err) < 0)
		return -1;
	if (make_backup(&making, err) < 0) {
		(void)err_wrap(err, "backup '%s' of source '%s'", job->kind, job->source->label);
		run_end(&making.run, err, 0, NULL);
		return -1;
	}
	report(&making, &outcome);
	/* The catalog reads it again, from the store: of 100,000 tables it is not held twice. */
	manifest_free(TAKE(making.draft));
	/* The backup is safe; a catalog that cannot follow catches up from the store later. */
	if (sync_catalog(engine, false, &synced, &sync_err) < 0)
		log_warning("cannot update the catalog: %s, continuing", sync_err.msg);
	run_end(&making.run, NULL, outcome.warnings_count, outcome.first_warning);
	*ret_outcome = outcome;

	return 0;
}
