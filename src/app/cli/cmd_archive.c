/* archive-push, archive-get: the write-ahead log on its way in and out. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/helper.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "config/config.h"
#include "engine/archive.h"
#include "os/random.h"
#include "repo/names.h"
#include "source/archive.h"
#include "source/feed.h"
#include "source/source.h"

enum {
	TAG_DIGITS = 8,
	PUSH_LEVEL = 1,
	PUSH_WORKERS_MAX = 2,
	EXIT_ABSENT = 1, /* of archive-get: what restore_command takes for the end of the archive */
};

#define DEFAULT_SOURCE "postgresql"

/* ---- whose log it is ------------------------------------------------------------------------ */

struct stream_source {
	const char *name;
	const char *type;
};

static int
ask_for_source(struct err *err)
{
	(void)err_set(err, ERR_USAGE,
	    "the configuration has several sources: which one's log is it?");

	return err_hint(err, "Name it with --source NAME; 'blackstart config show' lists them.");
}

/* The one that --source names, or the only one there is. */
static int
choose_source(const struct cli *cli, struct stream_source *ret_source, struct err *err)
{
	const struct config *config = cli->wire.config;
	const char *wanted = args_text(cli->args, "source");
	const struct config_source *only = NULL;

	*ret_source = (struct stream_source){ .name = wanted != NULL ? wanted : DEFAULT_SOURCE,
		.type = "postgres" };
	if (!name_is_valid_label(ret_source->name))
		return err_set(err, ERR_USAGE, "'%.80s' cannot be the name of a source", wanted);
	for (size_t i = 0; config != NULL && wanted == NULL && i < config->sources.count; i++) {
		const struct config_source *source = &config->sources.items[i];

		if (!str_equals(source->type, "postgres"))
			continue;
		if (only != NULL)
			return ask_for_source(err);
		only = source;
	}
	if (only != NULL)
		ret_source->name = only->name;
	if (config == NULL || config_find_source(config, ret_source->name) != NULL)
		return 0;
	(void)err_set(err, ERR_USAGE, "there is no source '%s' in the configuration",
	    ret_source->name);

	return err_hint(err, "'blackstart config show' lists the sources.");
}

/* What both commands work with; the archive is a loan of the engine's, ended by the caller. */
struct work {
	struct source *source; /* a loan */
	struct archive *archive;
};

static void
work_done(struct work *work)
{
	engine_archive_close(work->archive);
}

/*
 * As little as is needed: no catalog, no look at the store's other files, no connection.  `asking`
 * is the path that a server which recovers gave, or NULL: it may be a former system of the source.
 */
static int
work_open(struct cli *cli, struct work *work, enum wire_store_use use, const char *asking,
    char *tag, struct err *err)
{
	SCOPED(freep) char *identity = NULL;
	struct stream_source chosen;

	random_hex(tag, TAG_DIGITS);
	if (choose_source(cli, &chosen, err) < 0 ||
	    wire_open_store_alone(&cli->wire, cli->args, use, err) < 0)
		return -1;
	work->source = wire_source_offline(&cli->wire, chosen.name, chosen.type, err);
	if (work->source == NULL)
		return -1;
	if (asking != NULL && work->source->ops->asking != NULL)
		identity = work->source->ops->asking(asking);
	work->archive = engine_archive_open_of(&cli->wire.engine, work->source->ops, chosen.name,
	    identity, tag, err);

	return work->archive != NULL ? 0 : -1;
}

/* ---- archive-push ------------------------------------------------------------------------------ */

/* The setting of the source's wal job, if it has one. */
static int
compression_level(const struct cli *cli, const char *source)
{
	const struct config *config = cli->wire.config;

	for (size_t i = 0; config != NULL && i < config->jobs.count; i++) {
		const struct config_job *job = &config->jobs.items[i];

		if (job->is_supported && str_equals(job->source, source) &&
		    str_equals(job->kind, "wal"))
			return (int)job->compression;
	}

	return PUSH_LEVEL;
}

static int
cmd_archive_push(struct cli *cli, struct err *err)
{
	SCOPED(work_done) struct work work = { .archive = NULL };
	char tag[TAG_DIGITS + 1];
	struct push_request request = { .path = args_word(cli->args, 0) };
	unsigned cores = cli->wire.engine.cores;

	if (work_open(cli, &work, WIRE_WRITE, NULL, tag, err) < 0)
		return -1;
	request.run_id = tag;
	request.name = name_base(request.path);
	request.compression_level = compression_level(cli, work.source->label);
	request.workers = cores > PUSH_WORKERS_MAX ? PUSH_WORKERS_MAX : cores;
	if (work.source->ops->push(work.source, work.archive, &request, err) < 0)
		return err_wrap(err, "source '%s'", work.source->label);

	return EXIT_OK;
}

/* ---- archive-get --------------------------------------------------------------------------------- */

static int
tell_absent(const char *name)
{
	log_info("%s is not in the archive, nor anything later", name);

	return EXIT_ABSENT;
}

/* From somebody else's feeder: his word counts, and there is nothing else to go by. */
static int
get_from(const char *socket_path, const char *name, const char *path, struct err *err)
{
	SCOPED(feed_answer_done) struct feed_answer answer = { .fd = -1 };

	if (feed_ask(socket_path, name, path, &answer, err) < 0)
		return -1;
	switch (answer.status) {
	case FEED_DELIVERED:
		if (answer.text[0] != '\0')
			log_warning("%s, continuing", answer.text);
		return feed_save(&answer, path, err) < 0 ? -1 : EXIT_OK;
	case FEED_ABSENT:
		return tell_absent(name);
	case FEED_DOUBT:
	default:
		return err_set(err, ERR_PEER, "%s", answer.text);
	}
}

static int
get_directly(struct cli *cli, const struct work *work, const char *name, const char *path,
    struct err *err)
{
	const char *target = work->source->ops->stream->target;
	bool is_recovery = target != NULL && str_equals(name_base(path), target) &&
	    !args_flag(cli->args, "direct");
	SCOPED(freep)
	char *socket_path = is_recovery ? helper_socket(cli->wire.engine.store, work->archive, path)
					: NULL;
	enum fetch_result result;

	if (socket_path != NULL && helper_fetch(socket_path, name, path))
		return EXIT_OK;
	if (work->source->ops->fetch(work->source, work->archive, name, path, &result, err) < 0)
		return err_wrap(err, "source '%s'", work->source->label);
	if (result == FETCH_ABSENT)
		return tell_absent(name);
	if (socket_path != NULL)
		helper_start(socket_path, work->source, work->archive, name, path);

	return EXIT_OK;
}

static int
cmd_archive_get(struct cli *cli, struct err *err)
{
	SCOPED(work_done) struct work work = { .archive = NULL };
	const char *feed = args_text(cli->args, "feed");
	const char *name = args_word(cli->args, 0);
	const char *path = args_word(cli->args, 1);
	char tag[TAG_DIGITS + 1];

	if (feed != NULL)
		return get_from(feed, name, path, err);
	if (wire_init(&cli->wire, cli->args, err) < 0 ||
	    work_open(cli, &work, WIRE_READ, path, tag, err) < 0)
		return -1;

	return get_directly(cli, &work, name, path, err);
}

const struct command_entry cmd_archive_entries[] = {
	{ .verb = "archive-push", .run = cmd_archive_push },
	{ .verb = "archive-get", .is_bare = true, .run = cmd_archive_get },
	{ .verb = NULL },
};
