#include "app/config_open.h"

#include "app/config_lint.h"
#include "base/err.h"
#include "base/scope.h"
#include "config/config.h"

struct config *
config_open(const char *path, struct wall_time now, struct config_problems *problems,
    struct err *err)
{
	SCOPED(config_freep) struct config *config = config_read(path, problems, err);

	if (config == NULL)
		return NULL;
	config_lint(config, now, problems);
	config_problems_sort(problems);
	if (problems->errors_count > 0) {
		(void)err_set(err, ERR_CONFIG, "the configuration '%s' has %zu error%s", path,
		    problems->errors_count, problems->errors_count == 1 ? "" : "s");
		return NULL;
	}

	return TAKE(config);
}
