#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { STR_FIRST_CAPACITY = 64, NEAREST_MAX_WORD = 63 };

static size_t
max_of(const struct str *str)
{
	return str->max > 0 ? str->max : STR_DEFAULT_MAX;
}

/* Make room for `size` more bytes and the NUL; false if the maximum forbids it. */
static bool
reserve(struct str *str, size_t size)
{
	size_t wanted;
	size_t capacity = str->capacity > 0 ? str->capacity : STR_FIRST_CAPACITY;

	if (size > max_of(str) - str->size) {
		str->is_full = true;
		return false;
	}
	wanted = str->size + size + 1;
	if (wanted <= str->capacity)
		return true;
	while (capacity < wanted)
		capacity *= 2;
	str->data = xrealloc(str->data, capacity);
	str->capacity = capacity;

	return true;
}

void
str_add_bytes(struct str *str, const void *data, size_t size)
{
	if (!reserve(str, size))
		return;
	if (size > 0)
		memcpy(str->data + str->size, data, size);
	str->size += size;
	str->data[str->size] = '\0';
}

void
str_add(struct str *str, const char *text)
{
	str_add_bytes(str, text, strlen(text));
}

void
str_add_char(struct str *str, char c)
{
	str_add_bytes(str, &c, 1);
}

void
str_addf(struct str *str, const char *format, ...)
{
	char small[256];
	va_list args;
	va_list again;
	int size;

	va_start(args, format);
	va_copy(again, args);
	size = vsnprintf(small, sizeof(small), format, args);
	va_end(args);
	if (size >= 0 && (size_t)size < sizeof(small)) {
		str_add_bytes(str, small, (size_t)size);
	} else if (size >= 0 && reserve(str, (size_t)size)) {
		(void)vsnprintf(str->data + str->size, (size_t)size + 1, format, again);
		str->size += (size_t)size;
	}
	va_end(again);
}

void
str_add_hex(struct str *str, const uint8_t *data, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		str_add_char(str, digits[data[i] >> 4]);
		str_add_char(str, digits[data[i] & 15]);
	}
}

void
str_cut(struct str *str, size_t size)
{
	if (size < str->size) {
		str->size = size;
		str->data[size] = '\0';
	}
	str->is_full = false;
}

const char *
str_text(const struct str *str)
{
	return str->data != NULL ? str->data : "";
}

bool
str_is_full(const struct str *str)
{
	return str->is_full;
}

char *
str_take(struct str *str)
{
	char *text = str->data != NULL ? str->data : xstrdup("");

	*str = (struct str){ .max = str->max };

	return text;
}

void
str_done(struct str *str)
{
	free(str->data);
	*str = (struct str){ .max = str->max };
}

bool
str_equals(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;

	return strcmp(a, b) == 0;
}

bool
str_starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool
str_ends_with(const char *text, const char *suffix)
{
	size_t size = strlen(text);
	size_t suffix_size = strlen(suffix);

	return size >= suffix_size && strcmp(text + size - suffix_size, suffix) == 0;
}

/* Levenshtein distance of two short words, one row at a time. */
static size_t
edit_distance(const char *a, const char *b)
{
	size_t row[NEAREST_MAX_WORD + 1];
	size_t b_size = strlen(b);

	for (size_t j = 0; j <= b_size; j++)
		row[j] = j;
	for (size_t i = 0; a[i] != '\0'; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < b_size; j++) {
			size_t best = diagonal + (a[i] == b[j] ? 0 : 1);

			diagonal = row[j + 1];
			if (row[j + 1] + 1 < best)
				best = row[j + 1] + 1;
			if (row[j] + 1 < best)
				best = row[j] + 1;
			row[j + 1] = best;
		}
	}

	return row[b_size];
}

const char *
str_nearest(const char *word, const char *const *candidates, size_t count)
{
	const char *nearest = NULL;
	size_t size = strlen(word);
	size_t best = size < 4 ? 2 : 1 + size / 3; /* a distance must be smaller than this */

	if (size > NEAREST_MAX_WORD)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t distance;

		if (strlen(candidates[i]) > NEAREST_MAX_WORD)
			continue;
		distance = edit_distance(word, candidates[i]);
		if (distance < best) {
			best = distance;
			nearest = candidates[i];
		}
	}

	return nearest;
}
