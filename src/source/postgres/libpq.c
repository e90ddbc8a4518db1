#include "source/postgres/libpq_internal.h"

#include <stdbool.h>

#include "base/scope.h"

#define CALL(function) LIBRARY_CALL(struct libpq, function),

struct libpq libpq;

int
libpq_load(struct err *err)
{
	static const struct library_call calls[] = { LIBPQ_FUNCTIONS(CALL) };
	static const struct library library = {
		.file = LIBPQ_SONAME,
		.package = "libpq5",
		.calls = calls,
		.count = ARRAY_SIZE(calls),
		.functions = &libpq,
	};
	static bool is_loaded;

	if (!is_loaded && library_load(&library, err) < 0)
		return -1;
	is_loaded = true;

	return 0;
}
