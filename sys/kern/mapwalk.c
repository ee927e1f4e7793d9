/*
 * A map's pieces in the order of their addresses.
 */
#include <kern/mapwalk.h>
#include <vm/vm_phys.h>

bool
piece_next(struct vm_map *map, vaddr_t at, vaddr_t max, struct piece *p)
{
	struct vm_map_info *vi = &p->p_info;

	if (at >= max)
		return false;
	p->p_start = at;
	p->p_end = max;
	p->p_hole = true;
	if (vm_map_next(map, at, vi) != 0 || vi->vi_start >= max)
		return true;
	if (vi->vi_start > at) {
		p->p_end = vi->vi_start;
		return true;
	}
	p->p_hole = false;
	if (vi->vi_end < max)
		p->p_end = vi->vi_end;
	return true;
}

void
hole_sum(struct vm_map *map, vaddr_t min, vaddr_t max, struct hole_sum *hs)
{
	struct piece p;

	*hs = (struct hole_sum){ 0 };
	for (vaddr_t at = min; piece_next(map, at, max, &p); at = p.p_end) {
		if (!p.p_hole) {
			hs->hs_regions++;
			hs->hs_used += piece_pages(&p);
			continue;
		}
		hs->hs_holes++;
		hs->hs_free += piece_pages(&p);
		if (piece_pages(&p) > hs->hs_largest) {
			hs->hs_largest = piece_pages(&p);
			hs->hs_largest_at = at;
		}
	}
}

unsigned long
frames_free(void)
{
	struct vm_phys_stats ps;

	vm_phys_stats(&ps);
	return ps.ps_owner[VM_PAGE_FREE] + ps.ps_owner[VM_PAGE_PTP] +
	    ps.ps_owner[VM_PAGE_ENTRY];
}

const char *
size_str(char buf[SIZESTR], vsize_t bytes)
{
	if (bytes >= (1UL << 20) && bytes % (1UL << 20) == 0)
		k_snprintf(buf, SIZESTR, "%lu MB", bytes >> 20);
	else
		k_snprintf(buf, SIZESTR, "%lu KB", bytes >> 10);
	return buf;
}
