/*
 * Whatever an operation asks for fails, at the n-th request for every n, once
 * and for ever: entries, frames, page tables, address space; with entries in
 * store and with a store that has to grow first; and frames running out in
 * earnest.  Every region of both maps, their counters, the entries, the frames
 * by owner and what the page tables show are then as before, and a second
 * try succeeds.  (test_vm_map_fail.c does it to maps without a pmap.)
 *
 * Page tables of the kernel's, and pages of the entry store, stay: a frame
 * that became one of these is counted with the free ones.
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
#include "map_test.h"

#define MAXREGIONS	256
#define USER_PAGES	40
#define PTP_BYTES	((vsize_t)1 << 22)	/* what a page table covers */

static struct vm_map user;	/* what the user operations work on */
static struct vm_map filler;	/* has the entries when there are to be none */
static struct pmap *upmap;	/* user's, or NULL */
static vaddr_t place;		/* kernel: nobody has been here before */
static vaddr_t got;		/* what the last kmem_alloc gave */
static vsize_t got_size;

/* ------------------------------ the account ---------------------------- */

struct account {
	unsigned	a_n;		/* regions, but for map entries' */
	struct vm_map_info a_region[MAXREGIONS];
	unsigned long	a_regions;	/* by the map's own counter */
	vsize_t		a_used;
};

struct shot {
	struct account	s_kernel, s_user;
	unsigned long	s_entries;	/* in use, but for the store's own and
					   the maps' spare ones */
	pfn_t		s_owner[VM_PAGE_NOWNERS];
	unsigned long	s_kernel_shows, s_user_shows;	/* pages */
};

static void
account_take(struct account *a, struct vm_map *map)
{
	struct vm_map_stats st;
	struct vm_map_info vi;
	vaddr_t va = map->vm_min;

	vm_map_stats(map, &st);
	a->a_regions = st.vms_entries;
	a->a_used = st.vms_used;
	for (a->a_n = 0; vm_map_next(map, va, &vi) == 0; va = vi.vi_end) {
		if (strcmp(vi.vi_owner, "map entries") == 0) {
			a->a_regions--;
			a->a_used -= vi.vi_end - vi.vi_start;
			continue;
		}
		must(a->a_n < MAXREGIONS);
		a->a_region[a->a_n++] = vi;
	}
	must(a->a_n == a->a_regions);
}

static void
shoot(struct shot *s)
{
	struct vm_phys_stats ps;
	struct entry_stats es;
	unsigned i;

	entry_stats(&es);
	vm_phys_stats(&ps);
	account_take(&s->s_kernel, kernel_map);
	account_take(&s->s_user, &user);
	s->s_entries = es.es_total - es.es_free - es.es_pages -
	    (kernel_map->vm_spare != NULL) - (user.vm_spare != NULL);
	for (i = 0; i < VM_PAGE_NOWNERS; i++)
		s->s_owner[i] = ps.ps_owner[i];
	s->s_owner[VM_PAGE_FREE] += s->s_owner[VM_PAGE_PTP] +
	    s->s_owner[VM_PAGE_ENTRY];
	s->s_owner[VM_PAGE_PTP] = s->s_owner[VM_PAGE_ENTRY] = 0;
	s->s_kernel_shows = host_pmap_resident(kernel_pmap) - es.es_pages;
	s->s_user_shows = upmap != NULL ? host_pmap_resident(upmap) : 0;
}

static bool
account_same(const struct account *a, const struct account *b)
{
	const struct vm_map_info *x = a->a_region, *y = b->a_region;
	unsigned i;

	if (a->a_n != b->a_n || a->a_used != b->a_used)
		return false;
	for (i = 0; i < a->a_n; i++, x++, y++)
		if (x->vi_start != y->vi_start || x->vi_end != y->vi_end ||
		    x->vi_guard_lo != y->vi_guard_lo ||
		    x->vi_guard_hi != y->vi_guard_hi ||
		    x->vi_prot != y->vi_prot || x->vi_wired != y->vi_wired ||
		    x->vi_owner != y->vi_owner)
			return false;
	return true;
}

/* NULL, or what is not as it was. */
static const char *
differs(const struct shot *was)
{
	static struct shot now;

	shoot(&now);
	if (!account_same(&was->s_kernel, &now.s_kernel))
		return "kernel_map";
	if (!account_same(&was->s_user, &now.s_user))
		return "the user map";
	if (was->s_entries != now.s_entries)
		return "the number of entries in use";
	if (memcmp(was->s_owner, now.s_owner, sizeof(now.s_owner)) != 0)
		return "the frames";
	if (was->s_kernel_shows != now.s_kernel_shows ||
	    was->s_user_shows != now.s_user_shows)
		return "what page tables show";
	return NULL;
}

static void
sound(void)
{
	must(vm_map_check(kernel_map) == NULL);
	must(vm_map_check(&user) == NULL);
	must(vm_phys_check() == NULL);
	must(host_pmap_check(kernel_pmap) == NULL);
	must(upmap == NULL || host_pmap_check(upmap) == NULL);
}

/* ----------------------------- the operations -------------------------- */

static vaddr_t
at(unsigned page)
{
	return user.vm_min + ptoa(page);
}

static int
kmem(vsize_t size, int flags)
{
	vaddr_t va = kmem_alloc(kernel_map, size, flags | KM_NOSLEEP);

	if (va == 0)
		return ENOMEM;
	got = va;
	got_size = size;
	return 0;
}

static int
kmem_request(struct vm_map_request *r, int flags)
{
	int error = kmem_alloc_request(kernel_map, r, flags | KM_NOSLEEP,
	    &got);

	if (error == 0)
		got_size = r->vr_size;
	return error;
}

static int
op_kmem_misc(void)
{
	return kmem(ptoa(3), 0);
}

static int
op_kmem_heap(void)
{
	return kmem(ptoa(2) + 1, KM_HEAP | KM_ZERO);
}

static int
op_kmem_slab(void)
{
	return kmem(ptoa(5), KM_SLAB);
}

static int
op_kmem_batches(void)		/* frames go back by 32 */
{
	return kmem(ptoa(67), 0);
}

/* Two page tables that are not there yet. */
static int
op_kmem_tables(void)
{
	struct vm_map_request r = {
		.vr_size = ptoa(5), .vr_min = place - ptoa(2),
		.vr_max = place + ptoa(3), .vr_owner = "tables",
	};

	return kmem_request(&r, 0);
}

static int
op_kmem_guards(void)
{
	struct vm_map_request r = {
		.vr_size = ptoa(4), .vr_min = place, .vr_max = place + ptoa(64),
		.vr_align = ptoa(8), .vr_guard_lo = 1, .vr_guard_hi = 2,
		.vr_prot = VM_PROT_READ, .vr_owner = "guards",
	};

	return kmem_request(&r, KM_ZERO);
}

static int
op_kmem_topdown(void)
{
	struct vm_map_request r = {
		.vr_size = ptoa(2), .vr_policy = VM_FIT_TOPDOWN,
		.vr_min = VM_HEAP_MIN, .vr_max = VM_HEAP_MAX,
		.vr_guard_hi = 255,
	};

	return kmem_request(&r, 0);
}

static int
op_kmem_free(void)		/* never fails, whatever does */
{
	kmem_free(kernel_map, got, got_size);
	got = kmem_alloc(kernel_map, got_size, KM_NOSLEEP);
	return got != 0 ? 0 : ENOMEM;
}

static int
op_alloc(void)
{
	struct vm_map_request r = {
		.vr_size = ptoa(2), .vr_align = ptoa(4), .vr_guard_lo = 1,
		.vr_prot = VM_PROT_RW, .vr_owner = "new",
	};
	vaddr_t addr;

	return vm_map_alloc(&user, &r, &addr);
}

static int
op_insert(void)
{
	return vm_map_insert(&user, at(12), at(14), VM_PROT_READ, "new");
}

static int
op_insert_joined(void)
{
	return vm_map_insert(&user, at(10), at(15), VM_PROT_RW, "ann");
}

static int
op_protect(void)
{
	return vm_map_protect(&user, at(6), at(8), VM_PROT_READ);
}

static int
op_wire(void)
{
	return vm_map_wire(&user, at(16), at(18));
}

static int
op_unwire(void)			/* 25…30 are wired */
{
	return vm_map_unwire(&user, at(26), at(28));
}

static int
op_remove_middle(void)
{
	return vm_map_remove(&user, at(16), at(18));
}

static int
op_remove_ends(void)		/* needs nothing */
{
	return vm_map_remove(&user, at(8), at(16));
}

static int
op_remove_whole(void)
{
	return vm_map_remove(&user, at(15), at(20));
}

struct op {
	const char	*o_name;
	unsigned	 o_flags;	/* 0: kmem; else the kind of map */
	int		 (*o_do)(void);
	bool		 o_never;	/* it needs nothing that could fail */
};

static const struct op ops[] = {
	{ "kmem_alloc", 0, op_kmem_misc, false },
	{ "kmem_alloc in the heap window", 0, op_kmem_heap, false },
	{ "kmem_alloc in the slab window", 0, op_kmem_slab, false },
	{ "kmem_alloc of 67 pages", 0, op_kmem_batches, false },
	{ "kmem_alloc over two page tables", 0, op_kmem_tables, false },
	{ "kmem_alloc between guards", 0, op_kmem_guards, false },
	{ "kmem_alloc from the top", 0, op_kmem_topdown, false },
	{ "kmem_free, and kmem_alloc", 0, op_kmem_free, false },
	{ "alloc", VM_MAP_USER, op_alloc, false },
	{ "alloc", VM_MAP_KERNEL, op_alloc, false },
	{ "insert", VM_MAP_USER, op_insert, false },
	{ "insert", VM_MAP_KERNEL, op_insert, false },
	{ "insert, joined", VM_MAP_USER, op_insert_joined, false },
	{ "protect", VM_MAP_USER, op_protect, false },
	{ "wire", VM_MAP_USER, op_wire, false },
	{ "unwire", VM_MAP_USER, op_unwire, false },
	{ "remove of a middle", VM_MAP_USER, op_remove_middle, false },
	{ "remove of two ends", VM_MAP_USER, op_remove_ends, true },
	{ "remove of a whole", VM_MAP_USER, op_remove_whole, true },
	{ "remove of a whole", VM_MAP_KERNEL, op_remove_whole, true },
};

/* ------------------------------- the stage ------------------------------ */

static paddr_t frame[USER_PAGES];

/* Regions of five pages behind holes of five, each page with its frame. */
static void
furnish(const struct op *op, bool mapped)
{
	vaddr_t min = VM_MIN_ADDRESS + PTP_BYTES - ptoa(17);
	unsigned i, kind = op->o_flags == 0 ? VM_MAP_USER : op->o_flags;

	upmap = mapped ? pmap_create() : NULL;
	must(!mapped || upmap != NULL);
	must(vm_map_init(&user, "user", min, min + ptoa(USER_PAGES), kind,
	    upmap) == 0);
	for (i = 5; i < USER_PAGES; i++) {
		if (i / 5 % 2 == 0)
			continue;
		if (i % 5 == 0)
			must(vm_map_insert(&user, at(i), at(i + 5), VM_PROT_RW,
			    "ann") == 0);
		if (!mapped)
			continue;
		must(vm_phys_alloc(VM_PAGE_USER, &frame[i]) == 0);
		must(pmap_enter(upmap, at(i), frame[i], VM_PROT_RW) == 0);
	}
	must(vm_map_wire(&user, at(25), at(30)) == 0);
}

static void
unfurnish(void)
{
	unsigned i;

	vm_map_destroy(&user);
	for (i = 0; i < USER_PAGES; i++)
		if (frame[i] != 0)
			vm_phys_free(frame[i]);
	memset(frame, 0, sizeof(frame));
	if (upmap != NULL)
		pmap_destroy(upmap);
	upmap = NULL;
}

/*
 * Leave as many entries in the store as nobody gets, so that the next request
 * makes it grow.
 */
static void
drain(void)
{
	vaddr_t va = 0x10000000;
	struct entry_stats es;

	must(vm_map_init(&filler, "filler", va, 2 * va, VM_MAP_KERNEL,
	    NULL) == 0);
	for (;; va += ptoa(2)) {
		entry_stats(&es);
		if (es.es_free <= ENTRY_RESERVE)
			break;
		must(vm_map_insert(&filler, va, va + PAGE_SIZE, VM_PROT_RW,
		    "filler") == 0);
	}
}

static void
undo(const struct op *op)
{
	if (op->o_flags == 0)
		kmem_free(kernel_map, got, got_size);
}

struct way {
	bool	w_drained;	/* the store of entries must grow */
	bool	w_mapped;	/* the user map has a pmap */
	bool	w_forever;
};

static void
begin(const struct op *op, const struct way *w)
{
	furnish(op, w->w_mapped);
	place += 2 * PTP_BYTES;		/* at first without page tables */
	if (place < VM_HEAP_MIN || place >= VM_SLAB_MAX - PTP_BYTES)
		place = VM_HEAP_MIN + PTP_BYTES;
	if (op->o_do == op_kmem_free)
		must(kmem(ptoa(40), 0) == 0);
	if (w->w_drained)
		drain();
}

static void
end(const struct op *op, const struct way *w)
{
	if (w->w_drained)
		vm_map_destroy(&filler);
	unfurnish();
	sound();
}

static void
compare(const struct shot *was, const struct op *op, const char *when,
    unsigned long n)
{
	const char *what = differs(was);

	if (what != NULL)
		ck_abort_msg("%s: %s, n = %lu: %s is not as before",
		    op->o_name, when, n, what);
	sound();
}

/* One failure.  => whether the operation asked for so many */
static bool
fail_nth(const struct op *op, const struct way *w, enum vm_fail_site site,
    unsigned long n, unsigned *failed)
{
	static struct shot was;
	unsigned long asked;
	int error;

	begin(op, w);
	shoot(&was);
	vm_fail_set(site, n, w->w_forever);
	error = op->o_do();
	asked = vm_fail_count(site);
	vm_fail_set(site, 0, false);
	sound();
	if (error != 0) {
		must(error == ENOMEM);
		must(asked >= n);
		++*failed;
		if (op->o_do == op_kmem_free) {
			must(kmem(got_size, 0) == 0);	/* it did free */
		} else {
			compare(&was, op, "failed", n);
			must(op->o_do() == 0);
		}
	}
	sound();
	undo(op);
	if (op->o_flags == 0 && op->o_do != op_kmem_free)
		compare(&was, op, "undone", n);
	end(op, w);
	return asked >= n;
}

static unsigned
fail_all(const struct op *op, const struct way *w, enum vm_fail_site site)
{
	unsigned failed = 0;
	unsigned long n;

	for (n = 1; fail_nth(op, w, site, n, &failed); n++)
		must(n < 200);
	if (op->o_never && failed != 0)
		ck_abort_msg("%s failed, and needs nothing", op->o_name);
	return failed;
}

START_TEST(nth_fails)
{
	/* Page tables first: there are fewer to make from then on. */
	static const enum vm_fail_site site[] = {
		VM_FAIL_PTP, VM_FAIL_PAGE, VM_FAIL_ENTRY, VM_FAIL_SPACE
	};
	const struct op *op = &ops[_i];
	unsigned failed[VM_FAIL_NSITES] = { 0 }, total = 0, i, j;

	for (j = 0; j < nitems(site); j++)
		for (i = 0; i < 8; i++) {
			struct way w = { i & 1, i & 2, i & 4 };

			failed[site[j]] += fail_all(op, &w, site[j]);
			total += failed[site[j]];
		}
	must(op->o_never || total > 0);
	must(op->o_never || failed[VM_FAIL_ENTRY] > 0);
	must(op->o_flags != 0 || failed[VM_FAIL_PAGE] >= 8);
	must(op->o_do != op_kmem_tables || failed[VM_FAIL_PTP] >= 16);
}
END_TEST

/* --------------------------- frames run out ----------------------------- */

#define MAXTAKEN	16384

static paddr_t taken[MAXTAKEN];
static unsigned ntaken;

static void
starve(pfn_t leave)
{
	for (ntaken = 0; vm_phys_nfree() > leave; ntaken++)
		must(vm_phys_alloc(VM_PAGE_USER, &taken[ntaken]) == 0);
}

static void
feed(void)
{
	while (ntaken > 0)
		vm_phys_free(taken[--ntaken]);
}

/* => whether so many frames were too few */
static bool
with_frames(const struct op *op, const struct way *w, pfn_t leave)
{
	static struct shot was;
	pfn_t nfree;
	int error;

	begin(op, w);
	starve(leave);
	shoot(&was);
	nfree = vm_phys_nfree();
	error = op->o_do();
	sound();
	must(error == 0 || error == ENOMEM);
	if (error != 0) {
		compare(&was, op, "no frame", leave);
		must(vm_phys_nfree() <= nfree);
	}
	feed();
	if (error != 0)
		must(op->o_do() == 0);
	undo(op);
	end(op, w);
	return error != 0;
}

START_TEST(frames_run_out)
{
	const struct op *op = &ops[_i];
	bool drained;

	for (drained = false;; drained = true) {
		struct way w = { drained, true, false };
		pfn_t leave = 0;

		while (op->o_do != op_kmem_free && with_frames(op, &w, leave))
			leave++;
		must(!drained || op->o_never || op->o_do == op_kmem_free ||
		    leave > 0);
		if (drained)
			break;
	}
}
END_TEST

/* What is had from the range cache needs nothing, and cannot fail. */
static void
without_range(void)
{
	kmem_range_enable(false);
}

static void
add(TCase *tc)
{
	tcase_add_checked_fixture(tc, without_range, NULL);
	tcase_add_loop_test(tc, nth_fails, 0, (int)nitems(ops));
	tcase_add_loop_test(tc, frames_run_out, 0, (int)nitems(ops));
}

int
main(void)
{
	return map_test_main("vm inject", add);
}
