/*
 * The page of a configuration without the daemon behind it: for the tests of the page, and to work
 * on it.  Prints its address and serves until it is told to stop.
 *
 *   page_server -c CONFIG
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/cli/args.h"
#include "app/web/web.h"
#include "app/wire.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "os/stop.h"

static int
run_now(void *context, const char *job, struct err *err)
{
	const struct wire *wire = context;

	if (config_find_job(wire->config, job) == NULL)
		return err_set(err, ERR_NOT_FOUND, "there is no job '%.100s'", job);

	return 0;
}

static void
serve(struct web *web)
{
	(void)printf("%s\n", web_url(web));
	(void)fflush(stdout);
	while (!stop_is_requested()) {
		struct pollfd look = { .fd = web_fd(web), .events = POLLIN };
		int64_t timeout_us = web_timeout_us(web);

		(void)poll(&look, 1, timeout_us < 0 ? -1 : (int)((timeout_us + 999) / 1000));
		web_work(web);
	}
}

static int
open_and_serve(struct wire *wire, const struct args *args, struct err *err)
{
	const struct web_host host = { .wire = wire, .context = wire, .run_now = run_now };
	SCOPED(web_closep) struct web *web = NULL;
	struct web_options options = { .listen = NULL };
	SCOPED(freep) char *token = NULL;

	if (wire_init(wire, args, err) < 0 || wire_open_store(wire, args, WIRE_READ, err) < 0)
		return -1;
	if (wire->config->web.token_file != NULL)
		token = config_secret_path(wire->config, wire->config->web.token_file);
	options = (struct web_options){
		.listen = wire->config->web.listen,
		.token_path = token,
		.tls_cert = wire->config->web.tls_cert,
		.tls_key = wire->config->web.tls_key,
		.is_insecure = wire->config->web.is_insecure,
		.names = (const char *const *)wire->config->web.names.items,
	};
	web = web_open(&options, &host, err);
	if (web == NULL)
		return -1;
	serve(web);

	return 0;
}

int
main(int argc, char **argv)
{
	char verb[] = "status";
	char *words[] = { argv[0], verb, argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL,
		NULL };
	SCOPED(args_done) struct args args = { .command = NULL };
	struct wire wire = { .config = NULL };
	struct err err = ERR_INIT;
	int result;

	stop_install();
	if (args_parse(argc < 4 ? argc + 1 : 4, words, &args, &err) < 0) {
		log_err(&err);
		return EXIT_FAILURE;
	}
	result = open_and_serve(&wire, &args, &err);
	if (result < 0)
		log_err(&err);
	wire_done(&wire);

	return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
