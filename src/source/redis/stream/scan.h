/*
 * The commands of a replication stream, found in bytes as they arrive: where each ends, what it is
 * called, its first words, and what follows from it: the database in force, open transactions.
 * A value is never held.  Pure.
 *
 * From replicationFeedSlaves of Redis: a stream is nothing but arrays of bulk strings
 *
 *   *count\r\n  ( $bytes\r\n ...\r\n ) x count
 *
 * with a bare '\n' between two of them where the master keeps a waiting link alive.  In a file of
 * ours lines that begin with '#' stand between them, as in an AOF of 7.0 and later; they and the
 * '\n' are no part of the stream.
 */
#ifndef SOURCE_REDIS_STREAM_SCAN_H
#define SOURCE_REDIS_STREAM_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct err;

enum {
	SCAN_WORDS_MAX = 3,    /* held of a command */
	SCAN_WORD_BYTES = 64,  /* held of each */
	SCAN_NOTE_BYTES = 256, /* of a line that begins with '#' */
	SCAN_ARGUMENTS_MAX = 1024 * 1024 * 64,
};
#define SCAN_VALUE_MAX_BYTES (UINT64_C(512) * 1024 * 1024) /* proto-max-bulk-len */

enum scan_event {
	SCAN_NOTHING, /* all was taken, and no command ended */
	SCAN_COMMAND, /* the last byte taken ends one: see `words` */
	SCAN_NOTE,    /* or a line that begins with '#': see `note` */
	SCAN_BLANK,   /* or a bare '\n' */
};

struct scan {
	bool has_notes; /* in: lines that begin with '#' may stand between commands */

	/* Of the last command: the first word in upper case, each cut to SCAN_WORD_BYTES. */
	char words[SCAN_WORDS_MAX][SCAN_WORD_BYTES + 1];
	uint64_t word_bytes[SCAN_WORDS_MAX]; /* as long as they really are */
	uint64_t words_count;
	uint64_t command_bytes;
	char note[SCAN_NOTE_BYTES + 1]; /* without '#' and the line's end, cut */

	/* After it. */
	unsigned db;
	bool is_in_multi;
	uint64_t commands_count;
	uint64_t bytes; /* of all commands so far: what the stream's offset advances by */

	/* Inside. */
	int state;
	bool is_negative;
	uint64_t number;
	unsigned digits;
	uint64_t left;  /* words still to come, the one being read included */
	uint64_t value; /* bytes of it still to come */
	uint64_t at;    /* of the word being read */
	size_t note_size;
};

/* Begin at the beginning of a command, outside of a transaction, with this database in force. */
void scan_init(struct scan *scan, unsigned db);

/*
 * Take bytes until an event; *ret_used says how many.  ERR_DATA names what is wrong and how many
 * bytes of commands came before; the scan is of no use afterwards.
 */
int scan_feed(struct scan *scan, const void *data, size_t size, size_t *ret_used,
    enum scan_event *ret_event, struct err *err) MUST_CHECK;

/* Is it between two commands. */
bool scan_is_between(const struct scan *scan);

/* Inside a command: its bytes so far. */
uint64_t scan_command_so_far(const struct scan *scan);

/* Is it where a file may end, or be cut: between two commands, and no transaction is open. */
bool scan_is_boundary(const struct scan *scan);

#endif
