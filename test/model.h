/*
 * A plain model of a vm_map: its regions in a sorted array.  Slower than a
 * tree and faster than an oracle with a cell for each page, it carries runs
 * of many millions of operations on maps of any size.  Written, like the
 * oracle, from vm_map.h and the design alone.
 *
 * Arguments make sense here (aligned, inside the map, not empty): what else
 * there is to say about them the oracle says.  Functions return what the map
 * must return, and change the model when that is 0.
 */
#ifndef TEST_MODEL_H
#define TEST_MODEL_H

#include "oracle.h"

#define MODEL_MAX	8192

struct mregion {
	vaddr_t		 mr_start, mr_end;
	vm_prot_t	 mr_prot;
	unsigned	 mr_wired;
	unsigned	 mr_guard_lo, mr_guard_hi;
	const char	*mr_owner;
};

struct model {
	vaddr_t		 m_min, m_max;
	unsigned	 m_flags;
	vsize_t		 m_used;
	unsigned	 m_n;
	struct mregion	 m_region[MODEL_MAX];
};

void	model_init(struct model *, vaddr_t min, vaddr_t max, unsigned flags);

/* The first region that ends above addr; m_n: none. */
unsigned model_above(const struct model *, vaddr_t addr);

/*
 * Where must a request go?
 * => 0 with *addr; *exact says that there is no other answer (then any place
 *    that model_place admits is right)
 * => ENOMEM
 */
int	model_find(const struct model *, const struct vm_map_request *,
	    vaddr_t *addr, bool *exact);

/* May a request go to addr: free, aligned, in the window, lowest there? */
bool	model_place(const struct model *, const struct vm_map_request *,
	    vaddr_t addr);
void	model_take(struct model *, const struct vm_map_request *,
	    vaddr_t addr);

int	model_insert(struct model *, vaddr_t, vaddr_t, vm_prot_t,
	    const char *owner);
int	model_free(struct model *, vaddr_t addr, vsize_t size);
int	model_remove(struct model *, vaddr_t, vaddr_t);
int	model_protect(struct model *, vaddr_t, vaddr_t, vm_prot_t);
int	model_wire(struct model *, vaddr_t, vaddr_t, bool wire);

/* NULL, or how the map differs from the model (a static string). */
const char *model_compare(const struct model *, struct vm_map *);

#endif
