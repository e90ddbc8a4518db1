/*
 * Backups of the kind "aof": the append-only file that a server of this machine keeps, taken as
 * files.  No server need run, and none is disturbed when it does.
 */
#ifndef SOURCE_REDIS_AOF_AOF_H
#define SOURCE_REDIS_AOF_AOF_H

#include "base/scope.h"

struct backup_request;
struct backup_view;
struct err;
struct intake;
struct manifest;
struct redis;
struct restore_plan;
struct restore_report;
struct restore_request;
struct verify_report;
struct verify_request;

int redis_aof_backup(struct redis *redis, const struct backup_request *request,
    struct intake *intake, struct manifest *draft, struct err *err) MUST_CHECK;
int redis_aof_verify(const struct backup_view *view, const struct verify_request *request,
    struct verify_report *report, struct err *err) MUST_CHECK;
int redis_aof_plan(const struct backup_view *view, const struct restore_request *request,
    struct restore_plan *plan, struct err *err) MUST_CHECK;
int redis_aof_restore(const struct backup_view *view, const struct restore_request *request,
    struct restore_report *report, struct err *err) MUST_CHECK;

#endif
