#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/archive.h"
#include "engine/sync.h"
#include "engine/systems.h"
#include "fixture.h"
#include "os/file.h"
#include "source/archive.h"
#include "source/source.h"
#include "stream/blob.h"
#include "stream/sink.h"

static struct archive *
open_archive(struct fixture *fixture)
{
	struct err err = ERR_INIT;
	struct archive *archive = engine_archive_open(&fixture->engine, fixture->source.ops,
	    "plant", "run-1", &err);

	if (archive == NULL)
		fail_msg("%s", err.msg);

	return archive;
}

static void
put_text(struct archive *archive, const char *name, const char *text)
{
	struct err err = ERR_INIT;
	SCOPED(sink_freep) struct sink *to = archive_put(archive, name, &err);

	if (to == NULL || sink_write(to, text, strlen(text), &err) < 0 || sink_finish(to, &err) < 0)
		fail_msg("%s", err.msg);
}

static void
test_files(void **state)
{
	struct fixture fixture;
	struct err err = ERR_INIT;
	struct archive_listing listing = { .entries = { .count = 0 } };
	struct archive_entry entry = { .name = (char *)(uintptr_t) "one" };
	struct archive *archive;

	(void)state;
	fixture_init(&fixture);
	assert_false(engine_archive_exists(&fixture.engine, fixture.source.ops, "plant"));
	archive = open_archive(&fixture);
	assert_true(dir_exists(archive->path));
	assert_null(archive->identity);
	assert_int_equal(archive->file_mode, 0600);
	assert_false(engine_archive_exists(&fixture.engine, fixture.source.ops, "plant"));

	put_text(archive, "one", "1");
	put_text(archive, "two", "22");
	assert_true(engine_archive_exists(&fixture.engine, fixture.source.ops, "plant"));
	assert_null(archive_put(archive, "two", &err));
	assert_int_equal(err.kind, ERR_EXISTS);
	assert_int_equal(archive_list(archive, &listing, &err), 0);
	assert_int_equal(listing.entries.count, 2);
	archive_listing_done(&listing);
	assert_int_equal(archive_stat(archive, &entry, &err), 0);
	assert_int_equal(entry.bytes, 1);
	assert_true(entry.modified.us > 0);

	assert_int_equal(archive_remove(archive, "one", &err), 0);
	assert_int_equal(archive_remove(archive, "two", &err), 0);
	assert_true(dir_exists(archive->path)); /* a tail may come into it at any time */
	assert_int_equal(archive_stat(archive, &entry, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	engine_archive_close(archive);
	fixture_done(&fixture);
}

static struct piece
piece(uint32_t branch, uint64_t number, enum piece_state state, int64_t time_us)
{
	return (struct piece){
		.branch = branch,
		.number = number,
		.state = state,
		.stored_bytes = 10,
		.end_position = number * 100,
		.first_time = { time_us },
		.last_time = { time_us },
		.message = state == PIECE_DAMAGED ? (char *)(uintptr_t) "bad" : NULL,
	};
}

static void
test_index(void **state)
{
	const struct piece pieces[] = {
		piece(1, 8, PIECE_SOUND, 0),
		piece(1, 7, PIECE_SOUND, 700),
		piece(1, 9, PIECE_FOUND, 900),
		piece(1, 11, PIECE_DAMAGED, 0),
		piece(2, 12, PIECE_SOUND, 1200),
	};
	const struct archive_mark marks[] = {
		{ .branch = 1,
		    .number = 9,
		    .position = 5,
		    .time = { 5 },
		    .name = (char *)(uintptr_t) "late" },
		{ .branch = 1,
		    .number = 7,
		    .position = 4,
		    .time = { 4 },
		    .name = (char *)(uintptr_t) "early" },
	};
	struct fixture fixture;
	struct err err = ERR_INIT;
	struct archive_spans spans = { .items = { .count = 0 } };
	struct archive_marks found = { .items = { .count = 0 } };
	struct pieces listed = { .items = { .count = 0 } };
	struct archive *archive;

	(void)state;
	fixture_init(&fixture);
	archive = open_archive(&fixture);
	assert_int_equal(archive_index_put(archive, pieces, ARRAY_SIZE(pieces), marks,
			     ARRAY_SIZE(marks), &err),
	    0);

	assert_int_equal(archive_index_spans(archive, &spans, &err), 0);
	assert_int_equal(spans.items.count, 3);
	assert_int_equal(spans.items.items[0].first, 7);
	assert_int_equal(spans.items.items[0].last, 9);
	assert_int_equal(spans.items.items[0].not_sound_count, 1);
	assert_int_equal(spans.items.items[0].stored_bytes, 30);
	assert_int_equal(spans.items.items[0].first_time.us, 700);
	assert_int_equal(spans.items.items[0].last_time.us, 900);
	assert_int_equal(spans.items.items[0].end_position, 900);
	assert_int_equal(spans.items.items[1].damaged_count, 1);
	assert_int_equal(spans.items.items[2].branch, 2);
	archive_spans_done(&spans);

	assert_int_equal(archive_index_list(archive, 1, 8, 11, &listed, &err), 0);
	assert_int_equal(listed.items.count, 3);
	assert_string_equal(listed.items.items[2].message, "bad");
	pieces_done(&listed);

	assert_int_equal(archive_index_marks(archive, NULL, &found, &err), 0);
	assert_int_equal(found.items.count, 2);
	assert_string_equal(found.items.items[0].name, "early");
	archive_marks_done(&found);

	/* A piece takes its marks with it, when it goes and when it is replaced. */
	assert_int_equal(archive_index_remove(archive, 1, 9, &err), 0);
	assert_int_equal(archive_index_put(archive, &pieces[1], 1, NULL, 0, &err), 0);
	found = (struct archive_marks){ .items = { .count = 0 } };
	assert_int_equal(archive_index_marks(archive, NULL, &found, &err), 0);
	assert_int_equal(found.items.count, 0);
	archive_marks_done(&found);
	engine_archive_close(archive);
	fixture_done(&fixture);
}

static void
test_event(void **state)
{
	const struct archive_event event = {
		.kind = "gap",
		.at = { INT64_C(1764064800000001) },
		.branch = 3,
		.from_position = 7,
		.text = "something is missing",
	};
	struct fixture fixture;
	struct err err = ERR_INIT;
	struct archive *archive;

	(void)state;
	fixture_init(&fixture);
	archive = open_archive(&fixture);
	assert_int_equal(archive_note_event(archive, &event, &err), 0);
	assert_int_equal(archive_note_event(archive, &event, &err), 0);
	assert_int_equal(fixture_count(&fixture, ".blackstart/event/plant"), 2);
	engine_archive_close(archive);
	fixture_done(&fixture);
}

/* A million files of a stream are none of the catalog of backups. */
static void
test_sync_leaves_it_alone(void **state)
{
	struct fixture fixture;
	struct sync_result synced;
	struct err err = ERR_INIT;
	struct archive *archive;

	(void)state;
	fixture_init(&fixture);
	archive = open_archive(&fixture);
	put_text(archive, "backup-2025-11-25.manifest.json", "no manifest");
	assert_int_equal(sync_catalog(&fixture.engine, true, &synced, &err), 0);
	assert_int_equal(synced.damaged_count, 0);
	engine_archive_close(archive);
	fixture_done(&fixture);
}

/* ---- a rebuilt system ---------------------------------------------------------------------- */

static void
change_to(struct fixture *fixture, const char *identity, const char *expected_aside)
{
	struct err err = ERR_INIT;
	SCOPED(freep) char *aside = NULL;

	if (systems_change(&fixture->engine, fixture->source.ops, "plant", identity, "1.0", &aside,
		&err) < 0)
		fail_msg("%s", err.msg);
	if (expected_aside == NULL)
		assert_null(aside);
	else
		assert_string_equal(aside, expected_aside);
}

/* The archive of this system holds this text under the name that both have; NULL: nothing. */
static void
expect_text(struct fixture *fixture, const char *identity, const char *text)
{
	struct err err = ERR_INIT;
	SCOPED(engine_archive_closep)
	struct archive *archive = engine_archive_open_of(&fixture->engine, fixture->source.ops,
	    "plant", identity, "run-1", &err);
	SCOPED(blob_freep) struct blob *blob = NULL;
	struct archive_spans spans = { .items = { .count = 0 } };
	char found[16] = "";

	assert_non_null(archive);
	blob = archive_get(archive, "one", &err);
	assert_int_equal(archive_index_spans(archive, &spans, &err), 0);
	if (text == NULL) {
		assert_null(blob);
		assert_int_equal(spans.items.count, 0);
	} else {
		assert_non_null(blob);
		assert_int_equal(blob_read_at(blob, 0, found, strlen(text), &err), 0);
		assert_string_equal(found, text);
	}
	archive_spans_done(&spans);
}

static void
fill_for(struct fixture *fixture, const char *text)
{
	const struct piece one = piece(1, 7, PIECE_SOUND, 700);
	struct err err = ERR_INIT;
	struct archive *archive = open_archive(fixture);

	put_text(archive, "one", text);
	assert_int_equal(archive_index_put(archive, &one, 1, NULL, 0, &err), 0);
	engine_archive_close(archive);
}

static void
test_a_rebuilt_system_gets_a_folder_of_its_own(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture);
	change_to(&fixture, "first", NULL);
	fill_for(&fixture, "the first");
	change_to(&fixture, "first", NULL);
	expect_text(&fixture, NULL, "the first");

	change_to(&fixture, "second", "first");
	expect_text(&fixture, NULL, NULL);
	expect_text(&fixture, "second", NULL);
	expect_text(&fixture, "first", "the first");
	fill_for(&fixture, "the second");
	expect_text(&fixture, NULL, "the second");
	expect_text(&fixture, "first", "the first");

	/* The old one comes back, and a third that nothing was ever stored of. */
	change_to(&fixture, "first", "second");
	expect_text(&fixture, NULL, "the first");
	expect_text(&fixture, "second", "the second");
	change_to(&fixture, "third", "first");
	change_to(&fixture, "second", "third");
	expect_text(&fixture, NULL, "the second");
	expect_text(&fixture, "first", "the first");
	fixture_done(&fixture);
}

/* Killed when the old stream was set aside, and before the new system was written down. */
static void
test_a_change_that_was_killed_is_finished(void **state)
{
	struct fixture fixture;
	struct archive *archive;
	SCOPED(freep) char *aside = NULL;

	(void)state;
	fixture_init(&fixture);
	change_to(&fixture, "first", NULL);
	fill_for(&fixture, "the first");
	archive = open_archive(&fixture);
	aside = xasprintf("%s@first", archive->path);
	assert_int_equal(rename(archive->path, aside), 0);
	engine_archive_close(archive);

	archive = open_archive(&fixture);
	assert_null(archive->identity);
	engine_archive_close(archive);
	change_to(&fixture, "second", NULL);
	expect_text(&fixture, "first", "the first");
	fill_for(&fixture, "the second");
	expect_text(&fixture, NULL, "the second");
	fixture_done(&fixture);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_event),
		cmocka_unit_test(test_sync_leaves_it_alone),
		cmocka_unit_test(test_a_rebuilt_system_gets_a_folder_of_its_own),
		cmocka_unit_test(test_a_change_that_was_killed_is_finished),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
