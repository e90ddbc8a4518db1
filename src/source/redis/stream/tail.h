/*
 * The piece that grows: what the server sends is added as it comes and made durable about once a
 * second.  A crash leaves a prefix of it, from whose last whole command it goes on.
 */
#ifndef SOURCE_REDIS_STREAM_TAIL_H
#define SOURCE_REDIS_STREAM_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/str.h"
#include "source/redis/stream/piece.h"

struct archive;
struct err;

struct tail {
	struct archive *archive; /* a loan */
	int fd;                  /* -1: there is none; locked while it is open */
	char name[PIECE_NAME_SIZE];
	struct piece_reader reader; /* has seen all that was added */
	struct wall_time marked;    /* the last time written into it */
	struct wall_time
	    down_since;      /* the link was down before what is added next; 0: it was not */
	int64_t skew_us;     /* the server's clock less ours: in all times that are written */
	bool wants_end;      /* nothing more is added from the next boundary on */
	struct str buffer;   /* not written yet */
	uint64_t file_bytes; /* with the buffer */
	uint64_t synced;     /* the stream's offset that is durable */
	bool is_dirty;
	struct mono_time began;
};
void tail_init(struct tail *tail, struct archive *archive);
void tail_done(struct tail *tail); /* what was not synced may be lost */

bool tail_is_open(const struct tail *tail);

/* Begin a new one: its name and its head are durable afterwards.  ERR_EXISTS. */
int tail_begin(struct tail *tail, const struct piece_head *head, struct err *err) MUST_CHECK;

/*
 * Go on with the file of this name behind its last whole command.  What is behind that, a command
 * cut short, is taken away; where it is no command at all, the file is copied first, as NAME with
 * ".damaged-TIME".  *ret_dropped_bytes tells how much.  ERR_BUSY: another process has it open,
 * ERR_DATA: not even its head can be read.
 */
int tail_resume(struct tail *tail, const char *name, uint64_t *ret_dropped_bytes, struct err *err)
    MUST_CHECK;

/*
 * Add bytes of the stream that arrived at `now`, by the server's clock; *ret_used is less than `size` where the tail is
 * wanted to end.  ERR_DATA: they are none.
 */
int tail_add(struct tail *tail, const void *data, size_t size, struct wall_time now,
    size_t *ret_used, struct err *err) MUST_CHECK;

/* All that was added is durable.  ERR_NOT_FOUND: somebody took the file or its folder away. */
int tail_sync(struct tail *tail, struct err *err) MUST_CHECK;

/* May it end here: no command is half, no transaction open. */
bool tail_is_boundary(const struct tail *tail);

/* The stream's offset behind the last whole command. */
uint64_t tail_offset(const struct tail *tail);

/* Make it durable, and close it.  It stays under its name until it is packed. */
int tail_close(struct tail *tail, struct err *err) MUST_CHECK;

#endif
