/* What is wrong with the alerts of a configuration although each key is right. */
#ifndef APP_NOTIFY_ALERT_LINT_H
#define APP_NOTIFY_ALERT_LINT_H

struct config;
struct config_problems;

void alert_lint(const struct config *config, struct config_problems *problems);

#endif
