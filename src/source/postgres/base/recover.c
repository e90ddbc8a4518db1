#include "source/postgres/base/recover.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "base/zone.h"
#include "os/file.h"
#include "source/postgres/base/content.h"
#include "source/postgres/lsn.h"
#include "source/postgres/postgres_internal.h"
#include "source/postgres/wal/choose.h"
#include "source/postgres/wal/history.h"

enum { COMMAND_MAX_BYTES = 16 * 1024, VERSION_READS_AHEAD = 150000 };

void
base_settings_done(struct base_settings *settings)
{
	for (size_t i = 0; i < settings->items.count; i++)
		free(settings->items.items[i].value);
	vec_done(&settings->items);
}

/* ---- restore_command ---------------------------------------------------------------------------------- */

/* For sh, and with the server's own '%' doubled. */
static void
add_word(struct str *to, const char *word)
{
	str_add_char(to, '\'');
	for (const char *c = word; *c != '\0'; c++) {
		if (*c == '\'')
			str_add(to, "'\\''");
		else if (*c == '%')
			str_add(to, "%%");
		else
			str_add_char(to, *c);
	}
	str_add(to, "' ");
}

/*
 * What the backup carries itself need not be in the archive, where it would look like a hole: the
 * server takes it from pg_wal when it is told that the archive has none.  Names of segments sort
 * as text; the letter keeps expr from taking them for numbers.
 */
static void
add_own_wal(struct str *to, const struct base_content *content)
{
	char name[WAL_NAME_SIZE];
	uint64_t first, last;

	if (!content->has_wal)
		return;
	wal_range_segments(content->start_lsn, content->end_lsn, content->wal_segment_bytes, &first,
	    &last);
	str_addf(to,
	    "case %%f in *.history) ;; *) expr x%%f \\> x%s >/dev/null || exit 1 ;; esac; ",
	    wal_name_format(content->end_timeline, last, content->wal_segment_bytes, name));
}

static char *
format_command(const struct base_recovery_options *options)
{
	struct str command = STR_INIT_MAX(COMMAND_MAX_BYTES);

	add_own_wal(&command, options->content);
	str_add(&command, "exec ");
	add_word(&command, options->program != NULL ? options->program : options->fetcher[0]);
	for (size_t i = 1; options->fetcher[i] != NULL; i++)
		add_word(&command, options->fetcher[i]);
	if (options->socket_path != NULL) {
		str_add(&command, "--feed ");
		add_word(&command, options->socket_path);
	}
	str_add(&command, "%f \"%p\"");

	return str_take(&command);
}

/* ---- settings ----------------------------------------------------------------------------------------- */

static void
add_setting(struct base_settings *settings, const char *name, char *value)
{
	vec_push(&settings->items, ((struct base_setting){ .name = name, .value = value }));
}

/* "2026-11-22 13:05:09.000000+00": the server must not have to know a zone. */
static char *
format_time(struct wall_time time)
{
	char text[CLOCK_TEXT_SIZE];

	return xasprintf("%.26s+00", zone_format_us(NULL, time, text));
}

static void
add_target(struct base_settings *settings, const struct restore_target *target)
{
	char lsn[LSN_TEXT_SIZE];

	switch (target->kind) {
	case TARGET_TIME:
		add_setting(settings, "recovery_target_time", format_time(target->time));
		break;
	case TARGET_POSITION:
		add_setting(settings, "recovery_target_lsn",
		    xstrdup(lsn_format(target->position, lsn)));
		break;
	case TARGET_XID:
		add_setting(settings, "recovery_target_xid", xstrdup(target->text));
		break;
	case TARGET_MARK:
		add_setting(settings, "recovery_target_name", xstrdup(target->text));
		break;
	default: /* TARGET_LATEST: to the end of what restore_command has */
		break;
	}
	add_setting(settings, "recovery_target_inclusive",
	    xstrdup(target->is_exclusive ? "off" : "on"));
}

void
base_recovery_settings(const struct base_recovery_options *options,
    struct base_settings *ret_settings)
{
	memset(ret_settings, 0, sizeof(*ret_settings));
	add_setting(ret_settings, "restore_command", format_command(options));
	add_target(ret_settings, options->target);
	add_setting(ret_settings, "recovery_target_timeline",
	    xasprintf("%u", options->target->branch));
	add_setting(ret_settings, "recovery_target_action", xstrdup("promote"));
	/* Nobody looks in before it is done; and limits that were raised later need not hold. */
	add_setting(ret_settings, "hot_standby", xstrdup("off"));
	/* A server that reads ahead would stumble over the gap before it reaches the target. */
	if (options->is_before_gap && options->content->server_version >= VERSION_READS_AHEAD)
		add_setting(ret_settings, "recovery_prefetch", xstrdup("off"));
}

/* ---- what was reached --------------------------------------------------------------------------------- */

/* The history of the new timeline says where recovery ended, and on which one it was. */
static int
read_fork(const char *data_dir, struct base_reached *reached, struct err *err)
{
	SCOPED(freep)
	char *path = xasprintf("%s/pg_wal/%08X.history", data_dir, reached->timeline);
	SCOPED(str_done) struct str text = STR_INIT_MAX(WAL_HISTORY_MAX_BYTES);
	SCOPED(wal_history_done) struct wal_history history = { .timeline = 0 };
	size_t count;

	if (file_read_all(path, WAL_HISTORY_MAX_BYTES, &text, err) < 0 ||
	    wal_history_parse(reached->timeline, str_text(&text), text.size, &history, err) < 0)
		return -1;
	count = history.parents.count;
	if (count == 0)
		return err_set(err, ERR_DATA, "the server is still on the timeline it came from");
	reached->parent = history.parents.items[count - 1].timeline;
	reached->replayed_lsn = history.parents.items[count - 1].switch_lsn;

	return 0;
}

int
base_recovery_reached(const struct postgres *server, const char *data_dir,
    struct base_reached *ret_reached, struct err *err)
{
	struct base_reached reached = { .timeline = 0 };
	SCOPED(pg_conn_freep) PGconn *conn = pg_connect(server, NULL, PG_SQL, err);
	SCOPED(freep) char *name = NULL;
	SCOPED(freep) char *commit = NULL;
	uint64_t timeline;

	if (conn == NULL)
		return -1;
	name = pg_query_value(conn,
	    "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)", err);
	if (name == NULL || parse_hex_u64(name, 8, &timeline, err) < 0)
		return -1;
	commit = pg_query_value(conn,
	    "SELECT (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::bigint", err);
	if (commit == NULL)
		return -1;
	reached.timeline = (uint32_t)timeline;
	if (commit[0] != '\0' && parse_i64(commit, 0, INT64_MAX, &reached.last_commit.us, err) < 0)
		return -1;
	if (read_fork(data_dir, &reached, err) < 0)
		return -1;
	*ret_reached = reached;

	return 0;
}

/* ---- against what was asked ----------------------------------------------------------------------------- */

static int
check_short(const struct base_reached *reached, const struct restore_target *target,
    uint64_t expected_lsn, struct err *err)
{
	char replayed[LSN_TEXT_SIZE], expected[LSN_TEXT_SIZE];

	if (target->branch != 0 && reached->parent != target->branch)
		return err_set(err, ERR_MISMATCH,
		    "recovery ended on timeline %u, and should have on timeline %u",
		    reached->parent, target->branch);
	if (reached->replayed_lsn >= expected_lsn)
		return 0;

	return err_set(err, ERR_MISMATCH,
	    "recovery came up short: it ended at %s, but the archive goes on to %s at least",
	    lsn_format(reached->replayed_lsn, replayed), lsn_format(expected_lsn, expected));
}

static int
check_past(const struct base_reached *reached, const struct restore_target *target, struct err *err)
{
	char last[CLOCK_TEXT_SIZE], asked[CLOCK_TEXT_SIZE];
	int64_t limit_us = target->time.us + (target->is_exclusive ? 0 : 1);

	if (target->time.us == 0 || reached->last_commit.us < limit_us)
		return 0;
	(void)err_set(err, ERR_MISMATCH, "recovery went too far: to the commit of %s, asked was %s",
	    zone_format_us(target->zone, reached->last_commit, last),
	    zone_format_us(target->zone, target->time, asked));
	/* There was no commit behind the target to stop at when it began; now there is. */
	if (target->kind == TARGET_LATEST)
		return err_hint(err,
		    "Commits arrived while it recovered. Restore once more, into another folder: "
		    "now it can stop before them.");

	return -1;
}

/* "0.087 s before the target", or nothing where no time was asked for. */
static char *
distance(const struct base_reached *reached, const struct restore_target *target)
{
	int64_t us = target->time.us - reached->last_commit.us;
	char text[CLOCK_TEXT_SIZE];

	if (target->time.us == 0)
		return xstrdup("");
	if (us < 60 * US_PER_S)
		return xasprintf(", %lld.%03lld s before the target", (long long)(us / US_PER_S),
		    (long long)(us % US_PER_S / 1000));

	return xasprintf(", %s before the target", clock_format_duration(us, text));
}

static void
add_details(const struct base_reached *reached, struct restore_report *report)
{
	char text[LSN_TEXT_SIZE], when[CLOCK_TEXT_SIZE];
	json_t *recovered = json_object();

	(void)json_object_set_new(recovered, "replayed_lsn",
	    json_string(lsn_format(reached->replayed_lsn, text)));
	(void)json_object_set_new(recovered, "timeline", json_integer(reached->parent));
	(void)json_object_set_new(recovered, "new_timeline", json_integer(reached->timeline));
	(void)json_object_set_new(recovered, "last_commit",
	    reached->last_commit.us != 0 ? json_string(clock_format(reached->last_commit, when))
					 : json_null());
	(void)json_object_set_new(report->details, "recovered", recovered);
}

int
base_recovery_judge(const struct base_reached *reached, const struct restore_target *target,
    uint64_t expected_lsn, struct restore_report *report, struct err *err)
{
	char text[LSN_TEXT_SIZE], last[CLOCK_TEXT_SIZE];
	SCOPED(freep) char *before = distance(reached, target);

	add_details(reached, report);
	if (check_short(reached, target, expected_lsn, err) < 0 ||
	    check_past(reached, target, err) < 0)
		return -1;
	if (reached->last_commit.us != 0)
		vec_push(&report->notes,
		    xasprintf("last commit %s%s",
			zone_format_us(target->zone, reached->last_commit, last), before));
	else
		vec_push(&report->notes,
		    xstrdup("no commit was replayed: it is the state at the backup's end"));
	vec_push(&report->notes,
	    xasprintf("replayed to %s on timeline %u; it goes on as timeline %u",
		lsn_format(reached->replayed_lsn, text), reached->parent, reached->timeline));

	return 0;
}
