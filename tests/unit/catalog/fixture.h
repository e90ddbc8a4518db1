/* A folder of its own for each test of the catalog, and the database seen from outside. */
#ifndef TESTS_CATALOG_FIXTURE_H
#define TESTS_CATALOG_FIXTURE_H

#include <stdint.h>

struct catalog;

struct fixture {
	char *folder;
	char *path; /* of the database */
	struct catalog *catalog;
};

/* For cmocka: *state becomes a fixture with an open catalog, in a new folder. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

void fixture_reopen(struct fixture *fixture);

/* Run SQL past the catalog. */
void fixture_sql(const struct fixture *fixture, const char *sql);

/* The one number that a statement gives. */
int64_t fixture_number(const struct fixture *fixture, const char *sql);

/* How SQLite would run a statement, one line for each step; yours. */
char *fixture_plan(const struct fixture *fixture, const char *sql);

/* Statements that the catalog ran since fixture_trace_begin, with their values; yours. */
void fixture_trace_begin(struct fixture *fixture);
char *fixture_trace_end(struct fixture *fixture);

#endif
