#include "fake_walsender.h"

#include <openssl/evp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "stream/crc32c.h"
#include "stream/digest.h"
#include "tar_text.h"

#define SEGMENT_BYTES (1024 * 1024)

enum {
	SYSTEM_IDENTIFIER = 42,
	SEGMENT_AT = 0x300000,
	START_AT = 0x300028,
	END_AT = 0x300100,
	RECORD_BYTES = 24,
};

/* ---- messages ------------------------------------------------------------------------------------ */

static void
add_u32(struct str *to, uint32_t value)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		str_add_char(to, (char)(uint8_t)(value >> shift));
}

static void
add_u16(struct str *to, unsigned value)
{
	str_add_char(to, (char)(uint8_t)(value >> 8));
	str_add_char(to, (char)(uint8_t)value);
}

static void
add_text(struct str *to, const char *text)
{
	str_add_bytes(to, text, strlen(text) + 1);
}

static void
send_bytes(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);

		if (sent <= 0)
			_exit(0); /* the test has seen enough */
		data += sent;
		size -= (size_t)sent;
	}
}

static void
send_message(int fd, char type, const struct str *body)
{
	struct str head = STR_INIT;

	str_add_char(&head, type);
	add_u32(&head, (uint32_t)body->size + 4);
	send_bytes(fd, head.data, head.size);
	send_bytes(fd, str_text(body), body->size);
	str_done(&head);
}

static void
send_text(int fd, char type, const char *text)
{
	struct str body = STR_INIT;

	add_text(&body, text);
	send_message(fd, type, &body);
	str_done(&body);
}

static void
send_empty(int fd, char type)
{
	struct str body = STR_INIT;

	send_message(fd, type, &body);
}

/* An error ('E') or a notice ('N'). */
static void
send_report(int fd, char type, const char *severity, const char *sqlstate, const char *text)
{
	struct str body = STR_INIT;

	str_addf(&body, "S%s", severity);
	str_add_char(&body, '\0');
	str_addf(&body, "V%s", severity);
	str_add_char(&body, '\0');
	str_addf(&body, "C%s", sqlstate);
	str_add_char(&body, '\0');
	str_addf(&body, "M%s", text);
	str_add_char(&body, '\0');
	str_add_char(&body, '\0');
	send_message(fd, type, &body);
	str_done(&body);
}

static void
send_ready(int fd)
{
	struct str body = STR_INIT;

	str_add_char(&body, 'I');
	send_message(fd, 'Z', &body);
	str_done(&body);
}

/* One row of text columns; a NULL text is null. */
static void
send_row(int fd, const char *const *values, unsigned count)
{
	struct str body = STR_INIT;

	add_u16(&body, count);
	for (unsigned i = 0; i < count; i++) {
		str_addf(&body, "column%u", i);
		str_add_char(&body, '\0');
		add_u32(&body, 0);
		add_u16(&body, 0);
		add_u32(&body, 25);
		add_u16(&body, 0xFFFF);
		add_u32(&body, 0xFFFFFFFF);
		add_u16(&body, 0);
	}
	send_message(fd, 'T', &body);
	str_cut(&body, 0);
	add_u16(&body, count);
	for (unsigned i = 0; i < count; i++) {
		add_u32(&body, values[i] != NULL ? (uint32_t)strlen(values[i]) : 0xFFFFFFFF);
		str_add(&body, values[i] != NULL ? values[i] : "");
	}
	send_message(fd, 'D', &body);
	send_text(fd, 'C', "SELECT 1");
	str_done(&body);
}

static void
send_copy_begin(int fd)
{
	struct str body = STR_INIT;

	str_add_char(&body, 0);
	add_u16(&body, 0);
	send_message(fd, 'H', &body);
	str_done(&body);
}

/* Payload of the copy, with its type unless the server is an old one. */
static void
send_data(int fd, const struct fake_walsender *fake, char type, const char *data, size_t size)
{
	struct str body = STR_INIT_MAX(8 * SEGMENT_BYTES);

	if (!fake->is_13)
		str_add_char(&body, type);
	str_add_bytes(&body, data, size);
	send_message(fd, 'd', &body);
	str_done(&body);
}

static void
send_long(int fd, const struct fake_walsender *fake)
{
	enum { LONG_BYTES = 2 * 1024 * 1024 };
	SCOPED(freep) char *zeros = xcalloc(LONG_BYTES, 1);

	send_data(fd, fake, 'd', zeros, LONG_BYTES);
}

/* ---- what it has ----------------------------------------------------------------------------------- */

static void
list_file(struct str *manifest, const char *name, const char *data, bool is_last)
{
	uint32_t crc = crc32c(0, data, strlen(data));

	str_addf(manifest,
	    "{ \"Path\": \"%s\", \"Size\": %zu, \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": "
	    "\"%02x%02x%02x%02x\" }%s\n",
	    name, strlen(data), crc & 255, crc >> 8 & 255, crc >> 16 & 255, crc >> 24,
	    is_last ? "" : ",");
}

static void
make_manifest(const struct fake_walsender *fake, struct str *to)
{
	uint8_t sha256[DIGEST_SHA256_BYTES];

	str_add(to, "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n");
	list_file(to, "backup_label", "label\n", false);
	if (fake->lacks_file)
		list_file(to, "base/1/1259", "never sent", false);
	list_file(to, "PG_VERSION", "15\n", true);
	str_add(to,
	    "],\n\"WAL-Ranges\": [\n"
	    "{ \"Timeline\": 1, \"Start-LSN\": \"0/300028\", \"End-LSN\": \"0/300100\" }\n],\n");
	if (EVP_Digest(str_text(to), to->size, sha256, NULL, EVP_sha256(), NULL) != 1)
		abort();
	if (fake->is_manifest_damaged)
		sha256[7] ^= 1;
	str_add(to, "\"Manifest-Checksum\": \"");
	str_add_hex(to, sha256, sizeof(sha256));
	str_add(to, "\"}\n");
}

static void
put(char *to, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		to[i] = (char)(uint8_t)(value >> (8 * i));
}

/* A segment with its long page header, and empty records (XLOG_NOOP) from the start to the end. */
static void
make_wal(const struct fake_walsender *fake, char *segment)
{
	put(segment, fake->is_13 ? 0xD106 : 0xD110, 2);
	put(segment + 2, 0x0002, 2);
	put(segment + 4, 1, 4);
	put(segment + 8, SEGMENT_AT, 8);
	put(segment + 24, SYSTEM_IDENTIFIER, 8);
	put(segment + 32, SEGMENT_BYTES, 4);
	put(segment + 36, 8192, 4);
	for (uint64_t at = START_AT; at < END_AT; at += RECORD_BYTES) {
		char *record = segment + (at - SEGMENT_AT);

		put(record, RECORD_BYTES, 4);
		put(record + 8, at == START_AT ? SEGMENT_AT - 8192 + 40 : at - RECORD_BYTES, 8);
		put(record + 16, 0x20, 1);
		put(record + 20, crc32c(0, record, 20), 4);
	}
}

static void
make_tar(const struct fake_walsender *fake, struct str *to)
{
	const char *version = fake->file_sent != NULL ? fake->file_sent : "15\n";
	char *segment = xcalloc(1, SEGMENT_BYTES);

	make_wal(fake, segment);
	tar_text_file(to, "backup_label", "label\n", 6);
	tar_text_file(to, "PG_VERSION", version, strlen(version));
	if (fake->has_extra_file)
		tar_text_file(to, "base/1/2600", "extra", 5);
	if (!fake->lacks_wal)
		tar_text_file(to, "pg_wal/000000010000000000000003", segment, SEGMENT_BYTES);
	if (!fake->is_13)
		tar_text_end(to);
	free(segment);
}

/* ---- BASE_BACKUP -------------------------------------------------------------------------------------- */

static void
send_archive(int fd, const struct fake_walsender *fake)
{
	struct str tar = STR_INIT_MAX(8 * SEGMENT_BYTES);
	const char *name = fake->archive_name != NULL ? fake->archive_name : "base.tar";
	size_t half;

	make_tar(fake, &tar);
	half = tar.size / 2;
	if (!fake->is_13) {
		struct str begin = STR_INIT;

		add_text(&begin, name);
		add_text(&begin, "");
		send_data(fd, fake, 'n', begin.data, begin.size);
		str_done(&begin);
	}
	send_data(fd, fake, 'd', tar.data, half);
	if (fake->cuts_connection)
		_exit(0);
	while (fake->hangs)
		(void)pause();
	if (fake->warning != NULL)
		send_report(fd, 'N', "WARNING", "01000", fake->warning);
	send_data(fd, fake, 'd', tar.data + half, tar.size - half);
	if (fake->sends_unknown_message)
		send_data(fd, fake, 'x', "?", 1);
	if (fake->sends_long_message)
		send_long(fd, fake);
	if (fake->sends_nonsense)
		send_bytes(fd, "d\0\0\0\1", 5);
	str_done(&tar);
}

static void
send_backup(int fd, const struct fake_walsender *fake)
{
	static const char *const start[] = { "0/300028", "1" };
	static const char *const spaces[] = { NULL, NULL, "1024" };
	static const char *const end[] = { "0/300100", "1" };
	struct str manifest = STR_INIT;

	send_row(fd, start, 2);
	send_row(fd, spaces, 3);
	send_copy_begin(fd);
	send_archive(fd, fake);
	if (fake->sends_archive_twice)
		send_archive(fd, fake);
	make_manifest(fake, &manifest);
	if (fake->is_13) {
		send_empty(fd, 'c');
		send_copy_begin(fd);
	} else if (!fake->lacks_manifest) {
		send_data(fd, fake, 'm', "", 0);
	}
	if (!fake->lacks_manifest)
		send_data(fd, fake, 'd', manifest.data, manifest.size);
	send_empty(fd, 'c');
	send_row(fd, end, 2);
	if (fake->final_sqlstate != NULL)
		send_report(fd, 'E', "ERROR", fake->final_sqlstate, "that is how it ends");
	else
		send_text(fd, 'C', "BASE_BACKUP");
	send_ready(fd);
	str_done(&manifest);
}

/* ---- a connection ------------------------------------------------------------------------------------- */

static void
receive(int fd, char *data, size_t size)
{
	while (size > 0) {
		ssize_t got = recv(fd, data, size, 0);

		if (got <= 0)
			_exit(0);
		data += got;
		size -= (size_t)got;
	}
}

static uint32_t
receive_u32(int fd)
{
	uint8_t bytes[4];

	receive(fd, (char *)bytes, sizeof(bytes));
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	    bytes[3];
}

/* A message of at most 64 KiB without its size, with a NUL behind it. */
static void
receive_body(int fd, char *body, size_t *ret_size)
{
	uint32_t size = receive_u32(fd);

	if (size < 4 || size > 65536)
		_exit(0);
	receive(fd, body, size - 4);
	body[size - 4] = '\0';
	*ret_size = size - 4;
}

static void
answer(int fd, const struct fake_walsender *fake, const char *sql)
{
	static const char *const system[] = { "42", "1", "0/300100", NULL };
	static const char *const on[] = { "on" };
	static const char *const one_mb[] = { "1MB" };

	if (str_starts_with(sql, "BASE_BACKUP")) {
		send_backup(fd, fake);
		return;
	}
	if (str_starts_with(sql, "IDENTIFY_SYSTEM"))
		send_row(fd, system, 4);
	else if (str_starts_with(sql, "SHOW data_checksums"))
		send_row(fd, on, 1);
	else if (str_starts_with(sql, "SHOW wal_segment_size"))
		send_row(fd, one_mb, 1);
	else
		send_report(fd, 'E', "ERROR", "53400", "all replication slots are in use");
	send_ready(fd);
}

static void
send_parameter(int fd, const char *name, const char *value)
{
	struct str body = STR_INIT;

	add_text(&body, name);
	add_text(&body, value);
	send_message(fd, 'S', &body);
	str_done(&body);
}

static bool
is_replication(const char *parameters, size_t size)
{
	return memmem(parameters, size, "replication", strlen("replication")) != NULL;
}

static void
serve(int fd, const struct fake_walsender *fake)
{
	char *body = xmalloc(65536 + 1);
	struct str authenticated = STR_INIT;
	size_t size;

	receive_body(fd, body, &size);
	if (!is_replication(body, size)) {
		send_report(fd, 'E', "FATAL", "28000", "no pg_hba.conf entry for host");
		_exit(0);
	}
	add_u32(&authenticated, 0);
	send_message(fd, 'R', &authenticated);
	send_parameter(fd, "server_version", fake->is_13 ? "13.22" : "15.4");
	send_parameter(fd, "standard_conforming_strings", "on");
	send_ready(fd);
	for (;;) {
		char type;

		receive(fd, &type, 1);
		receive_body(fd, body, &size);
		if (type != 'Q')
			_exit(0);
		answer(fd, fake, body);
	}
}

pid_t
fake_walsender_start(const struct fake_walsender *fake)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.5432",
	    fake->socket_dir);
	(void)unlink(address.sun_path);
	if (bind(listening, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listening, 8) < 0)
		abort();
	pid = fork();
	if (pid != 0) {
		(void)close(listening);
		return pid;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int fd = accept(listening, NULL, NULL);

		if (fd >= 0 && fork() == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve(fd, fake);
		}
		(void)close(fd);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			continue;
	}
}

void
fake_walsender_stop(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}
