#include "base/scope.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

void
freep(void *pointer_to_pointer)
{
	free(*(void **)pointer_to_pointer);
}

void
closep(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	errno = saved;
}
