#include "engine/bases.h"

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/view.h"
#include "repo/manifest.h"
#include "source/source.h"

void
bases_done(struct bases *bases)
{
	for (size_t i = 0; i < bases->manifests.count; i++)
		manifest_free(bases->manifests.items[i]);
	vec_done(&bases->manifests);
	backup_rows_done(&bases->rows);
}

static bool
is_base_kind(const struct source_ops *ops, const char *name)
{
	for (size_t i = 0; i < ops->kinds_count; i++) {
		if (ops->kinds[i].is_window_base && str_equals(ops->kinds[i].name, name))
			return true;
	}

	return false;
}

static void
add_base(struct engine *engine, struct bases *bases, struct backup_row *row)
{
	SCOPED(view_done) struct view view = { .engine = NULL };
	struct err err = ERR_INIT;

	if (view_open(engine, row->manifest_name, &view, &err) < 0) {
		log_warning("backup '%s' is left out: %s", row->id, err.msg);
		return;
	}
	vec_push(&bases->manifests, TAKE(view.manifest));
	vec_push(&bases->rows.rows, *row);
	*row = (struct backup_row){ .id = NULL };
}

int
bases_read(struct engine *engine, const struct source_ops *ops, const char *source,
    struct bases *ret_bases, struct err *err)
{
	const struct backup_filter filter = { .source = source };
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };
	struct bases bases = { .manifests = { .count = 0 } };

	if (catalog_backup_list(engine->catalog, &filter, &rows, err) < 0)
		return -1;
	for (size_t i = 0; i < rows.rows.count; i++) {
		struct backup_row *row = &rows.rows.items[i];

		if (is_base_kind(ops, row->kind) && !row->is_damaged && !row->is_unproven)
			add_base(engine, &bases, row);
	}
	*ret_bases = bases;

	return 0;
}
