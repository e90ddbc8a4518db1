/*
 * Every name in the store is made and recognised here.  Pure.
 *
 * A flat kind (dump, rdb) puts its files side by side in one folder, with a stem:
 *   postgresql/daily/backup-2025-11-25.dump  .globals.sql  .manifest.json
 * A folder kind (base) gives each backup a folder:
 *   postgresql/base/2025-11-25T010000Z/base.tar.zst ... manifest.json
 */
#ifndef REPO_NAMES_H
#define REPO_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/scope.h"

struct err;
struct zone;

/* How the backups of one kind lie in the source's folder. */
struct layout {
	const char *subfolder;   /* "daily", "base", "" */
	const char *stem_prefix; /* "backup-": flat; NULL: a folder each */
	bool has_time;           /* the stem has hour and minute: dump-2025-11-25-12-00 */
};

/* The part that is never finished: it tells that the backup is not. */
#define PLACE_MARKER "run"

/* Where one backup goes. */
struct place {
	char *folder; /* "postgresql/daily" or "postgresql/base/2025-11-25T010000Z" */
	char *stem;   /* "backup-2025-11-25", or NULL for a folder of its own */
};

/*
 * The place of a backup that starts at `time`; `attempt` 0 is the plain name, 1 appends -HHMMSS
 * (of the site's zone for stems, "-1" for folders), 2 and more append a counter as well.
 */
void place_make(const char *source, const struct layout *layout, const struct zone *zone,
    struct wall_time time, unsigned attempt, struct place *ret_place);
void place_done(struct place *place);

/* "dump" to "postgresql/daily/backup-2025-11-25.dump"; "base.tar.zst" to ".../base.tar.zst". */
char *place_part_name(const struct place *place, const char *part) MUST_CHECK;
char *place_manifest_name(const struct place *place) MUST_CHECK;

/* The folder part of an object's name, "" when it has none; yours. */
char *name_folder(const char *object_name) MUST_CHECK;
const char *name_base(const char *object_name); /* a loan: after the last '/' */

/* Is this the name of a manifest ("manifest.json" or "*.manifest.json"). */
bool name_is_manifest(const char *object_name);
bool name_is_temporary(const char *object_name);

/*
 * Of ".tmp-<backup id>-<stem>.run", the sign of a run that makes files <stem>.*: the stem, yours; of
 * any other name NULL.
 */
char *name_marker_stem(const char *base_name) MUST_CHECK;

/* Bytes outside [A-Za-z0-9_.-] become %XX (also a leading '.'); yours. */
char *name_encode(const char *text) MUST_CHECK;

/* The other way; ERR_DATA for a '%' that no two hex digits follow, or that makes a NUL.  Yours. */
char *name_decode(const char *text, struct err *err) MUST_CHECK;

/* "pg-daily-20251125-020000-7f3a": job, UTC start, 4 random hex digits.  Yours. */
char *backup_id_make(const char *job, struct wall_time time, const char *random_hex) MUST_CHECK;

/* Has `text` the shape that backup_id_make gives: JOB-YYYYMMDD-HHMMSS-HEX. */
bool backup_id_is(const char *text);

/*
 * The user's own files, made by cron before us: does this object look like a backup of a layout
 * ("backup-2025-11-25.dump", "backup-2025-11-25.<database>.dump", both also with our -HHMMSS)?
 * The folder is not looked at.  On success *ret_time is the date and time in the name, without a
 * time the start of that day in `zone`, and *ret_stem the stem ("backup-2025-11-25"), yours.
 */
bool name_parse_flat(const char *object_name, const struct layout *layout, const char *extension,
    const struct zone *zone, struct wall_time *ret_time, char **ret_stem);

/* Source and job names: [A-Za-z0-9][A-Za-z0-9_.-]{0,62}. */
bool name_is_valid_label(const char *label);

#endif
