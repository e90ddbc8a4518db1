#include <jansson.h>
#include <stdio.h>

#include "base/err.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "source/postgres/dump/dump_internal.h"

/* Counting has failed: the dump goes on, unless we were told to stop. */
static int
lose(struct dump_count *counting, struct err *cause, struct err *err)
{
	if (stop_check(err) < 0)
		return -1;
	counting->is_lost = true;
	(void)snprintf(counting->reason, sizeof(counting->reason), "%s", cause->msg);

	return 0;
}

int
dump_count_step(struct dump_count *counting, struct dump_session *session, struct err *err)
{
	struct err cause = ERR_INIT;
	int result;

	if (counting->is_lost)
		return 0;
	if (counting->has_begun) {
		result = count_step(&counting->count, &cause);
	} else {
		counting->has_begun = true;
		result = count_begin(&counting->count, session->conn, session->is_standby, &cause);
	}

	return result < 0 ? lose(counting, &cause, err) : 0;
}

static void
tell(const struct dump_count *counting, struct dump_session *session, struct manifest *draft)
{
	const struct count *count = &counting->count;
	size_t uncounted = count_uncounted(count);
	const char *database = json_string_value(json_object_get(session->facts, "name"));

	if (uncounted > 0)
		manifest_add_warning(draft, "table_not_counted",
		    "database '%s': the rows of %zu of %zu tables could not be counted for certain "
		    "(%s); these will not be compared",
		    database, uncounted, count->tables.count, str_text(&count->trouble));
	(void)json_object_set_new(session->facts, "tables", count_json(count, COUNT_TABLE));
	if (count_of_kind(count, COUNT_EXTENSION_TABLE) > 0)
		(void)json_object_set_new(session->facts, "extension_tables",
		    count_json(count, COUNT_EXTENSION_TABLE));
	if (count_of_kind(count, COUNT_MATVIEW) > 0)
		(void)json_object_set_new(session->facts, "materialized_views",
		    count_json(count, COUNT_MATVIEW));
	(void)json_object_set_new(session->facts, "unlogged", count_json_unlogged(count));
	(void)json_object_set_new(session->facts, "rls", count_json_rls(count));
}

int
dump_count_finish(struct dump_count *counting, struct dump_session *session, struct manifest *draft,
    struct err *err)
{
	struct err cause = ERR_INIT;

	if (!counting->has_begun && dump_count_step(counting, session, err) < 0)
		return -1;
	if (!counting->is_lost && count_finish(&counting->count, &cause) < 0 &&
	    lose(counting, &cause, err) < 0)
		return -1;
	if (counting->is_lost) {
		manifest_add_warning(draft, "not_counted",
		    "database '%s': rows could not be counted, so a restore cannot be compared: %s",
		    json_string_value(json_object_get(session->facts, "name")), counting->reason);
		return 0;
	}
	tell(counting, session, draft);

	return 0;
}

void
dump_count_done(struct dump_count *counting)
{
	count_done(&counting->count);
}
