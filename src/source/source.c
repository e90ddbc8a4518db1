#include "source/source.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"

enum { CHECK_TEXT_MAX = 1024 };

enum { USUAL_LEVEL = 1, SMOKE_LEVEL = 4 };

static const struct backup_kind *
find_kind(const struct source_ops *ops, const char *name)
{
	for (size_t i = 0; i < ops->kinds_count; i++) {
		if (str_equals(ops->kinds[i].name, name))
			return &ops->kinds[i];
	}

	return NULL;
}

const struct backup_kind *
source_kind(const struct source *source, const char *name)
{
	return find_kind(source->ops, name);
}

int
source_usual_level(const struct source_ops *ops, const char *kind, bool has_smoke)
{
	const struct backup_kind *found = find_kind(ops, kind);
	int level = found != NULL && found->default_level >= 0 ? found->default_level : USUAL_LEVEL;

	return has_smoke && level < SMOKE_LEVEL ? SMOKE_LEVEL : level;
}

void
source_free(struct source *source)
{
	if (source != NULL)
		source->ops->free(source);
}

void
source_identity_done(struct source_identity *identity)
{
	free(identity->identity);
	free(identity->version);
	*identity = (struct source_identity){ .identity = NULL };
}

static void
texts_free(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
}

void
verify_report_done(struct verify_report *report)
{
	json_decref(report->details);
	texts_free(report->notes.items, report->notes.count);
	texts_free(report->warnings.items, report->warnings.count);
	vec_done(&report->notes);
	vec_done(&report->warnings);
	report->details = NULL;
}

void
restore_plan_done(struct restore_plan *plan)
{
	free(plan->what);
	free(plan->target);
	free(plan->hint);
	free(plan->replaces);
	texts_free(plan->steps.items, plan->steps.count);
	texts_free(plan->warnings.items, plan->warnings.count);
	texts_free(plan->obstacles.items, plan->obstacles.count);
	vec_done(&plan->steps);
	vec_done(&plan->warnings);
	vec_done(&plan->obstacles);
	plan->what = NULL;
	plan->target = NULL;
	plan->hint = NULL;
	plan->replaces = NULL;
}

void
restore_report_done(struct restore_report *report)
{
	free(report->target);
	free(report->next);
	json_decref(report->details);
	texts_free(report->notes.items, report->notes.count);
	texts_free(report->warnings.items, report->warnings.count);
	vec_done(&report->notes);
	vec_done(&report->warnings);
	report->target = NULL;
	report->next = NULL;
	report->details = NULL;
}

void
check_report_add(struct check_report *report, enum check_result result, const char *name,
    const char *fix, const char *format, ...)
{
	char text[CHECK_TEXT_MAX];
	struct check_item *item = vec_add(&report->items);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	item->result = result;
	item->name = xstrdup(name);
	item->text = xstrdup(text);
	item->fix = xstrdup(fix);
}

void
check_report_done(struct check_report *report)
{
	for (size_t i = 0; i < report->items.count; i++) {
		free(report->items.items[i].name);
		free(report->items.items[i].text);
		free(report->items.items[i].fix);
	}
	vec_done(&report->items);
}

enum check_result
check_report_worst(const struct check_report *report)
{
	enum check_result worst = CHECK_OK;

	for (size_t i = 0; i < report->items.count; i++) {
		if (report->items.items[i].result > worst)
			worst = report->items.items[i].result;
	}

	return worst;
}

void
settle_report_done(struct settle_report *report)
{
	for (size_t i = 0; i < report->warnings.count; i++)
		free(report->warnings.items[i]);
	vec_done(&report->warnings);
}

void
window_report_done(struct window_report *report)
{
	for (size_t i = 0; i < report->spans.count; i++) {
		free(report->spans.items[i].backup_id);
		free(report->spans.items[i].ends);
	}
	for (size_t i = 0; i < report->gaps.count; i++)
		free(report->gaps.items[i].text);
	for (size_t i = 0; i < report->branches.count; i++)
		free(report->branches.items[i].reason);
	for (size_t i = 0; i < report->warnings.count; i++)
		free(report->warnings.items[i]);
	vec_done(&report->spans);
	vec_done(&report->gaps);
	vec_done(&report->branches);
	vec_done(&report->warnings);
}
