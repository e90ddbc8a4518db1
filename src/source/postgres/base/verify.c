#include <jansson.h>

#include "base/err.h"
#include "repo/manifest.h"
#include "source/postgres/base/content.h"
#include "source/postgres/base/level1.h"
#include "source/postgres/base/reader.h"
#include "source/postgres/base/trial_internal.h"
#include "source/postgres/postgres_internal.h"

int
pg_base_verify(struct postgres *pg, const struct backup_view *view,
    const struct verify_request *request, struct verify_report *report, struct err *err)
{
	SCOPED(base_content_done) struct base_content content = { .base = NULL };
	SCOPED(base_trial_freep) struct base_trial *trial = NULL;
	struct err impossible = ERR_INIT;

	report->level = -1;
	if (report->details == NULL)
		report->details = json_object();
	if (base_content_read(view->manifest, &content, err) < 0)
		return -1;
	/* Where no trial is possible, level 1 is climbed all the same before that is said. */
	if (request->level >= 2)
		trial = base_trial_new(pg, &content, view, request, report, &impossible);
	if (base_level1(&content, view, request, trial != NULL ? base_trial_observer(trial) : NULL,
		report, err) < 0)
		return -1;
	report->level = 1;
	if (request->level < 2)
		return 0;
	if (trial == NULL) {
		*err = impossible;
		return -1;
	}

	return base_trial_climb(trial, err);
}
