#include "engine/engine.h"

#include <stddef.h>

#include "base/str.h"
#include "source/source.h"

const struct source_ops *
engine_driver(const struct engine *engine, const char *type)
{
	for (size_t i = 0; engine->drivers[i] != NULL; i++) {
		if (str_equals(engine->drivers[i]->type, type))
			return engine->drivers[i];
	}

	return NULL;
}
