/* Every time zone of this machine, once each: for properties that must hold in all of them. */
#ifndef TESTS_UNIT_BASE_ALL_ZONES_H
#define TESTS_UNIT_BASE_ALL_ZONES_H

#include <stddef.h>

#include "base/clock.h"

struct zone;

/* Calls `visit` for each zone; zones that are the same file are visited once. Gives the count. */
size_t all_zones_visit(void (*visit)(const struct zone *zone, void *context), void *context);

/*
 * The first instant in (after, until] from which on another offset is in force than before;
 * false: none. Found by looking every six hours, so it needs nothing but zone_offset_s.
 */
bool all_zones_next_change(const struct zone *zone, struct wall_time after, struct wall_time until,
    struct wall_time *ret_change);

#endif
