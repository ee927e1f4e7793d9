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
 * 2. Pressure
 *
 *	no frame, addresses or entry
 *	   |
 *	   +-> ask those who hold memory in reserve (kmem_reclaim_add), in the
 *	   |   order of their priorities, for as much as is needed; try again
 *	   +-> ask for all that there is; try again, as long as any comes
 *	   +-> KM_NOSLEEP fails; others sleep, and begin anew when they wake
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
 * within another: who holds the lock gets nothing.  (That it is a lock also
 * means that a panic which is caught lets go of it.)
 *
 * Otherwise the layers below take and drop theirs one after the other.
 */

#include <limits.h>

#include <libkern/errno.h>
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

static struct vm_rwlock reclaim_lock;
static struct kmem_reclaimer *reclaimers;	/* by priority */

/* vm_phys has crossed a watermark. */
static void
frames_watch(bool low)
{
	if (!low)
		vm_host_wakeup(&reclaimers);
}

void
kmem_bootstrap(void)
{
	pfn_t n = vm_phys_nfree();

	vm_rw_init(&reclaim_lock, "kmem reclaim");
	reclaimers = NULL;
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
	for (kr = reclaimers; kr != NULL && got < pages; kr = kr->kr_next) {
		kr->kr_calls++;
		n = kr->kr_reclaim(pages - got);
		kr->kr_pages += n;
		got += n;
	}
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

/* Put frames behind [sva, eva): all, or none. */
static int
back(vaddr_t sva, vaddr_t eva, vm_prot_t prot, int flags, const char *owner)
{
	paddr_t pa[BATCH], first = 0;
	struct vm_page *pg;
	vaddr_t va;
	unsigned n;
	int error;

	for (va = sva; va < eva; va += ptoa(n)) {
		n = batch(va, eva);
		error = back_batch(va, n, prot, flags, pa);
		if (error != 0) {
			unback(sva, va);
			return error;
		}
		if (va == sva)
			first = pa[0];
	}
	pg = vm_phys_page(first);
	pg->pg_npages = (uint32_t)atop(eva - sva);
	pg->pg_name = owner;
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
	error = back(va, va + vr->vr_size, vr->vr_prot, flags, vr->vr_owner);
	if (error != 0) {
		if (vm_map_free_begin(map, va, vr->vr_size, &e) == 0)
			vm_map_free_end(map, e);
		return error;
	}
	*addr = va;
	return 0;
}

int
kmem_alloc_request(struct vm_map *map, const struct vm_map_request *vr,
    int flags, vaddr_t *addr)
{
	struct vm_map_request want = *vr;
	unsigned long pages;
	int error;

	if (want.vr_prot == VM_PROT_NONE)
		want.vr_prot = VM_PROT_RW;
	if (map->vm_pmap != kernel_pmap || map->vm_flags != VM_MAP_KERNEL ||
	    (want.vr_prot & VM_PROT_READ) == 0)
		return EINVAL;
	pages = atop(want.vr_size);
	for (;;) {
		error = try_alloc(map, &want, flags, addr);
		if (error != ENOMEM || (flags & KM_EASY) || vm_host_intr())
			return error;
		if (kmem_reclaim(pages) != 0) {
			pages = ULONG_MAX;
			continue;
		}
		pages = atop(want.vr_size);
		if ((flags & KM_NOSLEEP) != 0 || !vm_host_sleep(&reclaimers))
			return ENOMEM;
	}
}

vaddr_t
kmem_alloc(struct vm_map *map, vsize_t size, int flags)
{
	struct vm_map_request vr = {
		.vr_size = round_page(size),
		.vr_min = map->vm_min,
		.vr_max = map->vm_max,
		.vr_owner = "kmem",
	};
	vaddr_t addr;

	if (map == kernel_map) {
		vr.vr_min = VM_MISC_MIN;
		vr.vr_max = VM_MISC_MAX;
	}
	switch (flags & (KM_HEAP | KM_SLAB)) {
	case KM_HEAP:
		vr.vr_min = VM_HEAP_MIN;
		vr.vr_max = VM_HEAP_MAX;
		vr.vr_owner = "heap";
		break;
	case KM_SLAB:
		vr.vr_min = VM_SLAB_MIN;
		vr.vr_max = VM_SLAB_MAX;
		vr.vr_owner = "slab";
		break;
	case KM_HEAP | KM_SLAB:
		return 0;
	}
	/* round_page made a size that wraps 0, which is refused as 0 is. */
	return kmem_alloc_request(map, &vr, flags, &addr) == 0 ? addr : 0;
}

/* What is wrong with a free, in words and with everything we know. */
static void __dead2
kmem_free_panic(struct vm_map *map, vaddr_t addr, vsize_t size, int error)
{
	struct vm_map_info vi;
	const char *owner;

	if (vm_map_lookup(map, addr, &vi) != 0 || error == EFAULT)
		vm_host_panic("kmem_free: %s: addr %#lx size %#lx: nothing is "
		    "allocated there (freed twice, or foreign)", map->vm_name,
		    addr, size);
	owner = vi.vi_owner != NULL ? vi.vi_owner : "nobody";
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
kmem_free(struct vm_map *map, vaddr_t addr, vsize_t size)
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
