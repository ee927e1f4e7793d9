/*
 * vm_map where there is nothing to do, or hardly anything: what a broken
 * condition would do besides.
 */
#include <stdlib.h>

#include <vm/pmap.h>
#include <vm/vm_map_impl.h>

#include "host.h"
#include "map_test.h"

static uint64_t
mutexes(void)
{
	return host_locks()->hl_mtx;
}

/* Nothing to unmap, no entry to give back: neither pmap nor store is asked. */
START_TEST(destroy_of_nothing)
{
	struct vm_map m;
	struct pmap *pm = pmap_create();
	uint64_t was;

	must(pm != NULL);
	must(vm_map_init(&m, "empty", VM_MIN_ADDRESS, VM_MAX_ADDRESS,
	    VM_MAP_USER, pm) == 0);
	was = mutexes();
	must(vm_map_destroy(&m) == 0);
	must(mutexes() == was);
	entry_put(NULL);
	must(mutexes() == was);
	must(vm_map_insert(&m, KB4(16), KB4(17), VM_PROT_READ, "x") == 0);
	was = mutexes();
	must(vm_map_destroy(&m) == 1);
	must(mutexes() == was + 2);
	pmap_destroy(pm);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, destroy_of_nothing);
}

int
main(void)
{
	return map_test_main("vm_map_corner", add_tests);
}
