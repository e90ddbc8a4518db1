#include "source/postgres/wal/recovery.h"

#include "base/clock.h"
#include "base/err.h"
#include "source/archive.h"
#include "source/postgres/wal/choose.h"
#include "source/postgres/wal/survey.h"
#include "source/postgres/wal/window.h"
#include "source/source.h"

int
pg_wal_window(struct archive *archive, const struct manifest *const *bases, size_t bases_count,
    struct window_report *report, struct err *err)
{
	SCOPED(wal_survey_done) struct wal_survey survey = { .segment_bytes = 0 };

	if (wal_survey_read(archive, bases, bases_count, &survey, err) < 0)
		return -1;
	wal_window(&survey, report);

	return 0;
}

int
pg_wal_choose(struct archive *archive, const struct manifest *const *bases, size_t bases_count,
    struct restore_target *target, size_t *ret_index, struct err *err)
{
	SCOPED(wal_survey_done) struct wal_survey survey = { .segment_bytes = 0 };
	SCOPED(archive_marks_done) struct archive_marks marks = { .items = { .count = 0 } };
	size_t chosen = 0;

	if (wal_survey_read(archive, bases, bases_count, &survey, err) < 0)
		return -1;
	if (target->kind == TARGET_MARK && archive_index_marks(archive, NULL, &marks, err) < 0)
		return -1;
	if (wal_choose(&survey, &marks, clock_wall(), target, &chosen, err) < 0)
		return -1;
	*ret_index = survey.bases.items[chosen].index;

	return 0;
}
