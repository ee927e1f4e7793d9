/*
 * Looking at caches: figures, the list, what a pointer is, and the walk that
 * checks everything.  Nothing here is on the way of an allocation.
 */
#include <limits.h>

#include <vm/kmem_debug_impl.h>
#include <vm/kmem_range.h>

/* Objects that went out, modulo the word; of the heap's, modulo 2^32. */
static unsigned long
count_allocs(const struct kmem_cache *kc)
{
	unsigned long allocs = 0;
	unsigned i;

	if (kc->kc_allocs != NULL)
		return kc->kc_allocs(kc);
	for (i = 0; i < VM_NCPU; i++)
		allocs += __atomic_load_n(&kc->kc_cpu[i].cc_allocs,
		    __ATOMIC_RELAXED);
	return allocs;
}

void
kmem_cache_stats(struct kmem_cache *kc, struct kmem_cache_stats *cs)
{
	const unsigned long allocs = count_allocs(kc);
	/* Modulo which they are counted, less 1. */
	const unsigned long mask = kc->kc_allocs != NULL ? UINT32_MAX :
	    ULONG_MAX;
	unsigned long cached;

	vm_mtx_enter(&kc->kc_lock);
	cached = kmem_depot_rounds(kc);
	/* A guess (kmem_depot_rounds), but a possible one. */
	if (cached > kc->kc_inuse)
		cached = kc->kc_inuse;
	memset(cs, 0, sizeof(*cs));	/* the gaps too: they are compared */
	*cs = (struct kmem_cache_stats){
		.cs_name = kc->kc_name,
		.cs_size = kc->kc_size,
		.cs_stride = kc->kc_stride,
		.cs_slab_pages = (unsigned)atop(kc->kc_slab_size),
		.cs_per_slab = kc->kc_per_slab,
		.cs_slabs = kc->kc_nslabs,
		.cs_empty_slabs = kc->kc_nempty,
		.cs_inuse = kc->kc_inuse - cached,
		.cs_cached = cached,
		.cs_rounds = kc->kc_mag_words == 0 ? 0 :
		    kc->kc_mag_words - (unsigned)KMEM_MAG_HEADER,
		.cs_allocs = allocs,
		.cs_frees = (allocs - (kc->kc_inuse - cached)) & mask,
		.cs_fails = kc->kc_fails,
		.cs_grown = kc->kc_grown,
		.cs_shrunk = kc->kc_shrunk,
		.cs_meshed = kc->kc_meshed,
	};
	vm_mtx_exit(&kc->kc_lock);
}

struct kmem_cache *
kmem_cache_next(struct kmem_cache *kc)
{
	struct kmem_link *list = kmem_cache_list();
	struct kmem_link *l = kc == NULL ? list->kl_next : kc->kc_all.kl_next;

	return l == list ? NULL : container_of(l, struct kmem_cache, kc_all);
}

bool
kmem_cache_find(const void *ptr, struct kmem_cache **kc, void **obj)
{
	struct kmem_slab *sl = kmem_slab_find(ptr);
	unsigned i;
	size_t off;

	if (sl == NULL || !kmem_slab_index(sl->sl_cache, sl, ptr, &i, &off))
		return false;
	*kc = sl->sl_cache;
	*obj = (char *)(uintptr_t)ptr - off;
	return true;
}

void
kmem_describe(char *buf, size_t size, const void *ptr)
{
	struct vm_page *pg = kmem_page(ptr);
	struct kmem_slab *sl = kmem_slab_find(ptr);
	const struct kmem_cache *kc;
	const char *state;
	unsigned i;
	size_t off;

	if (kmem_debug_fault_what((vaddr_t)ptr, buf, size))
		return;
	if (sl == NULL) {
		k_snprintf(buf, size, "%s",
		    kmem_range_holds((vaddr_t)ptr) ?
		    "in pages that were freed" : pg != NULL ?
		    "in pages that are no slab" :
		    "no memory of the slabs' or the heap's");
		return;
	}
	kc = sl->sl_cache;
	if (!kmem_slab_index(kc, sl, ptr, &i, &off)) {
		k_snprintf(buf, size, "beside the objects of a slab of %s",
		    kc->kc_name);
		return;
	}
	state = kmem_slab_is_out(kc, sl, i) ? "an object" : "a free object";
	if (off == 0)
		k_snprintf(buf, size, "%s of %s", state, kc->kc_name);
	else
		k_snprintf(buf, size, "%zu bytes into %p, %s of %s", off,
		    (const void *)((const char *)ptr - off), state,
		    kc->kc_name);
}

/*
 * The check.
 */

/* Invariant (b), and that no header lies outside of the slab. */
static const char *
check_bits(const struct kmem_cache *kc, const struct kmem_slab *sl)
{
	unsigned w, in_word, nfree = 0, left = kc->kc_per_slab;

	for (w = 0; w < kc->kc_nwords; w++, left -= in_word) {
		in_word = left < 32 ? left : 32;
		if (in_word < 32 && sl->sl_free[w] >> in_word != 0)
			return "a bit beyond the last object is set";
		if ((sl->sl_words >> w & 1) != (sl->sl_free[w] != 0))
			return "the summary of the free bits is wrong";
		nfree += (unsigned)__builtin_popcount(sl->sl_free[w]);
	}
	if (kc->kc_nwords < 32 && sl->sl_words >> kc->kc_nwords != 0)
		return "the summary names words that are not there";
	if (nfree + sl->sl_inuse != kc->kc_per_slab)
		return "objects out and free bits do not add up";
	return NULL;
}

/* Invariant (c), and where objects and header lie. */
static const char *
check_place(const struct kmem_cache *kc, const struct kmem_slab *sl)
{
	const char *base = kmem_slab_base(kc, sl);
	const size_t color = sl->sl_color;
	size_t off;

	if (sl->sl_cache != kc)
		return "a slab names another cache";
	if (color > kc->kc_color_max || color % kc->kc_color_step != 0 ||
	    !page_aligned((vaddr_t)base))
		return "a slab's colour is wrong";
	if (color + kc->kc_per_slab * kc->kc_stride > kc->kc_hdr_off)
		return "objects reach into the header";
	if (!(kc->kc_flags & KC_OFFSLAB) &&
	    (const char *)sl != base + kc->kc_hdr_off)
		return "a header is not where it should be";
	for (off = 0; off < kc->kc_slab_size; off += PAGE_SIZE)
		if (kmem_slab_find(base + off) != sl)
			return "a frame does not point back to its slab";
	return NULL;
}

/* Invariant (g). */
static const char *
check_twin(const struct kmem_cache *kc, const struct kmem_slab *sl)
{
	const char *base = kmem_slab_base(kc, sl);
	size_t off;

	if (sl->sl_twin == NULL)
		return NULL;
	for (off = 0; off < kc->kc_slab_size; off += PAGE_SIZE)
		if (kmem_page(sl->sl_twin + off) != kmem_page(base + off))
			return "a slab's twin shows other frames";
	return NULL;
}

struct sums {
	unsigned long	slabs;
	unsigned long	inuse;
};

/* One list, whose slabs have [lo, hi] objects out. */
static const char *
check_list(const struct kmem_cache *kc, const struct kmem_link *list,
    unsigned lo, unsigned hi, struct sums *sums)
{
	struct kmem_link *l;
	struct kmem_slab *sl;
	const char *bad;

	for (l = list->kl_next; l != list; l = l->kl_next) {
		if (l->kl_next->kl_prev != l)
			return "a list of slabs is torn";
		sl = kmem_link_slab(l);
		if ((bad = check_place(kc, sl)) != NULL)
			return bad;
		if ((bad = check_bits(kc, sl)) != NULL ||
		    (bad = check_twin(kc, sl)) != NULL)
			return bad;
		if (sl->sl_inuse < lo || sl->sl_inuse > hi)
			return "a slab is on the wrong list";
		sums->slabs++;
		sums->inuse += sl->sl_inuse;
	}
	return NULL;
}

/* Invariant (a): one bin of partial slabs. */
static const char *
check_bin(const struct kmem_cache *kc, unsigned bin, struct sums *sums)
{
	const struct kmem_link *list = &kc->kc_partial[bin];
	unsigned lo = bin << kc->kc_bin_shift;
	unsigned hi = lo + (1u << kc->kc_bin_shift) - 1;

	if ((kc->kc_bins >> bin & 1) != !kmem_link_empty(list))
		return "the summary of the partial slabs is wrong";
	if (lo == 0)
		lo = 1;
	if (hi > kc->kc_per_slab - 1)
		hi = kc->kc_per_slab - 1;
	return check_list(kc, list, lo, hi, sums);
}

static const char *
check_lists(const struct kmem_cache *kc, struct sums *sums)
{
	const unsigned n = kc->kc_per_slab;
	const char *bad;
	unsigned bin;

	bad = check_list(kc, &kc->kc_empty, 0, 0, sums);
	if (bad != NULL)
		return bad;
	if (sums->slabs != kc->kc_nempty)
		return "the number of empty slabs is wrong";
	for (bin = 0; bin < KMEM_BINS && bad == NULL; bin++)
		bad = check_bin(kc, bin, sums);
	return bad != NULL ? bad : check_list(kc, &kc->kc_full, n, n, sums);
}

/* Invariant (e): the rounds of one magazine. */
static const char *
check_mag(const struct kmem_cache *kc, const struct kmem_mag *mag, unsigned n)
{
	struct kmem_slab *sl;
	unsigned i, index;

	if (mag->m_none != NULL || n > mag->m_size)
		return "a magazine is torn";
	for (i = 0; i < n; i++) {
		sl = kmem_slab_find(mag->m_round[i]);
		if (sl == NULL || sl->sl_cache != kc || kmem_slab_judge(kc, sl,
		    mag->m_round[i], &index) != KMEM_OBJECT)
			return "what is in a magazine is no free object";
		if (kmem_slab_is_out(kc, sl, index) &&
		    (kc->kc_debug & KMD_CHECK))
			return "what is in a magazine is somebody's";
	}
	return NULL;
}

/* Invariant (f), of the depot's magazines. */
static const char *
check_depot(const struct kmem_cache *kc)
{
	unsigned nfull = 0, nempty = 0;
	unsigned long rounds = 0;
	const struct kmem_mag *mag;
	const char *bad = NULL;

	for (mag = kc->kc_full_mags; mag != NULL && bad == NULL;
	    mag = kmem_mag_next(mag)) {
		nfull++;
		rounds += mag->m_n;
		bad = check_mag(kc, mag, mag->m_n);
	}
	for (mag = kc->kc_empty_mags; mag != NULL && bad == NULL;
	    mag = kmem_mag_next(mag)) {
		nempty++;
		bad = mag->m_n != 0 ? "a magazine that is not empty is among "
		    "those that are" : check_mag(kc, mag, 0);
	}
	if (bad != NULL)
		return bad;
	if (nfull != kc->kc_nfull || nempty != kc->kc_nempty_mags ||
	    rounds != kc->kc_rounds)
		return "the depot's counts are wrong";
	if (kc->kc_min_full > nfull || kc->kc_min_empty > nempty)
		return "the depot had fewer magazines than its least";
	return NULL;
}

static const char *
check_cpu(const struct kmem_cache *kc, const struct kmem_cpu *cc)
{
	const char *bad = NULL;

	if (cc->cc_mag == NULL)
		return kmem_cpu_n(cc) != 0 || kmem_cpu_size(cc) != 0 ||
		    cc->cc_prev_n != 0 ? "no magazine, but rounds" : NULL;
	if (kmem_cpu_size(cc) != cc->cc_mag->m_size ||
	    cc->cc_first != cc->cc_mag->m_round)
		return "another magazine is loaded";
	bad = check_mag(kc, cc->cc_mag, kmem_cpu_n(cc));
	if (bad == NULL && cc->cc_prev != NULL)
		bad = check_mag(kc, cc->cc_prev, cc->cc_prev_n);
	return bad;
}

static const char *
check_locked(const struct kmem_cache *kc)
{
	struct sums sums = { 0, 0 };
	const char *bad = check_lists(kc, &sums);
	unsigned i;

	if (bad != NULL)
		return bad;
	if (sums.slabs != kc->kc_nslabs)
		return "the number of slabs is wrong";
	if (sums.inuse != kc->kc_inuse)
		return "the number of objects out is wrong";
	if (kc->kc_grown - kc->kc_shrunk != kc->kc_nslabs)
		return "slabs made and returned do not add up";
	bad = check_depot(kc);
	for (i = 0; i < VM_NCPU && bad == NULL; i++)
		bad = check_cpu(kc, &kc->kc_cpu[i]);
	for (; i < VM_NCPU_QUICK && bad == NULL; i++)
		if (kc->kc_cpu[i].cc_mag != NULL)
			bad = "nobody's magazine is loaded";
	if (bad == NULL && kmem_depot_rounds(kc) > kc->kc_inuse)
		bad = "more objects in magazines than out of slabs";
	return bad;
}

const char *
kmem_cache_check(struct kmem_cache *kc)
{
	const char *bad;

	vm_mtx_enter(&kc->kc_lock);
	bad = check_locked(kc);
	vm_mtx_exit(&kc->kc_lock);
	return bad;
}
