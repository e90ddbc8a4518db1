#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "os/file.h"
#include "source/postgres/scratch_internal.h"

/* postmaster.pid: pid, data, start, port, socket, listen, shared memory, status (pidfile.h). */
enum { FILE_MAX_BYTES = 8192, STATUS_LINE = 8, PID_MAX = 4 * 1024 * 1024 };

static bool
is_alive(const char *text)
{
	SCOPED(freep) char *first = xstrndup(text, strcspn(text, "\n"));
	struct err ignored = ERR_INIT;
	unsigned pid;

	if (parse_unsigned(first, 2, PID_MAX, &pid, &ignored) < 0)
		return false;

	return kill((pid_t)pid, 0) == 0 || errno == EPERM;
}

enum scratch_state
scratch_state_read(const char *data_dir)
{
	SCOPED(freep) char *path = path_join(data_dir, "postmaster.pid");
	SCOPED(str_done) struct str text = STR_INIT_MAX(FILE_MAX_BYTES);
	struct err ignored = ERR_INIT;
	const char *line;

	if (file_read_all(path, FILE_MAX_BYTES, &text, &ignored) < 0 || !is_alive(str_text(&text)))
		return SCRATCH_GONE;
	line = str_text(&text);
	for (int i = 1; i < STATUS_LINE && line != NULL; i++) {
		line = strchr(line, '\n');
		line = line != NULL ? line + 1 : NULL;
	}

	return line != NULL && str_starts_with(line, "ready") ? SCRATCH_READY : SCRATCH_STARTING;
}
