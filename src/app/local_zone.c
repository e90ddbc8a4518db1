#include "app/local_zone.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/zone.h"

struct zone *
local_zone_open(struct err *err)
{
	const char *name = getenv("TZ");
	char target[1024];
	ssize_t size;

	if (name != NULL && name[0] != '\0')
		return zone_open(name[0] == ':' ? name + 1 : name, err);
	size = readlink("/etc/localtime", target, sizeof(target) - 1);
	if (size > 0) {
		struct err ignored = ERR_INIT;
		struct zone *zone;

		target[size] = '\0';
		name = strstr(target, "zoneinfo/");
		zone = name != NULL ? zone_open(name + strlen("zoneinfo/"), &ignored) : NULL;
		if (zone != NULL)
			return zone;
	}

	return zone_open("UTC", err);
}
