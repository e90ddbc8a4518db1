/*
 * How fast an RDB file is read by its reader alone: every opcode and type followed, every key
 * counted, and the checksum.
 *
 *   bench_rdb FILE [deep]
 *   bench_rdb crc64         GB/s of each way
 * Prints: name, bytes, seconds, MB/s, CPU seconds, peak MB of memory.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "source/redis/crc64.h"
#include "source/redis/rdb_reader.h"
#include "source/redis/rdb_summary.h"

enum { READ_BYTES = 1024 * 1024, ROUNDS = 2000 };

static void
report(const char *name, uint64_t bytes, struct mono_time began)
{
	double s = (double)clock_elapsed_us(began) / 1e6;
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	printf("%-16s %12" PRIu64 " bytes %7.3f s %9.1f MB/s %7.3f cpu s %4ld MB\n", name, bytes, s,
	    (double)bytes / s / 1e6,
	    (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		(double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
	    usage.ru_maxrss / 1024);
}

static void
bench_crc64(void)
{
	SCOPED(freep) uint8_t *data = xcalloc(1, READ_BYTES);
	SCOPED(freep) struct crc64 *crc = xcalloc(1, sizeof(*crc));
	struct mono_time began = clock_mono();

	crc64_init(crc);
	for (unsigned i = 0; i < ROUNDS; i++)
		crc64_add(crc, data, READ_BYTES);
	report("crc64", (uint64_t)ROUNDS * READ_BYTES, began);
	began = clock_mono();
	for (unsigned i = 0; i < ROUNDS; i++)
		crc64_add_portable(crc, data, READ_BYTES);
	report("crc64_portable", (uint64_t)ROUNDS * READ_BYTES, began);
}

static int
bench_file(const char *path, bool is_deep, struct err *err)
{
	const struct rdb_options options = { .is_deep = is_deep };
	SCOPED(freep) uint8_t *data = xmalloc(READ_BYTES);
	SCOPED(rdb_reader_freep) struct rdb_reader *reader = rdb_reader_new(&options);
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct mono_time began = clock_mono();
	ssize_t got;

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	while ((got = read(fd, data, READ_BYTES)) > 0) {
		if (rdb_reader_feed(reader, data, (size_t)got, err) < 0)
			return -1;
	}
	if (got < 0)
		return err_sys(err, "cannot read '%s'", path);
	if (rdb_reader_finish(reader, err) < 0)
		return -1;
	report("rdb", rdb_reader_summary(reader)->bytes, began);

	return 0;
}

int
main(int argc, char **argv)
{
	struct err err = ERR_INIT;

	if (argc < 2) {
		(void)fprintf(stderr, "usage: bench_rdb FILE [deep] | crc64\n");
		return 2;
	}
	if (str_equals(argv[1], "crc64")) {
		bench_crc64();
		return 0;
	}
	if (bench_file(argv[1], argc > 2, &err) < 0) {
		(void)fprintf(stderr, "error: %s\n", err.msg);
		return 1;
	}

	return 0;
}
