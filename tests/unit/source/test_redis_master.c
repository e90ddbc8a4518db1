/* The master's side of a link, against sockets that say what a replica says, and what it would not. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "net/listener.h"
#include "source/redis/master/link.h"
#include "source/redis/rdb_shape.h"
#include "stream/sink.h"

#define TOKEN "token-1234"
#define ID "0123456789abcdef0123456789abcdef01234567"
#define PING "*1\r\n$4\r\nPING\r\n"
#define AUTH(word, size) "*2\r\n$4\r\nAUTH\r\n$" size "\r\n" word "\r\n"
#define CAPA "*5\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$3\r\neof\r\n$4\r\ncapa\r\n$6\r\npsync2\r\n"
#define PSYNC "*3\r\n$5\r\nPSYNC\r\n$40\r\n" ID "\r\n$1\r\n7\r\n"
#define ACK(offset, size) "*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$" size "\r\n" offset "\r\n"

enum { SHORT_MS = 300, TEXT_BYTES = 4096 };

struct scene {
	struct listener *listener;
	struct master_link_options options;
};

static struct scene
open_scene(void)
{
	const struct listener_options at = { .address = "127.0.0.1", .cancel_fd = -1 };
	struct err err = ERR_INIT;
	struct scene scene = {
		.listener = listener_open(&at, &err),
		.options = { .token = TOKEN,
		    .peer = "127.0.0.1",
		    .id = ID,
		    .timeout_ms = SHORT_MS },
	};

	assert_non_null(scene.listener);

	return scene;
}

/* A connection on which that has been said already. */
static int
say_first(const struct scene *scene, const char *text, size_t size)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)listener_port(scene->listener)),
	};
	const struct timeval patience = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET, "127.0.0.1", &at.sin_addr), 1);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(write(fd, text, size), size);

	return fd;
}

/* All that was said to it, up to the end of the connection or so many bytes. */
static const char *
heard(int fd, char text[TEXT_BYTES], size_t wanted)
{
	size_t size = 0;

	while (size < wanted) {
		ssize_t got = read(fd, text + size, TEXT_BYTES - 1 - size);

		if (got <= 0)
			break;
		size += (size_t)got;
	}
	text[size] = '\0';

	return text;
}

static void
test_a_replica_gets_file_and_commands(void **state)
{
	static const char words[] = PING AUTH(TOKEN, "10") CAPA PSYNC "\n\n" ACK("1", "1");
	static const char begin[] = "+PONG\r\n+OK\r\n+OK\r\n+FULLRESYNC " ID " 1\r\n$EOF:";
	struct scene scene = open_scene();
	int fd = say_first(&scene, words, sizeof(words) - 1);
	struct err err = ERR_INIT;
	struct master_link *link = master_link_accept(scene.listener, &scene.options, &err);
	char text[TEXT_BYTES];
	struct sink *sink;
	const char *mark;

	(void)state;
	assert_non_null(link);
	sink = master_link_file_sink(link, &err);
	assert_int_equal(sink_write(sink, "the file", 8, &err), 0);
	assert_int_equal(sink_finish(sink, &err), 0);
	sink_free(sink);
	heard(fd, text, sizeof(begin) - 1 + 40 + 2 + 8 + 40);
	assert_memory_equal(text, begin, sizeof(begin) - 1);
	mark = text + sizeof(begin) - 1;
	assert_memory_equal(mark + 40, "\r\nthe file", 10);
	assert_memory_equal(mark + 50, mark, 40);
	assert_int_equal(strlen(mark), 90);

	assert_false(master_link_is_loaded(link));
	assert_int_equal(master_link_hear(link, SHORT_MS, &err), 0);
	assert_true(master_link_is_loaded(link));
	assert_int_equal(master_link_applied(link), 1);

	sink = master_link_stream_sink(link);
	assert_int_equal(sink_write(sink, PING PING, 2 * (sizeof(PING) - 1), &err), 0);
	assert_int_equal(sink_finish(sink, &err), 0);
	sink_free(sink);
	assert_int_equal(master_link_sent(link), 29);
	assert_string_equal(heard(fd, text, 28), PING PING);
	assert_int_equal(master_link_ping(link, &err), 0);
	assert_int_equal(master_link_ask(link, &err), 0);
	assert_int_equal(master_link_sent(link), 29 + 14 + 37);
	assert_int_equal(write(fd, ACK("29", "2"), sizeof(ACK("29", "2")) - 1),
	    sizeof(ACK("29", "2")) - 1);
	assert_int_equal(master_link_hear(link, SHORT_MS, &err), 0);
	assert_int_equal(master_link_applied(link), 29);
	/* Nothing comes: that is no error; a connection that has ended is one. */
	assert_int_equal(master_link_hear(link, 0, &err), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(master_link_hear(link, SHORT_MS, &err), -1);
	assert_int_equal(err.kind, ERR_NET);
	master_link_free(link);
	listener_free(scene.listener);
}

/* Everybody is turned away but the one who knows the token, whoever comes first. */
static void
test_a_stranger_gets_nothing(void **state)
{
	static const char *const strangers[] = {
		PING PSYNC,
		PING AUTH("token-1235", "10") PSYNC,
		PING AUTH("", "0") PSYNC,
		PING AUTH("token-12345", "11") PSYNC,
		"*1\r\n$4\r\nAUTH\r\n" PSYNC,
		CAPA PSYNC,
		"\x16\x03\x01\x02\x01\x01",
		"GET / HTTP/1.1\r\n\r\n",
	};
	static const char replica[] = PING AUTH(TOKEN, "10") PSYNC;
	enum { COUNT = sizeof(strangers) / sizeof(strangers[0]) };
	struct scene scene = open_scene();
	struct master_link *link;
	char text[TEXT_BYTES];
	struct err err = ERR_INIT;
	int fds[COUNT];
	int fd;

	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		fds[i] = say_first(&scene, strangers[i], strlen(strangers[i]));
	fd = say_first(&scene, replica, sizeof(replica) - 1);
	scene.options.timeout_ms = 60 * 1000;
	link = master_link_accept(scene.listener, &scene.options, &err);
	assert_non_null(link);
	for (size_t i = 0; i < COUNT; i++) {
		assert_null(strstr(heard(fds[i], text, TEXT_BYTES - 1), "FULLRESYNC"));
		assert_int_equal(close(fds[i]), 0);
	}
	assert_non_null(strstr(heard(fd, text, 70), "FULLRESYNC"));
	assert_int_equal(close(fd), 0);
	master_link_free(link);
	listener_free(scene.listener);
}

static void
test_who_comes_from_elsewhere_or_not_at_all(void **state)
{
	static const char replica[] = PING AUTH(TOKEN, "10") PSYNC;
	struct scene scene = open_scene();
	struct err err = ERR_INIT;
	char text[TEXT_BYTES];
	int fd;

	(void)state;
	assert_null(master_link_accept(scene.listener, &scene.options, &err));
	assert_int_equal(err.kind, ERR_TIMEOUT);
	err_clear(&err);
	scene.options.peer = "192.0.2.9";
	fd = say_first(&scene, replica, sizeof(replica) - 1);
	assert_null(master_link_accept(scene.listener, &scene.options, &err));
	assert_int_equal(err.kind, ERR_AUTH);
	assert_string_equal(heard(fd, text, 1), "");
	assert_int_equal(close(fd), 0);
	listener_free(scene.listener);
}

static void
test_an_address_that_is_not_ours(void **state)
{
	const struct listener_options at = { .address = "192.0.2.1", .cancel_fd = -1 };
	const struct listener_options name = { .address = "localhost", .cancel_fd = -1 };
	struct err err = ERR_INIT;

	(void)state;
	assert_null(listener_open(&at, &err));
	assert_int_equal(err.kind, ERR_CONFIG);
	assert_null(listener_open(&name, &err));
	assert_int_equal(err.kind, ERR_CONFIG);
}

static void
test_which_server_loads_what(void **state)
{
	static const struct {
		unsigned version;
		bool is_valkey;
		const char *family;
		const char *server;
		bool loads;
	} cases[] = {
		{ 9, false, "redis", "5.0.14", true },
		{ 9, false, "redis", "4.0.9", false },
		{ 10, false, "redis", "6.2.14", false },
		{ 10, false, "redis", "7.0.15", true },
		{ 11, false, "redis", "7.0.15", false },
		{ 11, false, "redis", "7.2.0", true },
		{ 12, false, "redis", "7.2.4", false },
		{ 12, false, "redis", "8.0.2", true },
		{ 13, false, "redis", "8.0.2", false },
		{ 13, false, "redis", "8.6.0", true },
		{ 80, true, "redis", "8.6.0", false },
		{ 11, false, "valkey", "8.1.1", true },
		{ 12, false, "valkey", "8.1.1", false },
		{ 80, true, "valkey", "8.1.1", false },
		{ 80, true, "valkey", "9.0.0", true },
		{ 12, false, "valkey", "9.0.0", false },
		{ 10, false, "redis", "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(rdb_version_loads_into(cases[i].version, cases[i].is_valkey,
				     cases[i].family, cases[i].server),
		    cases[i].loads);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_replica_gets_file_and_commands),
		cmocka_unit_test(test_a_stranger_gets_nothing),
		cmocka_unit_test(test_who_comes_from_elsewhere_or_not_at_all),
		cmocka_unit_test(test_an_address_that_is_not_ours),
		cmocka_unit_test(test_which_server_loads_what),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
