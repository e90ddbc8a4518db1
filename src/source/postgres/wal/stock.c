#include "source/postgres/wal/stock.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "source/archive.h"
#include "source/postgres/lsn.h"

/* More timelines than this has no cluster that lives. */
enum { LINES_MAX = 10000 };

struct scan {
	struct archive_visitor base;
	const struct archive *archive;
	uint64_t segment_bytes;
	struct wal_stock *stock;
};

void
wal_stock_done(struct wal_stock *stock)
{
	vec_done(&stock->lines);
}

static struct wal_stock_line *
find(const struct wal_stock *stock, uint32_t timeline)
{
	for (size_t i = 0; i < stock->lines.count; i++) {
		if (stock->lines.items[i].timeline == timeline)
			return &stock->lines.items[i];
	}

	return NULL;
}

const struct wal_stock_line *
wal_stock_find(const struct wal_stock *stock, uint32_t timeline)
{
	return find(stock, timeline);
}

/* The user's own copy counts when it has arrived whole: cp is no instant. */
static bool
is_whole(const struct archive *archive, const char *name, uint64_t segment_bytes)
{
	SCOPED(freep) char *path = path_join(archive->path, name);
	struct stat info;

	return stat(path, &info) == 0 && (uint64_t)info.st_size == segment_bytes;
}

/* What the name stands for; false for names that say nothing here. */
static bool
parse_name(const struct scan *scan, const char *name, uint32_t *ret_timeline, uint64_t *ret_segment,
    bool *ret_is_tail)
{
	const char *suffix = strlen(name) > WAL_NAME_SIZE - 1 ? name + WAL_NAME_SIZE - 1 : "";
	char base[WAL_NAME_SIZE];

	*ret_is_tail = str_equals(suffix, ".partial");
	if (suffix[0] != '\0' && !*ret_is_tail && !str_equals(suffix, ".zst"))
		return false;
	(void)snprintf(base, sizeof(base), "%s", name);
	if (!wal_name_parse(base, scan->segment_bytes, ret_timeline, ret_segment))
		return false;

	return suffix[0] != '\0' || is_whole(scan->archive, name, scan->segment_bytes);
}

static void
note_highest(bool *has, uint64_t *highest, uint64_t segment)
{
	if (*has && *highest >= segment)
		return;
	*has = true;
	*highest = segment;
}

static int
visit(struct archive_visitor *visitor, const char *name, struct err *err)
{
	struct scan *scan = (struct scan *)visitor;
	struct wal_stock_line *line;
	uint32_t timeline;
	uint64_t segment;
	bool is_tail;

	if (!parse_name(scan, name, &timeline, &segment, &is_tail))
		return 0;
	line = find(scan->stock, timeline);
	if (line == NULL && scan->stock->lines.count >= LINES_MAX)
		return err_set(err, ERR_LIMIT, "'%s' has WAL of more than %d timelines",
		    scan->archive->path, LINES_MAX);
	if (line == NULL) {
		line = vec_add(&scan->stock->lines);
		line->timeline = timeline;
	}
	if (is_tail)
		note_highest(&line->has_tail, &line->last_tail, segment);
	else
		note_highest(&line->has_piece, &line->last_piece, segment);

	return 0;
}

int
wal_stock_scan(struct archive *archive, uint64_t segment_bytes, struct wal_stock *ret_stock,
    struct err *err)
{
	SCOPED(wal_stock_done) struct wal_stock stock = { .lines = { .count = 0 } };
	struct scan scan = {
		.base = { .visit = visit },
		.archive = archive,
		.segment_bytes = segment_bytes,
		.stock = &stock,
	};

	if (archive_scan(archive, &scan.base, err) < 0)
		return -1;
	*ret_stock = stock;
	stock = (struct wal_stock){ .lines = { .count = 0 } };

	return 0;
}

bool
wal_stock_has_piece(const struct archive *archive, uint32_t timeline, uint64_t segment,
    uint64_t segment_bytes)
{
	char name[WAL_NAME_SIZE];
	SCOPED(freep)
	char *plain = path_join(archive->path,
	    wal_name_format(timeline, segment, segment_bytes, name));
	SCOPED(freep) char *compressed = xasprintf("%s.zst", plain);

	return file_exists(compressed) || is_whole(archive, name, segment_bytes);
}

uint64_t
wal_stock_next(const struct archive *archive, const struct wal_stock_line *line,
    uint64_t segment_bytes)
{
	uint64_t next = line->last_tail;

	if (!line->has_tail)
		return line->last_piece + 1;
	while (line->has_piece && next <= line->last_piece &&
	    wal_stock_has_piece(archive, line->timeline, next, segment_bytes))
		next++;

	return next;
}
