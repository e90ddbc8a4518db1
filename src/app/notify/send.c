#include "app/notify/send.h"

#include <stdlib.h>
#include <string.h>

#include "app/notify/hook.h"
#include "app/notify/mail_message.h"
#include "app/notify/message.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog_outbox.h"
#include "config/config.h"
#include "net/http.h"
#include "net/mail.h"
#include "os/file.h"
#include "sched/alarm.h"

enum {
	NTFY_MAX_BYTES = 4000, /* it makes an attachment of what is longer than 4096 */
	BEAT_BODY_MAX = 1000,
};

/* NULL name gives NULL. */
static int
read_secret(const struct send_order *order, const char *name, struct secret **ret_secret,
    struct err *err)
{
	SCOPED(freep) char *path = NULL;

	*ret_secret = NULL;
	if (name == NULL)
		return 0;
	path = config_secret_path(order->config, name);
	*ret_secret = file_read_secret(path, err);

	return *ret_secret != NULL ? 0 : -1;
}

static struct message
message_of(const struct send_order *order)
{
	return (struct message){
		.site = order->config->site,
		.zone = order->config->zone,
		.row = order->row,
	};
}

/* ---- e-mail -------------------------------------------------------------------------------- */

static enum mail_security
security_of(const char *name)
{
	if (str_equals(name, "tls"))
		return MAIL_TLS;

	return str_equals(name, "none") ? MAIL_PLAIN : MAIL_STARTTLS;
}

static int
send_mail(const struct send_order *order, struct err *err)
{
	const struct config_channel *channel = order->channel;
	const struct message message = message_of(order);
	SCOPED(secret_freep) struct secret *password = NULL;
	SCOPED(str_done) struct str text = STR_INIT;
	const struct mail_addresses addresses = {
		.from = channel->from,
		.to = (const char *const *)channel->to.items,
	};

	if (read_secret(order, channel->password_file, &password, err) < 0)
		return -1;
	mail_message_add(&message, &addresses, &text);

	return mail_send(
	    &(struct mail_request){
		.host = channel->host,
		.port = channel->port,
		.security = security_of(channel->security),
		.ca_file = channel->ca_file,
		.user = channel->user,
		.password = password,
		.from = channel->from,
		.to = addresses.to,
		.message = str_text(&text),
		.message_bytes = text.size,
	    },
	    err);
}

/* ---- over HTTP ----------------------------------------------------------------------------- */

static int
judge_answer(const struct http_answer *answer, struct err *err)
{
	SCOPED(str_done) struct str line = STR_INIT_MAX(160);
	const char *body = str_text(&answer->body);

	if (answer->status >= 200 && answer->status < 300)
		return 0;
	str_add_bytes(&line, body, strcspn(body, "\r\n"));
	(void)err_set(err, answer->status == 401 || answer->status == 403 ? ERR_AUTH : ERR_PEER,
	    "the server answered %u%s%s", answer->status, line.size > 0 ? ": " : "",
	    str_text(&line));
	if (answer->status >= 300 && answer->status < 400)
		return err_hint(err, "Redirects are not followed: write the URL it leads to.");

	return -1;
}

/* `suffix` goes behind the URL's path; NULL body is a request without one. */
static int
post(const struct send_order *order, const char *suffix, const char *body,
    const char *const *headers, struct err *err)
{
	const struct config_channel *channel = order->channel;
	SCOPED(secret_freep) struct secret *url_secret = NULL;
	SCOPED(secret_freep) struct secret *token = NULL;
	SCOPED(http_answer_done) struct http_answer answer = { .body = STR_INIT };
	SCOPED(freep) char *url = NULL;
	const char *base = channel->url;
	size_t path_size;

	if (read_secret(order, channel->url_file, &url_secret, err) < 0 ||
	    read_secret(order, channel->token_file, &token, err) < 0)
		return -1;
	if (url_secret != NULL)
		base = secret_text(url_secret);
	path_size = strcspn(base, "?#");
	while (suffix[0] == '/' && path_size > 0 && base[path_size - 1] == '/')
		path_size--;
	url = xasprintf("%.*s%s%s", (int)path_size, base, suffix, base + strcspn(base, "?#"));
	if (http_send(
		&(struct http_request){
		    .method = "POST",
		    .url = url,
		    .body = body,
		    .body_bytes = strlen(body),
		    .headers = headers,
		    .bearer = token,
		    .ca_file = channel->ca_file,
		},
		&answer, err) < 0)
		return -1;

	return judge_answer(&answer, err);
}

static const char *const json_headers[] = { "Content-Type: application/json", NULL };
static const char text_header[] = "Content-Type: text/plain; charset=utf-8";

static int
send_webhook(const struct send_order *order, struct err *err)
{
	const struct message message = message_of(order);
	SCOPED(freep) char *body = hook_body(&message, order->channel->name);

	return post(order, "", body, json_headers, err);
}

static int
send_alertmanager(const struct send_order *order, struct err *err)
{
	SCOPED(freep)
	char *body = str_equals(order->row->event, "test")
	    ? hook_state_test(order->config->site, order->now)
	    : hook_state(order->config->site, order->states, order->now);

	return post(order, "/api/v2/alerts", body, json_headers, err);
}

static int
send_ntfy(const struct send_order *order, struct err *err)
{
	const struct outbox_row *row = order->row;
	const struct message message = message_of(order);
	SCOPED(str_done) struct str subject = STR_INIT;
	SCOPED(str_done) struct str title = STR_INIT;
	SCOPED(str_done) struct str flat = STR_INIT;
	SCOPED(str_done) struct str text = STR_INIT_MAX(NTFY_MAX_BYTES);
	bool is_over = row->rule == NULL || str_equals(row->event, "cleared");
	bool is_critical = row->severity >= ALARM_CRITICAL;
	const char *headers[5] = { NULL };

	message_add_subject(&message, &subject);
	str_add(&title, "X-Title: ");
	message_add_header_text(&title, str_text(&subject));
	/* Folded lines are for mail: in HTTP the words of one header stand on one line. */
	for (const char *c = str_text(&title); *c != '\0'; c++) {
		if (*c != '\r' && *c != '\n')
			str_add_char(&flat, *c);
	}
	message_add_text(&message, &text);
	headers[0] = str_text(&flat);
	headers[1] = is_over ? "X-Priority: 3" : is_critical ? "X-Priority: 5" : "X-Priority: 4";
	headers[2] = is_over ? "X-Tags: white_check_mark"
	    : is_critical    ? "X-Tags: rotating_light"
			     : "X-Tags: warning";
	headers[3] = text_header;

	return post(order, "", str_text(&text), headers, err);
}

/* A run's id as the UUID that healthchecks.io pairs start and end by. */
static void
add_rid(struct str *to, const char *run_id)
{
	SCOPED(str_done) struct str hex = STR_INIT;
	uint8_t hash[HASH_BYTES];
	const char *h;

	hash_text(run_id, hash);
	str_add_hex(&hex, hash, 16);
	h = str_text(&hex);
	str_addf(to, "%.8s-%.4s-4%.3s-8%.3s-%.12s", h, h + 8, h + 13, h + 17, h + 20);
}

static int
send_beat(const struct send_order *order, struct err *err)
{
	const struct outbox_row *row = order->row;
	SCOPED(str_done) struct str suffix = STR_INIT;
	SCOPED(str_done) struct str body = STR_INIT_MAX(BEAT_BODY_MAX);
	const char *const headers[] = { text_header, NULL };
	bool is_bad = str_equals(row->event, "fail") ||
	    (str_equals(row->event, "beat") && row->severity >= ALARM_CRITICAL);

	if (str_equals(row->event, "start"))
		str_add(&suffix, "/start");
	else if (str_equals(row->event, "test"))
		str_add(&suffix, "/log");
	else if (is_bad)
		str_add(&suffix, "/fail");
	if (row->text != NULL) {
		str_add(&suffix, "?rid=");
		add_rid(&suffix, row->text);
	}
	str_addf(&body, "%s%s%s", row->text != NULL ? row->text : order->config->site,
	    row->cause != NULL ? ": " : "", row->cause != NULL ? row->cause : "");

	return post(order, str_text(&suffix), str_text(&body), headers, err);
}

int
send_message(const struct send_order *order, struct err *err)
{
	static const struct {
		const char *type;
		int (*send)(const struct send_order *order, struct err *err);
	} ways[] = {
		{ "email", send_mail },
		{ "webhook", send_webhook },
		{ "alertmanager", send_alertmanager },
		{ "ntfy", send_ntfy },
		{ "heartbeat", send_beat },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (str_equals(ways[i].type, order->channel->type))
			return ways[i].send(order, err);
	}

	return err_set(err, ERR_BUG, "there is no way to send by '%s'", order->channel->type);
}
