/*
 * A server that speaks as much of the replication protocol as a base backup needs, and sends
 * what a test tells it to: the way to see what a real server never does.  It has one base.tar
 * with a few files, their manifest, and one segment of WAL; SQL connections are refused.
 */
#ifndef TESTS_UNIT_SOURCE_FAKE_WALSENDER_H
#define TESTS_UNIT_SOURCE_FAKE_WALSENDER_H

#include <stdbool.h>
#include <sys/types.h>

struct fake_walsender {
	const char *socket_dir;   /* .s.PGSQL.5432 is made in it */
	bool is_13;               /* one COPY an archive, keywords, no closing blocks */
	const char *archive_name; /* NULL: "base.tar" */
	const char *file_sent;    /* content of PG_VERSION as sent; NULL: as listed */
	bool has_extra_file;      /* one that the manifest does not list */
	bool lacks_file;          /* one that it does */
	bool lacks_wal;
	bool is_manifest_damaged;
	bool lacks_manifest;
	bool sends_archive_twice;
	bool sends_unknown_message;
	bool sends_long_message;    /* of 2 MiB */
	bool sends_nonsense;        /* a message that is shorter than its own head */
	bool cuts_connection;       /* after the first half of the archive */
	bool hangs;                 /* instead */
	const char *final_sqlstate; /* an error in place of the end; NULL: none */
	const char *warning;        /* sent while copying; NULL: none */
};

/* Start it as a child process; it serves any number of connections until it is killed. */
pid_t fake_walsender_start(const struct fake_walsender *fake);
void fake_walsender_stop(pid_t pid);

#endif
