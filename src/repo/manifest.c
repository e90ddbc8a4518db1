#include "repo/manifest.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum { WARNING_TEXT_MAX = 2000 };

struct manifest *
manifest_new(void)
{
	struct manifest *manifest = xcalloc(1, sizeof(*manifest));

	manifest->content = json_object();

	return manifest;
}

void
manifest_add_warning(struct manifest *manifest, const char *code, const char *format, ...)
{
	struct manifest_warning *warning = vec_add(&manifest->warnings);
	char text[WARNING_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	warning->code = xstrdup(code);
	warning->text = xstrdup(text);
}

bool
manifest_has_warning(const struct manifest *manifest, const char *code)
{
	for (size_t i = 0; i < manifest->warnings.count; i++) {
		if (str_equals(manifest->warnings.items[i].code, code))
			return true;
	}

	return false;
}

const struct manifest_file *
manifest_find_file(const struct manifest *manifest, const char *name)
{
	for (size_t i = 0; i < manifest->files.count; i++) {
		if (str_equals(manifest->files.items[i].name, name))
			return &manifest->files.items[i];
	}

	return NULL;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *
manifest_repeated_name(const struct manifest *manifest)
{
	size_t count = manifest->files.count;
	SCOPED(freep) const char **names = xcalloc(count, sizeof(*names));

	for (size_t i = 0; i < count; i++)
		names[i] = manifest->files.items[i].name;
	qsort(names, count, sizeof(*names), compare_names);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(names[i - 1], names[i]) == 0)
			return names[i];
	}

	return NULL;
}

/* Sums of sizes from outside stop at the top instead of wrapping round. */
static uint64_t
add_saturated(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return mem_add(a, b, &sum) ? sum : UINT64_MAX;
}

uint64_t
manifest_stored_bytes(const struct manifest *manifest)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < manifest->files.count; i++) {
		const struct manifest_file *file = &manifest->files.items[i];

		if (file->of == NULL)
			sum = add_saturated(sum, file->bytes);
	}

	return sum;
}

uint64_t
manifest_content_bytes(const struct manifest *manifest)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < manifest->files.count; i++)
		sum = add_saturated(sum, manifest->files.items[i].content_bytes);

	return sum;
}

static void
files_free(struct manifest *manifest)
{
	for (size_t i = 0; i < manifest->files.count; i++) {
		struct manifest_file *file = &manifest->files.items[i];

		free(file->name);
		free(file->compression);
		free(file->of);
		vec_done(&file->block_crc32c);
		json_decref(file->unknown);
	}
	vec_done(&manifest->files);
}

static void
warnings_free(struct manifest *manifest)
{
	for (size_t i = 0; i < manifest->warnings.count; i++) {
		struct manifest_warning *warning = &manifest->warnings.items[i];

		free(warning->code);
		free(warning->text);
		json_decref(warning->unknown);
	}
	vec_done(&manifest->warnings);
}

void
manifest_free(struct manifest *manifest)
{
	if (manifest == NULL)
		return;
	files_free(manifest);
	warnings_free(manifest);
	free(manifest->id);
	free(manifest->job);
	free(manifest->kind);
	free(manifest->source_name);
	free(manifest->source_type);
	free(manifest->source_identity);
	free(manifest->source_version);
	free(manifest->tool_name);
	free(manifest->tool_version);
	json_decref(manifest->content);
	json_decref(manifest->unknown);
	json_decref(manifest->source_unknown);
	json_decref(manifest->tool_unknown);
	free(manifest);
}
