#include "source/redis/stream/expire.h"

#include "base/err.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "source/archive.h"
#include "source/redis/stream/chain.h"
#include "source/source.h"

/* The base that the window begins with; false: there is none, and nobody can say what is needed. */
static bool
find_window_base(const struct chain *chain, const struct expire_request *request,
    struct chain_place *ret_place, struct wall_time *ret_at)
{
	bool is_found = false;
	bool is_old_found = false;

	for (size_t i = 0; i < request->good_count; i++) {
		struct wall_time at = request->kept[i]->consistent_at;
		bool is_old = at.us <= request->since.us;
		struct chain_place place;

		if (!chain_place_of(chain, request->kept[i], &place))
			continue;
		if (is_found &&
		    (is_old_found ? !is_old || at.us < ret_at->us : !is_old && at.us > ret_at->us))
			continue;
		is_found = true;
		is_old_found = is_old;
		*ret_place = place;
		*ret_at = at;
	}

	return is_found;
}

/*
 * Is there anything in it that belongs to the window.  A later base may stand at a lower offset,
 * of another branch, so time decides as well.
 */
static bool
is_needed(const struct chain *chain, const struct link *link, struct chain_place base,
    struct wall_time at)
{
	if (link->form == PIECE_TAIL || link->last.us == 0 || link->last.us >= at.us)
		return true;

	return link->branch == base.branch && link->to > base.offset &&
	    branches_find(&chain->branches, link->branch) != NULL;
}

static int
expire_link(struct archive *archive, const struct link *link, const struct expire_request *request,
    struct expire_report *report, struct err *err)
{
	char name[PIECE_NAME_SIZE];

	if (stop_check(err) < 0)
		return -1;
	(void)piece_name(link->branch, link->from, PIECE_PACKED, name);
	if (!request->is_dry_run &&
	    (archive_remove(archive, name, err) < 0 ||
		archive_index_remove(archive, link->branch, link->from, err) < 0))
		return -1;
	report->count++;
	report->bytes += link->stored_bytes;

	return 0;
}

int
redis_expire(struct archive *archive, const struct expire_request *request,
    struct expire_report *report, struct err *err)
{
	SCOPED(chain_done) struct chain chain = { .stored_bytes = 0 };
	struct chain_place base = { .branch = 0 };
	struct wall_time at = { .us = 0 };

	if (chain_read(archive, &chain, err) < 0)
		return -1;
	if (!find_window_base(&chain, request, &base, &at))
		return 0;
	for (size_t i = 0; i < chain.links.count; i++) {
		const struct link *link = &chain.links.items[i];

		if (!is_needed(&chain, link, base, at) &&
		    expire_link(archive, link, request, report, err) < 0)
			return -1;
	}

	return 0;
}
