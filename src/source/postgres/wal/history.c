#include "source/postgres/wal/history.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "source/postgres/lsn.h"

enum { WORD_SIZE = 32 };

struct cursor {
	const char *at;
	const char *end;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void
skip_blanks(struct cursor *line)
{
	while (line->at < line->end && is_blank(*line->at))
		line->at++;
}

/* The next word into `word` (WORD_SIZE bytes); false when there is none, or it is too long. */
static bool
take_word(struct cursor *line, char *word)
{
	size_t size = 0;

	skip_blanks(line);
	while (line->at + size < line->end && !is_blank(line->at[size]))
		size++;
	if (size == 0 || size >= WORD_SIZE)
		return false;
	memcpy(word, line->at, size);
	word[size] = '\0';
	line->at += size;

	return strlen(word) == size;
}

static char *
take_reason(struct cursor *line)
{
	skip_blanks(line);
	while (line->end > line->at && is_blank(line->end[-1]))
		line->end--;

	return xstrndup(line->at, (size_t)(line->end - line->at));
}

static int
parse_line(struct cursor *line, struct wal_history *history, struct err *err)
{
	size_t count = history->parents.count;
	uint32_t last = count > 0 ? history->parents.items[count - 1].timeline : 0;
	char timeline_text[WORD_SIZE], lsn_text[WORD_SIZE];
	unsigned timeline;
	uint64_t lsn;

	skip_blanks(line);
	if (line->at == line->end || *line->at == '#')
		return 0;
	if (!take_word(line, timeline_text) || !take_word(line, lsn_text))
		return err_set(err, ERR_DATA, "a timeline and a position are needed");
	if (parse_unsigned(timeline_text, 1, UINT32_MAX, &timeline, err) < 0)
		return err_set(err, ERR_DATA, "'%s' is not a timeline", timeline_text);
	if (lsn_parse(lsn_text, &lsn, err) < 0)
		return -1;
	if (timeline <= last || timeline >= history->timeline)
		return err_set(err, ERR_DATA, "timeline %u cannot stand between %u and %u",
		    timeline, last, history->timeline);

	struct wal_branch *branch = vec_add(&history->parents);
	branch->timeline = timeline;
	branch->switch_lsn = lsn;
	branch->reason = take_reason(line);

	return 0;
}

/*
 * A server that left a timeline before the position where that one had begun writes positions
 * that go back (it recovered to a point before its own target's branch).  What counts of the
 * older ones is then only what lies before.
 */
static void
level_positions(struct wal_history *history)
{
	for (size_t i = history->parents.count; i-- > 1;) {
		struct wal_branch *older = &history->parents.items[i - 1];
		uint64_t lsn = history->parents.items[i].switch_lsn;

		if (older->switch_lsn > lsn)
			older->switch_lsn = lsn;
	}
}

int
wal_history_parse(uint32_t timeline, const char *text, size_t size, struct wal_history *ret_history,
    struct err *err)
{
	SCOPED(wal_history_done) struct wal_history history = { .timeline = timeline };
	const char *end = text + size;
	unsigned number = 0;

	if (size > WAL_HISTORY_MAX_BYTES)
		return err_set(err, ERR_DATA, "history of timeline %u: it has %zu bytes", timeline,
		    size);
	for (const char *at = text; at < end; number++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		struct cursor line = { .at = at, .end = newline != NULL ? newline : end };

		at = newline != NULL ? newline + 1 : end;
		if (parse_line(&line, &history, err) < 0)
			return err_wrap(err, "history of timeline %u: line %u", timeline,
			    number + 1);
	}
	if (timeline == 0 || (timeline > 1) != (history.parents.count > 0))
		return err_set(err, ERR_DATA,
		    "history of timeline %u: it does not say where it comes from", timeline);
	level_positions(&history);
	*ret_history = history;
	memset(&history.parents, 0, sizeof(history.parents));

	return 0;
}

void
wal_history_done(struct wal_history *history)
{
	for (size_t i = 0; i < history->parents.count; i++)
		free(history->parents.items[i].reason);
	vec_done(&history->parents);
}

uint32_t
wal_history_timeline_at(const struct wal_history *history, uint64_t lsn)
{
	for (size_t i = 0; i < history->parents.count; i++) {
		if (lsn < history->parents.items[i].switch_lsn)
			return history->parents.items[i].timeline;
	}

	return history->timeline;
}

bool
wal_history_has(const struct wal_history *history, uint32_t timeline, uint64_t lsn)
{
	return wal_history_timeline_at(history, lsn) == timeline;
}

bool
wal_history_switch(const struct wal_history *history, uint32_t timeline, uint64_t *ret_lsn)
{
	for (size_t i = 0; i < history->parents.count; i++) {
		if (history->parents.items[i].timeline != timeline)
			continue;
		*ret_lsn = history->parents.items[i].switch_lsn;
		return true;
	}

	return false;
}
