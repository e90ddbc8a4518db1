#include "app/cli/run_wal.h"

#include "app/cli/args.h"
#include "app/cli/cli.h"
#include "app/cli/out.h"
#include "base/err.h"
#include "base/str.h"
#include "config/config.h"
#include "engine/follow.h"
#include "engine/settle.h"
#include "source/source.h"

bool
run_wal_is_it(const struct config_job *job, const struct source *source)
{
	return source->ops->stream != NULL && str_equals(job->kind, source->ops->stream->name);
}

static int
receive(struct cli *cli, const struct config_job *job, struct source *source, struct err *err)
{
	const char *store = args_text(cli->args, "store");
	/* This very program, also when its file was replaced meanwhile. */
	const char *const settler[] = { "/proc/self/exe", "settle", source->label, "--follow", "-c",
		cli->wire.config->path, store != NULL ? "--store" : NULL, store, NULL };
	const char *const base_maker[] = { "/proc/self/exe", "run", job->name, "--base", "-c",
		cli->wire.config->path, store != NULL ? "--store" : NULL, store, NULL };
	const struct follow_job order = {
		.name = job->name,
		.source = source,
		.slot = job->slot,
		.client_name = job->standby_name,
		.heartbeat_us = job->heartbeat_us,
		.piece_age_us = job->piece_age_us,
		.base_every_us = job->base_every_us,
		.base_maker = base_maker,
		.settler = settler,
		.link = &cli->link,
	};

	return follow_run(&cli->wire.engine, &order, err);
}

static int
look(struct cli *cli, const struct config_job *job, struct source *source, unsigned *warnings,
    struct err *err)
{
	SCOPED(settle_report_done) struct settle_report report = { .check_max = 0 };

	if (settle_job(&cli->wire.engine, source, job->name, &report, err) < 0)
		return -1;
	*warnings += (unsigned)report.warnings.count;
	if (!cli->is_json && !cli->is_quiet)
		out_line("done: %llu files adopted, %llu segments read",
		    (unsigned long long)report.adopted_count,
		    (unsigned long long)report.checked_count);

	return 0;
}

int
run_wal(struct cli *cli, const struct config_job *job, struct source *source, unsigned *warnings,
    struct err *err)
{
	if (job->is_continuous)
		return receive(cli, job, source, err);

	return look(cli, job, source, warnings, err);
}
