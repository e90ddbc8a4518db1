/*
 * Functions nobody here may call. The build puts this file in front of every
 * source, and a call becomes an error that names what to use in its place.
 * Declared with an attribute rather than poisoned, because system headers may
 * go on mentioning them.
 */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#include <stddef.h>

#pragma GCC diagnostic error "-Wdeprecated-declarations"

#define BANNED(instead) __attribute__((deprecated("banned: " instead)))

/* The C library may define these inline, so the attribute must come first. */
extern char *strcpy(char *to, const char *from) BANNED("use struct str, or memcpy with a size");
extern char *strcat(char *to, const char *from) BANNED("use struct str");
extern char *strncpy(char *to, const char *from, size_t size) BANNED("use struct str or snprintf");
extern int sprintf(char *to, const char *format, ...) BANNED("use struct str or snprintf");
extern int atoi(const char *text) BANNED("use base/parse");

#include <alloca.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef alloca
#undef sprintf

extern void *alloca(size_t size) BANNED("use a buffer of fixed size, or the heap");
extern char *strtok(char *text, const char *separators) BANNED("use base/parse or strtok_r");
extern struct tm *gmtime(const time_t *time) BANNED("use base/clock");
extern struct tm *localtime(const time_t *time) BANNED("use sched/calendar or localtime_r");
extern int system(const char *command) BANNED("use os/proc");
extern FILE *popen(const char *command, const char *mode) BANNED("use os/proc");
extern void (*signal(int number, void (*handler)(int)))(int) BANNED("use sigaction");

#undef BANNED

#endif
