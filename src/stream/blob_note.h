/*
 * A note behind the frames of a .zst file: what its writer knows of the content, to be had again
 * without expanding it.  A skippable frame, which every zstd passes over: u32le magic 0x184D2A50,
 * u32le size, u32le CRC-32C of the text, the text.  It is the last frame before the seek table,
 * whose entry for it has a plain size of 0.
 */
#ifndef STREAM_BLOB_NOTE_H
#define STREAM_BLOB_NOTE_H

#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct blob;
struct err;
struct str;

enum { BLOB_NOTE_MAX_BYTES = 1024 * 1024 };

/*
 * Add the note's text to `to`: reads the end of the blob, not its frames.  ERR_NOT_FOUND: it has
 * none; ERR_DATA: it is damaged; ERR_LIMIT: it is larger than `max_bytes`.
 */
int blob_note_read(struct blob *blob, size_t max_bytes, struct str *to, struct err *err) MUST_CHECK;

/* The frame for a text of at most BLOB_NOTE_MAX_BYTES; `to` has room for 12 bytes more. */
void blob_note_format(const char *text, size_t size, struct str *to);

#endif
