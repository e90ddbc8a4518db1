/*
 * global/pg_control: what a data directory says of itself.  Layout: PostgreSQL,
 * catalog/pg_control.h, control versions 1300 (13 to 16), 1700 and 1800; little-endian.
 */
#ifndef SOURCE_POSTGRES_CONTROL_H
#define SOURCE_POSTGRES_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

struct err;

enum { CONTROL_FILE_BYTES = 8192 };

enum control_state {
	CONTROL_STARTUP,
	CONTROL_SHUTDOWNED,
	CONTROL_SHUTDOWNED_IN_RECOVERY,
	CONTROL_SHUTDOWNING,
	CONTROL_IN_CRASH_RECOVERY,
	CONTROL_IN_ARCHIVE_RECOVERY,
	CONTROL_IN_PRODUCTION,
};

struct control {
	uint64_t system_identifier;
	uint32_t control_version;
	uint32_t catalog_version;
	uint32_t state; /* enum control_state */
	uint64_t checkpoint_lsn;
	uint64_t redo_lsn;
	uint32_t timeline;
	uint32_t max_connections; /* recovery needs at least these */
	uint32_t max_worker_processes;
	uint32_t max_wal_senders;
	uint32_t max_prepared_transactions;
	uint32_t max_locks_per_transaction;
	uint32_t block_bytes;
	uint32_t blocks_per_segment;
	uint32_t wal_segment_bytes;
	uint32_t checksum_version; /* 0: pages have no checksums */
};

/*
 * Take the file apart.  ERR_DATA when its own checksum is wrong or it is cut short,
 * ERR_UNSUPPORTED for a control version that is not known here.
 */
int control_parse(const void *data, size_t size, struct control *ret_control, struct err *err)
    MUST_CHECK;

#endif
