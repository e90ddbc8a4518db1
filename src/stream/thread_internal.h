/* How the threads of stream/ are started. */
#ifndef STREAM_THREAD_INTERNAL_H
#define STREAM_THREAD_INTERNAL_H

#include <pthread.h>

/*
 * A thread that gets no signals: they stay with the one that asks the stop flag.  0, or the errno
 * that says why there is none.
 */
int thread_start(pthread_t *ret_thread, void *(*run)(void *), void *argument);

#endif
