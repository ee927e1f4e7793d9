/*
 * The range cache: what was freed lately, still mapped
 *
 * 1. What it is
 *
 * A slab allocator frees 4 pages and wants 4 pages again a moment later.  In
 * between the map would give up an entry and rebalance, frames would go back
 * and come out again, and a TLB would be flushed, all for nothing.  So
 * kmem_free keeps some ranges as they are, in front of kernel_map (illumos
 * calls it a quantum cache), and kmem_alloc looks here first:
 *
 *	kmem_alloc --> take --(none)--> map, frames, mappings
 *	kmem_free  --> put  --(full)--> mappings, frames, map
 *	                 ^                      |
 *	                 `---- tick, drain -----'
 *
 * To the map and to vm_phys a range that is kept is in use.  What vm_map.c
 * and vm_map_space.c promise is about the map without this.
 *
 * 2. What may be kept
 *
 * Ranges of 1 to KMEM_RANGE_PAGES pages, read-write, with no guards or one on
 * either side, asked for with exactly one of the three windows.  Such an
 * allocation is marked on its first frame's vm_page when vm_kmem.c makes it
 * (VM_PAGE_RANGE, VM_PAGE_FENCE_*), and pg_npages there is its length, so that
 * all that its map entry could say of it is known without finding the entry.
 * Who wires or protects it changes that, and takes the mark away.  For an
 * alignment the address speaks.
 *
 * 3. Structures
 *
 * For each window and size a bin, and one for all that have guards, which are
 * stacks of threads, mostly, and all alike: an array of addresses, used as a
 * stack, as what was freed last is what the CPU's caches still hold.  The
 * newest that will do is taken.  Nothing is written into the pages themselves:
 * whoever runs over the end of his memory, or uses it after he freed it,
 * cannot lead us astray.
 *
 *	slab window, 4 pages	|oldest|   |   |newest|
 *				 \_ krb_idle _/
 *
 * 4. How much
 *
 * A bin holds BIN_PAGES, or BIN_LEAST ranges, that of the guarded ones
 * FENCED_PAGES; all together at most 1/SHARE of the frames that there were at
 * boot.  krb_idle is the fewest that a bin had since the last tick: so many
 * were not needed, are the oldest, and go at the next tick.  That is Bonwick's
 * working set.
 *
 * All go when kmem_alloc runs short of anything: this is the first that
 * kmem_reclaim asks.  None are kept while frames are low, or while memory is
 * reclaimed: the slabs that are given back then shall not stop here.
 *
 * 5. Misuse
 *
 * VM_PAGE_CACHED on the first frame says that a range is kept (or on its way
 * to the map).  kmem_free finds it at the price of one look into the page
 * tables, whether ranges are kept at the moment or not, and panics as it
 * would have without us.  A free of part of the range, or of more, is not one
 * of ours: the map finds that the size is wrong.  A range whose mapping has
 * changed while it was kept, as by vm_map_free, is found when it is taken out.
 *
 * 6. Invariants (kmem_range_check)
 *
 *  R1	A bin has at most its maximum; krb_idle is at most what it has.
 *  R2	The pages of all bins add up to krs_pages, which is at most krs_max.
 *  R3	Each range kept is a region of kernel_map in the bin's window, of the
 *	bin's size, with the guards that its marks say, none outside of the bin
 *	that is for them, not wired, read-write; all of its pages are mapped to
 *	frames of kmem's; the first of them has both marks and the length.
 *  R4	What takes and puts have counted is what there is.
 *
 * 7. Locking
 *
 * One mutex over the bins and over the two marks of a range; it is held for
 * some twenty instructions, or while a bin is emptied into an array, and
 * nothing but vm_phys's is taken inside it.  kmem_range_forbid takes it inside
 * the map's.  Freeing happens after it was dropped.  A bin that is empty, and
 * a cache that is off, cost a look without the lock: whoever looks a moment
 * too early goes to the map.
 *
 * 8. What it does not do
 *
 * Nothing by CPU.  It does not join or cut what it has: a range serves
 * requests of its own size.  The owner that the map shows of a range is who
 * had it first; kmem_range_owner knows who has it now.
 */
#include <vm/kmem_range.h>
#include <vm/pmap.h>
#include <vm/vm_kmem.h>
#include <vm/vm_phys.h>

/*
 * 16 pages of each size.  A slab that comes and goes at the edge of what a
 * cache needs asks for one or two ranges; deeper bins pay for bursts, and cost
 * memory: with 64 pages the recorded kernel build (test_trace) had 10 % of its
 * ranges from here instead of 5, and held 64 pages more of 1,260 at its end.
 * Two of the largest, so that of two that take turns none goes to the map.
 */
#define BIN_PAGES	KMEM_RANGE_MOST
#define BIN_LEAST	2

/*
 * 16 stacks of four pages: of the 449 that the recorded build asks for, 378
 * are had again; with half as many 302, with twice as many 386.
 */
#define FENCED_PAGES	64
#define FENCES		(VM_PAGE_FENCE_LO | VM_PAGE_FENCE_HI)

/* The sum of bin_max(1) to bin_max(16); kmem_range_bootstrap asserts it. */
#define WINDOW_SLOTS	58

/* As low is (vm_kmem.c): it shall not take from what is set aside. */
#define SHARE		64

/* Why nothing is kept. */
#define SHUT_OFF	0x1u
#define SHUT_LOW	0x2u
#define SHUT_RECLAIM	0x4u

/* A page that was freed must not stay mapped where that is looked for. */
#if defined(DIAGNOSTIC) || defined(KASAN)
#define SHUT_AT_BOOT	SHUT_OFF
#else
#define SHUT_AT_BOOT	0u
#endif

/*
 * Of a slot the low bits, which an address of a page has not, say how many
 * pages there are, less one, and what guards (VM_PAGE_FENCE_*).
 */
#define SLOT_PAGES	(KMEM_RANGE_PAGES - 1)

struct bin {
	vaddr_t		*b_slot;	/* [0, b_n), the oldest first */
	unsigned	 b_n;		/* read without the lock, to peek */
	unsigned	 b_max, b_idle;
	unsigned	 b_pages, b_max_pages;
	uint64_t	 b_hits;
	unsigned long	 b_misses;	/* changed atomically, without it */
};

static struct {
	struct vm_mtx	 mtx;
	unsigned	 shut;		/* SHUT_*; changed atomically, without
					   the lock */
	unsigned long	 ticked;	/* vm_host_ticks, at the last tick;
					   read without it */
	struct kmem_range_stats stats;
	struct bin	 bin[KMEM_NWINDOWS][KMEM_RANGE_PAGES];
	vaddr_t		 slot[KMEM_NWINDOWS][WINDOW_SLOTS];
	struct bin	 fenced;	/* those that have guards */
	vaddr_t		 fenced_slot[KMEM_RANGE_MOST];
} range;

/* Of a window and size; or of what has guards. */
static struct bin *
bin_of(enum kmem_window w, vsize_t pages)
{
	return w == KMEM_NWINDOWS ? &range.fenced : &range.bin[w][pages - 1];
}

/* For an address inside of one of them. */
static enum kmem_window
window_of(vaddr_t va)
{
	if (va < VM_HEAP_MAX)
		return KMEM_HEAP;
	return va < VM_SLAB_MAX ? KMEM_SLAB : KMEM_MISC;
}

static vaddr_t
slot_of(vaddr_t va, vsize_t pages, unsigned fence)
{
	return va | (pages - 1) | fence;
}

static vsize_t
slot_pages(vaddr_t slot)
{
	return (slot & SLOT_PAGES) + 1;
}

static unsigned
shut(void)
{
	return __atomic_load_n(&range.shut, __ATOMIC_RELAXED);
}

static void
shut_set(unsigned why, bool on)
{
	if (on)
		__atomic_fetch_or(&range.shut, why, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(&range.shut, ~why, __ATOMIC_SEQ_CST);
}

static unsigned
bin_n(const struct bin *b)
{
	return __atomic_load_n(&b->b_n, __ATOMIC_RELAXED);
}

static void
bin_set_n_locked(struct bin *b, unsigned n)
{
	__atomic_store_n(&b->b_n, n, __ATOMIC_RELAXED);
}

/* Is the range kept, whose first frame's page it is? */
static bool
page_kept(const struct vm_page *pg)
{
	return (__atomic_load_n(&pg->pg_flags, __ATOMIC_RELAXED) &
	    VM_PAGE_CACHED) != 0;
}

static void
page_mark_locked(struct vm_page *pg, unsigned flags)
{
	__atomic_store_n(&pg->pg_flags, (uint8_t)flags, __ATOMIC_RELAXED);
}

/* The first frame of a range that begins at va, kept or not; or NULL. */
static struct vm_page *
first_page(vaddr_t va)
{
	struct vm_page *pg;
	unsigned flags;
	paddr_t pa;

	if (!page_aligned(va) || !pmap_kextract(va, &pa))
		return NULL;
	pg = vm_phys_page(pa);
	if (pg == NULL || pg->pg_owner != VM_PAGE_KMEM)
		return NULL;
	flags = __atomic_load_n(&pg->pg_flags, __ATOMIC_RELAXED);
	return (flags & ~(VM_PAGE_CACHED | FENCES)) == VM_PAGE_RANGE ?
	    pg : NULL;
}

static unsigned
fence_of(const struct vm_page *pg)
{
	return __atomic_load_n(&pg->pg_flags, __ATOMIC_RELAXED) & FENCES;
}

/* Somebody unmapped, freed or replaced what is kept. */
static void __dead2
changed_panic(const char *func, vaddr_t va, vsize_t pages)
{
	vm_host_panic("%s: range [%#lx, %#lx) is not as it was when it was "
	    "freed and kept: its mapping has changed", func, va,
	    va + ptoa(pages));
}

/* The first frame of a range that is kept, or NULL: it has changed. */
static struct vm_page *
kept_page(vaddr_t va)
{
	struct vm_page *pg = first_page(va);

	return pg != NULL && page_kept(pg) ? pg : NULL;
}

/* Is it what is wanted, where it is wanted? */
static bool
fits(vaddr_t slot, const struct kmem_range_want *rw)
{
	const vaddr_t va = trunc_page(slot);

	return slot == slot_of(va, rw->rw_pages, rw->rw_fence) &&
	    (rw->rw_align == 0 || (va & (rw->rw_align - 1)) == 0) &&
	    (rw->rw_fence == 0 || window_of(va) == rw->rw_window);
}

/* n ranges from the i-th on out of a bin; the younger ones move down. */
static void
bin_out_locked(struct bin *b, unsigned i, unsigned n, vaddr_t *slot)
{
	const unsigned left = b->b_n - n;
	vsize_t pages = 0;
	unsigned k;

	/* Mostly one, the newest: no call for that. */
	for (k = 0; k < n; k++) {
		slot[k] = b->b_slot[i + k];
		pages += slot_pages(slot[k]);
	}
	for (; i < left; i++)
		b->b_slot[i] = b->b_slot[i + n];
	bin_set_n_locked(b, left);
	b->b_pages -= pages;
	range.stats.krs_pages -= pages;
}

/*
 * The newest of a bin that will do, for its next owner.
 * => *va: it, or 0; false: it is not as it was
 */
static bool
take_locked(struct bin *b, const struct kmem_range_want *rw,
    const char *owner, vaddr_t *va)
{
	struct vm_page *pg;
	unsigned i = b->b_n;
	vaddr_t slot;

	while (i > 0 && !fits(b->b_slot[i - 1], rw))
		i--;
	if (i == 0)
		return true;
	bin_out_locked(b, i - 1, 1, &slot);
	if (b->b_n < b->b_idle)
		b->b_idle = b->b_n;
	b->b_hits++;
	*va = trunc_page(slot);
	pg = kept_page(*va);
	if (pg == NULL || pg->pg_npages != rw->rw_pages ||
	    fence_of(pg) != rw->rw_fence)
		return false;
	page_mark_locked(pg, VM_PAGE_RANGE | rw->rw_fence);
	pg->pg_name = owner;
	return true;
}

vaddr_t
kmem_range_take(const struct kmem_range_want *rw, const char *owner)
{
	struct bin *b;
	bool ok = true;
	vaddr_t va = 0;

	if (rw->rw_window >= KMEM_NWINDOWS ||
	    rw->rw_pages - 1 >= KMEM_RANGE_PAGES)
		return 0;
	b = bin_of(rw->rw_fence != 0 ? KMEM_NWINDOWS : rw->rw_window,
	    rw->rw_pages);
	if (bin_n(b) != 0) {
		vm_mtx_enter(&range.mtx);
		ok = take_locked(b, rw, owner, &va);
		vm_mtx_exit(&range.mtx);
	}
	if (va == 0)
		__atomic_fetch_add(&b->b_misses, 1, __ATOMIC_RELAXED);
	if (!ok)
		changed_panic("kmem_alloc", va, rw->rw_pages);
	return va;
}

/* => false: there is no room, or nothing is kept now */
static bool
keep_locked(struct bin *b, vaddr_t slot)
{
	struct kmem_range_stats *ks = &range.stats;
	const vsize_t pages = slot_pages(slot);

	if (shut() != 0 || b->b_n == b->b_max ||
	    b->b_pages + pages > b->b_max_pages ||
	    ks->krs_pages + pages > ks->krs_max) {
		ks->krs_full++;
		return false;
	}
	b->b_slot[b->b_n] = slot;
	bin_set_n_locked(b, b->b_n + 1);
	b->b_pages += pages;
	ks->krs_kept++;
	ks->krs_pages += pages;
	if (ks->krs_pages > ks->krs_high)
		ks->krs_high = ks->krs_pages;
	return true;
}

enum kmem_range_put
kmem_range_put(vaddr_t va, vsize_t pages)
{
	enum kmem_range_put done = KMEM_RANGE_NOT;
	struct vm_page *pg = first_page(va);
	unsigned fence;

	if (pg == NULL || pg->pg_npages != pages)
		return KMEM_RANGE_NOT;
	/* Who comes here twice at once finds out in the map. */
	if (shut() == SHUT_OFF && !page_kept(pg))
		return KMEM_RANGE_NOT;
	fence = fence_of(pg);
	vm_mtx_enter(&range.mtx);
	if (page_kept(pg))
		done = KMEM_RANGE_TWICE;
	else if (keep_locked(bin_of(fence != 0 ? KMEM_NWINDOWS :
	    window_of(va), pages), slot_of(va, pages, fence))) {
		page_mark_locked(pg, VM_PAGE_RANGE | VM_PAGE_CACHED | fence);
		done = KMEM_RANGE_KEPT;
	}
	vm_mtx_exit(&range.mtx);
	/* Full, perhaps of what is long not needed. */
	if (done == KMEM_RANGE_NOT && shut() == 0)
		kmem_range_tick();
	return done;
}

bool
kmem_range_forbid(vaddr_t va)
{
	struct vm_page *pg;
	paddr_t pa;
	bool kept = false;

	if (!pmap_kextract(va, &pa) || (pg = vm_phys_page(pa)) == NULL)
		return true;
	vm_mtx_enter(&range.mtx);
	if (pg->pg_owner == VM_PAGE_KMEM) {
		kept = page_kept(pg);
		if (!kept)
			page_mark_locked(pg, pg->pg_flags &
			    ~(VM_PAGE_RANGE | FENCES));
	}
	vm_mtx_exit(&range.mtx);
	return !kept;
}

bool
kmem_range_kept(vaddr_t va)
{
	return kept_page(va) != NULL;
}

/*
 * Giving back.
 */

/*
 * Empty a bin, or free what was idle; until then it keeps its marks.
 * => the number of pages
 */
static unsigned long
bin_free(struct bin *b, bool all)
{
	vaddr_t slot[KMEM_RANGE_MOST], va;
	unsigned long pages = 0;
	unsigned i, n;

	if (bin_n(b) == 0)
		return 0;
	vm_mtx_enter(&range.mtx);
	n = all ? b->b_n : b->b_idle;
	bin_out_locked(b, 0, n, slot);
	b->b_idle = b->b_n;
	range.stats.krs_freed += n;
	vm_mtx_exit(&range.mtx);
	for (i = 0; i < n; i++) {
		va = trunc_page(slot[i]);
		if (!kmem_range_kept(va))
			changed_panic("kmem_range_drain", va,
			    slot_pages(slot[i]));
		kmem_free_now(kernel_map, va, ptoa(slot_pages(slot[i])));
		pages += slot_pages(slot[i]);
	}
	return pages;
}

static unsigned long
free_bins(bool all)
{
	unsigned long pages = bin_free(&range.fenced, all);
	unsigned w;
	vsize_t n;

	for (w = 0; w < KMEM_NWINDOWS; w++)
		for (n = 1; n <= KMEM_RANGE_PAGES; n++)
			pages += bin_free(bin_of(w, n), all);
	return pages;
}

unsigned long
kmem_range_drain(void)
{
	return vm_host_intr() ? 0 : free_bins(true);
}

unsigned long
kmem_range_tick(void)
{
	unsigned long now = vm_host_ticks();
	unsigned long then = __atomic_load_n(&range.ticked, __ATOMIC_RELAXED);

	if (vm_host_intr())
		return 0;
	if (shut() & SHUT_LOW)
		return free_bins(true);
	/* Of several that come here at once one does it. */
	if (now - then < KMEM_RANGE_TICKS ||
	    !__atomic_compare_exchange_n(&range.ticked, &then, now, false,
	    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return 0;
	return free_bins(false);
}

bool
kmem_range_enable(bool on)
{
	bool was = !(shut() & SHUT_OFF);

	shut_set(SHUT_OFF, !on);
	if (!on)
		kmem_range_drain();
	return was;
}

void
kmem_range_reclaiming(bool on)
{
	shut_set(SHUT_RECLAIM, on);
}

void
kmem_range_frames_low(bool low)
{
	shut_set(SHUT_LOW, low);
}

/*
 * Figures.
 */
static unsigned long
misses_of(const struct bin *b)
{
	return __atomic_load_n(&b->b_misses, __ATOMIC_RELAXED);
}

void
kmem_range_stats(struct kmem_range_stats *ks)
{
	unsigned w, n;

	vm_mtx_enter(&range.mtx);
	*ks = range.stats;
	ks->krs_on = !(shut() & SHUT_OFF);
	ks->krs_hits = range.fenced.b_hits;
	ks->krs_misses = misses_of(&range.fenced);
	for (w = 0; w < KMEM_NWINDOWS; w++)
		for (n = 0; n < KMEM_RANGE_PAGES; n++) {
			ks->krs_hits += range.bin[w][n].b_hits;
			ks->krs_misses += misses_of(&range.bin[w][n]);
		}
	vm_mtx_exit(&range.mtx);
}

void
kmem_range_bin(enum kmem_window w, vsize_t pages, struct kmem_range_bin *kb)
{
	const struct bin *b = bin_of(w, pages);

	vm_mtx_enter(&range.mtx);
	*kb = (struct kmem_range_bin){
		.krb_n = b->b_n,
		.krb_max = b->b_max,
		.krb_pages = b->b_pages,
		.krb_idle = b->b_idle,
		.krb_hits = b->b_hits,
		.krb_misses = misses_of(b),
	};
	vm_mtx_exit(&range.mtx);
}

unsigned
kmem_range_list(enum kmem_window w, vsize_t pages,
    struct kmem_range_entry *kre, unsigned max)
{
	const struct bin *b = bin_of(w, pages);
	unsigned n;

	vm_mtx_enter(&range.mtx);
	for (n = 0; n < b->b_n && n < max; n++)
		kre[n] = (struct kmem_range_entry){
			.kre_va = trunc_page(b->b_slot[n]),
			.kre_pages = slot_pages(b->b_slot[n]),
			.kre_fence = b->b_slot[n] & FENCES,
		};
	vm_mtx_exit(&range.mtx);
	return n;
}

static struct kmem_reclaimer reclaimer;

static unsigned long
reclaim(unsigned long pages)
{
	return kmem_range_drain();
}

static unsigned
bin_max(unsigned pages)
{
	unsigned n = BIN_PAGES / pages;

	return n > BIN_LEAST ? n : BIN_LEAST;
}

void
kmem_range_bootstrap(void)
{
	unsigned w, n;
	vaddr_t *slot;

	vm_mtx_init(&range.mtx, "kmem range");
	range.shut = SHUT_AT_BOOT;
	range.ticked = vm_host_ticks();
	range.stats = (struct kmem_range_stats){
		.krs_max = vm_phys_nfree() / SHARE,
	};
	for (w = 0; w < KMEM_NWINDOWS; w++) {
		slot = range.slot[w];
		for (n = 1; n <= KMEM_RANGE_PAGES; n++) {
			*bin_of(w, n) = (struct bin){
				.b_slot = slot,
				.b_max = bin_max(n),
				.b_max_pages = bin_max(n) * n,
			};
			slot += bin_max(n);
		}
		KASSERT(slot == range.slot[w] + WINDOW_SLOTS);
	}
	range.fenced = (struct bin){
		.b_slot = range.fenced_slot,
		.b_max = nitems(range.fenced_slot),
		.b_max_pages = FENCED_PAGES,
	};
	reclaimer.kr_name = "ranges";
	reclaimer.kr_priority = KR_RANGE;
	reclaimer.kr_reclaim = reclaim;
	kmem_reclaim_add(&reclaimer);
}
