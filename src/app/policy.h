/* How long the backups of a configured job are kept, and what its source's stream asks of them. */
#ifndef APP_POLICY_H
#define APP_POLICY_H

#include <stdbool.h>

#include "repo/retention.h"

struct config_job;
struct wire;

/* Does this job keep a continuous stream. */
bool policy_is_stream(const struct wire *wire, const struct config_job *job);

/* The kind of the backups that it makes: of a stream that of its own bases.  NULL: it makes none. */
const char *policy_backup_kind(const struct wire *wire, const struct config_job *job);

/* Does continuous recovery start from them. */
bool policy_is_window_base(const struct wire *wire, const struct config_job *job);

/* To which level its backups are to be proved: what it says, else what is usual for their kind. */
int policy_verify_level(const struct wire *wire, const struct config_job *job);

/* Its policy: a base is kept for as long as the source's stream needs it. */
struct retention_policy policy_of_job(const struct wire *wire, const struct config_job *job);

#endif
