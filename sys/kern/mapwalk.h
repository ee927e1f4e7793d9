/*
 * A vm_map as a row of pieces, regions and holes, from its lowest address to
 * its highest: what the debugger draws, and what the demonstrations check
 * the map's choices against.  It asks the map only who comes next, so it
 * shares nothing with the search for space.
 */
#ifndef KERN_MAPWALK_H
#define KERN_MAPWALK_H

#include <vm/vm_map.h>

struct piece {
	vaddr_t		 p_start, p_end;	/* [start, end) */
	bool		 p_hole;
	struct vm_map_info p_info;		/* of a region */
};

/*
 * The piece that begins at `at`, cut at max: begin with the lowest address,
 * go on with p_end.
 * => false when at is max or above
 */
bool	piece_next(struct vm_map *, vaddr_t at, vaddr_t max, struct piece *);

static inline vsize_t
piece_pages(const struct piece *p)
{
	return atop(p->p_end - p->p_start);
}

struct hole_sum {
	unsigned long	hs_regions;
	unsigned long	hs_holes;
	vsize_t		hs_used;	/* pages */
	vsize_t		hs_free;	/* pages */
	vsize_t		hs_largest;	/* pages */
	vaddr_t		hs_largest_at;
};
void	hole_sum(struct vm_map *, vaddr_t min, vaddr_t max, struct hole_sum *);

/*
 * Frames that are free, or would be but for what is built on the way and
 * stays: page tables of the kernel's, and the store of map entries.  Equal
 * before and after what leaves nothing behind.
 */
unsigned long frames_free(void);

#define SIZESTR		12
/* "4 KB", "16 MB": what is a whole number of MB is said in MB. */
const char *size_str(char buf[SIZESTR], vsize_t bytes);

#endif
