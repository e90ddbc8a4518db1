/*
 * Faults on purpose, to show that the tests find them.  A build with -Dmutants=true makes the one
 * that the environment names (BLACKSTART_MUTANT=no-fsync); in any other build there are none.
 */
#ifndef BASE_MUTANT_H
#define BASE_MUTANT_H

#include <stdbool.h>

#ifdef BLACKSTART_MUTANTS
#include <stdlib.h>
#include <string.h>

static inline bool
mutant_is(const char *name)
{
	const char *chosen = getenv("BLACKSTART_MUTANT");

	return chosen != NULL && strcmp(chosen, name) == 0;
}

#define MUTANT(name) mutant_is(name)
#else
#define MUTANT(name) false
#endif

#endif
