/*
 * The text that pg_dumpall --globals-only writes: SQL statements that end in ';', comments, and
 * since 2025 "\restrict" lines for psql.  Only its roles matter here.
 */
#include "source/postgres/dump/roles_internal.h"

#include <ctype.h>
#include <string.h>

#include "base/str.h"

static const char *
skip_line(const char *at)
{
	at += strcspn(at, "\n");

	return *at == '\n' ? at + 1 : at;
}

/* What stands between statements: blanks, comments, psql's own lines. */
static const char *
skip_between(const char *at)
{
	for (;;) {
		while (isspace((unsigned char)*at))
			at++;
		if ((at[0] != '-' || at[1] != '-') && at[0] != '\\')
			return at;
		at = skip_line(at);
	}
}

/* The end of a quoted text that begins at `at`; the quote doubled stands for itself. */
static const char *
skip_quoted(const char *at, bool has_backslash)
{
	char quote = *at++;

	while (*at != '\0') {
		if (has_backslash && *at == '\\' && at[1] != '\0') {
			at += 2;
		} else if (*at == quote && at[1] == quote) {
			at += 2;
		} else if (*at == quote) {
			return at + 1;
		} else {
			at++;
		}
	}

	return at;
}

bool
roles_next_statement(const char **at, const char **ret_text, size_t *ret_size)
{
	const char *from = skip_between(*at);
	const char *to = from;

	while (*to != '\0' && *to != ';') {
		bool is_escape = *to == '\'' && to > from && (to[-1] == 'E' || to[-1] == 'e');

		to = *to == '\'' || *to == '"' ? skip_quoted(to, is_escape) : to + 1;
	}
	*at = *to == ';' ? to + 1 : to;
	*ret_text = from;
	*ret_size = (size_t)(to - from);

	return to > from;
}

/* If the statement goes on with `words`, the place behind them, else NULL. */
static const char *
after_words(const char *at, const char *words)
{
	size_t size = strlen(words);

	return strncmp(at, words, size) == 0 ? at + size : NULL;
}

/* An identifier, plain or quoted, appended to `name`; the place behind it. */
static const char *
take_identifier(const char *at, const char *end, struct str *name)
{
	if (at < end && *at == '"') {
		for (at++; at < end && !(*at == '"' && at[1] != '"'); at++) {
			str_add_char(name, *at);
			at += *at == '"' ? 1 : 0;
		}
		return at < end ? at + 1 : at;
	}
	while (at < end && !isspace((unsigned char)*at) && *at != ';' && *at != ',')
		str_add_char(name, *at++);

	return at;
}

enum roles_statement
roles_classify(const char *text, size_t size, struct str *ret_role)
{
	static const struct {
		const char *words;
		enum roles_statement kind;
	} kinds[] = {
		{ "CREATE ROLE ", ROLES_CREATE },
		{ "ALTER ROLE ", ROLES_ALTER },
		{ "COMMENT ON ROLE ", ROLES_ALTER },
		{ "SECURITY LABEL ON ROLE ", ROLES_ALTER },
	};
	const char *end = text + size;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *at = after_words(text, kinds[i].words);

		if (at == NULL)
			continue;
		(void)take_identifier(at, end, ret_role);
		return kinds[i].kind;
	}
	/* "GRANT a TO b ...": rights on tablespaces and parameters have " ON " in that place. */
	if (strncmp(text, "GRANT ", 6) == 0) {
		struct str group = STR_INIT;
		const char *at = after_words(take_identifier(text + 6, end, &group), " TO ");

		str_done(&group);
		if (at == NULL)
			return ROLES_OTHER;
		(void)take_identifier(at, end, ret_role);
		return ROLES_GRANT;
	}

	return ROLES_OTHER;
}

size_t
roles_without_grantor(const char *text, size_t size)
{
	static const char mark[] = " GRANTED BY ";
	const char *found = memmem(text, size, mark, sizeof(mark) - 1);

	return found != NULL ? (size_t)(found - text) : size;
}
