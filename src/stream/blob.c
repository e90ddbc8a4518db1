#include "stream/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

struct file_blob {
	struct blob base;
	char *name;
	int fd;
};

int
blob_read_at(struct blob *blob, uint64_t offset, void *data, size_t size, struct err *err)
{
	return size > 0 ? blob->ops->read_at(blob, offset, data, size, err) : 0;
}

void
blob_free(struct blob *blob)
{
	if (blob != NULL)
		blob->ops->free(blob);
}

static int
file_blob_read_at(struct blob *blob, uint64_t offset, void *data, size_t size, struct err *err)
{
	char *to = data;

	while (size > 0) {
		ssize_t got = pread(((struct file_blob *)blob)->fd, to, size, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(err, "cannot read '%s' at offset %" PRIu64, blob->name,
			    offset);
		if (got == 0)
			return err_set(err, ERR_DATA, "'%s' ends at offset %" PRIu64 " of %" PRIu64,
			    blob->name, offset, blob->size_bytes);
		to += got;
		offset += (uint64_t)got;
		size -= (size_t)got;
	}

	return 0;
}

static void
file_blob_free(struct blob *blob)
{
	struct file_blob *file = (struct file_blob *)blob;

	closep(&file->fd);
	free(file->name);
	free(file);
}

static const struct blob_ops file_blob_ops = {
	.read_at = file_blob_read_at,
	.free = file_blob_free,
};

struct blob *
blob_open_file(const char *path, const char *name, struct err *err)
{
	struct file_blob *file;
	struct stat st;
	/* Not blocking: a pipe put in the place of a file must not hang us before we see it. */
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) < 0) {
		(void)err_sys(err, "cannot open '%s'", name);
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		(void)err_set(err, ERR_DATA, "'%s' is not a file", name);
		return NULL;
	}
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);

	file = xcalloc(1, sizeof(*file));
	file->name = xstrdup(name);
	file->fd = TAKE_FD(fd);
	file->base = (struct blob){
		.ops = &file_blob_ops,
		.name = file->name,
		.size_bytes = (uint64_t)st.st_size,
	};

	return &file->base;
}
