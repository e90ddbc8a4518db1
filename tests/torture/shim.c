/*
 * Preloaded into the program under test: a disk below $SHIM_ROOT that loses what was not synced,
 * and that can fill, fail, be slow, and lose its power at a chosen call.
 *
 *	SHIM_ROOT     the folder, its real path
 *	SHIM_SHADOW   where its durable copy is kept (shadow.h), made by `powerloss init`
 *	SHIM_CONTROL  the file through which the harness gives orders (control.h)
 *	SHIM_READS    only reading of files with this in their path can fail; all of them if unset
 *
 * Files that are written through a shared mapping or by O_SYNC are not modelled: the program has
 * none below its store.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "shadow.h"

#define EXPORT __attribute__((visibility("default")))

/* The function of this name behind ours. */
#define REAL(name) ((__typeof__(&name))real(#name))

static struct control *control;
static const char *root;
static const char *shadow;
static const char *reads;
/* Our own calls go straight through. */
static _Thread_local int inside;

static void *
real(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (found == NULL)
		abort();

	return found;
}

/* A server that we are loaded into writes its title over its environment. */
static char *
copy_of(const char *text)
{
	char *copy = text != NULL ? strdup(text) : NULL;

	if (text != NULL && copy == NULL)
		abort();

	return copy;
}

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("SHIM_CONTROL");
	int fd;

	root = copy_of(getenv("SHIM_ROOT"));
	shadow = copy_of(getenv("SHIM_SHADOW"));
	reads = copy_of(getenv("SHIM_READS"));
	if (path == NULL || root == NULL || shadow == NULL)
		return;
	inside++;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		/* Another user's process that the program started: it is not under test. */
		inside--;
		return;
	}
	control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (control == MAP_FAILED)
		abort();
	(void)close(fd);
	inside--;
}

/* ---- what lies below the root ---- */

static bool
is_below_root(const char *path)
{
	size_t size = strlen(root);

	return strncmp(path, root, size) == 0 && (path[size] == '\0' || path[size] == '/');
}

/* The path behind a descriptor, of SHADOW_PATH_BYTES; "" when it has none. */
static void
path_of(int fd, char *path)
{
	char link[64];
	ssize_t size;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	size = readlink(link, path, SHADOW_PATH_BYTES - 1);
	path[size > 0 ? size : 0] = '\0';
}

static bool
is_ours_fd(int fd)
{
	char path[SHADOW_PATH_BYTES];

	if (control == NULL || inside > 0)
		return false;
	path_of(fd, path);

	return is_below_root(path);
}

/* Is it one of the files whose reading can fail? */
static bool
is_read_fd(int fd)
{
	char path[SHADOW_PATH_BYTES];

	if (control == NULL || inside > 0)
		return false;
	path_of(fd, path);

	return is_below_root(path) && (reads == NULL || strstr(path, reads) != NULL);
}

static bool
is_ours_at(int folder, const char *path)
{
	if (control == NULL || inside > 0)
		return false;
	if (path[0] == '/')
		return is_below_root(path);
	if (folder == AT_FDCWD) {
		char cwd[SHADOW_PATH_BYTES];

		return getcwd(cwd, sizeof(cwd)) != NULL && is_below_root(cwd);
	}

	return is_ours_fd(folder);
}

/* ---- the orders ---- */

/* Take one from the counter; what is left of it is -1 when there was none. */
static int64_t
count_down(_Atomic uint64_t *counter)
{
	uint64_t now = atomic_load(counter);

	while (now > 0) {
		if (atomic_compare_exchange_weak(counter, &now, now - 1))
			return (int64_t)(now - 1);
	}

	return -1;
}

/* True for the one call that takes it to zero. */
static bool
is_due(_Atomic uint64_t *counter)
{
	return count_down(counter) == 0;
}

static bool
take_one(_Atomic uint64_t *counter)
{
	return count_down(counter) >= 0;
}

static void
wait_us(uint64_t us)
{
	struct timespec left = { .tv_sec = (time_t)(us / 1000000),
		.tv_nsec = (long)(us % 1000000) * 1000 };

	while (us > 0 && nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

/* Without power nothing goes on; the harness takes the process away. */
static void
stop_if_frozen(void)
{
	while (atomic_load(&control->is_frozen) != 0)
		(void)pause();
}

static _Noreturn void
lose_power(void)
{
	atomic_store(&control->is_frozen, 1);
	atomic_store(&control->died, (uint64_t)getpid());
	(void)kill(getpid(), SIGKILL);
	for (;;)
		(void)pause();
}

/* Before a call: wait, die, or say with which errno it fails (0: it does not). */
static int
before(enum call kind)
{
	struct control_call *call = &control->calls[kind];
	int error = 0;

	atomic_fetch_add(&call->seen, 1);
	wait_us(atomic_load(&call->delay_us));
	stop_if_frozen();
	if (is_due(&call->die_before))
		lose_power();
	if ((is_due(&call->fail_after) || atomic_load(&call->fail_after) == 0) &&
	    take_one(&call->fail_count)) {
		error = (int)atomic_load(&call->fail_errno);
		atomic_fetch_add(&call->failed, 1);
	}

	return error;
}

static void
behind(enum call kind)
{
	if (is_due(&control->calls[kind].die_behind))
		lose_power();
}

static int
fail(int error)
{
	errno = error;

	return -1;
}

/* ---- sync ---- */

static bool
is_folder(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

static int
sync_one(int fd)
{
	bool is_of_folder = is_folder(fd);
	enum call kind = is_of_folder ? CALL_SYNC_FOLDER : CALL_SYNC;
	int error = before(kind);

	inside++;
	if (error == 0 && is_of_folder)
		shadow_sync_folder(shadow, fd);
	else if (error == 0)
		shadow_sync_file(shadow, fd);
	else if (!is_of_folder)
		shadow_lose(shadow, fd);
	inside--;
	if (error != 0)
		return fail(error);
	behind(kind);

	return 0;
}

EXPORT int
fsync(int fd)
{
	return is_ours_fd(fd) ? sync_one(fd) : REAL(fsync)(fd);
}

EXPORT int
fdatasync(int fd)
{
	return is_ours_fd(fd) ? sync_one(fd) : REAL(fdatasync)(fd);
}

EXPORT int
syncfs(int fd)
{
	int error;

	if (!is_ours_fd(fd))
		return REAL(syncfs)(fd);
	error = before(CALL_SYNC);
	if (error != 0)
		return fail(error);
	inside++;
	shadow_sync_tree(shadow, root);
	inside--;
	behind(CALL_SYNC);

	return 0;
}

/* ---- writing ---- */

static void
note_write(int fd, uint64_t offset, ssize_t written)
{
	int sys = errno;

	if (written > 0) {
		inside++;
		shadow_wrote(shadow, fd, offset, (uint64_t)written);
		inside--;
	}
	errno = sys;
	behind(CALL_WRITE);
}

/* A disk that fills takes some of it first. */
static size_t
size_that_fits(int error, size_t size)
{
	return error == ENOSPC ? size / 2 : 0;
}

static ssize_t
write_below_root(int fd, const void *data, size_t size, off_t offset)
{
	int error = before(CALL_WRITE);
	ssize_t written;

	if (error != 0) {
		size = size_that_fits(error, size);
		if (size == 0)
			return fail(error);
	}
	written = REAL(pwrite)(fd, data, size, offset);
	note_write(fd, (uint64_t)offset, written);

	return written;
}

EXPORT ssize_t
pwrite(int fd, const void *data, size_t size, off_t offset)
{
	return is_ours_fd(fd) ? write_below_root(fd, data, size, offset)
			      : REAL(pwrite)(fd, data, size, offset);
}

EXPORT ssize_t
pwrite64(int fd, const void *data, size_t size, off_t offset)
{
	return pwrite(fd, data, size, offset);
}

EXPORT ssize_t
write(int fd, const void *data, size_t size)
{
	int error;
	off_t at;
	ssize_t written;

	if (!is_ours_fd(fd))
		return REAL(write)(fd, data, size);
	error = before(CALL_WRITE);
	if (error != 0) {
		size = size_that_fits(error, size);
		if (size == 0)
			return fail(error);
	}
	written = REAL(write)(fd, data, size);
	at = lseek(fd, 0, SEEK_CUR);
	note_write(fd, written > 0 ? (uint64_t)(at - written) : 0, written);

	return written;
}

EXPORT ssize_t
writev(int fd, const struct iovec *parts, int count)
{
	int error;
	off_t at;
	ssize_t written;

	if (!is_ours_fd(fd))
		return REAL(writev)(fd, parts, count);
	error = before(CALL_WRITE);
	if (error != 0)
		return fail(error);
	written = REAL(writev)(fd, parts, count);
	at = lseek(fd, 0, SEEK_CUR);
	note_write(fd, written > 0 ? (uint64_t)(at - written) : 0, written);

	return written;
}

EXPORT int
ftruncate(int fd, off_t size)
{
	int error;

	if (!is_ours_fd(fd))
		return REAL(ftruncate)(fd, size);
	error = before(CALL_WRITE);
	if (error != 0)
		return fail(error);

	return REAL(ftruncate)(fd, size);
}

EXPORT int
ftruncate64(int fd, off_t size)
{
	return ftruncate(fd, size);
}

EXPORT int
fallocate(int fd, int mode, off_t offset, off_t size)
{
	int error;

	if (!is_ours_fd(fd))
		return REAL(fallocate)(fd, mode, offset, size);
	error = before(CALL_WRITE);
	if (error != 0)
		return fail(error);

	return REAL(fallocate)(fd, mode, offset, size);
}

EXPORT int
fallocate64(int fd, int mode, off_t offset, off_t size)
{
	return fallocate(fd, mode, offset, size);
}

EXPORT int
posix_fallocate(int fd, off_t offset, off_t size)
{
	int error;

	if (!is_ours_fd(fd))
		return REAL(posix_fallocate)(fd, offset, size);
	error = before(CALL_WRITE);
	/* This one returns its error. */
	return error != 0 ? error : REAL(posix_fallocate)(fd, offset, size);
}

EXPORT int
posix_fallocate64(int fd, off_t offset, off_t size)
{
	return posix_fallocate(fd, offset, size);
}

EXPORT ssize_t
copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t size, unsigned flags)
{
	int error;

	if (!is_ours_fd(to))
		return REAL(copy_file_range)(from, from_at, to, to_at, size, flags);
	error = before(CALL_WRITE);
	if (error != 0)
		return fail(error);

	return REAL(copy_file_range)(from, from_at, to, to_at, size, flags);
}

/* ---- reading and opening ---- */

EXPORT ssize_t
read(int fd, void *data, size_t size)
{
	int error = is_read_fd(fd) ? before(CALL_READ) : 0;

	return error != 0 ? fail(error) : REAL(read)(fd, data, size);
}

EXPORT ssize_t
pread(int fd, void *data, size_t size, off_t offset)
{
	int error = is_read_fd(fd) ? before(CALL_READ) : 0;

	return error != 0 ? fail(error) : REAL(pread)(fd, data, size, offset);
}

EXPORT ssize_t
pread64(int fd, void *data, size_t size, off_t offset)
{
	return pread(fd, data, size, offset);
}

/* Making a file is a change of its folder. */
static int
open_below_root(int folder, const char *path, int flags, mode_t mode)
{
	bool is_made = (flags & O_CREAT) != 0;
	int error = 0;
	int fd;

	if (is_made)
		error = before(CALL_NAME);
	if (error != 0)
		return fail(error);
	fd = REAL(openat)(folder, path, flags, mode);
	if (is_made)
		behind(CALL_NAME);

	return fd;
}

static int
open_any(int folder, const char *path, int flags, mode_t mode)
{
	return is_ours_at(folder, path) ? open_below_root(folder, path, flags, mode)
					: REAL(openat)(folder, path, flags, mode);
}

static mode_t
mode_of(int flags, va_list list)
{
	return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0;
}

EXPORT int
openat(int folder, const char *path, int flags, ...)
{
	va_list list;

	va_start(list, flags);
	mode_t mode = mode_of(flags, list);
	va_end(list);

	return open_any(folder, path, flags, mode);
}

EXPORT int
openat64(int folder, const char *path, int flags, ...)
{
	va_list list;

	va_start(list, flags);
	mode_t mode = mode_of(flags, list);
	va_end(list);

	return open_any(folder, path, flags, mode);
}

EXPORT int
open(const char *path, int flags, ...)
{
	va_list list;

	va_start(list, flags);
	mode_t mode = mode_of(flags, list);
	va_end(list);

	return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int
open64(const char *path, int flags, ...)
{
	va_list list;

	va_start(list, flags);
	mode_t mode = mode_of(flags, list);
	va_end(list);

	return open_any(AT_FDCWD, path, flags, mode);
}

/* ---- names ---- */

/* A change of a folder: its orders, the call itself, and dying behind it. */
#define CHANGE_NAME(is_ours, call)                                                                 \
	do {                                                                                       \
		bool ours = (is_ours);                                                             \
		int error = ours ? before(CALL_NAME) : 0;                                          \
		int result = error != 0 ? fail(error) : (call);                                    \
		int sys = errno;                                                                   \
                                                                                                   \
		if (ours)                                                                          \
			behind(CALL_NAME);                                                         \
		errno = sys;                                                                       \
		return result;                                                                     \
	} while (0)

EXPORT int
rename(const char *from, const char *to)
{
	CHANGE_NAME(is_ours_at(AT_FDCWD, to), REAL(rename)(from, to));
}

EXPORT int
renameat(int from_folder, const char *from, int to_folder, const char *to)
{
	CHANGE_NAME(is_ours_at(to_folder, to), REAL(renameat)(from_folder, from, to_folder, to));
}

EXPORT int
renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
	CHANGE_NAME(is_ours_at(to_folder, to),
	    REAL(renameat2)(from_folder, from, to_folder, to, flags));
}

EXPORT int
linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
	CHANGE_NAME(is_ours_at(to_folder, to),
	    REAL(linkat)(from_folder, from, to_folder, to, flags));
}

EXPORT int
link(const char *from, const char *to)
{
	CHANGE_NAME(is_ours_at(AT_FDCWD, to), REAL(link)(from, to));
}

EXPORT int
unlinkat(int folder, const char *path, int flags)
{
	CHANGE_NAME(is_ours_at(folder, path), REAL(unlinkat)(folder, path, flags));
}

EXPORT int
unlink(const char *path)
{
	CHANGE_NAME(is_ours_at(AT_FDCWD, path), REAL(unlink)(path));
}

EXPORT int
rmdir(const char *path)
{
	CHANGE_NAME(is_ours_at(AT_FDCWD, path), REAL(rmdir)(path));
}

EXPORT int
mkdirat(int folder, const char *path, mode_t mode)
{
	CHANGE_NAME(is_ours_at(folder, path), REAL(mkdirat)(folder, path, mode));
}

EXPORT int
mkdir(const char *path, mode_t mode)
{
	CHANGE_NAME(is_ours_at(AT_FDCWD, path), REAL(mkdir)(path, mode));
}
