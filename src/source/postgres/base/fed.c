#include "source/postgres/base/fed.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "source/postgres/base/content.h"
#include "source/postgres/wal/feed.h"

enum { SERVE_MS = 50, LEND_BYTES = 16 * 1024 * 1024 };

struct fed {
	struct feeder *feeder;
	struct progress *progress;
	uint64_t segment_bytes;
};

struct fed *
fed_open(const struct fed_options *options, struct err *err)
{
	const struct feeder_options feeder = {
		.archive = options->archive,
		.socket_path = options->socket_path,
		.uid = options->uid,
		.system_identifier = options->content->system_identifier,
	};
	SCOPED(fed_freep) struct fed *fed = xcalloc(1, sizeof(*fed));

	fed->feeder = feeder_open(&feeder, err);
	if (fed->feeder == NULL)
		return NULL;
	fed->progress = options->progress;
	fed->segment_bytes = options->content->wal_segment_bytes;
	progress_phase(fed->progress, "recovering", options->segments_count * fed->segment_bytes);

	return TAKE(fed);
}

int
fed_idle(void *context, struct err *err)
{
	struct fed *fed = context;

	if (feeder_serve(fed->feeder, SERVE_MS, err) < 0)
		return -1;
	progress_set(fed->progress, feeder_counts(fed->feeder).delivered * fed->segment_bytes);

	return 0;
}

int
fed_explain(const struct fed *fed, struct err *err)
{
	const char *doubt = feeder_last_doubt(fed->feeder);

	if (doubt[0] != '\0' && feeder_counts(fed->feeder).doubts > 0)
		(void)err_wrap(err, "%.*s", (int)strcspn(doubt, "\n"), doubt);

	return -1;
}

void
fed_free(struct fed *fed)
{
	if (fed == NULL)
		return;
	feeder_free(fed->feeder);
	free(fed);
}

int
fed_lend_program(const char *from, const char *to, uid_t uid, gid_t gid, struct err *err)
{
	SCOPED(closep) int in = open(from, O_RDONLY | O_CLOEXEC);
	SCOPED(closep) int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0500);
	ssize_t sent;

	if (in < 0)
		return err_sys(err, "cannot read '%s'", from);
	if (out < 0)
		return err_sys(err, "cannot make '%s'", to);
	while ((sent = sendfile(out, in, NULL, LEND_BYTES)) > 0)
		;
	if (sent < 0 || fchown(out, uid, gid) < 0)
		return err_sys(err, "cannot copy '%s' to '%s'", from, to);

	return 0;
}
