#include "engine/follow.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/archive.h"
#include "engine/backup.h"
#include "engine/engine.h"
#include "engine/run.h"
#include "engine/stream_bases.h"
#include "source/source.h"

/*
 * The first system that the folder sees decides whose it is.  One that does not answer now is
 * asked again by the stream itself, which refuses another system than the folder's.
 */
static int
learn_identity(struct engine *engine, struct source *source, struct archive *archive,
    struct err *err)
{
	SCOPED(freep) char *aside = NULL;

	if (archive->identity != NULL ||
	    backup_adopt_identity(engine, source, &archive->identity, &aside, err) == 0)
		return 0;
	/* Not every system has one; then nothing is compared. */
	if (err->kind == ERR_UNSUPPORTED) {
		err_clear(err);
		return 0;
	}
	if (err->kind != ERR_NET && err->kind != ERR_TIMEOUT && err->kind != ERR_AUTH &&
	    err->kind != ERR_PEER)
		return -1;
	log_warning("%s: its identity is not known yet, continuing", err->msg);
	err_clear(err);

	return 0;
}

static int
follow(struct engine *engine, const struct follow_job *job, const char *run_id, struct err *err)
{
	struct source *source = job->source;
	SCOPED(stream_bases_done) struct stream_bases bases = { .child = NULL };
	const struct follow_request request = {
		.run_id = run_id,
		.bases = &bases.base,
		.piece_age_us = job->piece_age_us,
		.slot = job->slot,
		.client_name = job->client_name,
		.heartbeat_us = job->heartbeat_us,
		.settler = job->settler,
		.link = job->link,
	};

	stream_bases_init(&bases, engine, job);
	SCOPED(engine_archive_closep)
	struct archive *archive = engine_archive_open(engine, source->ops, source->label, run_id,
	    err);
	if (archive == NULL || learn_identity(engine, source, archive, err) < 0)
		return -1;

	return source->ops->follow(source, &request, archive, err);
}

int
follow_run(struct engine *engine, const struct follow_job *job, struct err *err)
{
	const struct run_options options = {
		.verb = "wal",
		.job = job->name,
		.source = job->source->label,
		.is_exclusive = true,
	};
	struct run run;
	int result;

	if (job->source->ops->follow == NULL)
		return err_set(err, ERR_UNSUPPORTED, "source '%s': a %s has no continuous stream",
		    job->source->label, job->source->ops->type);
	if (run_begin(engine, &options, &run, err) < 0)
		return -1;
	result = follow(engine, job, run.row.id, err);
	run_end(&run, result < 0 ? err : NULL, 0, NULL);

	return result;
}
