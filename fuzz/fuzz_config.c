/*
 * Any file as a configuration: it is read or refused with a bounded list of problems, each with
 * a text, and what is accepted has all that must be there.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_config(const struct config *config)
{
	assert(config->site != NULL && config->zone != NULL && config->store.path != NULL);
	for (size_t i = 0; i < config->jobs.count; i++) {
		const struct config_job *job = &config->jobs.items[i];

		assert(!job->is_broken && job->kind != NULL);
		assert(config_find_source(config, job->source) != NULL);
		assert(config_job_place(config, job, "keep").line >= job->place.line ||
		    config_job_place(config, job, "keep").line > 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_problems problems = { .errors_count = 0 };
	struct err err = ERR_INIT;
	struct config *config = config_parse((const char *)data, size, "fuzz.yaml", &problems,
	    &err);

	assert(problems.items.count <= CONFIG_PROBLEMS_MAX);
	for (size_t i = 0; i < problems.items.count; i++)
		assert(problems.items.items[i].text[0] != '\0');
	if (config == NULL)
		assert(err.kind == ERR_CONFIG && problems.errors_count > 0);
	else if (problems.errors_count == 0)
		check_config(config);
	config_problems_done(&problems);
	config_free(config);

	return 0;
}
