/* What can be brought back along the stream, and from which base.  Pure, from a chain. */
#ifndef SOURCE_REDIS_STREAM_WINDOW_H
#define SOURCE_REDIS_STREAM_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "source/redis/stream/chain.h"

struct err;
struct manifest;
struct restore_target;
struct window_report;

/* From one base as far as the stream goes on from it. */
struct course {
	size_t index; /* of the base, in what was given */
	struct wall_time from;
	struct chain_place at;
	struct chain_reach reach; /* its time is `from` when no command came since */
};
struct courses {
	VEC(struct course) items; /* by offset along the way */
};
void courses_done(struct courses *courses);

/* Of the bases that lie on the way to the end of `branch`. */
void courses_find(const struct chain *chain, uint32_t branch, const struct manifest *const *bases,
    size_t bases_count, struct courses *ret_courses);

void redis_window(const struct chain *chain, const struct manifest *const *bases,
    size_t bases_count, struct window_report *report);

/* As source_ops.choose. */
int redis_choose(const struct chain *chain, const struct manifest *const *bases, size_t bases_count,
    struct restore_target *target, size_t *ret_index, struct err *err) MUST_CHECK;

#endif
