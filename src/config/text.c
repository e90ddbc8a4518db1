#include <string.h>

#include "config/node_internal.h"

/* Where the scan stands; columns count characters, as the YAML parser does. */
struct scan {
	const unsigned char *at;
	const unsigned char *end;
	struct config_place place;
	bool is_indentation; /* nothing but blanks so far in this line */
};

static bool
is_continuation(const struct scan *scan, size_t offset)
{
	return scan->at + offset < scan->end && (scan->at[offset] & 0xc0) == 0x80;
}

/* Decode one character; its size in bytes, or 0 when it is not UTF-8. */
static size_t
decode_utf8(const struct scan *scan, unsigned *ret_character)
{
	static const unsigned smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned first = scan->at[0];
	unsigned character;
	size_t size;

	if (first < 0x80) {
		*ret_character = first;
		return 1;
	}
	size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	character = first & (0x7fu >> size);
	for (size_t i = 1; i < size; i++) {
		if (!is_continuation(scan, i))
			return 0;
		character = character << 6 | (scan->at[i] & 0x3f);
	}
	if (character < smallest[size] || character > 0x10ffff ||
	    (character >= 0xd800 && character <= 0xdfff))
		return 0;
	*ret_character = character;

	return size;
}

/* Control characters, invisible line ends, and what Unicode says is no character. */
static bool
is_refused(unsigned character)
{
	if (character < 0x20)
		return character != '\t' && character != '\n' && character != '\r';

	return (character >= 0x7f && character <= 0x9f) || character == 0x2028 ||
	    character == 0x2029 || character == 0xfeff || character == 0xfffe ||
	    character == 0xffff;
}

static void
advance(struct scan *scan, unsigned character, size_t size)
{
	bool is_line_end = character == '\n' ||
	    (character == '\r' && !(scan->at + 1 < scan->end && scan->at[1] == '\n'));

	scan->at += size;
	scan->place.column++;
	if (character != ' ' && character != '\t')
		scan->is_indentation = false;
	if (is_line_end) {
		scan->place.line++;
		scan->place.column = 1;
		scan->is_indentation = true;
	}
}

bool
text_check(const char *data, size_t size, struct config_problems *problems)
{
	struct scan scan = {
		.at = (const unsigned char *)data,
		.end = (const unsigned char *)data + size,
		.place = { .line = 1, .column = 1 },
		.is_indentation = true,
	};
	size_t errors_before = problems->errors_count;
	unsigned tab_line = 0;

	if (size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0)
		scan.at += 3;
	while (scan.at < scan.end && problems->errors_count < CONFIG_PROBLEMS_MAX) {
		unsigned character = 0;
		size_t width = decode_utf8(&scan, &character);

		if (width == 0) {
			config_problems_error(problems, scan.place, "Save the file as UTF-8.",
			    "byte 0x%02x is not UTF-8", scan.at[0]);
			width = 1;
		} else if (is_refused(character)) {
			config_problems_error(problems, scan.place, NULL,
			    "control character U+%04X", character);
		} else if (character == '\t' && scan.is_indentation &&
		    tab_line != scan.place.line) {
			tab_line = scan.place.line; /* one complaint a line is enough */
			config_problems_error(problems, scan.place, "Indent with spaces.",
			    "a tab is used as indentation");
		}
		advance(&scan, character, width);
	}

	return problems->errors_count == errors_before;
}
