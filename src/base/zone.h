/*
 * A time zone by its IANA name, read from the system's compiled zone files (TZif, RFC 8536).
 * Civil time and wall time in both directions, with gaps and overlaps named.  No global TZ is
 * read or changed.
 */
#ifndef BASE_ZONE_H
#define BASE_ZONE_H

#include "base/clock.h"
#include "base/scope.h"

struct err;
struct zone;

/* Load "Europe/Berlin" (also "UTC", which needs no file).  ERR_NOT_FOUND for an unknown name. */
struct zone *zone_open(const char *name, struct err *err) MUST_CHECK;
const char *zone_name(const struct zone *zone);
void zone_close(struct zone *zone);
SCOPED_FREE(struct zone, zone_close)

/* Seconds east of UTC in force at `time`. */
int zone_offset_s(const struct zone *zone, struct wall_time time);

/* Civil time at `time` (the microseconds are dropped). */
struct civil zone_civil(const struct zone *zone, struct wall_time time);

enum zone_match {
	ZONE_UNIQUE,  /* the civil time exists once */
	ZONE_OVERLAP, /* it exists twice: *ret_time is the first, *ret_second the second */
	ZONE_GAP,     /* it does not exist: *ret_time is the first valid instant after the gap */
};

/* The instant(s) of a civil time.  `ret_second` may be NULL. */
enum zone_match zone_resolve(const struct zone *zone, const struct civil *civil,
    struct wall_time *ret_time, struct wall_time *ret_second);

/* "2025-11-25 03:00:00 +01:00" for people; `text` holds CLOCK_TEXT_SIZE bytes.  Returns `text`. */
const char *zone_format(const struct zone *zone, struct wall_time time, char *text);

/*
 * A time as people type it: "2025-11-25 14:05[:09[.ffffff]]" in this zone, or with an offset or Z.
 * A civil time in a gap is refused; in an overlap it is refused too, with both offsets named in
 * the hint, because a restore must not guess.
 */
int zone_parse(const struct zone *zone, const char *text, struct wall_time *ret_time,
    struct err *err) MUST_CHECK;

/* "2026-11-22 14:05:08.913042+01:00" in the zone (NULL: UTC); `text` holds CLOCK_TEXT_SIZE bytes. */
const char *zone_format_us(const struct zone *zone, struct wall_time time, char *text);

#endif
