/*
 * The patterns that Redis has for names of keys, over any bytes: * ? [abc] [a-z] [^a] and \ before
 * a character that stands for itself.  Pure.  https://redis.io/docs/latest/commands/keys/
 */
#ifndef SOURCE_REDIS_KEYED_GLOB_H
#define SOURCE_REDIS_KEYED_GLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes at most pattern times text steps, whatever the pattern. */
bool glob_matches(const char *pattern, const uint8_t *text, size_t size);

#endif
