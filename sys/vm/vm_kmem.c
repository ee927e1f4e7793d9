/*
 * kmem_alloc: the kernel's memory, by the page
 *
 * 1. What it is
 *
 * Three things make memory: addresses (a region of kernel_map), frames
 * (vm_phys), and mappings from the one to the other (pmap).  kmem_alloc takes
 * them in this order and kmem_free gives them back in the other:
 *
 *	kmem_alloc	region -> for so many pages at once: frames, mappings
 *	kmem_free	region marked dying -> mappings -> frames -> region
 *
 * The region is taken first and dropped last, so that nobody else can be
 * given addresses that still show something; frames are given back after
 * their mapping is gone from the page tables and the TLB.  When anything is
 * missing half way, what was done is undone by the same code that frees.
 *
 * In front of all this stands the range cache (kmem_range.c): what was freed
 * lately serves the next request of its window and size as it is.
 *
 * 2. Pressure
 *
 *	no frame, addresses or entry
 *	   |
 *	   +-> ask those who hold memory in reserve (kmem_reclaim_add), in the
 *	   |   order of their priorities, for as much as is needed; try again
 *	   +-> ask for all that there is; try again, as long as any comes
 *	   +-> KM_NOSLEEP fails; others sleep, and begin anew when they wake
 *
 * The first that is asked is the range cache, which empties itself: so no
 * request fails for frames or addresses that lie there.
 *
 * Who is asked may say that it gave and not mean it: a client that frees a
 * page and allocates another in its place.  What counts is that there are more
 * free frames than ever before in this request; after RECLAIM_IDLE rounds
 * without, it fails or sleeps.
 *
 * Sleepers are woken by each kmem_free, which gives back addresses as well,
 * and when others than kmem gave back so many frames that a watermark of
 * vm_phys was crossed.
 *
 * 3. Locking
 *
 * One reclaim at a time: the reclaim lock, outermost of all, guards the list
 * and is held for as long as one is asked.  Who comes second waits for what
 * the first one frees, rather than fail beside it.  A reclaim never begins
 * within another: who holds the lock gets nothing, and does not sleep either:
 * who is asked for memory may ask for some, and fails where there is none.
 * (That it is a lock also means that a panic which is caught lets go of it.)
 *
 * Otherwise the layers below take and drop theirs one after the other.
 */

#include <limits.h>

#include <libkern/errno.h>
#include <vm/kmem_range.h>
#include <vm/pmap.h>
#include <vm/vm_fail.h>
#include <vm/vm_kmem.h>
#include <vm/vm_map_impl.h>
#include <vm/vm_phys.h>

/* Frames are taken and mapped, unmapped, flushed and freed by so many. */
#define BATCH	32

/*
 * Low is when less than 1/64 of the frames is free, enough from 1/32 on: 64
 * MB of 4 GB, and 13 pages of 4 MB, which still is a slab or two.
 */
#define MARK_LOW	64
#define MARK_HIGH	32

/*
 * On several CPUs others may take what was reclaimed for us, honestly; not so
 * many times in a row.
 */
#define RECLAIM_IDLE	64

/*
 * With KM_*: any range of the window, size and guards will do as well, if it
 * is aligned so.
 */
#define KM_PLAIN	0x8000

static struct vm_rwlock reclaim_lock;
static struct kmem_reclaimer *reclaimers;	/* by priority */

/* vm_phys has crossed a watermark. */
static void
frames_watch(bool low)
{
	kmem_range_frames_low(low);
	if (!low)
		vm_host_wakeup(&reclaimers);
}

void
kmem_bootstrap(void)
{
	pfn_t n = vm_phys_nfree();

	vm_rw_init(&reclaim_lock, "kmem reclaim");
	reclaimers = NULL;
	kmem_range_bootstrap();
	vm_phys_watch(n / MARK_LOW, n / MARK_HIGH, frames_watch);
}

void
kmem_reclaim_add(struct kmem_reclaimer *kr)
{
	struct kmem_reclaimer **p, **at = NULL;

	KASSERT(kr->kr_name != NULL && kr->kr_reclaim != NULL);
	vm_rw_enter_write(&reclaim_lock);
	for (p = &reclaimers; *p != NULL && *p != kr; p = &(*p)->kr_next)
		if (at == NULL && (*p)->kr_priority > kr->kr_priority)
			at = p;
	if (*p == NULL) {
		if (at == NULL)
			at = p;
		kr->kr_next = *at;
		*at = kr;
	}
	vm_rw_exit_write(&reclaim_lock);
}

unsigned long
kmem_reclaim(unsigned long pages)
{
	struct kmem_reclaimer *kr;
	unsigned long got = 0, n;

	if (vm_host_intr() || vm_rw_held_write(&reclaim_lock))
		return 0;
	vm_rw_enter_write(&reclaim_lock);
	kmem_range_reclaiming(true);
	for (kr = reclaimers; kr != NULL && got < pages; kr = kr->kr_next) {
		kr->kr_calls++;
		n = kr->kr_reclaim(pages - got);
		kr->kr_pages += n;
		got += n;
	}
	kmem_range_reclaiming(false);
	vm_rw_exit_write(&reclaim_lock);
	return got;
}

const struct kmem_reclaimer *
kmem_reclaim_next(const struct kmem_reclaimer *kr)
{
	return kr == NULL ? reclaimers : kr->kr_next;
}

/* How many pages of [va, eva) make the next batch. */
static unsigned
batch(vaddr_t va, vaddr_t eva)
{
	return eva - va < ptoa(BATCH) ? (unsigned)atop(eva - va) : BATCH;
}

/* Unmap what is mapped of [va, eva), then free the frames. */
static void
unback(vaddr_t va, vaddr_t eva)
{
	paddr_t pa[BATCH];
	unsigned n;

	for (; va < eva; va += ptoa(n)) {
		n = batch(va, eva);
		vm_phys_free_many(pa, pmap_kremove(va, n, pa));
	}
}

/* Put n frames behind the pages from va on: all, or none. */
static int
back_batch(vaddr_t va, unsigned n, vm_prot_t prot, int flags, paddr_t *pa)
{
	unsigned i;
	int error;

	for (i = 0; i < n; i++)
		if (vm_fail(VM_FAIL_PAGE))
			return ENOMEM;
	error = vm_phys_alloc_many(n, VM_PAGE_KMEM, pa);
	if (error != 0)
		return error;
	for (i = 0; i < n && (flags & KM_ZERO) != 0; i++)
		pmap_zero_page(pa[i]);
	error = pmap_kenter(va, pa, n, prot);
	if (error != 0)
		vm_phys_free_many(pa, n);
	return error;
}

/* VM_PAGE_FENCE_* of a request that has at most a page on either side. */
static unsigned
fence_of(const struct vm_map_request *vr)
{
	return (vr->vr_guard_lo != 0 ? VM_PAGE_FENCE_LO : 0) |
	    (vr->vr_guard_hi != 0 ? VM_PAGE_FENCE_HI : 0);
}

/* Put frames behind what was asked for and begins at sva: all, or none. */
static int
back(vaddr_t sva, const struct vm_map_request *vr, int flags)
{
	const vaddr_t eva = sva + vr->vr_size;
	paddr_t pa[BATCH], first = 0;
	struct vm_page *pg;
	vaddr_t va;
	unsigned n;
	int error;

	for (va = sva; va < eva; va += ptoa(n)) {
		n = batch(va, eva);
		error = back_batch(va, n, vr->vr_prot, flags, pa);
		if (error != 0) {
			unback(sva, va);
			return error;
		}
		if (va == sva)
			first = pa[0];
	}
	pg = vm_phys_page(first);
	pg->pg_npages = (uint32_t)atop(eva - sva);
	pg->pg_name = vr->vr_owner;
	if ((flags & KM_PLAIN) != 0 && pg->pg_npages <= KMEM_RANGE_PAGES)
		pg->pg_flags = (uint8_t)(VM_PAGE_RANGE | fence_of(vr));
	return 0;
}

static int
try_alloc(struct vm_map *map, const struct vm_map_request *vr, int flags,
    vaddr_t *addr)
{
	struct vm_map_entry *e;
	vaddr_t va;
	int error;

	error = vm_map_alloc(map, vr, &va);
	if (error != 0)
		return error;
	error = back(va, vr, flags);
	if (error != 0) {
		if (vm_map_free_begin(map, va, vr->vr_size, &e) == 0)
			vm_map_free_end(map, e);
		return error;
	}
	*addr = va;
	return 0;
}

/* How hard a request has tried. */
struct effort {
	unsigned long	ef_pages;	/* to ask for */
	pfn_t		ef_best;	/* frames that were free, at best */
	unsigned	ef_idle;	/* rounds without more */
};

/* Have others give.  => false: there is no point in trying again */
static bool
make_room(struct effort *ef)
{
	pfn_t nfree;

	if (kmem_reclaim(ef->ef_pages) == 0)
		return false;
	ef->ef_pages = ULONG_MAX;
	nfree = vm_phys_nfree();
	if (nfree > ef->ef_best) {
		ef->ef_best = nfree;
		ef->ef_idle = 0;
	} else
		ef->ef_idle++;
	return ef->ef_idle < RECLAIM_IDLE;
}

/* Wait for others to give.  => false: one cannot, or the caller must not */
static bool
wait_for_room(int flags)
{
	return (flags & KM_NOSLEEP) == 0 &&
	    !vm_rw_held_write(&reclaim_lock) && vm_host_sleep(&reclaimers);
}

/* From the range cache; in the window of the request, or KMEM_NWINDOWS. */
static bool
try_range(enum kmem_window w, const struct vm_map_request *vr, int flags,
    vaddr_t *addr)
{
	const struct kmem_range_want rw = {
		.rw_window = w,
		.rw_pages = atop(vr->vr_size),
		.rw_align = vr->vr_align,
		.rw_fence = fence_of(vr),
	};
	vaddr_t va = kmem_range_take(&rw, vr->vr_owner);

	if (va == 0)
		return false;
	if ((flags & KM_ZERO) != 0)
		memset((void *)va, 0, vr->vr_size);
	*addr = va;
	return true;
}

/* From the map; w as for try_range. */
static int
alloc_new(struct vm_map *map, const struct vm_map_request *vr,
    enum kmem_window w, int flags, vaddr_t *addr)
{
	struct effort ef = { .ef_pages = atop(vr->vr_size) };
	int error;

	if (w != KMEM_NWINDOWS)
		flags |= KM_PLAIN;
	for (;;) {
		error = try_alloc(map, vr, flags, addr);
		if (error != ENOMEM || (flags & KM_EASY) || vm_host_intr())
			return error;
		if (make_room(&ef))
			continue;
		if (!wait_for_room(flags))
			return ENOMEM;
		ef = (struct effort){ .ef_pages = atop(vr->vr_size) };
		if (try_range(w, vr, flags, addr))
			return 0;
	}
}

/*
 * The window of a request that wants nothing but that, a size, an alignment
 * and at most a guard page on either side, so that any range which is so will
 * do; else KMEM_NWINDOWS.
 */
static enum kmem_window
plain_window(const struct vm_map *map, const struct vm_map_request *vr)
{
	if (map != kernel_map ||
	    (vr->vr_align & (vr->vr_align - 1)) != 0 ||
	    vr->vr_guard_lo > 1 || vr->vr_guard_hi > 1 ||
	    vr->vr_policy != VM_FIT_BEST || vr->vr_prot != VM_PROT_RW ||
	    !page_aligned(vr->vr_size))
		return KMEM_NWINDOWS;
	if (vr->vr_min == VM_SLAB_MIN && vr->vr_max == VM_SLAB_MAX)
		return KMEM_SLAB;
	if (vr->vr_min == VM_HEAP_MIN && vr->vr_max == VM_HEAP_MAX)
		return KMEM_HEAP;
	if (vr->vr_min == VM_MISC_MIN && vr->vr_max == VM_MISC_MAX)
		return KMEM_MISC;
	return KMEM_NWINDOWS;
}

int
kmem_alloc_request(struct vm_map *map, const struct vm_map_request *vr,
    int flags, vaddr_t *addr)
{
	struct vm_map_request want = *vr;
	enum kmem_window w;

	if (want.vr_prot == VM_PROT_NONE)
		want.vr_prot = VM_PROT_RW;
	if (map->vm_pmap != kernel_pmap || map->vm_flags != VM_MAP_KERNEL ||
	    (want.vr_prot & VM_PROT_READ) == 0)
		return EINVAL;
	w = plain_window(map, &want);
	if (try_range(w, &want, flags, addr))
		return 0;
	return alloc_new(map, &want, w, flags, addr);
}

/* The windows that kmem_alloc's flags choose. */
static const struct window {
	vaddr_t		w_min, w_max;
	const char	*w_owner;
} windows[] = {
	[KMEM_HEAP] = { VM_HEAP_MIN, VM_HEAP_MAX, "heap" },
	[KMEM_SLAB] = { VM_SLAB_MIN, VM_SLAB_MAX, "slab" },
	[KMEM_MISC] = { VM_MISC_MIN, VM_MISC_MAX, "kmem" },
};

vaddr_t
kmem_alloc(struct vm_map *map, vsize_t size, int flags)
{
	enum kmem_window w = (flags & KM_HEAP) ? KMEM_HEAP :
	    (flags & KM_SLAB) ? KMEM_SLAB : KMEM_MISC;
	const struct window *win = &windows[w];
	struct vm_map_request vr;
	vaddr_t addr;

	if ((flags & KM_HEAP) && (flags & KM_SLAB))
		return 0;
	vr = (struct vm_map_request){
		/* A size that wraps becomes 0, which is refused as 0 is. */
		.vr_size = round_page(size),
		.vr_min = win->w_min,
		.vr_max = win->w_max,
		.vr_prot = VM_PROT_RW,
		.vr_owner = win->w_owner,
	};
	if (map == kernel_map)
		return try_range(w, &vr, flags, &addr) ||
		    alloc_new(map, &vr, w, flags, &addr) == 0 ? addr : 0;
	if (w == KMEM_MISC) {
		vr.vr_min = map->vm_min;
		vr.vr_max = map->vm_max;
	}
	return kmem_alloc_request(map, &vr, flags, &addr) == 0 ? addr : 0;
}

/*
 * What is wrong with a free, in words and with everything we know.  A range
 * that the range cache keeps is nobody's, though the map has it.
 */
static void __dead2
kmem_free_panic(struct vm_map *map, vaddr_t addr, vsize_t size, int error)
{
	struct vm_map_info vi;
	const char *owner;

	if (vm_map_lookup(map, addr, &vi) != 0 || error == EFAULT)
		vm_host_panic("kmem_free: %s: addr %#lx size %#lx: nothing is "
		    "allocated there (freed twice, or foreign)", map->vm_name,
		    addr, size);
	if (map == kernel_map &&
	    kmem_range_kept(vi.vi_start + ptoa(vi.vi_guard_lo)))
		vm_host_panic("kmem_free: %s: addr %#lx size %#lx: nothing is "
		    "allocated there (freed twice: [%#lx, %#lx) is kept for "
		    "whoever is next)", map->vm_name, addr, size,
		    vi.vi_start, vi.vi_end);
	owner = map == kernel_map ? kmem_range_owner(&vi) :
	    vi.vi_owner != NULL ? vi.vi_owner : "nobody";
	if (error == EBUSY)
		vm_host_panic("kmem_free: %s: addr %#lx size %#lx: region "
		    "[%#lx, %#lx) of %s is wired or not to be freed",
		    map->vm_name, addr, size, vi.vi_start, vi.vi_end, owner);
	if (vi.vi_start + ptoa(vi.vi_guard_lo) == addr)
		vm_host_panic("kmem_free: %s: addr %#lx size %#lx: wrong size: "
		    "region [%#lx, %#lx) of %s", map->vm_name, addr, size,
		    vi.vi_start, vi.vi_end, owner);
	vm_host_panic("kmem_free: %s: addr %#lx size %#lx: inside region "
	    "[%#lx, %#lx) of %s", map->vm_name, addr, size, vi.vi_start,
	    vi.vi_end, owner);
}

void
kmem_free_now(struct vm_map *map, vaddr_t addr, vsize_t size)
{
	struct vm_map_entry *e;
	int error;

	error = vm_map_free_begin(map, addr, round_page(size), &e);
	if (error != 0)
		kmem_free_panic(map, addr, size, error);
	unback(addr, addr + round_page(size));
	vm_map_free_end(map, e);
	vm_host_wakeup(&reclaimers);
}

void
kmem_free(struct vm_map *map, vaddr_t addr, vsize_t size)
{
	enum kmem_range_put put = KMEM_RANGE_NOT;

	if (map == kernel_map)
		put = kmem_range_put(addr, atop(round_page(size)));
	if (put == KMEM_RANGE_TWICE)
		kmem_free_panic(map, addr, size, EINVAL);
	if (put == KMEM_RANGE_NOT)
		kmem_free_now(map, addr, size);
	else
		vm_host_wakeup(&reclaimers);
}
