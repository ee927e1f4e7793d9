/*
 * show page, show malloc, show slab, show range: tables of what the
 * allocators count.
 */
#include <kern/ddb.h>
#include <kern/mapwalk.h>
#include <vm/kmalloc.h>
#include <vm/kmem_range.h>
#include <vm/pmap.h>
#include <vm/vm_phys.h>

static const char *const zone_name[VM_NZONES] = {
	[VM_ZONE_LOW] = "below 1 MB",
	[VM_ZONE_DMA] = "below 16 MB",
	[VM_ZONE_HIGH] = "above 16 MB",
};

static const char *const owner_name[VM_PAGE_NOWNERS] = {
	[VM_PAGE_RESERVED] = "reserved",
	[VM_PAGE_FREE] = "free",
	[VM_PAGE_KMEM] = "kmem_alloc",
	[VM_PAGE_PTP] = "page tables",
	[VM_PAGE_ENTRY] = "map entries",
	[VM_PAGE_USER] = "user",
};

static void
show_zones(const struct vm_phys_stats *ps)
{
	char size[SIZESTR];

	printf("zone              frames       free       used      taken"
	    "      given\n");
	for (unsigned z = 0; z < VM_NZONES; z++)
		printf("%-14s %9u  %9u  %9u  %9llu  %9llu\n", zone_name[z],
		    ps->ps_total[z], ps->ps_free[z],
		    ps->ps_total[z] - ps->ps_free[z],
		    (unsigned long long)ps->ps_taken[z],
		    (unsigned long long)ps->ps_given[z]);
	printf("\nowner             frames       size\n");
	for (unsigned o = 0; o < VM_PAGE_NOWNERS; o++)
		printf("%-14s %9u  %9s\n", owner_name[o], ps->ps_owner[o],
		    size_str(size, ptoa(ps->ps_owner[o])));
	if (ps->ps_mark_high != 0)
		printf("\nlow below %u, high from %u: %s, crossed %llu "
		    "times\n", ps->ps_mark_low, ps->ps_mark_high,
		    ps->ps_low ? "low" : "enough",
		    (unsigned long long)ps->ps_crossed);
	printf("\n%llu allocations, %llu frees, %llu failures\n",
	    (unsigned long long)ps->ps_allocs,
	    (unsigned long long)ps->ps_frees,
	    (unsigned long long)ps->ps_fails);
}

/* Whom a frame of kmem_alloc's serves, as far as it says. */
static void
print_user(const struct vm_page *pg)
{
	const struct kmalloc_type *kt = pg->pg_slab;

	if (pg->pg_owner == VM_PAGE_KMEM && (pg->pg_flags & VM_PAGE_CACHED))
		printf(", freed and kept");
	if (pg->pg_owner != VM_PAGE_KMEM || pg->pg_slab == NULL)
		return;
	if (pg->pg_flags & VM_PAGE_SLAB)
		printf(", slab at %p", pg->pg_slab);
	else if (pg->pg_flags & VM_PAGE_HEAP)
		printf(", a block for %s", kt->kt_name);
	else if (pg->pg_flags & VM_PAGE_GUARD)
		printf(", alone on its pages: guard at %p", pg->pg_slab);
	else
		printf(", for %s", pg->pg_name);
}

/* The frame at a physical address, or behind a virtual one of the kernel's. */
static void
show_one(vaddr_t addr)
{
	paddr_t pa = addr;
	const struct vm_page *pg;

	if (addr >= VM_MIN_KERNEL_ADDRESS) {
		if (!pmap_extract(kernel_pmap, trunc_page(addr), &pa)) {
			printf("0x%08lx: no frame behind it\n", addr);
			return;
		}
		printf("0x%08lx shows ", addr);
	}
	pa = trunc_page(pa);
	pg = vm_phys_page(pa);
	if (pg == NULL) {
		printf("frame 0x%08lx: beyond the end of memory\n", pa);
		return;
	}
	printf("frame 0x%08lx: %s", pa, pg->pg_owner < VM_PAGE_NOWNERS ?
	    owner_name[pg->pg_owner] : "owner unknown");
	if (pg->pg_refs != 0)
		printf(", %u reference%s", pg->pg_refs,
		    pg->pg_refs == 1 ? "" : "s");
	if (pg->pg_owner == VM_PAGE_KMEM && pg->pg_npages != 0)
		printf(", first of %u", pg->pg_npages);
	print_user(pg);
	printf("\n");
}

void
ddb_show_page(const struct ddb_args *da)
{
	struct vm_phys_stats ps;
	vaddr_t addr;

	if (da->da_argc > 0) {
		if (ddb_addr(da->da_argv[0], &addr))
			show_one(addr);
		return;
	}
	vm_phys_stats(&ps);
	show_zones(&ps);
}

/* " 16 32 4K pages": the classes, by powers of two, that a type has used. */
static void
print_sizes(uint32_t sizes)
{
	for (unsigned k = 0; k < 32; k++) {
		if ((sizes >> k & 1) == 0)
			continue;
		if (k < 10)
			printf(" %u", 1u << k);
		else if (k < 20)
			printf(" %uK", 1u << (k - 10));
		else
			printf(" pages");
	}
}

void
ddb_show_malloc(const struct ddb_args *da)
{
	const struct kmalloc_type *kt = NULL;
	struct kmalloc_stats ks;
	vsize_t bytes = 0;
	unsigned long inuse = 0;

	printf("type          in use      bytes  high water   requests   fails"
	    "  sizes from\n");
	while ((kt = kmalloc_next(kt)) != NULL) {
		kmalloc_stats(kt, &ks);
		printf("%-12s %7lu %10lu  %10lu %10llu %7llu ", kt->kt_name,
		    ks.ks_inuse, ks.ks_bytes, ks.ks_high,
		    (unsigned long long)ks.ks_requests,
		    (unsigned long long)ks.ks_fails);
		print_sizes(ks.ks_sizes);
		printf("\n");
		inuse += ks.ks_inuse;
		bytes += ks.ks_bytes;
	}
	printf("%-12s %7lu %10lu\n", "all", inuse, bytes);
}

void
ddb_show_slab(const struct ddb_args *da)
{
	struct kmem_cache *kc = NULL;
	struct kmem_cache_stats cs;
	unsigned long pages = 0, idle = 0;
	bool all = da->da_argc > 0;

	if (all && strcmp(da->da_argv[0], "all") != 0) {
		ddb_show_cache(da->da_argv[0]);
		return;
	}
	printf("cache           size stride  pages  objs   slabs empty  in use"
	    "     allocs   grown\n");
	while ((kc = kmem_cache_next(kc)) != NULL) {
		kmem_cache_stats(kc, &cs);
		if (!all && cs.cs_allocs == 0) {
			idle++;
			continue;
		}
		printf("%-14.14s %5lu  %5lu  %5u %5u %7lu %5lu %7lu %10llu"
		    " %7llu\n", cs.cs_name, (unsigned long)cs.cs_size,
		    (unsigned long)cs.cs_stride, cs.cs_slab_pages,
		    cs.cs_per_slab, cs.cs_slabs, cs.cs_empty_slabs,
		    cs.cs_inuse, (unsigned long long)cs.cs_allocs,
		    (unsigned long long)cs.cs_grown);
		pages += cs.cs_slabs * cs.cs_slab_pages;
	}
	printf("%lu pages in slabs", pages);
	if (idle != 0)
		printf("; %lu caches were never used (`show slab all`)", idle);
	printf("\n");
}

static void
print_bin(const char *window, const char *pages, enum kmem_window w,
    unsigned n)
{
	struct kmem_range_bin kb;

	kmem_range_bin(w, n, &kb);
	if (kb.krb_hits + kb.krb_misses + kb.krb_n == 0)
		return;
	printf("%-8s %5s  %7u %7u %6u  %10llu %10llu\n", window, pages,
	    kb.krb_n, kb.krb_max, kb.krb_idle,
	    (unsigned long long)kb.krb_hits,
	    (unsigned long long)kb.krb_misses);
}

static void
print_bins(const char *window, enum kmem_window w)
{
	char pages[4];

	for (unsigned n = 1; n <= KMEM_RANGE_PAGES; n++) {
		k_snprintf(pages, sizeof(pages), "%u", n);
		print_bin(window, pages, w, n);
	}
}

void
ddb_show_range(const struct ddb_args *da)
{
	struct kmem_range_stats ks;

	kmem_range_stats(&ks);
	printf("window   pages     kept at most   idle        hits     misses"
	    "\n");
	print_bins("heap", KMEM_HEAP);
	print_bins("slab", KMEM_SLAB);
	print_bins("else", KMEM_MISC);
	print_bin("guarded", "any", KMEM_NWINDOWS, 0);
	printf("%s; %lu pages kept, at most %lu, the most there were %lu\n",
	    ks.krs_on ? "on" : "off", ks.krs_pages, ks.krs_max, ks.krs_high);
	printf("%llu hits, %llu misses; %llu ranges kept, %llu not for want "
	    "of room, %llu freed later\n", (unsigned long long)ks.krs_hits,
	    (unsigned long long)ks.krs_misses,
	    (unsigned long long)ks.krs_kept, (unsigned long long)ks.krs_full,
	    (unsigned long long)ks.krs_freed);
}
