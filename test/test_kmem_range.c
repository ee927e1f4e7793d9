/*
 * The range cache: what is kept and for whom, what is not, how much and how
 * long; misuse of what is kept; and that nobody fails for want of it.  A
 * random run is compared, step by step, with a model of stacks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libkern/errno.h>
#include <vm/kmalloc.h>
#include <vm/kmem_cache.h>
#include <vm/kmem_range.h>
#include <vm/pmap.h>
#include <vm/vm_fail.h>
#include <vm/vm_phys.h>

#include "host.h"
#include "ledger.h"
#include "map_test.h"

#define NFRAMES		4096u		/* 63 pages may be kept */

static const struct window {
	int		flags;
	vaddr_t		min, max;
	const char	*owner;
} windows[KMEM_NWINDOWS] = {
	[KMEM_HEAP] = { KM_HEAP, VM_HEAP_MIN, VM_HEAP_MAX, "heap" },
	[KMEM_SLAB] = { KM_SLAB, VM_SLAB_MIN, VM_SLAB_MAX, "slab" },
	[KMEM_MISC] = { 0, VM_MISC_MIN, VM_MISC_MAX, "kmem" },
};

static void
boot(void)
{
	host_boot(NFRAMES);
	kmem_cache_reap_all();
	must(kmem_range_enable(true) == true);	/* and it was */
}

static vaddr_t
alloc(unsigned w, unsigned pages)
{
	vaddr_t va = kmem_alloc(kernel_map, ptoa(pages),
	    windows[w].flags | KM_NOSLEEP);

	must(va != 0);
	return va;
}

static void
give(vaddr_t va, unsigned pages)
{
	kmem_free(kernel_map, va, ptoa(pages));
}

static struct kmem_range_stats
stats(void)
{
	struct kmem_range_stats ks;

	kmem_range_stats(&ks);
	return ks;
}

static struct kmem_range_bin
bin(unsigned w, unsigned pages)
{
	struct kmem_range_bin kb;

	kmem_range_bin(w, pages, &kb);
	return kb;
}

static unsigned long
kept(void)
{
	return stats().krs_pages;
}

static void
sound(void)
{
	const char *why = kmem_range_check();

	if (why != NULL)
		ck_abort_msg("%s", why);
	must(vm_map_check(kernel_map) == NULL);
	must(vm_phys_check() == NULL);
	must(host_pmap_check(kernel_pmap) == NULL);
}

/* ------------------------------- as it should ---------------------------- */

/* The same range, as it was, without the map or the page tables knowing. */
START_TEST(had_again)
{
	const uint64_t misses = stats().krs_misses;
	struct kmem_range_bin kb;
	struct vm_map_stats was, is;
	uint64_t events;
	unsigned n;
	vaddr_t va;

	for (n = 1; n <= KMEM_RANGE_PAGES; n++) {
		kb = bin(_i, n);
		va = alloc(_i, n);
		must(bin(_i, n).krb_misses == kb.krb_misses + 1);
		memset((void *)va, 0xA5, ptoa(n));
		vm_map_stats(kernel_map, &was);
		events = host_nevents();
		give(va, n);
		must(kmem_range_kept(va) && kept() == n);
		must(bin(_i, n).krb_n == 1);
		sound();
		must(alloc(_i, n) == va);
		must(!kmem_range_kept(va) && kept() == 0);
		vm_map_stats(kernel_map, &is);
		must(memcmp(&was, &is, sizeof(is)) == 0);
		must(host_nevents() == events);
		must(*(unsigned char *)va == 0xA5);
		must(*(unsigned char *)(va + ptoa(n) - 1) == 0xA5);
		must(bin(_i, n).krb_misses == kb.krb_misses + 1);
		must(bin(_i, n).krb_hits == 1);
		kmem_free_now(kernel_map, va, ptoa(n));
		must(!kmem_range_kept(va));
	}
	must(stats().krs_hits == KMEM_RANGE_PAGES);
	must(stats().krs_misses == misses + KMEM_RANGE_PAGES);
	sound();
}
END_TEST

/* Another size, or another window, gets something else; the newest first. */
START_TEST(others_are_not_served)
{
	vaddr_t a = alloc(KMEM_SLAB, 4), b = alloc(KMEM_SLAB, 4), va;
	unsigned w, n;

	give(a, 4);
	give(b, 4);
	for (w = 0; w < KMEM_NWINDOWS; w++)
		for (n = 1; n <= KMEM_RANGE_PAGES; n++) {
			if (w == KMEM_SLAB && n == 4)
				continue;
			va = alloc(w, n);
			must(va + ptoa(n) <= a || va >= a + ptoa(4));
			must(va + ptoa(n) <= b || va >= b + ptoa(4));
			kmem_free_now(kernel_map, va, ptoa(n));
		}
	must(alloc(KMEM_SLAB, 4) == b);
	must(alloc(KMEM_SLAB, 4) == a);
	must(stats().krs_hits == 2);
	sound();
}
END_TEST

START_TEST(zeroed)
{
	vaddr_t va = alloc(KMEM_HEAP, 3);
	vsize_t i;

	memset((void *)va, 0x77, ptoa(3));
	give(va, 3);
	must(kmem_alloc(kernel_map, ptoa(3), KM_HEAP | KM_ZERO) == va);
	for (i = 0; i < ptoa(3); i++)
		must(((char *)va)[i] == 0);
	must(stats().krs_hits == 1);
}
END_TEST

/* A size is rounded up, as always. */
START_TEST(any_size)
{
	vaddr_t va = kmem_alloc(kernel_map, ptoa(2) + 1, KM_SLAB);

	kmem_free(kernel_map, va, ptoa(3) - 5);
	must(kept() == 3);
	must(kmem_alloc(kernel_map, ptoa(3), KM_SLAB) == va);
	give(va, 3);
	must(kmem_alloc(kernel_map, 0, KM_SLAB) == 0);
	must(kmem_alloc(kernel_map, -1UL, KM_SLAB) == 0);
	must(kmem_alloc(kernel_map, ptoa(3), KM_SLAB | KM_HEAP) == 0);
	must(kept() == 3);
}
END_TEST

static int
request(const struct vm_map_request *vr, vaddr_t *va)
{
	return kmem_alloc_request(kernel_map, vr, KM_NOSLEEP, va);
}

/* kmem_alloc_request is served where it asks for nothing special. */
START_TEST(plain_requests)
{
	static const struct vm_map_request plain[] = {
		{ .vr_align = 0 }, { .vr_align = PAGE_SIZE },
		{ .vr_prot = VM_PROT_RW }, { .vr_owner = "somebody" },
	};
	struct vm_map_request vr;
	unsigned i, w;
	vaddr_t va, was;

	for (w = 0; w < KMEM_NWINDOWS; w++)
		for (i = 0; i < nitems(plain); i++) {
			vr = plain[i];
			vr.vr_size = ptoa(2);
			vr.vr_min = windows[w].min;
			vr.vr_max = windows[w].max;
			must(request(&vr, &was) == 0);
			give(was, 2);
			must(kept() == 2);
			must(request(&vr, &va) == 0);
			must(va == was && kept() == 0);
			kmem_free_now(kernel_map, va, ptoa(2));
		}
}
END_TEST

#define SLABS	.vr_min = VM_SLAB_MIN, .vr_max = VM_SLAB_MAX

/* These are neither served, nor kept when they are freed. */
START_TEST(special_requests)
{
	static const struct vm_map_request special[] = {
		{ .vr_size = ptoa(2), .vr_guard_lo = 2, SLABS },
		{ .vr_size = ptoa(2), .vr_guard_hi = 2, SLABS },
		{ .vr_size = ptoa(2), .vr_guard_lo = 1, .vr_guard_hi = 3,
		    SLABS },
		{ .vr_size = ptoa(2), .vr_guard_lo = 2, .vr_guard_hi = 1,
		    SLABS },
		{ .vr_size = ptoa(2), .vr_policy = VM_FIT_FIRST, SLABS },
		{ .vr_size = ptoa(2), .vr_policy = VM_FIT_TOPDOWN, SLABS },
		{ .vr_size = ptoa(2), .vr_prot = VM_PROT_READ, SLABS },
		{ .vr_size = ptoa(2), .vr_prot = VM_PROT_ALL, SLABS },
		{ .vr_size = ptoa(2), .vr_min = VM_SLAB_MIN,
		    .vr_max = VM_SLAB_MAX - PAGE_SIZE },
		{ .vr_size = ptoa(2), .vr_min = VM_SLAB_MIN + PAGE_SIZE,
		    .vr_max = VM_SLAB_MAX },
		{ .vr_size = ptoa(2), .vr_min = VM_HEAP_MIN,
		    .vr_max = VM_HEAP_MAX - PAGE_SIZE },
		{ .vr_size = ptoa(2), .vr_min = VM_MISC_MIN,
		    .vr_max = VM_MISC_MAX - PAGE_SIZE },
		{ .vr_size = ptoa(2) },
		{ .vr_size = ptoa(KMEM_RANGE_PAGES + 1), SLABS },
		{ .vr_size = ptoa(KMEM_RANGE_PAGES + 1), .vr_guard_hi = 1,
		    SLABS },
	};
	static const struct vm_map_request bad[] = {
		{ .vr_size = ptoa(2), .vr_align = 3, SLABS },
		{ .vr_size = ptoa(2), .vr_prot = VM_PROT_WRITE, SLABS },
		{ .vr_size = ptoa(3) - 1, SLABS },
	};
	vaddr_t other = alloc(KMEM_SLAB, 2), va;
	unsigned i;

	give(other, 2);
	for (i = 0; i < nitems(special); i++) {
		must(request(&special[i], &va) == 0);
		if (kept() != 2 || va == other)
			ck_abort_msg("request %u was served", i);
		kmem_free(kernel_map, va, special[i].vr_size);
		if (kept() != 2 || kmem_range_kept(va))
			ck_abort_msg("request %u is kept", i);
	}
	for (i = 0; i < nitems(bad); i++)
		must(request(&bad[i], &va) == EINVAL);
	must(kept() == 2);
	sound();
}
END_TEST

/* -------------------------- guards and alignments ------------------------ */

static struct vm_map_request
fenced(unsigned w, unsigned pages, unsigned fence, vsize_t align)
{
	return (struct vm_map_request){ .vr_size = ptoa(pages),
	    .vr_align = align, .vr_min = windows[w].min,
	    .vr_max = windows[w].max,
	    .vr_guard_lo = (fence & VM_PAGE_FENCE_LO) != 0,
	    .vr_guard_hi = (fence & VM_PAGE_FENCE_HI) != 0,
	    .vr_owner = "fenced" };
}

static vaddr_t
alloc_fenced(unsigned w, unsigned pages, unsigned fence, vsize_t align)
{
	const struct vm_map_request vr = fenced(w, pages, fence, align);
	struct vm_map_info vi;
	vaddr_t va;

	must(request(&vr, &va) == 0);
	must(align == 0 || va % align == 0);
	must(vm_map_lookup(kernel_map, va, &vi) == 0);
	must(vi.vi_guard_lo == vr.vr_guard_lo &&
	    vi.vi_guard_hi == vr.vr_guard_hi);
	must(vi.vi_start + ptoa(vr.vr_guard_lo) == va);
	return va;
}

static const unsigned fences[] = { 0, VM_PAGE_FENCE_LO, VM_PAGE_FENCE_HI,
	VM_PAGE_FENCE_LO | VM_PAGE_FENCE_HI };
#define GUARDED		KMEM_NWINDOWS, 0	/* their bin */

/* To whoever wants the same window, size and guards, and to nobody else. */
START_TEST(guards)
{
	const unsigned fence = fences[_i % 3 + 1], w = (unsigned)_i / 3;
	vaddr_t va = alloc_fenced(w, 4, fence, 0), other;
	struct vm_map_info vi;
	unsigned i;

	give(va, 4);
	must(kmem_range_kept(va) && kept() == 4);
	must(bin(GUARDED).krb_n == 1 && bin(GUARDED).krb_pages == 4);
	must(kmem_range_holds(va + 5));
	must(vm_map_lookup(kernel_map, va, &vi) == 0);
	ck_assert_str_eq(kmem_range_owner(&vi), "(range cache)");
	sound();
	for (i = 0; i < nitems(fences); i++) {
		other = alloc_fenced(fence == fences[i] ? (w + 1) % 3 : w, 4,
		    fences[i], 0);
		must(other != va);
		kmem_free_now(kernel_map, other, ptoa(4));
	}
	other = alloc_fenced(w, 3, fence, 0);
	must(other != va);
	must(bin(GUARDED).krb_hits == 0 && bin(GUARDED).krb_misses == 5);
	give(other, 3);
	must(alloc_fenced(w, 4, fence, PAGE_SIZE) == va);
	must(alloc_fenced(w, 3, fence, 0) == other && kept() == 0);
	must(bin(GUARDED).krb_hits == 2);
	sound();
	must(kmem_range_forbid(va));		/* no mark is left of it */
	give(va, 4);
	must(kept() == 0);
	give(other, 3);
	must(kmem_range_drain() == 3);
	sound();
}
END_TEST

/* The newest that is aligned so, and what was aligned serves anybody. */
START_TEST(alignments)
{
	const unsigned fence = fences[_i];
	const vsize_t align = 4 * PAGE_SIZE;
	vaddr_t va[8], odd;
	unsigned i;

	for (i = 0; i < 8; i++) {
		va[i] = alloc_fenced(KMEM_MISC, 1, fence, 0);
		alloc(KMEM_MISC, 1 + i % 2);	/* so that they are of both */
	}
	for (i = 0; i < 8 && va[i] % align != 0; i++)
		continue;
	must(i < 8);
	odd = va[i == 0];
	must(odd % align != 0);
	give(va[i], 1);
	give(odd, 1);
	must(alloc_fenced(KMEM_MISC, 1, fence, align) == va[i]);
	must(alloc_fenced(KMEM_MISC, 1, fence, align) != odd);
	must(kept() == 1 && kmem_range_kept(odd));
	must(alloc_fenced(KMEM_MISC, 1, fence, 0) == odd);
	give(va[i], 1);
	must(alloc_fenced(KMEM_MISC, 1, fence, 0) == va[i]);
	sound();
}
END_TEST

#define FENCED_PAGES	64u

/* Those with guards are so many pages at most, and so many ranges. */
START_TEST(guards_full)
{
	const unsigned pages = _i == 0 ? 8 : 2;
	const unsigned max = bin(GUARDED).krb_max;
	const unsigned fit = pages * max > FENCED_PAGES ?
	    FENCED_PAGES / pages : max;
	vaddr_t va[KMEM_RANGE_MOST + 1];
	unsigned i;

	must(max == KMEM_RANGE_MOST && fit <= max);
	must(fit * pages > 15 && stats().krs_max < FENCED_PAGES);
	for (i = 0; i <= fit; i++)
		va[i] = alloc_fenced(KMEM_MISC, pages, VM_PAGE_FENCE_HI, 0);
	for (i = 0; i <= fit; i++)
		give(va[i], pages);
	/* Of all ranges together there is room for 63 pages here. */
	must(kept() == (pages == 8 ? 56 : 32));
	must(bin(GUARDED).krb_n == kept() / pages);
	sound();
	must(kmem_range_drain() == (pages == 8 ? 56 : 32));
	must(bin(GUARDED).krb_n == 0 && bin(GUARDED).krb_pages == 0);
}
END_TEST

/* What nobody needed goes, of whatever size. */
START_TEST(guards_idle)
{
	vaddr_t va[5];
	unsigned i;

	for (i = 0; i < 5; i++)
		va[i] = alloc_fenced(KMEM_HEAP, i + 1, VM_PAGE_FENCE_LO, 0);
	for (i = 0; i < 5; i++)
		give(va[i], i + 1);
	host_advance(KMEM_RANGE_TICKS);
	must(kmem_range_tick() == 0);
	must(bin(GUARDED).krb_idle == 5);
	for (i = 4; i-- > 2;)			/* those of 4 and 3 pages */
		must(alloc_fenced(KMEM_HEAP, i + 1, VM_PAGE_FENCE_LO, 0) ==
		    va[i]);
	give(va[2], 3);
	give(va[3], 4);
	must(bin(GUARDED).krb_idle == 3);
	sound();
	host_advance(KMEM_RANGE_TICKS);
	must(kmem_range_tick() == 1 + 2 + 5);
	for (i = 0; i < 5; i++)
		must(kmem_range_kept(va[i]) == (i == 2 || i == 3));
	sound();
}
END_TEST

/* Addresses that kernel_map gave to another map are not ours. */
START_TEST(another_map)
{
	static struct vm_map map;
	struct vm_map_request vr = { .vr_size = ptoa(8), SLABS };
	vaddr_t min, va;

	must(vm_map_alloc(kernel_map, &vr, &min) == 0);
	must(vm_map_init(&map, "other", min, min + ptoa(8), VM_MAP_KERNEL,
	    kernel_pmap) == 0);
	va = kmem_alloc(&map, ptoa(2), KM_NOSLEEP);
	must(va == min);
	kmem_free(&map, va, ptoa(2));
	must(kept() == 0);
	must(kmem_alloc(&map, ptoa(2), KM_NOSLEEP | KM_HEAP) == 0);
	va = alloc(KMEM_SLAB, 2);
	give(va, 2);
	vr.vr_size = ptoa(2);			/* a window that is not its */
	must(kmem_alloc_request(&map, &vr, KM_NOSLEEP, &va) == EINVAL);
	vr.vr_size = ptoa(8);
	must(kmem_range_drain() == 2);
	va = alloc(KMEM_MISC, 2);
	give(va, 2);
	must(kmem_alloc(&map, ptoa(2), KM_NOSLEEP) == min);
	kmem_free(&map, min, ptoa(2));
	must(kept() == 2);
	must(vm_map_destroy(&map) == 0);
	must(vm_map_free(kernel_map, min, ptoa(8)) == 0);
}
END_TEST

/* ---------------------------------- owners ------------------------------- */

static const char *
owner_at(vaddr_t va)
{
	struct vm_map_info vi;

	must(vm_map_lookup(kernel_map, va, &vi) == 0);
	return kmem_range_owner(&vi);
}

START_TEST(owners)
{
	struct vm_map_request vr = { .vr_size = ptoa(3), SLABS,
	    .vr_owner = "first" };
	struct kmem_cache_args ca = { .ca_name = "things", .ca_size = 5000,
	    .ca_slab_pages = 3 };
	struct kmem_cache *kc = kmem_cache_create(&ca);
	vaddr_t va, again;
	void *obj, *block;

	must(kc != NULL);
	must(request(&vr, &va) == 0);
	ck_assert_str_eq(owner_at(va), "first");
	give(va, 3);
	ck_assert_str_eq(owner_at(va), "(range cache)");
	vr.vr_owner = "second";
	must(request(&vr, &again) == 0 && again == va);
	ck_assert_str_eq(owner_at(va), "second");
	give(va, 3);
	vr.vr_owner = NULL;			/* then the map's own */
	must(request(&vr, &again) == 0 && again == va);
	ck_assert_str_eq(owner_at(va), "first");
	give(va, 3);
	obj = kmem_cache_alloc(kc, KM_NOSLEEP);
	must((vaddr_t)obj - va < ptoa(3));
	ck_assert_str_eq(owner_at(va), "things");
	kmem_cache_free(kc, obj);
	must(kmem_cache_destroy(kc) == 0);
	must(kmem_range_kept(va));

	va = alloc(KMEM_HEAP, 5);
	give(va, 5);
	block = kmalloc(ptoa(5), M_TEMP, KM_NOSLEEP);
	must((vaddr_t)block == va);
	ck_assert_str_eq(owner_at(va), M_TEMP->kt_name);
	kfree(block, M_TEMP);
	must(kmem_range_kept(va));
	ck_assert_str_eq(owner_at(VM_MIN_KERNEL_ADDRESS), "kernel image");
	sound();
}
END_TEST

/* --------------------------------- misuse -------------------------------- */

/* All that could change, without emptying the cache as a ledger does. */
struct shot {
	struct kmem_range_stats s_range;
	struct vm_phys_stats s_phys;
	struct vm_map_stats s_map;
	unsigned long	s_resident;
};

static void
shoot(struct shot *s)
{
	memset(s, 0, sizeof(*s));
	kmem_range_stats(&s->s_range);
	vm_phys_stats(&s->s_phys);
	vm_map_stats(kernel_map, &s->s_map);
	s->s_resident = host_pmap_resident(kernel_pmap);
	s->s_range.krs_full = 0;	/* a free that is refused may be one */
}

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

/* A panic that names both arguments, and says so; nothing changes. */
static void
must_panic(vaddr_t addr, vsize_t size, const char *words)
{
	static struct shot before, after;
	struct free_call fc = { addr, size };
	char args[64];
	unsigned nlocks;
	const char *said;

	shoot(&before);
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
	shoot(&after);
	must(memcmp(&before, &after, sizeof(before)) == 0);
	sound();
}

static void
misuse_of(vaddr_t va)
{
	char twice[80];

	snprintf(twice, sizeof(twice), "nothing is allocated there (freed "
	    "twice: [%#lx, %#lx)", va, va + ptoa(4));
	must_panic(va, ptoa(4), twice);
	must_panic(va, ptoa(4) - 1, twice);
	must_panic(va, ptoa(3), twice);
	must_panic(va, ptoa(5), twice);
	must_panic(va, 0, twice);
	must_panic(va, -1UL, twice);
	must_panic(va + PAGE_SIZE, ptoa(3), twice);
	must_panic(va + PAGE_SIZE, PAGE_SIZE, twice);
	must_panic(va + ptoa(3), ptoa(4), twice);
	must_panic(va + 1, ptoa(4), twice);
	must(kmem_range_kept(va));
}

/* The same, of a range that has guards. */
START_TEST(misuse_of_guarded)
{
	const unsigned fence = fences[_i + 1];
	vaddr_t va = alloc_fenced(KMEM_MISC, 4, fence, ptoa(4));
	const vaddr_t lo = (fence & VM_PAGE_FENCE_LO) ? PAGE_SIZE : 0;

	must_panic(va, ptoa(3), "wrong size");
	must_panic(va + PAGE_SIZE, ptoa(3), "inside region");
	if (lo != 0)
		must_panic(va - lo, ptoa(4) + lo, "inside region");
	give(va, 4);
	must_panic(va, ptoa(4), "freed twice");
	must_panic(va, ptoa(5), "freed twice");
	must_panic(va + PAGE_SIZE, PAGE_SIZE, "freed twice");
	must(vm_map_wire(kernel_map, va, va + ptoa(4)) == EFAULT);
	must(alloc_fenced(KMEM_MISC, 4, fence, ptoa(4)) == va);
	must(vm_map_wire(kernel_map, va, va + ptoa(4)) == 0);
	must_panic(va, ptoa(4), "is wired");
	must(vm_map_unwire(kernel_map, va, va + ptoa(4)) == 0);
	give(va, 4);
	must(kept() == 0);
	must_panic(va, ptoa(4), "nothing is allocated there (freed twice, or");
}
END_TEST

START_TEST(misuse)
{
	vaddr_t va = alloc(_i, 4), next = alloc(_i, 1);

	give(va, 4);
	misuse_of(va);
	/* It is seen whether or not anything is kept at the moment. */
	kmem_range_frames_low(true);
	misuse_of(va);
	kmem_range_frames_low(false);
	kmem_range_reclaiming(true);
	misuse_of(va);
	kmem_range_reclaiming(false);
	must_panic(0, PAGE_SIZE, "nothing is allocated there");
	must_panic(VM_MIN_KERNEL_ADDRESS, PAGE_SIZE, "of kernel image");
	must(alloc(_i, 4) == va);
	give(next, 1);
	must_panic(va, ptoa(3), "wrong size");
	must_panic(va + PAGE_SIZE, PAGE_SIZE, "inside region");
	give(va, 4);
	kmem_range_drain();
	must_panic(va, ptoa(4), "nothing is allocated there (freed twice, or");
}
END_TEST

static vaddr_t
entries_page(void)
{
	const struct vm_map_request vr = { .vr_size = PAGE_SIZE, SLABS };
	struct vm_map_info vi;
	vaddr_t va;
	unsigned i;

	for (i = 0; i < 100; i++)		/* more than there are static */
		must(vm_map_alloc(kernel_map, &vr, &va) == 0);
	for (va = VM_MISC_MIN; vm_map_next(kernel_map, va, &vi) == 0;
	    va = vi.vi_end)
		if (strcmp(vi.vi_owner, "map entries") == 0)
			return vi.vi_start;
	ck_abort_msg("the store of map entries has no page");
}

/* A page of a slab is not the slab layer's user's to free, and not kept. */
START_TEST(pages_of_others)
{
	struct kmem_cache_args ca = { .ca_name = "things", .ca_size = 4000,
	    .ca_slab_pages = 1 };
	struct kmem_cache *kc = kmem_cache_create(&ca);
	vaddr_t va = trunc_page((vaddr_t)kmem_cache_alloc(kc, KM_NOSLEEP));

	must(va != 0);
	must_panic(va, ptoa(2), "of things");
	must_panic(entries_page(), PAGE_SIZE, "of map entries is wired or");
	must(kmem_range_put(va, 1) == KMEM_RANGE_NOT);
	must(kmem_range_put(va + 1, 1) == KMEM_RANGE_NOT);
	must(kmem_range_put(0, 1) == KMEM_RANGE_NOT);
	must(kmem_range_put(VM_MISC_MAX - PAGE_SIZE, 1) == KMEM_RANGE_NOT);
	must(kept() == 0);
}
END_TEST

static void
do_kfree(void *arg)
{
	kfree(arg, M_TEMP);
}

/* The heap's large blocks, and a cache's object, after their pages went. */
START_TEST(misuse_above)
{
	char *p = kmalloc(ptoa(5), M_TEMP, KM_NOSLEEP);
	const char *said;
	unsigned i;

	kfree(p, M_TEMP);
	must(kmem_range_kept((vaddr_t)p));
	for (i = 0; i < 3; i++) {
		said = host_panic_of(do_kfree, p + i * (PAGE_SIZE + 8), NULL);
		must(said != NULL && strstr(said, "kfree") != NULL &&
		    strstr(said, "in pages that were freed") != NULL);
	}
	must(kept() == 5);
	sound();
}
END_TEST

/* What stands in the map alone must not be forgotten. */
START_TEST(wired_or_protected)
{
	vaddr_t va = alloc(KMEM_HEAP, 2), end = va + ptoa(2);

	must(vm_map_wire(kernel_map, va, end) == 0);
	must_panic(va, ptoa(2), "is wired");
	must(vm_map_unwire(kernel_map, va, end) == 0);
	give(va, 2);
	must(kept() == 0 && !kmem_range_kept(va));

	va = alloc(KMEM_HEAP, 2), end = va + ptoa(2);
	must(vm_map_protect(kernel_map, va, end, VM_PROT_READ) == 0);
	must(vm_map_protect(kernel_map, va, end, VM_PROT_RW) == 0);
	give(va, 2);
	must(kept() == 0);

	va = alloc(KMEM_HEAP, 2), end = va + ptoa(2);
	give(va, 2);
	must(vm_map_wire(kernel_map, va, end) == EFAULT);
	must(vm_map_protect(kernel_map, va, end, VM_PROT_READ) == EFAULT);
	sound();
	must(alloc(KMEM_HEAP, 2) == va);
}
END_TEST

/* Regions whose frames are not kmem's, or that have none. */
START_TEST(others_may_be_wired)
{
	struct vm_map_request vr = { .vr_size = PAGE_SIZE, SLABS };
	vaddr_t va;
	paddr_t pa;

	must(vm_map_alloc(kernel_map, &vr, &va) == 0);
	must(vm_map_wire(kernel_map, va, va + PAGE_SIZE) == 0);
	must(vm_map_unwire(kernel_map, va, va + PAGE_SIZE) == 0);
	must(vm_phys_alloc(VM_PAGE_USER, &pa) == 0);
	must(pmap_enter(kernel_pmap, va, pa, VM_PROT_RW) == 0);
	must(vm_map_protect(kernel_map, va, va + PAGE_SIZE, VM_PROT_READ) ==
	    0);
	must(vm_map_free(kernel_map, va, PAGE_SIZE) == 0);
	vm_phys_free(pa);
}
END_TEST

static void
do_alloc(void *arg)
{
	alloc(KMEM_SLAB, 2);
}

static void
do_drain(void *arg)
{
	kmem_range_drain();
}

/* Who takes the pages of a range that is kept, or the range: it is seen. */
START_TEST(changed_while_kept)
{
	const bool by_alloc = _i < 2 || _i == 4 || _i == 6;
	vaddr_t va = alloc(KMEM_SLAB, 2), other;
	const char *said, *check;
	char words[80];
	unsigned nlocks;
	paddr_t pa;

	give(va, 2);
	if (_i >= 4) {				/* it shows another's frame */
		other = alloc(KMEM_HEAP, _i == 6 ? 3 : 2);
		must(pmap_extract(kernel_pmap, other, &pa));
		if (_i == 6)
			give(other, 3);
		must(pmap_enter(kernel_pmap, va, pa, VM_PROT_RW) == 0);
	} else if (_i % 2 == 0)
		pmap_remove(kernel_pmap, va, va + PAGE_SIZE);
	else
		must(vm_map_free(kernel_map, va, ptoa(2)) == 0);
	if (_i == 3)				/* and somebody else has it */
		must(vm_map_insert(kernel_map, va, va + ptoa(2), VM_PROT_RW,
		    "other") == 0);
	check = kmem_range_check();
	must(check != NULL && strncmp(check, "R3: ", 4) == 0);
	said = host_panic_of(by_alloc ? do_alloc : do_drain, NULL, &nlocks);
	snprintf(words, sizeof(words), "range [%#lx, %#lx) is not as it was",
	    va, va + ptoa(2));
	must(said != NULL && strstr(said, words) != NULL);
	must(strncmp(said, by_alloc ? "kmem_alloc:" : "kmem_range_drain:",
	    by_alloc ? 11 : 17) == 0);
	must(nlocks == 0);
	must(bin(KMEM_SLAB, 2).krb_n == 0);	/* and nobody has it */
}
END_TEST

static void
do_alloc_fenced(void *arg)
{
	alloc_fenced(KMEM_SLAB, 2, VM_PAGE_FENCE_HI, 0);
}

/* The same of one with guards, which others lie above. */
START_TEST(guarded_changed)
{
	vaddr_t va = alloc_fenced(KMEM_SLAB, 2, VM_PAGE_FENCE_HI, 0), other;
	const char *said, *check;
	char words[80];
	unsigned nlocks;

	other = alloc_fenced(KMEM_SLAB, 3, VM_PAGE_FENCE_HI, 0);
	give(va, 2);
	give(other, 3);
	pmap_remove(kernel_pmap, va, va + PAGE_SIZE);
	check = kmem_range_check();
	must(check != NULL && strncmp(check, "R3: ", 4) == 0);
	said = host_panic_of(_i ? do_alloc_fenced : do_drain, NULL, &nlocks);
	snprintf(words, sizeof(words), "range [%#lx, %#lx) is not as it was",
	    va, va + ptoa(2));
	must(said != NULL && strstr(said, words) != NULL && nlocks == 0);
	must(bin(GUARDED).krb_n == (_i ? 1 : 0));
	must(kept() == (_i ? 3 : 0));
}
END_TEST

/* -------------------------------- how much ------------------------------- */

/* Of one size. */
START_TEST(full_bin)
{
	const unsigned pages = (unsigned)_i + 1;
	const unsigned max = bin(KMEM_SLAB, pages).krb_max;
	vaddr_t va[KMEM_RANGE_MOST + 1];
	unsigned i;

	must(max >= 1 && max <= KMEM_RANGE_MOST);
	for (i = 0; i <= max; i++)
		va[i] = alloc(KMEM_SLAB, pages);
	for (i = 0; i <= max; i++)
		give(va[i], pages);
	must(bin(KMEM_SLAB, pages).krb_n == max && kept() == max * pages);
	must(stats().krs_full == 1 && !kmem_range_kept(va[max]));
	sound();
	for (i = max; i-- > 0;)
		must(alloc(KMEM_SLAB, pages) == va[i]);
	must(kept() == 0);
}
END_TEST

/* In all. */
START_TEST(full_cache)
{
	const unsigned long max = stats().krs_max;
	vaddr_t va[KMEM_NWINDOWS][KMEM_RANGE_PAGES];
	unsigned long want = 0;
	unsigned w, n;

	must(max >= 16 && max <= NFRAMES / 64);
	for (w = 0; w < KMEM_NWINDOWS; w++)
		for (n = 1; n <= KMEM_RANGE_PAGES; n++)
			va[w][n - 1] = alloc(w, n);
	for (w = 0; w < KMEM_NWINDOWS; w++)
		for (n = 1; n <= KMEM_RANGE_PAGES; n++) {
			if (want + n <= max)
				want += n;
			give(va[w][n - 1], n);
			must(kept() == want);
		}
	must(want <= max && stats().krs_full > 0);
	must(stats().krs_high == want);
	sound();
	must(kmem_range_drain() == want);
	must(kept() == 0 && kmem_range_drain() == 0);
	give(alloc(KMEM_SLAB, 1), 1);
	must(stats().krs_high == want && kmem_range_drain() == 1);
	must(stats().krs_freed == stats().krs_kept);
	sound();
}
END_TEST

/* What was not needed since the last tick goes at the next, oldest first. */
START_TEST(working_set)
{
	vaddr_t va[8];
	unsigned i;

	host_advance(KMEM_RANGE_TICKS);
	must(kmem_range_tick() == 0);
	for (i = 0; i < 8; i++)
		va[i] = alloc(KMEM_SLAB, 2);
	for (i = 0; i < 8; i++)
		give(va[i], 2);
	must(bin(KMEM_SLAB, 2).krb_n == 8 && bin(KMEM_SLAB, 2).krb_idle == 0);
	must(kmem_range_tick() == 0);		/* not yet */
	host_advance(KMEM_RANGE_TICKS - 1);
	must(kmem_range_tick() == 0);
	host_advance(1);
	must(kmem_range_tick() == 0);	/* all of them were live lately */
	must(bin(KMEM_SLAB, 2).krb_idle == 8);

	for (i = 8; i-- > 5;)			/* three are needed */
		must(alloc(KMEM_SLAB, 2) == va[i]);
	for (i = 5; i < 8; i++)
		give(va[i], 2);
	must(bin(KMEM_SLAB, 2).krb_idle == 5);
	host_advance(KMEM_RANGE_TICKS);
	host_set_intr(true);
	must(kmem_range_tick() == 0 && kmem_range_drain() == 0);
	host_set_intr(false);
	must(kmem_range_tick() == 10);
	for (i = 0; i < 8; i++)
		must(kmem_range_kept(va[i]) == (i >= 5));
	sound();
	must(kmem_range_tick() == 0);
	host_advance(KMEM_RANGE_TICKS);
	must(kmem_range_tick() == 6 && kept() == 0);
}
END_TEST

/* Where nobody calls the timer, a bin that is full looks at the clock. */
START_TEST(full_and_old)
{
	const unsigned max = bin(KMEM_HEAP, 8).krb_max;
	vaddr_t va[KMEM_RANGE_MOST + 2], small;
	unsigned i;

	small = alloc(KMEM_SLAB, 1);
	give(small, 1);
	host_advance(KMEM_RANGE_TICKS);
	must(kmem_range_tick() == 0);
	for (i = 0; i < max + 2; i++)
		va[i] = alloc(KMEM_HEAP, 8);
	for (i = 0; i < max + 1; i++)
		give(va[i], 8);
	must(kmem_range_kept(small));
	host_advance(KMEM_RANGE_TICKS);
	give(va[max + 1], 8);
	must(!kmem_range_kept(small) && kept() == max * 8);
}
END_TEST

START_TEST(switched_off)
{
	vaddr_t a = alloc(KMEM_SLAB, 2), b = alloc(KMEM_MISC, 1);
	struct ledger before;

	ledger_take(&before);
	give(a, 2);
	must(kmem_range_enable(false) == true);
	must(kept() == 0 && !stats().krs_on);
	give(b, 1);
	must(kept() == 0 && !kmem_range_kept(b));
	must(alloc(KMEM_MISC, 1) == b);
	must(stats().krs_hits == 0);
	must(kmem_range_enable(false) == false);
	must(kmem_range_enable(true) == false);
	must(stats().krs_on);
	give(b, 1);				/* allocated while it was off */
	must(kmem_range_kept(b));
	must(alloc(KMEM_SLAB, 2) == a && alloc(KMEM_MISC, 1) == b);
	must(ledger_since(&before) == NULL);
}
END_TEST

/* -------------------------------- pressure ------------------------------- */

static paddr_t hoard[NFRAMES];
static unsigned nhoard;

/* Leave so many frames. */
static void
hoard_but(pfn_t leave)
{
	unsigned n = vm_phys_nfree() - leave;

	must(vm_phys_alloc_many(n, VM_PAGE_USER, hoard + nhoard) == 0);
	nhoard += n;
}

static void
unhoard(unsigned n)
{
	nhoard -= n;
	vm_phys_free_many(hoard + nhoard, n);
}

/* While frames are low nothing is kept, and what was is given at a tick. */
START_TEST(frames_low)
{
	struct vm_phys_stats ps;
	vaddr_t a = alloc(KMEM_SLAB, 2), b = alloc(KMEM_SLAB, 2);

	give(a, 2);
	vm_phys_stats(&ps);
	hoard_but(ps.ps_mark_low);
	must(kmem_range_tick() == 0 && kept() == 2);
	hoard_but(ps.ps_mark_low - 1);
	must(kept() == 2);
	must(kmem_range_tick() == 2 && kept() == 0);
	give(b, 2);
	must(kept() == 0);
	a = alloc(KMEM_SLAB, 2);
	unhoard(ps.ps_mark_high - vm_phys_nfree() - 1);
	give(a, 2);				/* enough, this makes it */
	must(kept() == 0);
	a = alloc(KMEM_SLAB, 2);
	give(a, 2);
	must(kept() == 2);
	unhoard(nhoard);
	sound();
}
END_TEST

/* No request fails for frames that are kept. */
START_TEST(frames_run_out)
{
	static const struct vm_map_request odd = { .vr_size = ptoa(12),
	    .vr_guard_lo = 1, SLABS };
	vaddr_t va[10], got;
	unsigned i;

	for (i = 0; i < 10; i++)
		va[i] = alloc(KMEM_SLAB, (i % 4) + 1);
	for (i = 0; i < 10; i++)
		give(va[i], (i % 4) + 1);
	must(kept() == 23);
	hoard_but(0);
	if (_i == 0)
		got = alloc(KMEM_SLAB, 23);
	else
		must(request(&odd, &got) == 0);
	must(kept() == 0);
	must(vm_phys_nfree() == (_i == 0 ? 0 : 11));
	kmem_free(kernel_map, got, _i == 0 ? ptoa(23) : ptoa(12));
	must(kmem_alloc(kernel_map, ptoa(24), KM_SLAB | KM_NOSLEEP) == 0);
	unhoard(nhoard);
	sound();
}
END_TEST

/*
 * Nor for addresses: the window is full but for what is kept, whose pieces
 * make one hole together.
 */
START_TEST(addresses_run_out)
{
	static const unsigned size[5] = { 3, 4, 4, 4, 5 };
	struct vm_map_request vr = { SLABS, .vr_owner = "wall" };
	vaddr_t va[5], got, wall;
	struct ledger before;
	unsigned i;

	ledger_take(&before);
	for (i = 0; i < 5; i++)
		va[i] = alloc(KMEM_SLAB, size[i]);
	for (i = 1; i < 5; i++)
		must(va[i] == va[i - 1] + ptoa(size[i - 1]));
	vr.vr_size = VM_SLAB_MAX - PAGE_SIZE - va[4] - ptoa(size[4]);
	must(vm_map_alloc(kernel_map, &vr, &wall) == 0);
	for (i = 0; i < 5; i++)
		give(va[i], size[i]);
	must(kept() == 20);
	if (_i == 0) {
		got = kmem_alloc(kernel_map, ptoa(20), KM_SLAB | KM_NOSLEEP);
		must(got == va[0]);
		kmem_free(kernel_map, got, ptoa(20));
	} else if (_i == 1) {
		got = alloc(KMEM_SLAB, 16);
		must(got == va[0]);
		kmem_free(kernel_map, got, ptoa(16));
	} else {
		must(kmem_alloc(kernel_map, ptoa(21),
		    KM_SLAB | KM_NOSLEEP) == 0);
		must(kept() == 0);
	}
	must(vm_map_free(kernel_map, wall, vr.vr_size) == 0);
	must(ledger_since(&before) == NULL);
	sound();
}
END_TEST

/* KM_EASY asks nobody to give, but takes what is kept for just this. */
START_TEST(easy)
{
	vaddr_t va = alloc(KMEM_SLAB, 4);

	give(va, 4);
	hoard_but(0);
	must(kmem_alloc(kernel_map, ptoa(3), KM_SLAB | KM_EASY) == 0);
	must(kept() == 4);
	must(kmem_alloc(kernel_map, ptoa(4), KM_SLAB | KM_EASY) == va);
	unhoard(nhoard);
}
END_TEST

/* A reclaim passes by: what it gives back does not stop here. */
static unsigned long
give_ranges(unsigned long pages)
{
	static unsigned calls;
	vaddr_t *va = (vaddr_t *)hoard;		/* of no use here otherwise */

	if (calls++ != 0)
		return 0;
	give(va[0], 4);
	give(va[1], 4);
	must(kept() == 0);
	return 8;
}

START_TEST(reclaimed_past_it)
{
	static struct kmem_reclaimer kr = { .kr_name = "ranges' friend",
	    .kr_priority = KR_CACHE, .kr_reclaim = give_ranges };
	vaddr_t *va = (vaddr_t *)hoard;

	va[0] = alloc(KMEM_SLAB, 4);
	va[1] = alloc(KMEM_SLAB, 4);
	kmem_reclaim_add(&kr);
	must(kmem_reclaim(8) >= 8);
	must(kept() == 0);
	va[2] = alloc(KMEM_SLAB, 4);
	give(va[2], 4);
	must(kept() == 4);			/* it is over */
}
END_TEST

/* Sleepers: what is kept while they sleep they find, or have it drained. */
static vaddr_t held;
static unsigned nsleeps;

static bool
wake(const void *chan)
{
	uint64_t was = host_wakeups();

	must(nsleeps++ == 0);
	unhoard(nhoard);			/* not low any more */
	give(held, 4);
	must(kmem_range_kept(held) && host_wakeups() > was);
	hoard_but(0);
	return true;
}

START_TEST(sleeper_finds_it)
{
	const unsigned pages = _i == 0 ? 4 : 3;
	vaddr_t va;

	host_set_sleep(true, wake);
	held = alloc(KMEM_HEAP, 4);
	hoard_but(0);
	va = kmem_alloc(kernel_map, ptoa(pages), KM_HEAP | KM_SLEEP);
	must(va != 0 && nsleeps == 1);
	must(kept() == 0);
	must(_i != 0 || (va == held && stats().krs_hits == 1));
	unhoard(nhoard);
	sound();
}
END_TEST

/* ------------------------------ random, a model -------------------------- */

#define LIVE	96

struct live {
	vaddr_t		l_va;
	unsigned	l_w, l_pages;
	unsigned	l_fence;
};

/* Behind the windows, the stack of those with guards. */
static struct model {
	struct live	m_stack[KMEM_NWINDOWS + 1][KMEM_RANGE_PAGES + 1]
			    [KMEM_RANGE_MOST];
	unsigned	m_n[KMEM_NWINDOWS + 1][KMEM_RANGE_PAGES + 1];
	unsigned	m_idle[KMEM_NWINDOWS + 1][KMEM_RANGE_PAGES + 1];
	unsigned long	m_pages, m_now, m_tick;
	bool		m_on;
} m;

static struct live live[LIVE];
static unsigned nlive;
static uint64_t seed;

static unsigned
draw(unsigned n)
{
	return k_random(&seed) % n;
}

static uint32_t
stamp(vaddr_t page, unsigned pages)
{
	return (uint32_t)(page >> PAGE_SHIFT) * 2654435761u ^ pages;
}

static void
stamp_write(const struct live *l)
{
	for (unsigned i = 0; i < l->l_pages; i++)
		*(uint32_t *)(l->l_va + ptoa(i)) =
		    stamp(l->l_va + ptoa(i), l->l_pages);
}

static void
stamp_check(const struct live *l)
{
	for (unsigned i = 0; i < l->l_pages; i++)
		must(*(uint32_t *)(l->l_va + ptoa(i)) ==
		    stamp(l->l_va + ptoa(i), l->l_pages));
}

static bool
overlaps(vaddr_t a, unsigned na, vaddr_t b, unsigned nb)
{
	return a < b + ptoa(nb) && b < a + ptoa(na);
}

/* A range from the map is neither somebody's nor kept. */
static void
must_be_new(vaddr_t va, unsigned pages)
{
	unsigned i, w, n;

	for (i = 0; i < nlive; i++)
		must(!overlaps(va, pages, live[i].l_va, live[i].l_pages));
	for (w = 0; w <= KMEM_NWINDOWS; w++)
		for (n = 1; n <= KMEM_RANGE_PAGES; n++)
			for (i = 0; i < m.m_n[w][n]; i++)
				must(!overlaps(va, pages,
				    m.m_stack[w][n][i].l_va,
				    m.m_stack[w][n][i].l_pages));
}

/* The newest that will do, off its stack.  => false: there is none */
static bool
model_take(const struct live *want, vsize_t align, struct live *l)
{
	const bool guarded = want->l_fence != 0;
	const unsigned w = guarded ? KMEM_NWINDOWS : want->l_w;
	const unsigned n = guarded ? 1 : want->l_pages;
	unsigned i;

	if (want->l_pages > KMEM_RANGE_PAGES)
		return false;
	for (i = m.m_n[w][n]; i-- > 0;) {
		*l = m.m_stack[w][n][i];
		if (l->l_w == want->l_w && l->l_pages == want->l_pages &&
		    l->l_fence == want->l_fence && l->l_va % align == 0)
			break;
	}
	if (i == -1u)
		return false;
	m.m_n[w][n]--;
	memmove(&m.m_stack[w][n][i], &m.m_stack[w][n][i + 1],
	    (m.m_n[w][n] - i) * sizeof(*l));
	m.m_pages -= want->l_pages;
	if (m.m_n[w][n] < m.m_idle[w][n])
		m.m_idle[w][n] = m.m_n[w][n];
	return true;
}

static void
step_alloc(void)
{
	struct live l = { .l_w = draw(KMEM_NWINDOWS) }, want;
	const vsize_t align = draw(4) == 0 ? PAGE_SIZE << draw(4) : PAGE_SIZE;

	/* Mostly few sizes, so that there are hits. */
	l.l_pages = draw(4) != 0 ? 1 + draw(4) : 1 + draw(18);
	if (draw(4) == 0)
		l.l_fence = fences[1 + draw(3)];
	l.l_va = l.l_fence != 0 || align != PAGE_SIZE ?
	    alloc_fenced(l.l_w, l.l_pages, l.l_fence, align) :
	    alloc(l.l_w, l.l_pages);
	if (model_take(&l, align, &want))
		must(l.l_va == want.l_va);
	else
		must_be_new(l.l_va, l.l_pages);
	stamp_write(&l);
	live[nlive++] = l;
}

static void
model_tick(bool all)
{
	unsigned w, n, gone, i;

	for (w = 0; w <= KMEM_NWINDOWS; w++)
		for (n = 1; n <= KMEM_RANGE_PAGES; n++) {
			gone = all ? m.m_n[w][n] : m.m_idle[w][n];
			for (i = 0; i < gone; i++)
				m.m_pages -= m.m_stack[w][n][i].l_pages;
			m.m_n[w][n] -= gone;
			memmove(m.m_stack[w][n], m.m_stack[w][n] + gone,
			    m.m_n[w][n] * sizeof(struct live));
			m.m_idle[w][n] = m.m_n[w][n];
		}
}

/* The timer, as whoever calls it. */
static void
model_clock(void)
{
	if (m.m_now - m.m_tick < KMEM_RANGE_TICKS)
		return;
	m.m_tick = m.m_now;
	model_tick(false);
}

static void
step_free(void)
{
	const unsigned i = draw(nlive), before = bin(GUARDED).krb_pages;
	const struct live l = live[i];
	unsigned *n, w;

	stamp_check(&l);
	live[i] = live[--nlive];
	give(l.l_va, l.l_pages);
	if (l.l_pages > KMEM_RANGE_PAGES || !m.m_on)
		return;
	w = l.l_fence != 0 ? KMEM_NWINDOWS : l.l_w;
	n = &m.m_n[w][l.l_fence != 0 ? 1 : l.l_pages];
	if (*n < bin(w, l.l_pages).krb_max &&
	    m.m_pages + l.l_pages <= stats().krs_max && (l.l_fence == 0 ||
	    before + l.l_pages <= FENCED_PAGES)) {
		m.m_stack[w][l.l_fence != 0 ? 1 : l.l_pages][(*n)++] = l;
		m.m_pages += l.l_pages;
	} else
		model_clock();
}

static void
compare_bin(unsigned w, unsigned n)
{
	struct kmem_range_entry kre[KMEM_RANGE_MOST];
	const struct live *l = m.m_stack[w][n];
	unsigned i, pages = 0;

	must(bin(w, n).krb_n == m.m_n[w][n]);
	must(bin(w, n).krb_idle == m.m_idle[w][n]);
	must(kmem_range_list(w, n, kre, nitems(kre)) == m.m_n[w][n]);
	for (i = 0; i < m.m_n[w][n]; i++, l++) {
		must(kre[i].kre_va == l->l_va);
		must(kre[i].kre_pages == l->l_pages);
		must(kre[i].kre_fence == l->l_fence);
		pages += l->l_pages;
	}
	must(bin(w, n).krb_pages == pages);
}

static void
model_compare(void)
{
	unsigned w, n;

	must(kept() == m.m_pages);
	for (w = 0; w < KMEM_NWINDOWS; w++)
		for (n = 1; n <= KMEM_RANGE_PAGES; n++)
			compare_bin(w, n);
	compare_bin(KMEM_NWINDOWS, 1);
}

static void
step(void)
{
	unsigned r = draw(1000), by;

	if (r < 4) {
		must(kmem_range_drain() == m.m_pages);
		model_tick(true);
	} else if (r < 8) {
		must(kmem_range_enable(!m.m_on) == m.m_on);
		m.m_on = !m.m_on;
		if (!m.m_on)
			model_tick(true);
	} else if (r < 40) {
		by = draw(KMEM_RANGE_TICKS);
		host_advance(by);
		m.m_now += by;
		kmem_range_tick();
		model_clock();
	} else if (nlive < LIVE && (nlive == 0 || draw(2) == 0))
		step_alloc();
	else
		step_free();
}

START_TEST(model)
{
	struct ledger before;
	unsigned i;

	seed = (uint64_t)_i + 1;
	printf("kmem_range: seed %d\n", _i + 1);
	ledger_take(&before);
	m.m_on = true;
	for (i = 0; i < 10000; i++) {
		step();
		model_compare();
		if (i % 100 == 0)
			sound();
	}
	must(stats().krs_hits > 300 && stats().krs_full > 10);
	while (nlive > 0) {
		stamp_check(&live[--nlive]);
		give(live[nlive].l_va, live[nlive].l_pages);
	}
	must(ledger_since(&before) == NULL);
	sound();
}
END_TEST

/* ------------------------------ fail the nth ----------------------------- */

static const enum vm_fail_site sites[] = {
	VM_FAIL_PAGE, VM_FAIL_PTP, VM_FAIL_ENTRY, VM_FAIL_SPACE
};

/* What was kept is had without asking; what fails leaves all as it was. */
START_TEST(nth_fails)
{
	const enum vm_fail_site site = sites[_i / 2];
	struct ledger before;
	vaddr_t a = alloc(KMEM_SLAB, 4), b;
	unsigned long n;

	give(a, 4);
	ledger_take(&before);			/* empties it */
	for (n = 1; n <= 12; n++) {
		a = alloc(KMEM_SLAB, 4);
		give(a, 4);
		vm_fail_set(site, n, _i % 2 != 0);
		must(alloc(KMEM_SLAB, 4) == a);
		must(vm_fail_count(site) == 0);
		give(a, 4);
		b = kmem_alloc(kernel_map, ptoa(9), KM_SLAB | KM_NOSLEEP);
		must(vm_fail_count(site) > 0 || site == VM_FAIL_PTP);
		vm_fail_set(site, 0, false);
		sound();
		if (b != 0)
			give(b, 9);
		must(ledger_since(&before) == NULL);
	}
}
END_TEST

/* A random run with something failing all the time: nothing is lost. */
START_TEST(random_failures)
{
	struct ledger before;
	unsigned i, k;

	seed = (uint64_t)_i + 77;
	printf("kmem_range: seed %d\n", _i + 77);
	ledger_take(&before);
	for (i = 0; i < 3000; i++) {
		if (i % 8 == 0)
			vm_fail_set(sites[draw(nitems(sites))], 1 + draw(20),
			    draw(4) == 0);
		if (nlive < LIVE && draw(2) == 0) {
			struct live *l = &live[nlive];

			l->l_w = draw(KMEM_NWINDOWS);
			l->l_pages = 1 + draw(18);
			l->l_va = kmem_alloc(kernel_map, ptoa(l->l_pages),
			    windows[l->l_w].flags | KM_NOSLEEP);
			if (l->l_va == 0)
				continue;
			stamp_write(l);
			nlive++;
		} else if (nlive > 0) {
			k = draw(nlive);
			stamp_check(&live[k]);
			give(live[k].l_va, live[k].l_pages);
			live[k] = live[--nlive];
		}
		if (i % 50 == 0)
			sound();
	}
	for (k = 0; k < nitems(sites); k++)
		vm_fail_set(sites[k], 0, false);
	while (nlive > 0) {
		nlive--;
		give(live[nlive].l_va, live[nlive].l_pages);
	}
	must(ledger_since(&before) == NULL);
	sound();
}
END_TEST

static void
add_uses(TCase *tc)
{
	tcase_add_loop_test(tc, had_again, 0, KMEM_NWINDOWS);
	tcase_add_test(tc, others_are_not_served);
	tcase_add_test(tc, zeroed);
	tcase_add_test(tc, any_size);
	tcase_add_test(tc, plain_requests);
	tcase_add_test(tc, special_requests);
	tcase_add_loop_test(tc, guards, 0, 3 * KMEM_NWINDOWS);
	tcase_add_loop_test(tc, alignments, 0, nitems(fences));
	tcase_add_loop_test(tc, guards_full, 0, 2);
	tcase_add_test(tc, guards_idle);
	tcase_add_loop_test(tc, misuse_of_guarded, 0, 3);
	tcase_add_loop_test(tc, guarded_changed, 0, 2);
	tcase_add_test(tc, another_map);
	tcase_add_test(tc, owners);
	tcase_add_loop_test(tc, misuse, 0, KMEM_NWINDOWS);
	tcase_add_test(tc, pages_of_others);
	tcase_add_test(tc, misuse_above);
	tcase_add_test(tc, wired_or_protected);
	tcase_add_test(tc, others_may_be_wired);
	tcase_add_loop_test(tc, changed_while_kept, 0, 7);
	tcase_add_loop_test(tc, full_bin, 0, KMEM_RANGE_PAGES);
	tcase_add_test(tc, full_cache);
	tcase_add_test(tc, working_set);
	tcase_add_test(tc, full_and_old);
	tcase_add_test(tc, switched_off);
}

static void
add_pressure(TCase *tc)
{
	tcase_add_test(tc, frames_low);
	tcase_add_loop_test(tc, frames_run_out, 0, 2);
	tcase_add_loop_test(tc, addresses_run_out, 0, 3);
	tcase_add_test(tc, easy);
	tcase_add_test(tc, reclaimed_past_it);
	tcase_add_loop_test(tc, sleeper_finds_it, 0, 2);
	tcase_add_loop_test(tc, model, 0, 8);
	tcase_add_loop_test(tc, nth_fails, 0, 2 * (int)nitems(sites));
	tcase_add_loop_test(tc, random_failures, 0, 4);
}

int
main(void)
{
	Suite *s = suite_create("kmem_range");
	TCase *tc = tcase_create("kmem_range");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, boot, NULL);
	add_uses(tc);
	add_pressure(tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
