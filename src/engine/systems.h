/*
 * Which system a source is, and which it was before it was rebuilt.  Each accepted identity is a
 * record of the store.  The continuous stream of a former system lies in a folder of its own,
 * "postgresql/wal@7312045211837912345": a rebuilt one uses the same names from the beginning.
 */
#ifndef ENGINE_SYSTEMS_H
#define ENGINE_SYSTEMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/scope.h"
#include "base/vec.h"

struct engine;
struct err;
struct source_ops;
struct stream_kind;

struct systems {
	char *current;       /* NULL: none is known yet */
	VEC(char *) formers; /* those whose stream was set aside, in no order */
};
void systems_done(struct systems *systems);

/* `ops` may have no stream: then there are no formers. */
int systems_read(struct engine *engine, const struct source_ops *ops, const char *label,
    struct systems *ret_systems, struct err *err) MUST_CHECK;
bool systems_was(const struct systems *systems, const char *identity);

/* The folder of the stream in the store; `former` NULL: of the system that the source is now. */
char *systems_folder(const struct stream_kind *stream, const char *label, const char *former)
    MUST_CHECK;

/* Is `name` what a stream's folder is called in its source's one, that of a former system too. */
bool systems_is_folder(const struct stream_kind *stream, const char *name);

/*
 * The source is this system from now on.  The stream of the one before is set aside whole, by one
 * rename, and that of `identity` is taken back if it is a former one.  *ret_aside: the identity of
 * what was set aside, yours; NULL when nothing was.
 */
int systems_change(struct engine *engine, const struct source_ops *ops, const char *label,
    const char *identity, const char *version, char **ret_aside, struct err *err) MUST_CHECK;

/* Write down that a system is accepted; one that is already is ok. */
int systems_accept(struct engine *engine, const char *label, const char *identity,
    const char *version, struct err *err) MUST_CHECK;

#endif
