/*
 * What a worker tells on its pipe.  A frame is 8 bytes and a payload of at most FRAME_PAYLOAD_MAX:
 *
 *   "bsw" kind(1)  size(4, little endian)   payload
 *   started        the run's id
 *   progress       done(8) total(8) phase
 *   warning        text
 *   state          phase(4) since(8) next_try(8) behind_bytes(8) behind_us(8) why: of a stream
 *   result         kind(4) warnings(4) message NUL hint
 *
 * A frame is written with one call and is shorter than PIPE_BUF, so that frames never mix.
 * Whatever does not look so ends the reading: the other side is not a worker of ours.
 */
#ifndef WORK_FRAME_H
#define WORK_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/link.h"
#include "base/scope.h"

enum frame_kind {
	FRAME_STARTED = 1,
	FRAME_PROGRESS,
	FRAME_WARNING,
	FRAME_STATE,
	FRAME_RESULT,
};

enum { FRAME_HEADER_SIZE = 8, FRAME_PAYLOAD_MAX = 1024 };
enum { FRAME_MAX = FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX };

struct frame {
	enum frame_kind kind;
	uint64_t done_bytes; /* progress */
	uint64_t total_bytes;
	enum err_kind failure; /* result: ERR_NONE is success */
	unsigned warnings_count;
	struct link_state link; /* state; its `why` is a loan */
	const char *text;       /* a loan: the run's id, phase, text, message */
	const char *hint;       /* a loan */
};

/* Into `data` of FRAME_MAX bytes; gives its size.  A text that is too long is cut. */
size_t frame_pack(const struct frame *frame, uint8_t *data);

struct frame_reader {
	uint8_t data[FRAME_MAX + 1];
	size_t size;
};

typedef void frame_function(const struct frame *frame, void *context);

/* Take bytes as they come and tell each whole frame.  ERR_DATA: this is no frame. */
int frame_read(struct frame_reader *reader, const void *data, size_t size, frame_function *function,
    void *context, struct err *err) MUST_CHECK;

#endif
