#include "source/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/stop.h"

enum {
	BACKLOG = 8,
	REQUEST_TIMEOUT_MS = 1000,
	SAVE_PIECE_BYTES = 4 * 1024 * 1024,
};

/* Descriptors beside a message: FEED_SPARES of them at most. */
union rights {
	struct cmsghdr header;
	char space[CMSG_SPACE(FEED_SPARES * sizeof(int))];
};

void
feed_answer_done(struct feed_answer *answer)
{
	closep(&answer->fd);
}

static void
close_all(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		closep(&fds[i]);
}

void
feed_question_done(struct feed_question *question)
{
	close_all(question->spares, question->spares_count);
	question->spares_count = 0;
}

static int
make_address(const char *socket_path, struct sockaddr_un *ret_address, struct err *err)
{
	if (strlen(socket_path) > FEED_PATH_MAX)
		return err_set(err, ERR_LIMIT, "'%s' is too long for a socket: %d bytes at most",
		    socket_path, FEED_PATH_MAX);
	*ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "%s", socket_path);

	return 0;
}

/* Until `fd` is ready, a stop, or the time is over; -1: for ever. */
static int
wait_for(int fd, short events, int timeout_ms, struct err *err)
{
	struct pollfd polled[] = {
		{ .fd = fd, .events = events },
		{ .fd = stop_fd(), .events = POLLIN },
	};
	int got;

	do {
		if (stop_check(err) < 0)
			return -1;
		got = poll(polled, ARRAY_SIZE(polled), timeout_ms);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_sys(err, "cannot wait for the feeder");
	if (stop_check(err) < 0)
		return -1;

	return got > 0 ? 0 : err_set(err, ERR_TIMEOUT, "no answer within %d ms", timeout_ms);
}

/* ---- descriptors --------------------------------------------------------------------------------- */

/* A message, with room for descriptors or without. */
static struct msghdr
message_of(struct iovec *parts, size_t parts_count, union rights *rights, size_t fds_count)
{
	return (struct msghdr){
		.msg_iov = parts,
		.msg_iovlen = parts_count,
		.msg_control = fds_count > 0 ? rights->space : NULL,
		.msg_controllen = fds_count > 0 ? CMSG_SPACE(fds_count * sizeof(int)) : 0,
	};
}

static void
put_rights(union rights *rights, const int *fds, size_t count)
{
	rights->header.cmsg_level = SOL_SOCKET;
	rights->header.cmsg_type = SCM_RIGHTS;
	rights->header.cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(&rights->header), fds, count * sizeof(int));
}

/* Those that came with a message, yours; the kernel closed what found no room in it. */
static size_t
take_rights(struct msghdr *message, int *ret_fds)
{
	const struct cmsghdr *header = CMSG_FIRSTHDR(message);
	size_t count;

	if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return 0;
	count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(ret_fds, CMSG_DATA(header), count * sizeof(int));

	return count;
}

/* ---- asking ------------------------------------------------------------------------------------ */

static int
gone(struct err *err)
{
	return err_set(err, ERR_NET, "the feeder went away before it had answered");
}

/* The first piece of the answer, and the descriptor that may come with it. */
static int
receive_first(int fd, struct feed_answer *answer, size_t *ret_size, struct err *err)
{
	union rights rights = { .space = { 0 } };
	char status = 0;
	struct iovec parts[] = {
		{ .iov_base = &status, .iov_len = 1 },
		{ .iov_base = answer->text, .iov_len = sizeof(answer->text) - 1 },
	};
	struct msghdr message = message_of(parts, ARRAY_SIZE(parts), &rights, FEED_SPARES);
	int fds[FEED_SPARES];
	size_t count;
	ssize_t got;

	if (wait_for(fd, POLLIN, -1, err) < 0)
		return -1;
	got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	if (got <= 0)
		return gone(err);
	count = take_rights(&message, fds);
	if (count == 1)
		answer->fd = fds[0];
	else
		close_all(fds, count);
	answer->status = (enum feed_status)status;
	*ret_size = (size_t)got - 1;

	return 0;
}

static int
receive(int fd, struct feed_answer *answer, struct err *err)
{
	size_t size = 0;
	ssize_t got = 1;

	if (receive_first(fd, answer, &size, err) < 0)
		return -1;
	while (got > 0 && size < sizeof(answer->text) - 1) {
		if (wait_for(fd, POLLIN, -1, err) < 0)
			return -1;
		got = read(fd, answer->text + size, sizeof(answer->text) - 1 - size);
		size += got > 0 ? (size_t)got : 0;
	}
	answer->text[size] = '\0';
	if (got < 0 || (answer->status == FEED_DELIVERED) != (answer->fd >= 0) ||
	    (answer->status != FEED_DELIVERED && answer->status != FEED_ABSENT &&
		answer->status != FEED_DOUBT))
		return gone(err);

	return 0;
}

/* As many as the file system makes; who asks without any gets a copy. */
static size_t
make_spares(const char *path, int *ret_fds)
{
	const char *slash = strrchr(path, '/');
	SCOPED(freep)
	char *folder = xasprintf("%.*s.", slash != NULL ? (int)(slash - path + 1) : 0, path);
	size_t count = 0;

	while (count < FEED_SPARES) {
		int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR);

		if (fd < 0)
			break;
		ret_fds[count++] = fd;
	}

	return count;
}

static bool
send_question(int fd, const char *name, const char *path)
{
	union rights rights = { .space = { 0 } };
	SCOPED(freep) char *request = xasprintf("%s\n", name);
	struct iovec part = { .iov_base = request, .iov_len = strlen(request) };
	int spares[FEED_SPARES];
	size_t count = make_spares(path, spares);
	struct msghdr message = message_of(&part, 1, &rights, count);
	ssize_t sent;

	if (count > 0)
		put_rights(&rights, spares, count);
	sent = sendmsg(fd, &message, MSG_NOSIGNAL);
	close_all(spares, count);

	return sent == (ssize_t)part.iov_len;
}

int
feed_ask(const char *socket_path, const char *name, const char *path,
    struct feed_answer *ret_answer, struct err *err)
{
	SCOPED(feed_answer_done) struct feed_answer answer = { .fd = -1 };
	SCOPED(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;

	if (strlen(name) > FEED_NAME_MAX)
		return err_set(err, ERR_USAGE, "'%.80s' is too long for a name", name);
	if (make_address(socket_path, &address, err) < 0)
		return -1;
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    !send_question(fd, name, path)) {
		(void)err_sys(err, "cannot ask the feeder at '%s'", socket_path);
		err->kind = ERR_NET;
		return -1;
	}
	if (receive(fd, &answer, err) < 0)
		return -1;
	*ret_answer = answer;
	answer.fd = -1;

	return 0;
}

/* ---- what was delivered -------------------------------------------------------------------------- */

struct half_file {
	char *path;
	int fd;
};

static void
half_file_done(struct half_file *half)
{
	closep(&half->fd);
	if (half->path != NULL)
		(void)unlink(half->path);
	free(half->path);
}

static int
copy_all(int from, int to, const char *name, struct err *err)
{
	struct stat st;
	off_t offset = 0;

	if (fstat(from, &st) < 0)
		return err_sys(err, "cannot read what the feeder gave");
	while (offset < st.st_size) {
		ssize_t got = sendfile(to, from, &offset, SAVE_PIECE_BYTES);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(err, "cannot write '%s'", name);
		if (got == 0)
			return err_set(err, ERR_DATA, "what the feeder gave is cut short");
	}

	return 0;
}

/*
 * Only a file of ours without a name can be the server's as it is; memory is on no file system
 * that it could be linked into (EXDEV).
 */
static bool
give_name(int fd, const char *path)
{
	char source[32];
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || st.st_nlink != 0)
		return false;
	(void)snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
	if (unlink(path) < 0 && errno != ENOENT)
		return false;

	return linkat(AT_FDCWD, source, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0;
}

static int
copy_into(const struct feed_answer *answer, struct half_file *half, struct err *err)
{
	half->fd = open(half->path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (half->fd < 0)
		return err_sys(err, "cannot write '%s'", half->path);

	return copy_all(answer->fd, half->fd, half->path, err);
}

int
feed_save(const struct feed_answer *answer, const char *path, struct err *err)
{
	SCOPED(half_file_done)
	struct half_file half = { .path = xasprintf("%s.blackstart", path), .fd = -1 };

	if (!give_name(answer->fd, half.path) && copy_into(answer, &half, err) < 0)
		return -1;
	if (rename(half.path, path) < 0)
		return err_sys(err, "cannot give '%s' its name", path);
	free(TAKE(half.path));

	return 0;
}

/* ---- the feeder's side ---------------------------------------------------------------------------- */

int
feed_listen(const char *socket_path, int *ret_fd, struct err *err)
{
	SCOPED(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;

	if (make_address(socket_path, &address, err) < 0)
		return -1;
	if (unlink(socket_path) < 0 && errno != ENOENT)
		return err_sys(err, "cannot remove '%s'", socket_path);
	/* Everybody may connect who reaches it; who may ask is seen by who he is. */
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(socket_path, 0666) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, "cannot listen at '%s'", socket_path);
	*ret_fd = TAKE_FD(fd);

	return 0;
}

/* The next piece of the name; spares come with the first, and what comes later is not kept. */
static ssize_t
read_piece(int connection, void *data, size_t size, struct feed_question *question)
{
	union rights rights = { .space = { 0 } };
	struct iovec part = { .iov_base = data, .iov_len = size };
	struct msghdr message = message_of(&part, 1, &rights,
	    question->spares_count == 0 ? FEED_SPARES : 0);
	ssize_t got = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);

	if (got >= 0 && message.msg_control != NULL)
		question->spares_count = take_rights(&message, question->spares);

	return got;
}

static int
read_question(int connection, struct feed_question *question, struct err *err)
{
	char name[FEED_NAME_MAX + 2];
	size_t size = 0;
	char *end = NULL;

	while (end == NULL && size < sizeof(name) - 1) {
		ssize_t got;

		if (wait_for(connection, POLLIN, REQUEST_TIMEOUT_MS, err) < 0)
			return -1;
		got = read_piece(connection, name + size, sizeof(name) - 1 - size, question);
		if (got <= 0)
			return err_set(err, ERR_NET, "the one who asked went away");
		size += (size_t)got;
		name[size] = '\0';
		end = strchr(name, '\n');
	}
	if (end == NULL)
		return err_set(err, ERR_USAGE, "the name asked for is too long");
	*end = '\0';
	(void)snprintf(question->name, sizeof(question->name), "%s", name);

	return 0;
}

int
feed_read_question(int connection, struct feed_question *ret_question, struct err *err)
{
	SCOPED(feed_question_done) struct feed_question question = { .spares_count = 0 };

	if (read_question(connection, &question, err) < 0)
		return -1;
	*ret_question = question;
	question.spares_count = 0;

	return 0;
}

int
feed_send(int connection, const struct feed_answer *answer, struct err *err)
{
	union rights rights = { .space = { 0 } };
	char status = (char)answer->status;
	struct iovec parts[] = {
		{ .iov_base = &status, .iov_len = 1 },
		{ .iov_base = (void *)(uintptr_t)answer->text, .iov_len = strlen(answer->text) },
	};
	struct msghdr message = message_of(parts, ARRAY_SIZE(parts), &rights, answer->fd >= 0);

	if (answer->fd >= 0)
		put_rights(&rights, &answer->fd, 1);
	if (sendmsg(connection, &message, MSG_NOSIGNAL) != (ssize_t)(1 + strlen(answer->text)))
		return err_sys(err, "cannot answer");

	return 0;
}
