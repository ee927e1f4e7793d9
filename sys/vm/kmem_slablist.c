/*
 * The slabs of a cache, each on one list:
 *
 *	empty		no object out; the newest first
 *	partial		some out, some free: KMEM_BINS lists by how many
 *	full		all out
 *
 *	 out	0	1 .. 1/8   ..   ..   ..   ..   ..  7/8 .. all-1   all
 *	       empty  |   bin 0 | 1  | 2  | 3  | 4  | 5  | 6  | 7       |  full
 *
 * One allocates from the fullest bin, then from an empty slab, then grows.  So
 * the fullest slabs are used up, and the emptiest, left alone, become empty
 * and can go: after a peak what is left in use is drawn together by and by.
 * Which bin has slabs is one bit scan; a slab is moved when it enters another
 * eighth, and within a bin the one touched last is the first (its header is
 * still in the processor's cache).  Objects are taken and put by the dozen, and
 * what comes from one slab, or goes to it in a row, moves it once.
 *
 * Where a reserve is kept, the last so many free objects are not for everybody;
 * who may not have them grows the cache.
 */
#include <vm/kmem_cache_impl.h>

void
kmem_slabs_init(struct kmem_cache *kc)
{
	unsigned i, most = kc->kc_per_slab - 1;

	for (i = 0; i < KMEM_BINS; i++)
		kmem_link_init(&kc->kc_partial[i]);
	kmem_link_init(&kc->kc_empty);
	kmem_link_init(&kc->kc_full);
	kc->kc_bin_shift = 0;
	while (most >> kc->kc_bin_shift >= KMEM_BINS)
		kc->kc_bin_shift++;
}

/* The list for a slab with so many objects out; bins are 1, 2, … */
enum { EMPTY = 0, FULL = KMEM_BINS + 1 };

static unsigned
place(const struct kmem_cache *kc, unsigned inuse)
{
	if (inuse == 0)
		return EMPTY;
	if (inuse == kc->kc_per_slab)
		return FULL;
	return 1 + (inuse >> kc->kc_bin_shift);
}

static void
insert(struct kmem_cache *kc, struct kmem_slab *sl, unsigned where)
{
	if (where == EMPTY) {
		kmem_link_insert(&kc->kc_empty, &sl->sl_link);
		kc->kc_nempty++;
	} else if (where == FULL) {
		kmem_link_insert(&kc->kc_full, &sl->sl_link);
	} else {
		kmem_link_insert(&kc->kc_partial[where - 1], &sl->sl_link);
		kc->kc_bins |= 1u << (where - 1);
	}
}

static void
take_off(struct kmem_cache *kc, struct kmem_slab *sl, unsigned where)
{
	kmem_link_remove(&sl->sl_link);
	if (where == EMPTY) {
		kc->kc_nempty--;
		if (kc->kc_nempty < kc->kc_min_empty_slabs)
			kc->kc_min_empty_slabs = kc->kc_nempty;
	} else if (where != FULL &&
	    kmem_link_empty(&kc->kc_partial[where - 1]))
		kc->kc_bins &= ~(1u << (where - 1));
}

/* The number of objects out has changed from `was`. */
static void
refile(struct kmem_cache *kc, struct kmem_slab *sl, unsigned was)
{
	unsigned from = place(kc, was), to = place(kc, sl->sl_inuse);

	if (from == to)
		return;
	take_off(kc, sl, from);
	insert(kc, sl, to);
}

static unsigned long
nfree(const struct kmem_cache *kc)
{
	return kc->kc_nslabs * kc->kc_per_slab - kc->kc_inuse;
}

/* One with a free object, the fullest; or NULL. */
static struct kmem_slab *
fullest(const struct kmem_cache *kc)
{
	if (kc->kc_bins != 0)
		return kmem_link_slab(
		    kc->kc_partial[bit_highest32(kc->kc_bins)].kl_next);
	if (!kmem_link_empty(&kc->kc_empty))
		return kmem_link_slab(kc->kc_empty.kl_next);
	return NULL;
}

unsigned
kmem_slabs_take(struct kmem_cache *kc, bool reserve, void **obj, unsigned n)
{
	struct kmem_slab *sl;
	unsigned was, k, got = 0;
	unsigned long spare;

	if (kc->kc_reserve != 0 && !reserve) {
		spare = nfree(kc);
		spare = spare > kc->kc_reserve ? spare - kc->kc_reserve : 0;
		n = spare < n ? (unsigned)spare : n;
	}
	while (got < n && (sl = fullest(kc)) != NULL) {
		was = sl->sl_inuse;
		k = kmem_slab_take(kc, sl, obj + got, n - got);
		/* It would be the fullest for ever. */
		if (__builtin_expect(k == 0, 0))
			kmem_slab_torn(kc, sl);
		refile(kc, sl, was);
		kc->kc_inuse += k;
		got += k;
	}
	return got;
}

/* The slab of an object; `last`, of the one before, is likely. */
static struct kmem_slab *
slab_of(const struct kmem_cache *kc, struct kmem_slab *last, const void *obj)
{
	if (last != NULL && (uintptr_t)obj - (uintptr_t)last->sl_first <
	    kc->kc_per_slab * kc->kc_stride)
		return last;
	return kmem_slab_find(obj);
}

const void *
kmem_slabs_put(struct kmem_cache *kc, void *const *obj, unsigned n)
{
	struct kmem_slab *sl, *last = NULL;
	const void *bad = NULL;
	unsigned i, was = 0;

	for (i = 0; i < n; i++) {
		sl = slab_of(kc, last, obj[i]);
		if (sl == NULL || sl->sl_cache != kc) {
			bad = obj[i];
			continue;
		}
		if (sl != last) {
			if (last != NULL)
				refile(kc, last, was);
			last = sl;
			was = sl->sl_inuse;
		}
		if (kmem_slab_put(kc, sl, obj[i]) == KMEM_OBJECT)
			kc->kc_inuse--;
		else
			bad = obj[i];
	}
	if (last != NULL)
		refile(kc, last, was);
	return bad;
}

bool
kmem_slabs_grow(struct kmem_cache *kc, int flags)
{
	struct kmem_slab *sl;
	size_t color;

	if (vm_host_intr())
		return false;
	vm_mtx_enter(&kc->kc_lock);
	color = kc->kc_color;
	kc->kc_color = color == kc->kc_color_max ? 0 :
	    color + kc->kc_color_step;
	vm_mtx_exit(&kc->kc_lock);
	sl = kmem_slab_create(kc, color, flags);
	if (sl == NULL)
		return false;
	vm_mtx_enter(&kc->kc_lock);
	insert(kc, sl, EMPTY);
	kc->kc_nslabs++;
	kc->kc_grown++;
	vm_mtx_exit(&kc->kc_lock);
	return true;
}

void
kmem_slabs_trim(struct kmem_cache *kc, unsigned long keep,
    struct kmem_link *out)
{
	struct kmem_slab *sl;

	while (kc->kc_nempty > keep &&
	    nfree(kc) >= kc->kc_reserve + kc->kc_per_slab) {
		sl = kmem_link_slab(kc->kc_empty.kl_prev);
		take_off(kc, sl, EMPTY);
		kmem_link_insert(out, &sl->sl_link);
		kc->kc_nslabs--;
		kc->kc_shrunk++;
	}
}

unsigned long
kmem_slabs_destroy(struct kmem_cache *kc, struct kmem_link *list)
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

void
kmem_slabs_merge(struct kmem_cache *kc, struct kmem_slab *a,
    struct kmem_slab *b)
{
	const unsigned was = a->sl_inuse;

	take_off(kc, b, place(kc, b->sl_inuse));
	kmem_slab_merge(kc, a, b);
	refile(kc, a, was);
	kc->kc_nslabs--;
	kc->kc_shrunk++;
}
