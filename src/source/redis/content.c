/* What the manifest of an RDB backup says of its content, and comparing it with a file. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "repo/manifest.h"
#include "source/redis/rdb_summary.h"
#include "source/redis/redis_internal.h"

enum { CHECKSUM_TEXT_BYTES = 20 };

static json_t *
count_json(uint64_t count)
{
	return json_integer((json_int_t)count);
}

static json_t *
databases_json(const struct rdb_summary *summary)
{
	json_t *databases = json_array();

	for (size_t i = 0; i < summary->databases.count; i++) {
		const struct rdb_database *from = &summary->databases.items[i];
		json_t *types = json_object();

		for (unsigned kind = 0; kind < RDB_KINDS_COUNT; kind++) {
			if (from->types[kind] > 0)
				(void)json_object_set_new(types, rdb_kind_name(kind),
				    count_json(from->types[kind]));
		}
		(void)json_array_append_new(databases,
		    json_pack("{s:o, s:o, s:o, s:o}", "db", count_json(from->index), "keys",
			count_json(from->keys), "expires", count_json(from->expires), "types",
			types));
	}

	return databases;
}

static json_t *
biggest_json(const struct rdb_summary *summary)
{
	json_t *biggest = json_array();

	for (size_t i = 0; i < summary->biggest.count; i++) {
		const struct rdb_key *key = &summary->biggest.items[i];

		(void)json_array_append_new(biggest,
		    json_pack("{s:o, s:s, s:s, s:o}", "db", count_json(key->database), "key",
			key->name, "type", rdb_kind_name(key->kind), "bytes",
			count_json(key->bytes)));
	}

	return biggest;
}

static json_t *
aux_json(const struct rdb_summary *summary)
{
	json_t *aux = json_object();

	for (size_t i = 0; i < summary->aux.count; i++)
		(void)json_object_set_new(aux, summary->aux.items[i].name,
		    json_string(summary->aux.items[i].value));

	return aux;
}

void
redis_content_add(json_t *content, const struct rdb_summary *summary)
{
	json_t *modules = json_array();
	char checksum[CHECKSUM_TEXT_BYTES];

	for (size_t i = 0; i < summary->modules.count; i++)
		(void)json_array_append_new(modules, json_string(summary->modules.items[i]));
	(void)snprintf(checksum, sizeof(checksum), "%016llx",
	    (unsigned long long)summary->checksum);
	(void)json_object_set_new(content, "rdb_version", json_integer(summary->version));
	(void)json_object_set_new(content, "family",
	    json_string(summary->is_valkey ? "valkey" : "redis"));
	(void)json_object_set_new(content, "needs",
	    json_string(rdb_version_needs(summary->version, summary->is_valkey)));
	(void)json_object_set_new(content, "checksum",
	    summary->is_checksummed ? json_string(checksum) : json_null());
	(void)json_object_set_new(content, "is_counted", json_boolean(summary->unknown == NULL));
	(void)json_object_set_new(content, "keys", count_json(summary->keys));
	(void)json_object_set_new(content, "expires", count_json(summary->expires));
	(void)json_object_set_new(content, "databases", databases_json(summary));
	(void)json_object_set_new(content, "functions", count_json(summary->functions));
	(void)json_object_set_new(content, "modules", modules);
	(void)json_object_set_new(content, "biggest", biggest_json(summary));
	(void)json_object_set_new(content, "aux", aux_json(summary));
}

int
redis_content_compare(const json_t *content, const struct rdb_summary *summary, struct err *err)
{
	json_t *found = databases_json(summary);
	const json_t *expected = json_object_get(content, "databases");
	bool is_equal = expected == NULL || summary->unknown != NULL ||
	    !json_is_true(json_object_get(content, "is_counted")) || json_equal(found, expected);

	json_decref(found);
	if (!is_equal)
		return err_set(err, ERR_MISMATCH,
		    "the file has %llu keys, not the same in each database and type as its manifest says (%lld keys)",
		    (unsigned long long)summary->keys,
		    (long long)json_integer_value(json_object_get(content, "keys")));

	return 0;
}

int
redis_content_compare_live(const struct rdb_summary *summary, const struct str *info,
    bool has_expires, struct err *err)
{
	for (size_t i = 0; i < summary->databases.count; i++) {
		const struct rdb_database *database = &summary->databases.items[i];
		uint64_t expected = has_expires ? database->expires : 0;
		uint64_t keys, expires;

		if (redis_info_database(info, database->index, &keys, &expires, err) < 0)
			return -1;
		if (keys != database->keys || expires != expected)
			return err_set(err, ERR_MISMATCH,
			    "database %" PRIu64 " has %" PRIu64 " keys (%" PRIu64
			    " that expire) after loading, and %" PRIu64 " (%" PRIu64
			    ") in the file",
			    database->index, keys, expires, database->keys, expected);
	}

	return 0;
}

char *
redis_content_title(const struct manifest *manifest)
{
	const char *server = json_string_value(json_object_get(manifest->content, "server"));

	return xasprintf("the data of a %s %s server, %lld keys", server != NULL ? server : "redis",
	    manifest->source_version,
	    (long long)json_integer_value(json_object_get(manifest->content, "keys")));
}

const struct manifest_file *
redis_content_file(const struct manifest *manifest, struct err *err)
{
	for (size_t i = 0; i < manifest->files.count; i++) {
		if (str_ends_with(manifest->files.items[i].name, ".rdb"))
			return &manifest->files.items[i];
	}
	(void)err_set(err, ERR_DATA, "the manifest names no RDB file");

	return NULL;
}
