#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "os/stop.h"
#include "source/postgres/base/content.h"
#include "source/postgres/base/page_scan.h"
#include "source/postgres/base/trial_internal.h"
#include "source/source.h"

enum {
	READ_BYTES = 1024 * 1024,
	ENTRIES_MAX = 64 * 1024 * 1024,
	DEPTH_MAX = 5, /* pg_tblspc/OID/PG_.../DATABASE/FILE */
};

struct walk {
	const struct base_content *content;
	struct page_scan pages;
	uint8_t *buffer;
};

static int
scan_file(struct walk *walk, const char *file, const char *path, struct err *err)
{
	SCOPED(closep) int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t got = -1;

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", file);
	if (!page_scan_begin(&walk->pages, path))
		return 0;
	walk->pages.is_known_damaged = base_content_is_damaged(walk->content, path);
	while ((got = read(fd, walk->buffer, READ_BYTES)) > 0)
		page_scan_data(&walk->pages, walk->buffer, (size_t)got);
	if (got < 0)
		return err_sys(err, "cannot read '%s'", file);
	page_scan_end(&walk->pages);

	return stop_check(err);
}

/* `path` is relative to the data directory.  Links are followed: tablespaces are links. */
static int
scan_folder(struct walk *walk, const char *folder, const char *path, unsigned depth,
    struct err *err)
{
	SCOPED(dir_listing_done) struct dir_listing listing = { .names = NULL };

	if (dir_list(folder, ENTRIES_MAX, &listing, err) < 0)
		return -1;
	for (size_t i = 0; i < listing.count; i++) {
		SCOPED(freep) char *below = path_join(folder, listing.names[i]);
		SCOPED(freep) char *below_path = path_join(path, listing.names[i]);
		uint32_t block;

		if (page_file_has_checksums(below_path, &block)) {
			if (scan_file(walk, below, below_path, err) < 0)
				return -1;
		} else if (depth < DEPTH_MAX && dir_exists(below)) {
			if (scan_folder(walk, below, below_path, depth + 1, err) < 0)
				return -1;
		}
	}

	return 0;
}

int
base_check_stopped(const struct base_content *content, const char *data_dir,
    struct verify_report *report, struct err *err)
{
	static const char *const folders[] = { "base", "global", "pg_tblspc" };
	SCOPED(freep) struct walk *walk = xcalloc(1, sizeof(*walk));
	SCOPED(freep) uint8_t *buffer = xmalloc(READ_BYTES);
	int result = 0;

	walk->content = content;
	walk->buffer = buffer;
	for (size_t i = 0; i < ARRAY_SIZE(folders) && result == 0; i++) {
		SCOPED(freep) char *folder = path_join(data_dir, folders[i]);

		result = scan_folder(walk, folder, folders[i], 1, err);
	}
	if (result < 0)
		return -1;
	if (walk->pages.bad_count > 0)
		return err_set(err, ERR_DATA,
		    "after recovery the page checksum is wrong in file '%s', "
		    "block %u",
		    walk->pages.bad[0].path, walk->pages.bad[0].block);
	vec_push(&report->notes,
	    xasprintf("after recovery all %llu pages have right checksums",
		(unsigned long long)walk->pages.pages));

	return 0;
}
