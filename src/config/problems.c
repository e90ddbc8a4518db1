#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "config/config.h"

enum { PROBLEM_TEXT_MAX = 480 };

/* A place in the full list for one more error: that of a warning, if there is any. */
static struct config_problem *
replace_warning(struct config_problems *problems)
{
	for (size_t i = problems->items.count; i > 0; i--) {
		struct config_problem *problem = &problems->items.items[i - 1];

		if (problem->is_warning) {
			free(problem->text);
			free(problem->hint);
			return problem;
		}
	}

	return NULL;
}

static void
problems_add(struct config_problems *problems, const struct config_problem *like, const char *hint,
    const char *text)
{
	struct config_problem *problem;

	*(like->is_warning ? &problems->warnings_count : &problems->errors_count) += 1;
	if (problems->items.count < CONFIG_PROBLEMS_MAX)
		problem = vec_add(&problems->items);
	else
		problem = like->is_warning ? NULL : replace_warning(problems);
	if (problem == NULL)
		return;
	*problem = *like;
	problem->text = xstrdup(text);
	problem->hint = xstrdup(hint);
}

void
config_problems_error(struct config_problems *problems, struct config_place place, const char *hint,
    const char *format, ...)
{
	struct config_problem like = { .line = place.line, .column = place.column };
	char text[PROBLEM_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	problems_add(problems, &like, hint, text);
}

void
config_problems_warning(struct config_problems *problems, struct config_place place,
    const char *hint, const char *format, ...)
{
	struct config_problem like = { .is_warning = true,
		.line = place.line,
		.column = place.column };
	char text[PROBLEM_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	problems_add(problems, &like, hint, text);
}

static int
compare_places(const void *a, const void *b)
{
	const struct config_problem *left = a;
	const struct config_problem *right = b;

	if (left->line != right->line)
		return left->line < right->line ? -1 : 1;
	if (left->column != right->column)
		return left->column < right->column ? -1 : 1;

	return 0;
}

void
config_problems_sort(struct config_problems *problems)
{
	if (problems->items.count > 1)
		qsort(problems->items.items, problems->items.count, sizeof(*problems->items.items),
		    compare_places);
}

void
config_problems_done(struct config_problems *problems)
{
	for (size_t i = 0; i < problems->items.count; i++) {
		free(problems->items.items[i].text);
		free(problems->items.items[i].hint);
	}
	vec_done(&problems->items);
	*problems = (struct config_problems){ .errors_count = 0 };
}

char *
config_problem_format(const struct config_problem *problem, const char *path)
{
	const char *label = problem->is_warning ? "warning" : "error";

	if (problem->line == 0)
		return xasprintf("%s: %s: %s", path, label, problem->text);

	return xasprintf("%s:%u:%u: %s: %s", path, problem->line, problem->column, label,
	    problem->text);
}
