#include "os/cores.h"

#include <sched.h>
#include <unistd.h>

unsigned
cores_available(void)
{
	cpu_set_t set;
	long online;

	/* It fails where the kernel knows of more processors than the set has room for. */
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned)CPU_COUNT(&set);
	online = sysconf(_SC_NPROCESSORS_ONLN);

	return online < 1 ? 1 : (unsigned)online;
}
