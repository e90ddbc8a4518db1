/*
 * Runs a fuzz target without a fuzzer: every seed file named on the command
 * line or lying in a folder named there, the empty input, and for each seed a
 * fixed number of mutations that are the same in every run. Not a search for
 * new bugs: a check, under the sanitizers, that known inputs stay harmless.
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	MUTATIONS_PER_SEED = 400,
	SEED_MAX_BYTES = 1 << 20,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct tally {
	unsigned seeds;
	unsigned inputs;
};

/* xorshift64: the sequence must be the same everywhere, nothing more is asked of it. */
static uint64_t
random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Hand on an exact copy, so that reading one byte too far is seen by the sanitizer. */
static void
input_run(const uint8_t *data, size_t size, struct tally *tally)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL)
		abort();
	if (size > 0)
		memcpy(copy, data, size);
	(void)LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	tally->inputs++;
}

/* Change `data` in one way; returns its new size, never above the old one. */
static size_t
mutate_once(uint8_t *data, size_t size, uint64_t *state)
{
	static const uint8_t telling[] = { 0x00, 0x01, 0x7f, 0x80, 0xff, '\n', '"', '0', '-', ' ' };
	size_t at = (size_t)(random_next(state) % size);
	size_t other = (size_t)(random_next(state) % size);
	size_t run = 1 + (size_t)(random_next(state) % 16);

	switch (random_next(state) % 6) {
	case 0:
		data[at] ^= (uint8_t)(1u << (random_next(state) % 8));
		return size;
	case 1:
		data[at] = telling[random_next(state) % sizeof(telling)];
		return size;
	case 2:
		data[at] = (uint8_t)random_next(state);
		return size;
	case 3:
		return at;
	case 4:
		run = run < size - at ? run : size - at;
		memmove(data + at, data + at + run, size - at - run);
		return size - run;
	default:
		run = run < size - at ? run : size - at;
		run = run < size - other ? run : size - other;
		memmove(data + at, data + other, run);
		return size;
	}
}

static void
seed_mutate(const uint8_t *data, size_t size, struct tally *tally)
{
	uint64_t state = 0x9e3779b97f4a7c15u ^ size;
	uint8_t *changed = malloc(size > 0 ? size : 1);

	if (changed == NULL)
		abort();
	for (unsigned i = 0; size > 0 && i < MUTATIONS_PER_SEED; i++) {
		size_t now = size;

		memcpy(changed, data, size);
		for (unsigned n = 1 + i % 4; n > 0 && now > 0; n--)
			now = mutate_once(changed, now, &state);
		input_run(changed, now, tally);
	}
	free(changed);
}

static int
seed_run_file(const char *path, struct tally *tally)
{
	FILE *file = fopen(path, "rbe");
	uint8_t *data = malloc(SEED_MAX_BYTES);
	size_t size;

	if (file == NULL || data == NULL) {
		fprintf(stderr, "cannot read seed '%s': %s\n", path, strerror(errno));
		if (file != NULL)
			(void)fclose(file);
		free(data);
		return -1;
	}
	size = fread(data, 1, SEED_MAX_BYTES, file);
	(void)fclose(file);

	tally->seeds++;
	input_run(data, size, tally);
	seed_mutate(data, size, tally);
	free(data);
	return 0;
}

static int
seed_run_folder(const char *path, struct tally *tally)
{
	struct dirent **entries = NULL;
	int count = scandir(path, &entries, NULL, alphasort);
	int failed = count < 0 ? -1 : 0;

	if (count < 0)
		fprintf(stderr, "cannot read folder '%s': %s\n", path, strerror(errno));
	for (int i = 0; i < count; i++) {
		char *file = NULL;

		if (entries[i]->d_name[0] != '.') {
			if (asprintf(&file, "%s/%s", path, entries[i]->d_name) < 0)
				abort();
			if (seed_run_file(file, tally) < 0)
				failed = -1;
			free(file);
		}
		free(entries[i]);
	}
	free(entries);
	return failed;
}

static int
seed_run(const char *path, struct tally *tally)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		fprintf(stderr, "cannot find seeds '%s': %s\n", path, strerror(errno));
		return -1;
	}
	return S_ISDIR(st.st_mode) ? seed_run_folder(path, tally) : seed_run_file(path, tally);
}

int
main(int argc, char **argv)
{
	struct tally tally = { 0 };

	input_run((const uint8_t *)"", 0, &tally);
	for (int i = 1; i < argc; i++) {
		if (seed_run(argv[i], &tally) < 0)
			return 1;
	}
	if (tally.seeds == 0) {
		fprintf(stderr, "no seed to run: put some into the target's corpus folder\n");
		return 1;
	}
	printf("%u seeds, %u inputs\n", tally.seeds, tally.inputs);
	return 0;
}
