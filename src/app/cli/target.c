#include "app/cli/target.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "base/zone.h"
#include "config/config.h"
#include "source/source.h"

enum { PATH_BYTES = 4096 };

/* ---- the target ----------------------------------------------------------------------------------------- */

/* Only one of these can be meant. */
static const char *const kinds[] = { "at", "lsn", "xid", "point" };

static int
find_kind(const struct args *args, const char **ret_kind, struct err *err)
{
	*ret_kind = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (args_text(args, kinds[i]) == NULL)
			continue;
		if (*ret_kind != NULL)
			return err_set(err, ERR_USAGE, "--%s and --%s exclude each other",
			    *ret_kind, kinds[i]);
		*ret_kind = kinds[i];
	}

	return 0;
}

/* Does the text end in an offset: "Z", "+01", "-05:30" behind the time of day. */
static bool
has_offset(const char *text)
{
	const char *colon = strchr(text, ':');

	return colon != NULL && strpbrk(colon, "zZ+-") != NULL;
}

static int
parse_time(const struct cli *cli, const char *text, struct restore_target *target, struct err *err)
{
	const struct zone *zone = cli->wire.engine.zone;
	char when[CLOCK_TEXT_SIZE];

	if (str_equals(text, "latest")) {
		target->kind = TARGET_LATEST;
		return 0;
	}
	if (zone_parse(zone, text, &target->time, err) < 0)
		return -1;
	target->kind = TARGET_TIME;
	if (!has_offset(text))
		log_info("'%s' is taken as %s, in the zone %s", text,
		    zone_format(zone, target->time, when), zone_name(zone));

	return 0;
}

/*
 * "16/B374D848": two numbers in hex; or a plain one in decimal.  Which of them the source counts by
 * is seen when it is chosen what is needed (recovery_choose).
 */
static int
parse_position(const char *text, struct restore_target *target, struct err *err)
{
	const char *slash = strchr(text, '/');
	SCOPED(freep) char *high = NULL;
	uint64_t upper, lower;

	if (slash == NULL && strspn(text, "0123456789") == strlen(text)) {
		target->kind = TARGET_POSITION;
		return parse_u64(text, 0, INT64_MAX, &target->position, err);
	}
	if (slash != NULL)
		high = xstrndup(text, (size_t)(slash - text));
	if (high == NULL || parse_hex_u64(high, 8, &upper, err) < 0 ||
	    parse_hex_u64(slash + 1, 8, &lower, err) < 0) {
		(void)err_set(err, ERR_USAGE, "'%.60s' is not a place in the log", text);
		return err_hint(err, "It looks like 0/5A000028, as pg_current_wal_lsn() shows it.");
	}
	target->kind = TARGET_POSITION;
	target->position = upper << 32 | lower;

	return 0;
}

int
cli_target(const struct cli *cli, struct restore_target *ret_target, struct err *err)
{
	struct restore_target target = {
		.kind = TARGET_BACKUP,
		.is_exclusive = args_flag(cli->args, "exclusive"),
		.branch = args_number(cli->args, "timeline", 0),
		.zone = cli->wire.engine.zone,
	};
	const char *kind;
	int result = 0;

	if (find_kind(cli->args, &kind, err) < 0)
		return -1;
	if (kind == NULL && (target.is_exclusive || target.branch != 0)) {
		(void)err_set(err, ERR_USAGE, "--%s needs a target",
		    target.is_exclusive ? "exclusive" : "timeline");
		return err_hint(err,
		    "Name it with --at, --lsn, --xid or --point; --at latest is "
		    "the end of the log.");
	}
	if (kind != NULL) {
		target.text = args_text(cli->args, kind);
		if (str_equals(kind, "at"))
			result = parse_time(cli, target.text, &target, err);
		else if (str_equals(kind, "lsn"))
			result = parse_position(target.text, &target, err);
		else
			target.kind = str_equals(kind, "xid") ? TARGET_XID : TARGET_MARK;
	}
	if (result == 0)
		*ret_target = target;

	return result;
}

/* ---- who fetches ------------------------------------------------------------------------------------------ */

/* The server starts it from its own folder: nothing may be relative. */
static char *
store_path(const struct cli *cli)
{
	const char *path = args_text(cli->args, "store");

	if (path == NULL && cli->wire.config != NULL)
		path = cli->wire.config->store.path;

	return path != NULL ? realpath(path, NULL) : NULL;
}

int
fetcher_init(struct fetcher *fetcher, const struct cli *cli, const char *source, struct err *err)
{
	char self[PATH_BYTES];
	ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
	SCOPED(freep) char *store = store_path(cli);

	if (size <= 0)
		return err_sys(err, "cannot tell where this program lies");
	self[size] = '\0';
	if (store == NULL)
		return err_sys(err, "cannot tell where the store lies");
	vec_push(&fetcher->words, xstrdup(self));
	vec_push(&fetcher->words, xstrdup("archive-get"));
	vec_push(&fetcher->words, xstrdup("--store"));
	vec_push(&fetcher->words, TAKE(store));
	vec_push(&fetcher->words, xstrdup("--source"));
	vec_push(&fetcher->words, xstrdup(source));
	vec_push(&fetcher->words, NULL);
	fetcher->argv = (const char *const *)fetcher->words.items;

	return 0;
}

void
fetcher_done(struct fetcher *fetcher)
{
	for (size_t i = 0; i < fetcher->words.count; i++)
		free(fetcher->words.items[i]);
	vec_done(&fetcher->words);
}
