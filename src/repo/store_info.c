#include "repo/store_info.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

char *
store_info_format(const struct store_info *info)
{
	char created[CLOCK_TEXT_SIZE];
	SCOPED(json_decrefp)
	json_t *json = json_pack("{s:i, s:s, s:s, s:s}", "format", (int)STORE_INFO_FORMAT, "id",
	    info->id, "site", info->site, "created", clock_format(info->created, created));
	SCOPED(freep) char *text = json_dumps(json, JSON_INDENT(2));

	return xasprintf("%s\n", text);
}

static int
check_format(const json_t *json, struct err *err)
{
	const json_t *format = json_object_get(json, "format");

	if (!json_is_integer(format) || json_integer_value(format) < 1)
		return err_set(err, ERR_DATA, "this is not the record of a store");
	if (json_integer_value(format) > STORE_INFO_FORMAT) {
		(void)err_set(err, ERR_REFUSED,
		    "the store has format %lld, this program knows up to %d",
		    (long long)json_integer_value(format), (int)STORE_INFO_FORMAT);
		return err_hint(err, "Use the newer version of blackstart that wrote it.");
	}

	return 0;
}

int
store_info_parse(const char *text, size_t size, struct store_info *ret_info, struct err *err)
{
	json_error_t where;
	SCOPED(json_decrefp) json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
	const char *id = json_string_value(json_object_get(json, "id"));
	const char *site = json_string_value(json_object_get(json, "site"));
	const char *created = json_string_value(json_object_get(json, "created"));
	struct store_info info = { .site = NULL };

	if (json == NULL)
		return err_set(err, ERR_DATA, "not JSON: line %d: %s", where.line, where.text);
	if (check_format(json, err) < 0)
		return -1;
	if (id == NULL || strlen(id) != STORE_INFO_ID_DIGITS ||
	    strspn(id, "0123456789abcdef") != STORE_INFO_ID_DIGITS)
		return err_set(err, ERR_DATA, "the store's id is missing or damaged");
	if (created != NULL && clock_parse(created, &info.created, err) < 0)
		return -1;

	info.id = xstrdup(id);
	info.site = xstrdup(site != NULL ? site : "");
	*ret_info = info;

	return 0;
}

void
store_info_done(struct store_info *info)
{
	free(info->id);
	free(info->site);
	*info = (struct store_info){ .site = NULL };
}
