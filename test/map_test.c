#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "map_test.h"

#define NFRAMES		16384	/* 64 MB: entries are all that takes any */

void
layout_init(struct layout *lo, const char *title, vaddr_t base,
    const unsigned *npages, unsigned nholes)
{
	vaddr_t va = base;
	unsigned i;

	must(nholes <= MAXHOLES);
	for (i = 0; i < nholes; i++) {
		lo->lo_hole[i] = va;
		va += KB4(npages[i] + 1);
	}
	lo->lo_nholes = nholes;
	twin_init(&lo->lo_twin, title, base, va, VM_MAP_KERNEL);
	lo->lo_twin.t_lazy = true;
	for (i = 0; i < nholes; i++) {
		va = lo->lo_hole[i] + KB4(npages[i]);
		must(twin_insert(&lo->lo_twin, va, va + PAGE_SIZE,
		    VM_PROT_RW, "wall") == 0);
	}
	lo->lo_twin.t_lazy = false;
	twin_compare(&lo->lo_twin);
}

void
layout_fini(struct layout *lo)
{
	twin_fini(&lo->lo_twin);
}

void
layout_expect(struct layout *lo, unsigned npages, vaddr_t want)
{
	struct vm_map_request r = { .vr_size = KB4(npages) };
	vaddr_t addr;

	must(twin_alloc(&lo->lo_twin, &r, &addr) == 0);
	if (addr != want)
		ck_abort_msg("%s: %u pages at %#lx, not %#lx",
		    lo->lo_twin.t_title, npages, addr, want);
}

static void
fail_check(const char *story)
{
	ck_abort_msg("%s", story);
}

static void
setup(void)
{
	twin_fail_hook = fail_check;
	host_boot(NFRAMES);
}

int
map_test_main(const char *name, map_tests_t *add)
{
	Suite *s = suite_create(name);
	TCase *tc = tcase_create(name);
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, NULL);
	add(tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
