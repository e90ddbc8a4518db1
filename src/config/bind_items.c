#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "config/bind_internal.h"

static bool
has_later_value(const struct section *section, const struct node *node, const char *name)
{
	const struct node *value = node_find(node, name);

	for (size_t i = 0; i < section->count && value != NULL && value->kind == NODE_TEXT; i++) {
		if (strcmp(section->keys[i].name, name) == 0)
			return key_is_later(&section->keys[i], value->text);
	}

	return false;
}

/* What depends on the type of a source: its port, its user, and keys that say nothing for it. */
static void
bind_by_type(struct binder *binder, const struct node *node, struct config_source *source)
{
	static const struct {
		const char *key;
		const char *type;
	} owned[] = {
		{ "databases", "postgres" },
		{ "database", "postgres" },
		{ "maintenance_database", "postgres" },
		{ "bin_dir", "postgres" },
		{ "sslcert", "redis" },
		{ "sslkey", "redis" },
	};
	bool is_postgres = str_equals(source->type, "postgres");

	if (source->port == 0)
		source->port = is_postgres ? 5432 : 6379;
	if (is_postgres && source->user == NULL && node_find(node, "user") == NULL)
		binder_error(binder, node->key_place, NULL, "'user' is missing");
	for (size_t i = 0; i < ARRAY_SIZE(owned); i++) {
		const struct node *value = node_find(node, owned[i].key);

		if (value != NULL && source->type != NULL &&
		    !str_equals(source->type, owned[i].type))
			binder_error(binder, value->key_place, "Leave it away.",
			    "'%s' is for sources of type %s", owned[i].key, owned[i].type);
	}
}

void
bind_source(struct binder *binder, const struct node *node)
{
	size_t errors_before = binder->problems->errors_count;
	struct config_source *source = vec_add(&binder->config->sources);

	source->name = xstrdup(node->key);
	source->place = node->key_place;
	if (has_later_value(&config_source_section, node, "type")) {
		source->type = xstrdup(node_find(node, "type")->text);
		binder_warning(binder, node_find(node, "type")->place, NULL,
		    "sources of type %s are not in this version, it is passed over", source->type);
		for (size_t i = 0; i < node->children.count; i++)
			bind_entries(binder, node->children.items[i], true);
		return;
	}
	source->is_supported = true;
	bind_section(binder, node, &config_source_section, source);
	bind_by_type(binder, node, source);
	source->is_broken = binder->problems->errors_count > errors_before;
}

void
bind_blackout(struct binder *binder, const struct node *node)
{
	struct config_blackout *blackout = vec_add(&binder->config->blackouts);

	blackout->name = xstrdup(node->key);
	blackout->place = node->key_place;
	bind_section(binder, node, &config_blackout_section, blackout);
}

/* Which of the five ways; two at once are an error. */
static void
choose_schedule(struct binder *binder, const struct node *node, struct config_job *job)
{
	const struct {
		const char *key;
		enum config_schedule schedule;
		bool is_set;
	} ways[] = {
		{ "at", CONFIG_AT, job->at.count > 0 },
		{ "every", CONFIG_EVERY, job->every_us != 0 },
		{ "cron", CONFIG_CRON, job->cron != NULL },
		{ "continuous", CONFIG_CONTINUOUS, job->is_continuous },
		{ "on_change", CONFIG_ON_CHANGE, job->is_on_change },
	};
	const char *first = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (!ways[i].is_set)
			continue;
		if (first != NULL)
			binder_error(binder, node_find(node, ways[i].key)->key_place, NULL,
			    "'%s' and '%s' cannot both be its schedule", first, ways[i].key);
		else
			job->schedule = ways[i].schedule;
		first = first != NULL ? first : ways[i].key;
	}
	if (job->is_supported && job->kind != NULL &&
	    ((job->schedule == CONFIG_CONTINUOUS && !config_job_is_stream(job)) ||
		job->schedule == CONFIG_ON_CHANGE))
		binder_error(binder, node_find(node, first)->key_place,
		    "Give it a time with at, every or cron.", "a %s cannot be '%s'", job->kind,
		    first);
}

/* Keys that would say nothing for the job: silence would look like consent. */
static const struct foreign_key {
	const char *key;
	const char *kind;
	bool is_allowed; /* for this kind alone; else for all but this one */
	const char *why;
	const char *hint;
} foreign_keys[] = {
	{ "format", "dump", true, "is for dumps", "Leave it away." },
	{ "slot", "wal", true, "is for wal jobs", "Leave it away." },
	{ "standby_name", "wal", true, "is for wal jobs", "Leave it away." },
	{ "heartbeat", "wal", true, "is for wal jobs", "Leave it away." },
	{ "folder", "wal", false, "cannot be chosen",
	    "Leave it away: WAL always lies in the folder 'wal' of its source." },
	{ "verify", "wal", false, "is for backups",
	    "Leave it away: each piece of WAL is checked as it arrives." },
	{ "rate_limit", "wal", false, "is for backups",
	    "Leave it away: WAL must keep up with the server." },
	{ "base_every", "stream", true, "is for stream jobs", "Leave it away." },
	{ "piece_age", "stream", true, "is for stream jobs", "Leave it away." },
	{ "folder", "stream", false, "cannot be chosen",
	    "Leave it away: a stream always lies in the folder 'stream' of its source." },
	{ "verify", "stream", false, "is for backups",
	    "Leave it away: the stream is checked as it arrives." },
	{ "rate_limit", "stream", false, "is for backups",
	    "Leave it away: a stream must keep up with the server." },
};

/* Take a default that means nothing out of `config show`, or what is shown could not be read. */
static void
drop_default_entry(struct binder *binder, size_t from, const char *key)
{
	struct config *config = binder->config;
	size_t first = from;
	size_t behind;

	while (first < config->entries.count &&
	    (config->entries.items[first].depth != binder->depth ||
		config->entries.items[first].place.line != 0 ||
		!str_equals(config->entries.items[first].key, key)))
		first++;
	if (first == config->entries.count)
		return;
	for (behind = first + 1;
	     behind < config->entries.count && config->entries.items[behind].depth > binder->depth;)
		behind++;
	for (size_t i = first; i < behind; i++) {
		free(config->entries.items[i].key);
		free(config->entries.items[i].value);
	}
	memmove(&config->entries.items[first], &config->entries.items[behind],
	    (config->entries.count - behind) * sizeof(*config->entries.items));
	config->entries.count -= behind - first;
}

static void
refuse_foreign_keys(struct binder *binder, const struct node *node, const struct config_job *job,
    size_t entries_before)
{
	for (size_t i = 0; i < ARRAY_SIZE(foreign_keys); i++) {
		const struct foreign_key *rule = &foreign_keys[i];
		const struct node *found = node_find(node, rule->key);

		if (str_equals(job->kind, rule->kind) == rule->is_allowed)
			continue;
		if (found != NULL)
			binder_error(binder, found->key_place, rule->hint, "'%s' %s, not for a %s",
			    rule->key, rule->why, job->kind);
		else
			drop_default_entry(binder, entries_before, rule->key);
	}
}

/* What belongs to a receiver's connection says nothing where there is none. */
static void
refuse_stream_keys(struct binder *binder, const struct node *node, const struct config_job *job,
    size_t entries_before)
{
	static const char *const names[] = { "slot", "standby_name", "heartbeat" };

	if (!str_equals(job->kind, "wal") || job->is_continuous)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct node *found = node_find(node, names[i]);

		if (found != NULL)
			binder_error(binder, found->key_place,
			    "Add 'continuous: true' to stream from the server.",
			    "'%s' needs 'continuous: true': without it nothing is received",
			    names[i]);
		else
			drop_default_entry(binder, entries_before, names[i]);
	}
}

static void
refuse_unknown_source(struct binder *binder, const struct node *node)
{
	SCOPED(str_done) struct str hint = STR_INIT_MAX(200);
	VEC(const char *) names = { .items = NULL };
	const char *nearest;

	for (size_t i = 0; i < binder->config->sources.count; i++)
		vec_push(&names, binder->config->sources.items[i].name);
	nearest = str_nearest(node->text, names.items, names.count);
	vec_done(&names);
	if (nearest != NULL)
		str_addf(&hint, "Did you mean '%s'?", nearest);
	else
		str_add(&hint, "Declare it under 'sources'.");
	binder_error(binder, node->place, str_text(&hint), "there is no source '%.80s'",
	    node->text);
}

void
bind_job(struct binder *binder, const struct node *node)
{
	size_t errors_before = binder->problems->errors_count;
	struct config_job *job = vec_add(&binder->config->jobs);
	const struct node *source_node = node_find(node, "source");
	const struct config_source *source = NULL;
	size_t entries_before = binder->config->entries.count;

	job->name = xstrdup(node->key);
	job->place = node->key_place;
	if (source_node != NULL && source_node->kind == NODE_TEXT)
		source = config_find_source(binder->config, source_node->text);
	binder->is_tolerant = source != NULL && !source->is_supported;
	bind_section(binder, node, &config_job_section, job);
	if (source == NULL && job->source != NULL)
		refuse_unknown_source(binder, source_node);
	job->is_supported = !binder->is_tolerant &&
	    !has_later_value(&config_job_section, node, "do");
	if (!job->is_supported && job->kind != NULL)
		binder_warning(binder, node_find(node, "do")->place, NULL,
		    "'do: %s' is not in this version, the job is passed over", job->kind);
	binder->is_tolerant = false;
	job->verify.is_wanted = node_find(node, "verify") != NULL;
	choose_schedule(binder, node, job);
	if (job->is_supported && job->kind != NULL) {
		refuse_foreign_keys(binder, node, job, entries_before);
		refuse_stream_keys(binder, node, job, entries_before);
	}
	job->is_broken = binder->problems->errors_count > errors_before;
}
