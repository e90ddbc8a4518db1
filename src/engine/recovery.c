#include "engine/recovery.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/archive.h"
#include "engine/bases.h"
#include "engine/engine.h"
#include "source/archive.h"
#include "source/source.h"

static int
refuse_without_stream(const struct source *source, struct err *err)
{
	return err_set(err, ERR_UNSUPPORTED,
	    "source '%s': a %s has no stream that it could be brought back along", source->label,
	    source->ops->type);
}

/* A loan of what `bases` holds. */
static const struct manifest *const *
manifests_of(const struct bases *bases)
{
	return (const struct manifest *const *)bases->manifests.items;
}

/* The archive of the system that is meant; a former one must be one. */
static struct archive *
open_archive(struct engine *engine, const struct source *source, const char *identity,
    const char *run_id, struct err *err)
{
	SCOPED(engine_archive_closep)
	struct archive *archive = engine_archive_open_of(engine, source->ops, source->label,
	    identity, run_id, err);

	if (archive == NULL || identity == NULL || str_equals(archive->identity, identity))
		return TAKE(archive);
	(void)err_set(err, ERR_NOT_FOUND, "source '%s' never was the system with identity %s",
	    source->label, identity);
	(void)err_hint(err, "'blackstart list %s' shows its backups, 'show' whose each is.",
	    source->label);

	return NULL;
}

int
recovery_window_of(struct engine *engine, struct source *source, const char *identity,
    struct window_report *report, struct err *err)
{
	SCOPED(bases_done) struct bases bases = { .manifests = { .count = 0 } };
	SCOPED(engine_archive_closep) struct archive *archive = NULL;

	if (source->ops->window == NULL)
		return refuse_without_stream(source, err);
	if (bases_read(engine, source->ops, source->label, &bases, err) < 0)
		return -1;
	archive = open_archive(engine, source, identity, "window", err);
	if (archive == NULL)
		return -1;

	return source->ops->window(source, archive, manifests_of(&bases), bases.manifests.count,
	    report, err);
}

/* A place is written as the source's own tools write it: an LSN has a slash, an offset has none. */
static int
check_position(const struct source *source, const struct restore_target *target, struct err *err)
{
	bool counts_bytes = source->ops->stream->counts_bytes;

	if (target->kind != TARGET_POSITION || target->text == NULL ||
	    counts_bytes == (strchr(target->text, '/') == NULL))
		return 0;
	(void)err_set(err, ERR_USAGE, "'%.60s' is not a place in the %s of a %s", target->text,
	    counts_bytes ? "stream" : "log", source->ops->type);

	return err_hint(err, "%s",
	    counts_bytes ? "It is a plain number, like master_repl_offset in INFO replication."
			 : "It looks like 0/5A000028, as pg_current_wal_lsn() shows it.");
}

int
recovery_choose_of(struct engine *engine, struct source *source, const char *identity,
    struct restore_target *target, struct backup_row *ret_row, struct err *err)
{
	SCOPED(bases_done) struct bases bases = { .manifests = { .count = 0 } };
	SCOPED(engine_archive_closep) struct archive *archive = NULL;
	size_t index = 0;

	if (source->ops->choose == NULL)
		return refuse_without_stream(source, err);
	if (check_position(source, target, err) < 0 ||
	    bases_read(engine, source->ops, source->label, &bases, err) < 0)
		return -1;
	archive = open_archive(engine, source, identity, "choose", err);
	if (archive == NULL)
		return -1;
	if (source->ops->choose(source, archive, manifests_of(&bases), bases.manifests.count,
		target, &index, err) < 0)
		return -1;
	*ret_row = bases.rows.rows.items[index];
	bases.rows.rows.items[index] = (struct backup_row){ .id = NULL };

	return 0;
}

int
recovery_window(struct engine *engine, struct source *source, struct window_report *report,
    struct err *err)
{
	return recovery_window_of(engine, source, NULL, report, err);
}

int
recovery_choose(struct engine *engine, struct source *source, struct restore_target *target,
    struct backup_row *ret_row, struct err *err)
{
	return recovery_choose_of(engine, source, NULL, target, ret_row, err);
}
