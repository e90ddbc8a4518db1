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
	source->is_broken = binder->problems->errors_count > errors_before;
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
	    (job->schedule == CONFIG_CONTINUOUS || job->schedule == CONFIG_ON_CHANGE))
		binder_error(binder, node_find(node, first)->key_place,
		    "Give it a time with at, every or cron.", "a %s cannot be '%s'", job->kind,
		    first);
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
	choose_schedule(binder, node, job);
	if (job->is_supported && str_equals(job->kind, "base") && node_find(node, "format") != NULL)
		binder_error(binder, node_find(node, "format")->key_place, NULL,
		    "'format' is for dumps, not for a base");
	job->is_broken = binder->problems->errors_count > errors_before;
}
