/* Timeline histories: any text is refused or gives a chain that contradicts itself nowhere. */
#include <assert.h>
#include <stdint.h>

#include "base/err.h"
#include "source/postgres/wal/history.h"

enum { TIMELINE = 9 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wal_history history;
	struct err err = ERR_INIT;
	uint64_t last_lsn = 0;

	if (wal_history_parse(TIMELINE, (const char *)data, size, &history, &err) < 0) {
		assert(err.msg[0] != '\0');
		return 0;
	}
	assert(history.parents.count > 0);
	for (size_t i = 0; i < history.parents.count; i++) {
		const struct wal_branch *branch = &history.parents.items[i];
		uint64_t lsn;

		assert(branch->timeline > 0 && branch->timeline < TIMELINE);
		assert(branch->switch_lsn >= last_lsn);
		assert(wal_history_switch(&history, branch->timeline, &lsn));
		assert(lsn == branch->switch_lsn);
		assert(!wal_history_has(&history, branch->timeline, lsn));
		assert(lsn == last_lsn || wal_history_has(&history, branch->timeline, lsn - 1));
		last_lsn = lsn;
	}
	wal_history_done(&history);

	return 0;
}
