#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "schema/err_table.h"

int
err_set(struct err *err, enum err_kind kind, const char *format, ...)
{
	va_list args;

	err->kind = kind;
	err->sys = 0;
	err->hint[0] = '\0';
	va_start(args, format);
	(void)vsnprintf(err->msg, sizeof(err->msg), format, args);
	va_end(args);

	return -1;
}

int
err_sys(struct err *err, const char *format, ...)
{
	int sys = errno;
	char text[sizeof(err->msg)];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)err_set(err, err_kind_of_errno(sys), "%s: %s", text, strerror(sys));
	err->sys = sys;
	if (err->kind == ERR_SPACE)
		return err_hint(err,
		    "Free space there ('blackstart prune' shows what retention would remove), then run again.");

	return -1;
}

int
err_wrap(struct err *err, const char *format, ...)
{
	char inner[sizeof(err->msg)];
	char outer[sizeof(err->msg)];
	va_list args;
	size_t used;

	memcpy(inner, err->msg, sizeof(inner));
	va_start(args, format);
	(void)vsnprintf(outer, sizeof(outer), format, args);
	va_end(args);

	used = strlen(outer);
	memcpy(err->msg, outer, used + 1);
	(void)snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", inner);

	return -1;
}

int
err_hint(struct err *err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(err->hint, sizeof(err->hint), format, args);
	va_end(args);

	return -1;
}

void
err_clear(struct err *err)
{
	memset(err, 0, sizeof(*err));
}

enum err_kind
err_kind_of_errno(int sys)
{
	switch (sys) {
	case ENOSPC:
	case EDQUOT:
		return ERR_SPACE;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR_PERMISSION;
	case ENOENT:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case EINTR:
		return ERR_CANCELLED;
	default:
		return ERR_IO;
	}
}

const char *
err_kind_name(enum err_kind kind)
{
	return err_table[kind].name;
}

int
err_kind_exit_code(enum err_kind kind)
{
	return err_table[kind].exit_code;
}

bool
err_kind_is_transient(enum err_kind kind)
{
	return err_table[kind].is_transient;
}
