#include "stream/side_task.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "stream/thread_internal.h"

struct side_task {
	bool is_running;
	pthread_t thread;
	int (*work)(void *context, struct err *err);
	void *context;
	int result;
	struct err err;
};

static void *
side_task_main(void *argument)
{
	struct side_task *task = argument;

	task->result = task->work(task->context, &task->err);

	return NULL;
}

struct side_task *
side_task_begin(int (*work)(void *context, struct err *err), void *context)
{
	struct side_task *task = xcalloc(1, sizeof(*task));

	task->work = work;
	task->context = context;
	task->is_running = thread_start(&task->thread, side_task_main, task) == 0;
	if (!task->is_running)
		(void)side_task_main(task);

	return task;
}

int
side_task_wait(struct side_task *task, struct err *err)
{
	int result;

	if (task == NULL)
		return 0;
	if (task->is_running)
		(void)pthread_join(task->thread, NULL);
	result = task->result;
	if (result < 0)
		*err = task->err;
	free(task);

	return result;
}
