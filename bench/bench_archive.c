/*
 * An archive of a million pieces: bench_archive STORE STATE_DIR COUNT [files]
 *
 * Fills the index of source "postgresql" with COUNT whole segments of 16 MiB on timeline 1, one a
 * minute, with "files" also the folder with as many (empty) NAME.zst, and says how long the index
 * and the folder take to read.  What is there already stays, so that it can be run again.  The
 * store and the catalog are then those of `blackstart --store STORE` with this state folder.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "engine/archive.h"
#include "engine/engine.h"
#include "os/file.h"
#include "source/archive.h"
#include "source/source.h"
#include "store/posix.h"
#include "store/store.h"

enum {
	BATCH = 10000,
	SEGMENTS_IN_FILE = 256, /* 4 GiB of 16 MiB */
	SEGMENT_BYTES = 16 * 1024 * 1024,
};

static const struct stream_kind stream = { .name = "wal", .folder = "wal" };
static const struct source_ops ops = { .type = "postgres", .stream = &stream };

static int
fill_index(struct archive *archive, uint64_t first, uint64_t count, struct err *err)
{
	SCOPED(freep) struct piece *pieces = xcalloc(BATCH, sizeof(*pieces));
	uint64_t done = 0;

	while (done < count) {
		size_t batch = count - done < BATCH ? (size_t)(count - done) : BATCH;

		for (size_t i = 0; i < batch; i++) {
			uint64_t number = first + done + i;
			int64_t at = (INT64_C(1700000000) + (int64_t)number * 60) * US_PER_S;

			pieces[i] = (struct piece){
				.branch = 1,
				.number = number,
				.state = PIECE_SOUND,
				.stored_bytes = 4000000 + number % 1000,
				.modified = { at },
				.end_position = (number + 1) * SEGMENT_BYTES,
				.commits = 5000,
				.first_time = { at },
				.last_time = { at + 59 * US_PER_S },
			};
		}
		if (archive_index_put(archive, pieces, batch, NULL, 0, err) < 0)
			return -1;
		done += batch;
	}

	return 0;
}

static int
fill_folder(const struct archive *archive, uint64_t first, uint64_t count, struct err *err)
{
	for (uint64_t number = first; number < first + count; number++) {
		SCOPED(freep)
		char *path = xasprintf("%s/%08X%08X%08X.zst", archive->path, 1U,
		    (unsigned)(number / SEGMENTS_IN_FILE), (unsigned)(number % SEGMENTS_IN_FILE));
		SCOPED(closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		if (fd < 0)
			return err_sys(err, "cannot create '%s'", path);
	}

	return 0;
}

static void
say(const char *what, struct mono_time began)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	(void)printf("%-28s %8.3f s   peak memory %ld KiB\n", what,
	    (double)clock_elapsed_us(began) / US_PER_S, usage.ru_maxrss);
}

static int
count_name(struct archive_visitor *visitor, const char *name, struct err *err)
{
	(void)visitor;
	(void)err;

	return name[0] == '\0' ? 1 : 0;
}

static int
measure(struct archive *archive, bool has_files, struct err *err)
{
	struct archive_spans spans = { .items = { .count = 0 } };
	struct archive_listing listing = { .entries = { .count = 0 } };
	struct archive_visitor counter = { .visit = count_name };
	struct mono_time began = clock_mono();

	if (archive_index_spans(archive, &spans, err) < 0)
		return -1;
	say("spans", began);
	archive_spans_done(&spans);
	if (!has_files)
		return 0;
	began = clock_mono();
	if (archive_scan(archive, &counter, err) < 0)
		return -1;
	say("names, one by one", began);
	began = clock_mono();
	if (archive_list(archive, &listing, err) < 0)
		return -1;
	say("names, as a list", began);
	archive_listing_done(&listing);

	return 0;
}

static int
run(char **arguments, bool has_files, struct err *err)
{
	const struct posix_store_options options = { .path = arguments[0], .may_create = true };
	struct engine engine = { .state_dir = arguments[1] };
	SCOPED(freep) char *path = path_join(arguments[1], "catalog.db");
	SCOPED(store_closep) struct store *store = NULL;
	SCOPED(catalog_closep) struct catalog *catalog = NULL;
	SCOPED(engine_archive_closep) struct archive *archive = NULL;
	struct mono_time began;
	uint64_t count;

	if (parse_u64(arguments[2], 0, 100 * 1000 * 1000, &count, err) < 0 ||
	    dir_make_all(arguments[1], 0700, err) < 0)
		return -1;
	engine.store = store = posix_store_open(&options, err);
	engine.catalog = catalog = store != NULL ? catalog_open(path, err) : NULL;
	if (catalog == NULL)
		return -1;
	archive = engine_archive_open(&engine, &ops, "postgresql", "bench", err);
	if (archive == NULL)
		return -1;
	began = clock_mono();
	if (fill_index(archive, 1, count, err) < 0)
		return -1;
	say("fill the index", began);
	began = clock_mono();
	if (has_files && fill_folder(archive, 1, count, err) < 0)
		return -1;
	if (has_files)
		say("make the files", began);

	return measure(archive, has_files, err);
}

int
main(int argc, char **argv)
{
	struct err err = ERR_INIT;

	if (argc < 4) {
		(void)fprintf(stderr, "usage: bench_archive STORE STATE_DIR COUNT [files]\n");
		return 2;
	}
	if (run(argv + 1, argc > 4 && strcmp(argv[4], "files") == 0, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err.msg);
		return 1;
	}

	return 0;
}
