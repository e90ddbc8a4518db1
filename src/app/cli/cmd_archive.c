/* archive-push, archive-get, settle: the write-ahead log on its way in and out. */
#include "app/cli/cli.h"
#include "base/err.h"

static int
cmd_not_built(struct cli *cli, struct err *err)
{
	(void)cli;

	return err_set(err, ERR_UNSUPPORTED, "this command is not built yet");
}

const struct command_entry cmd_archive_entries[] = {
	{ .verb = "archive-push", .run = cmd_not_built },
	{ .verb = "archive-get", .run = cmd_not_built },
	{ .verb = "settle", .run = cmd_not_built },
	{ .verb = "window", .run = cmd_not_built },
	{ .verb = NULL },
};
