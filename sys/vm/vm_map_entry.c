/*
 * The store of map entries
 *
 * 1. The circle
 *
 * Every region of kernel_map needs an entry.  Entries live in pages, and a
 * page of entries is a region of kernel_map.  It is cut by keeping entries
 * back: growing the store by a page needs exactly
 *
 *	ENTRY_RESERVE = 1	for that page's own region,
 *
 * since the page's frame and, if need be, its page table come from vm_phys,
 * which knows nothing of entries, and since one thread grows at a time
 * (store.grow).  So entry_get leaves ENTRY_RESERVE entries behind whenever it
 * takes any, and only growing takes those; a page of entries puts back more
 * than one, and a growing that fails puts its one back.  With none kept
 * back, the request that takes the very last entry would end all growing.
 *
 * The first entries are static: boot reserves a dozen regions (the image, the
 * guards, the stack, …) before a frame can be mapped.
 *
 * 2. Giving back
 *
 * Freeing a region leaves its entry with the map (vm_spare), or puts it on the
 * list where the map has one, and nothing else: freeing never allocates.  A
 * map's spare entry is in use as far as the store knows, and growing does not
 * count on it.  The pages of the store are kept: they bound the number of
 * regions there ever were at one time, by 64 bytes for each on i386.
 *
 * 3. Locking
 *
 * store.mtx guards the list and the counters.  store.grow is taken before any
 * map's lock and before the mutex, by the one who grows.
 */

#include <libkern/errno.h>
#include <vm/pmap.h>
#include <vm/vm_fail.h>
#include <vm/vm_map_impl.h>
#include <vm/vm_phys.h>

/*
 * 64 bytes on i386, one cache line.  With 64-bit pointers 96: what a descent
 * reads then lies in one line or in two neighbours, and more entries fit the
 * caches and the TLB, which measured better than 128.
 */
#define ENTRY_STRIDE	roundup2(sizeof(struct vm_map_entry), 32)
#define ENTRY_PER_PAGE	(PAGE_SIZE / ENTRY_STRIDE)

/* Boot's regions (about 14 on i386), the reserve, and room to grow. */
#define ENTRY_STATIC	32

static struct {
	struct vm_mtx	mtx;
	struct vm_rwlock grow;
	struct vm_map_entry *free;	/* (mtx) a chain */
	struct entry_stats stats;	/* (mtx) */
} store;

static _Alignas(64) char entry_static[ENTRY_STATIC][ENTRY_STRIDE];

/* Put the n entries in a piece of memory on the list. */
static void
store_add(char *mem, unsigned n)
{
	vm_mtx_enter(&store.mtx);
	store.stats.es_free += n;
	store.stats.es_total += n;
	for (; n > 0; n--, mem += ENTRY_STRIDE)
		entry_push(&store.free, (struct vm_map_entry *)(void *)mem);
	vm_mtx_exit(&store.mtx);
}

/* Take n, if that leaves `reserve` behind. */
static struct vm_map_entry *
store_take(unsigned n, unsigned reserve)
{
	struct vm_map_entry *chain = NULL;

	vm_mtx_enter(&store.mtx);
	if (store.stats.es_free >= n + reserve) {
		store.stats.es_free -= n;
		for (; n > 0; n--)
			entry_push(&chain, entry_pop(&store.free));
	}
	vm_mtx_exit(&store.mtx);
	return chain;
}

void
entry_put(struct vm_map_entry *chain)
{
	if (chain == NULL)
		return;
	vm_mtx_enter(&store.mtx);
	for (; chain != NULL; store.stats.es_free++)
		entry_push(&store.free, entry_pop(&chain));
	vm_mtx_exit(&store.mtx);
}

/* One page more; e is for its region, and goes back if that fails. */
static bool
grow_page(struct vm_map_entry *e)
{
	const struct space_request rq = {
		.sr_need = PAGE_SIZE,
		.sr_align = PAGE_SIZE,
		.sr_min = VM_MISC_MIN,
		.sr_max = VM_MISC_MAX,
	};
	vaddr_t va;
	paddr_t pa;

	*e = (struct vm_map_entry){
		.vme_owner = "map entries",
		.vme_prot = VM_PROT_RW,
		.vme_flags = VME_SPECIAL,
	};
	if (vm_fail(VM_FAIL_PAGE) || vm_phys_alloc(VM_PAGE_ENTRY, &pa) != 0)
		return false;
	if (map_place(kernel_map, &rq, e, &va) != 0) {
		vm_phys_free(pa);
		return false;
	}
	if (pmap_enter(kernel_pmap, va, pa, VM_PROT_RW) != 0) {
		map_displace(kernel_map, e);
		vm_phys_free(pa);
		return false;
	}
	store_add((char *)va, ENTRY_PER_PAGE);
	vm_mtx_enter(&store.mtx);
	store.stats.es_pages++;
	vm_mtx_exit(&store.mtx);
	return true;
}

/* Make room for taking n; false when there is no memory for it. */
static bool
store_grow(unsigned n)
{
	struct vm_map_entry *e, *chain = NULL;
	struct entry_stats st;
	bool ok;

	vm_rw_enter_write(&store.grow);
	entry_stats(&st);
	ok = st.es_free >= n + ENTRY_RESERVE;	/* somebody else has grown it */
	if (!ok && (e = store_take(1, 0)) != NULL) {
		ok = grow_page(e);
		if (!ok) {
			entry_push(&chain, e);
			entry_put(chain);
		}
	}
	vm_rw_exit_write(&store.grow);
	return ok;
}

struct vm_map_entry *
entry_get(unsigned n)
{
	struct vm_map_entry *chain;

	if (vm_fail(VM_FAIL_ENTRY))
		return NULL;
	while ((chain = store_take(n, ENTRY_RESERVE)) == NULL)
		if (!store_grow(n))
			return NULL;
	return chain;
}

void
entry_stats(struct entry_stats *st)
{
	vm_mtx_enter(&store.mtx);
	*st = store.stats;
	vm_mtx_exit(&store.mtx);
}

void
entry_bootstrap(void)
{
	vm_mtx_init(&store.mtx, "map entries");
	vm_rw_init(&store.grow, "map entries grow");
	store.free = NULL;
	store.stats = (struct entry_stats){ 0 };
	store_add(entry_static[0], ENTRY_STATIC);
}
