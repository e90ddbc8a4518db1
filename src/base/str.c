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

static size_t
least(size_t a, size_t b, size_t c)
{
	size_t least_of_two = a < b ? a : b;

	return least_of_two < c ? least_of_two : c;
}

/*
 * How many letters must be changed, added, dropped or swapped with their neighbour to turn one
 * short word into the other (optimal string alignment), row by row.
 */
static size_t
edit_distance(const char *a, const char *b)
{
	size_t rows[3][NEAREST_MAX_WORD + 1];
	size_t b_size = strlen(b);

	for (size_t j = 0; j <= b_size; j++)
		rows[0][j] = j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		size_t *row = rows[i % 3];
		const size_t *above = rows[(i + 2) % 3];
		const size_t *two_above = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= b_size; j++) {
			size_t change = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);

			row[j] = least(change, above[j] + 1, row[j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], two_above[j - 2] + 1, row[j]);
		}
	}

	return rows[strlen(a) % 3][b_size];
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
