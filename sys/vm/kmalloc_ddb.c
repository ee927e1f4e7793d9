/*
 * Looking at the heap: what a pointer is, and the walk that checks
 * everything.  Nothing here is on the way of an allocation.
 */
#include <vm/kmalloc_impl.h>
#include <vm/kmem_debug_impl.h>

static const char *
type_name(uint8_t id)
{
	const struct kmalloc_type *kt = NULL;

	while ((kt = kmalloc_next(kt)) != NULL)
		if (kt->kt_id == id)
			return id == KMALLOC_MAX_ID ? "(many)" : kt->kt_name;
	return "none";
}

/*
 * The first frame of the block of pages that ptr points into, and where it
 * begins; NULL: there is none.  Every frame of a block is mapped, so the
 * search towards lower addresses ends at the first gap at the latest.
 */
static const struct vm_page *
block_around(const void *ptr, vaddr_t *base)
{
	const vaddr_t at = trunc_page((vaddr_t)ptr);
	const struct vm_page *pg;
	vaddr_t va;

	for (va = at; (pg = kmem_page((void *)va)) != NULL; va -= PAGE_SIZE) {
		if (!(pg->pg_flags & VM_PAGE_HEAP))
			continue;
		*base = va;
		return atop(at - va) < pg->pg_npages ? pg : NULL;
	}
	return NULL;
}

/* The tag of the heap's object that ptr points into; NONE: not known. */
static uint8_t
tag_at(const void *ptr)
{
	const struct kmem_guard *g = kmem_guard_find(ptr);
	struct kmem_slab *sl = kmem_slab_find(ptr);
	const struct kmem_cache *kc;
	unsigned i;
	size_t off;

	if (g != NULL)
		return g->g_cache->kc_flags & KC_HEAP ? g->g_tag :
		    KMEM_TAG_NONE;
	if (sl == NULL)
		return KMEM_TAG_NONE;
	kc = sl->sl_cache;
	if (!(kc->kc_flags & KC_HEAP) || !(kc->kc_debug & KMD_CHECK) ||
	    !kmem_slab_index(kc, sl, ptr, &i, &off) ||
	    !kmem_slab_is_out(kc, sl, i))
		return KMEM_TAG_NONE;
	return kmem_slab_tags(kc, sl)[i];
}

void
kmalloc_describe(char *buf, size_t size, const void *ptr)
{
	const uint8_t tag = tag_at(ptr);
	const struct kmalloc_type *kt;
	const struct vm_page *pg;
	vaddr_t base;
	size_t n;

	pg = kmem_slab_find(ptr) == NULL ? block_around(ptr, &base) : NULL;
	if (pg == NULL) {
		kmem_describe(buf, size, ptr);
		n = strlen(buf);
		if (tag != KMEM_TAG_NONE)
			k_snprintf(buf + n, size - n, " of type %s",
			    type_name(tag));
		return;
	}
	kt = pg->pg_slab;
	k_snprintf(buf, size, "%zu bytes into %p, %u pages of type %s",
	    (size_t)((vaddr_t)ptr - base), (void *)base, pg->pg_npages,
	    kt->kt_name);
}

/*
 * The check.  Pieces are counted by the identity of their type.
 */
struct tally {
	unsigned long	t_pieces[KMALLOC_MAX_ID + 1];
	vsize_t		t_bytes[KMALLOC_MAX_ID + 1];
};

static void
tally_list(const struct kmem_cache *kc, const struct kmem_link *list,
    struct tally *t)
{
	struct kmem_link *l;
	struct kmem_slab *sl;
	unsigned i;

	for (l = list->kl_next; l != list; l = l->kl_next) {
		sl = kmem_link_slab(l);
		for (i = 0; i < kc->kc_per_slab; i++) {
			if (!kmem_slab_is_out(kc, sl, i))
				continue;
			t->t_pieces[kmem_slab_tags(kc, sl)[i]]++;
			t->t_bytes[kmem_slab_tags(kc, sl)[i]] += kc->kc_size;
		}
	}
}

/* A class by its tags; without them only its sum is known. */
static void
tally_class(struct kmem_cache *kc, struct tally *t)
{
	struct kmem_cache_stats cs;
	unsigned bin;

	if (kc->kc_debug & KMD_CHECK) {
		for (bin = 0; bin < KMEM_BINS; bin++)
			tally_list(kc, &kc->kc_partial[bin], t);
		tally_list(kc, &kc->kc_full, t);
		return;
	}
	kmem_cache_stats(kc, &cs);
	t->t_pieces[0] += cs.cs_inuse;
	t->t_bytes[0] += cs.cs_inuse * kc->kc_size;
}

/* The blocks of pages, found in the map's heap window. */
static const char *
tally_blocks(struct tally *t)
{
	const struct kmalloc_type *kt;
	const struct vm_page *pg;
	struct vm_map_info vi;
	vaddr_t va = VM_HEAP_MIN;

	while (vm_map_next(kernel_map, va, &vi) == 0 &&
	    vi.vi_start < VM_HEAP_MAX) {
		va = vi.vi_end;
		pg = kmem_page((void *)vi.vi_start);
		if (pg == NULL || !(pg->pg_flags & VM_PAGE_HEAP))
			continue;
		if (ptoa(pg->pg_npages) != vi.vi_end - vi.vi_start)
			return "a block of pages is not a region of the map";
		kt = pg->pg_slab;
		t->t_pieces[kt->kt_id]++;
		t->t_bytes[kt->kt_id] += ptoa(pg->pg_npages);
	}
	return NULL;
}

/*
 * What the types say, taken off: nothing may be left.  Without tags all is
 * one sum.
 */
static const char *
compare(struct tally *t, bool tags)
{
	const struct kmalloc_type *kt = NULL;
	struct kmalloc_stats ks;
	unsigned i;

	while ((kt = kmalloc_next(kt)) != NULL) {
		kmalloc_stats(kt, &ks);
		if (ks.ks_high < ks.ks_bytes)
			return "a type's high water is below what it has";
		t->t_pieces[kt->kt_id] -= ks.ks_inuse;
		t->t_bytes[kt->kt_id] -= ks.ks_bytes;
	}
	for (i = 1; i <= KMALLOC_MAX_ID && !tags; i++) {
		t->t_pieces[0] += t->t_pieces[i];
		t->t_bytes[0] += t->t_bytes[i];
		t->t_pieces[i] = t->t_bytes[i] = 0;
	}
	for (i = 0; i <= KMALLOC_MAX_ID; i++)
		if (t->t_pieces[i] != 0 || t->t_bytes[i] != 0)
			return "a type's figures are not what is there";
	return NULL;
}

const char *
kmalloc_check(void)
{
	static struct tally t;	/* too large for a kernel's stack */
	struct kmem_cache *kc;
	const char *bad;
	bool tags = true;
	unsigned i;

	memset(&t, 0, sizeof(t));
	for (i = 0; (kc = kmalloc_class(i)) != NULL; i++) {
		bad = kmem_cache_check(kc);
		if (bad != NULL)
			return bad;
		tally_class(kc, &t);
		tags &= (kc->kc_debug & KMD_CHECK) != 0;
	}
	bad = tally_blocks(&t);
	return bad != NULL ? bad : compare(&t, tags);
}
