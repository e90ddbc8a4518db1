/* The receiver: stays attached to a server like a replica, and keeps what it sends. */
#ifndef SOURCE_REDIS_STREAM_FOLLOW_H
#define SOURCE_REDIS_STREAM_FOLLOW_H

#include "base/scope.h"

struct archive;
struct err;
struct follow_request;
struct redis;

/*
 * Keep the stream in the archive until a stop (0) or what cannot pass by itself.  What arrives is
 * durable within about a second.  Nothing is ever acknowledged (REPLCONF ACK 0 each second keeps
 * the link): the server never counts us as a replica that holds its data, for WAIT or FAILOVER.
 */
int redis_follow(struct redis *redis, const struct follow_request *request, struct archive *archive,
    struct err *err) MUST_CHECK;

#endif
