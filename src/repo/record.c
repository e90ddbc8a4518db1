#include "repo/record.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "repo/names.h"

static char *
dump_and_free(json_t *root)
{
	char *text = json_dumps(root, JSON_INDENT(2));
	SCOPED(freep) char *body = text != NULL ? text : xstrdup("{}");

	json_decref(root);

	return xasprintf("%s\n", body);
}

/* Text from outside may hold bytes that are no UTF-8, which json_string refuses. */
static json_t *
text_json(const char *text)
{
	json_t *value = text != NULL ? json_string(text) : json_null();

	if (value == NULL) {
		SCOPED(freep) char *encoded = name_encode(text);

		value = json_string(encoded);
	}

	return value;
}

static void
set_time(json_t *root, const char *key, struct wall_time at)
{
	char text[CLOCK_TEXT_SIZE];

	(void)json_object_set_new(root, key, json_string(clock_format(at, text)));
}

static char *
record_name(const char *prefix, const char *id)
{
	SCOPED(freep) char *encoded = name_encode(id);

	return xasprintf("%s/%s.json", prefix, encoded);
}

char *
proof_name(const struct proof *proof)
{
	SCOPED(freep) char *encoded = name_encode(proof->backup_id);
	char stamp[CLOCK_TEXT_SIZE];

	(void)clock_format_compact(proof->at, stamp);
	if (!proof->is_good)
		return xasprintf(RECORD_PROOF_PREFIX "/%s/bad-%s.json", encoded, stamp);

	return xasprintf(RECORD_PROOF_PREFIX "/%s/L%d-%s.json", encoded, proof->level, stamp);
}

char *
proof_format(const struct proof *proof)
{
	json_t *root = json_object();
	json_t *notes = json_array();

	(void)json_object_set_new(root, "format", json_integer(1));
	(void)json_object_set_new(root, "backup", text_json(proof->backup_id));
	(void)json_object_set_new(root, "result",
	    json_string(proof->is_good ? "proved" : "damaged"));
	(void)json_object_set_new(root, "level", json_integer(proof->level));
	set_time(root, "at", proof->at);
	(void)json_object_set_new(root, "duration_us", json_integer(proof->duration_us));
	(void)json_object_set_new(root, "message", text_json(proof->message));
	for (size_t i = 0; i < proof->notes_count; i++)
		(void)json_array_append_new(notes, text_json(proof->notes[i]));
	(void)json_object_set_new(root, "notes", notes);
	if (proof->details != NULL)
		(void)json_object_set_new(root, "details", json_deep_copy(proof->details));

	return dump_and_free(root);
}

/* "2025-11-25T020000Z" back to a time. */
static bool
parse_stamp(const char *text, size_t size, struct wall_time *ret_time)
{
	struct err ignored = ERR_INIT;
	char full[CLOCK_TEXT_SIZE];

	if (size != strlen("2025-11-25T020000Z"))
		return false;
	(void)snprintf(full, sizeof(full), "%.13s:%.2s:%.3s", text, text + 13, text + 15);

	return clock_parse(full, ret_time, &ignored) == 0;
}

/* Cut "<prefix>/<rest>.json" to rest; NULL when it is not that. */
static char *
strip(const char *object_name, const char *prefix)
{
	size_t prefix_size = strlen(prefix);
	size_t size = strlen(object_name);

	if (!str_starts_with(object_name, prefix) || object_name[prefix_size] != '/' ||
	    !str_ends_with(object_name, ".json") || size < prefix_size + 1 + strlen(".json"))
		return NULL;

	return xstrndup(object_name + prefix_size + 1, size - prefix_size - 1 - strlen(".json"));
}

/* "L3-" or "bad-" before the stamp; gives the stamp or NULL. */
static const char *
parse_verdict(const char *name, struct proof_mark *mark)
{
	mark->is_good = name[0] == 'L';
	mark->level = -1;
	if (!mark->is_good)
		return str_starts_with(name, "bad-") ? name + strlen("bad-") : NULL;
	if (name[1] < '0' || name[1] > '5' || name[2] != '-')
		return NULL;
	mark->level = name[1] - '0';

	return name + strlen("L0-");
}

bool
proof_mark_parse(const char *object_name, struct proof_mark *ret_mark)
{
	struct err ignored = ERR_INIT;
	struct proof_mark mark = { .level = -1 };
	SCOPED(freep) char *rest = strip(object_name, RECORD_PROOF_PREFIX);
	char *slash = rest != NULL ? strchr(rest, '/') : NULL;
	const char *stamp;

	if (slash == NULL)
		return false;
	*slash = '\0';
	stamp = parse_verdict(slash + 1, &mark);
	if (stamp == NULL || !parse_stamp(stamp, strlen(stamp), &mark.at))
		return false;
	mark.backup_id = name_decode(rest, &ignored);
	if (mark.backup_id == NULL)
		return false;
	*ret_mark = mark;

	return true;
}

/* A text field of a record, yours, or NULL. */
static char *
record_text(const char *text, size_t size, const char *key)
{
	json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	char *value = xstrdup(json_string_value(json_object_get(root, key)));

	json_decref(root);

	return value;
}

char *
proof_message(const char *text, size_t size)
{
	return record_text(text, size, "message");
}

char *
pin_name(const char *backup_id)
{
	return record_name(RECORD_PIN_PREFIX, backup_id);
}

char *
pin_format(const char *backup_id, struct wall_time at, const char *reason)
{
	json_t *root = json_object();

	(void)json_object_set_new(root, "format", json_integer(1));
	(void)json_object_set_new(root, "backup", text_json(backup_id));
	set_time(root, "at", at);
	(void)json_object_set_new(root, "reason", text_json(reason));

	return dump_and_free(root);
}

bool
pin_name_parse(const char *object_name, char **ret_backup_id)
{
	struct err ignored = ERR_INIT;
	SCOPED(freep) char *encoded = strip(object_name, RECORD_PIN_PREFIX);
	char *id = encoded != NULL ? name_decode(encoded, &ignored) : NULL;

	if (id == NULL)
		return false;
	*ret_backup_id = id;

	return true;
}

char *
pin_reason(const char *text, size_t size)
{
	return record_text(text, size, "reason");
}

void
name_list_done(struct name_list *list)
{
	for (size_t i = 0; i < list->names.count; i++)
		free(list->names.items[i]);
	vec_done(&list->names);
}

char *
prune_name(const char *backup_id)
{
	return record_name(RECORD_PRUNE_PREFIX, backup_id);
}

char *
prune_format(const char *backup_id, const struct name_list *objects)
{
	json_t *root = json_object();
	json_t *names = json_array();

	(void)json_object_set_new(root, "format", json_integer(1));
	(void)json_object_set_new(root, "backup", text_json(backup_id));
	for (size_t i = 0; i < objects->names.count; i++)
		(void)json_array_append_new(names, text_json(objects->names.items[i]));
	(void)json_object_set_new(root, "objects", names);

	return dump_and_free(root);
}

/* No empty part, and none that leads elsewhere. */
static bool
is_plain(const char *name)
{
	for (const char *at = name;; at++) {
		size_t size = strcspn(at, "/");

		if (size == 0 || (size == 1 && at[0] == '.') ||
		    (size == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		at += size;
		if (*at == '\0')
			return true;
	}
}

/*
 * What an intent may name: a backup's manifest first, then what lies in the manifest's folder, and
 * proofs.  A damaged one must not make a prune remove anything else.
 */
static bool
is_of_one_backup(const struct name_list *list)
{
	SCOPED(freep) char *folder = NULL;
	SCOPED(freep) char *within = NULL;

	if (list->names.count == 0 || !name_is_manifest(list->names.items[0]))
		return false;
	folder = name_folder(list->names.items[0]);
	within = xasprintf("%s/", folder);
	if (folder[0] == '\0' || str_starts_with(within, RECORD_PREFIX))
		return false;
	for (size_t i = 0; i < list->names.count; i++) {
		const char *name = list->names.items[i];

		if (!is_plain(name) ||
		    (!str_starts_with(name, within) &&
			!str_starts_with(name, RECORD_PROOF_PREFIX "/")))
			return false;
	}

	return true;
}

int
prune_parse(const char *text, size_t size, struct name_list *ret_objects, struct err *err)
{
	json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	const json_t *names = json_object_get(root, "objects");
	struct name_list list = { .names = { .count = 0 } };
	bool is_sound = json_is_array(names);

	for (size_t i = 0; is_sound && i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));

		is_sound = name != NULL;
		if (is_sound)
			vec_push(&list.names, xstrdup(name));
	}
	json_decref(root);
	if (!is_sound || !is_of_one_backup(&list)) {
		name_list_done(&list);
		return err_set(err, ERR_DATA, "the record of an unfinished prune is damaged");
	}
	*ret_objects = list;

	return 0;
}

char *
source_record_name(const char *source, const char *identity)
{
	SCOPED(freep) char *prefix = xasprintf(RECORD_SOURCE_PREFIX "/%s", source);

	return record_name(prefix, identity);
}

char *
source_record_format(const char *source, const char *identity, const char *version,
    struct wall_time at)
{
	json_t *root = json_object();

	(void)json_object_set_new(root, "format", json_integer(1));
	(void)json_object_set_new(root, "source", text_json(source));
	(void)json_object_set_new(root, "identity", text_json(identity));
	(void)json_object_set_new(root, "version", text_json(version));
	set_time(root, "since", at);

	return dump_and_free(root);
}

char *
source_record_identity(const char *object_name)
{
	struct err ignored = ERR_INIT;
	SCOPED(freep) char *rest = strip(object_name, RECORD_SOURCE_PREFIX);
	const char *slash = rest != NULL ? strchr(rest, '/') : NULL;

	return slash != NULL ? name_decode(slash + 1, &ignored) : NULL;
}

char *
event_name(const struct stream_event *event)
{
	SCOPED(freep) char *source = name_encode(event->source);
	SCOPED(freep) char *kind = name_encode(event->kind);
	char stamp[CLOCK_TEXT_SIZE];

	(void)clock_format_compact(event->at, stamp);

	/* "2025-11-25T020000Z" with the microseconds before its 'Z': two may happen in a second. */
	return xasprintf(RECORD_EVENT_PREFIX "/%s/%.17s.%06dZ-%s.json", source, stamp,
	    (int)(event->at.us % US_PER_S), kind);
}

char *
event_format(const struct stream_event *event)
{
	json_t *root = json_object();
	SCOPED(freep) char *from = xasprintf("%" PRIu64, event->from_position);
	SCOPED(freep) char *to = xasprintf("%" PRIu64, event->to_position);

	(void)json_object_set_new(root, "format", json_integer(1));
	(void)json_object_set_new(root, "source", text_json(event->source));
	(void)json_object_set_new(root, "kind", text_json(event->kind));
	set_time(root, "at", event->at);
	(void)json_object_set_new(root, "branch", json_integer((json_int_t)event->branch));
	(void)json_object_set_new(root, "from_position", json_string(from));
	if (event->to_position != 0)
		(void)json_object_set_new(root, "to_position", json_string(to));
	(void)json_object_set_new(root, "text", text_json(event->text));

	return dump_and_free(root);
}
