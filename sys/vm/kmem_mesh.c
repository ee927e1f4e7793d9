/*
 * Meshing: two sparse slabs on the frames of one.
 *
 * 1. What it is.  After Powers, Tench, Berger and McGregor, "Mesh: Compacting
 *    Memory Management for C/C++ Applications", PLDI 2019.  After a peak has
 *    passed, what is left lies thinly in many slabs, an object here and two
 *    there.  No object can be moved, as its client knows its address.  But
 *    where of two slabs no two objects lie at the same place, the frames of
 *    one can show the objects of both:
 *
 *	  slab a	frame		slab a	frame
 *	  0x1000  ---->	[A..A..A.]	0x1000  ---->	[AB.A..AB]
 *	  slab b			slab b	    /
 *	  0x5000  ---->	[.B.....B]	0x5000  ---'	free: [........]
 *
 *    The objects of b are copied to the same places in a's frames, b's
 *    addresses are mapped to those, and b's own frames are free.  Each object
 *    is where it was, by its address; only the frame behind it is another.  So
 *    who hands physical addresses to a device must not have its memory from
 *    here: a cache is meshed that was created with KM_MESH, as the heap's
 *    classes are, and has no constructor (what one sets up may hold its own
 *    address), no reserve (two slabs' free objects become fewer) and none of
 *    the watching that lies in the objects.  Who cannot live with that lets
 *    vm_host_stop_cpus return false, and nothing is ever meshed.
 *
 * 2. What becomes of b.  Nothing but a second range of addresses, its twin:
 *    the slab is a, whose header says so (sl_twin), whose free bits stand for
 *    both, and to whom the frames belong, so that a pointer into either range
 *    finds a.  A slot that was b's is given out again by its address in a, and
 *    who tells of an object without a pointer to it (a leak) uses that one.
 *    When all objects of both are free the slab goes with both its ranges.
 *    One twin each: that is one word, which costs nothing (kmem_slab.c), finds
 *    its slab without a search, and halves what lies thin, at best.
 *
 * 3. When.  Only to reclaim (kmem_cache_reap_all, and kmem_alloc when it ran
 *    short), after magazines and empty slabs are gone: it is slower than both,
 *    a search and a copy for each slab that it frees.
 *
 * 4. Finding a pair.  From the emptiest slab upwards, each asks those that are
 *    no emptier, as long as both would fit into one, whether their bits are
 *    disjoint.  With a fifth of 14 objects in use, in any places, every second
 *    pair is; so KMEM_MESH_TRIES is ample, and bounds what a slab costs.  Only
 *    slabs of equal colour have their objects at equal places.
 *
 * 5. Nothing runs meanwhile: between copying an object and mapping it anew its
 *    client must not write to it.  The other CPUs are stopped (vm_host.h),
 *    where that can be done at all, and the cache's lock masks interrupts here,
 *    for the time that it takes to copy up to KMEM_MESH_PAGES.  Nothing is
 *    allocated, and no page table can lack: b's pages are mapped.
 */
#include <vm/kmem_debug_impl.h>
#include <vm/kmem_range.h>

/* Slabs of more pages would be copied for too long. */
#define KMEM_MESH_PAGES		8u

/* Others whose bits are compared, and who are looked at, for each slab. */
#define KMEM_MESH_TRIES		32u
#define KMEM_MESH_LOOKS		256u

/* What b had, to be given back when the lock is dropped. */
struct remains {
	paddr_t		  r_frame[KMEM_MESH_PAGES];
	unsigned	  r_nframes;
	struct kmem_slab *r_header;	/* off the slab, or NULL */
};

static bool
is_meshed(const struct kmem_cache *kc)
{
	return (kc->kc_flags & KC_MESH) && kc->kc_ctor == NULL &&
	    kc->kc_dtor == NULL && kc->kc_reserve == 0 &&
	    !(kc->kc_debug & KMD_DRESSED) &&
	    kc->kc_slab_size <= ptoa(KMEM_MESH_PAGES);
}

/* Is each object free in one of them at least? */
static bool
disjoint(const struct kmem_cache *kc, const struct kmem_slab *a,
    const struct kmem_slab *b)
{
	unsigned w, left = kc->kc_per_slab;
	uint32_t both;

	for (w = 0; w < kc->kc_nwords; w++, left -= 32) {
		both = ~(a->sl_free[w] | b->sl_free[w]);
		if (left < 32)
			both &= (1u << left) - 1;
		if (both != 0)
			return false;
	}
	return true;
}

/* One in [bin, …) to take b's objects, or NULL.  => lock held */
static struct kmem_slab *
find_partner(struct kmem_cache *kc, const struct kmem_slab *b, unsigned bin)
{
	const unsigned room = kc->kc_per_slab - b->sl_inuse;
	unsigned tries = KMEM_MESH_TRIES, looks = KMEM_MESH_LOOKS;
	struct kmem_link *l, *list;
	struct kmem_slab *a;

	for (; bin <= room >> kc->kc_bin_shift; bin++) {
		list = &kc->kc_partial[bin];
		for (l = list->kl_next; l != list && looks > 0;
		    l = l->kl_next, looks--) {
			a = kmem_link_slab(l);
			if (a == b || a->sl_twin != NULL ||
			    a->sl_color != b->sl_color)
				continue;
			if (disjoint(kc, a, b))
				return a;
			if (--tries == 0)
				return NULL;
		}
	}
	return NULL;
}

/* The objects of b that are out, and who has them, to the same places in a. */
static void
copy_objects(struct kmem_cache *kc, struct kmem_slab *a, struct kmem_slab *b)
{
	unsigned i;

	for (i = 0; i < kc->kc_per_slab; i++) {
		if (kmem_slab_is_free(b, i))
			continue;
		memcpy(kmem_slab_object(kc, a, i), kmem_slab_object(kc, b, i),
		    kc->kc_stride);
		if (kc->kc_debug & KMD_CHECK)
			kmem_slab_tags(kc, a)[i] = kmem_slab_tags(kc, b)[i];
	}
}

/* Have [to, to + size) show the frames behind from.  => what it showed */
static void
show(vaddr_t from, vaddr_t to, vsize_t size, struct remains *r)
{
	struct vm_page *pg;
	paddr_t pa = 0;
	vsize_t off;
	int error;

	for (off = 0; off < size; off += PAGE_SIZE) {
		pg = kmem_page((const void *)(to + off));
		KASSERT(pg != NULL);
		pg->pg_slab = NULL;
		pg->pg_flags = 0;
		r->r_frame[r->r_nframes++] = vm_phys_page_pa(pg);
		pmap_extract(kernel_pmap, from + off, &pa);
		error = pmap_enter(kernel_pmap, to + off, pa, VM_PROT_RW);
		KASSERT(error == 0);
	}
}

/* b becomes the twin of a.  => lock held, and nothing else runs */
static void
mesh(struct kmem_cache *kc, struct kmem_slab *a, struct kmem_slab *b,
    struct remains *r)
{
	char *twin = kmem_slab_base(kc, b);

	copy_objects(kc, a, b);
	kmem_slabs_merge(kc, a, b);
	if (kc->kc_flags & KC_OFFSLAB)
		r->r_header = b;
	a->sl_twin = twin;
	kc->kc_meshed++;
	/* From here on b's header, if it was on the slab, is no more. */
	show((vaddr_t)kmem_slab_base(kc, a), (vaddr_t)twin, kc->kc_slab_size,
	    r);
}

/* One bin, from its first slab on: who finds no partner becomes the last. */
struct pass {
	unsigned	  p_bin;
	const struct kmem_slab *p_end;	/* who did so first; or NULL */
	unsigned long	  p_left;	/* slabs, at most, whoever comes and
					   goes meanwhile */
	unsigned long	  p_pages;	/* free now */
};

/*
 * The first slab is meshed, or becomes the last.
 * => lock held, and nothing else runs; false: all had their turn
 */
static bool
mesh_first(struct kmem_cache *kc, struct pass *p, struct remains *r)
{
	struct kmem_link *list = &kc->kc_partial[p->p_bin];
	struct kmem_slab *a = NULL, *b = kmem_link_slab(list->kl_next);

	if (kmem_link_empty(list) || b == p->p_end)
		return false;
	if (b->sl_twin == NULL)
		a = find_partner(kc, b, p->p_bin);
	if (a != NULL) {
		mesh(kc, a, b, r);
		return true;
	}
	if (p->p_end == NULL)
		p->p_end = b;
	kmem_link_remove(&b->sl_link);
	kmem_link_insert(list->kl_prev, &b->sl_link);
	return true;
}

/* => false: the pass is over, or cannot be made on this machine */
static bool
step(struct kmem_cache *kc, struct pass *p)
{
	struct remains r = { .r_nframes = 0 };
	bool more;

	if (p->p_left-- == 0 || !vm_host_stop_cpus())
		return false;
	vm_mtx_enter(&kc->kc_lock);
	more = mesh_first(kc, p, &r);
	vm_mtx_exit(&kc->kc_lock);
	vm_host_start_cpus();
	vm_phys_free_many(r.r_frame, r.r_nframes);
	kmem_header_free(r.r_header);
	p->p_pages += r.r_nframes;
	return more;
}

unsigned long
kmem_mesh(struct kmem_cache *kc)
{
	/* In the upper bins no two fit into one. */
	const unsigned last = kc->kc_per_slab / 2 >> kc->kc_bin_shift;
	struct pass p = { .p_pages = 0 };

	if (!is_meshed(kc))
		return 0;
	for (p.p_bin = 0; p.p_bin <= last; p.p_bin++) {
		p.p_end = NULL;
		vm_mtx_enter(&kc->kc_lock);
		p.p_left = kc->kc_nslabs;
		vm_mtx_exit(&kc->kc_lock);
		while (step(kc, &p))
			continue;
	}
	return p.p_pages;
}

void
kmem_mesh_undo(struct kmem_cache *kc, struct kmem_slab *sl)
{
	const vaddr_t twin = (vaddr_t)sl->sl_twin;

	sl->sl_twin = NULL;
	pmap_remove(kernel_pmap, twin, twin + kc->kc_slab_size);
	if (kc->kc_class != 0)
		kmem_class_set(twin, atop(kc->kc_slab_size), 0);
	kmem_free_now(kernel_map, twin, kc->kc_slab_size);
}
