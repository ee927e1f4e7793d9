/*
 * kmem_alloc and kmem_free: windows, what is behind the addresses, misuse
 * (each a panic that names what it was given), pressure.  That nothing is
 * left behind when something is missing shows test_vm_inject.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libkern/errno.h>
#include <vm/kmem_range.h>
#include <vm/pmap.h>
#include <vm/vm_fail.h>
#include <vm/vm_kmem.h>
#include <vm/vm_map_impl.h>
#include <vm/vm_phys.h>

#include "host.h"
#include "ledger.h"
#include "map_test.h"

static struct ledger before;

static void
same(void)
{
	const char *why = ledger_since(&before);

	if (why != NULL)
		ck_abort_msg("%s", why);
	must(vm_map_check(kernel_map) == NULL);
	must(vm_phys_check() == NULL);
	must(host_pmap_check(kernel_pmap) == NULL);
}

/* ------------------------------- as it should ---------------------------- */

static const struct {
	int		flags;
	vaddr_t		min, max;
	const char	*owner;
} windows[] = {
	{ 0, VM_MISC_MIN, VM_MISC_MAX, "kmem" },
	{ KM_HEAP, VM_HEAP_MIN, VM_HEAP_MAX, "heap" },
	{ KM_SLAB, VM_SLAB_MIN, VM_SLAB_MAX, "slab" },
};

/* Without the range cache and with it. */
START_TEST(each_window)
{
	const vsize_t size = KB4(2) + 5;	/* three pages */
	const unsigned w = (unsigned)_i / 2;
	struct vm_map_info vi;
	struct vm_page *pg;
	paddr_t pa;
	vaddr_t va;
	vsize_t i;

	kmem_range_enable(_i % 2 != 0);
	ledger_take(&before);
	va = kmem_alloc(kernel_map, size, windows[w].flags | KM_ZERO);
	must(va >= windows[w].min && va + KB4(3) <= windows[w].max);
	must(vm_map_lookup(kernel_map, va, &vi) == 0);
	must(vi.vi_start == va && vi.vi_end == va + KB4(3));
	must(strcmp(vi.vi_owner, windows[w].owner) == 0);
	for (i = 0; i < KB4(3); i++)
		must(((char *)va)[i] == 0);
	memset((void *)va, 0xA5, KB4(3));
	must(pmap_extract(kernel_pmap, va, &pa));
	pg = vm_phys_page(pa);
	must(pg->pg_owner == VM_PAGE_KMEM && pg->pg_npages == 3);
	must(strcmp(pg->pg_name, windows[w].owner) == 0);
	must(*(unsigned char *)host_phys(pa) == 0xA5);
	kmem_free(kernel_map, va, size);
	same();
	/* The frame comes back with what is in it, unless zeros are asked. */
	must(kmem_alloc(kernel_map, size, windows[w].flags) == va);
	must(*(unsigned char *)va == 0xA5);
	kmem_free(kernel_map, va, size);
	va = kmem_alloc(kernel_map, size, windows[w].flags | KM_ZERO);
	must(*(unsigned char *)va == 0);
	kmem_free(kernel_map, va, size);
	same();
}
END_TEST

/* More than are taken at a time: the first frame tells of all. */
START_TEST(many_pages)
{
	struct vm_page *pg;
	vaddr_t va;
	paddr_t pa;

	ledger_take(&before);
	va = kmem_alloc(kernel_map, KB4(100), KM_HEAP);
	must(pmap_extract(kernel_pmap, va, &pa));
	pg = vm_phys_page(pa);
	must(pg->pg_npages == 100 && strcmp(pg->pg_name, "heap") == 0);
	kmem_free(kernel_map, va, KB4(100));
	same();
}
END_TEST

/* A map of one's own, of addresses that kernel_map gave; its pmap is the
 * kernel's. */
static void
free_inside(void *arg)
{
	struct vm_map *map = arg;

	kmem_free(map, map->vm_min + KB4(1), KB4(1));
}

static void
must_name(struct vm_map *map, const char *owner)
{
	const char *said = host_panic_of(free_inside, map, NULL);

	must(said != NULL && strstr(said, "other: ") != NULL);
	must(strstr(said, owner) != NULL);
}

START_TEST(another_map)
{
	struct vm_map_request nameless = { .vr_size = KB4(2) };
	const struct vm_map_request r = { .vr_size = KB4(10),
	    .vr_min = VM_MISC_MIN, .vr_max = VM_MISC_MAX, .vr_owner = "sub" };
	unsigned long resident;
	static struct vm_map map;
	vaddr_t min, va;

	must(vm_map_alloc(kernel_map, &r, &min) == 0);
	must(vm_map_init(&map, "other", min, min + KB4(10), VM_MAP_KERNEL,
	    kernel_pmap) == 0);
	resident = host_pmap_resident(kernel_pmap);
	va = kmem_alloc(&map, KB4(4), KM_NOSLEEP);
	must(va == min);
	must_name(&map, "of kmem");
	kmem_free(&map, va, KB4(4));
	must(kmem_alloc_request(&map, &nameless, 0, &va) == 0);
	must_name(&map, "of nobody");
	kmem_free(&map, va, KB4(2));
	must(kmem_alloc(&map, KB4(4), KM_NOSLEEP) == min);
	must(kmem_alloc(&map, KB4(7), KM_NOSLEEP) == 0);
	must(kmem_alloc(&map, KB4(6), KM_NOSLEEP) == min + KB4(4));
	must(host_pmap_resident(kernel_pmap) == resident + 10);
	kmem_free(&map, va, KB4(4));
	kmem_free(&map, min + KB4(4), KB4(6));
	must(host_pmap_resident(kernel_pmap) == resident);
	must(vm_map_destroy(&map) == 0);
	must(vm_map_free(kernel_map, min, KB4(10)) == 0);
}
END_TEST

START_TEST(guards_are_not_mapped)
{
	struct vm_map_request r = {
		.vr_size = KB4(2), .vr_guard_lo = 1, .vr_guard_hi = 2,
		.vr_align = KB4(16), .vr_owner = "guarded",
	};
	vaddr_t va;
	paddr_t pa;

	ledger_take(&before);
	must(kmem_alloc_request(kernel_map, &r, 0, &va) == 0);
	must(va % KB4(16) == 0);
	must(!pmap_extract(kernel_pmap, va - PAGE_SIZE, &pa));
	must(pmap_extract(kernel_pmap, va, &pa));
	must(pmap_extract(kernel_pmap, va + PAGE_SIZE, &pa));
	must(!pmap_extract(kernel_pmap, va + KB4(2), &pa));
	must(!pmap_extract(kernel_pmap, va + KB4(3), &pa));
	kmem_free(kernel_map, va, r.vr_size);
	same();
}
END_TEST

/* -------------------------------- refused -------------------------------- */

START_TEST(bad_sizes)
{
	static const vsize_t bad[] = { 0, -1UL, -PAGE_SIZE, -PAGE_SIZE + 1 };
	unsigned i, w;

	ledger_take(&before);
	for (w = 0; w < nitems(windows); w++)
		for (i = 0; i < nitems(bad); i++)
			must(kmem_alloc(kernel_map, bad[i],
			    windows[w].flags | KM_NOSLEEP) == 0);
	must(kmem_alloc(kernel_map, PAGE_SIZE, KM_HEAP | KM_SLAB) == 0);
	must(kmem_alloc(kernel_map, VM_HEAP_MAX - VM_HEAP_MIN,
	    KM_HEAP | KM_NOSLEEP) == 0);
	same();
}
END_TEST

START_TEST(bad_requests)
{
	static const struct vm_map_request bad[] = {
		{ .vr_size = 0 },
		{ .vr_size = PAGE_SIZE + 1 },
		{ .vr_size = PAGE_SIZE, .vr_align = 3 * PAGE_SIZE },
		{ .vr_size = PAGE_SIZE, .vr_guard_lo = 256 },
		{ .vr_size = PAGE_SIZE, .vr_guard_hi = 256 },
		{ .vr_size = PAGE_SIZE, .vr_policy = 3 },
		{ .vr_size = PAGE_SIZE, .vr_prot = VM_PROT_ALL + 1 },
		{ .vr_size = PAGE_SIZE, .vr_prot = VM_PROT_WRITE },
		{ .vr_size = PAGE_SIZE, .vr_prot = VM_PROT_EXECUTE },
		{ .vr_size = PAGE_SIZE, .vr_min = PAGE_SIZE,
		    .vr_max = KB4(4) },
		{ .vr_size = PAGE_SIZE, .vr_min = VM_HEAP_MAX,
		    .vr_max = VM_HEAP_MIN },
	};
	struct vm_map_request ok = { .vr_size = PAGE_SIZE };
	static struct vm_map none, user, own;
	struct pmap *pm = pmap_create();
	vaddr_t min = VM_MIN_ADDRESS + KB4(100), va = 77;
	unsigned i;

	ledger_take(&before);
	for (i = 0; i < nitems(bad); i++)
		if (kmem_alloc_request(kernel_map, &bad[i], 0, &va) != EINVAL)
			ck_abort_msg("request %u: not EINVAL", i);
	must(vm_map_init(&none, "no pmap", min, min + KB4(9), VM_MAP_KERNEL,
	    NULL) == 0);
	must(vm_map_init(&user, "user", min, min + KB4(9), VM_MAP_USER,
	    pm) == 0);
	must(vm_map_init(&own, "own pmap", min, min + KB4(9), VM_MAP_KERNEL,
	    pm) == 0);
	must(kmem_alloc_request(&none, &ok, 0, &va) == EINVAL);
	must(kmem_alloc_request(&own, &ok, 0, &va) == EINVAL);
	must(kmem_alloc_request(&user, &ok, 0, &va) == EINVAL);
	must(kmem_alloc(&none, PAGE_SIZE, 0) == 0);
	must(va == 77);
	must(vm_map_destroy(&none) == 0 && vm_map_destroy(&user) == 0);
	must(vm_map_destroy(&own) == 0);
	same();
}
END_TEST

/* --------------------------------- misuse -------------------------------- */

struct free_call {
	vaddr_t	addr;
	vsize_t	size;
};

static void
do_free(void *arg)
{
	const struct free_call *fc = arg;

	kmem_free(kernel_map, fc->addr, fc->size);
}

/* Freeing so is a panic that names both, and these words; nothing changes. */
static void
must_panic(vaddr_t addr, vsize_t size, const char *words)
{
	struct free_call fc = { addr, size };
	char args[64];
	unsigned nlocks;
	const char *said;

	ledger_take(&before);
	said = host_panic_of(do_free, &fc, &nlocks);
	if (said == NULL)
		ck_abort_msg("kmem_free(%#lx, %#lx): no panic", addr, size);
	snprintf(args, sizeof(args), "kmem_free: kernel_map: addr %#lx size "
	    "%#lx: ", addr, size);
	if (strncmp(said, args, strlen(args)) != 0 ||
	    strstr(said, words) == NULL)
		ck_abort_msg("\"%s\" does not begin \"%s\" or lacks \"%s\"",
		    said, args, words);
	must(nlocks == 0);
	same();
}

/* Each window, without the range cache and with it. */
START_TEST(misuse)
{
	const unsigned w = (unsigned)_i / 2;
	char region[80];
	vaddr_t va;

	kmem_range_enable(_i % 2 != 0);
	va = kmem_alloc(kernel_map, KB4(4), windows[w].flags);
	snprintf(region, sizeof(region), "region [%#lx, %#lx) of %s", va,
	    va + KB4(4), windows[w].owner);
	must_panic(va, KB4(3), "wrong size");
	must_panic(va, KB4(5), region);
	must_panic(va, 0, "wrong size");
	must_panic(va, -1UL, "wrong size");
	must_panic(va + PAGE_SIZE, KB4(3), "inside");
	must_panic(va + PAGE_SIZE, KB4(4), region);
	must_panic(va + 1, KB4(4), "inside");
	must_panic(va - PAGE_SIZE, PAGE_SIZE, "");
	must_panic(va + KB4(4), PAGE_SIZE, "nothing is allocated there");
	must_panic(0, PAGE_SIZE, "nothing is allocated there");
	must_panic(-PAGE_SIZE, PAGE_SIZE, "nothing is allocated there");
	must_panic(VM_MIN_KERNEL_ADDRESS, PAGE_SIZE, "of kernel image");
	must(vm_map_wire(kernel_map, va, va + KB4(4)) == 0);
	must_panic(va, KB4(4), "wired");
	must(vm_map_unwire(kernel_map, va, va + KB4(4)) == 0);
	kmem_free(kernel_map, va, KB4(4));
	must_panic(va, KB4(4), "freed twice");
}
END_TEST

/* Guards belong to the allocation, but are not what it is freed by. */
START_TEST(misuse_of_guards)
{
	struct vm_map_request r = {
		.vr_size = KB4(2), .vr_guard_lo = 1, .vr_guard_hi = 1,
	};
	vaddr_t va;

	must(kmem_alloc_request(kernel_map, &r, 0, &va) == 0);
	must_panic(va - PAGE_SIZE, KB4(4), "of nobody");
	must_panic(va, KB4(3), "wrong size");
	must_panic(va + KB4(2), PAGE_SIZE, "inside");
	must(vm_map_reserve(kernel_map, va + KB4(9), va + KB4(10),
	    VM_PROT_NONE, "for ever") == 0);
	must_panic(va + KB4(9), PAGE_SIZE, "not to be freed");
	kmem_free(kernel_map, va, r.vr_size);
}
END_TEST

/* Between the two halves of a free the region is nobody's. */
START_TEST(dying)
{
	vaddr_t va = kmem_alloc(kernel_map, KB4(2), KM_HEAP), other;
	struct vm_map_entry *e, *same_e;

	kmem_range_enable(false);	/* it is asked before the map */
	must(vm_map_free_begin(kernel_map, va, KB4(1), &e) == EINVAL);
	must(vm_map_free_begin(kernel_map, va, KB4(2), &e) == 0);
	must_panic(va, KB4(2), "freed twice");
	must(vm_map_free_begin(kernel_map, va, KB4(2), &same_e) == EFAULT);
	must(vm_map_free(kernel_map, va, KB4(2)) == EFAULT);
	must(vm_map_remove(kernel_map, va, va + KB4(2)) == EFAULT);
	must(vm_map_wire(kernel_map, va, va + KB4(2)) == EBUSY);
	must(vm_map_protect(kernel_map, va, va + KB4(2), VM_PROT_READ) ==
	    EBUSY);
	must(vm_map_insert(kernel_map, va, va + KB4(2), 0, "x") == EEXIST);
	other = kmem_alloc(kernel_map, KB4(2), KM_HEAP);
	must(other != va);
	kmem_free(kernel_map, other, KB4(2));
	must(host_pmap_resident(kernel_pmap) >= 2);
	e->vme_flags &= (uint8_t)~VME_DYING;
	kmem_free(kernel_map, va, KB4(2));
	must(kmem_alloc(kernel_map, KB4(2), KM_HEAP) == va);
}
END_TEST

/* -------------------------------- pressure ------------------------------- */

static unsigned nsleeps, wake_after;

/* Somebody gives memory back while we sleep, the n-th time. */
static bool
sleeper(const void *chan)
{
	must(chan != NULL);
	if (++nsleeps == wake_after)
		vm_fail_set(VM_FAIL_PAGE, 0, false);
	return nsleeps <= wake_after;
}

START_TEST(waits_for_memory)
{
	vaddr_t va;

	kmem_range_enable(false);
	ledger_take(&before);
	wake_after = 3;
	host_set_sleep(true, sleeper);
	vm_fail_set(VM_FAIL_PAGE, 1, true);
	must(kmem_alloc(kernel_map, KB4(2), KM_NOSLEEP) == 0);
	must(nsleeps == 0);
	va = kmem_alloc(kernel_map, KB4(2), KM_SLEEP);
	must(va != 0);
	must(nsleeps == 3);
	kmem_free(kernel_map, va, KB4(2));

	/* Where nobody could wake it, it fails. */
	host_set_sleep(false, NULL);
	vm_fail_set(VM_FAIL_PAGE, 1, true);
	must(kmem_alloc(kernel_map, KB4(2), KM_SLEEP) == 0);
	vm_fail_set(VM_FAIL_PAGE, 0, false);
	same();
}
END_TEST

START_TEST(free_wakes)
{
	vaddr_t va;
	uint64_t was;

	kmem_range_enable(_i != 0);
	va = kmem_alloc(kernel_map, PAGE_SIZE, 0);
	was = host_wakeups();
	kmem_free(kernel_map, va, PAGE_SIZE);
	must(kmem_range_kept(va) == (_i != 0));
	must(host_wakeups() > was);
}
END_TEST

struct keeper {
	struct kmem_reclaimer k_kr;
	unsigned long	k_has;		/* pages that it can give */
	unsigned long	k_asked;	/* in the last call */
	unsigned	k_calls;
};

static struct keeper first, second;

static unsigned long
give(struct keeper *k, unsigned long pages)
{
	unsigned long n = pages < k->k_has ? pages : k->k_has;

	k->k_calls++;
	k->k_asked = pages;
	k->k_has -= n;
	must(kmem_reclaim(1) == 0);	/* never within another */
	must(host_locks()->hl_held == 1);
	if (n > 0)
		vm_fail_set(VM_FAIL_PAGE, 0, false);
	return n;
}

static unsigned long
give_first(unsigned long pages)
{
	return give(&first, pages);
}

static unsigned long
give_second(unsigned long pages)
{
	return give(&second, pages);
}

static void
keepers(unsigned long a, unsigned long b)
{
	while (kmem_reclaim(1000) != 0)		/* the caches' own */
		continue;
	first.k_kr.kr_name = "first";
	first.k_kr.kr_reclaim = give_first;
	second.k_kr.kr_name = "second";
	second.k_kr.kr_reclaim = give_second;
	first.k_has = a;
	second.k_has = b;
	kmem_reclaim_add(&first.k_kr);
	kmem_reclaim_add(&second.k_kr);
	kmem_reclaim_add(&first.k_kr);		/* is there: no change */
	kmem_reclaim_add(&second.k_kr);
}

/* In the order of registration, each for what is still wanted. */
START_TEST(reclaim_in_order)
{
	keepers(3, 100);
	must(kmem_reclaim(10) == 10);
	must(first.k_calls == 1 && first.k_asked == 10);
	must(second.k_calls == 1 && second.k_asked == 7);
	first.k_has = 5;
	must(kmem_reclaim(5) == 5);
	must(first.k_calls == 2 && second.k_calls == 1);
	host_set_intr(true);
	must(kmem_reclaim(5) == 0);
	host_set_intr(false);
	must(first.k_calls == 2 && second.k_calls == 1);
	must(kmem_reclaim(1000) == 93);
	must(kmem_reclaim(1000) == 0);
}
END_TEST

/* kmem_alloc asks before it fails, for what it needs. */
START_TEST(reclaims_before_failing)
{
	vaddr_t va;

	keepers(0, 2);
	ledger_take(&before);
	vm_fail_set(VM_FAIL_PAGE, 4, true);
	va = kmem_alloc(kernel_map, KB4(6), KM_NOSLEEP);
	must(va != 0);
	must(first.k_calls == 1 && first.k_asked == 6);
	must(second.k_calls == 1 && second.k_asked == 6);
	kmem_free(kernel_map, va, KB4(6));

	/* Nobody has anything: they are asked once, and it fails. */
	kmem_range_drain();
	vm_fail_set(VM_FAIL_PAGE, 4, true);
	must(kmem_alloc(kernel_map, KB4(6), KM_NOSLEEP) == 0);
	must(first.k_calls == 2 && second.k_calls == 2);

	/* An interrupt asks nobody. */
	second.k_has = 2;
	host_set_intr(true);
	must(kmem_alloc(kernel_map, KB4(6), KM_SLEEP) == 0);
	host_set_intr(false);
	must(first.k_calls == 2 && second.k_calls == 2);
	vm_fail_set(VM_FAIL_PAGE, 0, false);
	same();
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_loop_test(tc, each_window, 0, 2 * (int)nitems(windows));
	tcase_add_test(tc, many_pages);
	tcase_add_test(tc, another_map);
	tcase_add_test(tc, guards_are_not_mapped);
	tcase_add_test(tc, bad_sizes);
	tcase_add_test(tc, bad_requests);
	tcase_add_loop_test(tc, misuse, 0, 2 * (int)nitems(windows));
	tcase_add_test(tc, misuse_of_guards);
	tcase_add_test(tc, dying);
	tcase_add_test(tc, waits_for_memory);
	tcase_add_loop_test(tc, free_wakes, 0, 2);
	tcase_add_test(tc, reclaim_in_order);
	tcase_add_test(tc, reclaims_before_failing);
}

int
main(void)
{
	return map_test_main("vm_kmem", add);
}
