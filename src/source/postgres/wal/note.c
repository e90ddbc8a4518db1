#include "source/postgres/wal/note.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/archive.h"
#include "source/postgres/lsn.h"

#define KIND "wal-segment"

enum {
	SEGMENT_MIN_BYTES = 1024 * 1024,
	SEGMENT_MAX_BYTES = 1024 * 1024 * 1024,
};

void
wal_note_fill(struct wal_note *note, const struct wal_summary *summary)
{
	uint64_t begin = note->segment * note->segment_bytes;

	note->system_identifier = summary->system_identifier;
	note->first_lsn = summary->first_lsn;
	note->last_lsn = summary->first_lsn != 0 ? summary->last_lsn : 0;
	/* A record that only ends where the segment begins ends in the one before. */
	note->end_lsn = summary->end_lsn > begin ? summary->end_lsn : 0;
	note->commits = summary->commits;
	note->first_commit = summary->first_commit;
	note->last_commit = summary->last_commit;
	note->points.count = 0;
	for (size_t i = 0; i < summary->points.count; i++)
		vec_push(&note->points, summary->points.items[i]);
}

void
wal_note_done(struct wal_note *note)
{
	vec_done(&note->points);
}

/* ---- writing ---- */

static void
set_lsn(json_t *root, const char *key, uint64_t lsn)
{
	char text[LSN_TEXT_SIZE];

	if (lsn != 0)
		(void)json_object_set_new(root, key, json_string(lsn_format(lsn, text)));
}

static void
set_time(json_t *root, const char *key, struct wall_time at)
{
	char text[CLOCK_TEXT_SIZE];

	if (at.us != 0)
		(void)json_object_set_new(root, key, json_string(clock_format(at, text)));
}

static json_t *
points_json(const struct wal_note *note)
{
	json_t *points = json_array();

	for (size_t i = 0; i < note->points.count; i++) {
		const struct wal_restore_point *point = &note->points.items[i];
		json_t *one = json_object();
		/* A name that is no UTF-8 cannot be written down, and the others must be. */
		json_t *name = json_string(point->name);

		(void)json_object_set_new(one, "name", name != NULL ? name : json_string("?"));
		set_lsn(one, "lsn", point->lsn);
		set_time(one, "time", point->time);
		(void)json_array_append_new(points, one);
	}

	return points;
}

void
wal_note_format(const struct wal_note *note, struct str *to)
{
	json_t *root = json_object();
	SCOPED(freep)
	char *identifier = xasprintf("%llu", (unsigned long long)note->system_identifier);
	SCOPED(freep) char *text = NULL;
	char name[WAL_NAME_SIZE];

	(void)wal_name_format(note->timeline, note->segment, note->segment_bytes, name);
	(void)json_object_set_new(root, "format", json_integer(1));
	(void)json_object_set_new(root, "kind", json_string(KIND));
	(void)json_object_set_new(root, "segment", json_string(name));
	(void)json_object_set_new(root, "timeline", json_integer((json_int_t)note->timeline));
	(void)json_object_set_new(root, "segment_bytes",
	    json_integer((json_int_t)note->segment_bytes));
	(void)json_object_set_new(root, "system_identifier", json_string(identifier));
	(void)json_object_set_new(root, "is_checked", json_boolean(note->is_checked));
	set_lsn(root, "first_lsn", note->first_lsn);
	set_lsn(root, "last_lsn", note->last_lsn);
	set_lsn(root, "end_lsn", note->end_lsn);
	(void)json_object_set_new(root, "commits", json_integer((json_int_t)note->commits));
	set_time(root, "first_commit", note->first_commit);
	set_time(root, "last_commit", note->last_commit);
	if (note->points.count > 0)
		(void)json_object_set_new(root, "restore_points", points_json(note));
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	str_add(to, text != NULL ? text : "{}");
	str_add_char(to, '\n');
}

/* ---- reading ---- */

static int
get_lsn(const json_t *root, const char *key, uint64_t *ret_lsn, struct err *err)
{
	const json_t *value = json_object_get(root, key);

	*ret_lsn = 0;
	if (value == NULL)
		return 0;
	if (!json_is_string(value))
		return err_set(err, ERR_DATA, "'%s' is no text", key);

	return lsn_parse(json_string_value(value), ret_lsn, err);
}

static int
get_time(const json_t *root, const char *key, struct wall_time *ret_time, struct err *err)
{
	const json_t *value = json_object_get(root, key);

	*ret_time = (struct wall_time){ .us = 0 };
	if (value == NULL)
		return 0;
	if (!json_is_string(value))
		return err_set(err, ERR_DATA, "'%s' is no text", key);

	return clock_parse(json_string_value(value), ret_time, err);
}

static int
get_place(const json_t *root, struct wal_note *note, struct err *err)
{
	const char *kind = json_string_value(json_object_get(root, "kind"));
	const char *name = json_string_value(json_object_get(root, "segment"));
	const char *identifier = json_string_value(json_object_get(root, "system_identifier"));
	json_int_t bytes = json_integer_value(json_object_get(root, "segment_bytes"));

	if (!str_equals(kind, KIND) || name == NULL || identifier == NULL)
		return err_set(err, ERR_DATA, "it is no note of a WAL segment");
	if (bytes < SEGMENT_MIN_BYTES || bytes > SEGMENT_MAX_BYTES || (bytes & (bytes - 1)) != 0)
		return err_set(err, ERR_DATA, "it says that segments have %lld bytes",
		    (long long)bytes);
	note->segment_bytes = (uint64_t)bytes;
	if (!wal_name_parse(name, note->segment_bytes, &note->timeline, &note->segment))
		return err_set(err, ERR_DATA, "'%.40s' is no name of a segment", name);

	return parse_u64(identifier, 0, UINT64_MAX, &note->system_identifier, err);
}

static int
get_points(const json_t *array, struct wal_note *note, struct err *err)
{
	for (size_t i = 0; i < json_array_size(array) && i < WAL_POINTS_MAX; i++) {
		const json_t *one = json_array_get(array, i);
		const char *name = json_string_value(json_object_get(one, "name"));
		struct wal_restore_point *point;

		if (name == NULL)
			return err_set(err, ERR_DATA, "a restore point has no name");
		point = vec_add(&note->points);
		(void)memcpy(point->name, name, strnlen(name, sizeof(point->name) - 1));
		if (get_lsn(one, "lsn", &point->lsn, err) < 0 ||
		    get_time(one, "time", &point->time, err) < 0)
			return -1;
	}

	return 0;
}

static int
get_all(const json_t *root, struct wal_note *note, struct err *err)
{
	json_int_t commits = json_integer_value(json_object_get(root, "commits"));

	note->is_checked = json_is_true(json_object_get(root, "is_checked"));
	note->commits = commits > 0 ? (uint64_t)commits : 0;
	if (get_place(root, note, err) < 0 ||
	    get_lsn(root, "first_lsn", &note->first_lsn, err) < 0 ||
	    get_lsn(root, "last_lsn", &note->last_lsn, err) < 0 ||
	    get_lsn(root, "end_lsn", &note->end_lsn, err) < 0 ||
	    get_time(root, "first_commit", &note->first_commit, err) < 0 ||
	    get_time(root, "last_commit", &note->last_commit, err) < 0)
		return -1;

	return get_points(json_object_get(root, "restore_points"), note, err);
}

int
wal_note_parse(const char *text, size_t size, struct wal_note *ret_note, struct err *err)
{
	struct wal_note note = { .segment_bytes = 0 };
	json_t *root = json_loadb(text, size, 0, NULL);
	int result;

	if (root == NULL)
		return err_set(err, ERR_DATA, "the note is no JSON");
	result = get_all(root, &note, err);
	json_decref(root);
	if (result < 0) {
		wal_note_done(&note);
		err->kind = ERR_DATA;
		return err_wrap(err, "note of a WAL segment");
	}
	*ret_note = note;

	return 0;
}

/* ---- the index ---- */

void
wal_note_to_piece(const struct wal_note *note, struct piece *ret_piece)
{
	*ret_piece = (struct piece){
		.branch = note->timeline,
		.number = note->segment,
		.state = note->is_checked ? PIECE_SOUND : PIECE_FOUND,
		.end_position = note->end_lsn,
		.commits = note->commits,
		.first_time = note->first_commit,
		.last_time = note->last_commit,
	};
}

void
wal_note_to_mark(const struct wal_note *note, size_t point, struct archive_mark *ret_mark)
{
	struct wal_restore_point *from = &note->points.items[point];

	*ret_mark = (struct archive_mark){
		.branch = note->timeline,
		.number = note->segment,
		.position = from->lsn,
		.time = from->time,
		.name = from->name,
	};
}
