/* What a server says of itself: INFO, its settings, users and modules. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "source/redis/redis_internal.h"

enum { CLOCK_PROBES = 5 };

static const char mask[] = "(masked)";

int
redis_info(struct redis_conn *conn, struct str *to, struct err *err)
{
	struct resp_value value;

	if (redis_command(conn, (const char *const[]){ "INFO", NULL }, &value, err) < 0)
		return -1;
	if (value.text != NULL)
		str_add_bytes(to, value.text, value.size);
	resp_value_done(&value);

	return 0;
}

char *
redis_info_get(const struct str *info, const char *field)
{
	size_t size = strlen(field);

	for (const char *line = str_text(info); line != NULL;) {
		if (strncmp(line, field, size) == 0 && line[size] == ':')
			return xstrndup(line + size + 1, strcspn(line + size + 1, "\r\n"));
		line = strchr(line, '\n');
		line = line != NULL ? line + 1 : NULL;
	}

	return NULL;
}

uint64_t
redis_info_number(const struct str *info, const char *field)
{
	SCOPED(freep) char *text = redis_info_get(info, field);
	struct err ignored = ERR_INIT;
	uint64_t number;

	if (text == NULL || parse_u64(text, 0, UINT64_MAX, &number, &ignored) < 0)
		return 0;

	return number;
}

/* Of the text behind "db0:", as in "keys=12,expires=1,avg_ttl=0". */
static int
read_keyspace(const char *text, uint64_t *ret_keys, uint64_t *ret_expires, struct err *err)
{
	if (sscanf(text, "keys=%" SCNu64 ",expires=%" SCNu64, ret_keys, ret_expires) != 2)
		return err_set(err, ERR_PEER, "the server says '%.60s' of a database", text);

	return 0;
}

int
redis_info_database(const struct str *info, uint64_t index, uint64_t *ret_keys,
    uint64_t *ret_expires, struct err *err)
{
	SCOPED(freep) char *field = xasprintf("db%" PRIu64, index);
	SCOPED(freep) char *text = redis_info_get(info, field);

	*ret_keys = 0;
	*ret_expires = 0;

	return text != NULL ? read_keyspace(text, ret_keys, ret_expires, err) : 0;
}

int
redis_info_keys(const struct str *info, uint64_t *ret_keys, struct err *err)
{
	const char *line = strstr(str_text(info), "# Keyspace");
	uint64_t sum = 0;

	while (line != NULL && (line = strchr(line, '\n')) != NULL) {
		uint64_t keys, expires;

		line++;
		if (strncmp(line, "db", 2) != 0 || strchr(line, ':') == NULL)
			break;
		if (read_keyspace(strchr(line, ':') + 1, &keys, &expires, err) < 0)
			return -1;
		sum += keys;
	}
	*ret_keys = sum;

	return 0;
}

int
redis_info_wrote(const struct str *info, const char *field, const char *what, struct err *err)
{
	SCOPED(freep) char *status = redis_info_get(info, field);

	if (status == NULL || str_equals(status, "ok"))
		return 0;
	(void)err_set(err, ERR_PEER, "the server could not write %s", what);

	return err_hint(err, "Its log says why; often its disk is full.");
}

int
redis_save_ended(struct redis_conn *conn, bool *ret_is_over, struct err *err)
{
	SCOPED(str_done) struct str info = STR_INIT;

	*ret_is_over = false;
	if (redis_info(conn, &info, err) < 0)
		return -1;
	if (redis_info_number(&info, "rdb_bgsave_in_progress") != 0)
		return 0;
	*ret_is_over = true;

	return redis_info_wrote(&info, "rdb_last_bgsave_status", "its RDB file", err);
}

int
redis_sentinels(struct redis_conn *conn, int64_t *ret_count, struct err *err)
{
	const char *const words[] = { "PUBSUB", "NUMSUB", "__sentinel__:hello", NULL };
	struct resp_value value;

	if (redis_command(conn, words, &value, err) < 0)
		return -1;
	*ret_count = value.count == 2 ? value.items[1].number : 0;
	resp_value_done(&value);

	return 0;
}

char *
redis_info_version(const struct str *info, const char **ret_family)
{
	char *version = redis_info_get(info, "valkey_version");

	*ret_family = version != NULL ? "valkey" : "redis";
	if (version == NULL)
		version = redis_info_get(info, "redis_version");

	return version != NULL ? version : xstrdup("");
}

char *
redis_setting(struct redis_conn *conn, const char *name, struct err *err)
{
	struct resp_value value;
	char *text;

	if (redis_command(conn, (const char *const[]){ "CONFIG", "GET", name, NULL }, &value, err) <
	    0)
		return NULL;
	text = xstrdup(value.count == 2 && value.items[1].text != NULL ? value.items[1].text : "");
	resp_value_done(&value);

	return text;
}

/* ---- the clock ------------------------------------------------------------------------------------ */

static int
read_clock(const struct resp_value *value, struct wall_time *ret_time, struct err *err)
{
	uint64_t seconds;
	uint64_t micros;

	if (value->count != 2 || value->items[0].text == NULL || value->items[1].text == NULL ||
	    parse_u64(value->items[0].text, 0, INT32_MAX, &seconds, err) < 0 ||
	    parse_u64(value->items[1].text, 0, US_PER_S, &micros, err) < 0)
		return err_set(err, ERR_DATA, "TIME: this is no time");
	ret_time->us = (int64_t)seconds * US_PER_S + (int64_t)micros;

	return 0;
}

int
redis_clock_skew(struct redis_conn *conn, int64_t *ret_skew_us, struct err *err)
{
	int64_t least_us = INT64_MAX;

	for (int i = 0; i < CLOCK_PROBES; i++) {
		struct mono_time began = clock_mono();
		struct wall_time before = clock_wall();
		struct wall_time theirs = { .us = 0 };
		struct resp_value value;
		int64_t took_us;
		int result;

		if (redis_command(conn, (const char *const[]){ "TIME", NULL }, &value, err) < 0)
			return -1;
		took_us = clock_elapsed_us(began);
		result = read_clock(&value, &theirs, err);
		resp_value_done(&value);
		if (result < 0)
			return -1;
		if (took_us >= least_us)
			continue;
		least_us = took_us;
		*ret_skew_us = theirs.us - before.us - took_us / 2;
	}

	return 0;
}

/* ---- the side file ---------------------------------------------------------------------------------- */

/* Text that JSON can hold: what is not UTF-8 is shown as '?'. */
static json_t *
text_json(const char *text)
{
	json_t *json = json_string(text);
	char *copy;

	if (json != NULL)
		return json;
	copy = xstrdup(text);
	for (char *at = copy; *at != '\0'; at++) {
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	}
	json = json_string(copy);
	free(copy);

	return json;
}

/* By how they are called, since families and versions differ: requirepass, primaryauth, ... */
static bool
is_secret(const char *name)
{
	return str_ends_with(name, "pass") || str_ends_with(name, "auth") ||
	    strstr(name, "password") != NULL || strstr(name, "secret") != NULL;
}

static json_t *
settings_json(const struct resp_value *value)
{
	json_t *settings = json_object();

	for (size_t i = 0; i + 1 < value->count; i += 2) {
		const char *name = value->items[i].text;
		const char *text = value->items[i + 1].text;

		if (name == NULL || text == NULL)
			continue;
		(void)json_object_set_new(settings, name,
		    text_json(is_secret(name) && text[0] != '\0' ? mask : text));
	}

	return settings;
}

/* "user backup on #<hash> ~* +@all": no hash of a password, and no password. */
static char *
masked_user(const char *line)
{
	SCOPED(str_done) struct str text = STR_INIT;

	while (*line != '\0') {
		size_t size = strcspn(line, " ");

		if ((line[0] == '#' || line[0] == '>') && size > 1)
			str_addf(&text, "%c%s", line[0], mask);
		else
			str_add_bytes(&text, line, size);
		line += size;
		if (*line == ' ')
			str_add_char(&text, *line++);
	}

	return xstrdup(str_text(&text));
}

static json_t *
users_json(const struct resp_value *value)
{
	json_t *users = json_array();

	for (size_t i = 0; i < value->count; i++) {
		SCOPED(freep)
		char *line = masked_user(value->items[i].text != NULL ? value->items[i].text : "");

		(void)json_array_append_new(users, text_json(line));
	}

	return users;
}

static json_t *
modules_json(const struct resp_value *value)
{
	json_t *modules = json_array();

	for (size_t i = 0; i < value->count; i++) {
		const struct resp_value *module = &value->items[i];
		json_t *entry = json_object();

		for (size_t at = 0; at + 1 < module->count; at += 2) {
			const struct resp_value *item = &module->items[at + 1];

			if (module->items[at].text == NULL)
				continue;
			if (item->type == RESP_NUMBER)
				(void)json_object_set_new(entry, module->items[at].text,
				    json_integer(item->number));
			else if (item->text != NULL)
				(void)json_object_set_new(entry, module->items[at].text,
				    text_json(item->text));
		}
		(void)json_array_append_new(modules, entry);
	}

	return modules;
}

static void
add_answer(struct redis_conn *conn, json_t *root, const char *name, const char *const *words,
    json_t *(*convert)(const struct resp_value *value), struct err *ret_missing)
{
	struct resp_value value;

	if (redis_command(conn, words, &value, ret_missing) < 0)
		return;
	(void)json_object_set_new(root, name, convert(&value));
	resp_value_done(&value);
}

json_t *
redis_surroundings(struct redis_conn *conn, const struct str *info, struct err *ret_missing)
{
	json_t *root = json_object();

	*ret_missing = (struct err)ERR_INIT;
	(void)json_object_set_new(root, "format", json_integer(1));
	(void)json_object_set_new(root, "info", text_json(str_text(info)));
	add_answer(conn, root, "settings", (const char *const[]){ "CONFIG", "GET", "*", NULL },
	    settings_json, ret_missing);
	add_answer(conn, root, "users", (const char *const[]){ "ACL", "LIST", NULL }, users_json,
	    ret_missing);
	add_answer(conn, root, "modules", (const char *const[]){ "MODULE", "LIST", NULL },
	    modules_json, ret_missing);

	return root;
}
