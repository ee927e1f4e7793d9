/*
 * Leaks, found by scanning memory for pointers.
 *
 * 1. What it is.  From the roots (vm_host_roots, and what kmem_alloc gave to
 *    others than slabs and heap) every aligned word is taken for a pointer.
 *    The object that it points into, at its begin or anywhere, is reached,
 *    and is read through in turn.  What is in use and not reached at the end
 *    is a leak: nobody can free it.  (After Boehm and Weiser, "Garbage
 *    Collection in an Uncooperative Environment", 1988; illumos's findleaks
 *    and Linux's kmemleak do the same.)
 *
 *    A number that looks like a pointer hides a leak; a pointer that is kept
 *    encoded, or in a device's memory alone, makes one of what is none.
 *
 * 2. Whose objects.  Those of caches with KMD_CHECK, as their tag says
 *    whether a client has them, the heap's blocks of pages, and those alone
 *    on their pages.  In other caches an object may as well be in a magazine:
 *    they count as roots.  The slab layer's own memory (headers, magazines,
 *    the records of guards) is no root, as what points to a free object may
 *    point to the same one when it is in use.
 *
 * 3. Without recursion.  Each object has one bit, "reached": in its tag, its
 *    block's first frame, its guard.  What was reached but not yet read
 *    through stands in an array of fixed size.  Should that overflow, all
 *    objects reached so far are read through once more at the end, until a
 *    round reaches nothing new: no more rounds than the longest chain has
 *    links, and one as a rule.
 *
 * 4. Cost.  Two comparisons for most words, a look at the page table for
 *    those that point into the slab or heap window; nothing is allocated.
 */
#include <vm/kmalloc_impl.h>
#include <vm/kmem_debug_impl.h>
#include <vm/kmem_range.h>
#include <vm/pmap.h>

#define WORK		256u	/* reached, not read through: 2 KB on i386 */

static struct {
	struct work {
		vaddr_t	 w_start, w_end;
	} work[WORK];
	unsigned	 nwork;
	bool		 overflow;
} scan;

static void
work_push(vaddr_t start, vsize_t size)
{
	if (scan.nwork == WORK) {
		scan.overflow = true;
		return;
	}
	scan.work[scan.nwork].w_start = start;
	scan.work[scan.nwork++].w_end = start + size;
}

/*
 * Objects, all of them.
 */
typedef void object_fn(struct kmem_cache *, struct kmem_slab *, unsigned i,
    void *arg);

static void
each_of_list(struct kmem_cache *kc, const struct kmem_link *list,
    object_fn *fn, void *arg)
{
	struct kmem_link *l;
	struct kmem_slab *sl;
	unsigned i;

	for (l = list->kl_next; l != list; l = l->kl_next) {
		sl = kmem_link_slab(l);
		for (i = 0; i < kc->kc_per_slab; i++)
			if (!kmem_slab_is_free(sl, i))
				fn(kc, sl, i, arg);
	}
}

/* Is it one of the layer's own caches? */
static bool
is_own(const struct kmem_cache *kc)
{
	return (kc->kc_flags & KC_STATIC) && !(kc->kc_flags & KC_HEAP);
}

/* Of every other cache, all that is out of the slabs. */
static void
each_object(object_fn *fn, void *arg)
{
	struct kmem_cache *kc = NULL;
	unsigned b;

	while ((kc = kmem_cache_next(kc)) != NULL) {
		if (is_own(kc))
			continue;
		for (b = 0; b < KMEM_BINS; b++)
			each_of_list(kc, &kc->kc_partial[b], fn, arg);
		each_of_list(kc, &kc->kc_full, fn, arg);
	}
}

/* The tag of an object; NULL: its cache has none. */
static uint8_t *
tag_of(const struct kmem_cache *kc, struct kmem_slab *sl, unsigned i)
{
	return kc->kc_debug & KMD_CHECK ? &kmem_slab_tags(kc, sl)[i] : NULL;
}

/*
 * Regions of kernel_map, with the first frame of each.
 */
typedef void region_fn(vaddr_t start, vaddr_t end, struct vm_page *,
    void *arg);

static void
each_region(region_fn *fn, void *arg)
{
	vaddr_t va = kernel_map->vm_min, start;
	struct vm_map_info vi;
	struct vm_page *pg;
	paddr_t pa;

	for (; vm_map_next(kernel_map, va, &vi) == 0; va = vi.vi_end) {
		start = vi.vi_start + ptoa(vi.vi_guard_lo);
		if ((vi.vi_prot & VM_PROT_READ) == 0 ||
		    !pmap_kextract(start, &pa))
			continue;
		pg = vm_phys_page(pa);
		if (pg != NULL && pg->pg_owner == VM_PAGE_KMEM)
			fn(start, vi.vi_end - ptoa(vi.vi_guard_hi), pg, arg);
	}
}

/*
 * Reaching.
 */
static void
reach_guard(struct kmem_guard *g, vaddr_t ptr)
{
	if (g->g_mark || ptr - (vaddr_t)g->g_obj >= g->g_size)
		return;
	g->g_mark = true;
	work_push((vaddr_t)g->g_obj, g->g_size);
}

static void
reach_object(struct kmem_slab *sl, vaddr_t ptr)
{
	const struct kmem_cache *kc = sl->sl_cache;
	uint8_t *tag;
	size_t off;
	unsigned i;

	if (is_own(kc) || !kmem_slab_index(kc, sl, (void *)ptr, &i, &off) ||
	    off >= kc->kc_size)
		return;
	tag = tag_of(kc, sl, i);
	if (tag == NULL || *tag == KMEM_TAG_NONE || (*tag & KMEM_TAG_MARK))
		return;
	*tag |= KMEM_TAG_MARK;
	work_push((vaddr_t)kmem_slab_object(kc, sl, i), kc->kc_size);
}

/*
 * pg is of some allocation by pages.  Whether that is a block of the heap's
 * tells the next frame towards lower addresses that begins one.
 */
static void
reach_block(struct vm_page *pg, vaddr_t ptr)
{
	const unsigned any = VM_PAGE_HEAP | VM_PAGE_SLAB | VM_PAGE_GUARD;
	vaddr_t va = trunc_page(ptr);

	while (pg != NULL && !(pg->pg_flags & any)) {
		va -= PAGE_SIZE;
		pg = kmem_page((void *)va);
	}
	if (pg == NULL || (pg->pg_flags & (VM_PAGE_HEAP | VM_PAGE_MARK)) !=
	    VM_PAGE_HEAP || ptr - va >= ptoa(pg->pg_npages))
		return;
	pg->pg_flags |= VM_PAGE_MARK;
	work_push(va, ptoa(pg->pg_npages));
}

static void
reach(vaddr_t ptr)
{
	struct vm_page *pg = kmem_page((void *)ptr);

	if (pg == NULL)
		return;
	if (pg->pg_flags & VM_PAGE_SLAB)
		reach_object(pg->pg_slab, ptr);
	else if (pg->pg_flags & VM_PAGE_GUARD)
		reach_guard(pg->pg_slab, ptr);
	else
		reach_block(pg, ptr);
}

/*
 * Each word of [start, end), whatever it is: between variables too, where
 * AddressSanitizer says that nobody should look.
 */
static void __attribute__((__no_sanitize_address__))
scan_range(vaddr_t start, vaddr_t end, void *arg)
{
	const vaddr_t *p = (const vaddr_t *)roundup2(start, sizeof(vaddr_t));

	for (; (vaddr_t)p + sizeof(*p) <= end; p++)
		if (*p >= VM_HEAP_MIN && *p < VM_SLAB_MAX)
			reach(*p);
}

static void
drain(void)
{
	struct work *w;

	while (scan.nwork > 0) {
		w = &scan.work[--scan.nwork];
		scan_range(w->w_start, w->w_end, NULL);
	}
}

/*
 * The rounds.
 */

/* What is in use and cannot be reached by itself is a root. */
static void
root_object(struct kmem_cache *kc, struct kmem_slab *sl, unsigned i, void *arg)
{
	const vaddr_t obj = (vaddr_t)kmem_slab_object(kc, sl, i);

	if (tag_of(kc, sl, i) == NULL)
		scan_range(obj, obj + kc->kc_size, NULL);
	drain();
}

static void
root_region(vaddr_t start, vaddr_t end, struct vm_page *pg, void *arg)
{
	const unsigned not_mine = VM_PAGE_SLAB | VM_PAGE_HEAP | VM_PAGE_GUARD;

	if ((pg->pg_flags & not_mine) == 0 && !kmem_range_kept(start))
		scan_range(start, end, NULL);
	drain();
}

static void
scan_roots(void)
{
	struct kmem_cache *kc = NULL;

	vm_host_roots(scan_range, NULL);
	drain();
	while ((kc = kmem_cache_next(kc)) != NULL) {
		reach((vaddr_t)kc->kc_arg);
		reach((vaddr_t)kc->kc_name);
	}
	drain();
	each_object(root_object, NULL);
	each_region(root_region, NULL);
}

static void
again_object(struct kmem_cache *kc, struct kmem_slab *sl, unsigned i,
    void *arg)
{
	const vaddr_t obj = (vaddr_t)kmem_slab_object(kc, sl, i);
	const uint8_t *tag = tag_of(kc, sl, i);

	if (tag != NULL && (*tag & KMEM_TAG_MARK))
		scan_range(obj, obj + kc->kc_size, NULL);
	drain();
}

static void
again_region(vaddr_t start, vaddr_t end, struct vm_page *pg, void *arg)
{
	if (pg->pg_flags & VM_PAGE_MARK)
		scan_range(start, end, NULL);
	drain();
}

static void
again_guards(void)
{
	struct kmem_guard *g = NULL;

	while ((g = kmem_guard_next(g)) != NULL) {
		if (g->g_mark)
			scan_range((vaddr_t)g->g_obj, (vaddr_t)g->g_obj +
			    g->g_size, NULL);
		drain();
	}
}

/*
 * Marks away, before and after.
 */
static void
clear_object(struct kmem_cache *kc, struct kmem_slab *sl, unsigned i,
    void *arg)
{
	uint8_t *tag = tag_of(kc, sl, i);

	if (tag != NULL)
		*tag &= (uint8_t)~KMEM_TAG_MARK;
}

static void
clear_region(vaddr_t start, vaddr_t end, struct vm_page *pg, void *arg)
{
	pg->pg_flags &= (uint8_t)~VM_PAGE_MARK;
}

static void
clear_marks(void)
{
	struct kmem_guard *g = NULL;

	each_object(clear_object, NULL);
	each_region(clear_region, NULL);
	while ((g = kmem_guard_next(g)) != NULL)
		g->g_mark = false;
	memset(&scan, 0, sizeof(scan));
}

/*
 * What is left.
 */
struct tell {
	void		(*t_fn)(const struct kmem_leak *, void *arg);
	void		*t_arg;
	unsigned long	 t_n;
};

static void
tell(struct tell *t, const struct kmem_cache *kc, void *obj, size_t size)
{
	const struct kmem_leak kl = { kc, obj, size };

	t->t_n++;
	t->t_fn(&kl, t->t_arg);
}

/* One alone on its pages is told itself, not what it stands for. */
static void
hide_shadow(const struct kmem_guard *g)
{
	struct kmem_slab *sl = kmem_slab_find(g->g_shadow);
	uint8_t *tag;
	unsigned i = 0;
	size_t off;

	kmem_slab_index(sl->sl_cache, sl, g->g_shadow, &i, &off);
	tag = tag_of(sl->sl_cache, sl, i);
	if (tag != NULL)
		*tag |= KMEM_TAG_MARK;
}

static void
tell_guards(struct tell *t)
{
	struct kmem_guard *g = NULL;

	while ((g = kmem_guard_next(g)) != NULL) {
		hide_shadow(g);
		if (!g->g_mark)
			tell(t, g->g_cache, g->g_obj, g->g_size);
	}
}

static void
tell_object(struct kmem_cache *kc, struct kmem_slab *sl, unsigned i, void *arg)
{
	void *obj = kmem_slab_object(kc, sl, i);
	const uint8_t *tag = tag_of(kc, sl, i);

	if (tag != NULL && *tag != KMEM_TAG_NONE && !(*tag & KMEM_TAG_MARK))
		tell(arg, kc, obj, kmem_trail_size(kc, obj));
}

static void
tell_region(vaddr_t start, vaddr_t end, struct vm_page *pg, void *arg)
{
	if ((pg->pg_flags & (VM_PAGE_HEAP | VM_PAGE_MARK)) == VM_PAGE_HEAP)
		tell(arg, NULL, (void *)start, end - start);
}

unsigned long
kmem_leaks(void (*fn)(const struct kmem_leak *, void *arg), void *arg)
{
	struct tell t = { fn, arg, 0 };

	clear_marks();
	scan_roots();
	while (scan.overflow) {
		scan.overflow = false;
		each_object(again_object, NULL);
		each_region(again_region, NULL);
		again_guards();
	}
	tell_guards(&t);
	each_object(tell_object, &t);
	each_region(tell_region, &t);
	clear_marks();
	return t.t_n;
}
