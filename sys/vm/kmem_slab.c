/*
 * One slab: whole pages, cut into equal objects, and a header that says
 * which of them are free.
 *
 *	 base     first                                       hdr
 *	  |colour  |object 0|object 1|  ...  |object n-1|tail  |header|
 *
 * The header lies at the end of the slab, or, where that would cost an
 * object, in a cache of its own (off the slab).  Which of the two, and how
 * many pages, is settled when the cache is made: the fewest pages that waste
 * at most 1/KMEM_WASTE, headers counted; where none does, the best.
 *
 * Free objects are bits, not a list through the objects: an object stays
 * constructed while it is free, a double free is one bit test, and the lowest
 * free object goes out first, which keeps what is out together.
 *
 * The colour, of what the tail leaves over, differs from slab to slab by
 * KMEM_COLOR_STEP, so that objects of equal index do not all fall into the same
 * cache lines.
 */
#include <vm/kmem_debug_impl.h>

/* Bytes of a header for n objects. */
static size_t
header_size(const struct kmem_cache *kc, unsigned n)
{
	size_t size = offsetof(struct kmem_slab, sl_free);

	size += howmany(n, 32) * sizeof(uint32_t);
	if (kc->kc_debug & KMD_CHECK)
		size += n;
	return roundup2(size, sizeof(void *));
}

/* The most objects that leave room for their header on the slab. */
static unsigned
fit_on_slab(const struct kmem_cache *kc, size_t bytes)
{
	unsigned n = (unsigned)(bytes / kc->kc_stride);

	if (n > KMEM_SLAB_MAXOBJ)
		n = KMEM_SLAB_MAXOBJ;
	while (n > 0 && n * kc->kc_stride + header_size(kc, n) > bytes)
		n--;
	return n;
}

/* The same with the header elsewhere; 0 where that is no choice. */
static unsigned
fit_off_slab(const struct kmem_cache *kc, size_t bytes)
{
	unsigned n = (unsigned)(bytes / kc->kc_stride);

	if (n > KMEM_OFF_MAXOBJ || (kc->kc_flags & KC_ONSLAB))
		return 0;
	return n;
}

/* Colours that a tail of so many bytes allows, and sl_color can hold. */
static void
set_colors(struct kmem_cache *kc, size_t tail)
{
	kc->kc_color_step = kc->kc_align > KMEM_COLOR_STEP ? kc->kc_align :
	    KMEM_COLOR_STEP;
	if (tail > UINT16_MAX)
		tail = UINT16_MAX;
	kc->kc_color_max = rounddown2(tail, kc->kc_color_step);
	kc->kc_color = 0;
}

/*
 * Lay kc out for slabs of so many bytes.
 * => *held is what such a slab keeps in all, its header included
 */
static bool
layout_bytes(struct kmem_cache *kc, size_t bytes, size_t *held)
{
	unsigned on = fit_on_slab(kc, bytes);
	unsigned off = fit_off_slab(kc, bytes);
	size_t off_held = bytes + KMEM_OFF_SIZE;
	bool use_off = off_held * on < bytes * off;

	if (on == 0 && off == 0)
		return false;
	kc->kc_per_slab = use_off ? off : on;
	kc->kc_nwords = howmany(kc->kc_per_slab, 32);
	kc->kc_slab_size = bytes;
	kc->kc_flags &= ~KC_OFFSLAB;
	kc->kc_flags |= use_off ? KC_OFFSLAB : 0;
	kc->kc_hdr_off = use_off ? bytes : bytes - header_size(kc, on);
	set_colors(kc, kc->kc_hdr_off - kc->kc_per_slab * kc->kc_stride);
	*held = use_off ? off_held : bytes;
	return true;
}

bool
kmem_slab_layout(struct kmem_cache *kc, unsigned pages)
{
	size_t held, waste, best_held = 1, best_waste = 1;
	unsigned n, last, best = 0;

	if (pages != 0)
		return layout_bytes(kc, ptoa(pages), &held);
	n = (unsigned)howmany(kc->kc_stride, PAGE_SIZE);
	last = n < KMEM_SLAB_TRYPAGES ? KMEM_SLAB_TRYPAGES : n;
	for (; n <= last; n++) {
		if (!layout_bytes(kc, ptoa(n), &held))
			continue;
		waste = held - kc->kc_per_slab * kc->kc_stride;
		if (waste * KMEM_WASTE <= held)
			return true;
		if (best == 0 || waste * best_held < best_waste * held) {
			best = n;
			best_held = held;
			best_waste = waste;
		}
	}
	return best != 0 && layout_bytes(kc, ptoa(best), &held);
}

/* Let the frames of [base, base + size) point at sl, or at nothing. */
static void
mark_pages(const struct kmem_cache *kc, char *base, struct kmem_slab *sl)
{
	struct vm_page *pg;
	size_t off;

	for (off = 0; off < kc->kc_slab_size; off += PAGE_SIZE) {
		pg = kmem_page(base + off);
		KASSERT(pg != NULL);
		pg->pg_slab = sl;
		if (sl != NULL)
			pg->pg_flags |= VM_PAGE_SLAB;
		else
			pg->pg_flags &= ~VM_PAGE_SLAB;
	}
	if (kc->kc_class != 0)
		kmem_class_set((vaddr_t)base, atop(kc->kc_slab_size),
		    sl != NULL ? kmem_class_quick(kc) : 0);
}

/* Undo the constructor for the first n objects. */
static void
destruct(struct kmem_cache *kc, struct kmem_slab *sl, unsigned n)
{
	if (kc->kc_dtor == NULL || (kc->kc_debug & KMD_POISON))
		return;
	while (n-- > 0)
		kc->kc_dtor(kmem_slab_object(kc, sl, n), kc->kc_arg);
}

static bool
construct(struct kmem_cache *kc, struct kmem_slab *sl, int flags)
{
	unsigned i;

	if (kc->kc_debug & KMD_DRESSED)
		kmem_debug_slab(kc, sl, true);
	if (kc->kc_ctor == NULL || (kc->kc_debug & KMD_POISON))
		return true;
	for (i = 0; i < kc->kc_per_slab; i++) {
		if (kc->kc_ctor(kmem_slab_object(kc, sl, i), kc->kc_arg,
		    flags) != 0) {
			destruct(kc, sl, i);
			return false;
		}
	}
	return true;
}

static void
header_init(struct kmem_cache *kc, struct kmem_slab *sl, char *base,
    size_t color)
{
	unsigned i, n = kc->kc_per_slab;

	sl->sl_cache = kc;
	sl->sl_first = base + color + kc->kc_obj_off;
	sl->sl_color = (uint16_t)color;
	sl->sl_twin = NULL;
	sl->sl_inuse = 0;
	sl->sl_words = 0;
	if (kc->kc_debug & KMD_CHECK)
		memset(kmem_slab_tags(kc, sl), KMEM_TAG_NONE, n);
	for (i = 0; i < kc->kc_nwords; i++, n -= 32) {
		sl->sl_free[i] = n >= 32 ? ~0u : (1u << n) - 1;
		sl->sl_words |= 1u << i;
	}
}

/* Pages and header go back; the objects are no longer constructed. */
static void
slab_release(struct kmem_cache *kc, struct kmem_slab *sl)
{
	char *base = kmem_slab_base(kc, sl);

	if (sl->sl_twin != NULL)
		kmem_mesh_undo(kc, sl);
	mark_pages(kc, base, NULL);
	if (kc->kc_flags & KC_OFFSLAB)
		kmem_header_free(sl);
	kmem_pages_free((vaddr_t)base, kc->kc_slab_size);
}

struct kmem_slab *
kmem_slab_create(struct kmem_cache *kc, size_t color, int flags)
{
	struct kmem_slab *sl;
	char *base;

	flags &= KM_NOSLEEP | KM_EASY;
	base = (char *)kmem_pages_alloc(kc->kc_slab_size,
	    kc->kc_window | flags, kc->kc_name);
	if (base == NULL)
		return NULL;
	if (kc->kc_flags & KC_OFFSLAB)
		sl = kmem_header_alloc(flags);
	else
		sl = (struct kmem_slab *)(void *)(base + kc->kc_hdr_off);
	if (sl == NULL) {
		kmem_pages_free((vaddr_t)base, kc->kc_slab_size);
		return NULL;
	}
	header_init(kc, sl, base, color);
	mark_pages(kc, base, sl);
	if (!construct(kc, sl, flags)) {
		slab_release(kc, sl);
		return NULL;
	}
	return sl;
}

void
kmem_slab_destroy(struct kmem_cache *kc, struct kmem_slab *sl)
{
	KASSERT(sl->sl_inuse == 0);
	destruct(kc, sl, kc->kc_per_slab);
	if (kc->kc_debug & KMD_DRESSED)
		kmem_debug_slab(kc, sl, false);
	slab_release(kc, sl);
}

/* A word of bits, of which others look at theirs without the lock. */
static void
set_word(struct kmem_slab *sl, unsigned w, uint32_t to)
{
	__atomic_store_n(&sl->sl_free[w], to, __ATOMIC_RELAXED);
}

/* Up to n objects of a word.  => how many */
static unsigned
take_word(const struct kmem_cache *kc, struct kmem_slab *sl, unsigned w,
    void **obj, unsigned n)
{
	char *first = kmem_slab_object(kc, sl, w * 32);
	uint32_t bits = sl->sl_free[w];
	unsigned got = 0;

	for (; got < n && bits != 0; bits &= bits - 1)
		obj[got++] = first + bit_lowest32(bits) * kc->kc_stride;
	set_word(sl, w, bits);
	if (bits == 0)
		sl->sl_words &= ~(1u << w);
	return got;
}

unsigned
kmem_slab_take(struct kmem_cache *kc, struct kmem_slab *sl, void **obj,
    unsigned n)
{
	unsigned got = 0;

	while (got < n && sl->sl_words != 0)
		got += take_word(kc, sl, bit_lowest32(sl->sl_words),
		    obj + got, n - got);
	sl->sl_inuse = (uint16_t)(sl->sl_inuse + got);
	return got;
}

void
kmem_slab_merge(const struct kmem_cache *kc, struct kmem_slab *a,
    const struct kmem_slab *b)
{
	unsigned w;

	for (w = 0; w < kc->kc_nwords; w++) {
		set_word(a, w, a->sl_free[w] & b->sl_free[w]);
		if (a->sl_free[w] == 0)
			a->sl_words &= ~(1u << w);
	}
	a->sl_inuse = (uint16_t)(a->sl_inuse + b->sl_inuse);
}

enum kmem_verdict
kmem_slab_judge(const struct kmem_cache *kc, const struct kmem_slab *sl,
    const void *obj, unsigned *index)
{
	size_t off;

	if (!kmem_slab_index(kc, sl, obj, index, &off) || off != 0)
		return KMEM_NO_OBJECT;
	return kmem_slab_is_free(sl, *index) ? KMEM_FREE_OBJECT : KMEM_OBJECT;
}

enum kmem_verdict
kmem_slab_put(struct kmem_cache *kc, struct kmem_slab *sl, const void *obj)
{
	enum kmem_verdict verdict;
	unsigned i;

	verdict = kmem_slab_judge(kc, sl, obj, &i);
	if (verdict != KMEM_OBJECT)
		return verdict;
	set_word(sl, i / 32, sl->sl_free[i / 32] | 1u << i % 32);
	sl->sl_words |= 1u << i / 32;
	sl->sl_inuse--;
	return KMEM_OBJECT;
}
