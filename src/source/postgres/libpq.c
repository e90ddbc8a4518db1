#include "source/postgres/libpq_internal.h"

#include "base/scope.h"

#define CALL(function) LIBRARY_CALL(struct libpq, function),

struct libpq libpq;

static const struct library_call calls[] = { LIBPQ_FUNCTIONS(CALL) };
static struct library library = {
	.file = LIBPQ_SONAME,
	.package = "libpq5",
	.calls = calls,
	.count = ARRAY_SIZE(calls),
	.functions = &libpq,
};

int
libpq_load(struct err *err)
{
	return library_load(&library, err);
}
