#include "app/cli/cli.h"

#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "config/config.h"
#include "store/store.h"

static bool
is_candidate(const struct backup_row *row, const struct backup_choice *choice)
{
	return !row->is_damaged && !row->is_unproven && !str_equals(row->kind, "unreadable") &&
	    (choice->source == NULL || str_equals(row->source, choice->source)) &&
	    (choice->job == NULL || str_equals(row->job, choice->job)) &&
	    (choice->kind == NULL || str_equals(row->kind, choice->kind));
}

static int
nothing_found(const struct cli *cli, const struct backup_choice *choice, struct err *err)
{
	(void)err_set(err, ERR_NOT_FOUND, "there is no good backup%s%s%s%s%s in '%s'",
	    choice->kind != NULL ? " of kind '" : "", choice->kind != NULL ? choice->kind : "",
	    choice->kind != NULL ? "'" : "", choice->source != NULL ? " of source " : "",
	    choice->source != NULL ? choice->source : "", cli->wire.engine.store->location);

	return err_hint(err,
	    "'blackstart list' shows what there is, the damaged and unproven ones too.");
}

static int
choose_latest(struct cli *cli, const struct backup_choice *choice, struct backup_row *ret_row,
    struct err *err)
{
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };
	const struct backup_filter filter = {
		.source = choice->source,
		.job = choice->job,
		.kind = choice->kind,
	};

	if (catalog_backup_list(cli->wire.engine.catalog, &filter, &rows, err) < 0)
		return -1;
	for (size_t i = 0; i < rows.rows.count; i++) {
		if (is_candidate(&rows.rows.items[i], choice)) {
			*ret_row = rows.rows.items[i];
			rows.rows.items[i] = (struct backup_row){ .id = NULL };
			return 0;
		}
	}

	return nothing_found(cli, choice, err);
}

int
cli_choose_backup(struct cli *cli, const struct backup_choice *choice, struct backup_row *ret_row,
    struct err *err)
{
	if (choice->word == NULL || str_equals(choice->word, "latest"))
		return choose_latest(cli, choice, ret_row, err);
	if (catalog_backup_get(cli->wire.engine.catalog, choice->word, ret_row, err) < 0) {
		if (err->kind == ERR_NOT_FOUND && err->hint[0] == '\0')
			(void)err_hint(err, "'blackstart list' shows the ids.");
		return -1;
	}

	return 0;
}

/* ---- which source ---- */

static int
refuse_unknown(const struct cli *cli, const char *name, struct err *err)
{
	if (name != NULL)
		(void)err_set(err, ERR_NOT_FOUND, "there is no backup of source '%s' in '%s'", name,
		    cli->wire.engine.store->location);
	else
		(void)err_set(err, ERR_NOT_FOUND, "there is no backup in '%s'",
		    cli->wire.engine.store->location);

	return err_hint(err, "'blackstart list' shows what there is.");
}

/* A source that only the store knows: the one of this name, or the only one there is. */
static int
find_stored(struct cli *cli, const char *asked, wire_opener *open, struct source **ret_source,
    struct err *err)
{
	const struct backup_filter filter = { .source = asked };
	SCOPED(backup_rows_done) struct backup_rows rows = { .rows = { .count = 0 } };
	const struct backup_row *first;

	if (catalog_backup_list(cli->wire.engine.catalog, &filter, &rows, err) < 0)
		return -1;
	if (rows.rows.count == 0)
		return refuse_unknown(cli, asked, err);
	first = &rows.rows.items[0];
	for (size_t i = 1; i < rows.rows.count; i++) {
		if (str_equals(rows.rows.items[i].source, first->source))
			continue;
		(void)err_set(err, ERR_USAGE, "it is not said which source is meant");
		return err_hint(err, "Name it: blackstart window %s", first->source);
	}
	*ret_source = open(&cli->wire, first->source, first->source_type, err);

	return *ret_source != NULL ? 0 : -1;
}

int
cli_find_source(struct cli *cli, const char *word, wire_opener *open, struct source **ret_source,
    char **ret_identity, struct err *err)
{
	const struct config *config = cli->wire.config;
	const struct config_source *from = NULL;
	const char *at = word != NULL ? strchr(word, '@') : NULL;
	SCOPED(freep) char *label = at != NULL ? xstrndup(word, (size_t)(at - word)) : NULL;
	const char *name = label != NULL ? label : word;

	if (name == NULL && config != NULL && config->sources.count == 1)
		name = config->sources.items[0].name;
	if (name != NULL && config != NULL)
		from = config_find_source(config, name);
	if (from == NULL) {
		if (find_stored(cli, name, open, ret_source, err) < 0)
			return -1;
	} else {
		*ret_source = open(&cli->wire, name, from->type, err);
		if (*ret_source == NULL)
			return -1;
	}
	*ret_identity = at != NULL ? xstrdup(at + 1) : NULL;

	return 0;
}

const char *
cli_who(void)
{
	const char *sudo = getenv("SUDO_USER");
	const struct passwd *user;

	if (geteuid() == 0 && sudo != NULL && sudo[0] != '\0')
		return sudo;
	user = getpwuid(getuid());

	return user != NULL ? user->pw_name : "unknown";
}
