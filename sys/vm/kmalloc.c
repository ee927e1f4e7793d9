/*
 * kmalloc: the kernel's heap.
 *
 * 1. What it is.  Memory of any size, each piece of a type (struct
 *    kmalloc_type) that says what it is for and counts what it takes.
 *
 * 2. Sizes.  Up to a page a request is served by the cache of the next size
 *    class, whose slabs lie in the heap window; above that it is whole pages,
 *    by kmem_alloc in the same window.
 *
 *    The classes are chosen so that one object of each size from 1 to 4,096
 *    bytes wastes less than 5 % on average, and no size above 64 bytes more
 *    than 12.5 %, unused bytes of slabs and their headers counted
 *    (test_kmalloc computes both from the real layout).  Powers of two waste
 *    25 %.  What is special about the larger ones is that they tile whole
 *    pages: 5 × 2,432 bytes fit three pages, 7 × 2,336 four.  The table was
 *    found by dynamic programming over (size, pages of a slab), in 32 and in
 *    64 bits, with and without KMD_CHECK: the least sum of the 4,096 sizes'
 *    waste, to which each page of a slab beyond its first adds 0.5, and 2 up to
 *    1,024 bytes.  For where a share of all objects is freed at random, a slab
 *    of n becomes empty with the n-th power of that share: slabs of one page
 *    come back.
 *    A class is a multiple of 16 bytes, from 128 bytes on, and of 8 below.
 *
 * 3. What is known of a piece of memory.  Nothing is stored in it.  A table
 *    says of which class a page of the heap window is (kmem_class_of): kfree
 *    need not fetch the slab's header, which in all slabs lies at the same
 *    place of a page, so that headers push each other out of the processor's
 *    cache.  The frame behind a pointer says the rest.  With KMD_CHECK a slab
 *    keeps a byte beside each object, the identity of its type; the first
 *    frame of a block of pages points to its type always.
 *
 * 4. Accounting is in bytes that a piece takes (kmalloc_usable), not in bytes
 *    asked for: kfree is not told how many those were.  Each CPU counts for
 *    itself, without a lock, the allocations and the frees of each class, one
 *    counter a call; everything else is worked out of these when somebody
 *    asks, and the high water when a CPU's magazine was not enough.
 *
 * 5. Locking.  One lock guards the list of types and the marks of blocks of
 *    pages; it is held for a few steps and taken with no other.
 *
 * 6. Interrupts may allocate what magazines and slabs of a class hold, and may
 *    free anything; pages that they free go back later (kmem_pages.c).
 */
#include <vm/kmalloc_impl.h>
#include <vm/kmem_debug_impl.h>

#define C(size, pages)	{ size, pages, "kmalloc-" #size }
static const struct {
	uint16_t	 c_size;
	uint16_t	 c_pages;	/* of a slab */
	const char	*c_name;
} classes[1 + KMALLOC_NCLASSES] = {
	{ 0 },		/* whole pages, or nothing of ours */
	C(8, 1), C(16, 1), C(24, 1), C(32, 1), C(40, 1), C(48, 1), C(64, 1),
	C(72, 2), C(80, 2), C(88, 1), C(96, 1), C(104, 1), C(112, 1),
	C(120, 1), C(128, 1), C(144, 2), C(160, 1), C(176, 1), C(192, 1),
	C(208, 1), C(224, 1), C(240, 1), C(256, 1), C(272, 1), C(288, 1),
	C(304, 1), C(336, 1), C(368, 1), C(400, 1), C(448, 1), C(496, 1),
	C(512, 1), C(576, 1), C(624, 2), C(672, 1), C(736, 2), C(800, 1),
	C(816, 1), C(896, 2), C(1008, 1), C(1024, 1), C(1104, 3), C(1168, 2),
	C(1248, 4), C(1344, 1), C(1456, 5), C(1536, 3), C(1632, 4), C(1744, 3),
	C(1856, 5), C(2016, 1), C(2048, 1), C(2224, 6), C(2336, 4), C(2432, 3),
	C(2560, 5), C(2720, 4), C(2912, 5), C(3056, 3), C(3264, 4), C(3408, 5),
	C(3632, 8), C(4064, 2), C(4096, 1),
};
#undef C

KMALLOC_DEFINE(M_TEMP, "temp", "short-lived or not worth a type");

static struct {
	struct vm_mtx	     lock;
	struct kmalloc_type *first, *last;	/* in order of first use */
	unsigned	     lastid;
	/*
	 * By class.  The first is no cache: its magazines are never loaded, so
	 * that what is of no class needs no question on the quick way.
	 */
	struct kmem_cache    cache[nitems(classes)];
	/* The class of (size + 7) / 8. */
	uint8_t		     class[KMALLOC_MAX_CLASS / 8 + 1];
	/* The same, but 0 where each object is watched (KMD_WATCH). */
	uint8_t		     quick[KMALLOC_MAX_CLASS / 8 + 1];
} heap;

/*
 * Objects of a class, more or fewer, from one look at the high water to the
 * next: what a CPU's two magazines of the largest classes hold, so that a look
 * each time would not tell much more.
 */
#define HIGH_STEP	8u

static unsigned long class_allocs(const struct kmem_cache *);

void
kmalloc_bootstrap(void)
{
	struct kmem_cache_args ca = { .ca_flags = KM_HEAP | KM_MESH };
	unsigned i, size = 8;

	vm_mtx_init(&heap.lock, "kmalloc");
	kmem_class_bootstrap();
	heap.lastid = KMEM_TAG_OUT;
	for (i = 1; i < nitems(classes); i++) {
		ca.ca_name = classes[i].c_name;
		ca.ca_size = classes[i].c_size;
		ca.ca_align = classes[i].c_size % 16 == 0 ? 16 : 8;
		if (classes[i].c_size == PAGE_SIZE)
			ca.ca_align = PAGE_SIZE;
		ca.ca_slab_pages = classes[i].c_pages;
		if (!kmem_cache_init(&heap.cache[i], &ca, KC_HEAP | KC_STATIC))
			vm_host_panic("kmalloc_bootstrap: class of %zu bytes",
			    ca.ca_size);
		heap.cache[i].kc_class = i;
		heap.cache[i].kc_allocs = class_allocs;
		for (; size <= classes[i].c_size; size += 8) {
			heap.class[size / 8] = (uint8_t)i;
			heap.quick[size / 8] = kmem_class_quick(&heap.cache[i]);
		}
	}
	KASSERT(size == KMALLOC_MAX_CLASS + 8);
}

struct kmem_cache *
kmalloc_class(unsigned i)
{
	return i < KMALLOC_NCLASSES ? &heap.cache[i + 1] : NULL;
}

static inline unsigned
class_of(size_t size)
{
	return heap.class[(size + 7) / 8];
}

size_t
kmalloc_held(size_t size)
{
	return size <= KMALLOC_MAX_CLASS ? classes[class_of(size)].c_size :
	    round_page(size);
}

/*
 * Types and their figures.
 */
const struct kmalloc_type *
kmalloc_next(const struct kmalloc_type *kt)
{
	return kt == NULL ? heap.first : kt->kt_next;
}

/* The type's identity; 0: it has none yet. */
static inline uint8_t
id_of(const struct kmalloc_type *kt)
{
	return __atomic_load_n(&kt->kt_id, __ATOMIC_RELAXED);
}

/*
 * What stands beside its objects.  A type that nobody has used yet has none:
 * what stands beside no object, whereas 0 stands beside those that are free.
 */
static inline uint8_t
tag_of(const struct kmalloc_type *kt)
{
	const uint8_t id = id_of(kt);

	return id != 0 ? id : KMEM_TAG_MARK;
}

/* It gets one, and its place on the list, when first used. */
static uint8_t
type_id(struct kmalloc_type *kt)
{
	uint8_t id = id_of(kt);

	if (id != 0)
		return id;
	vm_mtx_enter(&heap.lock);
	if (kt->kt_id == 0) {
		if (heap.lastid < KMALLOC_MAX_ID)
			heap.lastid++;
		kt->kt_next = NULL;
		if (heap.last != NULL)
			heap.last->kt_next = kt;
		else
			heap.first = kt;
		heap.last = kt;
		__atomic_store_n(&kt->kt_id, (uint8_t)heap.lastid,
		    __ATOMIC_RELAXED);
	}
	id = kt->kt_id;
	vm_mtx_exit(&heap.lock);
	return id;
}

/*
 * What a CPU has got for a type, less what it gave back: is it the most so far?
 * Of other classes than this one it is what it was when we looked last; so it
 * is no sum over all classes, and out by some magazines at most.
 * => what others allocated is freed here, too: less than 0 may be in use
 */
static inline void
look(struct kmalloc_type *kt, unsigned cpu, unsigned class)
{
	const struct kmalloc_share *ks = &kt->kt_share[cpu];
	struct kmalloc_high *kh = &kt->kt_high[cpu];
	const uint32_t moved = ks->ks_count[class].sc_allocs -
	    ks->ks_count[class].sc_frees - kh->kh_seen[class];

	/* Up or down.  With KMD_CHECK each object comes by. */
	if (class != 0 && moved + (HIGH_STEP - 1) <= 2 * (HIGH_STEP - 1))
		return;
	kh->kh_seen[class] += moved;
	kh->kh_bytes += (vsize_t)(int32_t)moved * classes[class].c_size;
	if ((intptr_t)(kh->kh_bytes + ks->ks_pages - kh->kh_most) > 0)
		kh->kh_most = kh->kh_bytes + ks->ks_pages;
}

/* Of a class, or of pages (0); held is 0 for a failure. */
static void
account_alloc(struct kmalloc_type *kt, unsigned class, size_t held)
{
	uintptr_t state;
	unsigned cpu = vm_cpu_enter(&state);
	struct kmalloc_share *ks = &kt->kt_share[cpu];

	if (held == 0)
		ks->ks_fails++;
	else
		ks->ks_count[class].sc_allocs++;
	if (class == 0)
		ks->ks_pages += held;
	look(kt, cpu, class);
	vm_cpu_exit(cpu, state);
}

static void
account_free(struct kmalloc_type *kt, unsigned class, size_t held)
{
	uintptr_t state;
	unsigned cpu = vm_cpu_enter(&state);
	struct kmalloc_share *ks = &kt->kt_share[cpu];

	ks->ks_count[class].sc_frees++;
	if (class == 0)
		ks->ks_pages -= held;
	look(kt, cpu, class);
	vm_cpu_exit(cpu, state);
}

static uint32_t
size_bit(unsigned class)
{
	return class == 0 ? 1u << 31 :
	    1u << bit_highest32(classes[class].c_size);
}

/*
 * Pieces of a class in use.  A CPU's own two counters may be any distance
 * apart, and a word's worth of it: only the sum over all is a number.
 */
static uint32_t
class_inuse(const struct kmalloc_type *kt, unsigned class, uint32_t *allocs)
{
	uint32_t inuse = 0;
	unsigned i;

	*allocs = 0;
	for (i = 0; i < VM_NCPU; i++) {
		*allocs += kt->kt_share[i].ks_count[class].sc_allocs;
		inuse += kt->kt_share[i].ks_count[class].sc_allocs -
		    kt->kt_share[i].ks_count[class].sc_frees;
	}
	return inuse;
}

/* All types' allocations of a class: no CPU counts them once more. */
static unsigned long
class_allocs(const struct kmem_cache *kc)
{
	const struct kmalloc_type *kt = NULL;
	uint32_t sum = 0, allocs;

	while ((kt = kmalloc_next(kt)) != NULL) {
		class_inuse(kt, kc->kc_class, &allocs);
		sum += allocs;
	}
	return sum;
}

void
kmalloc_stats(const struct kmalloc_type *kt, struct kmalloc_stats *sum)
{
	const struct kmalloc_share *ks;
	uint32_t inuse, allocs;
	unsigned i, c;

	*sum = (struct kmalloc_stats){ .ks_inuse = 0 };
	for (c = 0; c < nitems(classes); c++) {
		inuse = class_inuse(kt, c, &allocs);
		sum->ks_inuse += (unsigned long)(int32_t)inuse;
		sum->ks_bytes += (vsize_t)(int32_t)inuse * classes[c].c_size;
		sum->ks_requests += allocs;
		if (allocs != 0)
			sum->ks_sizes |= size_bit(c);
	}
	for (i = 0; i < VM_NCPU; i++) {
		ks = &kt->kt_share[i];
		sum->ks_bytes += ks->ks_pages;
		sum->ks_high += kt->kt_high[i].kh_most;
		sum->ks_fails += ks->ks_fails;
	}
	sum->ks_requests += sum->ks_fails;
	if (sum->ks_high < sum->ks_bytes)
		sum->ks_high = sum->ks_bytes;
}

/*
 * Blocks of whole pages.
 */
static void *
pages_alloc(size_t size, struct kmalloc_type *kt, int flags)
{
	struct vm_page *pg;
	void *p;

	if (size > VM_HEAP_MAX - VM_HEAP_MIN)
		return NULL;
	size = round_page(size);
	p = (void *)kmem_pages_alloc(size, KM_HEAP |
	    (flags & (KM_NOSLEEP | KM_EASY | KM_ZERO)), kt->kt_name);
	if (p == NULL)
		return NULL;
	pg = kmem_page(p);
	KASSERT(pg != NULL && pg->pg_npages == atop(size));
	pg->pg_slab = kt;
	pg->pg_flags |= VM_PAGE_HEAP;
	return p;
}

/* The first frame of the block that begins at p, or NULL. */
static struct vm_page *
pages_find(const void *p)
{
	struct vm_page *pg = kmem_page(p);

	if (pg == NULL || !(pg->pg_flags & VM_PAGE_HEAP) ||
	    !page_aligned((vaddr_t)p))
		return NULL;
	return pg;
}

/* => the bytes that it took; 0: there is no such block of this type */
static size_t
pages_free(void *p, struct kmalloc_type *kt)
{
	struct vm_page *pg = pages_find(p);
	vsize_t size;
	bool ours;

	if (pg == NULL)
		return 0;
	vm_mtx_enter(&heap.lock);
	ours = (pg->pg_flags & VM_PAGE_HEAP) && pg->pg_slab == kt;
	if (ours) {
		pg->pg_flags &= (uint8_t)~VM_PAGE_HEAP;
		pg->pg_slab = NULL;
	}
	vm_mtx_exit(&heap.lock);
	if (!ours)
		return 0;
	size = ptoa(pg->pg_npages);
	kmem_pages_free((vaddr_t)p, size);
	return size;
}

/*
 * Objects of a class.
 */

/*
 * The one of our caches whose object p points into, or NULL.
 * => also while another CPU frees p, and its pages: what lies behind it is
 *    looked at once
 */
static struct kmem_cache *
heap_cache(const void *p)
{
	const struct kmem_slab *sl = kmem_slab_find(p);
	const struct kmem_guard *g = sl == NULL ? kmem_guard_find(p) : NULL;
	struct kmem_cache *kc = NULL;

	if (sl != NULL)
		kc = sl->sl_cache;
	else if (g != NULL)
		kc = g->g_cache;
	return kc != NULL && (kc->kc_flags & KC_HEAP) ? kc : NULL;
}

/* => the bytes that it took; 0: there is no such object of this type */
static size_t
object_free(struct kmem_cache *kc, void *p, struct kmalloc_type *kt,
    const void *caller)
{
	if (kc->kc_debug != 0 &&
	    kmem_debug_back(kc, &p, tag_of(kt), caller) != KMEM_OBJECT)
		return 0;
	kmem_cache_put(kc, p);
	return kc->kc_size;
}

static void __dead2
misuse(const char *func, const void *p, const struct kmalloc_type *kt)
{
	char what[160];

	kmalloc_describe(what, sizeof(what), p);
	kmem_debug_tell(p);
	vm_host_panic("%s(%p, type %s): %s", func, p,
	    kt == NULL ? "any" : kt->kt_name, what);
}

/* What is not done in a few instructions. */
static void * __attribute__((__noinline__))
kmalloc_rest(size_t size, struct kmalloc_type *kt, int flags)
{
	const uint8_t id = type_id(kt);
	unsigned class = 0;
	size_t held;
	void *p;

	if (size == 0)
		return NULL;
	flags &= KM_NOSLEEP | KM_EASY | KM_ZERO;
	if (size <= KMALLOC_MAX_CLASS) {
		class = class_of(size);
		held = heap.cache[class].kc_size;
		p = kmem_cache_get(&heap.cache[class], size, flags, id);
	} else {
		held = round_page(size);
		p = pages_alloc(size, kt, flags);
	}
	account_alloc(kt, class, p != NULL ? held : 0);
	return p;
}

/* Nearly always what a CPU has at hand is enough. */
void *
kmalloc(size_t size, struct kmalloc_type *kt, int flags)
{
	struct kmem_cpu *cc;
	unsigned cpu, class;
	uintptr_t state;
	void *p;

	if (__builtin_expect(size > KMALLOC_MAX_CLASS ||
	    (flags & KM_ZERO) || id_of(kt) == 0, 0))
		return kmalloc_rest(size, kt, flags);
	class = heap.quick[(size + 7) / 8];
	cpu = vm_cpu_quick(&state);
	cc = &heap.cache[class].kc_cpu[cpu];
	if (__builtin_expect(!kmem_cpu_pop(cc, &p), 0)) {
		vm_cpu_quick_exit(cpu, state);
		return kmalloc_rest(size, kt, flags);
	}
	kt->kt_share[cpu].ks_count[class].sc_allocs++;
	vm_cpu_quick_exit(cpu, state);
	return p;
}

void *
kcalloc(size_t n, size_t size, struct kmalloc_type *kt, int flags)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return kmalloc(bytes, kt, flags | KM_ZERO);
}

/*
 * The same as heap_cache, without a look at the slab's header, which would
 * have to be fetched: where nobody watches, what the class says is enough.
 */
static struct kmem_cache *
heap_cache_quick(const void *p)
{
	const unsigned class = kmem_class_of(p);

	return class != 0 ? &heap.cache[class] : heap_cache(p);
}

static void __attribute__((__noinline__))
kfree_rest(void *p, struct kmalloc_type *kt, const void *caller)
{
	struct kmem_cache *kc;
	unsigned class = 0;
	size_t held;

	if (p == NULL)
		return;
	kc = heap_cache_quick(p);
	if (kc != NULL) {
		class = kc->kc_class;
		held = object_free(kc, p, kt, caller);
	} else
		held = pages_free(p, kt);
	if (held == 0)
		misuse("kfree", p, kt);
	account_free(kt, class, held);
}

void
kfree(void *p, struct kmalloc_type *kt)
{
	const vsize_t at = kmem_class_at(p);
	unsigned class, cpu;
	uintptr_t state;

	/* NULL is not there. */
	if (__builtin_expect(at >= kmem_classes.kp_npages, 0)) {
		kfree_rest(p, kt, __builtin_return_address(0));
		return;
	}
	class = kmem_classes.kp_class[at];
	cpu = vm_cpu_quick(&state);
	if (__builtin_expect(!kmem_cpu_push(&heap.cache[class].kc_cpu[cpu],
	    p), 0)) {
		vm_cpu_quick_exit(cpu, state);
		kfree_rest(p, kt, __builtin_return_address(0));
		return;
	}
	kt->kt_share[cpu].ks_count[class].sc_frees++;
	vm_cpu_quick_exit(cpu, state);
}

/* Has kt (NULL: anybody) what is tagged so? */
static bool
tag_fits(uint8_t tag, const struct kmalloc_type *kt)
{
	return kt == NULL ? tag != KMEM_TAG_NONE : tag == tag_of(kt);
}

/* The bytes of the object at p of a slab, as for held_at. */
static size_t
held_object(const void *p, struct kmem_slab *sl, const struct kmalloc_type *kt)
{
	const struct kmem_cache *kc = sl->sl_cache;
	unsigned i;

	if (kmem_slab_judge(kc, sl, p, &i) != KMEM_OBJECT)
		return 0;
	/* As far as is known. */
	if ((kc->kc_debug & KMD_CHECK) &&
	    !tag_fits(kmem_slab_tags(kc, sl)[i], kt))
		return 0;
	/* Behind what was asked for is the zone. */
	return kmem_trail_size(kc, p);
}

/*
 * The bytes at p, which must be in use, and of kt unless that is NULL.
 * => 0: it is not
 */
static size_t
held_at(const void *p, const struct kmalloc_type *kt)
{
	const struct kmem_guard *g = kmem_guard_find(p);
	const struct vm_page *pg;

	if (g != NULL)
		return p == g->g_obj && tag_fits(g->g_tag, kt) ? g->g_size : 0;
	if (heap_cache(p) != NULL)
		return held_object(p, kmem_slab_find(p), kt);
	pg = pages_find(p);
	if (pg == NULL || (kt != NULL && pg->pg_slab != kt))
		return 0;
	return ptoa(pg->pg_npages);
}

size_t
kmalloc_usable(const void *p)
{
	size_t held;

	if (p == NULL)
		return 0;
	held = held_at(p, NULL);
	if (held == 0)
		misuse("kmalloc_usable", p, NULL);
	return held;
}

/* May what is at p, held bytes, serve as size bytes? */
static bool
serves(const void *p, size_t held, size_t size)
{
	return size <= held && (size % 16 != 0 || (uintptr_t)p % 16 == 0);
}

void *
krealloc(void *p, size_t size, struct kmalloc_type *kt, int flags)
{
	size_t held;
	void *q;

	if (p == NULL)
		return kmalloc(size, kt, flags);
	if (size == 0) {
		kfree(p, kt);
		return NULL;
	}
	held = held_at(p, kt);
	if (held == 0)
		misuse("krealloc", p, kt);
	/* Moving is for growth, and where it gives at least half back. */
	if (serves(p, held, size) && kmalloc_held(size) > held / 2)
		return p;
	q = kmalloc(size, kt, flags & ~KM_ZERO);
	if (q == NULL)
		return serves(p, held, size) ? p : NULL;
	memcpy(q, p, size < held ? size : held);
	if ((flags & KM_ZERO) && size > held)
		memset((char *)q + held, 0, size - held);
	kfree(p, kt);
	return q;
}
