#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "base/zone.h"
#include "os/file.h"
#include "repo/manifest.h"
#include "source/postgres/base/content.h"
#include "source/postgres/base/recover.h"
#include "source/postgres/base/target.h"
#include "source/postgres/lsn.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/wal/choose.h"
#include "source/postgres/wal/recovery.h"

/* The first obstacle brings its hint. */
static void
add_obstacle(struct restore_plan *plan, const struct err *err)
{
	vec_push(&plan->obstacles, xstrdup(err->msg));
	if (plan->hint == NULL && err->hint[0] != '\0')
		plan->hint = xstrdup(err->hint);
}

static void
add_step(struct restore_plan *plan, char *text)
{
	vec_push(&plan->steps, text);
}

static void
add_warning(struct restore_plan *plan, char *text)
{
	vec_push(&plan->warnings, text);
}

/* The server of exactly this major starts the copy: needed for --start, else only worth knowing. */
static void
look_for_server(const struct postgres *pg, const struct base_content *content,
    const struct restore_request *request, struct restore_plan *plan)
{
	SCOPED(pg_program_done) struct pg_program program = { .path = NULL };
	int major = content->server_version / 10000;
	struct err err = ERR_INIT;

	if (pg_program_find(pg, "postgres", major, true, &program, &err) == 0)
		return;
	if (request->wants_start)
		add_obstacle(plan, &err);
	else
		add_warning(plan,
		    xasprintf("this machine has no PostgreSQL %d server to start the copy "
			      "with: %s",
			major, err.msg));
}

static void
add_steps(const struct base_content *content, const struct backup_view *view,
    const struct base_target *target, const struct restore_request *request,
    struct restore_plan *plan)
{
	char bytes[32], start[LSN_TEXT_SIZE], end[LSN_TEXT_SIZE];

	add_step(plan, xasprintf("make folder '%s'", target->data_dir));
	for (size_t i = 0; i < content->spaces.count; i++) {
		const struct base_space *space = &content->spaces.items[i];
		SCOPED(freep) char *folder = base_target_space(target, space->oid);

		add_step(plan,
		    xasprintf("put tablespace '%s' (was '%s') into '%s'",
			space->name != NULL ? space->name : space->oid, space->location, folder));
	}
	add_step(plan,
	    xasprintf("write %s, each file checked against the server's manifest",
		format_bytes(base_content_bytes(content), bytes)));
	add_step(plan,
	    xasprintf("set it apart from the live server: no archiving, no standbys, "
		      "port %u, this machine only",
		target->port));
	add_step(plan, xasprintf("write pg_control last, when all else is on the disk"));
	if (request->wants_start && request->target.kind == TARGET_BACKUP)
		add_step(plan,
		    xasprintf("start it; recovery replays WAL from %s to %s",
			lsn_format(content->start_lsn, start), lsn_format(content->end_lsn, end)));
	(void)view;
}

/* ---- recovery along the archive ------------------------------------------------------------------------ */

/* The end of the log in the place of a time behind the last commit: not what was typed. */
static void
warn_of_end(const struct restore_target *target, const struct wal_need *need,
    struct restore_plan *plan)
{
	char asked[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE], between[CLOCK_TEXT_SIZE];

	if (target->kind != TARGET_LATEST || target->time.us <= need->last_commit.us)
		return;
	add_warning(plan,
	    xasprintf("%s is behind the last commit that is known (%s, %s before): all of the log "
		      "is replayed",
		zone_format_us(target->zone, target->time, asked),
		zone_format_us(target->zone, need->last_commit, last),
		clock_format_duration(target->time.us - need->last_commit.us, between)));
}

static char *
target_words(const struct restore_target *target)
{
	const char *side = target->is_exclusive ? "just before" : "to";
	char text[CLOCK_TEXT_SIZE];

	switch (target->kind) {
	case TARGET_TIME:
		return xasprintf("%s %s", side, zone_format_us(target->zone, target->time, text));
	case TARGET_POSITION:
		return xasprintf("%s %s", side, lsn_format(target->position, text));
	case TARGET_XID:
		return xasprintf("%s transaction %s", side, target->text);
	case TARGET_MARK:
		return xasprintf("to restore point '%s'", target->text);
	case TARGET_LATEST:
		return xstrdup("as far as the log goes");
	default:
		return xstrdup("until the backup is consistent");
	}
}

static void
plan_recovery(struct postgres *pg, const struct base_content *content,
    const struct backup_view *view, const struct restore_request *request,
    struct restore_plan *plan)
{
	struct err obstacle = ERR_INIT;
	struct wal_need need = { .segments_count = 0 };
	SCOPED(freep) char *words = target_words(&request->target);
	bool is_backup = request->target.kind == TARGET_BACKUP;
	char bytes[32];

	if (is_backup && content->has_wal)
		return;
	if (request->archive == NULL || request->fetcher == NULL) {
		(void)err_set(&obstacle, ERR_REFUSED,
		    "the backup needs the log from the archive, and there is no archive");
		add_obstacle(plan, &obstacle);
		return;
	}
	if (pg_wal_need(request->archive, view->manifest, &request->target, pg->known, &need,
		&obstacle) < 0) {
		add_obstacle(plan, &obstacle);
		return;
	}
	plan->read_bytes += need.stored_bytes;
	if (is_backup)
		add_step(plan,
		    xasprintf("put %llu segments of the log into it, %s to %s",
			(unsigned long long)need.segments_count, need.first_name, need.last_name));
	else
		add_step(plan, xasprintf("recover along timeline %u %s", need.timeline, words));
	if (need.segments_count > 0 && !is_backup)
		add_step(plan,
		    xasprintf("%s to that: %s%llu segments, %s to %s, %s stored",
			request->wants_start ? "feed the server the log up"
					     : "the server fetches the log up",
			request->target.kind == TARGET_TIME ? "at most " : "",
			(unsigned long long)need.segments_count, need.first_name, need.last_name,
			format_bytes(need.stored_bytes, bytes)));
	if (need.not_sound_count > 0)
		add_warning(plan,
		    xasprintf("%llu of these segments are there, but were not read to their end "
			      "yet",
			(unsigned long long)need.not_sound_count));
	warn_of_end(&request->target, &need, plan);
}

static void
add_facts(const struct base_content *content, const struct backup_view *view,
    const struct base_target *target, struct restore_plan *plan)
{
	const struct manifest *manifest = view->manifest;
	struct disk_space space;
	struct err ignored = ERR_INIT;
	char when[CLOCK_TEXT_SIZE];

	plan->what = xasprintf("PostgreSQL %s cluster as of %s", manifest->source_version,
	    clock_format(manifest->consistent_at, when));
	plan->target = xstrdup(target->data_dir);
	plan->read_bytes = manifest_stored_bytes(manifest);
	plan->write_bytes = base_content_bytes(content);
	if (disk_space_of(target->existing, &space, &ignored) == 0)
		plan->free_bytes = space.available_bytes;
	/* The backup read, checked and compressed the same bytes: a fair guess, on the long side. */
	if (manifest->finished.us > manifest->started.us)
		plan->expected_us = manifest->finished.us - manifest->started.us;
}

int
pg_base_plan(struct postgres *pg, const struct backup_view *view,
    const struct restore_request *request, struct restore_plan *plan, struct err *err)
{
	SCOPED(base_content_done) struct base_content content = { .base = NULL };
	SCOPED(base_target_done) struct base_target target = { .port_fd = -1 };
	struct err obstacle = ERR_INIT;

	if (base_content_read(view->manifest, &content, err) < 0)
		return -1;
	if (base_target_init(&target, pg, request, &obstacle) < 0) {
		if (obstacle.kind == ERR_USAGE) {
			*err = obstacle;
			return -1;
		}
		add_obstacle(plan, &obstacle);
	}
	add_facts(&content, view, &target, plan);
	add_steps(&content, view, &target, request, plan);
	if (base_target_check(&target, &content, &obstacle) < 0)
		add_obstacle(plan, &obstacle);
	look_for_server(pg, &content, request, plan);
	if (request->wants_start && target.socket_dir == NULL) {
		(void)err_set(&obstacle, ERR_REFUSED,
		    "the path '%s' is too long for a socket in it", target.data_dir);
		(void)err_hint(&obstacle,
		    "Name a folder with a shorter path, or leave out --start.");
		add_obstacle(plan, &obstacle);
	}
	plan_recovery(pg, &content, view, request, plan);
	if (manifest_has_warning(view->manifest, "damaged_at_source"))
		add_warning(plan,
		    xasprintf("pages were damaged at the source already when this backup was "
			      "made: see 'blackstart show %s'",
			view->manifest->id));

	return 0;
}
