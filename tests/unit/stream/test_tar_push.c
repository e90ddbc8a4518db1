#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "fixture.h"
#include "stream/tar_push.h"

/* Everything the parser says, as text: "f name size mode mtime {data}". */
struct record {
	struct str text;
	const char *fails_at; /* name of an entry whose begin fails */
};

static int
on_begin(void *context, const struct tar_entry *entry, struct err *err)
{
	struct record *record = context;

	if (record->fails_at != NULL && strcmp(record->fails_at, entry->name) == 0)
		return err_set(err, ERR_SPACE, "no room for '%s'", entry->name);
	str_addf(&record->text, "%c %s%s%s %" PRIu64 " %o %" PRId64 " {", "fds"[entry->type],
	    entry -> name, entry -> link[0] != '\0' ? ">" : "", entry->link, entry->size_bytes,
	    entry->mode, entry->mtime_s);

	return 0;
}

static int
on_data(void *context, const void *data, size_t size, struct err *err)
{
	struct record *record = context;

	(void)err;
	str_add_bytes(&record->text, data, size);

	return 0;
}

static int
on_end(void *context, struct err *err)
{
	struct record *record = context;

	(void)err;
	str_add(&record->text, "}\n");

	return 0;
}

/* Parse in pieces of at most `piece` bytes; what was said is in record->text. */
static int
parse(struct record *record, const struct str *tar, size_t piece, struct err *err)
{
	const struct tar_handler handler = { .begin = on_begin,
		.data = on_data,
		.end = on_end,
		.context = record };
	SCOPED(sink_freep) struct sink *sink = tar_push_new(&handler);
	size_t at = 0;

	while (at < tar->size) {
		size_t size = tar->size - at < piece ? tar->size - at : piece;

		if (sink_write(sink, tar->data + at, size, err) < 0)
			return -1;
		at += size;
	}

	return sink_finish(sink, err);
}

struct header {
	const char *name;
	const char *prefix;
	const char *link;
	char type;
	uint64_t size;
	bool is_binary_size;
};

static void
set_octal(char *at, size_t size, uint64_t value)
{
	(void)snprintf(at, size, "%0*" PRIo64, (int)size - 1, value);
}

static void
set_checksum(char *block)
{
	unsigned sum = 0;

	memset(block + 148, ' ', 8);
	for (size_t i = 0; i < 512; i++)
		sum += (unsigned char)block[i];
	(void)snprintf(block + 148, 8, "%06o", sum);
}

static void
add_header(struct str *tar, const struct header *header)
{
	char block[513] = "";

	memcpy(block, header->name, strlen(header->name));
	set_octal(block + 100, 8, 0640);
	set_octal(block + 124, 12, header->size);
	if (header->is_binary_size) {
		memset(block + 124, 0, 12);
		block[124] = (char)0x80;
		for (unsigned i = 0; i < 8; i++)
			block[135 - i] = (char)(header->size >> 8 * i);
	}
	set_octal(block + 136, 12, 1700000000);
	block[156] = header->type;
	if (header->link != NULL)
		memcpy(block + 157, header->link, strlen(header->link));
	memcpy(block + 257, "ustar\00000", 8);
	if (header->prefix != NULL)
		memcpy(block + 345, header->prefix, strlen(header->prefix));
	set_checksum(block);
	str_add_bytes(tar, block, 512);
}

static void
add_padded(struct str *tar, const void *data, size_t size)
{
	static const char zeros[512];

	str_add_bytes(tar, data, size);
	str_add_bytes(tar, zeros, (512 - size % 512) % 512);
}

static void
add_file(struct str *tar, const char *name, const char *content)
{
	const struct header header = { .name = name, .type = '0', .size = strlen(content) };

	add_header(tar, &header);
	add_padded(tar, content, strlen(content));
}

/* As a server sends it: folders, files, an empty one, a link to a tablespace. */
static void
make_tar(struct str *tar)
{
	const struct header folder = { .name = "base/", .type = '5' };
	const struct header link = { .name = "pg_tblspc/16401", .type = '2', .link = "/data/ts" };
	const struct header prefixed = { .name = "file",
		.prefix = "some/folder",
		.type = '0',
		.size = 2 };
	char content[1500];

	memset(content, 'x', sizeof(content));
	content[1499] = '\0';
	add_file(tar, "backup_label", "START WAL\n");
	add_header(tar, &folder);
	add_file(tar, "base/1", content);
	add_file(tar, "./base/empty", "");
	add_header(tar, &link);
	add_header(tar, &prefixed);
	add_padded(tar, "ab", 2);
}

static void
add_end(struct str *tar)
{
	static const char zeros[1024];

	str_add_bytes(tar, zeros, sizeof(zeros));
}

static void
test_all_kinds(void **state)
{
	static const size_t pieces[] = { 1, 3, 511, 512, 513, 1000, 1 << 20 };
	SCOPED(str_done) struct str tar = STR_INIT;
	SCOPED(freep) char *xs = xmalloc(1500);
	SCOPED(freep) char *right = NULL;

	(void)state;
	memset(xs, 'x', 1499);
	xs[1499] = '\0';
	right = xasprintf("f backup_label 10 640 1700000000 {START WAL\n}\n"
			  "d base 0 640 1700000000 {}\n"
			  "f base/1 1499 640 1700000000 {%s}\n"
			  "f base/empty 0 640 1700000000 {}\n"
			  "s pg_tblspc/16401>/data/ts 0 640 1700000000 {}\n"
			  "f some/folder/file 2 640 1700000000 {ab}\n",
	    xs);
	make_tar(&tar);
	for (unsigned with_end = 0; with_end < 2; with_end++) {
		for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
			struct record record = { .text = STR_INIT };
			struct err err = ERR_INIT;

			if (parse(&record, &tar, pieces[i], &err) < 0)
				fail_msg("%s", err.msg);
			assert_string_equal(str_text(&record.text), right);
			str_done(&record.text);
		}
		add_end(&tar);
	}
}

/* Cut anywhere but between two entries, it is seen. */
static void
test_cut_short(void **state)
{
	SCOPED(str_done) struct str tar = STR_INIT;
	unsigned whole = 0;

	(void)state;
	make_tar(&tar);
	for (size_t size = 0; size < tar.size; size += 128) {
		struct str part = tar;
		struct record record = { .text = STR_INIT };
		struct err err = ERR_INIT;

		part.size = size;
		if (parse(&record, &part, 1000, &err) == 0)
			whole++;
		else
			assert_int_equal(err.kind, ERR_DATA);
		str_done(&record.text);
	}
	/* Before each of the six entries. */
	assert_int_equal(whole, 6);
}

static void
check_refused(const struct str *tar, enum err_kind kind, const char *says)
{
	struct record record = { .text = STR_INIT };
	struct err err = ERR_INIT;

	assert_int_equal(parse(&record, tar, 700, &err), -1);
	assert_int_equal(err.kind, kind);
	if (strstr(err.msg, says) == NULL)
		fail_msg("'%s' does not say '%s'", err.msg, says);
	str_done(&record.text);
}

static void
test_unsafe_names(void **state)
{
	static const char *const names[] = { "/etc/passwd", "../x", "a/../b", "a/..", "..", "a//b",
		"a/./b", "", ".", "/", "./../x" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		SCOPED(str_done) struct str tar = STR_INIT;

		add_file(&tar, names[i], "x");
		check_refused(&tar, ERR_DATA, "unsafe name");
	}
}

/* The root itself, as `tar -C folder .` writes it, is no entry. */
static void
test_root(void **state)
{
	const struct header root = { .name = "./", .type = '5' };
	SCOPED(str_done) struct str tar = STR_INIT;
	struct record record = { .text = STR_INIT };
	struct err err = ERR_INIT;

	(void)state;
	add_header(&tar, &root);
	add_file(&tar, "./x", "y");
	assert_int_equal(parse(&record, &tar, 512, &err), 0);
	assert_string_equal(str_text(&record.text), "f x 1 640 1700000000 {y}\n");
	str_done(&record.text);
}

static void
test_unknown_types(void **state)
{
	static const char types[] = { '1', '3', 'x', 'g', 'L', 'S' };

	(void)state;
	for (size_t i = 0; i < sizeof(types); i++) {
		const struct header header = { .name = "a", .type = types[i] };
		SCOPED(str_done) struct str tar = STR_INIT;

		add_file(&tar, "first", "x");
		add_header(&tar, &header);
		check_refused(&tar, ERR_UNSUPPORTED, "offset 1024");
	}
}

static void
test_damaged_headers(void **state)
{
	SCOPED(str_done) struct str tar = STR_INIT;

	(void)state;
	add_file(&tar, "first", "x");
	for (size_t i = 0; i < 512; i++) {
		/* What follows the end of the checksum's text says nothing. */
		if (i == 155)
			continue;
		tar.data[i] ^= 1;
		check_refused(&tar, ERR_DATA, "offset 0");
		tar.data[i] ^= 1;
	}
	tar.data[124] = 'z';
	set_checksum(tar.data);
	check_refused(&tar, ERR_DATA, "not a number");
}

static void
test_sizes(void **state)
{
	const struct header linked = { .name = "l", .type = '2', .link = "x", .size = 5 };
	const struct header huge = { .name = "h",
		.type = '0',
		.size = UINT64_C(1) << 40,
		.is_binary_size = true };
	struct header too_large = { .name = "t",
		.type = '0',
		.size = UINT64_MAX,
		.is_binary_size = true };
	SCOPED(str_done) struct str tar = STR_INIT;
	struct record record = { .text = STR_INIT };
	struct err err = ERR_INIT;

	(void)state;
	add_header(&tar, &linked);
	check_refused(&tar, ERR_DATA, "a size where there can be none");
	str_cut(&tar, 0);
	add_header(&tar, &too_large);
	check_refused(&tar, ERR_DATA, "not a number");
	str_cut(&tar, 0);
	add_header(&tar, &huge);
	assert_int_equal(parse(&record, &tar, 512, &err), -1);
	assert_string_equal(str_text(&record.text), "f h 1099511627776 640 1700000000 {");
	str_done(&record.text);
}

static void
test_after_the_end(void **state)
{
	SCOPED(str_done) struct str tar = STR_INIT;

	(void)state;
	add_file(&tar, "first", "x");
	add_end(&tar);
	add_end(&tar);
	str_add_char(&tar, 'x');
	check_refused(&tar, ERR_DATA, "follows its end");
}

static void
test_handler_fails(void **state)
{
	SCOPED(str_done) struct str tar = STR_INIT;
	struct record record = { .text = STR_INIT, .fails_at = "base/1" };
	struct err err = ERR_INIT;

	(void)state;
	make_tar(&tar);
	assert_int_equal(parse(&record, &tar, 100, &err), -1);
	assert_int_equal(err.kind, ERR_SPACE);
	str_done(&record.text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_kinds),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_unsafe_names),
		cmocka_unit_test(test_root),
		cmocka_unit_test(test_unknown_types),
		cmocka_unit_test(test_damaged_headers),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_after_the_end),
		cmocka_unit_test(test_handler_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
