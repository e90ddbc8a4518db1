#include "app/web/request.h"

#include <string.h>

const char *
request_query(const struct request *request, const char *name)
{
	return request->find(request, FIELD_QUERY, name);
}

const char *
request_header(const struct request *request, const char *name)
{
	return request->find(request, FIELD_HEADER, name);
}

const char *
request_cookie(const struct request *request, const char *name)
{
	return request->find(request, FIELD_COOKIE, name);
}

/* A quality of 0 says no; nobody who asks for a page sends it, so any mention is a yes. */
bool
request_takes_gzip(const struct request *request)
{
	const char *accepted = request_header(request, "Accept-Encoding");

	return accepted != NULL && strcasestr(accepted, "gzip") != NULL &&
	    strcasestr(accepted, "gzip;q=0") == NULL;
}
