#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "config/bind_internal.h"

/* Which keys say something for which types: bits of types. */
enum {
	EMAIL = 1,
	WEBHOOK = 2,
	ALERTMANAGER = 4,
	NTFY = 8,
	HEARTBEAT = 16,
	HTTP = WEBHOOK | ALERTMANAGER | NTFY | HEARTBEAT,
};

static const struct {
	const char *name;
	unsigned type;
} types[] = {
	{ "email", EMAIL },
	{ "webhook", WEBHOOK },
	{ "alertmanager", ALERTMANAGER },
	{ "ntfy", NTFY },
	{ "heartbeat", HEARTBEAT },
};

static const struct {
	const char *key;
	unsigned types;
	bool is_needed;
} owned[] = {
	{ "host", EMAIL, true },
	{ "port", EMAIL, false },
	{ "security", EMAIL, false },
	{ "from", EMAIL, true },
	{ "to", EMAIL, true },
	{ "user", EMAIL, false },
	{ "password_file", EMAIL, false },
	{ "url", HTTP, false },
	{ "url_file", HTTP, false },
	{ "token_file", HTTP, false },
	{ "severity", EMAIL | WEBHOOK | NTFY, false },
	{ "job", HEARTBEAT, false },
};

static unsigned
type_of(const struct config_channel *channel)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (str_equals(types[i].name, channel->type))
			return types[i].type;
	}

	return 0;
}

/* Keys of another type, and those that its own needs. */
static void
check_keys(struct binder *binder, const struct node *node, const struct config_channel *channel)
{
	unsigned type = type_of(channel);

	for (size_t i = 0; i < ARRAY_SIZE(owned) && type != 0; i++) {
		const struct node *value = node_find(node, owned[i].key);
		bool is_fitting = (owned[i].types & type) != 0;

		if (value != NULL && !is_fitting)
			binder_error(binder, value->key_place, "Leave it away.",
			    "'%s' says nothing for a channel of type %s", owned[i].key,
			    channel->type);
		if (value == NULL && is_fitting && owned[i].is_needed)
			binder_error(binder, node->key_place, NULL, "'%s' is missing",
			    owned[i].key);
	}
	if ((type & HTTP) == 0)
		return;
	if (channel->url == NULL && channel->url_file == NULL)
		binder_error(binder, node->key_place, NULL, "'url' is missing");
	if (channel->url != NULL && channel->url_file != NULL)
		binder_error(binder, node_find(node, "url_file")->key_place, NULL,
		    "'url' and 'url_file' are the same, write one of them");
}

/* A password in the file itself would be in every copy and backup of it. */
static void
check_url(struct binder *binder, const struct node *node, const struct config_channel *channel)
{
	const char *rest;
	const char *at;

	if (channel->url == NULL)
		return;
	if (!str_starts_with(channel->url, "http://") &&
	    !str_starts_with(channel->url, "https://")) {
		binder_error(binder, node_find(node, "url")->place, NULL,
		    "url must begin with https:// or http://");
		return;
	}
	rest = strstr(channel->url, "://") + strlen("://");
	at = strchr(rest, '@');
	if (at != NULL && strcspn(rest, "/?#") > (size_t)(at - rest))
		binder_error(binder, node_find(node, "url")->place,
		    "Put the whole URL into a file and name that with url_file, or use token_file.",
		    "url must not hold a password");
}

/* What goes into a header must not end it. */
static bool
is_address(const char *text)
{
	const char *at = strchr(text, '@');

	for (const char *c = text; *c != '\0'; c++) {
		if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f ||
		    strchr("<>,;:\"()\\", *c) != NULL)
			return false;
	}

	return at != NULL && at != text && at[1] != '\0' && strchr(at + 1, '@') == NULL;
}

static void
check_mail(struct binder *binder, const struct node *node, struct config_channel *channel)
{
	const struct node *from = node_find(node, "from");
	const struct node *to = node_find(node, "to");

	if (channel->from != NULL && !is_address(channel->from))
		binder_error(binder, from->place, NULL, "from: '%.120s' is not an address",
		    channel->from);
	for (size_t i = 0; i < channel->to.count; i++) {
		if (!is_address(channel->to.items[i]))
			binder_error(binder, to->place, NULL, "to: '%.120s' is not an address",
			    channel->to.items[i]);
	}
	if ((channel->user == NULL) != (channel->password_file == NULL))
		binder_error(binder, node->key_place, NULL,
		    "'user' and 'password_file' belong together");
	if (channel->password_file != NULL && str_equals(channel->security, "none"))
		binder_error(binder, node_find(node, "security")->place, "Use starttls or tls.",
		    "a password is never sent over a plain connection");
	if (channel->port == 0)
		channel->port = str_equals(channel->security, "tls") ? 465
		    : str_equals(channel->security, "none")          ? 25
								     : 587;
}

void
bind_channel(struct binder *binder, const struct node *node)
{
	size_t errors_before = binder->problems->errors_count;
	struct config_channel *channel = vec_add(&binder->config->alerts.channels);

	channel->name = xstrdup(node->key);
	channel->place = node->key_place;
	bind_section(binder, node, &config_channel_section, channel);
	check_keys(binder, node, channel);
	check_url(binder, node, channel);
	if (type_of(channel) == EMAIL)
		check_mail(binder, node, channel);
	channel->is_broken = binder->problems->errors_count > errors_before;
}
