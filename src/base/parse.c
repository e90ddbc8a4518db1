#include "base/parse.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

/* Read decimal digits at *cursor; false when there are none or they overflow. */
static bool
read_u64(const char **cursor, uint64_t *ret_value)
{
	const char *at = *cursor;
	uint64_t value = 0;

	if (!isdigit((unsigned char)*at))
		return false;
	for (; isdigit((unsigned char)*at); at++) {
		if (!mem_mul(value, 10, &value) || !mem_add(value, (uint64_t)(*at - '0'), &value))
			return false;
	}
	*cursor = at;
	*ret_value = value;

	return true;
}

int
parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value, struct err *err)
{
	const char *at = text;
	uint64_t value;

	if (!read_u64(&at, &value) || *at != '\0')
		return err_set(err, ERR_USAGE, "'%.60s' is not a whole number", text);
	if (value < min || value > max)
		return err_set(err, ERR_USAGE, "%.60s is not in the range %llu to %llu", text,
		    (unsigned long long)min, (unsigned long long)max);
	*ret_value = value;

	return 0;
}

int
parse_i64(const char *text, int64_t min, int64_t max, int64_t *ret_value, struct err *err)
{
	bool is_negative = text[0] == '-';
	const char *at = text + (is_negative ? 1 : 0);
	uint64_t size;
	uint64_t size_max = (uint64_t)INT64_MAX + (is_negative ? 1 : 0);
	int64_t value;

	if (!read_u64(&at, &size) || *at != '\0' || size > size_max)
		return err_set(err, ERR_USAGE, "'%.60s' is not a whole number", text);
	/* The smallest number has no positive counterpart: it is reached by way of the next one. */
	value = !is_negative ? (int64_t)size : size == 0 ? 0 : -(int64_t)(size - 1) - 1;
	if (value < min || value > max)
		return err_set(err, ERR_USAGE, "%.60s is not in the range %lld to %lld", text,
		    (long long)min, (long long)max);
	*ret_value = value;

	return 0;
}

int
parse_unsigned(const char *text, unsigned min, unsigned max, unsigned *ret_value, struct err *err)
{
	uint64_t value;

	if (parse_u64(text, min, max, &value, err) < 0)
		return -1;
	*ret_value = (unsigned)value;

	return 0;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;

	return -1;
}

int
parse_hex_u64(const char *text, size_t digits_max, uint64_t *ret_value, struct err *err)
{
	size_t size = strlen(text);
	uint64_t value = 0;

	if (size == 0 || size > digits_max || size > 16)
		return err_set(err, ERR_DATA,
		    "'%.60s' is not a hexadecimal number of 1 to %zu digits", text, digits_max);
	for (size_t i = 0; i < size; i++) {
		int digit = hex_digit(text[i]);

		if (digit < 0)
			return err_set(err, ERR_DATA, "'%.60s' is not a hexadecimal number", text);
		value = value << 4 | (uint64_t)digit;
	}
	*ret_value = value;

	return 0;
}

int
parse_bool(const char *text, bool *ret_value, struct err *err)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(text, words[i]) == 0) {
			*ret_value = i % 2 == 1;
			return 0;
		}
	}

	return err_set(err, ERR_USAGE, "'%.60s' is neither true nor false", text);
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* The factor of the unit at *cursor, or 0; the longest name that fits wins. */
static uint64_t
read_unit(const char **cursor, const struct unit *units, size_t count)
{
	const struct unit *best = NULL;

	for (size_t i = 0; i < count; i++) {
		size_t size = strlen(units[i].name);

		if (strncmp(*cursor, units[i].name, size) == 0 &&
		    (best == NULL || size > strlen(best->name)))
			best = &units[i];
	}
	if (best == NULL)
		return 0;
	*cursor += strlen(best->name);

	return best->factor;
}

/* Read ".5" as a fraction in thousandths. */
static bool
read_thousandths(const char **cursor, uint64_t *ret_thousandths)
{
	uint64_t scale = 100;

	*ret_thousandths = 0;
	if (**cursor != '.')
		return true;
	(*cursor)++;
	if (!isdigit((unsigned char)**cursor))
		return false;
	for (; isdigit((unsigned char)**cursor); (*cursor)++, scale /= 10)
		*ret_thousandths += (uint64_t)(**cursor - '0') * scale;

	return true;
}

int
parse_size_bytes(const char *text, uint64_t *ret_bytes, struct err *err)
{
	static const struct unit units[] = {
		{ "B", 1 },
		{ "kB", 1000 },
		{ "KB", 1000 },
		{ "K", 1024 },
		{ "k", 1024 },
		{ "KiB", 1024 },
		{ "MB", 1000000 },
		{ "M", 1 << 20 },
		{ "MiB", 1 << 20 },
		{ "GB", 1000000000 },
		{ "G", 1 << 30 },
		{ "GiB", 1 << 30 },
		{ "TB", 1000000000000 },
		{ "T", UINT64_C(1) << 40 },
		{ "TiB", UINT64_C(1) << 40 },
	};
	const char *at = text;
	uint64_t whole, thousandths, factor, bytes;

	if (!read_u64(&at, &whole) || !read_thousandths(&at, &thousandths))
		return err_set(err, ERR_USAGE, "'%.60s' is not a size", text);
	while (*at == ' ')
		at++;
	factor = *at == '\0' ? 1 : read_unit(&at, units, ARRAY_SIZE(units));
	if (factor == 0 || *at != '\0') {
		(void)err_set(err, ERR_USAGE, "'%.60s' is not a size", text);
		return err_hint(err, "Write a number and a unit, like 64KiB, 500MB or 20GiB.");
	}
	if (!mem_mul(whole, factor, &bytes) || !mem_add(bytes, thousandths * factor / 1000, &bytes))
		return err_set(err, ERR_USAGE, "size '%.60s' is too large", text);
	*ret_bytes = bytes;

	return 0;
}

int
parse_duration_us(const char *text, int64_t *ret_us, struct err *err)
{
	static const struct unit units[] = {
		{ "ms", 1000 },
		{ "s", 1000000 },
		{ "sec", 1000000 },
		{ "m", 60000000 },
		{ "min", 60000000 },
		{ "h", UINT64_C(3600000000) },
		{ "d", UINT64_C(86400000000) },
		{ "w", UINT64_C(604800000000) },
		{ "y", UINT64_C(31557600000000) },
	};
	const char *at = text;
	uint64_t total = 0;

	do {
		uint64_t value, factor;

		if (!read_u64(&at, &value) ||
		    (factor = read_unit(&at, units, ARRAY_SIZE(units))) == 0) {
			(void)err_set(err, ERR_USAGE, "'%.60s' is not a duration", text);
			return err_hint(err,
			    "Write a number and a unit: ms, s, min, h, d, w or y, like 30d or 1h30min.");
		}
		if (!mem_mul(value, factor, &value) || !mem_add(total, value, &total) ||
		    total > (uint64_t)INT64_MAX)
			return err_set(err, ERR_USAGE, "duration '%.60s' is too long", text);
	} while (*at != '\0');
	*ret_us = (int64_t)total;

	return 0;
}

int
parse_percent(const char *text, unsigned *ret_percent, struct err *err)
{
	const char *at = text;
	uint64_t value;

	if (!read_u64(&at, &value) || value > 100 || (strcmp(at, "") != 0 && strcmp(at, "%") != 0))
		return err_set(err, ERR_USAGE, "'%.60s' is not a percentage from 0%% to 100%%",
		    text);
	*ret_percent = (unsigned)value;

	return 0;
}

int
parse_hex_bytes(const char *text, uint8_t *ret_data, size_t size, struct err *err)
{
	if (strlen(text) != size * 2)
		return err_set(err, ERR_DATA, "'%.80s' is not %zu hexadecimal digits", text,
		    size * 2);
	for (size_t i = 0; i < size; i++) {
		int high = hex_digit(text[2 * i]);
		int low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return err_set(err, ERR_DATA, "'%.80s' is not hexadecimal", text);
		ret_data[i] = (uint8_t)(high << 4 | low);
	}

	return 0;
}

const char *
format_bytes(uint64_t bytes, char *text)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	double value = (double)bytes;
	size_t unit = 0;

	if (bytes < 1024) {
		(void)snprintf(text, 32, "%u B", (unsigned)bytes);
		return text;
	}
	for (value /= 1024; value >= 1000 && unit + 1 < ARRAY_SIZE(units); unit++)
		value /= 1024;
	(void)snprintf(text, 32, value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);

	return text;
}
