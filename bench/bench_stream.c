/*
 * How fast the stream room is on this machine, against what its parts allow.
 *
 *   bench_stream crc32c                      GB/s of each way
 *   bench_stream sha256                      GB/s
 *   bench_stream copy FILE FOLDER            into a file sink, no compression
 *   bench_stream store FILE FOLDER [WORKERS [LEVEL]]     meter > zstd > digest > file
 *   bench_stream expand FILE.zst [WORKERS]   into nothing
 * Each prints: name, plain bytes, seconds, MB/s of plain bytes, CPU seconds, peak MB of memory.
 */
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "stream/blob.h"
#include "stream/crc32c.h"
#include "stream/digest.h"
#include "stream/expand.h"
#include "stream/links.h"
#include "stream/sink.h"

enum {
	BUFFER_BYTES = 1024 * 1024,
	ROUNDS = 4000,
	READ_BYTES = 256 * 1024,
};

static double
cpu_s(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);

	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static long
peak_mb(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);

	return usage.ru_maxrss / 1024;
}

static void
report(const char *name, uint64_t bytes, struct mono_time began, double cpu_before)
{
	double s = (double)clock_elapsed_us(began) / 1e6;

	printf("%-24s %12llu bytes %7.3f s %9.1f MB/s %7.3f cpu s %4ld MB\n", name,
	    (unsigned long long)bytes, s, (double)bytes / s / 1e6, cpu_s() - cpu_before, peak_mb());
}

static int
bench_crc32c(void)
{
	SCOPED(freep) uint8_t *data = xcalloc(1, BUFFER_BYTES);
	struct mono_time began = clock_mono();
	double cpu = cpu_s();
	uint32_t crc = 0;

	for (int i = 0; i < 10 * ROUNDS; i++)
		crc = crc32c(crc, data, BUFFER_BYTES);
	report("crc32c", (uint64_t)10 * ROUNDS * BUFFER_BYTES, began, cpu);
	began = clock_mono();
	cpu = cpu_s();
	for (int i = 0; i < ROUNDS; i++)
		crc = crc32c_portable(crc, data, BUFFER_BYTES);
	report("crc32c_portable", (uint64_t)ROUNDS * BUFFER_BYTES, began, cpu);

	return crc != 1 ? 0 : 1;
}

static int
bench_sha256(struct err *err)
{
	SCOPED(freep) uint8_t *data = xcalloc(1, BUFFER_BYTES);
	struct mono_time began = clock_mono();
	double cpu = cpu_s();
	uint8_t sha256[DIGEST_SHA256_BYTES];

	for (int i = 0; i < ROUNDS; i++) {
		if (EVP_Digest(data, BUFFER_BYTES, sha256, NULL, EVP_sha256(), NULL) != 1)
			return err_set(err, ERR_BUG, "cannot hash");
	}
	report("sha256", (uint64_t)ROUNDS * BUFFER_BYTES, began, cpu);

	return 0;
}

/* Read a file in small pieces, as a driver would, and push it through `chain`. */
static int
push_file(const char *path, struct sink *chain, uint64_t *ret_bytes, struct err *err)
{
	SCOPED(freep) char *data = xmalloc(READ_BYTES);
	FILE *file = fopen(path, "rbe");
	size_t got;
	int result = 0;

	if (file == NULL)
		return err_sys(err, "cannot open '%s'", path);
	(void)setvbuf(file, NULL, _IONBF, 0);
	while (result == 0 && (got = fread(data, 1, READ_BYTES, file)) > 0) {
		result = sink_write(chain, data, got, err);
		*ret_bytes += got;
	}
	(void)fclose(file);

	return result < 0 ? -1 : sink_finish(chain, err);
}

static int
bench_store(const char *name, const char *path, const char *folder, int level, unsigned workers,
    struct err *err)
{
	struct digest digest = DIGEST_INIT;
	const struct file_sink_options file = { .folder = folder,
		.name = "bench.out",
		.run_id = "bench",
		.mode = 0600,
		.gid = -1 };
	const struct zstd_options zstd = { .level = level, .workers = workers };
	const struct meter_options meter = { .progress = NULL };
	struct mono_time began = clock_mono();
	double cpu = cpu_s();
	uint64_t bytes = 0;
	struct sink *chain = file_sink_new(&file, err);

	if (chain != NULL)
		chain = digest_sink_new(chain, &digest, err);
	if (chain != NULL && level > 0)
		chain = zstd_sink_new(chain, &zstd, err);
	if (chain == NULL)
		return -1;
	SCOPED(sink_freep) struct sink *all = meter_sink_new(chain, &meter);
	if (push_file(path, all, &bytes, err) < 0)
		return -1;
	report(name, bytes, began, cpu);
	printf("%-24s %12llu bytes stored\n", "", (unsigned long long)digest.bytes);
	digest_done(&digest);

	return 0;
}

static int
bench_expand(const char *path, unsigned workers, struct err *err)
{
	struct digest digest = DIGEST_INIT;
	uint64_t bytes = 0;
	const struct expand_options options = { .is_zstd = true,
		.workers = workers,
		.ret_digest = &digest };
	const struct meter_options meter = { .ret_bytes = &bytes };
	SCOPED(sink_freep) struct sink *to = meter_sink_new(null_sink_new(), &meter);
	struct mono_time began = clock_mono();
	double cpu = cpu_s();
	SCOPED(blob_freep) struct blob *blob = blob_open_file(path, path, err);

	if (blob == NULL || expand(blob, &options, to, err) < 0)
		return -1;
	report("expand", bytes, began, cpu);
	digest_done(&digest);

	return 0;
}

/* The number argv[at], or `other` when it is not given. */
static int
number(int argc, char **argv, int at, unsigned other, unsigned *ret_value, struct err *err)
{
	*ret_value = other;

	return argc > at ? parse_unsigned(argv[at], 0, 64, ret_value, err) : 0;
}

static int
run(int argc, char **argv, struct err *err)
{
	const char *what = argc > 1 ? argv[1] : "";
	unsigned workers;
	unsigned level;

	if (strcmp(what, "crc32c") == 0)
		return bench_crc32c();
	if (strcmp(what, "sha256") == 0)
		return bench_sha256(err);
	if (strcmp(what, "copy") == 0 && argc == 4)
		return bench_store("copy", argv[2], argv[3], 0, 0, err);
	if (strcmp(what, "store") == 0 && argc >= 4) {
		if (number(argc, argv, 4, 2, &workers, err) < 0 ||
		    number(argc, argv, 5, 1, &level, err) < 0)
			return -1;
		return bench_store("store", argv[2], argv[3], (int)level, workers, err);
	}
	if (strcmp(what, "expand") == 0 && argc >= 3)
		return number(argc, argv, 3, 2, &workers, err) < 0
		    ? -1
		    : bench_expand(argv[2], workers, err);

	return err_set(err, ERR_USAGE, "the first comment of bench_stream.c says what to give");
}

int
main(int argc, char **argv)
{
	struct err err = ERR_INIT;

	if (run(argc, argv, &err) == 0)
		return 0;
	(void)fprintf(stderr, "bench_stream: %s\n", err.msg);

	return 1;
}
