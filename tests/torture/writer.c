/*
 * One client of the plant: inserts rows for ever and keeps a ledger of what the server promised.
 *
 *	writer NUMBER TARGET LEDGER
 *
 * TARGET is a file with one line, "EPOCH CONNINFO", read before each connection: the harness
 * changes it when another server takes over.  LEDGER gets a line for each row, durable before the
 * next row is sent:
 *
 *	STATE EPOCH SEQ ATTEMPT HASH BEFORE_US AFTER_US
 *
 * STATE: a  COMMIT returned and the server warned of nothing: this row must never be lost
 *        w  COMMIT returned with a warning: it may not have been replicated
 *        u  the connection broke first: it may be there or not
 * A row's number follows the highest that the server knows of, so the rows of one writer have no
 * holes on any timeline; ATTEMPT is never used again, so a row and the one that took its number
 * after a failover can be told apart.  Ends by a signal.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	PAD_SMALL_BYTES = 700,
	PAD_LARGE_BYTES = 40000,
	LARGE_EVERY = 50,
	HASH_TEXT_BYTES = 33,
	TEXT_BYTES = PAD_LARGE_BYTES + 128,
	RETRY_MS = 10,
};

struct writer {
	unsigned number;
	const char *target;
	int ledger;
	unsigned epoch;
	PGconn *conn;
	bool was_warned;
	uint64_t seq;
	uint64_t attempt;
	uint64_t chance;
	char pad[PAD_LARGE_BYTES + 1];
	char hash[HASH_TEXT_BYTES];
};

static int64_t
now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);

	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void
wait_a_little(void)
{
	struct timespec left = { .tv_nsec = RETRY_MS * 1000000L };

	(void)nanosleep(&left, NULL);
}

static uint64_t
next_chance(struct writer *writer)
{
	/* xorshift64 */
	writer->chance ^= writer->chance << 13;
	writer->chance ^= writer->chance >> 7;
	writer->chance ^= writer->chance << 17;

	return writer->chance;
}

/* ---- a row ---- */

/* Text that does not compress, now and then longer than a page, so that records cross segments. */
static void
fill_pad(struct writer *writer)
{
	static const char
	    digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
	uint64_t chance = next_chance(writer);
	size_t size = chance % LARGE_EVERY == 0 ? PAD_LARGE_BYTES : PAD_SMALL_BYTES;

	size = (size_t)(chance >> 8) % size;
	for (size_t i = 0; i < size; i++)
		writer->pad[i] = digits[next_chance(writer) % (sizeof(digits) - 1)];
	writer->pad[size] = '\0';
}

/* The same as md5(writer || ':' || seq || ':' || attempt || ':' || pad) says in SQL. */
static void
fill_hash(struct writer *writer)
{
	char text[TEXT_BYTES];
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	int length = snprintf(text, sizeof(text), "%u:%" PRIu64 ":%" PRIu64 ":%s", writer->number,
	    writer->seq, writer->attempt, writer->pad);

	if (EVP_Digest(text, (size_t)length, digest, &size, EVP_md5(), NULL) != 1)
		abort();
	for (unsigned i = 0; i < size; i++)
		(void)snprintf(writer->hash + (size_t)2 * i, 3, "%02x", digest[i]);
}

static void
write_down(const struct writer *writer, char state, int64_t before_us, int64_t after_us)
{
	char line[256];
	int size = snprintf(line, sizeof(line),
	    "%c %u %" PRIu64 " %" PRIu64 " %s %" PRId64 " %" PRId64 "\n", state, writer->epoch,
	    writer->seq, writer->attempt, writer->hash, before_us, after_us);

	if (write(writer->ledger, line, (size_t)size) != size || fdatasync(writer->ledger) < 0) {
		(void)fprintf(stderr, "writer: cannot write the ledger: %s\n", strerror(errno));
		exit(1);
	}
}

static bool
insert(struct writer *writer)
{
	char seq[24];
	char attempt[24];
	char number[12];
	const char *values[] = { number, seq, attempt, writer->hash, writer->pad };
	int64_t before_us;
	PGresult *result;
	bool is_done;

	writer->attempt++;
	fill_pad(writer);
	fill_hash(writer);
	(void)snprintf(number, sizeof(number), "%u", writer->number);
	(void)snprintf(seq, sizeof(seq), "%" PRIu64, writer->seq);
	(void)snprintf(attempt, sizeof(attempt), "%" PRIu64, writer->attempt);
	writer->was_warned = false;
	before_us = now_us();
	result = PQexecParams(writer->conn,
	    "INSERT INTO torture (writer, seq, attempt, hash, pad) VALUES ($1, $2, $3, $4, $5)", 5,
	    NULL, values, NULL, NULL, 0);
	is_done = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	write_down(writer, !is_done ? 'u' : writer->was_warned ? 'w' : 'a', before_us, now_us());

	return is_done;
}

/* ---- the connection ---- */

static void
note_warning(void *argument, const PGresult *result)
{
	struct writer *writer = argument;

	(void)result;
	writer->was_warned = true;
}

static PGconn *
connect_to_target(struct writer *writer)
{
	char line[1024];
	int skip = 0;
	FILE *file = fopen(writer->target, "re");
	bool is_read = file != NULL && fgets(line, sizeof(line), file) != NULL;

	if (file != NULL)
		(void)fclose(file);
	if (!is_read || sscanf(line, "%u %n", &writer->epoch, &skip) != 1)
		return NULL;
	line[strcspn(line, "\n")] = '\0';

	return PQconnectdb(line + skip);
}

/* Ask where this writer's rows end; fails on a server that only reads. */
static bool
ask_next_seq(struct writer *writer)
{
	char query[160];
	PGresult *result;
	bool is_known;

	(void)snprintf(query, sizeof(query),
	    "SELECT coalesce(max(seq), 0) + 1 FROM torture WHERE writer = %u "
	    "AND NOT pg_is_in_recovery() HAVING NOT pg_is_in_recovery()",
	    writer->number);
	result = PQexec(writer->conn, query);
	is_known = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
	if (is_known)
		writer->seq = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);

	return is_known;
}

static void
write_while_connected(struct writer *writer)
{
	writer->conn = connect_to_target(writer);
	if (PQstatus(writer->conn) == CONNECTION_OK) {
		(void)PQsetNoticeReceiver(writer->conn, note_warning, writer);
		if (ask_next_seq(writer)) {
			while (insert(writer))
				writer->seq++;
		}
	}
	PQfinish(writer->conn);
	writer->conn = NULL;
	wait_a_little();
}

int
main(int argc, char **argv)
{
	static struct writer writer;

	if (argc != 4) {
		(void)fprintf(stderr, "usage: writer NUMBER TARGET LEDGER\n");
		return 2;
	}
	writer.number = (unsigned)strtoul(argv[1], NULL, 10);
	writer.target = argv[2];
	writer.ledger = open(argv[3], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (writer.ledger < 0) {
		perror(argv[3]);
		return 1;
	}
	writer.chance = (uint64_t)now_us() * 2654435761U + writer.number + 1;
	for (;;)
		write_while_connected(&writer);
}
