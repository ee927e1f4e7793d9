/*
 * vm_map where there is nothing to do, or hardly anything: what a broken
 * condition would do besides.
 */
#include <stdlib.h>

#include <libkern/errno.h>
#include <vm/pmap.h>
#include <vm/vm_fail.h>
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

/* A map's spare entry can be refused, and then the store is not asked. */
START_TEST(spare_refused)
{
	const struct vm_map_request vr = { .vr_size = PAGE_SIZE };
	struct vm_map m;
	vaddr_t va, other;

	must(vm_map_init(&m, "spare", MAP_ROUND, MAP_ROUND + KB4(16),
	    VM_MAP_KERNEL, NULL) == 0);
	must(vm_map_alloc(&m, &vr, &va) == 0);
	must(vm_map_free(&m, va, PAGE_SIZE) == 0);
	must(m.vm_spare != NULL);
	vm_fail_set(VM_FAIL_ENTRY, 1, false);
	must(vm_map_alloc(&m, &vr, &other) == ENOMEM);
	vm_fail_set(VM_FAIL_ENTRY, 0, false);
	must(m.vm_spare != NULL);
	must(vm_map_alloc(&m, &vr, &other) == 0 && other == va);
	must(vm_map_destroy(&m) == 1);
}
END_TEST

/*
 * An alignment so large that no class of holes is sure to do: the smaller
 * classes are tried, and the second has the one place that there is.
 */
START_TEST(no_class_is_sure)
{
	const vaddr_t middle = (vaddr_t)1 << (VM_MAP_PAGE_BITS + 11);
	const struct vm_map_request vr = {
		.vr_size = 2 * PAGE_SIZE,
		.vr_align = middle,
	};
	struct vm_map m;
	vaddr_t va;

	must(vm_map_init(&m, "middle", MAP_MID, middle + KB4(64),
	    VM_MAP_KERNEL, NULL) == 0);
	/* Holes of 2 pages, and of 3 with the multiple in them. */
	must(vm_map_insert(&m, MAP_MID, MAP_MID + KB4(8), VM_PROT_READ, "a")
	    == 0);
	must(vm_map_insert(&m, MAP_MID + KB4(10), middle - KB4(1),
	    VM_PROT_READ, "b") == 0);
	must(vm_map_insert(&m, middle + KB4(2), middle + KB4(64),
	    VM_PROT_READ, "c") == 0);
	must(vm_map_alloc(&m, &vr, &va) == 0);
	must(va == middle);
	must(m.vm_stats.vms_last_resort == 0);
	must(vm_map_destroy(&m) == 4);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, destroy_of_nothing);
	tcase_add_test(tc, spare_refused);
	tcase_add_test(tc, no_class_is_sure);
}

int
main(void)
{
	return map_test_main("vm_map_corner", add_tests);
}
