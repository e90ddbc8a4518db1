/*
 * How far a long piece of work has come, told to whoever shows it.  Fed by the thread that does
 * the work (never by the pool threads of stream/); the listener is called at most five times a
 * second and must be quick.
 */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct progress {
	const char *phase; /* a loan: "copying", "counting rows", ... or NULL */
	uint64_t done_bytes;
	uint64_t total_bytes; /* 0: not known */
	struct mono_time began;
	struct mono_time reported;
	void (*listener)(const struct progress *progress, void *context); /* NULL: nobody looks */
	void *context;
};

/*
 * NULL progress is accepted everywhere: nobody wants to know.  A new phase is also a line "phase:
 * NAME" in the run's log, which tells later how long each took.
 */
void progress_phase(struct progress *progress, const char *phase, uint64_t total_bytes);
void progress_add(struct progress *progress, uint64_t bytes);
void progress_set(struct progress *progress, uint64_t done_bytes);

/* Call the listener now, whatever the time since the last call. */
void progress_flush(struct progress *progress);

#endif
