/* How much of the machine is ours. */
#ifndef OS_CORES_H
#define OS_CORES_H

/*
 * The processors that this process may run on, at least 1: fewer than the machine has where
 * taskset, a container or CPUAffinity= of systemd says so (sched_setaffinity(2)).
 */
unsigned cores_available(void);

#endif
