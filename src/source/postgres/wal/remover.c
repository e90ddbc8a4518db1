#include "source/postgres/wal/remover.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "source/archive.h"
#include "stream/side_task.h"

static int
remove_it(void *context, struct err *err)
{
	struct wal_remover *remover = context;

	return archive_remove(remover->archive, remover->name, err);
}

int
wal_remover_begin(struct wal_remover *remover, struct archive *archive, const char *name,
    struct err *err)
{
	if (wal_remover_wait(remover, err) < 0)
		return -1;
	remover->archive = archive;
	remover->name = xstrdup(name);
	remover->task = side_task_begin(remove_it, remover);

	return 0;
}

int
wal_remover_wait(struct wal_remover *remover, struct err *err)
{
	int result = side_task_wait(TAKE(remover->task), err);

	if (result < 0)
		(void)err_wrap(err, "'%s'", remover->name);
	free(TAKE(remover->name));

	return result;
}
