/*
 * The inside of vm_map, for vm_map*.c, the debugger and the tests.
 */
#ifndef VM_VM_MAP_IMPL_H
#define VM_VM_MAP_IMPL_H

#include <vm/vm_map.h>

/*
 * Size classes of holes.  Exact for 1…32 pages, where slab churn lives; half
 * octaves above ([33,47], [48,63], [64,95], …), and whole octaves from
 * 2^CLASS_HALF_MAX pages on, where 64 bits would not reach otherwise:
 *
 *	2^20 pages:	32 + 2 × (21 - 5)		= 64 classes
 *	2^35 pages:	32 + 2 × (7 - 5) + (35 - 7)	= 64 classes
 */
#define CLASS_EXACT	32
#define CLASS_EXACT_LOG	5
#define CLASS_NONE	64
#if VM_MAP_PAGE_BITS <= 20
#define CLASS_HALF_MAX	21
#else
#define CLASS_HALF_MAX	7
#endif
#define CLASS_WHOLE0	(CLASS_EXACT + 2 * (CLASS_HALF_MAX - CLASS_EXACT_LOG))

_Static_assert(CLASS_WHOLE0 + VM_MAP_PAGE_BITS - CLASS_HALF_MAX <= CLASS_NONE,
    "classes do not fit the mask");

/* The index of the highest set bit; the argument is not 0. */
static inline unsigned
space_highest(vsize_t pages)
{
	return (unsigned)(sizeof(long) * 8 - 1) -
	    (unsigned)__builtin_clzl(pages);
}

/*
 * The class that a hole of so many pages is of.  Of none that is 0 - 1, so
 * that one class more is 0 again.
 */
static inline unsigned
space_class(vsize_t pages)
{
	unsigned h;

	if (pages <= CLASS_EXACT)
		return (unsigned)pages - 1;
	h = space_highest(pages);
	if (h < CLASS_HALF_MAX)
		return CLASS_EXACT + 2 * (h - CLASS_EXACT_LOG) +
		    (unsigned)(pages >> (h - 1) & 1);
	return CLASS_WHOLE0 + h - CLASS_HALF_MAX;
}

/*
 * The smallest class all of whose holes have at least so many pages, of which
 * there is one; it may be one beyond the last, CLASS_NONE.
 */
static inline unsigned
space_class_up(vsize_t pages)
{
	return space_class(pages - 1) + 1;
}

/* The smallest number of pages of a hole of that class. */
static inline vsize_t
space_class_pages(unsigned cls)
{
	unsigned half = cls - CLASS_EXACT;

	if (cls <= CLASS_EXACT)		/* 32 itself is exact: [33, 47] */
		return cls + 1;
	if (cls >= CLASS_WHOLE0)
		return (vsize_t)1 << (CLASS_HALF_MAX + (cls - CLASS_WHOLE0));
	return (vsize_t)(2 + half % 2) << (CLASS_EXACT_LOG - 1 + half / 2);
}

static inline struct vm_map_entry *
vme_of(struct rb_node *n)
{
	return (struct vm_map_entry *)n;	/* vme_rb comes first */
}

static inline struct vm_map_entry *
vme_left(const struct vm_map_entry *e)
{
	return vme_of(e->vme_rb.rb_left);
}

static inline struct vm_map_entry *
vme_right(const struct vm_map_entry *e)
{
	return vme_of(e->vme_rb.rb_right);
}

static inline struct vm_map_entry *
vme_parent(const struct vm_map_entry *e)
{
	return vme_of(rb_parent(&e->vme_rb));
}

/* The hole behind an entry is [vme_end, vme_hole_end). */
static inline vaddr_t
vme_hole_end(const struct vm_map_entry *e)
{
	return e->vme_end + e->vme_gap;
}

/* The region is [vme_start(), vme_end); the sentinel's has no length. */
static inline vaddr_t
vme_start(const struct vm_map_entry *e)
{
	return e->vme_prev != NULL ? vme_hole_end(e->vme_prev) : e->vme_end;
}

/* The pages that may be touched: the region less its guards. */
static inline vaddr_t
vme_usable_start(const struct vm_map_entry *e)
{
	return vme_start(e) + ptoa(e->vme_guard_lo);
}

static inline vaddr_t
vme_usable_end(const struct vm_map_entry *e)
{
	return e->vme_end - ptoa(e->vme_guard_hi);
}

/* --- vm_map_space.c: holes.  The map's lock is held for writing. --- */

/* A request, checked and with every default filled in; bytes. */
struct space_request {
	vsize_t		sr_need;	/* guards included */
	vsize_t		sr_align;	/* at least PAGE_SIZE */
	vsize_t		sr_lead;	/* leading guard: what is behind it is
					   to be aligned */
	vaddr_t		sr_min, sr_max;	/* window */
	enum vm_map_policy sr_policy;
};

/* An empty map: the sentinel, and one hole. */
void	space_init(struct vm_map *);

/*
 * Choose a place.
 * => the entry in the hole behind which it lies, with *start set; or NULL
 * => changes nothing but the statistics
 */
struct vm_map_entry *space_find(struct vm_map *, const struct space_request *,
	    vaddr_t *start);

/*
 * The first entry that ends above addr, NULL if there is none: the one that
 * holds addr, or the one behind the hole that does.
 */
struct vm_map_entry *space_above(const struct vm_map *, vaddr_t addr);
/* The last that ends at or below addr: the one before it. */
struct vm_map_entry *space_before(const struct vm_map *, vaddr_t addr);

/*
 * Put e, as [start, vme_end), which lies in the hole behind pred, into tree
 * and list / take it out again.
 */
void	space_link(struct vm_map *, struct vm_map_entry *e, vaddr_t start,
	    struct vm_map_entry *pred);
void	space_unlink(struct vm_map *, struct vm_map_entry *e);

/* The hole behind e is now of gap bytes: e or what follows was trimmed. */
void	space_resize(struct vm_map_entry *e, vsize_t gap);

/* The classes of all holes in e's subtree. */
uint64_t space_mask(const struct vm_map_entry *e);

/* Does the hole behind e, clipped to the window, hold the request? */
bool	space_fits(const struct vm_map_entry *e, const struct space_request *,
	    vaddr_t *start);

/* --- vm_map_entry.c: where entries come from. --- */

/*
 * How many entries must stay behind after any taking, so that the store can
 * grow.  Derived there.
 */
#ifndef ENTRY_RESERVE
#define ENTRY_RESERVE	1
#endif

/* Entries that are in no map hang together by their left pointers. */
static inline void
entry_push(struct vm_map_entry **chain, struct vm_map_entry *e)
{
	e->vme_rb.rb_left = *chain == NULL ? NULL : &(*chain)->vme_rb;
	*chain = e;
}

static inline struct vm_map_entry *
entry_pop(struct vm_map_entry **chain)
{
	struct vm_map_entry *e = *chain;

	KASSERT(e != NULL);
	*chain = vme_left(e);
	return e;
}

/*
 * Take n entries, chained.
 * => no lock held; NULL when there are none and no frame for more
 */
struct vm_map_entry *entry_get(unsigned n);
/* Give a chain back: no lock of the store's held; never fails. */
void	entry_put(struct vm_map_entry *chain);

void	entry_bootstrap(void);
/* For the tests: in the store now; ever put into it; pages it has. */
struct entry_stats {
	unsigned long	es_free, es_total, es_pages;
};
void	entry_stats(struct entry_stats *);

/* --- vm_map.c, for the rest of vm_map*.c and vm_kmem.c --- */

/*
 * Find space for an entry that is the caller's and filled in but for its
 * place, and link it / unlink an entry, which is the caller's again.
 * => takes the map's lock; place: 0 or ENOMEM
 */
int	map_place(struct vm_map *, const struct space_request *,
	    struct vm_map_entry *, vaddr_t *start);
void	map_displace(struct vm_map *, struct vm_map_entry *);

/* Link and unlink, with the counters; the map's lock is held for writing. */
void	map_link_locked(struct vm_map *, struct vm_map_entry *,
	    vaddr_t start, struct vm_map_entry *pred);
void	map_unlink_locked(struct vm_map *, struct vm_map_entry *);

/* Is [start, end) a range of whole pages in the map, and not empty? */
bool	map_range_ok(const struct vm_map *, vaddr_t start, vaddr_t end);

/* Check a request and fill in its defaults: 0 or EINVAL. */
int	map_request(const struct vm_map *, const struct vm_map_request *,
	    struct space_request *);

/*
 * User maps: join e with equal neighbours; the entries that this makes free
 * go to the chain *rest, for the caller to put back after unlocking.
 */
void	map_join_locked(struct vm_map *, struct vm_map_entry *e,
	    struct vm_map_entry **rest);

/* Could a and the entry behind it be one? */
bool	map_joinable(const struct vm_map *, const struct vm_map_entry *a);

/*
 * The two halves of giving a kernel region back: find it and mark it dying,
 * so that nobody else gives it back or gets its addresses; and, once its
 * pages are gone, drop it.
 * => begin: the errors of vm_map_free
 */
int	vm_map_free_begin(struct vm_map *, vaddr_t addr, vsize_t size,
	    struct vm_map_entry **);
void	vm_map_free_end(struct vm_map *, struct vm_map_entry *);

/*
 * Visits: nodes whose memory a search reads, counted where the tests and the
 * benchmarks ask for it by compiling with VM_SPACE_COUNT.
 */
#ifdef VM_SPACE_COUNT
extern unsigned long space_visits;
#define SPACE_VISIT(e)	((void)(space_visits += (e) != NULL))
#else
#define SPACE_VISIT(e)	((void)0)
#endif

#endif
