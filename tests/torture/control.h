/*
 * What the harness tells the shim while it runs: a file of 64-bit words in the machine's order,
 * mapped by both.  tests/torture/disk.py holds the same layout.
 */
#ifndef TORTURE_CONTROL_H
#define TORTURE_CONTROL_H

#include <stdatomic.h>
#include <stdint.h>

/* Kinds of calls on what lies below the root. */
enum call {
	CALL_WRITE,       /* write, pwrite, writev, fallocate, ftruncate */
	CALL_SYNC,        /* fsync, fdatasync of a file */
	CALL_SYNC_FOLDER, /* fsync of a folder */
	CALL_NAME,        /* create, rename, link, unlink, mkdir */
	CALL_READ,        /* read, pread; see SHIM_READS */
	CALL_COUNT,
};

struct control_call {
	_Atomic uint64_t seen;       /* calls so far */
	_Atomic uint64_t fail_after; /* counts down; the call that takes it to zero fails */
	_Atomic uint64_t fail_count; /* so many calls from there on fail */
	_Atomic uint64_t fail_errno; /* with this */
	_Atomic uint64_t failed;     /* calls that failed by our hand */
	_Atomic uint64_t
	    die_before; /* counts down; the power goes before that call does anything */
	_Atomic uint64_t die_behind; /* the same, but when it has done its work */
	_Atomic uint64_t delay_us;   /* each takes so much longer */
};

struct control {
	_Atomic uint64_t is_frozen; /* the power is off: nothing below the root is done any more */
	_Atomic uint64_t died;      /* process that ran into die_before or die_behind, 0: none */
	struct control_call calls[CALL_COUNT];
};

#endif
