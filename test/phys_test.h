/*
 * What the tests of vm_phys have in common.
 */
#ifndef TEST_PHYS_TEST_H
#define TEST_PHYS_TEST_H

/* fn(arg) panics, with all the words, and nothing is held or changed. */
void	must_panic(void (*fn)(void *), void *arg, const char *w1,
	    const char *w2, const char *w3);

#endif
