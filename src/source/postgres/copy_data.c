#include "source/postgres/copy_data_internal.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "source/postgres/postgres_internal.h"

enum {
	PAGE_BYTES = 4096,
	/* libpq's own buffer begins near the start of a page, and messages near its start. */
	AWAY_BYTES = PAGE_BYTES / 2,
};

void
pg_copy_place_done(struct pg_copy_place *place)
{
	free(TAKE(place->memory));
}

static char *
data_of(struct pg_copy_place *place)
{
	uintptr_t start;

	if (place->memory == NULL)
		place->memory = xmalloc(PG_COPY_MAX_BYTES + 2 * PAGE_BYTES);
	start = (uintptr_t)place->memory;

	return place->memory + (PAGE_BYTES - start % PAGE_BYTES) % PAGE_BYTES + AWAY_BYTES;
}

int
pg_copy_take(struct pg_copy_place *place, PGconn *conn, const char *what, const char **ret_data,
    size_t *ret_size, bool *ret_is_over, struct err *err)
{
	char *data = data_of(place);
	int size = libpq.PQgetlineAsync(conn, data, PG_COPY_MAX_BYTES);

	*ret_data = NULL;
	*ret_size = 0;
	/* What ended it, PQgetResult says; nothing more can come of a conversation that fell apart. */
	if (size < 0 && libpq.PQstatus(conn) == CONNECTION_BAD)
		return pg_error(conn, NULL, err, "%s", what);
	*ret_is_over = size < 0;
	if (size == PG_COPY_MAX_BYTES)
		return err_set(err, ERR_PEER,
		    "the server sent a message of %d bytes or more, which none does",
		    PG_COPY_MAX_BYTES);
	if (size > 0) {
		*ret_data = data;
		*ret_size = (size_t)size;
	}

	return 0;
}
