/*
 * Whatever bytes a manifest is made of: it is refused with a reason, or what was read from it is
 * written and read again without a change.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "repo/manifest.h"

static void
check(int holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "manifest: %s\n", what);
	abort();
}

/* Does following the name ever lead above the folder it starts in. */
static int
leads_outside(const char *name)
{
	return name[0] == '/' || strcmp(name, "..") == 0 || strncmp(name, "../", 3) == 0 ||
	    strstr(name, "/../") != NULL ||
	    (strlen(name) >= 3 && strcmp(name + strlen(name) - 3, "/..") == 0);
}

/* What the contract of manifest_parse promises to those who use the names in it. */
static void
check_names(const struct manifest *manifest)
{
	check(strchr(manifest->id, '/') == NULL && manifest->id[0] != '.', "the id is no name");
	for (size_t i = 0; i < manifest->files.count; i++) {
		const struct manifest_file *file = &manifest->files.items[i];

		check(!leads_outside(file->name), "a file leads outside");
		check(strlen(file->sha256) == 64, "a hash is cut");
		check(file->block_crc32c.count == 0 ||
			(file->block_crc32c.count - 1) * MANIFEST_BLOCK_BYTES < file->bytes,
		    "there are more blocks than the file has");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	struct manifest *manifest = manifest_parse((const char *)data, size, &err);
	struct manifest *again;
	char *text, *text_again;

	if (manifest == NULL) {
		check(err.kind != ERR_NONE && err.msg[0] != '\0', "refused without a reason");
		return 0;
	}
	check_names(manifest);
	text = manifest_format(manifest);
	again = manifest_parse(text, strlen(text), &err);
	check(again != NULL, err.msg);
	text_again = manifest_format(again);
	check(strcmp(text, text_again) == 0, "written differently the second time");
	free(text_again);
	manifest_free(again);
	free(text);
	manifest_free(manifest);

	return 0;
}
