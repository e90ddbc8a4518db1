#include "fixture.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

uint64_t
fixture_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;

	return *state;
}

uint8_t *
fixture_noise(size_t size, uint64_t seed)
{
	uint8_t *data = xmalloc(size);
	uint64_t state = seed * 2 + 1;

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(fixture_random(&state) >> 24);

	return data;
}

uint8_t *
fixture_text(size_t size, uint64_t seed)
{
	static const char *const words[] = { "pump", "valve", " 42.1 ", "\n2025-11-25", "north",
		"\t" };
	uint8_t *data = xmalloc(size);
	uint64_t state = seed * 2 + 1;
	size_t at = 0;

	while (at < size) {
		const char *word = words[fixture_random(&state) % 6];
		size_t length = strlen(word);

		if (length > size - at)
			length = size - at;
		memcpy(data + at, word, length);
		at += length;
	}

	return data;
}

static int
memory_read_at(struct blob *base, uint64_t offset, void *data, size_t size, struct err *err)
{
	struct memory_blob *blob = (struct memory_blob *)base;

	if (offset + size > blob->fails_at)
		return err_set(err, ERR_IO, "cannot read '%s'", base->name);
	if (offset + size > base->size_bytes)
		return err_set(err, ERR_DATA, "'%s' is too short", base->name);
	memcpy(data, blob->data + offset, size);

	return 0;
}

static void
memory_free(struct blob *base)
{
	(void)base;
}

void
memory_blob_init(struct memory_blob *blob, const uint8_t *data, size_t size)
{
	static const struct blob_ops ops = { .read_at = memory_read_at, .free = memory_free };

	*blob = (struct memory_blob){
		.base = { .ops = &ops, .name = "memory", .size_bytes = size },
		.data = data,
		.fails_at = UINT64_MAX,
	};
}

static int
probe_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct probe *probe = (struct probe *)sink;

	if (probe->pause_ms > 0)
		(void)poll(NULL, 0, (int)probe->pause_ms);
	if (probe->size + size > probe->fails_at)
		return err_set(err, ERR_SPACE, "the probe is full");
	if (probe->size + size > probe->capacity) {
		probe->capacity = (probe->size + size) * 2;
		probe->data = xrealloc(probe->data, probe->capacity);
	}
	memcpy(probe->data + probe->size, data, size);
	probe->size += size;

	return 0;
}

static int
probe_finish(struct sink *sink, struct err *err)
{
	struct probe *probe = (struct probe *)sink;

	if (probe->fails_in_finish)
		return err_set(err, ERR_SPACE, "the probe cannot finish");
	probe->is_finished = true;

	return 0;
}

static void
probe_free(struct sink *sink)
{
	struct probe *probe = (struct probe *)sink;

	if (probe->ret_is_freed != NULL)
		atomic_store(probe->ret_is_freed, true);
	free(probe->data);
	free(probe);
}

struct probe *
probe_new(void)
{
	static const struct sink_ops ops = { .name = "probe",
		.write = probe_write,
		.finish = probe_finish,
		.free = probe_free };
	struct probe *probe = xcalloc(1, sizeof(*probe));

	probe->base.ops = &ops;
	probe->fails_at = UINT64_MAX;

	return probe;
}
