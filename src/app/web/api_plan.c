/*
 * How one would bring a source back to an instant: which backup, as far as which point, and the
 * commands to type.  Nothing is started from here, ever.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli/out.h"
#include "app/web/app_internal.h"
#include "app/wire.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/zone.h"
#include "catalog/catalog.h"
#include "config/config.h"
#include "engine/recovery.h"
#include "source/source.h"

/* To choose a base reads the archive's index: the loop must not do it all the time. */
#define PLAN_REST_US (US_PER_S / 5)

struct point {
	struct wire *wire;
	const char *source;
	struct wall_time at;
	struct backup_row row; /* what it starts with */
	struct str command;
	struct str text;
};

static void
point_done(struct point *point)
{
	backup_row_done(&point->row);
	str_done(&point->command);
	str_done(&point->text);
}

/* A word as a shell takes it. */
static void
add_word(struct str *to, const char *word)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789@%+=:,./_-";

	if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
		str_addf(to, " %s", word);
		return;
	}
	str_add(to, " '");
	for (const char *c = word; *c != '\0'; c++)
		str_add(to, *c == '\'' ? "'\\''" : (char[]){ *c, '\0' });
	str_add_char(to, '\'');
}

/* Where a driver wants a folder, an example stands for it: nobody restores without looking at it. */
static void
add_place(struct point *point)
{
	if (str_equals(point->row.kind, "base"))
		str_add(&point->command, " --to /var/lib/postgresql/restored --start");
	else if (str_equals(point->row.kind, "rdb"))
		str_add(&point->command, " --to /var/lib/redis-restored");
}

static void
add_config(struct point *point)
{
	const struct config *config = point->wire->config;

	if (config != NULL && !str_equals(config->path, CONFIG_DEFAULT_PATH)) {
		str_add(&point->command, " -c");
		add_word(&point->command, config->path);
	}
}

/* Along the stream to that very instant. */
static int
plan_along(struct point *point, struct source *source, struct err *err)
{
	const struct zone *zone = point->wire->engine.zone;
	struct restore_target target = { .kind = TARGET_TIME, .time = point->at, .zone = zone };
	char when[CLOCK_TEXT_SIZE], base[CLOCK_TEXT_SIZE];

	if (recovery_choose(&point->wire->engine, source, &target, &point->row, err) < 0)
		return -1;
	(void)zone_format(zone, point->at, when);
	str_add(&point->command, "blackstart restore");
	add_word(&point->command, point->source);
	str_add(&point->command, " --at");
	add_word(&point->command, target.kind == TARGET_LATEST ? "latest" : when);
	str_addf(&point->text, "%s: base backup %s of %s, then its log up to %s", point->source,
	    point->row.id, zone_format(zone, point->row.consistent_at, base),
	    target.kind == TARGET_LATEST ? "its end" : when);

	return 0;
}

/* The last good backup before it: what came after that is lost. */
static int
plan_backup(struct point *point, struct err *err)
{
	const struct backup_filter of_source = { .source = point->source };
	const struct zone *zone = point->wire->engine.zone;
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };
	char when[CLOCK_TEXT_SIZE], lost[CLOCK_TEXT_SIZE];

	if (catalog_backup_list(point->wire->engine.catalog, &of_source, &rows, err) < 0)
		return -1;
	for (size_t i = 0; i < rows.rows.count && point->row.id == NULL; i++) {
		struct backup_row *row = &rows.rows.items[i];

		if (row->is_damaged || row->is_unproven || row->consistent_at.us > point->at.us)
			continue;
		point->row = *row;
		*row = (struct backup_row){ .id = NULL };
	}
	if (point->row.id == NULL) {
		(void)err_set(err, ERR_REFUSED, "there is no good backup of '%s' from before %s",
		    point->source, zone_format(zone, point->at, when));
		return err_hint(err, "'blackstart list %s' shows which there are.", point->source);
	}
	str_add(&point->command, "blackstart restore");
	add_word(&point->command, point->row.id);
	str_addf(&point->text,
	    "%s: backup %s, the state of %s; what came in the %s after it is lost", point->source,
	    point->row.id, zone_format(zone, point->row.consistent_at, when),
	    clock_format_duration(point->at.us - point->row.consistent_at.us, lost));

	return 0;
}

static int
make_plan(struct point *point, struct err *err)
{
	struct wire *wire = point->wire;
	const struct config_source *from = wire->config != NULL
	    ? config_find_source(wire->config, point->source)
	    : NULL;
	struct source *source = NULL;
	struct err why = ERR_INIT;

	if (from != NULL && from->is_supported)
		source = wire_source_offline(wire, from->name, from->type, err);
	if (from != NULL && from->is_supported && source == NULL)
		return -1;
	if (source == NULL || source->ops->stream == NULL || plan_along(point, source, &why) < 0) {
		if (plan_backup(point, err) < 0) {
			if (why.kind != ERR_NONE)
				*err = why;
			return -1;
		}
		if (why.kind != ERR_NONE)
			str_addf(&point->text, " (not nearer: %s)", why.msg);
	}
	add_place(point);
	add_config(point);

	return 0;
}

static bool
read_point(struct web_call *call, struct point *point)
{
	const char *at = request_query(call->request, "at");
	struct err err = ERR_INIT;

	point->source = request_query(call->request, "source");
	if (point->source == NULL || at == NULL) {
		reply_refuse(call->reply, 400,
		    "Ask like ?source=postgresql&at=2026-11-22T14:05:09Z.",
		    "a plan needs 'source' and 'at'");
		return false;
	}
	if (clock_parse(at, &point->at, &err) < 0) {
		reply_error(call->reply, 400, &err);
		return false;
	}
	if (clock_elapsed_us(call->app->planned_at) < PLAN_REST_US) {
		reply_add_header(call->reply, "Retry-After", "1");
		reply_refuse(call->reply, 429, NULL, "too many plans at once");
		return false;
	}

	return true;
}

void
web_get_plan(struct web_call *call)
{
	SCOPED(point_done) struct point point = { .wire = call->app->host->wire };
	SCOPED(freep) char *plan_command = NULL;
	struct err err = ERR_INIT;
	json_t *root;

	if (!read_point(call, &point))
		return;
	if (make_plan(&point, &err) < 0) {
		reply_error(call->reply, 0, &err);
		return;
	}
	call->app->planned_at = clock_mono();
	plan_command = xasprintf("blackstart plan%s",
	    str_text(&point.command) + strlen("blackstart"));
	root = json_pack("{s:o, s:o, s:o, s:o, s:o}", "source", out_json_text(point.source), "at",
	    out_json_time(point.at), "text", out_json_text(str_text(&point.text)), "plan_command",
	    out_json_text(plan_command), "command", out_json_text(str_text(&point.command)));
	(void)json_object_set_new(root, "backup", out_json_text(point.row.id));
	(void)json_object_set_new(root, "consistent_at", out_json_time(point.row.consistent_at));
	reply_json(call->reply, "blackstart.point/1", root);
}
