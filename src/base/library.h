/*
 * Shared libraries that are loaded when they are first needed.  Those of a connection bring some
 * thirty others with them: a command that never connects, and above all the one that the server
 * starts for every segment of its log, would spend more time on loading them than on its work.
 *
 * A room that uses such a library keeps a struct of its functions, filled here, and calls through
 * it: `libpq.PQexec(conn, sql)`.
 */
#ifndef BASE_LIBRARY_H
#define BASE_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/scope.h"

struct err;

/* For a list of functions as a macro: the members of the struct, and how they are found. */
#define LIBRARY_MEMBER(function) __typeof__(function) *(function);
#define LIBRARY_CALL(structure, function)                                                          \
	{                                                                                          \
#function, offsetof(structure, function)                                           \
	}

struct library_call {
	const char *name;
	size_t offset; /* of the pointer, in the struct */
};

struct library {
	const char *file;    /* by its soname: "libpq.so.5" */
	const char *package; /* that brings it, on Debian */
	const struct library_call *calls;
	size_t count;
	void *functions; /* the struct; complete when library_load has returned 0 */
	bool is_loaded;
};

/*
 * Loads it and finds its functions, for the life of the process; costs nothing when that is done.
 * ERR_UNSUPPORTED with the linker's own words when it is missing, broken, or lacks a function.  Not
 * for two threads at once.
 */
int library_load(struct library *library, struct err *err) MUST_CHECK;

#endif
