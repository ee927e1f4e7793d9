/*
 * kmem_cache: slabs of equal, constructed objects.
 *
 * 1. What it is.  A cache hands out objects of one size and takes them back
 *    in the state in which they were handed out: constructed once, when their
 *    slab is made, and destructed when it goes.  After Bonwick, "The Slab
 *    Allocator", USENIX Summer 1994.
 *
 * 2. Structures.  A cache has slabs (kmem_slab.c), each on one of three lists:
 *
 *	partial		some objects out, some free
 *	empty		none out; the newest first
 *	full		all out
 *
 *    One allocates from the first partial slab, then from an empty one, then
 *    grows.  A full slab that gets an object back goes to the front of the
 *    partial list: the fullest slabs are used up first, and the emptiest,
 *    left alone, become empty and can go.
 *
 *    Pages come from kernel_map and go back there (kmem_pages.c).  A cache
 *    keeps KMEM_EMPTY_KEEP empty slabs, so that one object allocated and
 *    freed at a slab's edge does not make and destroy a slab each time; what
 *    is above goes back at once, the rest when somebody reaps, and when
 *    kmem_alloc runs short (vm_kmem.h, struct kmem_reclaimer).
 *
 * 3. Invariants, which kmem_cache_check() walks.
 *    (a) each slab is on the list that its number of objects out says
 *    (b) sl_inuse is the number of clear bits; bit w of sl_words is set
 *        exactly when sl_free[w] has a bit set; bits beyond the last object
 *        are clear
 *    (c) every frame of a slab points back to it, and none but those
 *    (d) kc_nslabs, kc_nempty and kc_inuse are the sums over the lists
 *
 * 4. Bootstrap without recursion.  Two caches are static: that of struct
 *    kmem_cache and that of headers for off-slab slabs.  Both keep their
 *    headers on their slabs, so that making one of their slabs needs nothing
 *    but pages; making a slab of another cache needs pages and at most one
 *    header, so kmem_cache_alloc calls itself at most once.
 *
 * 5. Locking.  A cache's lock guards its lists, bits and counters, and is
 *    held for a few steps, never across a constructor, a destructor, or a call
 *    that gets or returns pages: those touch slabs that are on no list.  The
 *    lock of the list of caches is taken with no other; a reaper holds the
 *    cache that it works on by a count (kc_holds), which destroying waits for.
 *
 * 6. Interrupts get what existing slabs hold, and may free.  They never make
 *    a slab and never return one: an empty slab above the limit waits for the
 *    next free outside of an interrupt, or for a reap.
 *
 * 7. Misuse.  A pointer that is freed is looked up by its frame first
 *    (kmem_page), and judged under the lock before anything is changed: a
 *    double, foreign, interior or misdirected free is a panic that says what
 *    the pointer is, and the cache is as it was.
 *
 * 8. What it does not do yet: magazines would sit in kmem_cache_alloc_tagged
 *    and kmem_cache_free before the lock, a working set in trim_locked.
 */
#include <limits.h>

#include <libkern/errno.h>
#include <vm/kmem_cache_impl.h>

/* Addresses that a refused kmem_cache_destroy prints. */
#define REPORT_MAX	8u

static struct {
	struct vm_mtx	  lock;
	struct kmem_link  caches;	/* all of them, oldest first */
	struct kmem_reclaimer reclaimer;
	struct kmem_cache cache;	/* of struct kmem_cache */
	struct kmem_cache header;	/* of struct kmem_slab, off the slab */
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
	if ((ca->ca_flags & ~KM_HEAP) != 0)
		return "flags";
	return NULL;
}

bool
kmem_cache_init(struct kmem_cache *kc, const struct kmem_cache_args *ca,
    unsigned kc_flags)
{
	const char *fault = args_fault(ca);

	memset(kc, 0, sizeof(*kc));
	if (fault == NULL) {
		kc->kc_align = ca->ca_align < 8 ? 8 : ca->ca_align;
		kc->kc_stride = roundup2(ca->ca_size, kc->kc_align);
		kc->kc_flags = kc_flags;
		if (!kmem_slab_layout(kc, ca->ca_slab_pages))
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
	kmem_link_init(&kc->kc_partial);
	kmem_link_init(&kc->kc_empty);
	kmem_link_init(&kc->kc_full);

	vm_mtx_enter(&kmem.lock);
	kmem_link_insert(kmem.caches.kl_prev, &kc->kc_all);
	vm_mtx_exit(&kmem.lock);
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
	return kc;
}

/*
 * Slabs and lists.
 */

/* Put sl on the list where it belongs, or move it there. */
static void
slab_file_locked(struct kmem_cache *kc, struct kmem_slab *sl)
{
	if (sl->sl_inuse == 0) {
		kmem_link_insert(&kc->kc_empty, &sl->sl_link);
		kc->kc_nempty++;
	} else if (sl->sl_inuse == kc->kc_per_slab)
		kmem_link_insert(&kc->kc_full, &sl->sl_link);
	else
		kmem_link_insert(&kc->kc_partial, &sl->sl_link);
}

/* Take the oldest empty slabs above keep off the cache, for good. */
static void
trim_locked(struct kmem_cache *kc, unsigned long keep, struct kmem_link *out)
{
	struct kmem_link *l;

	while (kc->kc_nempty > keep) {
		l = kc->kc_empty.kl_prev;
		kmem_link_remove(l);
		kmem_link_insert(out, l);
		kc->kc_nempty--;
		kc->kc_nslabs--;
		kc->kc_shrunk++;
	}
}

/* Destroy what trim_locked took.  => the number of pages */
static unsigned long
destroy_slabs(struct kmem_cache *kc, struct kmem_link *list)
{
	struct kmem_link *l;
	unsigned long pages = 0;

	while (!kmem_link_empty(list)) {
		l = list->kl_next;
		kmem_link_remove(l);
		kmem_slab_destroy(kc, kmem_link_slab(l));
		pages += atop(kc->kc_slab_size);
	}
	return pages;
}

/* One more slab.  => false: no memory, or from an interrupt */
static bool
grow(struct kmem_cache *kc, int flags)
{
	struct kmem_slab *sl;
	size_t color;

	if (vm_host_intr())
		return false;
	vm_mtx_enter(&kc->kc_lock);
	color = kc->kc_color;
	kc->kc_color = color == kc->kc_color_max ? 0 : color + kc->kc_align;
	vm_mtx_exit(&kc->kc_lock);
	sl = kmem_slab_create(kc, color, flags);
	if (sl == NULL)
		return false;
	vm_mtx_enter(&kc->kc_lock);
	slab_file_locked(kc, sl);
	kc->kc_nslabs++;
	kc->kc_grown++;
	vm_mtx_exit(&kc->kc_lock);
	return true;
}

/* An object from the slabs that there are, or NULL. */
static void *
take_locked(struct kmem_cache *kc, uint8_t tag)
{
	struct kmem_slab *sl;
	void *obj;

	if (!kmem_link_empty(&kc->kc_partial)) {
		sl = kmem_link_slab(kc->kc_partial.kl_next);
		obj = kmem_slab_take(kc, sl, tag);
		if (sl->sl_inuse == kc->kc_per_slab) {
			kmem_link_remove(&sl->sl_link);
			slab_file_locked(kc, sl);
		}
	} else if (!kmem_link_empty(&kc->kc_empty)) {
		sl = kmem_link_slab(kc->kc_empty.kl_next);
		kmem_link_remove(&sl->sl_link);
		kc->kc_nempty--;
		obj = kmem_slab_take(kc, sl, tag);
		slab_file_locked(kc, sl);
	} else
		return NULL;
	kc->kc_inuse++;
	kc->kc_allocs++;
	return obj;
}

/*
 * Allocating and freeing.
 */
void *
kmem_cache_alloc_tagged(struct kmem_cache *kc, int flags, uint8_t tag)
{
	void *obj;

	do {
		vm_mtx_enter(&kc->kc_lock);
		obj = take_locked(kc, tag);
		vm_mtx_exit(&kc->kc_lock);
	} while (obj == NULL && grow(kc, flags));
	if (obj == NULL) {
		vm_mtx_enter(&kc->kc_lock);
		kc->kc_fails++;
		vm_mtx_exit(&kc->kc_lock);
	} else if (flags & KM_ZERO)
		memset(obj, 0, kc->kc_size);
	return obj;
}

void *
kmem_cache_alloc(struct kmem_cache *kc, int flags)
{
	if ((flags & KM_ZERO) && kc->kc_ctor != NULL)
		vm_host_panic("kmem_cache_alloc(%s, %#x): KM_ZERO would undo "
		    "the constructor", kc->kc_name, flags);
	return kmem_cache_alloc_tagged(kc, flags, 0);
}

/*
 * Free obj, which points into sl, if it is an object that has this tag.
 * => anything but KMEM_OBJECT: nothing has happened
 */
enum kmem_verdict
kmem_cache_free_tagged(struct kmem_slab *sl, void *obj, uint8_t tag)
{
	struct kmem_cache *kc = sl->sl_cache;
	struct kmem_link spare;
	enum kmem_verdict verdict;

	kmem_link_init(&spare);
	vm_mtx_enter(&kc->kc_lock);
	verdict = kmem_slab_put(kc, sl, obj, tag);
	if (verdict != KMEM_OBJECT) {
		vm_mtx_exit(&kc->kc_lock);
		return verdict;
	}
	kc->kc_inuse--;
	kc->kc_frees++;
	if (sl->sl_inuse == 0 || sl->sl_inuse == kc->kc_per_slab - 1) {
		kmem_link_remove(&sl->sl_link);
		slab_file_locked(kc, sl);
		if (!vm_host_intr())
			trim_locked(kc, KMEM_EMPTY_KEEP, &spare);
	}
	vm_mtx_exit(&kc->kc_lock);
	destroy_slabs(kc, &spare);
	return KMEM_OBJECT;
}

void
kmem_cache_free(struct kmem_cache *kc, void *obj)
{
	struct kmem_slab *sl;
	char what[128];

	if (obj == NULL)
		return;
	sl = kmem_slab_find(obj);
	if (sl != NULL && sl->sl_cache == kc &&
	    kmem_cache_free_tagged(sl, obj, 0) == KMEM_OBJECT)
		return;
	kmem_describe(what, sizeof(what), obj);
	vm_host_panic("kmem_cache_free(%s, %p): %s", kc->kc_name, obj, what);
}

/*
 * Giving back.
 */
unsigned long
kmem_cache_reap(struct kmem_cache *kc)
{
	struct kmem_link spare;

	if (vm_host_intr())
		return 0;
	kmem_link_init(&spare);
	vm_mtx_enter(&kc->kc_lock);
	trim_locked(kc, 0, &spare);
	vm_mtx_exit(&kc->kc_lock);
	return destroy_slabs(kc, &spare);
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

/* What kmem_alloc asks for when it runs short. */
static unsigned long
reclaim(unsigned long want)
{
	struct kmem_cache *kc;
	unsigned long pages;

	if (vm_host_intr())
		return 0;
	pages = kmem_pages_drain();
	kc = hold_next(NULL);
	while (kc != NULL) {
		if (pages < want)
			pages += kmem_cache_reap(kc);
		kc = hold_next(kc);
	}
	/* The first on the list, and emptied by the others just now. */
	if (pages < want)
		pages += kmem_cache_reap(&kmem.header);
	return pages;
}

unsigned long
kmem_cache_reap_all(void)
{
	return reclaim(ULONG_MAX);
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
	struct kmem_link *l;

	vm_mtx_enter(&kc->kc_lock);
	for (l = kc->kc_full.kl_next; l != &kc->kc_full && n < REPORT_MAX;
	    l = l->kl_next)
		n = collect_out(kc, kmem_link_slab(l), objs, n);
	for (l = kc->kc_partial.kl_next; l != &kc->kc_partial &&
	    n < REPORT_MAX; l = l->kl_next)
		n = collect_out(kc, kmem_link_slab(l), objs, n);
	vm_mtx_exit(&kc->kc_lock);
	for (i = 0; i < n; i++)
		vm_host_log("kmem_cache_destroy(%s): %p is out", kc->kc_name,
		    objs[i]);
	vm_host_log("kmem_cache_destroy(%s): refused, %lu still out",
	    kc->kc_name, out);
}

/* Off the list of caches, once no reaper looks at it.  => EBUSY: one does */
static int
unlist(struct kmem_cache *kc)
{
	vm_mtx_enter(&kmem.lock);
	while (kc->kc_holds != 0) {
		vm_mtx_exit(&kmem.lock);
		if (!vm_host_sleep(kc))
			return EBUSY;
		vm_mtx_enter(&kmem.lock);
	}
	kmem_link_remove(&kc->kc_all);
	vm_mtx_exit(&kmem.lock);
	return 0;
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
	vm_mtx_enter(&kc->kc_lock);
	out = kc->kc_inuse;
	vm_mtx_exit(&kc->kc_lock);
	if (out != 0) {
		report_out(kc, out);
		return EBUSY;
	}
	if ((error = unlist(kc)) != 0)
		return error;
	kmem_cache_reap(kc);
	kmem_cache_free(&kmem.cache, kc);
	return 0;
}

void
kmem_cache_bootstrap(void)
{
	const struct kmem_cache_args cache = {
		.ca_name = "kmem caches", .ca_size = sizeof(struct kmem_cache),
	};
	const struct kmem_cache_args header = {
		.ca_name = "kmem headers", .ca_size = KMEM_OFF_SIZE,
	};

	kmem_bootstrap();
	vm_mtx_init(&kmem.lock, "kmem cache list");
	kmem_link_init(&kmem.caches);
	kmem.reclaimer.kr_name = "slabs";
	kmem.reclaimer.kr_priority = KR_FREE;
	kmem.reclaimer.kr_reclaim = reclaim;
	kmem_reclaim_add(&kmem.reclaimer);
	kmem_pages_bootstrap();
	if (!kmem_cache_init(&kmem.cache, &cache, KC_ONSLAB | KC_STATIC) ||
	    !kmem_cache_init(&kmem.header, &header, KC_ONSLAB | KC_STATIC))
		vm_host_panic("kmem_cache_bootstrap: no layout for %zu bytes "
		    "and %zu", cache.ca_size, header.ca_size);
}
