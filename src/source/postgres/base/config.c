#include "source/postgres/base/config.h"

#include <ctype.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "repo/manifest.h"
#include "source/postgres/base/content.h"
#include "source/postgres/base/extract.h"
#include "source/postgres/base/recover.h"
#include "source/postgres/control.h"
#include "source/source.h"

enum { CONF_MAX_BYTES = 1024 * 1024 };

#define CONF "postgresql.conf"
#define CONF_ORIGINAL "postgresql.conf.from-backup"
#define CONF_AUTO "postgresql.auto.conf"

/* ---- text ------------------------------------------------------------------------------------------ */

/* name = 'value', with quotes doubled as the server's configuration files want them. */
static void
add_setting(struct str *to, const char *name, const char *value)
{
	str_addf(to, "%s = '", name);
	for (const char *c = value; *c != '\0'; c++) {
		if (*c == '\'' || *c == '\\')
			str_add_char(to, *c);
		str_add_char(to, *c == '\n' ? ' ' : *c);
	}
	str_add(to, "'\n");
}

static void
add_number(struct str *to, const char *name, unsigned number)
{
	str_addf(to, "%s = %u\n", name, number);
}

/* Does a line of this configuration set one of `names`, or start with it as a directive. */
static bool
sets_any(const char *text, const char *const *names, size_t count)
{
	for (const char *line = text; line != NULL && *line != '\0';) {
		const char *at = line + strspn(line, " \t");

		for (size_t i = 0; i < count; i++) {
			size_t size = strlen(names[i]);

			if (strncasecmp(at, names[i], size) == 0 &&
			    !isalnum((unsigned char)at[size]) && at[size] != '_')
				return true;
		}
		line = strchr(line, '\n');
		line = line != NULL ? line + 1 : NULL;
	}

	return false;
}

/* ---- postgresql.conf -------------------------------------------------------------------------------- */

/* With one of these the server would leave the folder it was pointed to. */
static const char *const leading_astray[] = {
	"data_directory",
	"hba_file",
	"ident_file",
	"external_pid_file",
	"include",
	"include_dir",
	"include_if_exists",
};

/* Not carried over: they belong to the live server's machine and role, or are set elsewhere. */
static const char *const left_behind[] = {
	"archive_",
	"bonjour",
	"cluster_name",
	"config_file",
	"data_directory",
	"external_pid_file",
	"hba_file",
	"ident_file",
	"krb_",
	"listen_addresses",
	"log_directory",
	"max_connections",
	"max_locks_per_transaction",
	"max_prepared_transactions",
	"max_wal_senders",
	"max_worker_processes",
	"port",
	"primary_",
	"promote_trigger_file",
	"recovery_",
	"restore_command",
	"shared_preload_libraries",
	"ssl",
	"stats_temp_directory",
	"synchronous_standby_names",
	"unix_socket_",
};

static bool
is_left_behind(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(left_behind); i++) {
		if (str_starts_with(name, left_behind[i]))
			return true;
	}

	return false;
}

/* Settings of the live server that came from `source` ("configuration file", "command line"). */
static void
add_carried(struct str *to, const json_t *settings, const char *source)
{
	size_t index;
	const json_t *setting;

	json_array_foreach(json_object_get(settings, "settings"), index, setting)
	{
		const char *name = json_string_value(json_object_get(setting, "name"));
		const char *value = json_string_value(json_object_get(setting, "value"));
		const char *from = json_string_value(json_object_get(setting, "source"));

		if (name != NULL && value != NULL && str_equals(from, source) &&
		    !is_left_behind(name))
			add_setting(to, name, value);
	}
}

/* Libraries that do work of their own accord; in a copy they would do it twice. */
static bool
is_restless(const char *library, size_t size)
{
	static const char *const names[] = {
		"pg_cron",
		"pg_partman_bgw",
		"pglogical",
		"bdr",
		"pg_timetable",
		"pgagent",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strlen(names[i]) == size && strncmp(names[i], library, size) == 0)
			return true;
	}

	return false;
}

/* The live server's libraries without the restless ones. */
static void
add_libraries(struct str *to, const json_t *settings)
{
	const char *all = json_string_value(json_object_get(settings, "shared_preload_libraries"));
	SCOPED(str_done) struct str kept = STR_INIT;

	for (const char *at = all; at != NULL && *at != '\0';) {
		size_t size;

		at += strspn(at, ", ");
		size = strcspn(at, ", ");
		if (size > 0 && !is_restless(at, size))
			str_addf(&kept, "%s%.*s", kept.size > 0 ? "," : "", (int)size, at);
		at += size;
	}
	if (all == NULL)
		return;
	add_setting(to, "shared_preload_libraries", str_text(&kept));
	if (strstr(all, "timescaledb") != NULL)
		add_number(to, "timescaledb.max_background_workers", 0);
}

static void
format_conf(const struct base_config_options *options, struct str *to)
{
	const struct control *control = options->control;

	str_addf(to,
	    "# Made by blackstart for the restored backup %s.\n"
	    "# The server's own file did not lie in its data directory, or would lead this copy to\n"
	    "# other folders. If the backup has it, it is beside this one: " CONF_ORIGINAL "\n\n"
	    "# Recovery needs at least what the server had (from pg_control).\n",
	    options->view->manifest->id);
	add_number(to, "max_connections", control->max_connections);
	add_number(to, "max_worker_processes", control->max_worker_processes);
	add_number(to, "max_wal_senders", control->max_wal_senders);
	add_number(to, "max_prepared_transactions", control->max_prepared_transactions);
	add_number(to, "max_locks_per_transaction", control->max_locks_per_transaction);
	if (options->settings != NULL) {
		str_add(to,
		    "\n# Settings of the server, without those of its machine and its role.\n");
		add_carried(to, options->settings, "configuration file");
	}
}

static int
read_restored(const char *data_dir, const char *name, struct str *to, struct err *err)
{
	SCOPED(freep) char *path = path_join(data_dir, name);

	if (!file_exists(path))
		return 0;

	return file_read_all(path, CONF_MAX_BYTES, to, err);
}

/* A part that was saved beside the archives; none is no error. */
static int
read_saved(const struct base_config_options *options, const char *part, struct str *to,
    struct err *err)
{
	if (base_part(options->view->manifest, part) == NULL)
		return 0;

	return base_content_text(options->view, part, to, err);
}

static int
write_conf(const struct base_config_options *options, struct base_extract *extract,
    struct base_config_result *result, struct err *err)
{
	SCOPED(str_done) struct str original = STR_INIT_MAX(CONF_MAX_BYTES);
	SCOPED(str_done) struct str made = STR_INIT_MAX(CONF_MAX_BYTES);

	if (read_restored(options->data_dir, CONF, &original, err) < 0)
		return -1;
	if (original.size > 0 &&
	    !sets_any(str_text(&original), leading_astray, ARRAY_SIZE(leading_astray)))
		return 0;
	if (original.size == 0 && read_saved(options, CONF, &original, err) < 0)
		return -1;
	result->is_conf_made = true;
	result->has_conf_original = original.size > 0;
	if (original.size > 0 &&
	    base_extract_write(extract, CONF_ORIGINAL, str_text(&original), original.size, err) < 0)
		return -1;
	format_conf(options, &made);

	return base_extract_write(extract, CONF, str_text(&made), made.size, err);
}

/* ---- who may connect --------------------------------------------------------------------------------- */

static int
write_if_missing(const struct base_config_options *options, struct base_extract *extract,
    const char *name, const char *fallback, bool *ret_is_fallback, struct err *err)
{
	SCOPED(str_done) struct str text = STR_INIT_MAX(CONF_MAX_BYTES);
	SCOPED(freep) char *path = path_join(options->data_dir, name);

	*ret_is_fallback = false;
	if (file_exists(path))
		return 0;
	if (read_saved(options, name, &text, err) < 0)
		return -1;
	if (text.size == 0) {
		*ret_is_fallback = true;
		str_add(&text, fallback);
	}

	return base_extract_write(extract, name, str_text(&text), text.size, err);
}

static int
write_hba(const struct base_config_options *options, struct base_extract *extract,
    struct base_config_result *result, struct err *err)
{
	static const char own[] =
	    "# Made by blackstart. The socket lies in the data directory, which only its owner and\n"
	    "# root can enter, so whoever reaches it is let in.\n"
	    "local all all trust\n"
	    "host all all 127.0.0.1/32 scram-sha-256\n"
	    "host all all ::1/128 scram-sha-256\n";
	static const char careful[] =
	    "# Made by blackstart: the backup has no pg_hba.conf. Only the user that owns the data\n"
	    "# directory may connect, as the role of the same name.\n"
	    "local all all peer\n";
	bool is_ident_made;

	if (base_extract_write(extract, BASE_CONFIG_HBA, own, sizeof(own) - 1, err) < 0 ||
	    write_if_missing(options, extract, "pg_hba.conf", careful, &result->has_hba_made, err) <
		0)
		return -1;

	return write_if_missing(options, extract, "pg_ident.conf", "# Made by blackstart.\n",
	    &is_ident_made, err);
}

/* ---- the block that must hold -------------------------------------------------------------------------- */

static bool
is_told(const struct base_settings *recovery, const char *name)
{
	for (size_t i = 0; recovery != NULL && i < recovery->items.count; i++) {
		if (str_equals(recovery->items.items[i].name, name))
			return true;
	}

	return false;
}

static void
add_recovery(struct str *to, const struct base_settings *recovery)
{
	if (recovery == NULL)
		return;
	str_add(to, "# Where it recovers to, once.\n");
	for (size_t i = 0; i < recovery->items.count; i++)
		add_setting(to, recovery->items.items[i].name, recovery->items.items[i].value);
}

static void
add_isolation(struct str *to, int server_version, const struct base_settings *recovery)
{
	static const char *const emptied[] = {
		"archive_command",
		"restore_command",
		"archive_cleanup_command",
		"recovery_end_command",
		"synchronous_standby_names",
		"primary_conninfo",
		"primary_slot_name",
		"recovery_target",
		"recovery_target_time",
		"recovery_target_lsn",
		"recovery_target_xid",
		"recovery_target_name",
	};

	str_add(to, "# It does not archive, replicate, or recover further by itself.\n");
	add_setting(to, "archive_mode", "off");
	for (size_t i = 0; i < ARRAY_SIZE(emptied); i++) {
		if (!is_told(recovery, emptied[i]))
			add_setting(to, emptied[i], "");
	}
	if (server_version >= 150000)
		add_setting(to, "archive_library", "");
	add_number(to, "max_logical_replication_workers", 0);
}

static void
add_place(struct str *to, const struct base_config_options *options)
{
	SCOPED(freep) char *hba = path_join(options->data_dir, BASE_CONFIG_HBA);
	SCOPED(freep)
	char *socket_dir = options->socket_dir != NULL ? xasprintf("\"%s\"", options->socket_dir)
						       : xstrdup("");

	str_add(to, "# It listens here only, on a port of its own.\n");
	add_setting(to, "listen_addresses", "localhost");
	add_number(to, "port", options->port);
	add_setting(to, "unix_socket_directories", socket_dir);
	add_setting(to, "hba_file", hba);
	add_setting(to, "ssl", "off");
	str_add(to, "# It keeps to its own folder.\n");
	add_setting(to, "external_pid_file", "");
	add_setting(to, "log_directory", "log");
	if (options->content->server_version < 150000)
		add_setting(to, "stats_temp_directory", "pg_stat_tmp");
	add_setting(to, "cluster_name", "restored");
}

/* Two targets are fatal, and what an earlier recovery left here must not become ours. */
static void
add_without_recovery(struct str *to, const char *text)
{
	for (const char *line = text; *line != '\0';) {
		size_t size = strcspn(line, "\n");
		const char *at = line + strspn(line, " \t");

		if (!str_starts_with(at, "recovery_") && !str_starts_with(at, "restore_command"))
			str_addf(to, "%.*s\n", (int)size, line);
		line += size + (line[size] == '\n');
	}
}

static int
write_auto(const struct base_config_options *options, struct base_extract *extract, struct err *err)
{
	SCOPED(str_done) struct str original = STR_INIT_MAX(CONF_MAX_BYTES);
	SCOPED(str_done) struct str text = STR_INIT_MAX(CONF_MAX_BYTES);

	if (read_restored(options->data_dir, CONF_AUTO, &original, err) < 0)
		return -1;
	add_without_recovery(&text, str_text(&original));
	str_addf(&text,
	    BASE_CONFIG_BEGIN
	    " what keeps the restored backup %s apart from the live server.\n"
	    "# To make this the live server, stop it, remove the lines up to '<<< blackstart' and\n"
	    "# start it again.\n",
	    options->view->manifest->id);
	if (options->settings != NULL) {
		add_carried(&text, options->settings, "command line");
		add_carried(&text, options->settings, "environment variable");
		add_libraries(&text, options->settings);
	}
	add_isolation(&text, options->content->server_version, options->recovery);
	add_recovery(&text, options->recovery);
	add_place(&text, options);
	str_add(&text, BASE_CONFIG_END "\n");
	if (str_is_full(&text))
		return err_set(err, ERR_LIMIT, CONF_AUTO " of the backup is too large");

	return base_extract_write(extract, CONF_AUTO, str_text(&text), text.size, err);
}

int
base_config_write(const struct base_config_options *options, struct base_extract *extract,
    struct base_config_result *ret_result, struct err *err)
{
	struct base_config_result result = { .is_conf_made = false };

	/* Of a backup from a standby: they would make the copy a standby of nothing. */
	if (base_extract_remove(extract, "standby.signal", err) < 0 ||
	    base_extract_remove(extract, "recovery.signal", err) < 0 ||
	    write_conf(options, extract, &result, err) < 0 ||
	    write_hba(options, extract, &result, err) < 0 || write_auto(options, extract, err) < 0)
		return err_wrap(err, "configuration of the restored copy");
	if (options->recovery != NULL &&
	    base_extract_write(extract, "recovery.signal", "", 0, err) < 0)
		return err_wrap(err, "configuration of the restored copy");
	*ret_result = result;

	return 0;
}
