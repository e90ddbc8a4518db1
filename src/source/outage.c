#include "source/outage.h"

#include <string.h>

#include "base/log.h"

#define SAME_EVERY_US (10 * 60 * US_PER_S)

void
outage_tell(struct outage *outage, const struct err *failure)
{
	bool is_new = strcmp(outage->last, failure->msg) != 0;

	if (!is_new && clock_elapsed_us(outage->told) < SAME_EVERY_US)
		return;
	log_warning("%s; trying again", failure->msg);
	if (failure->hint[0] != '\0')
		log_info("  hint: %s", failure->hint);
	memcpy(outage->last, failure->msg, sizeof(outage->last));
	outage->told = clock_mono();
}
