#include "source/postgres/control.h"

#include "base/err.h"
#include "stream/crc32c.h"

/* Offsets in ControlFileData; the same in all versions we know but for the checksum at its end. */
enum {
	AT_SYSTEM_IDENTIFIER = 0,
	AT_CONTROL_VERSION = 8,
	AT_CATALOG_VERSION = 12,
	AT_STATE = 16,
	AT_CHECKPOINT = 32,
	AT_REDO = 40, /* first field of the copy of the checkpoint record */
	AT_TIMELINE = 48,
	AT_MAX_CONNECTIONS = 180,
	AT_MAX_WORKER_PROCESSES = 184,
	AT_MAX_WAL_SENDERS = 188,
	AT_MAX_PREPARED_TRANSACTIONS = 192,
	AT_MAX_LOCKS_PER_TRANSACTION = 196,
	AT_BLOCK_BYTES = 216,
	AT_BLOCKS_PER_SEGMENT = 220,
	AT_WAL_SEGMENT_BYTES = 228,
	AT_CHECKSUM_VERSION = 252,
	AT_CRC_1300 = 288,
	AT_CRC_1800 = 292, /* default_char_signedness came before it */
	WAL_SEGMENT_MIN_BYTES = 1024 * 1024,
	WAL_SEGMENT_MAX_BYTES = 1024 * 1024 * 1024,
};

static uint32_t
get_u32(const uint8_t *data)
{
	return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
	    (uint32_t)data[3] << 24;
}

static uint64_t
get_u64(const uint8_t *data)
{
	return (uint64_t)get_u32(data + 4) << 32 | get_u32(data);
}

/* Where the file's own CRC32C stands, 0 for an unknown version. */
static size_t
crc_offset(uint32_t control_version)
{
	switch (control_version) {
	case 1300:
	case 1700:
		return AT_CRC_1300;
	case 1800:
		return AT_CRC_1800;
	default:
		return 0;
	}
}

int
control_parse(const void *data, size_t size, struct control *ret_control, struct err *err)
{
	const uint8_t *bytes = data;
	struct control control;
	size_t crc_at;

	if (size < CONTROL_FILE_BYTES)
		return err_set(err, ERR_DATA, "pg_control has %zu bytes, not %d", size,
		    CONTROL_FILE_BYTES);
	control.control_version = get_u32(bytes + AT_CONTROL_VERSION);
	crc_at = crc_offset(control.control_version);
	if (crc_at == 0)
		return err_set(err, ERR_UNSUPPORTED, "pg_control of version %u is not known here",
		    control.control_version);
	if (crc32c(0, bytes, crc_at) != get_u32(bytes + crc_at))
		return err_set(err, ERR_DATA, "pg_control's own checksum is wrong");

	control.system_identifier = get_u64(bytes + AT_SYSTEM_IDENTIFIER);
	control.catalog_version = get_u32(bytes + AT_CATALOG_VERSION);
	control.state = get_u32(bytes + AT_STATE);
	control.checkpoint_lsn = get_u64(bytes + AT_CHECKPOINT);
	control.redo_lsn = get_u64(bytes + AT_REDO);
	control.timeline = get_u32(bytes + AT_TIMELINE);
	control.max_connections = get_u32(bytes + AT_MAX_CONNECTIONS);
	control.max_worker_processes = get_u32(bytes + AT_MAX_WORKER_PROCESSES);
	control.max_wal_senders = get_u32(bytes + AT_MAX_WAL_SENDERS);
	control.max_prepared_transactions = get_u32(bytes + AT_MAX_PREPARED_TRANSACTIONS);
	control.max_locks_per_transaction = get_u32(bytes + AT_MAX_LOCKS_PER_TRANSACTION);
	control.block_bytes = get_u32(bytes + AT_BLOCK_BYTES);
	control.blocks_per_segment = get_u32(bytes + AT_BLOCKS_PER_SEGMENT);
	control.wal_segment_bytes = get_u32(bytes + AT_WAL_SEGMENT_BYTES);
	control.checksum_version = get_u32(bytes + AT_CHECKSUM_VERSION);
	if (control.wal_segment_bytes < WAL_SEGMENT_MIN_BYTES ||
	    control.wal_segment_bytes > WAL_SEGMENT_MAX_BYTES ||
	    (control.wal_segment_bytes & (control.wal_segment_bytes - 1)) != 0)
		return err_set(err, ERR_DATA,
		    "pg_control has an impossible WAL segment size of %u bytes",
		    control.wal_segment_bytes);
	*ret_control = control;

	return 0;
}
