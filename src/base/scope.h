/*
 * Ownership at the declaration.  SCOPED(f) frees a local when it leaves scope, TAKE hands a
 * pointer on and leaves NULL behind, TAKE_FD does the same for a descriptor.  MUST_CHECK marks
 * a function whose result may not be ignored, PRINTF_LIKE one that takes a format.
 */
#ifndef BASE_SCOPE_H
#define BASE_SCOPE_H

#include <stddef.h>

#define SCOPED(cleanup_function) __attribute__((cleanup(cleanup_function)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text_at, first) __attribute__((format(printf, text_at, first)))

#define TAKE(pointer)                                                                              \
	({                                                                                         \
		__typeof__(pointer) *at_ = &(pointer);                                             \
		__typeof__(pointer) taken_ = *at_;                                                 \
		*at_ = NULL;                                                                       \
		taken_;                                                                            \
	})

#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int *fd_at_ = &(fd);                                                               \
		int taken_fd_ = *fd_at_;                                                           \
		*fd_at_ = -1;                                                                      \
		taken_fd_;                                                                         \
	})

/* Define `name_freep`, the SCOPED form of `void name_free(struct name *)`. */
#define SCOPED_FREE(type, free_function)                                                           \
	static inline void free_function##p(type **pointer)                                        \
	{                                                                                          \
		free_function(*pointer);                                                           \
	}

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* free() for SCOPED: `SCOPED(freep) char *text = NULL;`. */
void freep(void *pointer_to_pointer);

/* close() for SCOPED; a negative descriptor is left alone, errno is preserved. */
void closep(int *fd);

#endif
