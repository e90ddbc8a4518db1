/*
 * The rules: facts about jobs, sources, the store, channels and the daemon itself in, conditions
 * out.  One rule never hides another: a job that runs again has still failed, and a job that
 * failed may be too old as well.  Pure; who gathers the facts is engine/watch.
 */
#ifndef SCHED_ALARM_RULES_H
#define SCHED_ALARM_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "sched/alarm.h"

struct zone;

enum { ALARM_FAILURES_CRITICAL = 2, ALARM_CHANNEL_FAILURES_MAX = 4, ALARM_SIZES_MIN = 3 };

/* Of one job.  All texts of the facts are loans; NULL or 0 is "none" everywhere. */
struct job_facts {
	const char *job;
	struct wall_time known_since; /* when we began to expect something of it */

	/* Of its runs; one that is going on does not count among them. */
	unsigned failures_in_a_row; /* failed or lost, since the last good one */
	bool is_last_lost;          /* the newest of them died without a word */
	struct wall_time failed_at; /* when the newest of them ended */
	const char *failed_run;     /* its id, error and hint */
	const char *failure;
	const char *failure_hint;
	struct wall_time running_since; /* of the run that is going on */
	struct wall_time missed_at;  /* the newest due run that could not start, and none since */
	struct wall_time stalled_at; /* a run that goes on has said nothing since then */
	const char *stalled_run;
	bool is_stall_unknown; /* who asks does not supervise the runs */

	/* Of its backups. */
	int64_t max_age_us;
	struct wall_time last_good; /* the instant that the newest good one stands for */
	const char *newest_id;
	uint64_t newest_bytes;
	uint64_t median_bytes; /* of up to ten before it; 0: fewer than ALARM_SIZES_MIN */
	const char *emptied;   /* "3 tables are empty now, the first: public.devices" */
	int verify_level;      /* how far each should be proved; -1: not asked for */
	int64_t verify_max_age_us;
	struct wall_time verified_at;      /* the last proof that reached it */
	struct wall_time unverified_since; /* without one: since when there is something to prove */
	const char *upload_failure;        /* of the copy elsewhere, where there is one */
	struct wall_time upload_failed_at;
};

/* Of a source with a continuous stream. */
struct stream_facts {
	const char *source;
	const char *job;
	bool is_unknown; /* it could not be looked at */
	int64_t max_age_us;
	struct wall_time newest; /* the last commit that is safe */
	struct wall_time known_since;
	bool is_receiving; /* a receiver runs */
	const char *gap;   /* the newest gap, and the number of them */
	unsigned gaps_count;
};

struct store_facts {
	const char *name;    /* its location */
	const char *failure; /* it cannot be used at all: why */
	uint64_t used_bytes;
	uint64_t capacity_bytes;
	struct wall_time full_at; /* forecast */
};

/* Of this program itself. */
struct state_facts {
	const char *folder;
	uint64_t used_bytes;
	uint64_t capacity_bytes;   /* 0: the file system is the store's, or cannot be looked at */
	const char *catalog_aside; /* a damaged catalog that was set aside and is still there */
};

struct drill_facts {
	const char *source;
	int64_t max_age_us;
	struct wall_time last;
	struct wall_time known_since;
};

struct channel_facts {
	const char *name;
	unsigned failures_in_a_row;
	struct wall_time failing_since;
	const char *failure;
};

struct daemon_facts {
	const char *config_path; /* the file of which a reload failed */
	const char *config_failure;
	struct wall_time config_failed_at;
	int64_t clock_jump_us; /* seen in this tick: how far; 0: none */
};

struct alarm_facts {
	const struct job_facts *jobs;
	size_t jobs_count;
	const struct stream_facts *streams;
	size_t streams_count;
	const struct drill_facts *drills;
	size_t drills_count;
	const struct channel_facts *channels;
	size_t channels_count;
	const struct store_facts *store;   /* NULL: not looked at */
	const struct state_facts *state;   /* NULL: not looked at */
	const struct daemon_facts *daemon; /* NULL: not looked at */
};

struct alarm_limits {
	unsigned storage_warn_percent;
	unsigned storage_critical_percent;
	unsigned storage_clear_percent;
	unsigned suspicious_percent; /* of the median; 0: off */
	bool is_off[ALARM_RULES_COUNT];
};

/* Conditions of every rule for every subject, also of those that are well. */
void alarm_rules_apply(const struct alarm_facts *facts, const struct alarm_limits *limits,
    const struct zone *zone, struct wall_time now, struct alarm_conditions *ret_conditions);

#endif
