/* The log of a run, from a byte on: a page that follows it asks for what it has not seen yet. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/web/app_internal.h"
#include "app/wire.h"
#include "base/err.h"
#include "base/parse.h"
#include "base/str.h"
#include "catalog/catalog.h"

enum { PIECE_MAX = 64 * 1024 };

static int
read_piece(const char *path, uint64_t from, struct str *to, uint64_t *ret_size, struct err *err)
{
	char piece[16 * 1024];
	struct stat status;
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &status) < 0)
		return err_sys(err, "cannot read log file '%s'", path);
	if (!S_ISREG(status.st_mode))
		return err_set(err, ERR_REFUSED, "'%s' is no file", path);
	*ret_size = (uint64_t)status.st_size;
	while (to->size < PIECE_MAX) {
		ssize_t got = pread(fd, piece, sizeof(piece), (off_t)(from + to->size));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(err, "cannot read log file '%s'", path);
		if (got == 0)
			break;
		str_add_bytes(to, piece, (size_t)got);
	}

	return 0;
}

/* End with a whole line, so that no character is torn; a line that fills it all is cut anywhere. */
static void
end_with_line(struct str *text)
{
	const char *last = text->size > 0 ? memrchr(text->data, '\n', text->size) : NULL;

	if (last != NULL)
		str_cut(text, (size_t)(last - text->data) + 1);
	else if (text->size < PIECE_MAX)
		str_cut(text, 0);
}

void
web_get_log(struct web_call *call)
{
	const char *text = request_query(call->request, "from");
	SCOPED(run_row_done) struct run_row run = { .id = NULL };
	struct err err = ERR_INIT;
	uint64_t from = 0;
	uint64_t size;

	if ((text != NULL && parse_u64(text, 0, INT64_MAX / 2, &from, &err) < 0)) {
		(void)err_wrap(&err, "from");
		reply_error(call->reply, 400, &err);
		return;
	}
	if (catalog_run_get(call->app->host->wire->engine.catalog, call->id, &run, &err) < 0) {
		reply_error(call->reply, 0, &err);
		return;
	}
	if (run.log_path == NULL) {
		reply_refuse(call->reply, 404, NULL, "run '%s' has no log", run.id);
		return;
	}
	if (read_piece(run.log_path, from, &call->reply->body, &size, &err) < 0) {
		reply_error(call->reply, err.sys == ENOENT ? 404 : 0, &err);
		return;
	}
	if (run.state == RUN_RUNNING || from + call->reply->body.size < size)
		end_with_line(&call->reply->body);
	call->reply->type = "text/plain; charset=utf-8";
	reply_add_header(call->reply, "X-Log-Next", "%" PRIu64, from + call->reply->body.size);
	reply_add_header(call->reply, "X-Log-Size", "%" PRIu64, size);
	reply_add_header(call->reply, "X-Run-State", "%s", run_state_name(run.state));
}
