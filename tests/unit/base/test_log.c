#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/progress.h"

/* stderr and the run's log, each caught in memory while a test says something. */
struct caught {
	int saved_stderr;
	int stderr_fd;
	int run_fd;
	char err_text[32 * 1024];
	char run_text[32 * 1024];
};

static void
begin(struct caught *caught)
{
	caught->saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	caught->stderr_fd = memfd_create("stderr", MFD_CLOEXEC);
	caught->run_fd = memfd_create("run", MFD_CLOEXEC);
	assert_true(caught->saved_stderr >= 0 && caught->stderr_fd >= 0 && caught->run_fd >= 0);
	assert_true(dup2(caught->stderr_fd, STDERR_FILENO) >= 0);
	log_set_run(caught->run_fd, "pg-1");
}

static void
read_back(int fd, char *text, size_t size)
{
	ssize_t got = pread(fd, text, size - 1, 0);

	assert_true(got >= 0);
	text[got] = '\0';
	(void)close(fd);
}

static void
end(struct caught *caught)
{
	log_set_run(-1, NULL);
	assert_true(dup2(caught->saved_stderr, STDERR_FILENO) >= 0);
	(void)close(caught->saved_stderr);
	read_back(caught->stderr_fd, caught->err_text, sizeof(caught->err_text));
	read_back(caught->run_fd, caught->run_text, sizeof(caught->run_text));
	log_set_level(LOG_LEVEL_INFO);
}

static void
assert_has(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("'%s' is not in '%s'", part, text);
}

static void
test_levels_choose_what_is_shown_but_the_run_has_all(void **state)
{
	struct caught caught;

	(void)state;
	begin(&caught);
	log_error("an %s", "error");
	log_warning("a warning");
	log_info("news");
	log_debug("detail");
	end(&caught);
	assert_string_equal(caught.err_text, "error: an error\nwarning: a warning\nnews\n");
	assert_has(caught.run_text, "Z error run=pg-1 an error\n");
	assert_has(caught.run_text, "Z warning run=pg-1 a warning\n");
	assert_has(caught.run_text, "Z info run=pg-1 news\n");
	assert_has(caught.run_text, "Z debug run=pg-1 detail\n");
	begin(&caught);
	log_set_level(LOG_LEVEL_ERROR);
	log_warning("a warning");
	end(&caught);
	assert_string_equal(caught.err_text, "");
	assert_has(caught.run_text, "a warning");
	begin(&caught);
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("detail");
	end(&caught);
	assert_string_equal(caught.err_text, "debug: detail\n");
}

static void
test_no_byte_from_outside_steers_the_terminal(void **state)
{
	struct caught caught;

	(void)state;
	begin(&caught);
	log_error("%s", "a\x1b[2Jb\x07\x7f\tc\rd\ne");
	end(&caught);
	assert_string_equal(caught.err_text, "error: a\\x1b[2Jb\\x07\\x7f\tc\\x0dd\n  e\n");
}

static void
test_an_error_is_shown_with_its_hint(void **state)
{
	struct err err = ERR_INIT;
	struct caught caught;

	(void)state;
	(void)err_set(&err, ERR_NET, "cannot connect");
	begin(&caught);
	log_err(&err);
	end(&caught);
	assert_string_equal(caught.err_text, "error: cannot connect\n");
	(void)err_hint(&err, "Check the host.");
	begin(&caught);
	log_err(&err);
	end(&caught);
	assert_string_equal(caught.err_text, "error: cannot connect\nhint: Check the host.\n");
	assert_has(caught.run_text, "Z error run=pg-1 cannot connect\n");
	assert_has(caught.run_text, "run=pg-1 hint: Check the host.\n");
}

static void
test_an_endless_line_is_cut_and_still_ends(void **state)
{
	struct caught caught;
	char endless[20000];

	(void)state;
	memset(endless, '\x01', sizeof(endless) - 1); /* each is shown as four */
	endless[sizeof(endless) - 1] = '\0';
	begin(&caught);
	log_info("%s", endless);
	log_info("next");
	end(&caught);
	assert_true(strlen(caught.err_text) < sizeof(endless));
	assert_has(caught.err_text, "\nnext\n");
	assert_has(caught.run_text, "run=pg-1 next\n");
}

static void
count_call(const struct progress *progress, void *context)
{
	unsigned *calls = context;

	(void)progress;
	(*calls)++;
}

static void
test_progress_is_told_seldom(void **state)
{
	unsigned calls = 0;
	struct progress progress = { .listener = count_call, .context = &calls };

	(void)state;
	progress_phase(&progress, "copying", 1000);
	assert_int_equal(calls, 1);
	for (unsigned i = 0; i < 1000; i++)
		progress_add(&progress, 1);
	assert_int_equal(progress.done_bytes, 1000);
	assert_int_equal(progress.total_bytes, 1000);
	assert_true(calls <= 2);
	progress.reported.us -= US_PER_S;
	progress_set(&progress, 5);
	assert_true(calls >= 2);
	assert_int_equal(progress.done_bytes, 5);
	progress_phase(NULL, "x", 1);
	progress_add(NULL, 1);
	progress_set(NULL, 1);
	progress_flush(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels_choose_what_is_shown_but_the_run_has_all),
		cmocka_unit_test(test_no_byte_from_outside_steers_the_terminal),
		cmocka_unit_test(test_an_error_is_shown_with_its_hint),
		cmocka_unit_test(test_an_endless_line_is_cut_and_still_ends),
		cmocka_unit_test(test_progress_is_told_seldom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
