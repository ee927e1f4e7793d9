/*
 * Corners of kmem_alloc, kmem_free and of the range cache: what a panic says
 * when map and ranges are no longer of one mind, and that the cache does what
 * it is for at the times that are for it, and at no others.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libkern/errno.h>
#include <vm/kmalloc.h>
#include <vm/kmem_cache.h>
#include <vm/kmem_range.h>
#include <vm/pmap.h>
#include <vm/vm_kmem.h>

#include "host.h"
#include "map_test.h"
#include "slab_test.h"

static KMALLOC_DEFINE(M_TEST, "next owner", "the tests' type");

static struct kmem_range_stats
stats(void)
{
	struct kmem_range_stats ks;

	kmem_range_stats(&ks);
	return ks;
}

static vaddr_t
alloc(unsigned pages, int flags)
{
	vaddr_t va = kmem_alloc(kernel_map, ptoa(pages), flags | KM_NOSLEEP);

	must(va != 0);
	return va;
}

static void
give(vaddr_t va, unsigned pages)
{
	kmem_free(kernel_map, va, ptoa(pages));
}

/* Nothing is kept, and the range cache has ticked just now. */
static void
begin(void)
{
	kmem_cache_reap_all();
	host_advance(KMEM_RANGE_TICKS);
	must(kmem_range_tick() == 0);
	must(stats().krs_pages == 0);
}

struct area {
	vaddr_t		a_va;
	vsize_t		a_size;
};

static void
do_free(void *arg)
{
	const struct area *a = arg;

	kmem_free(kernel_map, a->a_va, a->a_size);
}

static void
must_panic(void (*fn)(void *), void *arg, const char *words)
{
	must(slab_panics(fn, arg, words) == 0);
}

/*
 * What a panic says.
 */
static void
do_add(void *arg)
{
	kmem_reclaim_add(arg);
}

static unsigned long
gives(unsigned long pages)
{
	return 0;
}

/* Who can give nothing, or has no name for `show`, is not asked to. */
START_TEST(reclaimers)
{
	static struct kmem_reclaimer idle = { .kr_name = "idle" };
	static struct kmem_reclaimer nobody = { .kr_reclaim = gives };

	must_panic(do_add, &idle, "kr->kr_reclaim != NULL");
	must_panic(do_add, &nobody, "kr->kr_name != NULL");
	must(kmem_reclaim(1000000) < 1000000);
}
END_TEST

/* The frames of a range that is kept, seen where the map has nothing. */
START_TEST(twice_elsewhere)
{
	const vaddr_t va = alloc(3, KM_SLAB);
	struct area a = { VM_MISC_MAX - ptoa(64), ptoa(3) };
	struct vm_map_info vi;
	paddr_t pa;

	give(va, 3);
	must(kmem_range_kept(va) && pmap_extract(kernel_pmap, va, &pa));
	must(vm_map_lookup(kernel_map, a.a_va, &vi) != 0);
	must(pmap_kenter(a.a_va, &pa, 1, VM_PROT_RW) == 0);
	must_panic(do_free, &a, "nothing is allocated there (freed twice, or "
	    "foreign)");
	must(pmap_kremove(a.a_va, 1, &pa) == 1);
	must(kmem_range_kept(va) && alloc(3, KM_SLAB) == va);
	give(va, 3);
}
END_TEST

/* Who has a range now, not who had it when it came from the map. */
START_TEST(owner_now)
{
	const vaddr_t va = alloc(5, KM_HEAP);
	struct area a = { va + PAGE_SIZE, PAGE_SIZE };

	must_panic(do_free, &a, "of heap");
	give(va, 5);
	must(kmalloc(ptoa(5), M_TEST, 0) == (void *)va);
	must_panic(do_free, &a, "of next owner");
	a = (struct area){ va, ptoa(4) };
	must_panic(do_free, &a, "of next owner");
	kfree((void *)va, M_TEST);
}
END_TEST

/* A range with a guard, whose page shows one that is kept without. */
static void
do_alloc_fenced(void *arg)
{
	vaddr_t va;

	kmem_alloc_request(kernel_map, arg, 0, &va);
}

START_TEST(another_kind)
{
	struct vm_map_request vr = { .vr_size = ptoa(2), .vr_guard_lo = 1,
	    .vr_min = VM_MISC_MIN, .vr_max = VM_MISC_MAX };
	vaddr_t va, plain = alloc(2, 0);
	paddr_t pa, was;

	must(kmem_alloc_request(kernel_map, &vr, 0, &va) == 0);
	give(va, 2);
	give(plain, 2);
	must(kmem_range_kept(va) && kmem_range_kept(plain));
	must(pmap_extract(kernel_pmap, plain, &pa));
	must(pmap_kremove(va, 1, &was) == 1);
	must(pmap_kenter(va, &pa, 1, VM_PROT_RW) == 0);
	must_panic(do_alloc_fenced, &vr, "is not as it was when it was freed");
	must(kmem_range_kept(plain) && alloc(2, 0) == plain);
}
END_TEST

/*
 * At the time.
 */

/* While there is room a free does not look at the clock. */
START_TEST(room_and_old)
{
	vaddr_t a, b;

	begin();
	a = alloc(1, KM_SLAB), b = alloc(2, KM_SLAB);
	give(a, 1);
	host_advance(KMEM_RANGE_TICKS);
	must(kmem_range_tick() == 0);		/* it was live until then */
	host_advance(KMEM_RANGE_TICKS);
	give(b, 2);
	must(kmem_range_kept(a) && kmem_range_kept(b));
	must(kmem_range_tick() == 1 && !kmem_range_kept(a));
}
END_TEST

/* Nor where frames are low, or it is off: what is kept then, is kept. */
static void
low(bool on)
{
	kmem_range_frames_low(on);
}

static void
off(bool on)
{
	/* In an interrupt nothing can be freed. */
	host_set_intr(true);
	must(kmem_range_enable(!on) == on);
	host_set_intr(false);
}

START_TEST(shut_and_old)
{
	void (*const shut[])(bool) = { low, kmem_range_reclaiming, off };
	struct area a, b;
	uint64_t refused;

	begin();
	a = (struct area){ alloc(1, KM_SLAB), ptoa(1) };
	b = (struct area){ alloc(2, KM_SLAB), ptoa(2) };
	give(a.a_va, 1);
	host_advance(KMEM_RANGE_TICKS);
	must(kmem_range_tick() == 0);
	host_advance(KMEM_RANGE_TICKS);
	shut[_i](true);
	refused = stats().krs_full;
	give(b.a_va, 2);
	must(kmem_range_kept(a.a_va) && !kmem_range_kept(b.a_va));
	/* Where it is off, there is nothing to be refused. */
	must(stats().krs_full == refused + (_i < 2));
	must_panic(do_free, &a, "freed twice");
	must_panic(do_free, &b, "nothing is allocated there");
	shut[_i](false);
	must(alloc(1, KM_SLAB) == a.a_va);
	give(a.a_va, 1);
	must(kmem_range_check() == NULL);
}
END_TEST

/*
 * How much, and of what.
 */

/* Of ranges with guards, which share a bin: by number, and by pages. */
START_TEST(one_bin_for_all)
{
	const unsigned pages = _i == 0 ? 1 : 8;
	const unsigned most = _i == 0 ? KMEM_RANGE_MOST : 8;
	const struct vm_map_request vr = { .vr_size = ptoa(pages),
	    .vr_guard_hi = 1, .vr_min = VM_MISC_MIN, .vr_max = VM_MISC_MAX };
	vaddr_t va[KMEM_RANGE_MOST + 1];
	struct kmem_range_bin kb;
	unsigned i;

	begin();
	must(stats().krs_max > most * pages + pages);
	for (i = 0; i <= most; i++)
		must(kmem_alloc_request(kernel_map, &vr, 0, &va[i]) == 0);
	for (i = 0; i <= most; i++)
		give(va[i], pages);
	kmem_range_bin(KMEM_NWINDOWS, pages, &kb);
	must(kb.krb_n == most && kb.krb_pages == most * pages);
	for (i = 0; i <= most; i++)
		must(kmem_range_kept(va[i]) == (i < most));
	must(kmem_range_check() == NULL);
	kmem_range_drain();
	must(stats().krs_pages == 0 && vm_map_check(kernel_map) == NULL);
}
END_TEST

/* Who asks what a bin has gets as much as he has room for. */
START_TEST(listed)
{
	struct kmem_range_entry kre[4];
	vaddr_t va[3];
	unsigned i, n;

	begin();
	for (i = 0; i < 3; i++)
		va[i] = alloc(2, KM_SLAB);
	for (i = 0; i < 3; i++)
		give(va[i], 2);
	for (n = 0; n <= 4; n++) {
		memset(kre, 0, sizeof(kre));
		must(kmem_range_list(KMEM_SLAB, 2, kre, n) == (n < 3 ? n : 3));
		for (i = 0; i < 4; i++)
			must(kre[i].kre_va == (i < n && i < 3 ? va[i] : 0));
	}
}
END_TEST

/* What is asked for in no window is not looked for, nor missed. */
START_TEST(no_window)
{
	const struct vm_map_request vr = { .vr_size = PAGE_SIZE,
	    .vr_min = VM_MISC_MIN, .vr_max = VM_MISC_MAX - PAGE_SIZE };
	struct kmem_range_stats before, after;
	vaddr_t va;

	begin();
	before = stats();
	must(kmem_alloc_request(kernel_map, &vr, 0, &va) == 0);
	after = stats();
	must(after.krs_misses == before.krs_misses);
	must(after.krs_hits == before.krs_hits);
	kmem_free(kernel_map, va, PAGE_SIZE);
	must(stats().krs_pages == 0);
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_test(tc, reclaimers);
	tcase_add_test(tc, twice_elsewhere);
	tcase_add_test(tc, owner_now);
	tcase_add_test(tc, another_kind);
	tcase_add_test(tc, room_and_old);
	tcase_add_loop_test(tc, shut_and_old, 0, 3);
	tcase_add_loop_test(tc, one_bin_for_all, 0, 2);
	tcase_add_test(tc, listed);
	tcase_add_test(tc, no_window);
}

int
main(void)
{
	return map_test_main("kmem_range_corner", add);
}
