/*
 * What lies in the archive's folder, by its names, and what all of it has in common: the size of
 * segments and the system they are of.  A million segments take 16 MiB.
 */
#ifndef SOURCE_POSTGRES_WAL_INVENTORY_H
#define SOURCE_POSTGRES_WAL_INVENTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/vec.h"
#include "source/postgres/wal/history.h"
#include "source/postgres/wal/names.h"

struct archive;
struct err;

/* Which files there are of a segment. */
enum wal_has {
	WAL_HAS_PACKED = 1, /* "NAME.zst" */
	WAL_HAS_PLAIN = 2,  /* "NAME" */
	WAL_HAS_TAIL = 4,   /* "NAME.partial" */
};

struct wal_item {
	uint64_t number;
	uint32_t timeline;
	unsigned has; /* of enum wal_has */
};

/* The file that a segment is read from: whole where there is a whole one, else its tail. */
enum wal_form wal_item_form(const struct wal_item *item);

struct wal_inventory {
	VEC(struct wal_item) items;        /* by timeline, then number */
	VEC(struct wal_history) histories; /* those that can be read */
	VEC(char *) warnings;              /* files that are not what their names say */
	uint64_t segment_bytes;
	uint64_t system_identifier; /* the source's, else that of the first segment; 0: unknown */
};

/* Read the folder and its history files. */
int wal_inventory_read(struct archive *archive, struct wal_inventory *ret_inventory,
    struct err *err) MUST_CHECK;
void wal_inventory_done(struct wal_inventory *inventory);

/*
 * Will nothing more be written into the tail of item `index`: a later segment of its timeline is
 * there, or a child of the timeline left it behind the segment's end.
 */
bool wal_inventory_is_finished(const struct wal_inventory *inventory, size_t index);

#endif
