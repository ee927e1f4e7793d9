/*
 * whatis, show slab NAME, show leaks: what the memory system knows of one
 * address, one cache, and of objects that nobody points to.
 */
#include <kern/ddb.h>
#include <kern/mapwalk.h>
#include <vm/kmalloc_impl.h>
#include <vm/kmem_debug_impl.h>
#include <vm/kmem_range.h>
#include <vm/pmap.h>
#include <vm/vm_phys.h>

#define SLABS		16	/* lines of slabs */
#define GROUPS		32	/* of leaks that are alike */

/*
 * whatis
 */
static void
whatis_region(vaddr_t addr)
{
	struct vm_map_info vi;

	if (addr < kernel_map->vm_min || addr >= kernel_map->vm_max) {
		printf("outside of %s\n", kernel_map->vm_name);
		return;
	}
	if (vm_map_lookup(kernel_map, addr, &vi) != 0) {
		printf("in a hole of %s\n", kernel_map->vm_name);
		return;
	}
	printf("in region [0x%08lx, 0x%08lx) of %s, %s", vi.vi_start,
	    vi.vi_end, kernel_map->vm_name, kmem_range_owner(&vi));
	if (addr < vi.vi_start + ptoa(vi.vi_guard_lo) ||
	    addr >= vi.vi_end - ptoa(vi.vi_guard_hi))
		printf(", in its guard");
	printf("\n");
}

static void
whatis_frame(vaddr_t addr)
{
	paddr_t pa;

	if (pmap_extract(kernel_pmap, trunc_page(addr), &pa))
		printf("shows frame 0x%08lx (`show page 0x%lx`)\n", pa, pa);
	else
		printf("not mapped\n");
}

void
ddb_whatis(const struct ddb_args *da)
{
	char what[160];
	const char *sym;
	vaddr_t addr, off;

	if (!ddb_addr(da->da_argv[0], &addr))
		return;
	sym = ksym_find(addr, &off);
	if (sym != NULL)
		printf("%s+0x%lx\n", sym, off);
	if (kernel_map->vm_name == NULL) {
		printf("kernel_map: not yet; the boot has not come so far\n");
		return;
	}
	whatis_region(addr);
	whatis_frame(addr);
	if (addr < VM_HEAP_MIN || addr >= VM_SLAB_MAX)
		return;
	kmalloc_describe(what, sizeof(what), (void *)addr);
	printf("%s\n", what);
	kmem_debug_tell((void *)addr);
}

/*
 * show slab NAME
 */

/* The cache that is called so: `_` is a blank, as a command has none. */
static struct kmem_cache *
find_cache(const char *name)
{
	struct kmem_cache *kc = NULL;
	size_t i;

	while ((kc = kmem_cache_next(kc)) != NULL) {
		for (i = 0; name[i] != '\0' && (name[i] == kc->kc_name[i] ||
		    (name[i] == '_' && kc->kc_name[i] == ' ')); i++)
			continue;
		if (name[i] == '\0' && kc->kc_name[i] == '\0')
			return kc;
	}
	return NULL;
}

static unsigned
show_slabs(const struct kmem_cache *kc, const struct kmem_link *list,
    unsigned lines)
{
	const struct kmem_link *l;
	const struct kmem_slab *sl;

	for (l = list->kl_next; l != list && lines > 0; l = l->kl_next) {
		sl = kmem_link_slab((struct kmem_link *)(uintptr_t)l);
		printf("  0x%08lx  first object %p  %4u of %u out",
		    (vaddr_t)kmem_slab_base(kc, sl), (void *)sl->sl_first,
		    sl->sl_inuse, kc->kc_per_slab);
		if (sl->sl_twin != NULL)
			printf(", seen at %p too", (void *)sl->sl_twin);
		printf("\n");
		lines--;
	}
	return lines;
}

static void
show_counts(struct kmem_cache *kc)
{
	struct kmem_cache_stats cs;
	unsigned lines = SLABS;

	kmem_cache_stats(kc, &cs);
	printf("%lu in use, %lu free in magazines of %u; %llu allocated ever, "
	    "%llu failed\n", cs.cs_inuse, cs.cs_cached, cs.cs_rounds,
	    (unsigned long long)cs.cs_allocs,
	    (unsigned long long)cs.cs_fails);
	printf("%lu slabs, %lu of them empty; %llu made ever, %llu given "
	    "back, %llu of these meshed\n", cs.cs_slabs, cs.cs_empty_slabs,
	    (unsigned long long)cs.cs_grown,
	    (unsigned long long)cs.cs_shrunk,
	    (unsigned long long)cs.cs_meshed);
	lines = show_slabs(kc, &kc->kc_full, lines);
	for (unsigned b = KMEM_BINS; b-- > 0;)
		lines = show_slabs(kc, &kc->kc_partial[b], lines);
	lines = show_slabs(kc, &kc->kc_empty, lines);
	if (lines == 0)
		printf("  ...\n");
}

void
ddb_show_cache(const char *name)
{
	struct kmem_cache *kc = find_cache(name);
	char modes[KMD_NAMES];

	if (kc == NULL) {
		printf("%s: no cache is called so; `show slab all` lists "
		    "them\n", name);
		return;
	}
	printf("%s: %lu bytes aligned to %lu, one each %lu, in the %s window\n",
	    kc->kc_name, (unsigned long)kc->kc_size,
	    (unsigned long)kc->kc_align, (unsigned long)kc->kc_stride,
	    kc->kc_window == KM_HEAP ? "heap" : "slab");
	printf("slabs of %lu pages, %u objects, the header %s, colours up to "
	    "%lu\n", atop(kc->kc_slab_size), kc->kc_per_slab,
	    kc->kc_flags & KC_OFFSLAB ? "elsewhere" : "on it",
	    (unsigned long)kc->kc_color_max);
	printf("watched for: %s%s\n", kmem_debug_names(modes, kc->kc_debug),
	    kc->kc_ctor != NULL ? "; objects are constructed" : "");
	show_counts(kc);
}

/*
 * show leaks.  Those of one cache that were allocated in the same way are
 * one line.
 */
struct group {
	const struct kmem_cache *g_cache;
	const struct kmem_record *g_record;	/* of the first; or NULL */
	unsigned long	 g_n;
	size_t		 g_bytes;
	void		*g_first;
};

struct groups {
	struct group	 gs_group[GROUPS];
	unsigned	 gs_n;
	unsigned long	 gs_more;	/* leaks that no group had room for */
};

/* Was it the same chain of functions? */
static bool
alike(const struct kmem_record *a, const struct kmem_record *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return memcmp(a->r_pc, b->r_pc, sizeof(a->r_pc)) == 0;
}

static void
leak_add(const struct kmem_leak *kl, void *arg)
{
	struct groups *gs = arg;
	const struct kmem_record *r = kmem_debug_records(kl->kl_obj);
	struct group *g;

	for (g = gs->gs_group; g < gs->gs_group + gs->gs_n; g++)
		if (g->g_cache == kl->kl_cache && alike(g->g_record, r))
			break;
	if (g == gs->gs_group + GROUPS) {
		gs->gs_more++;
		return;
	}
	if (g == gs->gs_group + gs->gs_n) {
		*g = (struct group){ kl->kl_cache, r, 0, 0, kl->kl_obj };
		gs->gs_n++;
	}
	g->g_n++;
	g->g_bytes += kl->kl_size;
}

void
ddb_show_leaks(const struct ddb_args *da)
{
	/* Not on the stack, which is scanned; and never seen as pointers. */
	static struct groups gs;
	unsigned long n;

	memset(&gs, 0, sizeof(gs));
	n = kmem_leaks(leak_add, &gs);
	for (struct group *g = gs.gs_group; g < gs.gs_group + gs.gs_n; g++) {
		printf("%lu of %s, %lu bytes, first at %p\n", g->g_n,
		    g->g_cache == NULL ? "the heap's pages" :
		    g->g_cache->kc_name, (unsigned long)g->g_bytes,
		    g->g_first);
		if (g->g_record != NULL)
			kmem_record_log(g->g_record, "allocated");
	}
	if (gs.gs_more != 0)
		printf("... and %lu of other kinds\n", gs.gs_more);
	memset(&gs, 0, sizeof(gs));
	printf("%lu leaked\n", n);
}
