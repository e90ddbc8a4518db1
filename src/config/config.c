#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/zone.h"
#include "config/bind_internal.h"

void
config_free(struct config *config)
{
	if (config == NULL)
		return;
	for (size_t i = 0; i < config->sources.count; i++) {
		section_done(&config_source_section, &config->sources.items[i]);
		free(config->sources.items[i].name);
	}
	for (size_t i = 0; i < config->jobs.count; i++) {
		section_done(&config_job_section, &config->jobs.items[i]);
		free(config->jobs.items[i].name);
	}
	for (size_t i = 0; i < config->blackouts.count; i++) {
		section_done(&config_blackout_section, &config->blackouts.items[i]);
		free(config->blackouts.items[i].name);
	}
	vec_done(&config->blackouts);
	for (size_t i = 0; i < config->alerts.channels.count; i++) {
		section_done(&config_channel_section, &config->alerts.channels.items[i]);
		free(config->alerts.channels.items[i].name);
	}
	for (size_t i = 0; i < config->entries.count; i++) {
		free(config->entries.items[i].key);
		free(config->entries.items[i].value);
	}
	vec_done(&config->sources);
	vec_done(&config->jobs);
	vec_done(&config->alerts.channels);
	vec_done(&config->entries);
	section_done(&config_root_section, config);
	zone_close(config->zone);
	free(config->path);
	free(config);
}

const struct config_source *
config_find_source(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->sources.count; i++) {
		if (str_equals(config->sources.items[i].name, name))
			return &config->sources.items[i];
	}

	return NULL;
}

bool
config_job_is_stream(const struct config_job *job)
{
	return str_equals(job->kind, "wal") || str_equals(job->kind, "stream");
}

const struct config_job *
config_find_job(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->jobs.count; i++) {
		if (str_equals(config->jobs.items[i].name, name))
			return &config->jobs.items[i];
	}

	return NULL;
}

struct config_place
config_job_place(const struct config *config, const struct config_job *job, const char *key)
{
	bool is_in_job = false;

	for (size_t i = 0; i < config->entries.count; i++) {
		const struct config_entry *entry = &config->entries.items[i];

		if (entry->depth <= 1)
			is_in_job = entry->depth == 1 && entry->place.line == job->place.line &&
			    entry->place.column == job->place.column;
		else if (is_in_job && entry->depth == 2 && str_equals(entry->key, key) &&
		    entry->place.line != 0)
			return entry->place;
	}

	return job->place;
}

char *
config_secret_path(const struct config *config, const char *name)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	const char *slash = strrchr(config->path, '/');
	char *path;

	if (name[0] == '/')
		return xstrdup(name);
	if (credentials != NULL && credentials[0] != '\0') {
		path = xasprintf("%s/%s", credentials, name);
		if (access(path, F_OK) == 0)
			return path;
		free(path);
	}
	if (slash == NULL)
		return xstrdup(name);

	return xasprintf("%.*s/%s", (int)(slash - config->path), config->path, name);
}

/* What the tables cannot say of the settings that every file has. */
static void
check_root(struct binder *binder, const struct node *root)
{
	struct config *config = binder->config;
	const struct node *zone_node = node_find(root, "timezone");
	struct err err = ERR_INIT;

	if (config->timezone != NULL) {
		config->zone = zone_open(config->timezone, &err);
		if (config->zone == NULL)
			binder_error(binder, zone_node->place, err.hint, "timezone: %s", err.msg);
	}
	if (config->store.critical_percent != 0 &&
	    config->store.warn_percent > config->store.critical_percent)
		binder_error(binder, node_find(root, "store")->key_place, NULL,
		    "store: 'warn' (%u%%) must not be above 'critical' (%u%%)",
		    config->store.warn_percent, config->store.critical_percent);
}

/* The summary; the list is the caller's to show. */
static int
summarize(const char *path, const struct config_problems *problems, struct err *err)
{
	const struct config_problem *first = &problems->items.items[0];

	if (problems->errors_count == 1 && problems->items.count == 1 && first->line != 0)
		return err_set(err, ERR_CONFIG,
		    "the configuration '%s' has an error in line %u: %s", path, first->line,
		    first->text);
	(void)err_set(err, ERR_CONFIG, "the configuration '%s' has %zu error%s", path,
	    problems->errors_count, problems->errors_count == 1 ? "" : "s");
	return err_hint(err, "'blackstart config check -c %s' lists them.", path);
}

struct config *
config_parse(const char *data, size_t size, const char *path, struct config_problems *problems,
    struct err *err)
{
	SCOPED(node_freep) struct node *root = NULL;
	SCOPED(config_freep) struct config *config = xcalloc(1, sizeof(*config));
	struct binder binder = { .config = config, .problems = problems };

	config->path = xstrdup(path);
	if (text_check(data, size, problems))
		root = node_parse(data, size, problems);
	if (root != NULL && root->kind != NODE_MAP)
		config_problems_error(problems, root->place, NULL,
		    "the file must be a mapping of keys, not %s", node_describe(root));
	if (root == NULL || root->kind != NODE_MAP) {
		(void)summarize(path, problems, err);
		return NULL;
	}
	bind_section(&binder, root, &config_root_section, config);
	check_root(&binder, root);
	config_problems_sort(problems);

	return TAKE(config);
}

/* All of the file; a pipe is fine too (config check -c <(...)). */
static int
read_file(const char *path, struct str *data, struct err *err)
{
	SCOPED(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char buffer[16384];
	ssize_t size;

	if (fd < 0) {
		(void)err_sys(err, "cannot open the configuration '%s'", path);
		if (err->kind == ERR_NOT_FOUND) {
			err->kind = ERR_CONFIG;
			return err_hint(err,
			    "'blackstart config init > %s' makes one to begin with; -c names another.",
			    path);
		}
		return -1;
	}
	while ((size = read(fd, buffer, sizeof(buffer))) > 0 && !str_is_full(data))
		str_add_bytes(data, buffer, (size_t)size);
	if (size < 0)
		return err_sys(err, "cannot read the configuration '%s'", path);
	if (str_is_full(data))
		return err_set(err, ERR_CONFIG, "the configuration '%s' is larger than %d KiB",
		    path, NODE_FILE_MAX_BYTES / 1024);

	return 0;
}

struct config *
config_read(const char *path, struct config_problems *problems, struct err *err)
{
	SCOPED(str_done) struct str data = STR_INIT_MAX(NODE_FILE_MAX_BYTES);

	if (read_file(path, &data, err) < 0)
		return NULL;

	return config_parse(str_text(&data), data.size, path, problems, err);
}
