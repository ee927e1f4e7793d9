/*
 * show map: kernel_map drawn, regions and holes from the lowest address up.
 * explain: what the map says about a request.
 */
#include <kern/ddb.h>
#include <kern/mapwalk.h>
#include <vm/kmem_range.h>

#define LINES		40	/* of pieces, unless more are asked for */
#define RULE "---------- ----------  -------- --------  ---- ------"

/* What kernel_map is divided into: headings between the pieces. */
static const struct window {
	vaddr_t		 w_min, w_max;
	const char	*w_name;
} windows[] = {
	{ VM_HEAP_MIN, VM_HEAP_MAX, "heap window (KM_HEAP)" },
	{ VM_SLAB_MIN, VM_SLAB_MAX, "slab window (KM_SLAB)" },
	{ VM_SLAB_MAX, VM_MISC_MIN, "boot's stack" },
	{ VM_MISC_MIN, VM_MISC_MAX, "everything else" },
};

/* The next border of a window above at: no piece is drawn across one. */
static vaddr_t
border(vaddr_t at)
{
	for (unsigned i = 0; i < nitems(windows); i++) {
		if (at < windows[i].w_min)
			return windows[i].w_min;
		if (at < windows[i].w_max)
			return windows[i].w_max;
	}
	return (vaddr_t)-1;
}

/* => one rule, with a name where a window begins */
static void
print_heading(vaddr_t at, bool first)
{
	for (unsigned i = 0; i < nitems(windows); i++)
		if (at == windows[i].w_min) {
			printf("%s  %s\n", RULE, windows[i].w_name);
			return;
		}
	if (first)
		printf("%s\n", RULE);
}

static void
print_region(const struct piece *p)
{
	const struct vm_map_info *vi = &p->p_info;
	char guards[16] = "";

	if (vi->vi_guard_lo != 0 || vi->vi_guard_hi != 0)
		k_snprintf(guards, sizeof(guards), "%u+%u", vi->vi_guard_lo,
		    vi->vi_guard_hi);
	printf("  %c%c%c  %6s  %s", (vi->vi_prot & VM_PROT_READ) ? 'r' : '-',
	    (vi->vi_prot & VM_PROT_WRITE) ? 'w' : '-',
	    (vi->vi_prot & VM_PROT_EXECUTE) ? 'x' : '-', guards,
	    kmem_range_owner(vi));
	if (vi->vi_wired != 0)
		printf(", wired %u", vi->vi_wired);
}

static void
print_piece(const struct piece *p)
{
	char size[SIZESTR];

	printf("0x%08lx 0x%08lx  %8lu %8s", p->p_start, p->p_end,
	    piece_pages(p), size_str(size, p->p_end - p->p_start));
	if (p->p_hole)
		printf("   . . . . .  free");
	else
		print_region(p);
	printf("\n");
}

static void
print_sum(const char *what, vaddr_t min, vaddr_t max)
{
	struct hole_sum hs;

	hole_sum(kernel_map, min, max, &hs);
	printf("%-10s %10lu %10lu %10lu %10lu %10lu\n", what, hs.hs_regions,
	    hs.hs_used, hs.hs_holes, hs.hs_free, hs.hs_largest);
}

static void
print_totals(void)
{
	struct hole_sum hs;
	char size[SIZESTR];

	printf("\n%-10s %10s %10s %10s %10s %10s\n", "", "regions", "pages",
	    "holes", "pages", "largest");
	print_sum("image", kernel_map->vm_min, VM_HEAP_MIN);
	print_sum("heap", VM_HEAP_MIN, VM_HEAP_MAX);
	print_sum("slab", VM_SLAB_MIN, VM_SLAB_MAX);
	print_sum("stack", VM_SLAB_MAX, VM_MISC_MIN);
	print_sum("else", VM_MISC_MIN, VM_MISC_MAX);
	print_sum("in all", kernel_map->vm_min, kernel_map->vm_max);
	hole_sum(kernel_map, kernel_map->vm_min, kernel_map->vm_max, &hs);
	if (hs.hs_holes != 0)
		printf("largest hole: %lu pages (%s) at 0x%08lx\n",
		    hs.hs_largest, size_str(size, ptoa(hs.hs_largest)),
		    hs.hs_largest_at);
}

/* Up to that many pieces, from the one that from is in. */
static void
print_pieces(vaddr_t from, uint64_t lines)
{
	struct vm_map *map = kernel_map;
	vaddr_t at = map->vm_min;
	bool first = true;
	struct piece p;

	while (lines > 0 && piece_next(map, at, map->vm_max, &p)) {
		vaddr_t to = border(at);

		if (p.p_hole && p.p_end > to)
			p.p_end = to;
		if (p.p_end > from) {
			print_heading(at, first);
			first = false;
			print_piece(&p);
			lines--;
		}
		at = p.p_end;
	}
	if (at < map->vm_max)
		printf("... it goes on: `show map 0x%lx`\n", at);
}

void
ddb_show_map(const struct ddb_args *da)
{
	struct vm_map *map = kernel_map;
	vaddr_t from = map->vm_min;
	uint64_t lines = LINES;

	if (map->vm_name == NULL) {
		printf("kernel_map: not yet; the boot has not come so far\n");
		return;
	}
	if (da->da_argc > 0 && !ddb_addr(da->da_argv[0], &from))
		return;
	if (da->da_argc > 1 && !ddb_number(da->da_argv[1], UINT32_MAX, &lines))
		return;
	if (lines == 0)
		lines = LINES;
	if (from < map->vm_min || from >= map->vm_max) {
		printf("0x%08lx: outside of %s, [0x%08lx, 0x%08lx)\n", from,
		    map->vm_name, map->vm_min, map->vm_max);
		return;
	}
	printf("%s [0x%08lx, 0x%08lx)\n", map->vm_name, map->vm_min,
	    map->vm_max);
	printf("%-10s %-10s  %8s %8s  prot %-6s  owner\n", "start", "end",
	    "pages", "size", "guards");
	print_pieces(from, lines);
	print_totals();
}

/* "4 KB x 3" and so on: how many holes there are of which class. */
static void
print_classes(const struct vm_map_explain *vx)
{
	int col = 0;

	for (unsigned k = 0; k < VM_MAP_NCLASSES; k++) {
		if (vx->vx_holes[k] == 0)
			continue;
		if (col > 60) {
			printf("\n");
			col = 0;
		}
		col += printf("  %lu x %s%lu", vx->vx_holes[k],
		    vm_map_class_pages(k) > 32 ? ">=" : "",
		    vm_map_class_pages(k));
	}
	printf("\n");
}

void
ddb_explain(const struct ddb_args *da)
{
	struct vm_map_request vr = {
		.vr_min = VM_SLAB_MIN, .vr_max = VM_SLAB_MAX,
		.vr_owner = "explain",
	};
	struct vm_map_explain vx = { 0 };
	uint64_t pages, align = 0;

	if (!ddb_number(da->da_argv[0], atop((vsize_t)-1), &pages) ||
	    (da->da_argc > 1 &&
	    !ddb_number(da->da_argv[1], (vsize_t)-1, &align)))
		return;
	vr.vr_size = ptoa(pages);
	vr.vr_align = (vsize_t)align;
	if (vm_map_explain(kernel_map, &vr, &vx) != 0) {
		printf("no such request: 0 pages, or an alignment that is no "
		    "power of two of pages\n");
		return;
	}
	printf("%lu pages in the slab window: %s\n", atop(vx.vx_need),
	    vx.vx_fits ? "would fit now" : "no");
	printf("free: %lu pages in %lu hole%s\n", atop(vx.vx_free),
	    vx.vx_nholes, vx.vx_nholes == 1 ? "" : "s");
	if (vx.vx_nholes == 0)
		return;
	printf("largest: %lu pages at 0x%08lx, between %s and %s\n",
	    atop(vx.vx_largest), vx.vx_largest_at,
	    vx.vx_before == NULL ? "the map's begin" : vx.vx_before,
	    vx.vx_after == NULL ? "the map's end" : vx.vx_after);
	printf("holes x pages:");
	print_classes(&vx);
}
