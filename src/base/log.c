#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

enum { LOG_LINE_MAX = 8192 };

/* The one mutable global: where messages go. */
static struct {
	enum log_level level;
	int run_fd;
	const char *run_id;
} target = { .level = LOG_LEVEL_INFO, .run_fd = -1 };

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

void
log_set_level(enum log_level level)
{
	target.level = level;
}

void
log_set_run(int fd, const char *run_id)
{
	target.run_fd = fd;
	target.run_id = run_id;
}

/* Names and server messages come from outside: no byte of them may steer a terminal. */
static void
add_visible(struct str *line, const char *text)
{
	for (const char *c = text; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20 && *c != '\t')
			str_addf(line, *c == '\n' ? "\n  " : "\\x%02x", (unsigned char)*c);
		else if (*c == 0x7f)
			str_add(line, "\\x7f");
		else
			str_add_char(line, *c);
	}
}

static void
write_line(int fd, struct str *line)
{
	/* A line that was too long ends too, or the next one would be a part of it. */
	if (str_is_full(line))
		str_cut(line, LOG_LINE_MAX - 1);
	str_add_char(line, '\n');
	if (write(fd, str_text(line), line->size) < 0) {
		/* There is nowhere left to say so. */
	}
}

static void
emit_stderr(enum log_level level, const char *label, const char *text)
{
	SCOPED(str_done) struct str line = STR_INIT_MAX(LOG_LINE_MAX);

	if (level > target.level)
		return;
	if (label != NULL)
		str_addf(&line, "%s: ", label);
	add_visible(&line, text);
	write_line(STDERR_FILENO, &line);
}

static void
emit(enum log_level level, const char *label, const char *text)
{
	emit_stderr(level, label, text);
	if (target.run_fd >= 0) {
		SCOPED(str_done) struct str line = STR_INIT_MAX(LOG_LINE_MAX);
		char now[CLOCK_TEXT_SIZE];

		str_addf(&line, "%s %s run=%s ", clock_format(clock_wall(), now),
		    level_names[level], target.run_id);
		if (level == LOG_LEVEL_ERROR && label != NULL && label != level_names[level])
			str_addf(&line, "%s: ", label);
		add_visible(&line, text);
		write_line(target.run_fd, &line);
	}
}

#define EMIT(level, label)                                                                         \
	do {                                                                                       \
		char text_[LOG_LINE_MAX / 2];                                                      \
		va_list args_;                                                                     \
                                                                                                   \
		va_start(args_, format);                                                           \
		(void)vsnprintf(text_, sizeof(text_), format, args_);                              \
		va_end(args_);                                                                     \
		emit(level, label, text_);                                                         \
	} while (0)

void
log_error(const char *format, ...)
{
	EMIT(LOG_LEVEL_ERROR, level_names[LOG_LEVEL_ERROR]);
}

void
log_warning(const char *format, ...)
{
	EMIT(LOG_LEVEL_WARNING, level_names[LOG_LEVEL_WARNING]);
}

void
log_info(const char *format, ...)
{
	EMIT(LOG_LEVEL_INFO, NULL);
}

void
log_debug(const char *format, ...)
{
	EMIT(LOG_LEVEL_DEBUG, level_names[LOG_LEVEL_DEBUG]);
}

void
log_trace(const char *format, ...)
{
	char text[LOG_LINE_MAX / 2];
	va_list args;

	if (target.level < LOG_LEVEL_DEBUG)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	emit_stderr(LOG_LEVEL_DEBUG, level_names[LOG_LEVEL_DEBUG], text);
}

void
log_err(const struct err *err)
{
	emit(LOG_LEVEL_ERROR, level_names[LOG_LEVEL_ERROR], err->msg);
	if (err->hint[0] != '\0')
		emit(LOG_LEVEL_ERROR, "hint", err->hint);
}
