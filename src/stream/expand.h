/*
 * The way back: read a stored blob from start to end, hash the stored bytes, expand them when
 * they are compressed, and push the plain bytes into a sink.  Reading, expanding and the sink
 * run in parallel; frames arrive in order.
 */
#ifndef STREAM_EXPAND_H
#define STREAM_EXPAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct blob;
struct digest;
struct err;
struct sink;

struct expand_options {
	bool is_zstd;              /* else the bytes are passed as they are */
	unsigned workers;          /* threads that expand frames; 0: none */
	struct digest *ret_digest; /* of the stored bytes; may be NULL */
};

/*
 * Does not finish `to` (a loan).  A frame that cannot be expanded or fails its checksum is
 * ERR_DATA naming the blob and the frame's offset.  A .zst without seek table (not ours, or cut
 * short) is read as one stream.  When `ret_digest` is given and expanding fails, the digest is
 * still completed over the whole blob where the blob can be read, so that the caller can tell
 * damage in the store (digest differs) from damage before it.
 */
int expand(struct blob *blob, const struct expand_options *options, struct sink *to,
    struct err *err) MUST_CHECK;

#endif
