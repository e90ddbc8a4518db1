/* What is told of failures of something that is tried for ever: an outage of a day is not ten
 * thousand lines. */
#ifndef SOURCE_OUTAGE_H
#define SOURCE_OUTAGE_H

#include "base/clock.h"
#include "base/err.h"

struct outage {
	char last[sizeof(((struct err *)NULL)->msg)];
	struct mono_time told;
	unsigned attempts; /* in a row */
};

/* Log it as a warning with its hint, unless the same was told within the last ten minutes. */
void outage_tell(struct outage *outage, const struct err *failure);

#endif
