#include "source/postgres/wal/expire.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/vec.h"
#include "os/stop.h"
#include "repo/manifest.h"
#include "source/archive.h"
#include "source/postgres/base/content.h"
#include "source/postgres/lsn.h"
#include "source/postgres/wal/names.h"
#include "source/source.h"

enum { PIECES_AT_ONCE = 1000 };

/* The segments that one base needs to become consistent. */
struct need {
	uint64_t first;
	uint64_t last;
	struct wall_time at;
	bool has_wal; /* it carries them itself */
	bool is_ours; /* of the system whose archive it is */
	bool is_good;
};

struct expiry {
	struct archive *archive;
	const struct expire_request *request;
	struct expire_report *report;
	VEC(struct need) needs;
	uint64_t segment_bytes;
	struct wall_time window_at; /* of the base that the window begins with */
	uint64_t limit;             /* all from this number on stay */
};

/* ---- what is needed ---- */

static int
add_need(struct expiry *expiry, size_t index, uint64_t identifier, struct err *err)
{
	const struct manifest *manifest = expiry->request->kept[index];
	SCOPED(base_content_done) struct base_content content = { .start_lsn = 0 };
	struct need need;

	if (base_content_read(manifest, &content, err) < 0)
		return err_wrap(err, "base backup '%s'", manifest->id);
	need = (struct need){
		.first = content.start_lsn / content.wal_segment_bytes,
		.last = (content.end_lsn - 1) / content.wal_segment_bytes,
		.at = manifest->consistent_at,
		.has_wal = content.has_wal,
		.is_good = index < expiry->request->good_count,
		.is_ours = identifier == 0 || content.system_identifier == identifier,
	};
	if (need.is_ours)
		expiry->segment_bytes = content.wal_segment_bytes;
	vec_push(&expiry->needs, need);

	return 0;
}

static int
collect_needs(struct expiry *expiry, struct err *err)
{
	uint64_t identifier = 0;

	if (expiry->archive->identity != NULL &&
	    parse_u64(expiry->archive->identity, 1, UINT64_MAX, &identifier, err) < 0)
		return err_wrap(err, "identity of source '%s'", expiry->archive->label);
	for (size_t i = 0; i < expiry->request->kept_count; i++) {
		if (add_need(expiry, i, identifier, err) < 0)
			return -1;
	}

	return 0;
}

/*
 * The newest base that is not younger than the window, else the oldest there is.  False: there is
 * no good base of this system, so that nobody can say what is needed.
 */
static bool
find_window_base(struct expiry *expiry)
{
	const struct need *found = NULL;
	int64_t since_us = expiry->request->since.us;

	for (size_t i = 0; i < expiry->needs.count; i++) {
		const struct need *need = &expiry->needs.items[i];
		bool is_old = need->at.us <= since_us;
		bool found_is_old = found != NULL && found->at.us <= since_us;

		if (!need->is_ours || !need->is_good)
			continue;
		if (found == NULL || (is_old && !found_is_old) ||
		    (is_old == found_is_old &&
			(is_old ? need->at.us > found->at.us : need->at.us < found->at.us)))
			found = need;
	}
	if (found != NULL)
		expiry->window_at = found->at;

	return found != NULL;
}

/* A newer base may begin at a lower position, after a recovery to a point before it. */
static void
find_limit(struct expiry *expiry)
{
	expiry->limit = UINT64_MAX;
	for (size_t i = 0; i < expiry->needs.count; i++) {
		const struct need *need = &expiry->needs.items[i];

		if ((!need->is_ours || need->at.us >= expiry->window_at.us) &&
		    need->first < expiry->limit)
			expiry->limit = need->first;
	}
}

static bool
is_needed(const struct expiry *expiry, uint64_t number)
{
	if (number >= expiry->limit)
		return true;
	for (size_t i = 0; i < expiry->needs.count; i++) {
		const struct need *need = &expiry->needs.items[i];

		if (!need->has_wal && number >= need->first && number <= need->last)
			return true;
	}

	return false;
}

/* ---- what goes ---- */

static int
expire_piece(struct expiry *expiry, const struct piece *piece, struct err *err)
{
	char name[WAL_NAME_SIZE];
	char stored[WAL_STORED_NAME_SIZE];

	if (piece->state == PIECE_DAMAGED || is_needed(expiry, piece->number))
		return 0;
	if (stop_check(err) < 0)
		return -1;
	if (!expiry->request->is_dry_run) {
		(void)wal_name_format(piece->branch, piece->number, expiry->segment_bytes, name);
		(void)wal_stored_name(name,
		    piece->is_stored_plain ? WAL_FORM_PLAIN : WAL_FORM_PACKED, stored);
		if (archive_remove(expiry->archive, stored, err) < 0 ||
		    archive_index_remove(expiry->archive, piece->branch, piece->number, err) < 0)
			return -1;
	}
	expiry->report->count++;
	expiry->report->bytes += piece->stored_bytes;

	return 0;
}

static int
expire_span(struct expiry *expiry, const struct archive_span *span, struct err *err)
{
	uint64_t first = span->first;

	while (first <= span->last && first < expiry->limit) {
		SCOPED(pieces_done) struct pieces pieces = { .items = { .count = 0 } };
		uint64_t last = first + PIECES_AT_ONCE - 1;

		if (archive_index_list(expiry->archive, span->branch, first, last, &pieces, err) <
		    0)
			return -1;
		for (size_t i = 0; i < pieces.items.count; i++) {
			if (expire_piece(expiry, &pieces.items.items[i], err) < 0)
				return -1;
		}
		first = last + 1;
	}

	return 0;
}

static int
expire_all(struct expiry *expiry, struct err *err)
{
	struct archive_spans spans = { .items = { .count = 0 } };
	int result;

	if (collect_needs(expiry, err) < 0)
		return -1;
	if (!find_window_base(expiry))
		return 0;
	find_limit(expiry);
	result = archive_index_spans(expiry->archive, &spans, err);
	for (size_t i = 0; i < spans.items.count && result == 0; i++)
		result = expire_span(expiry, &spans.items.items[i], err);
	archive_spans_done(&spans);

	return result;
}

int
wal_expire(struct archive *archive, const struct expire_request *request,
    struct expire_report *report, struct err *err)
{
	struct expiry expiry = { .archive = archive, .request = request, .report = report };
	int result = expire_all(&expiry, err);

	vec_done(&expiry.needs);

	return result;
}
