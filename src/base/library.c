#include "base/library.h"

#include <dlfcn.h>
#include <string.h>

#include "base/err.h"

static int
cannot_load(const struct library *library, struct err *err)
{
	const char *words = dlerror();

	(void)err_set(err, ERR_UNSUPPORTED, "cannot load a library: %s",
	    words != NULL ? words : library->file);

	return err_hint(err, "Install it: apt-get install %s.", library->package);
}

int
library_load(struct library *library, struct err *err)
{
	void *handle;

	if (library->is_loaded)
		return 0;
	handle = dlopen(library->file, RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL)
		return cannot_load(library, err);
	for (size_t i = 0; i < library->count; i++) {
		const struct library_call *call = &library->calls[i];
		void *found = dlsym(handle, call->name);

		if (found == NULL) {
			(void)cannot_load(library, err);
			(void)dlclose(handle);
			return -1;
		}
		/* POSIX has functions and objects share one form of pointer; C has no cast for it. */
		memcpy((char *)library->functions + call->offset, &found, sizeof(found));
	}
	library->is_loaded = true;

	return 0;
}
