#include "engine/archive.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "catalog/catalog_piece.h"
#include "engine/engine.h"
#include "engine/systems.h"
#include "os/file.h"
#include "repo/record.h"
#include "source/source.h"
#include "store/store.h"
#include "stream/sink.h"

/* Two events of one microsecond, after a clock that was set back, take the next free one. */
enum { EVENT_MAX_ATTEMPTS = 1000 };

struct engine_archive {
	struct archive base;
	struct engine *engine;
	char *folder; /* in the store: "postgresql/wal" */
	char *index; /* what the catalog knows the pieces by: the source, or "postgresql@7312..." */
	char *run_id;
};

static struct engine_archive *
archive_of(struct archive *archive)
{
	return (struct engine_archive *)archive;
}

static char *
object_name(const struct engine_archive *archive, const char *name)
{
	return xasprintf("%s/%s", archive->folder, name);
}

/* ---- files ---- */

static struct sink *
put(struct archive *base, const char *name, struct err *err)
{
	struct engine_archive *archive = archive_of(base);
	SCOPED(freep) char *object = object_name(archive, name);

	return store_put(archive->engine->store, object, archive->run_id, err);
}

static struct blob *
get(struct archive *base, const char *name, struct err *err)
{
	struct engine_archive *archive = archive_of(base);
	SCOPED(freep) char *object = object_name(archive, name);

	return store_get(archive->engine->store, object, err);
}

/* The store removes a folder with its last file; a tail may be about to be made in this one. */
static int
remove_file(struct archive *base, const char *name, struct err *err)
{
	struct engine_archive *archive = archive_of(base);
	struct store *store = archive->engine->store;
	SCOPED(freep) char *object = object_name(archive, name);

	if (store_remove(store, object, err) < 0)
		return -1;

	return dir_exists(base->path) ? 0 : store_make_folder(store, archive->folder, err);
}

struct name_scan {
	struct store_visitor base;
	struct archive_visitor *visitor;
};

static int
visit_entry(struct store_visitor *visitor, const struct store_entry *entry, struct err *err)
{
	struct archive_visitor *next = ((struct name_scan *)visitor)->visitor;

	return entry->is_folder ? 0 : next->visit(next, entry->name, err);
}

static int
scan(struct archive *base, struct archive_visitor *visitor, struct err *err)
{
	struct engine_archive *archive = archive_of(base);
	struct name_scan through = { .base = { .visit = visit_entry }, .visitor = visitor };

	return store_scan(archive->engine->store, archive->folder, &through.base, err);
}

static int
stat_file(struct archive *base, struct archive_entry *entry, struct err *err)
{
	struct engine_archive *archive = archive_of(base);
	SCOPED(freep) char *object = object_name(archive, entry->name);
	struct store_object found;

	if (store_stat(archive->engine->store, object, &found, err) < 0)
		return -1;
	entry->bytes = found.bytes;
	entry->modified = found.modified;
	free(found.name);

	return 0;
}

/* ---- the index ---- */

static int
put_rows(struct engine_archive *archive, const struct piece_row *rows, size_t count,
    const struct mark_row *marks, size_t marks_count, struct err *err)
{
	struct catalog *catalog = archive->engine->catalog;

	if (catalog_begin(catalog, err) < 0)
		return -1;
	if (catalog_piece_put(catalog, archive->index, rows, count, err) < 0 ||
	    catalog_piece_put_marks(catalog, archive->index, marks, marks_count, err) < 0 ||
	    catalog_commit(catalog, err) < 0) {
		catalog_rollback(catalog);
		return -1;
	}

	return 0;
}

static int
index_put(struct archive *base, const struct piece *pieces, size_t count,
    const struct archive_mark *marks, size_t marks_count, struct err *err)
{
	SCOPED(freep) struct piece_row *rows = xcalloc(count, sizeof(*rows));
	SCOPED(freep) struct mark_row *mark_rows = xcalloc(marks_count, sizeof(*mark_rows));

	for (size_t i = 0; i < count; i++) {
		rows[i] = (struct piece_row){
			.branch = pieces[i].branch,
			.number = pieces[i].number,
			.state = (int)pieces[i].state,
			.is_stored_plain = pieces[i].is_stored_plain,
			.stored_bytes = pieces[i].stored_bytes,
			.modified = pieces[i].modified,
			.end_position = pieces[i].end_position,
			.commits = pieces[i].commits,
			.first_time = pieces[i].first_time,
			.last_time = pieces[i].last_time,
			.message = pieces[i].message,
		};
	}
	for (size_t i = 0; i < marks_count; i++) {
		mark_rows[i] = (struct mark_row){
			.branch = marks[i].branch,
			.number = marks[i].number,
			.position = marks[i].position,
			.time = marks[i].time,
			.name = marks[i].name,
		};
	}

	return put_rows(archive_of(base), rows, count, mark_rows, marks_count, err);
}

static int
index_remove(struct archive *base, uint32_t branch, uint64_t number, struct err *err)
{
	return catalog_piece_remove(archive_of(base)->engine->catalog, archive_of(base)->index,
	    branch, number, err);
}

static int
index_clear(struct archive *base, struct err *err)
{
	return catalog_piece_clear(archive_of(base)->engine->catalog, archive_of(base)->index, err);
}

/* A state that a newer version has written is not known to be sound. */
static enum piece_state
state_of(int state)
{
	return state == PIECE_SOUND || state == PIECE_DAMAGED ? (enum piece_state)state
							      : PIECE_FOUND;
}

struct piece_collector {
	struct piece_viewer base;
	struct pieces pieces;
};

static void
collect_piece(struct piece_viewer *viewer, const struct piece_row *row)
{
	struct piece_collector *collector = (struct piece_collector *)viewer;

	vec_push(&collector->pieces.items,
	    ((struct piece){
		.branch = row->branch,
		.number = row->number,
		.state = state_of(row->state),
		.is_stored_plain = row->is_stored_plain,
		.stored_bytes = row->stored_bytes,
		.modified = row->modified,
		.end_position = row->end_position,
		.commits = row->commits,
		.first_time = row->first_time,
		.last_time = row->last_time,
		.message = xstrdup(row->message),
	    }));
}

static int
index_list(struct archive *base, uint32_t branch, uint64_t first, uint64_t last,
    struct pieces *ret_pieces, struct err *err)
{
	const struct piece_filter filter = { .branch = branch, .first = first, .last = last };
	struct piece_collector collector = { .base = { .see = collect_piece } };

	if (catalog_piece_each(archive_of(base)->engine->catalog, archive_of(base)->index, &filter,
		&collector.base, err) < 0) {
		pieces_done(&collector.pieces);
		return -1;
	}
	*ret_pieces = collector.pieces;

	return 0;
}

struct span_collector {
	struct piece_viewer base;
	struct archive_spans spans;
};

/* The span that this piece continues, or a new one. */
static struct archive_span *
span_for(struct archive_spans *spans, const struct piece_row *row)
{
	size_t count = spans->items.count;
	struct archive_span *span = count > 0 ? &spans->items.items[count - 1] : NULL;

	if (span == NULL || span->branch != row->branch || span->last + 1 != row->number) {
		span = vec_add(&spans->items);
		span->branch = row->branch;
		span->first = row->number;
	}
	span->last = row->number;

	return span;
}

static void
collect_span(struct piece_viewer *viewer, const struct piece_row *row)
{
	struct archive_span *span = span_for(&((struct span_collector *)viewer)->spans, row);
	enum piece_state state = state_of(row->state);

	span->not_sound_count += state == PIECE_FOUND;
	span->damaged_count += state == PIECE_DAMAGED;
	span->stored_bytes += row->stored_bytes;
	if (row->end_position > span->end_position)
		span->end_position = row->end_position;
	if (span->first_time.us == 0)
		span->first_time = row->first_time;
	if (row->last_time.us != 0)
		span->last_time = row->last_time;
}

static int
index_spans(struct archive *base, struct archive_spans *ret_spans, struct err *err)
{
	const struct piece_filter all = { .branch = 0, .is_brief = true };
	struct span_collector collector = { .base = { .see = collect_span } };

	if (catalog_piece_each(archive_of(base)->engine->catalog, archive_of(base)->index, &all,
		&collector.base, err) < 0) {
		archive_spans_done(&collector.spans);
		return -1;
	}
	*ret_spans = collector.spans;

	return 0;
}

struct mark_collector {
	struct mark_viewer base;
	struct archive_marks marks;
};

static void
collect_mark(struct mark_viewer *viewer, const struct mark_row *row)
{
	struct mark_collector *collector = (struct mark_collector *)viewer;

	vec_push(&collector->marks.items,
	    ((struct archive_mark){
		.branch = row->branch,
		.number = row->number,
		.position = row->position,
		.time = row->time,
		.name = xstrdup(row->name),
	    }));
}

static int
index_marks(struct archive *base, const char *name, struct archive_marks *ret_marks,
    struct err *err)
{
	struct mark_collector collector = { .base = { .see = collect_mark } };

	if (catalog_piece_each_mark(archive_of(base)->engine->catalog, archive_of(base)->index,
		name, &collector.base, err) < 0) {
		archive_marks_done(&collector.marks);
		return -1;
	}
	*ret_marks = collector.marks;

	return 0;
}

/* ---- events ---- */

static int
note_event(struct archive *base, const struct archive_event *event, struct err *err)
{
	struct engine_archive *archive = archive_of(base);
	struct stream_event record = {
		.source = base->label,
		.kind = event->kind,
		.at = event->at,
		.branch = event->branch,
		.from_position = event->from_position,
		.to_position = event->to_position,
		.text = event->text,
	};

	log_warning("source '%s': %s", base->label, event->text);
	for (unsigned attempt = 0; attempt < EVENT_MAX_ATTEMPTS; attempt++, record.at.us++) {
		SCOPED(freep) char *name = event_name(&record);
		SCOPED(freep) char *text = event_format(&record);

		if (store_put_text(archive->engine->store, name, archive->run_id, text, err) == 0)
			return 0;
		if (err->kind != ERR_EXISTS)
			return -1;
		if (event->is_once)
			return 0;
	}

	return -1;
}

/* ---- whose it is ---- */

static int
claim(struct archive *base, const char *identity, struct err *err)
{
	struct engine_archive *archive = archive_of(base);
	SCOPED(freep) char *name = source_record_name(base->label, identity);
	SCOPED(freep)
	char *text = source_record_format(base->label, identity, NULL, clock_wall());

	if (store_put_text(archive->engine->store, name, archive->run_id, text, err) < 0 &&
	    err->kind != ERR_EXISTS)
		return -1;
	free(base->identity);
	base->identity = xstrdup(identity);

	return 0;
}

/* ---- opening ---- */

static const struct archive_ops engine_archive_ops = {
	.put = put,
	.get = get,
	.remove = remove_file,
	.scan = scan,
	.stat = stat_file,
	.index_put = index_put,
	.index_remove = index_remove,
	.index_clear = index_clear,
	.index_list = index_list,
	.index_spans = index_spans,
	.index_marks = index_marks,
	.note_event = note_event,
	.claim = claim,
};

/*
 * The folder and the name in the index.  Where there is a former system, an index that another
 * machine made before it was set aside must not be taken for that of the present one.
 */
static void
choose_place(struct engine_archive *archive, const struct stream_kind *stream,
    struct systems *systems, const char *identity)
{
	const char *label = archive->base.label;
	bool is_former = identity != NULL && systems_was(systems, identity);

	archive->folder = systems_folder(stream, label, is_former ? identity : NULL);
	archive->base.identity = is_former ? xstrdup(identity) : TAKE(systems->current);
	if (systems->formers.count > 0 && archive->base.identity != NULL)
		archive->index = xasprintf("%s@%s", label, archive->base.identity);
	else
		archive->index = xstrdup(label);
}

static int
open_folder(struct engine_archive *archive, struct err *err)
{
	struct store *store = archive->engine->store;

	archive->base.path = store_local_path(store, archive->folder);
	if (archive->base.path == NULL)
		return err_set(err, ERR_UNSUPPORTED,
		    "store '%s' is no folder of this machine: it cannot hold a continuous stream",
		    store->location);
	if (store->is_read_only || store->is_bare || dir_exists(archive->base.path))
		return 0;

	return store_make_folder(store, archive->folder, err);
}

struct archive *
engine_archive_open_of(struct engine *engine, const struct source_ops *ops, const char *label,
    const char *identity, const char *run_id, struct err *err)
{
	SCOPED(systems_done) struct systems systems = { .current = NULL };
	SCOPED(engine_archive_closep) struct archive *base = NULL;
	struct engine_archive *archive;

	if (ops->stream == NULL) {
		(void)err_set(err, ERR_UNSUPPORTED,
		    "source '%s': a %s source has no continuous stream", label, ops->type);
		return NULL;
	}
	if (systems_read(engine, ops, label, &systems, err) < 0)
		return NULL;
	archive = xcalloc(1, sizeof(*archive));
	base = &archive->base;
	base->ops = &engine_archive_ops;
	base->label = xstrdup(label);
	base->file_mode = engine->store->file_mode;
	base->file_gid = engine->store->file_gid;
	archive->engine = engine;
	archive->run_id = xstrdup(run_id);
	choose_place(archive, ops->stream, &systems, identity);
	if (open_folder(archive, err) < 0)
		return NULL;

	return TAKE(base);
}

struct archive *
engine_archive_open(struct engine *engine, const struct source_ops *ops, const char *label,
    const char *run_id, struct err *err)
{
	return engine_archive_open_of(engine, ops, label, NULL, run_id, err);
}

static int
stop_at_first(struct store_visitor *visitor, const struct store_entry *entry, struct err *err)
{
	(void)visitor;
	(void)entry;

	return err_set(err, ERR_EXISTS, "it is not empty");
}

static bool
has_files(struct engine *engine, const char *folder)
{
	struct store_visitor visitor = { .visit = stop_at_first };
	struct err found = ERR_INIT;

	return store_scan(engine->store, folder, &visitor, &found) < 0 && found.kind == ERR_EXISTS;
}

bool
engine_archive_exists(struct engine *engine, const struct source_ops *ops, const char *label)
{
	return engine_archive_exists_of(engine, ops, label, NULL);
}

bool
engine_archive_exists_of(struct engine *engine, const struct source_ops *ops, const char *label,
    const char *identity)
{
	SCOPED(freep) char *now = NULL;
	SCOPED(freep) char *aside = NULL;

	if (ops->stream == NULL)
		return false;
	now = systems_folder(ops->stream, label, NULL);
	aside = systems_folder(ops->stream, label, identity);

	return has_files(engine, now) || (identity != NULL && has_files(engine, aside));
}

void
engine_archive_close(struct archive *base)
{
	struct engine_archive *archive = (struct engine_archive *)base;

	if (archive == NULL)
		return;
	free(base->label);
	free(base->path);
	free(base->identity);
	free(archive->folder);
	free(archive->index);
	free(archive->run_id);
	free(archive);
}
