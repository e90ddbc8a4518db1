#include "app/helper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/detach.h"
#include "os/lockfile.h"
#include "source/archive.h"
#include "source/feed.h"
#include "source/source.h"
#include "store/store.h"

enum { KEY_BYTES = 8 };
#define IDLE_US (30 * US_PER_S)

/* A folder of ours alone: anybody may have made one of this name in /tmp. */
static bool
is_ours(const char *folder)
{
	struct stat st;

	return lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	    (st.st_mode & 077) == 0;
}

static char *
runtime_folder(void)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	SCOPED(freep)
	char *folder = xdg != NULL && xdg[0] == '/'
	    ? xasprintf("%s/blackstart", xdg)
	    : xasprintf("/tmp/blackstart-%u", (unsigned)geteuid());

	(void)mkdir(folder, 0700);

	return is_ours(folder) ? TAKE(folder) : NULL;
}

/* Another archive, or another server that recovers, has another helper. */
char *
helper_socket(const struct store *store, const struct archive *archive, const char *to_path)
{
	SCOPED(freep) char *folder = runtime_folder();
	SCOPED(freep) char *archive_path = realpath(archive->path, NULL);
	SCOPED(freep) char *to_folder = xstrdup(to_path);
	SCOPED(freep) char *server = NULL;
	SCOPED(freep) char *text = NULL;
	SCOPED(str_done) struct str key = STR_INIT;
	uint8_t hash[HASH_BYTES];
	char *slash = strrchr(to_folder, '/');

	if (slash != NULL)
		*slash = '\0';
	server = realpath(slash != NULL ? to_folder : ".", NULL);
	if (folder == NULL || archive_path == NULL || server == NULL)
		return NULL;
	text = xasprintf("%s\n%s\n%s\n%s", store->id, archive->label, archive_path, server);
	hash_text(text, hash);
	str_add_hex(&key, hash, KEY_BYTES);

	return xasprintf("%s/feed-%s", folder, str_text(&key));
}

/* What it says but "here it is" is not passed on: the caller looks for himself. */
bool
helper_fetch(const char *socket_path, const char *name, const char *to_path)
{
	SCOPED(feed_answer_done) struct feed_answer answer = { .fd = -1 };
	struct err err = ERR_INIT;

	if (access(socket_path, F_OK) < 0)
		return false;
	if (feed_ask(socket_path, name, to_path, &answer, &err) < 0 ||
	    (answer.status == FEED_DELIVERED && feed_save(&answer, to_path, &err) < 0)) {
		log_debug("helper: %s", err.msg);
		return false;
	}
	if (answer.status == FEED_DELIVERED && answer.text[0] != '\0')
		log_warning("%s, continuing", answer.text);

	if (answer.status == FEED_DELIVERED)
		log_debug("helper: it had %s ready", name);

	return answer.status == FEED_DELIVERED;
}

/* There is one at most: the lock goes with its process, its socket may stay. */
static void
run_helper(const char *socket_path, struct source *source, struct archive *archive,
    const struct feed_request *request)
{
	SCOPED(freep) char *lock_path = xasprintf("%s.lock", socket_path);
	SCOPED(closep) int lock_fd = -1;
	struct err err = ERR_INIT;

	if (lockfile_take(lock_path, "feeder", &lock_fd, &err) == 0 &&
	    (archive->path[0] != '/' || chdir("/") == 0))
		(void)source->ops->feed(source, archive, request, &err);
}

void
helper_start(const char *socket_path, struct source *source, struct archive *archive,
    const char *name, const char *to_path)
{
	struct feed_request request = {
		.socket_path = socket_path,
		.idle_us = IDLE_US,
		.delivered = name,
	};
	struct err err = ERR_INIT;
	struct stat st;
	bool is_helper = false;

	if (stat(to_path, &st) < 0)
		return;
	request.delivered_bytes = (uint64_t)st.st_size;
	if (detach(&is_helper, &err) < 0)
		log_debug("helper: %s", err.msg);
	if (!is_helper)
		return;
	run_helper(socket_path, source, archive, &request);
	_exit(0);
}
