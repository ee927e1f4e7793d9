/*
 * Magazines: free objects that a CPU has at hand.
 *
 * 1. What it is.  After Bonwick and Adams, "Magazines and Vmem", USENIX 2001.
 *    A magazine is an array of free objects of one cache.  Each CPU has two of
 *    each cache: it gives out from the loaded one and takes back into it, with
 *    no lock, as nobody else is on that CPU meanwhile (machine/vmcpu.h).  When
 *    the loaded one is empty, or full, the two change places; when that does
 *    not help, one of them is exchanged for a full, or an empty, one of the
 *    depot, under the cache's lock; and when the depot has none either, the
 *    objects come from, or go to, the slabs.
 *
 *	   CPU 0		   CPU 1
 *	+---------+---------+	+---------+---------+
 *	| loaded  |previous |	| loaded  |previous |
 *	+---------+---------+	+---------+---------+
 *	     ^ exchange: one magazine at a time
 *	     v
 *	+------------------------------------------+
 *	| depot: full magazines    empty magazines |
 *	+------------------------------------------+
 *	     ^ half a magazine at a time
 *	     v
 *	    slabs: full, partial, empty
 *
 *    With two of them, whoever allocates and frees at the edge of one does not
 *    go to the depot each time: at least m_size operations lie between two
 *    visits.  He would change them each time, though.  So a full one that comes
 *    to lie beside an empty one shares with it, the newer half loaded; the next
 *    edge is half a magazine away, whichever way he goes.
 *
 * 2. Freeing never allocates.  In the paper a free that finds no empty magazine
 *    makes one.  Here it hands half of the loaded one to the slabs, and notes
 *    that a magazine was missing (kc_mag_want); the next allocation that comes
 *    this way makes it, if that is easy.  So a cache has as many as its bursts
 *    need, after the first.
 *
 * 3. How large.  By the size of the objects at first, so that a magazine holds
 *    a page or two; twice as large when the lock is found taken
 *    KMEM_CONTENTION times, up to KMEM_MAG_GROW doublings; half as large when
 *    memory runs short, and back to the first size by and by, as time passes
 *    without that.  Each magazine knows its own size, so they change as they
 *    pass: an empty one of another size is not kept.  Objects above a page
 *    have no magazines.
 *
 * 4. Working set.  kc_min_full and kc_min_empty say how many magazines nobody
 *    needed since the last kmem_depot_reap: those go.
 *
 * 5. To a slab all these objects are out.  Whoever frees one twice, with no
 *    check on, is found when the second one gets back to the slab, at the
 *    latest.  The slabs are left whole, and what remains is a panic that says
 *    so, once nothing is held.
 */
#include <vm/kmem_cache_impl.h>

/* So often is the lock found taken before magazines grow. */
#define KMEM_CONTENTION		16u
#define KMEM_MAG_GROW		2u

/* Rounds that are got from the slabs at once, at most. */
#define KMEM_REFILL		32u

#define MAG_SIZES		5u	/* 8, 16, 32, 64, 128 words */
#define MAG_SIZE(words)		((uint16_t)((words) - KMEM_MAG_HEADER))

static struct kmem_cache mag_cache[MAG_SIZES];
static uintptr_t secret;	/* what links are encoded with; odd */

void
kmem_depot_bootstrap(void)
{
	static const char *const name[MAG_SIZES] = { "kmem mag 8",
	    "kmem mag 16", "kmem mag 32", "kmem mag 64", "kmem mag 128" };
	struct kmem_cache_args ca = { .ca_size = 0 };
	unsigned i;

	secret = vm_host_random() | 1;
	for (i = 0; i < MAG_SIZES; i++) {
		ca.ca_name = name[i];
		ca.ca_size = (KMEM_MAG_WORDS_MIN << i) * sizeof(void *);
		if (!kmem_cache_init(&mag_cache[i], &ca, KC_ONSLAB |
		    KC_STATIC | KC_NOMAG))
			vm_host_panic("kmem_depot_bootstrap: no layout for "
			    "%zu bytes", ca.ca_size);
	}
}

/* Some pages of objects. */
static unsigned
first_words(size_t size)
{
	if (size > PAGE_SIZE)
		return 0;
	if (size > 1024)
		return KMEM_MAG_WORDS_MIN;
	if (size > 256)
		return KMEM_MAG_WORDS_MIN * 4;
	return KMEM_MAG_WORDS_MIN * 8;
}

static unsigned
most_words(size_t size)
{
	unsigned words = first_words(size) << KMEM_MAG_GROW;

	return words < KMEM_MAG_WORDS_MAX ? words : KMEM_MAG_WORDS_MAX;
}

void
kmem_depot_init(struct kmem_cache *kc)
{
	unsigned i;

	for (i = 0; i < VM_NCPU; i++)
		kc->kc_cpu[i].cc_debug = kc->kc_debug & KMD_WATCH;
	if (!(kc->kc_flags & KC_NOMAG))
		kc->kc_mag_words = first_words(kc->kc_stride);
}

/* For what is looked at without the lock as well. */
static void
set(unsigned *what, unsigned to)
{
	__atomic_store_n(what, to, __ATOMIC_RELAXED);
}

void
kmem_depot_shrink(struct kmem_cache *kc)
{
	vm_mtx_enter(&kc->kc_lock);
	if (kc->kc_mag_words > KMEM_MAG_WORDS_MIN)
		set(&kc->kc_mag_words, kc->kc_mag_words / 2);
	set(&kc->kc_mag_want, 0);
	vm_mtx_exit(&kc->kc_lock);
}

/*
 * Magazines by themselves.
 */
static struct kmem_cache *
cache_of(unsigned size)
{
	const unsigned words = size + KMEM_MAG_HEADER;

	return &mag_cache[bit_lowest32(words / KMEM_MAG_WORDS_MIN)];
}

static struct kmem_mag *
mag_alloc(unsigned words)
{
	struct kmem_mag *mag;

	mag = kmem_cache_alloc(cache_of(MAG_SIZE(words)), KM_EASY);
	if (mag == NULL)
		return NULL;
	mag->m_n = 0;
	mag->m_size = MAG_SIZE(words);
	mag->m_none = NULL;
	return mag;
}

static void
mag_free(struct kmem_mag *mag)
{
	kmem_cache_free(cache_of(mag->m_size), mag);
}

/* Take what is loaded out of the CPU.  => NULL: nothing was */
static struct kmem_mag *
unload(struct kmem_cpu *cc)
{
	struct kmem_mag *mag = cc->cc_mag;

	if (mag != NULL)
		mag->m_n = (uint16_t)kmem_cpu_n(cc);
	cc->cc_mag = NULL;
	cc->cc_top = cc->cc_first = cc->cc_end = NULL;
	return mag;
}

static void
load(struct kmem_cpu *cc, struct kmem_mag *mag)
{
	cc->cc_mag = mag;
	cc->cc_first = mag->m_round;
	cc->cc_top = cc->cc_first + mag->m_n;
	cc->cc_end = cc->cc_first + mag->m_size;
}

static void
set_prev(struct kmem_cpu *cc, struct kmem_mag *mag)
{
	cc->cc_prev = mag;
	cc->cc_prev_n = mag != NULL ? mag->m_n : 0;
}

/* The two change places. */
static void
swap(struct kmem_cpu *cc)
{
	struct kmem_mag *prev = cc->cc_prev;

	set_prev(cc, unload(cc));
	load(cc, prev);
}

/* The n oldest rounds of the loaded one are elsewhere now. */
static void
drop_oldest(struct kmem_cpu *cc, unsigned n)
{
	cc->cc_top -= n;
	memmove(cc->cc_first, cc->cc_first + n,
	    kmem_cpu_n(cc) * sizeof(*cc->cc_first));
}

/*
 * The loaded one is full, the other empty: its older half moves there.
 * => false: the other has no room for it
 */
static bool
halve(struct kmem_cpu *cc)
{
	struct kmem_mag *prev = cc->cc_prev;
	const unsigned n = kmem_cpu_n(cc) / 2;

	if (prev->m_size < n)
		return false;
	memcpy(prev->m_round, cc->cc_first, n * sizeof(*prev->m_round));
	prev->m_n = (uint16_t)n;
	set_prev(cc, prev);
	drop_oldest(cc, n);
	return true;
}

/* The loaded one is empty, the other is not: now it is. */
static void
turn_to_take(struct kmem_cpu *cc)
{
	swap(cc);
	if (cc->cc_top == cc->cc_end)
		halve(cc);
}

/* The loaded one is full, the other is not: now it has room. */
static void
turn_to_put(struct kmem_cpu *cc)
{
	if (cc->cc_prev_n != 0 || !halve(cc))
		swap(cc);
}

/* mag is loaded, what was goes to the place of the one before it. */
static void
load_next(struct kmem_cpu *cc, struct kmem_mag *mag)
{
	set_prev(cc, unload(cc));
	load(cc, mag);
}

/*
 * The depot.
 */
static void
depot_enter(struct kmem_cache *kc)
{
	if (vm_mtx_try(&kc->kc_lock))
		return;
	vm_mtx_enter(&kc->kc_lock);
	if (++kc->kc_contended < KMEM_CONTENTION)
		return;
	kc->kc_contended = 0;
	if (kc->kc_mag_words != 0 &&
	    kc->kc_mag_words < most_words(kc->kc_stride))
		set(&kc->kc_mag_words, kc->kc_mag_words * 2);
}

/*
 * Magazines lie in slabs, behind somebody else's objects perhaps.  A link is
 * encoded, and checked before it is followed: one that an overflow has changed
 * leads nowhere.
 */
static uint32_t
check_of(uintptr_t link)
{
	return (uint32_t)(link * secret >> (sizeof(link) * 8 - 32));
}

static void
set_next(struct kmem_mag *mag, const struct kmem_mag *next)
{
	mag->m_link = (uintptr_t)next ^ (uintptr_t)mag ^ secret;
	mag->m_check = check_of(mag->m_link);
}

struct kmem_mag *
kmem_mag_next(const struct kmem_mag *mag)
{
	struct kmem_mag *next;

	next = (struct kmem_mag *)(mag->m_link ^ (uintptr_t)mag ^ secret);
	if (mag->m_check != check_of(mag->m_link))
		vm_host_panic("kmem: the magazine at %p was written over: "
		    "what it leads to, %p, is none", (const void *)mag,
		    (void *)next);
	return next;
}

static struct kmem_mag *
pop_full(struct kmem_cache *kc)
{
	struct kmem_mag *mag = kc->kc_full_mags;

	if (mag == NULL)
		return NULL;
	kc->kc_full_mags = kmem_mag_next(mag);
	kc->kc_rounds -= mag->m_n;
	if (--kc->kc_nfull < kc->kc_min_full)
		kc->kc_min_full = kc->kc_nfull;
	return mag;
}

static struct kmem_mag *
pop_empty(struct kmem_cache *kc)
{
	struct kmem_mag *mag = kc->kc_empty_mags;

	if (mag == NULL)
		return NULL;
	kc->kc_empty_mags = kmem_mag_next(mag);
	if (--kc->kc_nempty_mags < kc->kc_min_empty)
		kc->kc_min_empty = kc->kc_nempty_mags;
	return mag;
}

static void
push_full(struct kmem_cache *kc, struct kmem_mag *mag)
{
	set_next(mag, kc->kc_full_mags);
	kc->kc_full_mags = mag;
	kc->kc_rounds += mag->m_n;
	kc->kc_nfull++;
}

/* => mag, if it is not of the size that is wanted now: to be given back */
static struct kmem_mag *
push_empty(struct kmem_cache *kc, struct kmem_mag *mag)
{
	if (mag->m_size != MAG_SIZE(kc->kc_mag_words)) {
		set(&kc->kc_mag_want, kc->kc_mag_want + 1);
		return mag;
	}
	set_next(mag, kc->kc_empty_mags);
	kc->kc_empty_mags = mag;
	kc->kc_nempty_mags++;
	return NULL;
}

/* Another CPU's, which may be exchanging magazines: then what fits in one. */
static size_t
loaded(const struct kmem_cpu *cc)
{
	void **first = __atomic_load_n(&cc->cc_first, __ATOMIC_RELAXED);
	void **top = __atomic_load_n(&cc->cc_top, __ATOMIC_RELAXED);
	size_t n = ((uintptr_t)top - (uintptr_t)first) / sizeof(*top);

	return n < KMEM_MAG_WORDS_MAX ? n : KMEM_MAG_WORDS_MAX;
}

unsigned long
kmem_depot_rounds(const struct kmem_cache *kc)
{
	unsigned long n = kc->kc_rounds;
	unsigned i;

	for (i = 0; i < VM_NCPU; i++) {
		n += loaded(&kc->kc_cpu[i]);
		n += __atomic_load_n(&kc->kc_cpu[i].cc_prev_n,
		    __ATOMIC_RELAXED);
	}
	return n;
}

/*
 * Allocating.
 */

/* One object, and some more for the loaded magazine.  => lock held */
static void *
refill(struct kmem_cache *kc, struct kmem_cpu *cc)
{
	unsigned n = kmem_cpu_size(cc) / 2;
	void *obj = NULL;

	if (n > KMEM_REFILL)
		n = KMEM_REFILL;
	if (n != 0) {
		cc->cc_top += kmem_slabs_take(kc, false, cc->cc_first, n + 1);
		kmem_cpu_get(cc, &obj);
	} else if (kmem_slabs_take(kc, false, &obj, 1) != 0)
		cc->cc_allocs++;
	return obj;
}

/* A full magazine of the depot's, or else the slabs.  => the CPU is held */
static void *
depot_get(struct kmem_cache *kc, struct kmem_cpu *cc, struct kmem_mag **old)
{
	struct kmem_mag *mag;
	void *obj = NULL;

	depot_enter(kc);
	mag = pop_full(kc);
	if (mag != NULL) {
		if (cc->cc_prev != NULL)
			*old = push_empty(kc, cc->cc_prev);
		load_next(cc, mag);
		kmem_cpu_get(cc, &obj);
	} else
		obj = refill(kc, cc);
	vm_mtx_exit(&kc->kc_lock);
	return obj;
}

static void *
get(struct kmem_cache *kc, struct kmem_mag **old)
{
	uintptr_t state;
	unsigned cpu = vm_cpu_enter(&state);
	struct kmem_cpu *cc = &kc->kc_cpu[cpu];
	void *obj = NULL;

	if (cc->cc_top == cc->cc_first && cc->cc_prev_n != 0)
		turn_to_take(cc);
	if (!kmem_cpu_get(cc, &obj))
		obj = depot_get(kc, cc, old);
	vm_cpu_exit(cpu, state);
	return obj;
}

/* Where does a magazine lack?  => the CPU is held */
static bool
lacks(const struct kmem_cache *kc, const struct kmem_cpu *cc)
{
	return cc->cc_mag == NULL || cc->cc_prev == NULL ||
	    __atomic_load_n(&kc->kc_mag_want, __ATOMIC_RELAXED) != 0;
}

/* Put a new magazine where one lacks.  => one that is not needed after all */
static struct kmem_mag *
place(struct kmem_cache *kc, struct kmem_cpu *cc, struct kmem_mag *mag)
{
	if (cc->cc_mag == NULL) {
		load(cc, mag);
		return NULL;
	}
	if (cc->cc_prev == NULL) {
		set_prev(cc, mag);
		return NULL;
	}
	vm_mtx_enter(&kc->kc_lock);
	if (kc->kc_mag_want > 0) {
		set(&kc->kc_mag_want, kc->kc_mag_want - 1);
		mag = push_empty(kc, mag);
	}
	vm_mtx_exit(&kc->kc_lock);
	return mag;
}

/* Make a magazine where one lacks, if that is easy. */
static void
supply(struct kmem_cache *kc)
{
	const unsigned words =
	    __atomic_load_n(&kc->kc_mag_words, __ATOMIC_RELAXED);
	struct kmem_mag *mag;
	uintptr_t state;
	unsigned cpu;
	bool want;

	if (words == 0 || vm_host_intr())
		return;
	cpu = vm_cpu_enter(&state);
	want = lacks(kc, &kc->kc_cpu[cpu]);
	vm_cpu_exit(cpu, state);
	if (!want || (mag = mag_alloc(words)) == NULL)
		return;
	cpu = vm_cpu_enter(&state);
	mag = place(kc, &kc->kc_cpu[cpu], mag);
	vm_cpu_exit(cpu, state);
	if (mag != NULL)
		mag_free(mag);
}

/* What is kept back for those who ask for it. */
static void *
from_reserve(struct kmem_cache *kc)
{
	uintptr_t state;
	unsigned cpu = vm_cpu_enter(&state);
	void *obj = NULL;

	depot_enter(kc);
	if (kmem_slabs_take(kc, true, &obj, 1) != 0)
		kc->kc_cpu[cpu].cc_allocs++;
	vm_mtx_exit(&kc->kc_lock);
	vm_cpu_exit(cpu, state);
	return obj;
}

void *
kmem_depot_alloc(struct kmem_cache *kc, int flags)
{
	/* Who may have of the reserve does not wait. */
	const int grow = flags & KM_RESERVE ? flags | KM_NOSLEEP : flags;
	struct kmem_mag *old = NULL;
	void *obj;

	do
		obj = get(kc, &old);
	while (obj == NULL && kmem_slabs_grow(kc, grow));
	/* What other CPUs had may be in the slabs now: memory was short. */
	if (obj == NULL)
		obj = get(kc, &old);
	if (obj == NULL && (flags & KM_RESERVE))
		obj = from_reserve(kc);
	if (old != NULL)
		mag_free(old);
	if (obj != NULL) {
		supply(kc);
		return obj;
	}
	vm_mtx_enter(&kc->kc_lock);
	kc->kc_fails++;
	vm_mtx_exit(&kc->kc_lock);
	return NULL;
}

/*
 * Freeing.
 */

/* The older half of the loaded magazine to the slabs.  => lock held */
static const void *
flush(struct kmem_cache *kc, struct kmem_cpu *cc)
{
	const unsigned n = (kmem_cpu_n(cc) + 1) / 2;
	const void *bad = kmem_slabs_put(kc, cc->cc_first, n);

	drop_oldest(cc, n);
	return bad;
}

/*
 * An empty magazine of the depot's for the full one, or else the slabs.
 * => the CPU is held; as kmem_slabs_put
 */
static const void *
depot_put(struct kmem_cache *kc, struct kmem_cpu *cc, void *obj,
    struct kmem_link *spare)
{
	const void *bad = NULL;
	struct kmem_mag *mag;

	depot_enter(kc);
	mag = pop_empty(kc);
	if (mag != NULL) {
		if (cc->cc_prev != NULL)
			push_full(kc, cc->cc_prev);
		load_next(cc, mag);
	} else if (cc->cc_mag != NULL) {
		if (kc->kc_mag_want <= kc->kc_inuse / kmem_cpu_size(cc))
			set(&kc->kc_mag_want, kc->kc_mag_want + 1);
		bad = flush(kc, cc);
	}
	if (!kmem_cpu_push(cc, obj))
		bad = kmem_slabs_put(kc, &obj, 1);
	if (!vm_host_intr())
		kmem_slabs_trim(kc, KMEM_EMPTY_KEEP, spare);
	vm_mtx_exit(&kc->kc_lock);
	return bad;
}

/* Was obj the last to be put there, and not taken since? */
static bool
twice(const struct kmem_cpu *cc, const void *obj)
{
	return cc->cc_top != cc->cc_first && cc->cc_top[-1] == obj;
}

static const void *
put(struct kmem_cache *kc, void *obj, struct kmem_link *spare)
{
	uintptr_t state;
	unsigned cpu = vm_cpu_enter(&state);
	struct kmem_cpu *cc = &kc->kc_cpu[cpu];
	const void *bad = NULL;

	if (twice(cc, obj))
		bad = obj;
	else if (!kmem_cpu_push(cc, obj)) {
		if (cc->cc_prev != NULL &&
		    cc->cc_prev->m_n < cc->cc_prev->m_size) {
			turn_to_put(cc);
			bad = kmem_cpu_push(cc, obj) ? NULL : obj;
		} else
			bad = depot_put(kc, cc, obj, spare);
	}
	vm_cpu_exit(cpu, state);
	return bad;
}

void
kmem_depot_free(struct kmem_cache *kc, void *obj)
{
	struct kmem_link spare;
	const void *bad;

	kmem_link_init(&spare);
	bad = put(kc, obj, &spare);
	kmem_slabs_destroy(kc, &spare);
	if (bad != NULL)
		kmem_cache_misuse(kc, "kmem_cache_free", bad);
}

/*
 * Giving back.
 */

/* A list of magazines: rounds to the slabs, magazines to theirs. */
static void
discard(struct kmem_cache *kc, struct kmem_mag *list)
{
	const void *bad = NULL, *b;
	struct kmem_mag *mag;

	while ((mag = list) != NULL) {
		list = kmem_mag_next(mag);
		vm_mtx_enter(&kc->kc_lock);
		b = kmem_slabs_put(kc, mag->m_round, mag->m_n);
		vm_mtx_exit(&kc->kc_lock);
		bad = b != NULL ? b : bad;
		mag_free(mag);
	}
	if (bad != NULL)
		kmem_cache_misuse(kc, "kmem_cache_reap", bad);
}

/* A magazine, if there is one, in front of a list. */
static struct kmem_mag *
in_front(struct kmem_mag *mag, struct kmem_mag *list)
{
	if (mag == NULL)
		return list;
	set_next(mag, list);
	return mag;
}

/* n full and m empty magazines of the depot, in front of a list. */
static struct kmem_mag *
collect(struct kmem_cache *kc, unsigned n, unsigned m, struct kmem_mag *list)
{
	while (n-- > 0)
		list = in_front(pop_full(kc), list);
	while (m-- > 0)
		list = in_front(pop_empty(kc), list);
	return list;
}

/* Both magazines of a CPU, in front of a list. */
static struct kmem_mag *
strip(struct kmem_cache *kc, unsigned cpu, struct kmem_mag *list)
{
	struct kmem_cpu *cc = &kc->kc_cpu[cpu];
	struct kmem_mag *mag, *prev;
	uintptr_t state;

	vm_cpu_enter_other(cpu, &state);
	mag = unload(cc);
	prev = cc->cc_prev;
	set_prev(cc, NULL);
	vm_cpu_exit_other(cpu, state);
	return in_front(prev, in_front(mag, list));
}

void
kmem_depot_purge(struct kmem_cache *kc)
{
	struct kmem_mag *list = NULL;
	unsigned cpu;

	if (kc->kc_flags & KC_NOMAG)
		return;
	for (cpu = 0; cpu < VM_NCPU; cpu++)
		list = strip(kc, cpu, list);
	vm_mtx_enter(&kc->kc_lock);
	list = collect(kc, kc->kc_nfull, kc->kc_nempty_mags, list);
	vm_mtx_exit(&kc->kc_lock);
	discard(kc, list);
}

void
kmem_depot_reap(struct kmem_cache *kc)
{
	struct kmem_mag *list;

	vm_mtx_enter(&kc->kc_lock);
	if (kc->kc_mag_words < first_words(kc->kc_stride) &&
	    kc->kc_mag_words != 0)
		set(&kc->kc_mag_words, kc->kc_mag_words * 2);
	list = collect(kc, kc->kc_min_full, kc->kc_min_empty, NULL);
	kc->kc_min_full = kc->kc_nfull;
	kc->kc_min_empty = kc->kc_nempty_mags;
	vm_mtx_exit(&kc->kc_lock);
	discard(kc, list);
}
