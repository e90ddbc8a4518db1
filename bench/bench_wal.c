/*
 * How fast WAL is checked.
 *
 *   bench_wal [-d DEPTH] [-s START] FILE...    consecutive segments, by their names
 * Prints: bytes, seconds, MB/s, and what was found.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/reader.h"

/* What still lies in the second cache when it is checked. */
enum { READ_BYTES = 128 * 1024 };

static uint64_t
file_bytes(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static const char *
base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static int
read_segment(struct wal_reader *reader, const char *path, uint8_t *buffer, struct err *err)
{
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	while ((got = read(fd, buffer, READ_BYTES)) > 0) {
		if (wal_reader_feed(reader, buffer, (size_t)got, err) < 0)
			return -1;
	}

	return got < 0 ? err_sys(err, "cannot read '%s'", path) : 0;
}

static void
print_summary(const struct wal_summary *summary, uint64_t bytes, struct mono_time began)
{
	double s = (double)clock_elapsed_us(began) / 1e6;
	char first[LSN_TEXT_SIZE], last[LSN_TEXT_SIZE], end[LSN_TEXT_SIZE], time[CLOCK_TEXT_SIZE];

	(void)printf("%llu bytes %.3f s %.0f MB/s depth %d records %llu first %s last %s end %s "
		     "commits %llu latest %s\n",
	    (unsigned long long)bytes, s, (double)bytes / 1e6 / s, (int)summary->depth,
	    (unsigned long long)summary->records, lsn_format(summary->first_lsn, first),
	    lsn_format(summary->last_lsn, last), lsn_format(summary->end_lsn, end),
	    (unsigned long long)summary->commits, clock_format(summary->latest_commit, time));
}

int
main(int argc, char **argv)
{
	struct wal_options options = { .depth = WAL_DEPTH_RECORDS };
	SCOPED(wal_reader_freep) struct wal_reader *reader = NULL;
	SCOPED(freep) uint8_t *buffer = xmalloc(READ_BYTES);
	struct err err = ERR_INIT;
	struct mono_time began;
	uint64_t bytes = 0;
	int result = 0;
	int option;

	while ((option = getopt(argc, argv, "d:s:")) != -1) {
		if (option == 'd')
			options.depth = (enum wal_depth)(optarg[0] - '0');
		else if (option != 's' || lsn_parse(optarg, &options.start_lsn, &err) < 0)
			return 2;
	}
	if (optind == argc)
		return 2;
	options.segment_bytes = file_bytes(argv[optind]);
	if (!wal_name_parse(base_name(argv[optind]), options.segment_bytes, &options.timeline,
		&options.segment))
		return 2;
	reader = wal_reader_new(&options);
	began = clock_mono();
	for (int i = optind; i < argc && result == 0; i++, bytes += options.segment_bytes)
		result = read_segment(reader, argv[i], buffer, &err);
	if (result == 0)
		result = wal_reader_finish(reader, &err);
	print_summary(wal_reader_summary(reader), bytes, began);
	if (result < 0)
		(void)fprintf(stderr, "%s\n", err.msg);

	return result == 0 ? 0 : 1;
}
