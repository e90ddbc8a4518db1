#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "os/file.h"
#include "repo/manifest.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/rdb_summary.h"
#include "source/redis/redis_internal.h"
#include "stream/links.h"
#include "stream/sink.h"

/*
 * Reads on after the first thing that is wrong: when the stored bytes are not those that were
 * written, their hash says so and where, which explains more than what became of the structure.
 */
struct patient_sink {
	struct sink base;
	struct rdb_reader *reader;
	struct err *first; /* ERR_NONE as long as all is well */
};

static int
patient_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct patient_sink *patient = (struct patient_sink *)sink;

	(void)err;
	if (patient->first->kind == ERR_NONE)
		(void)!rdb_reader_feed(patient->reader, data, size, patient->first);

	return 0;
}

static int
patient_finish(struct sink *sink, struct err *err)
{
	(void)sink;
	(void)err;

	return 0;
}

static void
patient_free(struct sink *sink)
{
	free(sink);
}

static const struct sink_ops patient_ops = {
	.name = "rdb",
	.write = patient_write,
	.finish = patient_finish,
	.free = patient_free,
};

static struct sink *
patient_sink_new(struct rdb_reader *reader, struct err *first)
{
	struct patient_sink *patient = xcalloc(1, sizeof(*patient));

	patient->base.ops = &patient_ops;
	patient->reader = reader;
	patient->first = first;

	return &patient->base;
}

/* ---- level 1 ------------------------------------------------------------------------------------ */

/* Read it, and with a copy descriptor also write it there. */
static int
read_file(const struct backup_view *view, const struct manifest_file *file,
    struct rdb_reader *reader, int copy_fd, struct progress *progress, struct err *err)
{
	const struct meter_options meter = { .progress = progress };
	struct err first = ERR_INIT;
	struct sink *chain = patient_sink_new(reader, &first);

	if (copy_fd >= 0)
		chain = tee_sink_new(chain, fd_sink_new(copy_fd, "dump.rdb"));
	SCOPED(sink_freep) struct sink *sink = meter_sink_new(chain, &meter);
	progress_phase(progress, "reading the RDB file", file->bytes);
	if (view->read(view, file, sink, err) < 0 || sink_finish(sink, err) < 0)
		return -1;
	if (first.kind == ERR_NONE && rdb_reader_finish(reader, &first) == 0)
		return 0;
	*err = first;

	return err_wrap(err, "'%s'", file->name);
}

static void
report_level1(const struct rdb_summary *summary, struct verify_report *report)
{
	report->level = 1;
	redis_content_add(report->details, summary);
	if (summary->unknown != NULL) {
		vec_push(&report->warnings,
		    xasprintf("structure unknown, checksum right: the file is newer than this "
			      "program (%s)",
			summary->unknown));
		return;
	}
	vec_push(&report->notes,
	    xasprintf("RDB version %u followed to its last byte: %" PRIu64 " keys; %" PRIu64
		      " packed or compressed values looked into",
		summary->version, summary->keys, summary->deep_checked));
	if (summary->deep_left_out > 0)
		vec_push(&report->notes,
		    xasprintf("%" PRIu64 " values were too big to be looked into",
			summary->deep_left_out));
	if (!summary->is_checksummed)
		vec_push(&report->warnings, xstrdup("the file has no checksum of its own"));
}

static int
open_copy(const struct verify_request *request, int *ret_fd, struct err *err)
{
	SCOPED(freep) char *path = path_join(request->scratch_dir, "dump.rdb");
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_sys(err, "cannot make '%s'", path);
	*ret_fd = fd;

	return 0;
}

static int
close_copy(int *fd, struct err *err)
{
	if (*fd >= 0 && close(TAKE_FD(*fd)) < 0)
		return err_sys(err, "cannot write the copy for the scratch server");

	return 0;
}

int
redis_verify(struct redis *redis, const struct backup_view *view,
    const struct verify_request *request, struct verify_report *report, struct err *err)
{
	const struct rdb_options options = { .is_deep = true };
	const struct manifest_file *file = redis_content_file(view->manifest, err);
	SCOPED(rdb_reader_freep) struct rdb_reader *reader = rdb_reader_new(&options);
	const struct rdb_summary *summary = rdb_reader_summary(reader);
	SCOPED(closep) int copy_fd = -1;

	report->level = -1;
	if (file == NULL)
		return -1;
	if (report->details == NULL)
		report->details = json_object();
	if (request->level >= 2 && open_copy(request, &copy_fd, err) < 0)
		return -1;
	if (read_file(view, file, reader, copy_fd, request->progress, err) < 0 ||
	    close_copy(&copy_fd, err) < 0 ||
	    redis_content_compare(view->manifest->content, summary, err) < 0)
		return -1;
	report_level1(summary, report);
	if (request->level < 2)
		return 0;
	if (redis_trial(redis, request->scratch_dir, summary, request, report, err) < 0)
		return -1;
	if (request->level > 3)
		vec_push(&report->warnings,
		    xstrdup("there are no smoke queries for Redis: level 3 is the highest"));

	return 0;
}
