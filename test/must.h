/*
 * ck_assert for the innermost loops.  Check's own tells the parent process
 * about every assertion that it passes, over a pipe: a test that makes ten
 * million of them waits for the pipe, not for the code under test.
 */
#ifndef TEST_MUST_H
#define TEST_MUST_H

#include <check.h>

#define must(e) \
	((e) ? (void)0 : ck_abort_msg("%s is false (line %d)", #e, __LINE__))

#endif
