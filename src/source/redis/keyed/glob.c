#include "source/redis/keyed/glob.h"

/* Behind the bracket that was open at `at`, or at the end of a pattern that never closes it. */
static const char *
match_class(const char *at, uint8_t byte, bool *ret_matches)
{
	bool is_negated = *at == '^';
	bool is_in = false;

	at += is_negated ? 1 : 0;
	while (*at != '\0' && *at != ']') {
		uint8_t first, last;

		at += *at == '\\' && at[1] != '\0' ? 1 : 0;
		first = last = (uint8_t)*at++;
		if (at[0] == '-' && at[1] != '\0' && at[1] != ']') {
			last = (uint8_t)at[1];
			at += 2;
		}
		is_in = is_in || (byte >= first && byte <= last) || (byte >= last && byte <= first);
	}
	*ret_matches = is_in != is_negated;

	return *at == ']' ? at + 1 : at;
}

/* One element that is no star; returns what stands behind it. */
static const char *
match_one(const char *at, uint8_t byte, bool *ret_matches)
{
	switch (*at) {
	case '?':
		*ret_matches = true;
		return at + 1;
	case '[':
		return match_class(at + 1, byte, ret_matches);
	case '\\':
		at += at[1] != '\0' ? 1 : 0;
		break;
	default:
		break;
	}
	*ret_matches = (uint8_t)*at == byte;

	return at + 1;
}

bool
glob_matches(const char *pattern, const uint8_t *text, size_t size)
{
	const char *at = pattern;
	const char *behind_star = NULL;
	size_t star_takes_to = 0;

	for (size_t i = 0; i < size;) {
		bool matches = false;
		const char *next = at;

		if (*at == '*') {
			behind_star = ++at;
			star_takes_to = i;
			continue;
		}
		if (*at != '\0')
			next = match_one(at, text[i], &matches);
		if (!matches && behind_star == NULL)
			return false;
		/* A mismatch: the last star takes one more byte. */
		at = matches ? next : behind_star;
		i = matches ? i + 1 : ++star_takes_to;
	}
	while (*at == '*')
		at++;

	return *at == '\0';
}
