#include <string.h>

#include "source/postgres/wal/reader_internal.h"

/* A record's header: u32 size, u32 xid, u64 previous, u8 info, u8 manager, 2 of padding, u32 CRC. */
enum {
	AT_INFO = 16,
	AT_MANAGER = 17,

	MANAGER_XLOG = 0,
	MANAGER_XACT = 1,

	/* info of MANAGER_XLOG, catalog/pg_control.h */
	CHECKPOINT_SHUTDOWN = 0x00,
	RESTORE_POINT = 0x70,
	END_OF_RECOVERY = 0x90,
	INFO_MASK = 0xF0,

	/* info of MANAGER_XACT, access/xact.h */
	XACT_COMMIT = 0x00,
	XACT_ABORT = 0x20,
	XACT_COMMIT_PREPARED = 0x30,
	XACT_ABORT_PREPARED = 0x40,
	XACT_MASK = 0x70,

	/* what stands before the data, access/xlogrecord.h */
	BLOCK_ORIGIN = 253,
	BLOCK_TOPLEVEL_XID = 252,
	BLOCK_DATA_SHORT = 255,
	BLOCK_DATA_LONG = 254,
};

/* Microseconds from 1970 to 2000, PostgreSQL's epoch. */
#define EPOCH_US (INT64_C(946684800) * US_PER_S)

/*
 * Records of these two managers have no pages, so the main data follows its own small header:
 * 255 and a u8 size, or 254 and a u32 size; before it may stand 253 and a u16 origin, 252 and a
 * u32 transaction.
 */
const uint8_t *
wal_facts_main(const uint8_t *prefix, size_t prefix_bytes, size_t need_bytes)
{
	size_t at = WAL_RECORD_HEADER_BYTES;

	if (at < prefix_bytes && prefix[at] == BLOCK_ORIGIN)
		at += 1 + 2;
	if (at < prefix_bytes && prefix[at] == BLOCK_TOPLEVEL_XID)
		at += 1 + 4;
	if (at >= prefix_bytes)
		return NULL;
	if (prefix[at] == BLOCK_DATA_SHORT)
		at += 1 + 1;
	else if (prefix[at] == BLOCK_DATA_LONG)
		at += 1 + 4;
	else
		return NULL;

	return at + need_bytes <= prefix_bytes ? prefix + at : NULL;
}

static struct wall_time
to_time(const uint8_t *data)
{
	int64_t us;

	if (__builtin_add_overflow((int64_t)wal_u64(data), EPOCH_US, &us))
		us = INT64_MAX;

	return (struct wall_time){ us };
}

static void
add_commit(struct wal_summary *summary, const uint8_t *prefix, size_t prefix_bytes)
{
	const uint8_t *data = wal_facts_main(prefix, prefix_bytes, 8);

	if (data == NULL)
		return;
	summary->last_commit = to_time(data);
	if (summary->commits == 0)
		summary->first_commit = summary->last_commit;
	if (summary->commits == 0 || summary->last_commit.us > summary->latest_commit.us)
		summary->latest_commit = summary->last_commit;
	summary->commits++;
}

/* i64 time, then 64 bytes of a name that ends with a NUL. */
static void
add_restore_point(struct wal_summary *summary, uint64_t lsn, const uint8_t *prefix,
    size_t prefix_bytes)
{
	const uint8_t *data = wal_facts_main(prefix, prefix_bytes, 8 + WAL_POINT_NAME_SIZE);

	if (data == NULL)
		return;
	summary->restore_points++;
	if (summary->points.count >= WAL_POINTS_MAX)
		return;

	struct wal_restore_point *point = vec_add(&summary->points);
	point->lsn = lsn;
	point->time = to_time(data);
	memcpy(point->name, data + 8, WAL_POINT_NAME_SIZE - 1);
}

/* Two u32 at `offset`: this timeline and the one before; they differ where a timeline begins. */
static void
add_switch(struct wal_summary *summary, uint64_t lsn, const uint8_t *prefix, size_t prefix_bytes,
    size_t offset)
{
	const uint8_t *data = wal_facts_main(prefix, prefix_bytes, offset + 8);

	if (data == NULL || wal_u32(data + offset) == wal_u32(data + offset + 4) ||
	    summary->switches.count >= WAL_SWITCHES_MAX)
		return;
	vec_push(&summary->switches,
	    ((struct wal_switch){
		.lsn = lsn,
		.timeline = wal_u32(data + offset),
		.parent = wal_u32(data + offset + 4),
	    }));
}

static void
add_xlog(struct wal_summary *summary, uint64_t lsn, const uint8_t *prefix, size_t prefix_bytes)
{
	switch (prefix[AT_INFO] & INFO_MASK) {
	case RESTORE_POINT:
		add_restore_point(summary, lsn, prefix, prefix_bytes);
		break;
	case CHECKPOINT_SHUTDOWN: /* u64 redo before the timelines */
	case END_OF_RECOVERY:     /* i64 time */
		add_switch(summary, lsn, prefix, prefix_bytes, 8);
		break;
	default:
		break;
	}
}

void
wal_facts_add(struct wal_summary *summary, uint64_t lsn, const uint8_t *prefix, size_t prefix_bytes)
{
	if (prefix[AT_MANAGER] == MANAGER_XLOG) {
		add_xlog(summary, lsn, prefix, prefix_bytes);
		return;
	}
	if (prefix[AT_MANAGER] != MANAGER_XACT)
		return;
	switch (prefix[AT_INFO] & XACT_MASK) {
	case XACT_COMMIT:
	case XACT_ABORT:
	case XACT_COMMIT_PREPARED:
	case XACT_ABORT_PREPARED:
		add_commit(summary, prefix, prefix_bytes);
		break;
	default:
		break;
	}
}
