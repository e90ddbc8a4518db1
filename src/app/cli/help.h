/* What `--help` shows: examples first, then the options; made from schema/commands.yaml. */
#ifndef APP_CLI_HELP_H
#define APP_CLI_HELP_H

#include <stdio.h>

struct args;

/* Help for the verb or group of `args`, or the overview of all verbs; at most 80 columns. */
void help_print(const struct args *args, FILE *to);

#endif
