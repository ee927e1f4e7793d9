/*
 * A vm_map with a pmap: what is removed, protected or dropped is so in the
 * page tables too, and nothing else is.  Frames stay the caller's.
 */
#include <stdlib.h>

#include <vm/pmap.h>
#include <vm/vm_phys.h>

#include "host.h"
#include "map_test.h"

#define NPAGES	16

static struct vm_map m;
static struct pmap *pm;
static paddr_t frame[NPAGES];
static vaddr_t base;

/* Pages [first, last) of the map, each showing a frame of its own. */
static void
populate(unsigned first, unsigned last)
{
	unsigned i;

	must(vm_map_insert(&m, base + KB4(first), base + KB4(last),
	    VM_PROT_RW, "ann") == 0);
	for (i = first; i < last; i++) {
		must(vm_phys_alloc(VM_PAGE_USER, &frame[i]) == 0);
		must(pmap_enter(pm, base + KB4(i), frame[i],
		    VM_PROT_RW) == 0);
	}
}

/* Page i shows its frame, or nothing. */
static void
expect_mapped(unsigned i, bool mapped)
{
	paddr_t pa = 0;

	if (pmap_extract(pm, base + KB4(i), &pa) != mapped)
		ck_abort_msg("page %u is %smapped", i, mapped ? "not " : "");
	must(!mapped || pa == frame[i]);
}

static void
release(unsigned first, unsigned last)
{
	unsigned i;

	for (i = first; i < last; i++)
		vm_phys_free(frame[i]);
}

static void
begin(unsigned flags)
{
	pm = pmap_create();
	must(pm != NULL);
	base = VM_MIN_ADDRESS + KB4(1024 - 8);	/* across a page table */
	must(vm_map_init(&m, "user", base, base + KB4(NPAGES), flags,
	    pm) == 0);
}

static void
finish(pfn_t nfree)
{
	must(host_pmap_resident(pm) == 0);
	pmap_destroy(pm);
	must(vm_phys_nfree() == nfree);
}

START_TEST(removed)
{
	pfn_t nfree = vm_phys_nfree();
	unsigned i;

	begin(VM_MAP_USER);
	populate(2, 6);
	populate(7, 12);
	must(vm_map_remove(&m, base + KB4(3), base + KB4(9)) == 0);
	for (i = 0; i < NPAGES; i++)
		expect_mapped(i, i == 2 || (i >= 9 && i < 12));
	release(3, 6);
	release(7, 9);
	must(vm_map_remove(&m, base, base + KB4(NPAGES)) == 0);
	for (i = 0; i < NPAGES; i++)
		expect_mapped(i, false);
	release(2, 3);
	release(9, 12);
	must(vm_map_destroy(&m) == 0);
	finish(nfree);
}
END_TEST

/* What fails leaves the page tables alone. */
START_TEST(not_removed)
{
	pfn_t nfree = vm_phys_nfree();
	unsigned i;

	begin(VM_MAP_USER);
	populate(0, 8);
	must(vm_map_wire(&m, base + KB4(3), base + KB4(4)) == 0);
	must(vm_map_remove(&m, base, base + KB4(8)) == EBUSY);
	must(vm_map_remove(&m, base, base) == EINVAL);
	must(vm_map_protect(&m, base, base + KB4(9), 0) == EFAULT);
	for (i = 0; i < 8; i++)
		expect_mapped(i, true);
	must(vm_map_destroy(&m) != 0);		/* wired or not */
	for (i = 0; i < 8; i++)
		expect_mapped(i, false);
	release(0, 8);
	finish(nfree);
}
END_TEST

START_TEST(freed)
{
	pfn_t nfree = vm_phys_nfree();
	unsigned i;

	begin(VM_MAP_KERNEL);
	populate(0, 4);
	populate(4, 8);
	must(vm_map_free(&m, base + KB4(4), KB4(3)) == EINVAL);
	expect_mapped(4, true);
	must(vm_map_free(&m, base + KB4(4), KB4(4)) == 0);
	for (i = 0; i < 8; i++)
		expect_mapped(i, i < 4);
	release(4, 8);
	must(vm_map_destroy(&m) == 1);
	release(0, 4);
	finish(nfree);
}
END_TEST

/* Was the last thing that happened to page tables this, and a flush? */
static bool
last_event(enum host_event_kind kind, unsigned first, unsigned last)
{
	const struct host_event *he = host_event(host_nevents() - 2);

	return he->he_kind == kind && he->he_pmap == pm &&
	    he->he_sva == base + KB4(first) &&
	    he->he_eva == base + KB4(last);
}

START_TEST(protected)
{
	pfn_t nfree = vm_phys_nfree();
	uint64_t before;
	unsigned i;

	begin(VM_MAP_USER);
	populate(1, 9);
	before = host_nevents();
	must(vm_map_protect(&m, base + KB4(3), base + KB4(5),
	    VM_PROT_READ) == 0);
	must(host_nevents() == before + 2);
	must(last_event(HOST_PROTECT, 3, 5));
	must(vm_map_protect(&m, base, base + KB4(5), VM_PROT_READ) == EFAULT);
	must(host_nevents() == before + 2);
	for (i = 1; i < 9; i++)
		expect_mapped(i, true);
	must(vm_map_destroy(&m) == 3);
	release(1, 9);
	finish(nfree);
}
END_TEST

/* A region of which only the guards are left has no page to protect. */
START_TEST(only_guards)
{
	struct vm_map_request r = {
		.vr_size = KB4(1), .vr_guard_lo = 2, .vr_guard_hi = 1,
		.vr_prot = VM_PROT_RW, .vr_owner = "ann",
	};
	pfn_t nfree = vm_phys_nfree();
	struct vm_map_info vi;
	uint64_t before;
	vaddr_t addr;

	begin(VM_MAP_USER);
	must(vm_map_alloc(&m, &r, &addr) == 0);
	must(addr == base + KB4(2));
	must(vm_map_remove(&m, addr, base + KB4(4)) == 0);
	before = host_nevents();
	must(vm_map_protect(&m, base, addr, VM_PROT_READ) == 0);
	must(host_nevents() == before);
	must(vm_map_lookup(&m, base, &vi) == 0);
	must(vi.vi_prot == VM_PROT_READ && vi.vi_guard_lo == 2);
	must(vm_map_check(&m) == NULL);
	must(vm_map_destroy(&m) == 1);
	finish(nfree);
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_test(tc, removed);
	tcase_add_test(tc, not_removed);
	tcase_add_test(tc, freed);
	tcase_add_test(tc, protected);
	tcase_add_test(tc, only_guards);
}

int
main(void)
{
	return map_test_main("vm_map pmap", add);
}
