/*
 * kmem_cache: slabs of equal, constructed objects.
 *
 * 1. What it is.  A cache hands out objects of one size and takes them back
 *    in the state in which they were handed out: constructed once, when their
 *    slab is made, and destructed when it goes.  After Bonwick, "The Slab
 *    Allocator", USENIX Summer 1994.
 *
 * 2. Layers, each in a file of its own:
 *
 *	 client
 *	   |	kmem_cache.c	caches; the way in and out
 *	   |	kmem_debug.c	who frees what, watched; one test while off
 *	   |	kmem_depot.c	magazines: each CPU's, and the depot between
 *	   |	kmem_slablist.c	the slabs of a cache, by how full they are
 *	   |	kmem_slab.c	one slab: pages, objects, free bits
 *	   |	kmem_mesh.c	two sparse slabs on the frames of one
 *	   |	kmem_pages.c	pages, and from a pointer back to its slab
 *	 kernel_map
 *
 *    Nearly all allocations and frees end at the CPU's loaded magazine: the
 *    CPU kept to oneself, a pointer taken or put, the CPU let go.
 *
 *    A cache keeps KMEM_EMPTY_KEEP empty slabs, so that one object at a slab's
 *    edge does not make and destroy a slab each time; what is above goes back
 *    at once, the rest when nobody needed it for a while (kmem_reap_tick), and
 *    when kmem_alloc runs short (vm_kmem.h, struct kmem_reclaimer).
 *
 * 3. Invariants, which kmem_cache_check() walks.
 *    (a) each slab is on the list that its number of objects out says
 *    (b) sl_inuse is the number of clear bits; bit w of sl_words is set
 *        exactly when sl_free[w] has a bit set; bits beyond the last object
 *        are clear
 *    (c) every frame of a slab points back to it, and none but those
 *    (d) kc_nslabs, kc_nempty and kc_inuse are the sums over the lists
 *    (e) what is in a magazine is an object of the cache, out of its slab,
 *        and nobody's by its tag
 *    (f) the depot's counts are those of its magazines
 *    (g) a slab's twin shows the slab's frames
 *
 * 4. Bootstrap without recursion.  Static are the caches of struct kmem_cache,
 *    of headers for off-slab slabs, and of magazines.  They keep their headers
 *    on their slabs and have no magazines, so that making one of their slabs
 *    needs nothing but pages; making a slab of another cache needs pages and
 *    at most one header, and giving a CPU a magazine needs one of those, so
 *    kmem_cache_alloc calls itself at most once.
 *
 * 5. Locking.  What belongs to a CPU (p) has no lock.  A cache's lock guards
 *    its depot, lists, bits and counters, and is held for a few steps, never
 *    across a constructor, a destructor, or a call that gets or returns pages:
 *    those touch slabs that are on no list.  The lock of the list of caches is
 *    taken with no other; a reaper holds the cache that it works on by a count
 *    (kc_holds), which destroying waits for.
 *
 * 6. Interrupts get what magazines, depot and existing slabs hold, and may
 *    free.  They never make a slab or a magazine and never return one: an empty
 *    slab above the limit waits for the next free outside of an interrupt, or
 *    for a reap.
 *
 * 7. Misuse is found at the free with KMD_CHECK, by the object's tag; without
 *    it when an object is freed twice in a row, and by the bits when it gets
 *    back to its slab.  Each is a panic that says what the pointer is, and the
 *    cache is as it was.
 *
 * 8. A reserve is a number of free objects that only KM_RESERVE may have: by
 *    counting, there is no other list.  A cache with one has no magazines, as
 *    an object in another CPU's would be out of reach when it is needed.
 */
#include <limits.h>

#include <libkern/errno.h>
#include <vm/kmem_debug_impl.h>
#include <vm/kmem_range.h>

/* Addresses that a refused kmem_cache_destroy prints. */
#define REPORT_MAX	8u

static struct {
	struct vm_mtx	  lock;
	struct kmem_link  caches;	/* all of them, oldest first */
	struct kmem_reclaimer reclaimer;
	struct kmem_cache cache;	/* of struct kmem_cache */
	struct kmem_cache header;	/* of struct kmem_slab, off the slab */
	unsigned long	  tick;		/* of the last reaping */
} kmem;

struct kmem_link *
kmem_cache_list(void)
{
	return &kmem.caches;
}

struct kmem_slab *
kmem_header_alloc(int flags)
{
	return kmem_cache_alloc(&kmem.header, flags);
}

void
kmem_header_free(struct kmem_slab *sl)
{
	kmem_cache_free(&kmem.header, sl);
}

/*
 * Making a cache.
 */

/* NULL, or what is senseless about the arguments. */
static const char *
args_fault(const struct kmem_cache_args *ca)
{
	const size_t max = ptoa(KMEM_SLAB_MAXPAGES);

	if (ca->ca_name == NULL)
		return "no name";
	if (ca->ca_size == 0 || ca->ca_size > max)
		return "size";
	if (ca->ca_align != 0 &&
	    (!powerof2(ca->ca_align) || ca->ca_align > PAGE_SIZE))
		return "alignment";
	if (ca->ca_slab_pages > KMEM_SLAB_MAXPAGES)
		return "pages of a slab";
	if ((ca->ca_flags & ~(KM_HEAP | KM_NOMAG | KM_MESH)) != 0)
		return "flags";
	return NULL;
}

/* The layer's own caches are what the rest of the watching stands on. */
static unsigned
debug_modes(const struct kmem_cache *kc, const char *name)
{
	const unsigned kmd = kmem_debug_modes(name);

	return (kc->kc_flags & KC_STATIC) && !(kc->kc_flags & KC_HEAP) ?
	    kmd & KMD_CHECK : kmd;
}

bool
kmem_cache_init(struct kmem_cache *kc, const struct kmem_cache_args *ca,
    unsigned kc_flags)
{
	const char *fault = args_fault(ca);
	unsigned pages = 0;

	memset(kc, 0, sizeof(*kc));
	if (fault == NULL) {
		kc->kc_align = ca->ca_align < 8 ? 8 : ca->ca_align;
		kc->kc_flags = kc_flags;
		if (ca->ca_reserve != 0 || (ca->ca_flags & KM_NOMAG))
			kc->kc_flags |= KC_NOMAG;
		if (ca->ca_flags & KM_MESH)
			kc->kc_flags |= KC_MESH;
		kc->kc_debug = debug_modes(kc, ca->ca_name);
		kc->kc_stride = kmem_debug_stride(kc->kc_debug, ca->ca_size,
		    kc->kc_align, &kc->kc_obj_off);
		/* What is added to an object makes slabs of another size. */
		if (kc->kc_stride == roundup2(ca->ca_size, kc->kc_align))
			pages = ca->ca_slab_pages;
		if (!kmem_slab_layout(kc, pages))
			fault = "no object fits in a slab";
	}
	if (fault != NULL) {
		vm_host_log("kmem_cache_create(%s, size %zu, align %zu, "
		    "%u pages, flags %#x): %s",
		    ca->ca_name == NULL ? "-" : ca->ca_name, ca->ca_size,
		    ca->ca_align, ca->ca_slab_pages, ca->ca_flags, fault);
		return false;
	}
	kc->kc_name = ca->ca_name;
	kc->kc_size = ca->ca_size;
	kc->kc_ctor = ca->ca_ctor;
	kc->kc_dtor = ca->ca_dtor;
	kc->kc_arg = ca->ca_arg;
	kc->kc_window = ca->ca_flags & KM_HEAP ? KM_HEAP : KM_SLAB;
	vm_mtx_init(&kc->kc_lock, "kmem cache");
	kmem_slabs_init(kc);
	kmem_depot_init(kc);

	vm_mtx_enter(&kmem.lock);
	kmem_link_insert(kmem.caches.kl_prev, &kc->kc_all);
	vm_mtx_exit(&kmem.lock);
	return true;
}

/* Slabs for the reserve, which is kept back from now on. */
static bool
reserve(struct kmem_cache *kc, unsigned n)
{
	/* At once: or growing could reclaim the slabs that were just made. */
	kc->kc_reserve = n;
	while (kc->kc_nslabs * kc->kc_per_slab < n)
		if (!kmem_slabs_grow(kc, KM_SLEEP))
			return false;
	return true;
}

struct kmem_cache *
kmem_cache_create(const struct kmem_cache_args *ca)
{
	struct kmem_cache *kc;

	kc = kmem_cache_alloc(&kmem.cache, KM_SLEEP);
	if (kc == NULL)
		return NULL;
	if (!kmem_cache_init(kc, ca, 0)) {
		kmem_cache_free(&kmem.cache, kc);
		return NULL;
	}
	if (!reserve(kc, ca->ca_reserve)) {
		kmem_cache_destroy(kc);
		return NULL;
	}
	return kc;
}

/*
 * Allocating and freeing.
 */

static void __dead2
zero_panic(const struct kmem_cache *kc, int flags)
{
	vm_host_panic("kmem_cache_alloc(%s, %#x): KM_ZERO would undo the "
	    "constructor", kc->kc_name, flags);
}

/* The whole way, for an object or where the magazine had none. */
static void * __attribute__((__noinline__))
get_slow(struct kmem_cache *kc, void *obj, struct kmem_use *u)
{
	if ((u->u_flags & KM_ZERO) && kc->kc_ctor != NULL) {
		if (obj != NULL)
			kmem_depot_free(kc, obj);
		zero_panic(kc, u->u_flags);
	}
	u->u_refill = obj == NULL;
	if (obj == NULL)
		obj = kmem_depot_alloc(kc, u->u_flags);
	if (u->u_size == 0)
		u->u_size = kc->kc_size;
	if (obj != NULL && kc->kc_debug != 0)
		return kmem_debug_out(kc, obj, u);
	if (obj != NULL && (u->u_flags & KM_ZERO))
		memset(obj, 0, kc->kc_size);
	return obj;
}

/* The rest of it. */
static void * __attribute__((__noinline__))
get_rest(struct kmem_cache *kc, int flags, size_t size, uint8_t tag,
    const void *caller, void *obj)
{
	if (obj != NULL && !(flags & KM_ZERO) && kmem_check_out(kc, obj, tag))
		return obj;
	return get_slow(kc, obj, &(struct kmem_use){ size, caller, flags, tag,
	    false });
}

/*
 * Nearly always the first half is all.  Inlined for its return address, too:
 * that is the client.
 */
static inline __attribute__((__always_inline__)) void *
get(struct kmem_cache *kc, size_t size, int flags, uint8_t tag)
{
	uintptr_t state;
	unsigned cpu = vm_cpu_quick(&state);
	struct kmem_cpu *cc = &kc->kc_cpu[cpu];
	void *obj = NULL;
	const bool done = kmem_cpu_get(cc, &obj);

	vm_cpu_quick_exit(cpu, state);
	if (__builtin_expect(done && (cc->cc_debug |
	    ((unsigned)flags & KM_ZERO)) == 0, 1))
		return obj;
	return get_rest(kc, flags, size, tag, __builtin_return_address(0),
	    obj);
}

void *
kmem_cache_get(struct kmem_cache *kc, size_t size, int flags, uint8_t tag)
{
	return get(kc, size, flags, tag);
}

void *
kmem_cache_alloc(struct kmem_cache *kc, int flags)
{
	return get(kc, 0, flags, KMEM_TAG_OUT);
}

void
kmem_cache_misuse(const struct kmem_cache *kc, const char *func,
    const void *obj)
{
	char what[160];

	kmem_describe(what, sizeof(what), obj);
	kmem_debug_tell(obj);
	vm_host_panic("%s(%s, %p): %s", func, kc->kc_name, obj, what);
}

static inline void
put(struct kmem_cache *kc, void *obj)
{
	uintptr_t state;
	unsigned cpu = vm_cpu_quick(&state);
	bool done = kmem_cpu_push(&kc->kc_cpu[cpu], obj);

	vm_cpu_quick_exit(cpu, state);
	if (__builtin_expect(!done, 0))
		kmem_depot_free(kc, obj);
}

void
kmem_cache_put(struct kmem_cache *kc, void *obj)
{
	put(kc, obj);
}

static void __attribute__((__noinline__))
free_watched(struct kmem_cache *kc, void *obj, const void *caller)
{
	if (kmem_debug_back(kc, &obj, KMEM_TAG_OUT, caller) != KMEM_OBJECT)
		kmem_cache_misuse(kc, "kmem_cache_free", obj);
	put(kc, obj);
}

void
kmem_cache_free(struct kmem_cache *kc, void *obj)
{
	if (__builtin_expect(obj == NULL, 0))
		return;
	if (__builtin_expect(!kmem_debug_plain(kc, obj), 0))
		free_watched(kc, obj, __builtin_return_address(0));
	else
		put(kc, obj);
}

/* As many as the loaded magazine has, at most n. */
static unsigned
pop_many(struct kmem_cache *kc, unsigned n, void **objs)
{
	uintptr_t state;
	unsigned cpu = vm_cpu_enter(&state), i;
	struct kmem_cpu *cc = &kc->kc_cpu[cpu];

	if (n > kmem_cpu_n(cc))
		n = kmem_cpu_n(cc);
	for (i = 0; i < n; i++)
		kmem_cpu_get(cc, &objs[i]);
	vm_cpu_exit(cpu, state);
	return n;
}

int
kmem_cache_alloc_many(struct kmem_cache *kc, unsigned n, void **objs,
    int flags)
{
	const bool plain = (kc->kc_debug & KMD_WATCH) == 0 &&
	    !(flags & KM_ZERO);
	unsigned i = 0;

	while (i < n) {
		if (plain)
			i += pop_many(kc, n - i, objs + i);
		if (i == n)
			break;
		objs[i] = kmem_cache_alloc(kc, flags);
		if (objs[i] == NULL) {
			kmem_cache_free_many(kc, i, objs);
			return ENOMEM;
		}
		i++;
	}
	return 0;
}

/* As many as the loaded magazine has room for, at most n. */
static unsigned
push_many(struct kmem_cache *kc, unsigned n, void **objs)
{
	uintptr_t state;
	unsigned cpu = vm_cpu_enter(&state), i;
	struct kmem_cpu *cc = &kc->kc_cpu[cpu];

	for (i = 0; i < n && objs[i] != NULL && kmem_cpu_push(cc, objs[i]); i++)
		continue;
	vm_cpu_exit(cpu, state);
	return i;
}

void
kmem_cache_free_many(struct kmem_cache *kc, unsigned n, void **objs)
{
	unsigned i = 0;

	while (i < n) {
		if (kc->kc_debug == 0)
			i += push_many(kc, n - i, objs + i);
		if (i < n)
			kmem_cache_free(kc, objs[i++]);
	}
}

/*
 * Giving back.
 */
/* Empty slabs: all, or those that nobody needed since the last time. */
static unsigned long
trim(struct kmem_cache *kc, bool idle)
{
	struct kmem_link spare;

	kmem_link_init(&spare);
	vm_mtx_enter(&kc->kc_lock);
	kmem_slabs_trim(kc, idle ? kc->kc_nempty - kc->kc_min_empty_slabs : 0,
	    &spare);
	kc->kc_min_empty_slabs = kc->kc_nempty;
	vm_mtx_exit(&kc->kc_lock);
	return kmem_slabs_destroy(kc, &spare);
}

unsigned long
kmem_cache_reap(struct kmem_cache *kc)
{
	if (vm_host_intr())
		return 0;
	kmem_depot_purge(kc);
	return trim(kc, false);
}

static unsigned long
reap_idle(struct kmem_cache *kc)
{
	kmem_depot_reap(kc);
	return trim(kc, true);
}

/*
 * Hold the cache behind kc (NULL: the first), and let go of kc.
 * => NULL: there is none
 */
static struct kmem_cache *
hold_next(struct kmem_cache *kc)
{
	struct kmem_link *l;
	struct kmem_cache *next = NULL;

	vm_mtx_enter(&kmem.lock);
	l = kc == NULL ? kmem.caches.kl_next : kc->kc_all.kl_next;
	while (l != &kmem.caches &&
	    container_of(l, struct kmem_cache, kc_all)->kc_claimed)
		l = l->kl_next;
	if (l != &kmem.caches) {
		next = container_of(l, struct kmem_cache, kc_all);
		next->kc_holds++;
	}
	if (kc != NULL)
		kc->kc_holds--;
	vm_mtx_exit(&kmem.lock);
	if (kc != NULL)
		vm_host_wakeup(kc);
	return next;
}

/* fn for each cache, until it has given so many pages. */
static unsigned long
for_each(unsigned long (*fn)(struct kmem_cache *), unsigned long want)
{
	struct kmem_cache *kc = hold_next(NULL);
	unsigned long pages = 0;

	while (kc != NULL) {
		if (pages < want)
			pages += fn(kc);
		kc = hold_next(kc);
	}
	return pages;
}

static unsigned long
trim_all(struct kmem_cache *kc)
{
	return trim(kc, false);
}

static unsigned long
squeeze(struct kmem_cache *kc)
{
	kmem_depot_shrink(kc);
	return kmem_cache_reap(kc);
}

/*
 * What kmem_alloc asks for when it runs short: empty slabs first, then what
 * magazines hold, then what sparse slabs can share.  The last round is for the
 * caches of headers and magazines, which are the first on the list, and emptied
 * by the others just now.
 */
static unsigned long
reclaim(unsigned long want)
{
	unsigned long pages;

	if (vm_host_intr())
		return 0;
	pages = kmem_pages_drain();
	if (pages < want)
		pages += for_each(trim_all, want - pages);
	if (pages < want)
		pages += for_each(squeeze, want - pages);
	if (pages < want)
		pages += for_each(kmem_mesh, want - pages);
	if (pages < want)
		pages += for_each(trim_all, want - pages);
	return pages;
}

unsigned long
kmem_reap_tick(void)
{
	const unsigned long now = vm_host_ticks();
	unsigned long pages = kmem_range_tick();

	if (vm_host_intr() || now - kmem.tick < KMEM_REAP_TICKS)
		return pages;
	kmem.tick = now;
	pages += kmem_pages_drain();
	return pages + for_each(reap_idle, ULONG_MAX);
}

unsigned long
kmem_cache_reap_all(void)
{
	unsigned long pages;

	kmem_guard_reap(ULONG_MAX);
	pages = reclaim(ULONG_MAX);
	kmem_range_drain();
	return pages;
}

/* Collect objects of one slab that are out.  => how many there are now */
static unsigned
collect_out(const struct kmem_cache *kc, const struct kmem_slab *sl,
    void **objs, unsigned n)
{
	unsigned i;

	for (i = 0; i < kc->kc_per_slab && n < REPORT_MAX; i++)
		if (!kmem_slab_is_free(sl, i))
			objs[n++] = kmem_slab_object(kc, sl, i);
	return n;
}

/* Say which objects are out: the first few, and the count. */
static void
report_out(struct kmem_cache *kc, unsigned long out)
{
	unsigned n = 0, i;
	void *objs[REPORT_MAX];
	struct kmem_link *l, *list;

	vm_mtx_enter(&kc->kc_lock);
	for (l = kc->kc_full.kl_next; l != &kc->kc_full && n < REPORT_MAX;
	    l = l->kl_next)
		n = collect_out(kc, kmem_link_slab(l), objs, n);
	for (i = 0; i < KMEM_BINS; i++) {
		list = &kc->kc_partial[i];
		for (l = list->kl_next; l != list && n < REPORT_MAX;
		    l = l->kl_next)
			n = collect_out(kc, kmem_link_slab(l), objs, n);
	}
	vm_mtx_exit(&kc->kc_lock);
	for (i = 0; i < n; i++) {
		vm_host_log("kmem_cache_destroy(%s): %p is out", kc->kc_name,
		    objs[i]);
		kmem_debug_tell(objs[i]);
	}
	vm_host_log("kmem_cache_destroy(%s): refused, %lu still out",
	    kc->kc_name, out);
}

/*
 * Keep the cache from reapers, once none looks at it: what one has in his
 * hands counts as out.  => EBUSY: one does, and we cannot wait
 */
static int
claim(struct kmem_cache *kc)
{
	vm_mtx_enter(&kmem.lock);
	while (kc->kc_holds != 0) {
		vm_mtx_exit(&kmem.lock);
		if (!vm_host_sleep(kc))
			return EBUSY;
		vm_mtx_enter(&kmem.lock);
	}
	kc->kc_claimed = true;
	vm_mtx_exit(&kmem.lock);
	return 0;
}

/* Let reapers at it again, or have it off the list of caches. */
static void
unclaim(struct kmem_cache *kc, bool unlist)
{
	vm_mtx_enter(&kmem.lock);
	kc->kc_claimed = false;
	if (unlist)
		kmem_link_remove(&kc->kc_all);
	vm_mtx_exit(&kmem.lock);
}

int
kmem_cache_destroy(struct kmem_cache *kc)
{
	unsigned long out;
	int error;

	if ((kc->kc_flags & KC_STATIC) || vm_host_intr())
		vm_host_panic("kmem_cache_destroy(%s): %s", kc->kc_name,
		    vm_host_intr() ? "from an interrupt" :
		    "a cache of the system's own");
	if ((error = claim(kc)) != 0)
		return error;
	kmem_depot_purge(kc);
	vm_mtx_enter(&kc->kc_lock);
	out = kc->kc_inuse;
	vm_mtx_exit(&kc->kc_lock);
	if (out != 0) {
		report_out(kc, out);
		unclaim(kc, false);
		return EBUSY;
	}
	kc->kc_reserve = 0;
	kmem_cache_reap(kc);
	unclaim(kc, true);
	kmem_cache_free(&kmem.cache, kc);
	return 0;
}

void
kmem_cache_bootstrap(void)
{
	const struct kmem_cache_args cache = {
		.ca_name = "kmem caches", .ca_size = sizeof(struct kmem_cache),
		.ca_align = VM_CPU_ALIGN,
	};
	const struct kmem_cache_args header = {
		.ca_name = "kmem headers", .ca_size = KMEM_OFF_SIZE,
	};
	const unsigned own = KC_ONSLAB | KC_STATIC | KC_NOMAG;

	kmem_bootstrap();
	vm_mtx_init(&kmem.lock, "kmem cache list");
	kmem_link_init(&kmem.caches);
	kmem.reclaimer.kr_name = "slabs";
	kmem.reclaimer.kr_priority = KR_FREE;
	kmem.reclaimer.kr_reclaim = reclaim;
	kmem_reclaim_add(&kmem.reclaimer);
	kmem_pages_bootstrap();
	kmem.tick = vm_host_ticks();
	if (!kmem_cache_init(&kmem.cache, &cache, own) ||
	    !kmem_cache_init(&kmem.header, &header, own))
		vm_host_panic("kmem_cache_bootstrap: no layout for %zu bytes "
		    "and %zu", cache.ca_size, header.ca_size);
	kmem_depot_bootstrap();
	kmem_guard_bootstrap();
}
