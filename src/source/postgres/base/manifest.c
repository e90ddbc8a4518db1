#include "source/postgres/base/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "source/postgres/base/json_push.h"
#include "source/postgres/lsn.h"
#include "stream/digest.h"
#include "stream/links.h"
#include "stream/sink.h"

enum {
	VERSION_MAX = 2,
	TAIL_MAX_BYTES = 1024 * 1024, /* a line, and what came with it */
	PATH_MAX_BYTES = 4096,
	DEPTH_TOP = 1,
	DEPTH_ENTRY = 3, /* an object in one of the two arrays */
};

enum top_key {
	TOP_OTHER,
	TOP_VERSION,
	TOP_SYSTEM_IDENTIFIER,
	TOP_FILES,
	TOP_RANGES,
	TOP_CHECKSUM,
};

enum entry_key {
	ENTRY_OTHER,
	ENTRY_PATH,
	ENTRY_ENCODED_PATH,
	ENTRY_SIZE,
	ENTRY_ALGORITHM,
	ENTRY_CHECKSUM,
	ENTRY_TIMELINE,
	ENTRY_START_LSN,
	ENTRY_END_LSN,
};

/* The fields of the entry at hand; which were there is in `seen`, a bit per entry_key. */
struct entry {
	unsigned seen;
	char path[PATH_MAX_BYTES + 1];
	size_t path_size;
	char checksum[9]; /* CRC32C only */
	struct base_manifest_file file;
	struct base_manifest_range range;
};

struct base_manifest {
	struct base_manifest_handler handler;
	struct json_push json;
	enum top_key top;
	enum entry_key key;
	struct entry entry;
	struct base_manifest_summary summary;
	char checksum[DIGEST_SHA256_HEX_SIZE]; /* as the manifest states it */
	struct digest digest;                  /* of all but the last line */
	struct sink *hash;
	struct str tail; /* not hashed yet: may be the last line */
};

static int
wrong(const struct base_manifest *m, const char *what, struct err *err)
{
	return err_set(err, ERR_DATA, "line %llu: %s", (unsigned long long)m->json.line + 1, what);
}

/* ---- fields --------------------------------------------------------------------------------- */

static enum top_key
top_key_of(const char *name)
{
	static const char *const names[] = {
		[TOP_VERSION] = "PostgreSQL-Backup-Manifest-Version",
		[TOP_SYSTEM_IDENTIFIER] = "System-Identifier",
		[TOP_FILES] = "Files",
		[TOP_RANGES] = "WAL-Ranges",
		[TOP_CHECKSUM] = "Manifest-Checksum",
	};

	for (size_t i = TOP_VERSION; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return (enum top_key)i;
	}

	return TOP_OTHER;
}

static enum entry_key
entry_key_of(const char *name)
{
	static const char *const names[] = {
		[ENTRY_PATH] = "Path",
		[ENTRY_ENCODED_PATH] = "Encoded-Path",
		[ENTRY_SIZE] = "Size",
		[ENTRY_ALGORITHM] = "Checksum-Algorithm",
		[ENTRY_CHECKSUM] = "Checksum",
		[ENTRY_TIMELINE] = "Timeline",
		[ENTRY_START_LSN] = "Start-LSN",
		[ENTRY_END_LSN] = "End-LSN",
	};

	for (size_t i = ENTRY_PATH; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return (enum entry_key)i;
	}

	return ENTRY_OTHER;
}

static bool
has(const struct entry *entry, enum entry_key key)
{
	return (entry->seen & 1u << key) != 0;
}

static int
set_path(struct base_manifest *m, const char *text, size_t size, struct err *err)
{
	struct entry *entry = &m->entry;
	bool is_encoded = m->key == ENTRY_ENCODED_PATH;
	size_t path_size = is_encoded ? size / 2 : size;

	if (has(entry, ENTRY_PATH) && has(entry, ENTRY_ENCODED_PATH))
		return wrong(m, "a file with two paths", err);
	if (path_size == 0 || path_size > PATH_MAX_BYTES)
		return wrong(m, "a path that is empty or too long", err);
	if (is_encoded && parse_hex_bytes(text, (uint8_t *)entry->path, path_size, err) < 0)
		return wrong(m, "an 'Encoded-Path' that is not hexadecimal", err);
	if (!is_encoded)
		memcpy(entry->path, text, path_size);
	entry->path[path_size] = '\0';
	entry->path_size = path_size;
	if (memchr(entry->path, '\0', path_size) != NULL)
		return wrong(m, "a path with a zero byte", err);

	return 0;
}

static int
set_algorithm(struct base_manifest *m, const char *text, struct err *err)
{
	if (strcmp(text, "CRC32C") == 0)
		m->entry.file.algorithm = BASE_CHECKSUM_CRC32C;
	else if (str_starts_with(text, "SHA"))
		m->entry.file.algorithm = BASE_CHECKSUM_SHA;
	else
		return wrong(m, "an unknown 'Checksum-Algorithm'", err);

	return 0;
}

static int
set_number(struct base_manifest *m, const char *text, uint64_t max, uint64_t *ret_value,
    struct err *err)
{
	if (parse_u64(text, 0, max, ret_value, err) < 0)
		return wrong(m, "a number that is none, or too large", err);

	return 0;
}

static int
set_lsn(struct base_manifest *m, const char *text, uint64_t *ret_lsn, struct err *err)
{
	if (lsn_parse(text, ret_lsn, err) < 0)
		return wrong(m, "a WAL position that is none", err);

	return 0;
}

static int
entry_value(struct base_manifest *m, const char *text, size_t size, struct err *err)
{
	struct entry *entry = &m->entry;
	uint64_t number = 0;

	if (has(entry, m->key) && m->key != ENTRY_OTHER)
		return wrong(m, "a field that is there twice", err);
	entry->seen |= 1u << m->key;
	switch (m->key) {
	case ENTRY_PATH:
	case ENTRY_ENCODED_PATH:
		return set_path(m, text, size, err);
	case ENTRY_SIZE:
		return set_number(m, text, INT64_MAX, &entry->file.size_bytes, err);
	case ENTRY_ALGORITHM:
		return set_algorithm(m, text, err);
	case ENTRY_CHECKSUM:
		(void)snprintf(entry->checksum, sizeof(entry->checksum), "%s",
		    size == 8 ? text : "");
		return 0;
	case ENTRY_TIMELINE:
		if (set_number(m, text, UINT32_MAX, &number, err) < 0)
			return -1;
		entry->range.timeline = (uint32_t)number;
		return 0;
	case ENTRY_START_LSN:
		return set_lsn(m, text, &entry->range.start_lsn, err);
	case ENTRY_END_LSN:
		return set_lsn(m, text, &entry->range.end_lsn, err);
	default:
		return 0;
	}
}

static int
top_value(struct base_manifest *m, const char *text, size_t size, struct err *err)
{
	uint64_t number = 0;

	switch (m->top) {
	case TOP_VERSION:
		if (set_number(m, text, UINT32_MAX, &number, err) < 0)
			return -1;
		m->summary.version = (unsigned)number;
		if (number < 1 || number > VERSION_MAX)
			return err_set(err, ERR_UNSUPPORTED,
			    "backup manifests of version %llu are not known here",
			    (unsigned long long)number);
		return 0;
	case TOP_SYSTEM_IDENTIFIER:
		return set_number(m, text, UINT64_MAX, &m->summary.system_identifier, err);
	case TOP_CHECKSUM:
		if (size != DIGEST_SHA256_HEX_SIZE - 1)
			return wrong(m, "a 'Manifest-Checksum' that is no SHA-256", err);
		memcpy(m->checksum, text, size + 1);
		return 0;
	default:
		return 0;
	}
}

/* ---- entries -------------------------------------------------------------------------------- */

/* The hex digits show the bytes of the number as they lie in memory: little-endian. */
static int
decode_crc32c(struct base_manifest *m, struct err *err)
{
	uint8_t bytes[4];

	if (parse_hex_bytes(m->entry.checksum, bytes, sizeof(bytes), err) < 0)
		return wrong(m, "a CRC32C that is not eight hexadecimal digits", err);
	m->entry.file.crc32c = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 |
	    (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;

	return 0;
}

static int
file_end(struct base_manifest *m, struct err *err)
{
	struct entry *entry = &m->entry;

	if (entry->path_size == 0 || !has(entry, ENTRY_SIZE))
		return wrong(m, "a file without path or size", err);
	if (entry->file.algorithm == BASE_CHECKSUM_CRC32C && decode_crc32c(m, err) < 0)
		return -1;
	entry->file.path = entry->path;
	entry->file.path_size = entry->path_size;
	m->summary.files++;
	if (m->handler.file == NULL)
		return 0;

	return m->handler.file(m->handler.context, &entry->file, err);
}

static int
range_end(struct base_manifest *m, struct err *err)
{
	const struct entry *entry = &m->entry;

	if (!has(entry, ENTRY_TIMELINE) || !has(entry, ENTRY_START_LSN) ||
	    !has(entry, ENTRY_END_LSN) || entry->range.end_lsn < entry->range.start_lsn)
		return wrong(m, "a WAL range that is not complete", err);
	m->summary.ranges++;
	if (m->handler.range == NULL)
		return 0;

	return m->handler.range(m->handler.context, &entry->range, err);
}

static bool
is_in_entry(const struct base_manifest *m)
{
	return m->json.depth == DEPTH_ENTRY && (m->top == TOP_FILES || m->top == TOP_RANGES);
}

static int
on_value(struct base_manifest *m, const char *text, size_t size, struct err *err)
{
	if (m->json.depth == DEPTH_TOP)
		return top_value(m, text, size, err);
	if (is_in_entry(m))
		return entry_value(m, text, size, err);

	return 0;
}

static int
on_object_end(struct base_manifest *m, struct err *err)
{
	if (m->json.depth != DEPTH_ENTRY - 1)
		return 0;
	if (m->top == TOP_FILES)
		return file_end(m, err);
	if (m->top == TOP_RANGES)
		return range_end(m, err);

	return 0;
}

static int
on_event(void *context, enum json_event event, const char *text, size_t size, struct err *err)
{
	struct base_manifest *m = context;

	switch (event) {
	case JSON_KEY:
		if (m->json.depth == DEPTH_TOP)
			m->top = top_key_of(text);
		else if (is_in_entry(m))
			m->key = entry_key_of(text);
		return 0;
	case JSON_TEXT:
	case JSON_NUMBER:
		return on_value(m, text, size, err);
	case JSON_OBJECT_BEGIN:
		if (is_in_entry(m)) {
			m->entry.seen = 0;
			m->entry.path_size = 0;
			m->entry.checksum[0] = '\0';
			memset(&m->entry.file, 0, sizeof(m->entry.file));
			memset(&m->entry.range, 0, sizeof(m->entry.range));
		}
		return 0;
	case JSON_OBJECT_END:
		return on_object_end(m, err);
	default:
		return 0;
	}
}

/* ---- the manifest's own checksum ---------------------------------------------------------------- */

/*
 * Hash what cannot belong to the last line any more: all up to the last but one line break seen
 * so far.  The rest waits in `tail`, which therefore holds one line break at most.
 */
static int
hash_settled(struct base_manifest *m, const char *data, size_t size, struct err *err)
{
	const char *last = memrchr(data, '\n', size);
	const char *before = NULL;
	size_t settled;

	if (last != NULL)
		before = memrchr(data, '\n', (size_t)(last - data));
	if (before == NULL && last != NULL &&
	    memchr(str_text(&m->tail), '\n', m->tail.size) != NULL) {
		const char *line = memchr(str_text(&m->tail), '\n', m->tail.size);
		size_t used = (size_t)(line - str_text(&m->tail)) + 1;

		if (sink_write(m->hash, str_text(&m->tail), used, err) < 0)
			return -1;
		memmove(m->tail.data, m->tail.data + used, m->tail.size - used);
		str_cut(&m->tail, m->tail.size - used);
	}
	settled = before != NULL ? (size_t)(before - data) + 1 : 0;
	if (settled > 0) {
		if (sink_write(m->hash, str_text(&m->tail), m->tail.size, err) < 0 ||
		    sink_write(m->hash, data, settled, err) < 0)
			return -1;
		str_cut(&m->tail, 0);
	}
	str_add_bytes(&m->tail, data + settled, size - settled);
	if (str_is_full(&m->tail))
		return wrong(m, "a line that is too long", err);

	return 0;
}

static int
check_own_checksum(struct base_manifest *m, struct err *err)
{
	char computed[DIGEST_SHA256_HEX_SIZE];
	const char *text = str_text(&m->tail);

	if (m->checksum[0] == '\0')
		return err_set(err, ERR_DATA, "the manifest has no 'Manifest-Checksum'");
	if (m->tail.size == 0 || text[m->tail.size - 1] != '\n')
		return err_set(err, ERR_DATA, "the manifest does not end with a line break");
	if (sink_finish(m->hash, err) < 0)
		return -1;
	digest_sha256_hex(&m->digest, computed);
	if (strcmp(computed, m->checksum) != 0)
		return err_set(err, ERR_DATA,
		    "the manifest's own checksum is wrong: it says %s, its bytes give %s",
		    m->checksum, computed);

	return 0;
}

/* ---- the object --------------------------------------------------------------------------------- */

struct base_manifest *
base_manifest_new(const struct base_manifest_handler *handler)
{
	struct base_manifest *m = xcalloc(1, sizeof(*m));

	m->handler = *handler;
	m->json.on_event = on_event;
	m->json.context = m;
	m->tail.max = TAIL_MAX_BYTES;

	return m;
}

int
base_manifest_feed(struct base_manifest *manifest, const void *data, size_t size, struct err *err)
{
	if (size == 0)
		return 0;
	if (manifest->hash == NULL)
		manifest->hash = digest_sink_new(NULL, &manifest->digest, err);
	if (manifest->hash == NULL || json_push_feed(&manifest->json, data, size, err) < 0 ||
	    hash_settled(manifest, data, size, err) < 0)
		return err_wrap(err, "backup_manifest");

	return 0;
}

int
base_manifest_finish(struct base_manifest *manifest, struct base_manifest_summary *ret_summary,
    struct err *err)
{
	if (json_push_finish(&manifest->json, err) < 0)
		return err_wrap(err, "backup_manifest");
	if (manifest->summary.version == 0)
		return err_set(err, ERR_DATA, "backup_manifest: it does not state its version");
	if (check_own_checksum(manifest, err) < 0)
		return err_wrap(err, "backup_manifest");
	*ret_summary = manifest->summary;

	return 0;
}

void
base_manifest_free(struct base_manifest *manifest)
{
	if (manifest == NULL)
		return;
	sink_free(manifest->hash);
	digest_done(&manifest->digest);
	str_done(&manifest->tail);
	free(manifest);
}
