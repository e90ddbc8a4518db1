/*
 * libpq, which is loaded with the first connection (base/library.h): its functions are called as
 * `libpq.PQexec(...)`, and only with a connection or a result that exists.
 */
#ifndef SOURCE_POSTGRES_LIBPQ_INTERNAL_H
#define SOURCE_POSTGRES_LIBPQ_INTERNAL_H

#include <libpq-fe.h>

#include "base/library.h"

struct err;

/* Every function of libpq that is used. */
/* clang-format off */
#define LIBPQ_FUNCTIONS(F) \
	F(PQbackendPID) F(PQcancel) F(PQclear) F(PQconnectPoll) \
	F(PQconnectStartParams) F(PQconnectionNeedsPassword) F(PQconsumeInput) \
	F(PQerrorMessage) F(PQexec) F(PQfinish) F(PQflush) F(PQfname) F(PQfreeCancel) \
	F(PQfreemem) F(PQftype) F(PQgetCancel) F(PQgetCopyData) F(PQgetResult) \
	F(PQgetisnull) F(PQgetlength) F(PQgetlineAsync) F(PQgetvalue) F(PQhostaddr) F(PQisBusy) \
	F(PQnfields) F(PQntuples) F(PQparameterStatus) F(PQputCopyData) \
	F(PQputCopyEnd) F(PQresStatus) F(PQreset) F(PQresultErrorField) \
	F(PQresultErrorMessage) F(PQresultStatus) F(PQsendQuery) F(PQsendQueryParams) \
	F(PQserverVersion) F(PQsetErrorVerbosity) F(PQsetNoticeReceiver) \
	F(PQsetnonblocking) F(PQsocket) F(PQsslAttribute) F(PQsslInUse) F(PQstatus) \
	F(PQtransactionStatus)
/* clang-format on */

struct libpq {
	LIBPQ_FUNCTIONS(LIBRARY_MEMBER)
};

extern struct libpq libpq;

/* Before a connection is made.  Costs nothing when it was loaded before. */
int libpq_load(struct err *err) MUST_CHECK;

#endif
