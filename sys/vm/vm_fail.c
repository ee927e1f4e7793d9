/*
 * Fail the nth: see vm_fail.h.  Counters are atomic since any CPU and any
 * interrupt may ask; vm_fail_set itself is for one tester at a time.
 */
#include <vm/vm_fail.h>
#include <vm/vm_host.h>

unsigned vm_fail_armed;

static struct {
	unsigned long	f_nth;		/* 0: off */
	unsigned long	f_count;
	bool		f_forever;
} sites[VM_FAIL_NSITES];

void
vm_fail_set(enum vm_fail_site site, unsigned long n, bool forever)
{
	KASSERT((unsigned)site < VM_FAIL_NSITES);
	if (sites[site].f_nth != 0)
		vm_fail_armed--;
	sites[site].f_nth = n;
	sites[site].f_count = 0;
	sites[site].f_forever = forever;
	if (n != 0)
		vm_fail_armed++;
}

unsigned long
vm_fail_count(enum vm_fail_site site)
{
	KASSERT((unsigned)site < VM_FAIL_NSITES);
	return __atomic_load_n(&sites[site].f_count, __ATOMIC_RELAXED);
}

bool
vm_fail_slow(enum vm_fail_site site)
{
	unsigned long n;

	KASSERT((unsigned)site < VM_FAIL_NSITES);
	n = __atomic_add_fetch(&sites[site].f_count, 1, __ATOMIC_RELAXED);
	if (sites[site].f_nth == 0)
		return false;
	return n == sites[site].f_nth ||
	    (sites[site].f_forever && n > sites[site].f_nth);
}
