#include "source/postgres/wal/offered.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/file.h"
#include "source/postgres/wal/stored.h"
#include "stream/sink.h"

enum { CHUNK_BYTES = 128 * 1024 };

int
wal_offered_open(struct wal_offered *offered, const char *path, struct err *err)
{
	struct stat st;

	offered->path = path;
	offered->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (offered->fd < 0 || fstat(offered->fd, &st) < 0) {
		(void)err_sys(err, "cannot open '%s'", path);
		return err_hint(err,
		    "In postgresql.conf, archive_command names it with %%p; the server runs it in its data directory.");
	}
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_DATA, "'%s' is not a file", path);
	offered->bytes = (uint64_t)st.st_size;

	return 0;
}

void
wal_offered_done(struct wal_offered *offered)
{
	closep(&offered->fd);
}

int
wal_offered_read(const struct wal_offered *offered, uint64_t offset, void *data, size_t size,
    size_t *ret_got, struct err *err)
{
	ssize_t got;

	do {
		got = pread(offered->fd, data, size, (off_t)offset);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_sys(err, "cannot read '%s'", offered->path);
	*ret_got = (size_t)got;

	return 0;
}

/* ---- compared ---- */

/* Compares what passes with the server's file. */
struct compare_sink {
	struct sink base;
	const struct wal_offered *offered;
	uint8_t *other;
	uint64_t offset;
	enum wal_sameness sameness;
};

static size_t
first_difference(const uint8_t *a, const uint8_t *b, size_t size)
{
	size_t at = 0;

	while (at < size && a[at] == b[at])
		at++;

	return at;
}

/*
 * The first byte that differs decides.  Zero in a tail: it was not received yet; what is behind it
 * may be written while we look, and proves nothing.
 */
static int
compare_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	struct compare_sink *compare = (struct compare_sink *)sink;
	const uint8_t *stored = data;

	while (size > 0 && compare->sameness == WAL_SAME) {
		size_t got = 0, piece = size < CHUNK_BYTES ? size : CHUNK_BYTES;

		if (wal_offered_read(compare->offered, compare->offset, compare->other, piece, &got,
			err) < 0)
			return -1;
		if (got == 0 || memcmp(stored, compare->other, got) != 0) {
			size_t at = first_difference(stored, compare->other, got);

			compare->sameness = at < got && stored[at] == 0 ? WAL_UNFINISHED
									: WAL_DIFFERENT;
		}
		compare->offset += got;
		stored += got;
		size -= got;
	}

	return 0;
}

static const struct sink_ops compare_ops = { .name = "compare", .write = compare_write };

int
wal_offered_compare(const struct wal_offered *offered, struct blob *blob,
    enum wal_sameness *ret_sameness, struct err *err)
{
	SCOPED(freep) uint8_t *other = xmalloc(CHUNK_BYTES);
	struct compare_sink to = {
		.base = { .ops = &compare_ops },
		.offered = offered,
		.other = other,
		.sameness = WAL_SAME,
	};

	if (wal_stored_read(blob, &to.base, err) < 0)
		return -1;
	if (to.sameness == WAL_SAME && to.offset != offered->bytes)
		to.sameness = WAL_DIFFERENT;
	*ret_sameness = to.sameness;

	return 0;
}
