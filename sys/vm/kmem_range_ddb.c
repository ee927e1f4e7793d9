/*
 * Looking at the range cache: who has a region, and the walk that checks
 * everything.  Nothing here is on the way of an allocation.
 */
#include <vm/kmalloc.h>
#include <vm/kmem_cache_impl.h>
#include <vm/kmem_range.h>
#include <vm/pmap.h>
#include <vm/vm_phys.h>

static const char *
name_or(const char *name, const char *otherwise)
{
	return name != NULL ? name : otherwise;
}

const char *
kmem_range_owner(const struct vm_map_info *vi)
{
	const char *first = name_or(vi->vi_owner, "nobody");
	const struct vm_page *pg;
	paddr_t pa;

	if (!pmap_kextract(vi->vi_start + ptoa(vi->vi_guard_lo), &pa) ||
	    (pg = vm_phys_page(pa)) == NULL || pg->pg_owner != VM_PAGE_KMEM)
		return first;
	if (pg->pg_flags & VM_PAGE_CACHED)
		return "(range cache)";
	if (pg->pg_slab == NULL || (pg->pg_flags & VM_PAGE_GUARD))
		return first;
	if (pg->pg_flags & VM_PAGE_SLAB)
		return ((struct kmem_slab *)pg->pg_slab)->sl_cache->kc_name;
	if (pg->pg_flags & VM_PAGE_HEAP)
		return ((struct kmalloc_type *)pg->pg_slab)->kt_name;
	return pg->pg_name;
}

bool
kmem_range_holds(vaddr_t va)
{
	struct vm_map_info vi;

	return vm_map_lookup(kernel_map, va, &vi) == 0 &&
	    kmem_range_kept(vi.vi_start + ptoa(vi.vi_guard_lo));
}

/*
 * The check.
 */
static const struct {
	vaddr_t	w_min, w_max;
} windows[KMEM_NWINDOWS] = {
	[KMEM_HEAP] = { VM_HEAP_MIN, VM_HEAP_MAX },
	[KMEM_SLAB] = { VM_SLAB_MIN, VM_SLAB_MAX },
	[KMEM_MISC] = { VM_MISC_MIN, VM_MISC_MAX },
};

/* R3, as far as the map knows.  => w: or KMEM_NWINDOWS, of those fenced */
static const char *
check_region(enum kmem_window w, const struct kmem_range_entry *kre)
{
	const unsigned lo = (kre->kre_fence & VM_PAGE_FENCE_LO) != 0;
	const unsigned hi = (kre->kre_fence & VM_PAGE_FENCE_HI) != 0;
	const vaddr_t va = kre->kre_va;
	struct vm_map_info vi;

	if (w != KMEM_NWINDOWS &&
	    (va < windows[w].w_min || va >= windows[w].w_max))
		return "R3: a range lies outside of its window";
	if ((w == KMEM_NWINDOWS) != (lo || hi))
		return "R3: a range has guards, or lacks them";
	if (vm_map_lookup(kernel_map, va, &vi) != 0)
		return "R3: a range is not in the map";
	if (vi.vi_start + ptoa(lo) != va ||
	    vi.vi_end != va + ptoa(kre->kre_pages + hi) ||
	    vi.vi_guard_lo != lo || vi.vi_guard_hi != hi)
		return "R3: a range is another one in the map";
	if (vi.vi_wired != 0 || vi.vi_prot != VM_PROT_RW)
		return "R3: a range is wired or protected";
	return NULL;
}

/* R3, as far as the frames know. */
static const char *
check_frames(const struct kmem_range_entry *kre)
{
	const struct vm_page *pg;
	paddr_t pa;
	vsize_t i;

	for (i = 0; i < kre->kre_pages; i++) {
		if (!pmap_kextract(kre->kre_va + ptoa(i), &pa))
			return "R3: a page of a range is not mapped";
		pg = vm_phys_page(pa);
		if (pg == NULL || pg->pg_owner != VM_PAGE_KMEM)
			return "R3: a range shows a frame that is not kmem's";
		if (i == 0 && (pg->pg_npages != kre->kre_pages ||
		    pg->pg_flags != (VM_PAGE_RANGE | VM_PAGE_CACHED |
		    kre->kre_fence)))
			return "R3: a range's first frame is not marked so";
	}
	return NULL;
}

/* One bin: R1, R2 and R3. */
static const char *
check_bin(enum kmem_window w, vsize_t pages, struct kmem_range_bin *kb)
{
	struct kmem_range_entry kre[KMEM_RANGE_MOST];
	const char *bad = NULL;
	unsigned i, n, sum = 0;

	kmem_range_bin(w, pages, kb);
	if (kb->krb_n > kb->krb_max || kb->krb_max > nitems(kre) ||
	    kb->krb_idle > kb->krb_n)
		return "R1: a bin has more than it may";
	n = kmem_range_list(w, pages, kre, nitems(kre));
	for (i = 0; i < n && bad == NULL; i++) {
		bad = w != KMEM_NWINDOWS && kre[i].kre_pages != pages ?
		    "R3: a range is in another's bin" :
		    check_region(w, &kre[i]);
		if (bad == NULL)
			bad = check_frames(&kre[i]);
		sum += (unsigned)kre[i].kre_pages;
	}
	if (bad == NULL && sum != kb->krb_pages)
		bad = "R2: the pages of a bin do not add up";
	return bad;
}

const char *
kmem_range_check(void)
{
	struct kmem_range_stats ks;
	struct kmem_range_bin kb;
	unsigned long pages = 0, n = 0;
	const char *bad;
	unsigned w, k;

	/* Behind the windows, the one bin of those that have guards. */
	for (w = 0; w <= KMEM_NWINDOWS; w++)
		for (k = 1; k <= (w < KMEM_NWINDOWS ? KMEM_RANGE_PAGES : 1);
		    k++) {
			bad = check_bin(w, k, &kb);
			if (bad != NULL)
				return bad;
			pages += kb.krb_pages;
			n += kb.krb_n;
		}
	kmem_range_stats(&ks);
	if (ks.krs_pages != pages || ks.krs_pages > ks.krs_max ||
	    ks.krs_high < ks.krs_pages)
		return "R2: the pages of the bins do not add up";
	if (ks.krs_kept - ks.krs_hits - ks.krs_freed != n)
		return "R4: ranges kept, taken and freed do not add up";
	return NULL;
}
