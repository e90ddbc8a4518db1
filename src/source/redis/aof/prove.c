/* Reading a stored AOF back: every file to its last byte, the manifest against what is there. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "repo/manifest.h"
#include "source/redis/aof/aof.h"
#include "source/redis/aof/manifest.h"
#include "source/redis/aof/prove.h"
#include "source/redis/aof/reader.h"
#include "source/redis/redis_internal.h"
#include "stream/links.h"
#include "stream/sink.h"

bool
aof_is_manifest(const struct manifest_file *file)
{
	return str_ends_with(file->name, ".manifest");
}

static bool
has_file(const struct manifest *manifest, const char *name)
{
	for (size_t i = 0; i < manifest->files.count; i++) {
		const char *slash = strrchr(manifest->files.items[i].name, '/');

		if (str_equals(slash != NULL ? slash + 1 : manifest->files.items[i].name, name))
			return true;
	}

	return false;
}

/* Does it name what is there. */
static int
check_manifest(const struct backup_view *view, const struct manifest_file *file, struct err *err)
{
	SCOPED(aof_manifest_done) struct aof_manifest manifest = { .files = { .count = 0 } };
	SCOPED(str_done) struct str text = STR_INIT_MAX(AOF_MANIFEST_MAX_BYTES);
	SCOPED(sink_freep) struct sink *sink = str_sink_new(&text);

	if (view->read(view, file, sink, err) < 0 || sink_finish(sink, err) < 0 ||
	    aof_manifest_parse(str_text(&text), text.size, &manifest, err) < 0)
		return -1;
	for (size_t i = 0; i < manifest.files.count; i++) {
		if (!has_file(view->manifest, manifest.files.items[i].name))
			return err_set(err, ERR_MISMATCH, "'%s' is named by '%s', and missing",
			    manifest.files.items[i].name, file->name);
	}

	return 0;
}

int
aof_prove(const struct backup_view *view, struct aof_reader *reader, aof_copy_fn *copy,
    void *context, struct err *err)
{
	const json_t *aof = json_object_get(view->manifest->content, "aof");
	const json_t *commands = json_object_get(aof, "commands");
	const struct aof_summary *summary = aof_reader_summary(reader);

	for (size_t i = 0; i < view->manifest->files.count; i++) {
		const struct manifest_file *file = &view->manifest->files.items[i];
		struct sink *chain = aof_is_manifest(file) ? null_sink_new()
							   : aof_reader_file(reader, file->name);

		if (copy != NULL)
			chain = tee_sink_new(chain, copy(context, file, err));
		SCOPED(sink_freep) struct sink *sink = chain;
		if (sink == NULL || view->read(view, file, sink, err) < 0 ||
		    sink_finish(sink, err) < 0 ||
		    (aof_is_manifest(file) && check_manifest(view, file, err) < 0))
			return -1;
	}
	if (json_is_integer(commands) &&
	    (uint64_t)json_integer_value(commands) != summary->commands)
		return err_set(err, ERR_MISMATCH,
		    "the AOF has %" PRIu64 " commands, its manifest says %lld", summary->commands,
		    (long long)json_integer_value(commands));

	return 0;
}

int
redis_aof_verify(const struct backup_view *view, const struct verify_request *request,
    struct verify_report *report, struct err *err)
{
	SCOPED(aof_reader_freep) struct aof_reader *reader = aof_reader_new();
	const struct aof_summary *summary = aof_reader_summary(reader);

	report->level = -1;
	progress_phase(request->progress, "reading the AOF", 0);
	if (aof_prove(view, reader, NULL, NULL, err) < 0)
		return -1;
	report->level = 1;
	vec_push(&report->notes,
	    xasprintf("%" PRIu64 " files followed to their last byte: %s%" PRIu64 " commands",
		summary->files, summary->has_rdb ? "an RDB file and " : "", summary->commands));
	if (summary->is_cut)
		vec_push(&report->warnings,
		    xasprintf("the last file ends inside a command or a transaction: a server that "
			      "loads it drops what is behind byte %" PRIu64,
			summary->good_bytes));
	if (request->level > 1)
		vec_push(&report->warnings,
		    xstrdup("an AOF is not loaded into a scratch server: level 1 is the highest"));

	return 0;
}
