/*
 * With no entry in reserve the store could not grow: the request that takes
 * the last entry ends it.  So the one that vm_map_entry.c keeps is needed.
 *
 * The store is compiled in here, without its reserve, in the place of
 * libvm's.
 */
#define ENTRY_RESERVE	0
#include "../sys/vm/vm_map_entry.c"

#include "host.h"
#include "must.h"

START_TEST(last_entry_ends_growing)
{
	static struct vm_map map;
	vaddr_t va = 0x10000000;

	host_boot(2048);
	must(vm_map_init(&map, "map", va, 2 * va, VM_MAP_KERNEL, NULL) == 0);
	for (; store.stats.es_free > 0; va += 2 * PAGE_SIZE)
		must(vm_map_insert(&map, va, va + PAGE_SIZE, VM_PROT_RW,
		    "fill") == 0);
	must(vm_phys_nfree() > 1000);
	must(vm_map_insert(&map, va, va + PAGE_SIZE, VM_PROT_RW, "one") ==
	    ENOMEM);
	must(store.stats.es_pages == 0);
	must(vm_map_check(&map) == NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("vm_map_entry0");
	TCase *tc = tcase_create("no reserve");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, last_entry_ends_growing);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
