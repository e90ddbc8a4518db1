#include "source/postgres/wal/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/stop.h"
#include "source/archive.h"
#include "source/feed.h"
#include "source/postgres/wal/fetch.h"
#include "source/postgres/wal/names.h"

enum {
	AHEAD_MAX = 4,
	AHEAD_MAX_BYTES = 64 * 1024 * 1024, /* beyond that one alone, and not in memory */
	SPARE_ROOM = 16,                    /* segments that must have room on a spare's disk */
	STEP_MS = 1000,
};

/* A segment that nobody has asked for yet. */
struct ready {
	char name[WAL_NAME_SIZE];
	int fd;
};

struct feeder {
	struct feeder_options options;
	char *socket_path;
	int listen_fd;
	struct ready ready[AHEAD_MAX]; /* in the order of their names */
	size_t ready_count;
	int spares[AHEAD_MAX]; /* empty files of those who asked, see source/feed.h */
	size_t spares_count;
	char next[WAL_NAME_SIZE]; /* to be made ready, "": nothing */
	uint64_t segment_bytes;   /* 0: none was delivered yet */
	struct mono_time asked_at;
	struct feeder_counts counts;
	char last_doubt[FEED_TEXT_SIZE];
};

struct feeder *
feeder_open(const struct feeder_options *options, struct err *err)
{
	SCOPED(feeder_freep) struct feeder *feeder = xcalloc(1, sizeof(*feeder));

	feeder->options = *options;
	feeder->listen_fd = -1;
	feeder->asked_at = clock_mono();
	if (feed_listen(options->socket_path, &feeder->listen_fd, err) < 0)
		return NULL;
	feeder->socket_path = xstrdup(options->socket_path);

	return TAKE(feeder);
}

static void
forget_ready(struct feeder *feeder, size_t count)
{
	for (size_t i = 0; i < count; i++)
		closep(&feeder->ready[i].fd);
	feeder->ready_count -= count;
	memmove(feeder->ready, feeder->ready + count,
	    feeder->ready_count * sizeof(feeder->ready[0]));
}

static void
forget_spares(struct feeder *feeder)
{
	while (feeder->spares_count > 0)
		closep(&feeder->spares[--feeder->spares_count]);
}

void
feeder_free(struct feeder *feeder)
{
	if (feeder == NULL)
		return;
	forget_ready(feeder, feeder->ready_count);
	forget_spares(feeder);
	if (feeder->socket_path != NULL)
		(void)unlink(feeder->socket_path);
	closep(&feeder->listen_fd);
	free(feeder->socket_path);
	free(feeder);
}

int
feeder_fd(const struct feeder *feeder)
{
	return feeder->listen_fd;
}

struct feeder_counts
feeder_counts(const struct feeder *feeder)
{
	return feeder->counts;
}

const char *
feeder_last_doubt(const struct feeder *feeder)
{
	return feeder->last_doubt;
}

/* ---- a segment, expanded ------------------------------------------------------------------------- */

/* Memory, or for the large ones a file without a name. */
static int
open_own(const struct feeder *feeder, const char *name, int *ret_fd, struct err *err)
{
	const char *folder = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/var/tmp";
	bool is_large = feeder->segment_bytes > AHEAD_MAX_BYTES;
	int fd = is_large ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)
			  : memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_sys(err, "cannot keep a segment %s%s", is_large ? "in " : "in memory",
		    is_large ? folder : "");
	*ret_fd = fd;

	return 0;
}

/*
 * A spare, which then needs no copy; -1: none that will do.  The server that recovers writes to
 * the same disk, so not when that is nearly full.
 */
static int
take_spare(struct feeder *feeder)
{
	SCOPED(closep) int fd = -1;
	struct statvfs disk;
	struct stat st;

	if (feeder->spares_count == 0)
		return -1;
	fd = feeder->spares[--feeder->spares_count];
	if (fstat(fd, &st) < 0 || st.st_size != 0 || fstatvfs(fd, &disk) < 0 ||
	    disk.f_bavail * disk.f_frsize < feeder->segment_bytes * SPARE_ROOM)
		return -1;

	return TAKE_FD(fd);
}

/*
 * The server makes its file durable before it replays it: that is done when it asks, if the disk
 * begins now.  In memory, who gets it may not change it; files belong to him alone.
 */
static void
finish_file(int fd, bool is_spare)
{
	if (is_spare)
		(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	else
		(void)fcntl(fd, F_ADD_SEALS,
		    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
}

static int
expand_file(struct feeder *feeder, const char *name, struct wal_delivery *delivery, int *ret_fd,
    struct err *err)
{
	SCOPED(closep) int fd = take_spare(feeder);
	bool is_spare = fd >= 0;

	if ((!is_spare && open_own(feeder, name, &fd, err) < 0) ||
	    wal_deliver(feeder->options.archive, name, feeder->options.system_identifier, fd, name,
		delivery, err) < 0)
		return -1;
	finish_file(fd, is_spare);
	if (delivery->result == FETCH_DELIVERED)
		*ret_fd = TAKE_FD(fd);

	return 0;
}

/* If it is the disk of the spares that failed, memory will do, and what is kept there must go. */
static int
expand_wanted(struct feeder *feeder, const char *name, struct wal_delivery *delivery, int *ret_fd,
    struct err *err)
{
	bool has_spares = feeder->spares_count > 0;

	if (expand_file(feeder, name, delivery, ret_fd, err) == 0)
		return 0;
	if (!has_spares)
		return -1;
	log_debug("feeder: %s: %s", name, err->msg);
	forget_ready(feeder, feeder->ready_count);
	forget_spares(feeder);
	err_clear(err);

	return expand_file(feeder, name, delivery, ret_fd, err);
}

/* ---- ahead ------------------------------------------------------------------------------------- */

static bool
name_after(const struct feeder *feeder, const char *name, char *ret_next)
{
	uint32_t timeline;
	uint64_t segment;

	if (feeder->segment_bytes == 0 ||
	    !wal_name_parse(name, feeder->segment_bytes, &timeline, &segment))
		return false;
	(void)wal_name_format(timeline, segment + 1, feeder->segment_bytes, ret_next);

	return true;
}

/* `name` was delivered: what stands before it was passed over, what follows is wanted. */
static void
look_ahead(struct feeder *feeder, const char *name, const struct wal_delivery *delivery)
{
	feeder->next[0] = '\0';
	if (wal_file_of(name) != WAL_FILE_SEGMENT)
		return;
	if (delivery != NULL)
		feeder->segment_bytes = delivery->bytes;
	if (delivery != NULL && delivery->is_growing)
		return;
	if (!name_after(feeder, name, feeder->next))
		return;
	/* What is ready is a run of names; it may go on from here, or be about another place. */
	if (feeder->ready_count > 0 && strcmp(feeder->ready[0].name, feeder->next) != 0)
		forget_ready(feeder, feeder->ready_count);
	if (feeder->ready_count > 0)
		(void)name_after(feeder, feeder->ready[feeder->ready_count - 1].name, feeder->next);
}

static bool
is_due(const struct feeder *feeder)
{
	size_t max = AHEAD_MAX;

	if (feeder->segment_bytes * AHEAD_MAX > AHEAD_MAX_BYTES)
		max = (size_t)(AHEAD_MAX_BYTES / feeder->segment_bytes);
	if (max == 0)
		max = 1;

	return feeder->next[0] != '\0' && feeder->ready_count < max;
}

/*
 * One more.  Only what is whole is kept: a tail may have grown when it is asked for, something
 * absent may have come, and a failure is told to the one who asks.
 */
static void
make_ready(struct feeder *feeder)
{
	struct ready *ready = &feeder->ready[feeder->ready_count];
	struct wal_delivery delivery = { .result = FETCH_ABSENT };
	struct err err = ERR_INIT;
	SCOPED(closep) int fd = -1;

	if (expand_file(feeder, feeder->next, &delivery, &fd, &err) < 0)
		log_debug("feeder: %s: %s", feeder->next, err.msg);
	if (fd < 0 || delivery.is_growing || delivery.note[0] != '\0') {
		feeder->next[0] = '\0';
		return;
	}
	(void)snprintf(ready->name, sizeof(ready->name), "%s", feeder->next);
	ready->fd = TAKE_FD(fd);
	feeder->ready_count++;
	(void)name_after(feeder, ready->name, feeder->next);
}

/* ---- answers ------------------------------------------------------------------------------------ */

static void
doubt(struct feeder *feeder, struct feed_answer *answer, const struct err *err)
{
	answer->status = FEED_DOUBT;
	(void)snprintf(answer->text, sizeof(answer->text), "%s%s%s", err->msg,
	    err->hint[0] != '\0' ? "\nhint: " : "", err->hint);
	(void)snprintf(feeder->last_doubt, sizeof(feeder->last_doubt), "%s", answer->text);
	feeder->counts.doubts++;
}

static void
find_file(struct feeder *feeder, const char *name, struct feed_answer *answer)
{
	struct wal_delivery delivery = { .result = FETCH_ABSENT };
	struct err err = ERR_INIT;

	if (expand_wanted(feeder, name, &delivery, &answer->fd, &err) < 0) {
		doubt(feeder, answer, &err);
		return;
	}
	(void)snprintf(answer->text, sizeof(answer->text), "%s", delivery.note);
	if (delivery.result == FETCH_ABSENT) {
		answer->status = FEED_ABSENT;
		feeder->counts.absent++;
		return;
	}
	answer->status = FEED_DELIVERED;
	feeder->counts.delivered++;
	look_ahead(feeder, name, &delivery);
}

static void
find_answer(struct feeder *feeder, const char *name, struct feed_answer *answer)
{
	for (size_t i = 0; i < feeder->ready_count; i++) {
		if (strcmp(feeder->ready[i].name, name) != 0)
			continue;
		answer->status = FEED_DELIVERED;
		answer->fd = TAKE_FD(feeder->ready[i].fd);
		feeder->counts.delivered++;
		feeder->counts.ready++;
		forget_ready(feeder, i + 1);
		look_ahead(feeder, name, NULL);
		return;
	}
	find_file(feeder, name, answer);
}

static int
check_client(const struct feeder *feeder, int connection, struct err *err)
{
	struct ucred who;
	socklen_t size = sizeof(who);

	if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
		return err_sys(err, "cannot tell who asks");
	if (who.uid == 0 || who.uid == geteuid() || who.uid == feeder->options.uid)
		return 0;

	return err_set(err, ERR_PERMISSION, "user %u may not ask this feeder", (unsigned)who.uid);
}

static void
keep_spares(struct feeder *feeder, struct feed_question *question)
{
	while (question->spares_count > 0 && feeder->spares_count < AHEAD_MAX)
		feeder->spares[feeder->spares_count++] =
		    TAKE_FD(question->spares[--question->spares_count]);
}

static void
serve_client(struct feeder *feeder, int connection)
{
	SCOPED(feed_question_done) struct feed_question question = { .spares_count = 0 };
	SCOPED(feed_answer_done) struct feed_answer answer = { .fd = -1 };
	struct err err = ERR_INIT;

	if (feed_read_question(connection, &question, &err) < 0) {
		log_debug("feeder: %s", err.msg);
		return;
	}
	if (check_client(feeder, connection, &err) < 0) {
		doubt(feeder, &answer, &err);
	} else {
		keep_spares(feeder, &question);
		find_answer(feeder, question.name, &answer);
	}
	if (feed_send(connection, &answer, &err) < 0)
		log_debug("feeder: %s", err.msg);
}

static int
wait_for_client(const struct feeder *feeder, int timeout_ms, struct err *err)
{
	struct pollfd polled[] = {
		{ .fd = feeder->listen_fd, .events = POLLIN },
		{ .fd = stop_fd(), .events = POLLIN },
	};

	if (stop_check(err) < 0)
		return -1;
	if (poll(polled, ARRAY_SIZE(polled), timeout_ms) < 0 && errno != EINTR)
		return err_sys(err, "cannot wait for who asks the feeder");

	return stop_check(err);
}

/* 1: somebody was answered. */
static int
serve_one(struct feeder *feeder, struct err *err)
{
	SCOPED(closep) int connection = accept4(feeder->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (connection >= 0) {
		serve_client(feeder, connection);
		feeder->asked_at = clock_mono();
		return 1;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return 0;

	return err_sys(err, "cannot accept who asks the feeder");
}

int
feeder_serve(struct feeder *feeder, int timeout_ms, struct err *err)
{
	int served = serve_one(feeder, err);

	if (served != 0)
		return served > 0 ? 0 : -1;
	if (is_due(feeder)) {
		make_ready(feeder);
		return 0;
	}
	if (wait_for_client(feeder, timeout_ms, err) < 0)
		return -1;

	return serve_one(feeder, err) < 0 ? -1 : 0;
}

/* ---- on its own --------------------------------------------------------------------------------- */

/* The folder is the one that it was: the same file system, mounted, and not another store. */
static bool
is_same_folder(const struct archive *archive, const struct stat *before)
{
	struct stat now;

	return stat(archive->path, &now) == 0 && now.st_dev == before->st_dev &&
	    now.st_ino == before->st_ino;
}

int
wal_feed(struct archive *archive, const struct feed_request *request, struct err *err)
{
	const struct feeder_options options = {
		.archive = archive,
		.socket_path = request->socket_path,
		.uid = geteuid(),
	};
	SCOPED(feeder_freep) struct feeder *feeder = feeder_open(&options, err);
	struct stat before;

	if (feeder == NULL)
		return -1;
	if (stat(archive->path, &before) < 0)
		return err_sys(err, "cannot look at '%s'", archive->path);
	feeder->segment_bytes = request->delivered_bytes;
	look_ahead(feeder, request->delivered, NULL);
	while (clock_elapsed_us(feeder->asked_at) < request->idle_us &&
	    is_same_folder(archive, &before)) {
		if (feeder_serve(feeder, STEP_MS, err) < 0)
			return err->kind == ERR_CANCELLED ? 0 : -1;
	}

	return 0;
}
