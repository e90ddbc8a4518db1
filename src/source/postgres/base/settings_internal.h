/*
 * What a base backup does not contain and a restored copy needs to be told: the server's settings,
 * its databases, tablespaces and extensions, and the configuration files that live outside the
 * data directory (as on Debian).
 */
#ifndef SOURCE_POSTGRES_BASE_SETTINGS_INTERNAL_H
#define SOURCE_POSTGRES_BASE_SETTINGS_INTERNAL_H

#include <jansson.h>

#include "base/scope.h"
#include "source/postgres/libpq_internal.h"

struct err;
struct intake;
struct manifest;
struct postgres;

/*
 * The object of settings.json (docs/store-format.md).  What the role may not see is left out.
 * Passwords in settings (primary_conninfo) are not taken.  Yours.
 */
json_t *base_settings_collect(const struct postgres *pg, PGconn *conn, struct err *err) MUST_CHECK;

/* Push `settings` as the part settings.json. */
int base_settings_save(const json_t *settings, struct intake *intake, struct err *err) MUST_CHECK;

/*
 * Push those of postgresql.conf, pg_hba.conf and pg_ident.conf that live outside the data
 * directory.  What cannot be read becomes a warning of the draft; only the intake can fail.
 */
int base_settings_save_files(const struct postgres *pg, PGconn *conn, const json_t *settings,
    struct intake *intake, struct manifest *draft, struct err *err) MUST_CHECK;

#endif
