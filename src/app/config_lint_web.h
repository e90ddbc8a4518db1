/* What is wrong with the section `web` that its keys alone do not tell. */
#ifndef APP_CONFIG_LINT_WEB_H
#define APP_CONFIG_LINT_WEB_H

struct config;
struct config_problems;

void config_lint_web(const struct config *config, struct config_problems *problems);

#endif
