#include "source/redis/aof/manifest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"

enum { WORDS_MAX = 32 };

/* What was read of one line. */
struct line {
	const char *words[WORDS_MAX];
	size_t words_count;
};

void
aof_manifest_done(struct aof_manifest *manifest)
{
	for (size_t i = 0; i < manifest->files.count; i++)
		free(manifest->files.items[i].name);
	vec_done(&manifest->files);
}

static int
bad_line(size_t number, const char *why, struct err *err)
{
	return err_set(err, ERR_DATA, "the AOF's manifest, line %zu: %s", number, why);
}

/* Words between blanks; `text` is cut up. */
static bool
split(char *text, struct line *line)
{
	char *state = NULL;

	line->words_count = 0;
	for (char *word = strtok_r(text, " \t\r", &state); word != NULL;
	     word = strtok_r(NULL, " \t\r", &state)) {
		if (line->words_count == WORDS_MAX)
			return false;
		line->words[line->words_count++] = word;
	}

	return true;
}

/* A name that leads out of the folder, or is written in quotes, is none that a server makes. */
static bool
is_plain_name(const char *name)
{
	return name[0] != '\0' && name[0] != '.' && strpbrk(name, "/\\\"'") == NULL;
}

static const char *
read_pairs(const struct line *line, struct aof_file *file)
{
	struct err ignored = ERR_INIT;

	for (size_t i = 0; i + 1 < line->words_count; i += 2) {
		const char *value = line->words[i + 1];

		if (str_equals(line->words[i], "file")) {
			free(file->name);
			file->name = xstrdup(value);
		} else if (str_equals(line->words[i], "seq")) {
			if (parse_u64(value, 1, INT64_MAX, &file->seq, &ignored) < 0)
				return "its number is none";
		} else if (str_equals(line->words[i], "type")) {
			file->type = (unsigned char)value[0];
		}
	}
	if (file->name == NULL || file->seq == 0)
		return "it names no file, or no number";
	if (!is_plain_name(file->name))
		return "the name of its file is not plain";
	if (file->type != AOF_BASE && file->type != AOF_INCREMENT && file->type != AOF_HISTORY)
		return "its type is not known";

	return NULL;
}

/* Is the file in its place among those before it. */
static const char *
check_order(const struct aof_manifest *manifest, const struct aof_file *file)
{
	for (size_t i = 0; i < manifest->files.count; i++) {
		const struct aof_file *other = &manifest->files.items[i];

		if (file->type == AOF_HISTORY || other->type == AOF_HISTORY)
			continue;
		if (str_equals(other->name, file->name))
			return "a file is named twice";
		if (file->type == AOF_BASE && other->type == AOF_BASE)
			return "there are two bases";
		if (file->type == AOF_INCREMENT && other->type == AOF_INCREMENT &&
		    other->seq >= file->seq)
			return "the numbers do not grow";
	}

	return NULL;
}

static int
take_line(struct aof_manifest *manifest, char *text, size_t number, struct err *err)
{
	struct aof_file file = { .name = NULL };
	struct line line;
	const char *why;

	if (text[0] == '#')
		return 0;
	if (!split(text, &line) || line.words_count < 6 || line.words_count % 2 != 0)
		return bad_line(number, "it has not the words in pairs that it should", err);
	why = read_pairs(&line, &file);
	if (why == NULL)
		why = check_order(manifest, &file);
	if (why == NULL && manifest->files.count == AOF_FILES_MAX)
		why = "there are too many files";
	if (why != NULL) {
		free(file.name);
		return bad_line(number, why, err);
	}
	vec_push(&manifest->files, file);

	return 0;
}

int
aof_manifest_parse(const char *text, size_t size, struct aof_manifest *ret_manifest,
    struct err *err)
{
	SCOPED(aof_manifest_done) struct aof_manifest manifest = { .files = { .count = 0 } };
	size_t number = 0;

	if (size > AOF_MANIFEST_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "the AOF's manifest is too long");
	for (const char *at = text; at < text + size;) {
		const char *end = memchr(at, '\n', (size_t)(text + size - at));

		number++;
		if (end == NULL || end - at >= AOF_LINE_MAX_BYTES ||
		    memchr(at, '\0', (size_t)(end - at)) != NULL)
			return bad_line(number, "it does not end as it should", err);
		SCOPED(freep) char *copy = xstrndup(at, (size_t)(end - at));
		if (take_line(&manifest, copy, number, err) < 0)
			return -1;
		at = end + 1;
	}
	if (manifest.files.count == 0)
		return err_set(err, ERR_DATA, "the AOF's manifest names no file");
	*ret_manifest = manifest;
	manifest = (struct aof_manifest){ .files = { .count = 0 } };

	return 0;
}

char *
aof_manifest_format(const struct aof_manifest *manifest)
{
	SCOPED(str_done) struct str text = STR_INIT;

	for (size_t i = 0; i < manifest->files.count; i++) {
		const struct aof_file *file = &manifest->files.items[i];

		if (file->type != AOF_HISTORY)
			str_addf(&text, "file %s seq %" PRIu64 " type %c\n", file->name, file->seq,
			    (char)file->type);
	}

	return xstrdup(str_text(&text));
}
