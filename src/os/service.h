/*
 * What the service manager wants to know, told over its socket as sd_notify(3) describes it.
 * Without such a manager ($NOTIFY_SOCKET) nothing is said.
 */
#ifndef OS_SERVICE_H
#define OS_SERVICE_H

#include <stdint.h>

#include "base/scope.h"

/* "READY=1\nSTATUS=..." as it stands; what cannot be sent is lost. */
void service_tell(const char *format, ...) PRINTF_LIKE(1, 2);

/* RELOADING=1 with the time that Type=notify-reload asks for. */
void service_tell_reloading(void);

/* How often at least to tell WATCHDOG=1; 0: nobody waits for it. */
int64_t service_watchdog_us(void);

/* Forget the manager: for children, whose word would be taken for ours. */
void service_forget(void);

#endif
