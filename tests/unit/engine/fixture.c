#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/zone.h"
#include "catalog/catalog.h"
#include "engine/view.h"
#include "fixture.h"
#include "os/file.h"
#include "repo/manifest.h"
#include "repo/names.h"
#include "store/posix.h"
#include "stream/sink.h"

/* ---- the store whose n-th call fails ---- */

static struct faulty *
faulty_of(struct store *store)
{
	return (struct faulty *)store;
}

static void
expect_unlocked(struct faulty *faulty)
{
	struct err err = ERR_INIT;

	if (catalog_begin(faulty->other, &err) < 0)
		fail_msg("the store is asked while %s", err.msg);
	catalog_rollback(faulty->other);
}

static int
count_call(struct faulty *faulty, struct err *err)
{
	expect_unlocked(faulty);
	if (++faulty->calls == faulty->fail_at)
		return err_set(err, ERR_IO, "call %u fails on purpose", faulty->calls);

	return 0;
}

struct faulty_sink {
	struct sink base;
	struct faulty *faulty;
};

static int
faulty_write(struct sink *sink, const void *data, size_t size, struct err *err)
{
	if (count_call(((struct faulty_sink *)sink)->faulty, err) < 0)
		return -1;

	return sink_write(sink->next, data, size, err);
}

static int
faulty_finish(struct sink *sink, struct err *err)
{
	if (count_call(((struct faulty_sink *)sink)->faulty, err) < 0)
		return -1;

	return sink_finish(sink->next, err);
}

static void
faulty_sink_free(struct sink *sink)
{
	free(sink);
}

static const struct sink_ops faulty_sink_ops = {
	.name = "faulty",
	.write = faulty_write,
	.finish = faulty_finish,
	.free = faulty_sink_free,
};

static struct sink *
faulty_put(struct store *store, const char *name, const char *run_id, struct err *err)
{
	struct faulty *faulty = faulty_of(store);
	struct faulty_sink *sink;
	struct sink *next;

	if (count_call(faulty, err) < 0)
		return NULL;
	next = store_put(faulty->real, name, run_id, err);
	if (next == NULL)
		return NULL;
	sink = xcalloc(1, sizeof(*sink));
	sink->base.ops = &faulty_sink_ops;
	sink->base.next = next;
	sink->faulty = faulty;

	return &sink->base;
}

static struct blob *
faulty_get(struct store *store, const char *name, struct err *err)
{
	if (count_call(faulty_of(store), err) < 0)
		return NULL;

	return store_get(faulty_of(store)->real, name, err);
}

static int
faulty_list(struct store *store, const char *prefix, struct store_listing *ret_listing,
    struct err *err)
{
	if (count_call(faulty_of(store), err) < 0)
		return -1;

	return store_list(faulty_of(store)->real, prefix, ret_listing, err);
}

static int
faulty_scan(struct store *store, const char *folder, struct store_visitor *visitor, struct err *err)
{
	if (count_call(faulty_of(store), err) < 0)
		return -1;

	return store_scan(faulty_of(store)->real, folder, visitor, err);
}

static int
faulty_make_folder(struct store *store, const char *folder, struct err *err)
{
	if (count_call(faulty_of(store), err) < 0)
		return -1;

	return store_make_folder(faulty_of(store)->real, folder, err);
}

static int
faulty_stat(struct store *store, const char *name, struct store_object *ret_object, struct err *err)
{
	expect_unlocked(faulty_of(store));

	return store_stat(faulty_of(store)->real, name, ret_object, err);
}

static int
faulty_remove(struct store *store, const char *name, struct err *err)
{
	if (count_call(faulty_of(store), err) < 0)
		return -1;

	return store_remove(faulty_of(store)->real, name, err);
}

static int
faulty_space(struct store *store, struct store_space *ret_space, struct err *err)
{
	return store_space(faulty_of(store)->real, ret_space, err);
}

static char *
faulty_local_path(struct store *store, const char *name)
{
	return store_local_path(faulty_of(store)->real, name);
}

static int
faulty_sweep(struct store *store, unsigned *ret_removed, struct err *err)
{
	if (count_call(faulty_of(store), err) < 0)
		return -1;

	return store_sweep(faulty_of(store)->real, ret_removed, err);
}

static int
faulty_unfinished(struct store *store, const char *folder, struct store_names *ret_names,
    struct err *err)
{
	if (count_call(faulty_of(store), err) < 0)
		return -1;

	return store_unfinished(faulty_of(store)->real, folder, ret_names, err);
}

static void
faulty_free(struct store *store)
{
	catalog_close(faulty_of(store)->other);
	store_close(faulty_of(store)->real);
	free(store);
}

static const struct store_ops faulty_ops = {
	.kind = "faulty",
	.put = faulty_put,
	.get = faulty_get,
	.list = faulty_list,
	.scan = faulty_scan,
	.make_folder = faulty_make_folder,
	.stat = faulty_stat,
	.remove = faulty_remove,
	.space = faulty_space,
	.local_path = faulty_local_path,
	.sweep = faulty_sweep,
	.unfinished = faulty_unfinished,
	.free = faulty_free,
};

static struct store *
faulty_new(struct store *real, const char *catalog_path)
{
	struct err err = ERR_INIT;
	struct faulty *faulty = xcalloc(1, sizeof(*faulty));

	faulty->base.ops = &faulty_ops;
	faulty->base.location = xstrdup(real->location);
	faulty->base.id = xstrdup(real->id);
	faulty->base.site = xstrdup(real->site);
	faulty->base.file_mode = real->file_mode;
	faulty->base.file_gid = real->file_gid;
	faulty->real = real;
	faulty->other = catalog_open(catalog_path, &err);
	assert_non_null(faulty->other);

	return &faulty->base;
}

/* ---- the source that makes three small parts ---- */

static struct fixture *
fixture_of(struct source *source)
{
	return (struct fixture *)((char *)source - offsetof(struct fixture, source));
}

static int
fake_identify(struct source *source, struct source_identity *ret_identity, struct err *err)
{
	(void)err;
	ret_identity->identity = xstrdup(fixture_of(source)->identity);
	ret_identity->version = xstrdup("1.0");

	return 0;
}

static int
fake_part(struct fixture *fixture, struct intake *intake, unsigned number, struct err *err)
{
	static const char *const names[] = { "globals.sql", "dump", "extra" };
	const struct part part = {
		.name = names[number],
		.compression = number == 2 ? PART_COMPRESSED : PART_STORED,
	};

	SCOPED(sink_freep) struct sink *to = intake->open(intake, &part, err);
	if (to == NULL || sink_write(to, part.name, strlen(part.name), err) < 0)
		return -1;
	if (number == 1 && fixture->source_dies)
		_exit(0);
	if (number == 1 && fixture->source_fails)
		return err_set(err, ERR_NET, "the source went away");

	return sink_finish(to, err);
}

static int
fake_backup(struct source *source, const struct backup_request *request, struct intake *intake,
    struct manifest *draft, struct err *err)
{
	(void)request;
	draft->source_identity = xstrdup(fixture_of(source)->identity);
	draft->source_version = xstrdup("1.0");
	for (unsigned i = 0; i < 3; i++) {
		if (fake_part(fixture_of(source), intake, i, err) < 0)
			return -1;
	}

	return 0;
}

static int
fake_verify(struct source *source, const struct backup_view *view,
    const struct verify_request *request, struct verify_report *report, struct err *err)
{
	(void)source;
	(void)view;
	(void)err;
	report->level = request->level;

	return 0;
}

static const struct backup_kind fake_kinds[] = {
	{
	    .name = "dump",
	    .layout = { .subfolder = "daily", .stem_prefix = "backup-" },
	    .adopts = "dump",
	    .default_level = 1,
	},
	{ .name = "base", .layout = { .subfolder = "base" }, .default_level = 1 },
};

static const struct stream_kind fake_stream = { .name = "wal", .folder = "wal" };

static const struct source_ops fake_ops = {
	.type = "fake",
	.stream = &fake_stream,
	.kinds = fake_kinds,
	.kinds_count = ARRAY_SIZE(fake_kinds),
	.identify = fake_identify,
	.backup = fake_backup,
	.verify = fake_verify,
};

static const struct source_ops *const fake_drivers[] = { &fake_ops, NULL };

/* ---- the fixture ---- */

void
fixture_init(struct fixture *fixture)
{
	char template[] = "/tmp/blackstart-engine-XXXXXX";
	struct err err = ERR_INIT;
	SCOPED(freep) char *store_path = NULL;
	SCOPED(freep) char *catalog_path = NULL;
	struct store *real;

	*fixture = (struct fixture){ .identity = "first" };
	assert_non_null(mkdtemp(template));
	fixture->folder = xstrdup(template);
	store_path = path_join(template, "store");
	catalog_path = path_join(template, "catalog.db");
	real = posix_store_open(&(struct posix_store_options){ .path = store_path,
				    .may_create = true },
	    &err);
	assert_non_null(real);
	fixture->engine.store = faulty_new(real, catalog_path);
	fixture->engine.catalog = catalog_open(catalog_path, &err);
	assert_non_null(fixture->engine.catalog);
	fixture->engine.zone = zone_open("UTC", &err);
	fixture->engine.state_dir = fixture->folder;
	fixture->engine.scratch_root = fixture->folder;
	fixture->engine.cores = 2;
	fixture->engine.drivers = fake_drivers;
	fixture->source.ops = &fake_ops;
	fixture->source.label = "plant";
}

void
fixture_done(struct fixture *fixture)
{
	struct err err = ERR_INIT;

	catalog_close(fixture->engine.catalog);
	store_close(fixture->engine.store);
	zone_close((struct zone *)(uintptr_t)fixture->engine.zone);
	assert_int_equal(dir_remove_all(fixture->folder, &err), 0);
	free(fixture->folder);
}

struct faulty *
fixture_faulty(struct fixture *fixture)
{
	return faulty_of(fixture->engine.store);
}

size_t
fixture_count(struct fixture *fixture, const char *prefix)
{
	SCOPED(store_listing_done) struct store_listing listing = { .objects = { .count = 0 } };
	struct err err = ERR_INIT;

	assert_int_equal(store_list(fixture_faulty(fixture)->real, prefix, &listing, &err), 0);

	return listing.objects.count;
}

void
fixture_assert_whole(struct fixture *fixture)
{
	SCOPED(store_listing_done) struct store_listing listing = { .objects = { .count = 0 } };
	struct err err = ERR_INIT;

	fixture_faulty(fixture)->fail_at = 0;
	assert_int_equal(store_list(fixture_faulty(fixture)->real, "plant", &listing, &err), 0);
	for (size_t i = 0; i < listing.objects.count; i++) {
		SCOPED(view_done) struct view view = { .engine = NULL };

		if (!name_is_manifest(listing.objects.items[i].name))
			continue;
		assert_int_equal(view_open(&fixture->engine, listing.objects.items[i].name, &view,
				     &err),
		    0);
		assert_int_equal(view.manifest->files.count, 3);
		if (view_check_rest(&view, &err) < 0)
			fail_msg("'%s': %s", listing.objects.items[i].name, err.msg);
	}
}
