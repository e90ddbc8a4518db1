#include "app/notify/mail_message.h"

#include <stdio.h>
#include <string.h>

#include "app/notify/message.h"
#include "base/hash.h"
#include "base/zone.h"
#include "catalog/catalog_outbox.h"

enum { ID_BYTES = 12, LINE_MAX_BYTES = 76 };

/* "Fri, 27 Nov 2026 12:00:00 +0000" */
static void
add_date(struct str *to, struct wall_time at)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct civil civil = civil_from_unix_s(at.us / US_PER_S);

	str_addf(to, "Date: %.3s, %d %.3s %04d %02d:%02d:%02d +0000\r\n",
	    days + (size_t)civil_weekday(&civil) * 3, civil.day,
	    months + (size_t)(civil.month - 1) * 3, civil.year, civil.hour, civil.minute,
	    civil.second);
}

/* Names may hold anything, so that an id is made of their hash; the domain is the sender's. */
static void
add_id(struct str *to, const struct message *message, const char *from, const char *what)
{
	const struct outbox_row *row = message->row;
	SCOPED(str_done) struct str key = STR_INIT;
	uint8_t hash[HASH_BYTES];

	str_addf(&key, "%s\n%s\n%s\n%s\n%lld", message->site, what,
	    row->rule != NULL ? row->rule : row->event, row->subject != NULL ? row->subject : "",
	    (long long)(row->rule != NULL ? row->raised_at.us : row->at.us));
	hash_text(str_text(&key), hash);
	str_add_char(to, '<');
	str_add_hex(to, hash, ID_BYTES);
	str_addf(to, "%s>", strchr(from, '@'));
}

static void
add_ids(struct str *to, const struct message *message, const char *from)
{
	const struct outbox_row *row = message->row;
	char what[64];
	bool is_first = str_equals(row->event, "raised");

	(void)snprintf(what, sizeof(what), "%s %lld", row->event, (long long)row->id);
	str_add(to, "Message-ID: ");
	add_id(to, message, from, is_first ? "thread" : what);
	str_add(to, "\r\n");
	if (is_first || row->rule == NULL)
		return;
	str_add(to, "In-Reply-To: ");
	add_id(to, message, from, "thread");
	str_add(to, "\r\nReferences: ");
	add_id(to, message, from, "thread");
	str_add(to, "\r\n");
}

/* A blank at the end of a line may get lost on the way, a dot at its beginning ends the message. */
static bool
is_plain_at(unsigned char byte, size_t column, char next)
{
	if (byte == ' ')
		return next != '\n' && next != '\0';
	if (byte == '.')
		return column > 0;

	return byte > ' ' && byte < 0x7f && byte != '=';
}

/* RFC 2045, section 6.7: lines of 76, '=' and what is not printable ASCII as =XX. */
static void
add_quoted_printable(struct str *to, const char *text)
{
	size_t column = 0;

	for (const char *c = text; *c != '\0'; c++) {
		unsigned char byte = (unsigned char)*c;
		bool is_plain = is_plain_at(byte, column, c[1]);

		if (byte == '\n') {
			str_add(to, "\r\n");
			column = 0;
			continue;
		}
		if (column + (is_plain ? 1 : 3) >= LINE_MAX_BYTES) {
			str_add(to, "=\r\n");
			column = 0;
			is_plain = is_plain && byte != '.';
		}
		if (is_plain)
			str_add_char(to, *c);
		else
			str_addf(to, "=%02X", byte);
		column += is_plain ? 1 : 3;
	}
}

static void
add_part(struct str *to, const char *boundary, const char *type, const char *text)
{
	str_addf(to,
	    "--%s\r\nContent-Type: %s; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
	    boundary, type);
	add_quoted_printable(to, text);
	str_add(to, "\r\n");
}

void
mail_message_add(const struct message *message, const struct mail_addresses *addresses,
    struct str *to)
{
	/* No line of a quoted-printable text can be it: an '=' there is followed by two digits. */
	static const char boundary[] = "=_blackstart_=";
	SCOPED(str_done) struct str subject = STR_INIT;
	SCOPED(str_done) struct str text = STR_INIT;
	SCOPED(str_done) struct str html = STR_INIT;

	message_add_subject(message, &subject);
	message_add_text(message, &text);
	message_add_html(message, &html);
	str_addf(to, "From: blackstart <%s>\r\nTo: ", addresses->from);
	for (size_t i = 0; addresses->to[i] != NULL; i++)
		str_addf(to, "%s<%s>", i > 0 ? ",\r\n " : "", addresses->to[i]);
	str_add(to, "\r\nSubject: ");
	message_add_header_text(to, str_text(&subject));
	str_add(to, "\r\n");
	add_date(to, message->row->at);
	add_ids(to, message, addresses->from);
	str_addf(to,
	    "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: multipart/alternative; boundary=\"%s\"\r\n\r\n",
	    boundary);
	add_part(to, boundary, "text/plain", str_text(&text));
	add_part(to, boundary, "text/html", str_text(&html));
	str_addf(to, "--%s--\r\n", boundary);
}
