/*
 * A second opinion about vm_map, written from vm_map.h and the design alone.
 *
 * An oracle is a flat array with one cell for each page of a small map.  All
 * its answers come from walking that array.  It knows neither trees nor
 * holes as things of their own, and it shares no code with sys/vm: size
 * classes are a table that is written down here once more.
 *
 * Answers are sets of errors, RES(0) | RES(ENOMEM) …: where the header leaves
 * open which of two errors is reported, both are in the set.
 */
#ifndef TEST_ORACLE_H
#define TEST_ORACLE_H

#include <vm/vm_map.h>
#include <libkern/errno.h>

#define RES(e)		(1u << (e))	/* every errno of ours is below 32 */
#define RES_INVAL	RES(EINVAL)

struct opage {
	unsigned	 op_id;		/* 0: free; else the region's number */
	unsigned	 op_wired;
	vm_prot_t	 op_prot;
	bool		 op_guard_lo;	/* a guard page before / behind */
	bool		 op_guard_hi;
	const char	*op_owner;
};

struct oracle {
	vaddr_t		 o_min, o_max;
	unsigned	 o_flags;	/* VM_MAP_KERNEL or VM_MAP_USER */
	size_t		 o_npages;
	size_t		 o_used;	/* pages taken */
	unsigned	 o_ids;		/* regions ever */
	struct opage	*o_page;
};

void	oracle_init(struct oracle *, vaddr_t min, vaddr_t max, unsigned flags);
void	oracle_fini(struct oracle *);
size_t	oracle_pgno(const struct oracle *, vaddr_t);
vaddr_t	oracle_va(const struct oracle *, size_t pgno);

/*
 * Size classes: the smallest number of pages in class k, 0 beyond the last;
 * the class of n pages; the first class all of whose holes have n pages or
 * more (may be one beyond the last).
 */
unsigned long oracle_class_pages(unsigned k);
unsigned oracle_class_of(unsigned long npages);
unsigned oracle_class_up(unsigned long npages);

/*
 * Promise 3 for requests of more than 32 pages.  Of the holes of each class,
 * shown in order of address whether they fit or not, the first
 * ORACLE_LARGE_TRIES count.
 */
#define ORACLE_LARGE_TRIES	16

struct oracle_large {
	unsigned long	ol_need;	/* pages */
	unsigned	ol_seen[64];	/* by class */
	unsigned long	ol_len[64];	/* the tightest that fits, 0: none */
	vaddr_t		ol_at[64];
};

void	oracle_large_show(struct oracle_large *, unsigned long npages,
	    vaddr_t at);
bool	oracle_large_best(const struct oracle_large *, vaddr_t *at);

/*
 * What a request for space must lead to.  When there is success in the set,
 * of_exact says that of_addr is the one right answer; otherwise the promise
 * is only that the answer is some fit (oracle_fits), the lowest in its hole.
 */
struct oracle_found {
	bool	of_exact;
	bool	of_tight;	/* of_addr lies in a smallest hole that fits */
	vaddr_t	of_addr;
	size_t	of_smallest;	/* pages of the smallest hole that fits */
};
unsigned oracle_find(const struct oracle *, const struct vm_map_request *,
	    struct oracle_found *);

/*
 * Is addr a fit?  Then *hole is the size in pages of the hole (inside the
 * window) and *lowest says whether no lower address in it fits.
 */
bool	oracle_fits(const struct oracle *, const struct vm_map_request *,
	    vaddr_t addr, size_t *hole, bool *lowest);

/* NULL, or what is wrong with an explanation of a request (not EINVAL). */
const char *oracle_explained(const struct oracle *,
	    const struct vm_map_request *, const struct vm_map_explain *);

/* The set of right results; starved: no entry is to be had. */
unsigned oracle_insert(const struct oracle *, vaddr_t, vaddr_t);
unsigned oracle_free(const struct oracle *, vaddr_t, vsize_t);
unsigned oracle_remove(const struct oracle *, vaddr_t, vaddr_t, bool starved);
unsigned oracle_protect(const struct oracle *, vaddr_t, vaddr_t);
unsigned oracle_wire(const struct oracle *, vaddr_t, vaddr_t, bool wire);

/* Make it so. */
void	oracle_take(struct oracle *, vaddr_t start, vaddr_t end,
	    const struct vm_map_request *);
void	oracle_release(struct oracle *, vaddr_t, vaddr_t);
void	oracle_set_prot(struct oracle *, vaddr_t, vaddr_t, vm_prot_t);
void	oracle_add_wired(struct oracle *, vaddr_t, vaddr_t, int by);

/* The whole region whose usable part begins at addr, which must exist. */
void	oracle_region(const struct oracle *, vaddr_t addr, vaddr_t *start,
	    vaddr_t *end);

#endif
