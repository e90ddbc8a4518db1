#include "app/config_lint_web.h"

#include <string.h>

#include "app/web/address.h"
#include "base/err.h"
#include "base/str.h"
#include "config/config.h"

/* Where the key stands in the file, or the section itself. */
static struct config_place
place_of(const struct config *config, const char *key)
{
	struct config_place place = { .line = 0 };
	bool is_in_web = false;

	for (size_t i = 0; i < config->entries.count; i++) {
		const struct config_entry *entry = &config->entries.items[i];

		if (entry->depth == 0)
			is_in_web = str_equals(entry->key, "web");
		if (is_in_web && (entry->depth == 0 || str_equals(entry->key, key)) &&
		    entry->place.line != 0)
			place = entry->place;
	}

	return place;
}

void
config_lint_web(const struct config *config, struct config_problems *problems)
{
	const struct config_web *web = &config->web;
	bool has_tls = web->tls_cert != NULL && web->tls_key != NULL;
	struct address address;
	struct err err = ERR_INIT;

	if ((web->tls_cert != NULL) != (web->tls_key != NULL))
		config_problems_error(problems,
		    place_of(config, web->tls_cert != NULL ? "tls_cert" : "tls_key"), NULL,
		    "web: 'tls_cert' and 'tls_key' belong together");
	if (web->listen == NULL)
		return;
	if (address_parse(web->listen, &address, &err) < 0) {
		config_problems_error(problems, place_of(config, "listen"), err.hint, "web: %s",
		    err.msg);
		return;
	}
	if (!address_is_loopback(&address) && !has_tls && !web->is_insecure)
		config_problems_error(problems, place_of(config, "listen"),
		    "Set tls_cert and tls_key, or insecure: true behind a proxy that has TLS.",
		    "web: the page at '%s' could be read on the way", web->listen);
}
