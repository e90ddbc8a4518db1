/* The tar reader: it may refuse anything, and must never say what the handler could not trust. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "stream/sink.h"
#include "stream/tar_push.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
	uint64_t left_bytes;
	int is_in_entry;
};

static int
on_begin(void *context, const struct tar_entry *entry, struct err *err)
{
	struct told *told = context;

	(void)err;
	assert(!told->is_in_entry);
	assert(entry->name[0] != '\0' && entry->name[0] != '/');
	assert(strstr(entry->name, "//") == NULL && strcmp(entry->name, "..") != 0);
	assert(strncmp(entry->name, "../", 3) != 0 && strstr(entry->name, "/../") == NULL);
	assert(strnlen(entry->link, sizeof(entry->link)) <= TAR_LINK_MAX);
	told->left_bytes = entry->size_bytes;
	told->is_in_entry = 1;

	return 0;
}

static int
on_data(void *context, const void *data, size_t size, struct err *err)
{
	struct told *told = context;

	(void)data;
	(void)err;
	assert(told->is_in_entry && size > 0 && size <= told->left_bytes);
	told->left_bytes -= size;

	return 0;
}

static int
on_end(void *context, struct err *err)
{
	struct told *told = context;

	(void)err;
	assert(told->is_in_entry && told->left_bytes == 0);
	told->is_in_entry = 0;

	return 0;
}

/* The first byte says in which pieces the rest comes. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct told told = { .is_in_entry = 0 };
	const struct tar_handler handler = { .begin = on_begin,
		.data = on_data,
		.end = on_end,
		.context = &told };
	size_t piece = size > 0 ? (size_t)data[0] * 7 + 1 : 1;
	struct sink *sink = tar_push_new(&handler);
	struct err err = ERR_INIT;
	int result = 0;

	for (size_t at = 1; at < size && result == 0; at += piece)
		result = sink_write(sink, data + at, size - at < piece ? size - at : piece, &err);
	if (result == 0 && sink_finish(sink, &err) == 0)
		assert(!told.is_in_entry);
	sink_free(sink);

	return 0;
}
