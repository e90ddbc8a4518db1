/*
 * How the tables made from schema/config.yaml describe the keys, and what can be done with one
 * value.  The tables tie each key to a member of the structs of config.h.
 */
#ifndef CONFIG_KEY_INTERNAL_H
#define CONFIG_KEY_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct binder;
struct err;
struct node;

enum key_type {
	KEY_TEXT,
	KEY_LABEL,
	KEY_PATH,
	KEY_ABSOLUTE,
	KEY_ZONE,
	KEY_CHOICE,
	KEY_NUMBER,
	KEY_PERCENT,
	KEY_SIZE,
	KEY_DURATION,
	KEY_BOOL,
	KEY_LEVEL,
	KEY_LIST,
	KEY_FOLDERS,
	KEY_KEEP,
	KEY_SMOKE,
	KEY_SECTION,
	KEY_MAP,
	KEY_IGNORED,
};

struct key {
	const char *name;
	enum key_type type;
	size_t offset; /* of the member in the section's struct */
	bool is_required;
	const char *fallback; /* as it would be written; NULL: none */
	const char *zero;     /* the word for the member's zero; NULL: none */
	uint64_t min;
	uint64_t max;
	const char *const *choices; /* NULL-terminated */
	const char *const *later;   /* known, but not to this version; NULL-terminated */
	const char *alias;          /* another name of this other key */
	const struct section *section;
	void (*bind_item)(struct binder *binder, const struct node *node); /* of KEY_MAP */
};

struct section {
	const char *name; /* "source" */
	const struct key *keys;
	size_t count;
};

/* Made from the schema. */
extern const struct section config_root_section;
extern const struct section config_source_section;
extern const struct section config_job_section;
extern const struct section config_channel_section;
extern const struct section config_blackout_section;

/*
 * One text into the member of `object`.  Choices of a later version are accepted.  On failure
 * the member is as before.
 */
int key_set(const struct key *key, const char *text, void *object, struct err *err) MUST_CHECK;
void *key_member(const struct key *key, void *object);

/* Is it a value that this version knows but cannot do yet. */
bool key_is_later(const struct key *key, const char *text);

/* Free what the members of a section's struct own; all of them were zero or set by key_set. */
void section_done(const struct section *section, void *object);

/* Names of sources, jobs and sites: [A-Za-z0-9][A-Za-z0-9_.-]{0,62}, as in names of the store. */
bool label_is_valid(const char *text);

#endif
