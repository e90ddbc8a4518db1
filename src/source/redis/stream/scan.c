#include "source/redis/stream/scan.h"

#include <string.h>

#include "base/err.h"
#include "base/parse.h"
#include "base/str.h"

enum state {
	BETWEEN,
	COUNT,     /* digits behind '*' */
	COUNT_END, /* its '\n' */
	DOLLAR,
	LENGTH,
	LENGTH_END,
	VALUE,
	VALUE_CR,
	VALUE_LF,
	NOTE,
};

enum { DIGITS_MAX = 12 };

void
scan_init(struct scan *scan, unsigned db)
{
	*scan = (struct scan){ .state = BETWEEN, .db = db };
}

bool
scan_is_between(const struct scan *scan)
{
	return scan->state == BETWEEN;
}

uint64_t
scan_command_so_far(const struct scan *scan)
{
	return scan->state == BETWEEN || scan->state == NOTE ? 0 : scan->command_bytes;
}

bool
scan_is_boundary(const struct scan *scan)
{
	return scan->state == BETWEEN && !scan->is_in_multi;
}

static int
malformed(const struct scan *scan, const char *what, uint8_t byte, struct err *err)
{
	return err_set(err, ERR_DATA,
	    "the stream is damaged behind %llu bytes: %s, but there is byte 0x%02x",
	    (unsigned long long)(scan->bytes + scan->command_bytes), what, byte);
}

/* ---- a whole command -------------------------------------------------------------------------- */

static int
select_database(struct scan *scan, struct err *err)
{
	uint64_t db;

	if (scan->words_count != 2 || parse_u64(scan->words[1], 0, 1000000, &db, err) < 0)
		return err_set(err, ERR_DATA, "the stream selects a database called '%.20s'",
		    scan->words[1]);
	scan->db = (unsigned)db;

	return 0;
}

/* A master sends them in pairs: where one is missing, more is. */
static int
change_transaction(struct scan *scan, bool begins, struct err *err)
{
	if (scan->is_in_multi == begins)
		return err_set(err, ERR_DATA,
		    "the stream is damaged before byte %llu: %s, but %s transaction is open",
		    (unsigned long long)scan->bytes, scan->words[0], begins ? "a" : "no");
	scan->is_in_multi = begins;

	return 0;
}

static int
end_command(struct scan *scan, struct err *err)
{
	char *name = scan->words[0];

	/* Scripts send names as they were written. */
	for (; *name != '\0'; name++) {
		if (*name >= 'a' && *name <= 'z')
			*name = (char)(*name - 'a' + 'A');
	}
	name = scan->words[0];
	scan->state = BETWEEN;
	scan->bytes += scan->command_bytes;
	scan->commands_count++;
	if (str_equals(name, "SELECT"))
		return select_database(scan, err);
	if (str_equals(name, "MULTI"))
		return change_transaction(scan, true, err);
	if (str_equals(name, "EXEC") || str_equals(name, "DISCARD"))
		return change_transaction(scan, false, err);

	return 0;
}

/* ---- bytes -------------------------------------------------------------------------------------- */

static void
begin_number(struct scan *scan, enum state state)
{
	scan->state = (int)state;
	scan->number = 0;
	scan->digits = 0;
}

static void
begin_command(struct scan *scan)
{
	begin_number(scan, COUNT);
	scan->command_bytes = 1; /* the '*' */
	scan->words_count = 0;
	for (size_t i = 0; i < SCAN_WORDS_MAX; i++) {
		scan->words[i][0] = '\0';
		scan->word_bytes[i] = 0;
	}
}

/* A digit, or the '\r' behind the last one. */
static int
take_digit(struct scan *scan, uint8_t byte, enum state next, struct err *err)
{
	if (byte == '\r' && scan->digits > 0) {
		scan->state = (int)next;
		return 0;
	}
	if (byte < '0' || byte > '9' || ++scan->digits > DIGITS_MAX)
		return malformed(scan, "a number is expected", byte, err);
	scan->number = scan->number * 10 + (uint64_t)(byte - '0');

	return 0;
}

static int
end_count(struct scan *scan, uint8_t byte, struct err *err)
{
	if (byte != '\n' || scan->number == 0 || scan->number > SCAN_ARGUMENTS_MAX)
		return malformed(scan, "a count of words and the end of its line are expected",
		    byte, err);
	scan->words_count = scan->number;
	scan->left = scan->number;
	scan->state = DOLLAR;

	return 0;
}

static int
end_length(struct scan *scan, uint8_t byte, struct err *err)
{
	uint64_t word = scan->words_count - scan->left;

	if (byte != '\n' || scan->number > SCAN_VALUE_MAX_BYTES)
		return malformed(scan, "a length and the end of its line are expected", byte, err);
	scan->value = scan->number;
	scan->at = 0;
	if (word < SCAN_WORDS_MAX)
		scan->word_bytes[word] = scan->number;
	scan->state = scan->value > 0 ? VALUE : VALUE_CR;

	return 0;
}

static int
end_value(struct scan *scan, uint8_t byte, enum scan_event *event, struct err *err)
{
	if (byte != '\n')
		return malformed(scan, "the end of a word is expected", byte, err);
	if (--scan->left > 0) {
		scan->state = DOLLAR;
		return 0;
	}
	*event = SCAN_COMMAND;

	return end_command(scan, err);
}

/* Values are not looked at, so they are taken as a whole. */
static size_t
take_value(struct scan *scan, const uint8_t *data, size_t size)
{
	size_t taken = size < scan->value ? size : (size_t)scan->value;
	uint64_t word = scan->words_count - scan->left;

	if (word < SCAN_WORDS_MAX && scan->at < SCAN_WORD_BYTES) {
		size_t room = SCAN_WORD_BYTES - (size_t)scan->at;
		size_t held = taken < room ? taken : room;

		memcpy(scan->words[word] + scan->at, data, held);
		scan->words[word][scan->at + held] = '\0';
	}
	scan->at += taken;
	scan->value -= taken;
	if (scan->value == 0)
		scan->state = VALUE_CR;

	return taken;
}

static int
take_between(struct scan *scan, uint8_t byte, enum scan_event *event, struct err *err)
{
	if (byte == '*') {
		begin_command(scan);
		return 0;
	}
	if (byte == '\n') {
		*event = SCAN_BLANK;
		return 0;
	}
	if (byte == '#' && scan->has_notes) {
		scan->state = NOTE;
		scan->note_size = 0;
		return 0;
	}
	scan->command_bytes = 0;

	return malformed(scan, "a command is expected", byte, err);
}

static void
take_note(struct scan *scan, uint8_t byte, enum scan_event *event)
{
	if (byte != '\n') {
		if (scan->note_size < SCAN_NOTE_BYTES && byte != '\r')
			scan->note[scan->note_size++] = (char)byte;
		return;
	}
	scan->note[scan->note_size] = '\0';
	scan->state = BETWEEN;
	*event = SCAN_NOTE;
}

static int
take_byte(struct scan *scan, uint8_t byte, enum scan_event *event, struct err *err)
{
	switch ((enum state)scan->state) {
	case COUNT:
		return take_digit(scan, byte, COUNT_END, err);
	case COUNT_END:
		return end_count(scan, byte, err);
	case DOLLAR:
		if (byte != '$')
			return malformed(scan, "a word is expected", byte, err);
		begin_number(scan, LENGTH);
		return 0;
	case LENGTH:
		return take_digit(scan, byte, LENGTH_END, err);
	case LENGTH_END:
		return end_length(scan, byte, err);
	case VALUE_CR:
		if (byte != '\r')
			return malformed(scan, "the end of a word is expected", byte, err);
		scan->state = VALUE_LF;
		return 0;
	case VALUE_LF:
		return end_value(scan, byte, event, err);
	case NOTE:
		take_note(scan, byte, event);
		return 0;
	case BETWEEN:
	case VALUE:
	default:
		return take_between(scan, byte, event, err);
	}
}

int
scan_feed(struct scan *scan, const void *data, size_t size, size_t *ret_used,
    enum scan_event *ret_event, struct err *err)
{
	const uint8_t *bytes = data;
	enum scan_event event = SCAN_NOTHING;
	size_t used = 0;

	while (used < size && event == SCAN_NOTHING) {
		if (scan->state == VALUE) {
			size_t taken = take_value(scan, bytes + used, size - used);

			scan->command_bytes += taken;
			used += taken;
			continue;
		}
		if (scan->state != BETWEEN && scan->state != NOTE)
			scan->command_bytes++;
		if (take_byte(scan, bytes[used], &event, err) < 0)
			return -1;
		used++;
	}
	*ret_used = used;
	*ret_event = event;

	return 0;
}
