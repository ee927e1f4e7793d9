/*
 * Fail the nth: every site that can run out of something asks vm_fail()
 * first, so that a test can make the n-th request fail, once or for ever.
 * The hook costs one compare with a counter that is 0 outside of tests.
 */
#ifndef VM_VM_FAIL_H
#define VM_VM_FAIL_H

#include <stdbool.h>

enum vm_fail_site {
	VM_FAIL_PAGE,		/* a frame for a mapping */
	VM_FAIL_PTP,		/* a frame for a page table */
	VM_FAIL_ENTRY,		/* map entries from their store */
	VM_FAIL_SPACE,		/* address space */
	VM_FAIL_NSITES
};

/*
 * Make the nth request (counted from 1) at a site fail, and with forever all
 * after it too.  n = 0 turns it off.  The count starts anew.
 */
void	vm_fail_set(enum vm_fail_site, unsigned long n, bool forever);
unsigned long vm_fail_count(enum vm_fail_site);	/* requests since then */

/* True when this request is to fail. */
bool	vm_fail_slow(enum vm_fail_site);

extern unsigned vm_fail_armed;	/* number of sites that are set */

static inline bool
vm_fail(enum vm_fail_site site)
{
	return __builtin_expect(vm_fail_armed != 0, 0) && vm_fail_slow(site);
}

#endif
