/*
 * Objects alone on their pages, the page behind them unmapped: whoever reads
 * or writes one byte too far, or touches the object after it was freed,
 * faults at that very instruction.
 *
 * 1. What it is.  An object that goes out of its cache is exchanged for room
 *    at the end of some pages of their own.  The object of the slab's, its
 *    shadow, stays out meanwhile, so that all that counts and lists objects
 *    need not know; where there is no room of such kind to be had, the client
 *    gets the shadow.  On the way back the two are exchanged again.
 *
 *	g_base          g_obj        g_base + g_bytes
 *	|KMD_BYTE_ZONE ...|object ....|unmapped|
 *
 *    An object whose size is no multiple of its alignment does not reach to
 *    the very end: the few bytes behind it are looked at when it is freed,
 *    and so is what lies before it.
 *
 * 2. What is freed is unmapped, its frames are free, and its addresses are
 *    given to nobody until KEPT others were freed after it, or addresses or
 *    entries of the map run short.  Its struct kmem_guard lives as long: a
 *    fault there can still be told whose it was.
 *
 * 3. Which objects.  With KMD_GUARD all of a cache.  With KMD_SAMPLE (after
 *    Linux's KFENCE) one for each n-th time that a CPU's magazine is empty,
 *    and no more than SAMPLES at a time: that way is a slow one already, so
 *    the fast one pays nothing.
 *
 * 4. Locking.  The lock guards the lists and is taken with no other.  Who
 *    frees an object takes its tag away first, in one exchange: of two, one
 *    is told that it was free.
 *
 * 5. From an interrupt nobody gets one.  One may be freed there: its pages
 *    wait, filled with KMD_BYTE_FREE, for the next call outside.
 */
#include <vm/kmem_debug_impl.h>
#include <vm/pmap.h>

/* Freed ones whose addresses are not given out again yet. */
#define KEPT		64u

/* Samples in use at a time: 32 pages of memory are to be had always. */
#define SAMPLES		32u

/*
 * By itself, each so many refills.  A refill is some 50 allocations (55 on the
 * recording of a Linux build, 136 where objects are replaced at random).
 */
#define EVERY		64u

/* So much before an object is looked at when it is freed. */
#define BEFORE		64u

static struct {
	struct vm_mtx	  lock;
	struct kmem_cache cache;	/* of struct kmem_guard */
	struct kmem_link  used;
	struct kmem_link  pending;	/* freed by an interrupt */
	struct kmem_link  freed;	/* oldest first */
	unsigned	  nfreed;
	unsigned	  nsamples;	/* in use */
	uint32_t	  every;	/* 0: EVERY */
	uint32_t	  turns;
	struct kmem_reclaimer reclaimer;
} guard = {
	/* Who looks before there is one finds none. */
	.used = { &guard.used, &guard.used },
	.pending = { &guard.pending, &guard.pending },
	.freed = { &guard.freed, &guard.freed },
};

static struct kmem_guard *
link_guard(struct kmem_link *l)
{
	return container_of(l, struct kmem_guard, g_link);
}

/*
 * Is it a list's head?  Who looks without the lock may be led from one list
 * onto another, by one that is freed meanwhile: any of them is the end.
 */
static bool
is_head(const struct kmem_link *l)
{
	return (uintptr_t)l - (uintptr_t)&guard < sizeof(guard);
}

static void
link_append(struct kmem_link *list, struct kmem_link *l)
{
	kmem_link_insert(list->kl_prev, l);
}

void
kmem_guard_every(uint32_t n)
{
	guard.every = n;
}

/* => the lock is held; kmem_guard_turn looks without */
static void
samples_add(int n)
{
	__atomic_store_n(&guard.nsamples, guard.nsamples + (unsigned)n,
	    __ATOMIC_RELAXED);
}

/* What is lost when two CPUs count at once is no matter. */
bool
kmem_guard_turn(void)
{
	const uint32_t every = guard.every != 0 ? guard.every : EVERY;
	uint32_t n = __atomic_load_n(&guard.turns, __ATOMIC_RELAXED) + 1;

	if (n >= every)
		n = 0;
	__atomic_store_n(&guard.turns, n, __ATOMIC_RELAXED);
	return n == 0 && !vm_host_intr() &&
	    __atomic_load_n(&guard.nsamples, __ATOMIC_RELAXED) < SAMPLES;
}

/*
 * Pages.
 */

/* Let the frames of its pages point at g, until they are free. */
static void
mark_pages(struct kmem_guard *g)
{
	struct vm_page *pg;
	vsize_t off;

	for (off = 0; off < g->g_bytes; off += PAGE_SIZE) {
		pg = kmem_page((void *)(g->g_base + off));
		KASSERT(pg != NULL);
		pg->pg_slab = g;
		pg->pg_flags |= VM_PAGE_GUARD;
	}
}

/*
 * As kmem_cache and kmalloc.h promise it.  (What is a multiple of 16 long, or
 * a page, and ends where a page does, begins at such an address.)
 */
static size_t
align_of(const struct kmem_cache *kc)
{
	return kc->kc_flags & KC_HEAP ? 8 : kc->kc_align;
}

/* => false: no room */
static bool
pages_alloc(struct kmem_guard *g)
{
	struct kmem_cache *kc = g->g_cache;
	struct vm_map_request req = {
		.vr_size = round_page(g->g_size),
		.vr_min = kc->kc_window == KM_HEAP ? VM_HEAP_MIN : VM_SLAB_MIN,
		.vr_max = kc->kc_window == KM_HEAP ? VM_HEAP_MAX : VM_SLAB_MAX,
		.vr_guard_hi = 1,
		.vr_owner = kc->kc_name,
	};

	if (kmem_alloc_request(kernel_map, &req, KM_EASY, &g->g_base) != 0)
		return false;
	g->g_bytes = req.vr_size;
	g->g_obj = (char *)g->g_base + g->g_bytes -
	    roundup2(g->g_size, align_of(kc));
	mark_pages(g);
	return true;
}

/* Where one looks before the object. */
static char *
before_begin(const struct kmem_guard *g)
{
	return g->g_obj - (char *)g->g_base > (ptrdiff_t)BEFORE ?
	    g->g_obj - BEFORE : (char *)g->g_base;
}

static void
fill(const struct kmem_guard *g)
{
	char *begin = before_begin(g), *end = g->g_obj + g->g_size;

	memset(begin, KMD_BYTE_ZONE, (size_t)(g->g_obj - begin));
	memset(g->g_obj, KMD_BYTE_NEW, g->g_size);
	memset(end, KMD_BYTE_ZONE,
	    (size_t)((char *)g->g_base + g->g_bytes - end));
}

/* Frames go back, addresses stay. */
static void
pages_unmap(struct kmem_guard *g)
{
	vaddr_t va;
	paddr_t pa;

	for (va = g->g_base; va < g->g_base + g->g_bytes; va += PAGE_SIZE)
		vm_phys_free_many(&pa, pmap_kremove(va, 1, &pa));
}

/* Its region is there as it was made: the map does what we want of it. */
static void
map_did(const struct kmem_guard *g, const char *what, int error)
{
	if (error != 0)
		vm_host_panic("kmem_guard: addr %#lx size %#lx of %s: %s: "
		    "error %d", g->g_base, g->g_bytes, g->g_cache->kc_name,
		    what, error);
}

/* Nobody will ask for it any more. */
static vsize_t
forget(struct kmem_guard *g)
{
	const vsize_t size = g->g_bytes;

	map_did(g, "vm_map_free", vm_map_free(kernel_map, g->g_base, size));
	kmem_cache_free(&guard.cache, g);
	return size + PAGE_SIZE;
}

/*
 * The lists.
 */

/* The oldest of the freed, if there are more than keep; NULL: there are not. */
static struct kmem_guard *
freed_pop(unsigned keep)
{
	struct kmem_guard *g = NULL;

	vm_mtx_enter(&guard.lock);
	if (guard.nfreed > keep) {
		g = link_guard(guard.freed.kl_next);
		kmem_link_remove(&g->g_link);
		guard.nfreed--;
	}
	vm_mtx_exit(&guard.lock);
	return g;
}

static struct kmem_guard *
pending_pop(void)
{
	struct kmem_guard *g = NULL;

	vm_mtx_enter(&guard.lock);
	if (!kmem_link_empty(&guard.pending)) {
		g = link_guard(guard.pending.kl_next);
		kmem_link_remove(&g->g_link);
	}
	vm_mtx_exit(&guard.lock);
	return g;
}

/* Onto the freed, or from an interrupt onto those that wait. */
static void
freed_push(struct kmem_guard *g, struct kmem_link *list)
{
	vm_mtx_enter(&guard.lock);
	link_append(list, &g->g_link);
	guard.nfreed += list == &guard.freed;
	vm_mtx_exit(&guard.lock);
}

/* Nobody is to touch it for as long as possible.  The map says so, too. */
static void
retire(struct kmem_guard *g)
{
	pages_unmap(g);
	map_did(g, "vm_map_protect", vm_map_protect(kernel_map, g->g_base,
	    g->g_base + g->g_bytes, VM_PROT_NONE));
	freed_push(g, &guard.freed);
}

/* What interrupts left, and what is too much. */
static void
tidy(void)
{
	struct kmem_guard *g;

	while ((g = pending_pop()) != NULL)
		retire(g);
	while ((g = freed_pop(KEPT)) != NULL)
		forget(g);
}

/* All of it; and nothing is asked for on the way. */
unsigned long
kmem_guard_reap(unsigned long want)
{
	struct kmem_guard *g;
	vsize_t size = 0;

	if (vm_host_intr())
		return 0;
	while ((g = pending_pop()) != NULL) {
		pages_unmap(g);
		size += forget(g);
	}
	while ((g = freed_pop(0)) != NULL)
		size += forget(g);
	return atop(size);
}

/*
 * Out and in.
 */
static bool
construct(struct kmem_guard *g)
{
	struct kmem_cache *kc = g->g_cache;

	return kc->kc_ctor == NULL ||
	    kc->kc_ctor(g->g_obj, kc->kc_arg, KM_NOSLEEP) == 0;
}

/* Fill a new one in.  => false: it could not be had; g is as before */
static bool
guard_make(struct kmem_guard *g)
{
	if (!pages_alloc(g))
		return false;
	fill(g);
	if (construct(g))
		return true;
	kmem_free(kernel_map, g->g_base, g->g_bytes);
	return false;
}

void *
kmem_guard_out(struct kmem_cache *kc, void *obj, const struct kmem_use *u)
{
	struct kmem_guard *g;

	if (vm_host_intr())
		return obj;
	tidy();
	g = kmem_cache_alloc(&guard.cache, KM_EASY);
	if (g == NULL)
		return obj;
	memset(g, 0, sizeof(*g));
	g->g_cache = kc;
	g->g_shadow = obj;
	g->g_size = u->u_size;
	g->g_tag = u->u_tag;
	g->g_sample = !(kc->kc_debug & KMD_GUARD);
	kmem_record_take(&g->g_record[KMD_ALLOCATED], u->u_caller);
	if (!guard_make(g)) {
		kmem_cache_free(&guard.cache, g);
		return obj;
	}
	vm_mtx_enter(&guard.lock);
	link_append(&guard.used, &g->g_link);
	samples_add(g->g_sample);
	vm_mtx_exit(&guard.lock);
	return g->g_obj;
}

/*
 * Has anybody written beside it?  That is told, and is the end; the object
 * is its client's again before that.
 */
static void
check_beside(struct kmem_guard *g, uint8_t tag)
{
	const char *begin = before_begin(g), *end = g->g_obj + g->g_size;
	const size_t before = (size_t)(g->g_obj - begin);
	const size_t behind = (size_t)((char *)g->g_base + g->g_bytes - end);
	struct kmem_damage d;

	if (!kmem_bytes_sound(end, behind, KMD_BYTE_ZONE, &d))
		d.d_where = "behind its end";
	else if (!kmem_bytes_sound(begin, before, KMD_BYTE_ZONE, &d)) {
		d.d_where = "before its begin";
		d.d_distance = before - d.d_distance;
	} else
		return;
	__atomic_store_n(&g->g_tag, tag, __ATOMIC_RELEASE);
	kmem_debug_damage(g->g_cache, g->g_obj, g->g_size, g->g_record, &d);
}

enum kmem_verdict
kmem_guard_in(struct kmem_guard *g, void **obj, uint8_t tag,
    const void *caller)
{
	struct kmem_cache *kc = g->g_cache;
	const bool intr = vm_host_intr();
	uint8_t was = tag;

	if (*obj != g->g_obj)
		return KMEM_NO_OBJECT;
	if (!__atomic_compare_exchange_n(&g->g_tag, &was, KMEM_TAG_NONE,
	    false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return was == KMEM_TAG_NONE ? KMEM_FREE_OBJECT :
		    KMEM_OTHER_TAG;
	check_beside(g, tag);
	*obj = g->g_shadow;
	kmem_record_take(&g->g_record[KMD_FREED], caller);
	if (kc->kc_dtor != NULL)
		kc->kc_dtor(g->g_obj, kc->kc_arg);
	vm_mtx_enter(&guard.lock);
	kmem_link_remove(&g->g_link);
	samples_add(g->g_sample ? -1 : 0);
	vm_mtx_exit(&guard.lock);
	if (intr) {
		memset(g->g_obj, KMD_BYTE_FREE, g->g_size);
		freed_push(g, &guard.pending);
	} else {
		retire(g);
		tidy();
	}
	return KMEM_OBJECT;
}

/*
 * Looking.
 */
struct kmem_guard *
kmem_guard_find(const void *ptr)
{
	const struct vm_page *pg = kmem_page(ptr);
	struct kmem_guard *g;

	if (pg == NULL)
		return NULL;
	/* The flag last: whoever frees the page meanwhile takes that away. */
	g = __atomic_load_n(&pg->pg_slab, __ATOMIC_ACQUIRE);
	return __atomic_load_n(&pg->pg_flags, __ATOMIC_RELAXED) &
	    VM_PAGE_GUARD ? g : NULL;
}

static struct kmem_guard *
search(struct kmem_link *list, vaddr_t va)
{
	struct kmem_guard *g;
	struct kmem_link *l;

	/* The newest first. */
	for (l = list->kl_prev; !is_head(l); l = l->kl_prev) {
		g = link_guard(l);
		if (va - g->g_base < g->g_bytes + PAGE_SIZE)
			return g;
	}
	return NULL;
}

struct kmem_guard *
kmem_guard_near(vaddr_t va)
{
	struct kmem_guard *g = search(&guard.used, va);

	if (g == NULL)
		g = search(&guard.pending, va);
	return g != NULL ? g : search(&guard.freed, va);
}

struct kmem_guard *
kmem_guard_next(struct kmem_guard *g)
{
	struct kmem_link *l = g == NULL ? guard.used.kl_next :
	    g->g_link.kl_next;

	return is_head(l) ? NULL : link_guard(l);
}

void
kmem_guard_describe(const struct kmem_guard *g, vaddr_t va, char *buf,
    size_t size)
{
	const vaddr_t obj = (vaddr_t)g->g_obj, end = obj + g->g_size;
	const char *where = "bytes into";
	vaddr_t distance = va - obj;

	if (va < obj) {
		where = "bytes before";
		distance = obj - va;
	} else if (va >= end) {
		where = "bytes behind the end of";
		distance = va - end;
	}
	k_snprintf(buf, size, "%lu %s %p, an object of %s (%zu bytes), %s",
	    distance, where, (void *)g->g_obj, g->g_cache->kc_name,
	    g->g_size, g->g_tag == KMEM_TAG_NONE ? "freed" : "in use");
}

void
kmem_guard_bootstrap(void)
{
	const struct kmem_cache_args ca = {
		.ca_name = "kmem guards", .ca_size = sizeof(struct kmem_guard),
	};

	vm_mtx_init(&guard.lock, "kmem guards");
	if (!kmem_cache_init(&guard.cache, &ca, KC_STATIC | KC_NOMAG))
		vm_host_panic("kmem_guard_bootstrap: no layout for %zu bytes",
		    ca.ca_size);
	guard.reclaimer.kr_name = "guard pages";
	/* Before the slabs: what they take back is freed here. */
	guard.reclaimer.kr_priority = KR_FREE - 1;
	guard.reclaimer.kr_reclaim = kmem_guard_reap;
	kmem_reclaim_add(&guard.reclaimer);
}
