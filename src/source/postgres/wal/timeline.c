#include "source/postgres/wal/timeline.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "source/archive.h"
#include "source/postgres/wal/stream.h"
#include "stream/blob.h"
#include "stream/sink.h"

enum { NAME_SIZE = sizeof("00000001.history") };

static int
put(struct archive *archive, const char *name, const struct str *text, struct err *err)
{
	SCOPED(sink_freep) struct sink *to = archive_put(archive, name, err);

	if (to == NULL || sink_write(to, str_text(text), text->size, err) < 0)
		return -1;

	return sink_finish(to, err);
}

/* Is it what is there already: 0, or ERR_REFUSED. */
static int
compare(struct archive *archive, const char *name, const struct str *text, struct err *err)
{
	SCOPED(blob_freep) struct blob *there = archive_get(archive, name, err);
	SCOPED(freep) char *data = NULL;
	bool is_same;

	if (there == NULL)
		return -1;
	is_same = there->size_bytes == text->size;
	if (is_same) {
		data = xmalloc(text->size + 1);
		if (blob_read_at(there, 0, data, text->size, err) < 0)
			return -1;
		is_same = memcmp(data, str_text(text), text->size) == 0;
	}
	if (is_same)
		return 0;
	(void)err_set(err, ERR_REFUSED,
	    "the server's history of its timeline differs from '%s/%s': two servers were promoted from one, and this is the other one",
	    archive->path, name);

	return err_hint(err,
	    "Point the source at the right server; one that goes its own way needs a source of its own.");
}

static int
store(struct archive *archive, uint32_t timeline, const struct str *text, struct err *err)
{
	char name[NAME_SIZE];

	(void)snprintf(name, sizeof(name), "%08X.history", timeline);
	SCOPED(freep) char *path = path_join(archive->path, name);
	if (!file_exists(path)) {
		if (put(archive, name, text, err) == 0)
			return 0;
		if (err->kind != ERR_EXISTS)
			return -1;
	}

	return compare(archive, name, text, err);
}

int
wal_timeline_fetch(struct wal_stream *stream, struct archive *archive, uint32_t timeline,
    struct wal_history *ret_history, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(WAL_HISTORY_MAX_BYTES + 1);
	SCOPED(wal_history_done) struct wal_history history = { .timeline = timeline };

	if (timeline > 1 &&
	    (wal_stream_history(stream, timeline, &text, err) < 0 ||
		wal_history_parse(timeline, str_text(&text), text.size, &history, err) < 0 ||
		store(archive, timeline, &text, err) < 0))
		return err_wrap(err, "timeline %u", timeline);
	*ret_history = history;
	history = (struct wal_history){ .timeline = timeline };

	return 0;
}

uint32_t
wal_timeline_after(const struct wal_history *history, uint32_t timeline)
{
	for (size_t i = 0; i + 1 < history->parents.count; i++) {
		if (history->parents.items[i].timeline == timeline)
			return history->parents.items[i + 1].timeline;
	}

	return history->timeline;
}
