/*
 * The configuration of a restored data directory, such that `pg_ctl -D DIR start` works and
 * nothing of the copy reaches the world: it must not archive into the archive of the live
 * server, wait for its standbys, or follow its publishers.
 *
 * All that must hold stands in one marked block at the end of postgresql.auto.conf, which the
 * server reads last.  To make the copy the live server, that block is removed.
 *
 * postgresql.conf is kept as it was unless it would lead the server astray: the one that lives
 * outside the data directory (Debian) names the live data directory.  Then a plain one is made
 * from the saved settings, and the original is kept as postgresql.conf.from-backup.
 */
#ifndef SOURCE_POSTGRES_BASE_CONFIG_H
#define SOURCE_POSTGRES_BASE_CONFIG_H

#include <stdbool.h>

#include "base/scope.h"

struct backup_view;
struct base_content;
struct base_extract;
struct base_settings;
struct control;
struct err;
struct json_t;

/* Lines of postgresql.auto.conf between which the block stands. */
#define BASE_CONFIG_BEGIN "# >>> blackstart:"
#define BASE_CONFIG_END "# <<< blackstart"

#define BASE_CONFIG_HBA "pg_hba.blackstart.conf"

struct base_config_options {
	const struct backup_view *view;
	const struct base_content *content;
	const struct json_t *settings; /* settings.json, or NULL */
	const struct control *control;
	const char *data_dir;   /* absolute */
	const char *socket_dir; /* NULL: no socket, the path would be too long */
	unsigned port;
	const struct base_settings *recovery; /* NULL: it recovers from what it has itself */
};

/* What was done, for the report. */
struct base_config_result {
	bool is_conf_made;      /* postgresql.conf is ours */
	bool has_conf_original; /* and the original lies beside it */
	bool has_hba_made;      /* no pg_hba.conf was saved: ours lets only the owner in */
};

int base_config_write(const struct base_config_options *options, struct base_extract *extract,
    struct base_config_result *ret_result, struct err *err) MUST_CHECK;

#endif
