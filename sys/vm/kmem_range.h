/*
 * The range cache: ranges of pages that were kmem_free'd lately, still
 * mapped, for the next kmem_alloc of the same window, size and guards.  The
 * theory opens kmem_range.c; kmem_alloc and kmem_free are its only users.
 */
#ifndef VM_KMEM_RANGE_H
#define VM_KMEM_RANGE_H

#include <vm/vm_map.h>

/* Ranges of 1 to so many pages are kept: what slabs are made of. */
#define KMEM_RANGE_PAGES	16
#define KMEM_RANGE_MOST		16	/* of a window and size */

/* The windows of kernel_map that kmem_alloc knows. */
enum kmem_window {
	KMEM_HEAP,		/* [VM_HEAP_MIN, VM_HEAP_MAX) */
	KMEM_SLAB,		/* [VM_SLAB_MIN, VM_SLAB_MAX) */
	KMEM_MISC,		/* [VM_MISC_MIN, VM_MISC_MAX) */
	KMEM_NWINDOWS		/* none of them */
};

/* What is asked for. */
struct kmem_range_want {
	enum kmem_window rw_window;
	vsize_t		 rw_pages;
	vsize_t		 rw_align;	/* a power of two of bytes, or 0 */
	unsigned	 rw_fence;	/* VM_PAGE_FENCE_* (vm_phys.h) */
};

/*
 * A range that is just so, mapped read-write, with whatever is in it; 0:
 * there is none.
 * => owner: as vr_owner
 */
vaddr_t	kmem_range_take(const struct kmem_range_want *, const char *owner);

/*
 * A range that is being freed.  It is kept only if it is exactly one that
 * was marked VM_PAGE_RANGE when it was allocated, and there is room.
 * => KMEM_RANGE_NOT: nothing has happened, the caller goes on to the map
 * => KMEM_RANGE_TWICE: it is kept already, and stays so
 */
enum kmem_range_put {
	KMEM_RANGE_NOT,
	KMEM_RANGE_KEPT,
	KMEM_RANGE_TWICE
};
enum kmem_range_put kmem_range_put(vaddr_t, vsize_t pages);

/*
 * The allocation that begins there is not to be kept when it is freed: it is
 * wired or protected from now on, and that stands in the map alone.
 * => false: it is a range that is kept, and so nobody's to change
 */
bool	kmem_range_forbid(vaddr_t);

/* Is the range that begins there kept, or on its way from here to the map? */
bool	kmem_range_kept(vaddr_t);

/*
 * Free all that is kept / what was not needed lately.
 * => the number of pages
 * => takes the map's lock; not from an interrupt
 * => tick: to be called about once a second; every KMEM_RANGE_TICKS, and
 *    when frames are low, it does something
 */
unsigned long kmem_range_drain(void);
unsigned long kmem_range_tick(void);
#define KMEM_RANGE_TICKS	1500	/* 15 seconds (vm_host_ticks) */

/*
 * Keep ranges from now on, or no longer: then all are freed.
 * => was it on before?
 */
bool	kmem_range_enable(bool);

/*
 * Keep none while memory is reclaimed, or while frames are low.
 * => takes no lock, frees nothing
 */
void	kmem_range_reclaiming(bool);
void	kmem_range_frames_low(bool);

struct kmem_range_stats {
	bool		krs_on;
	unsigned long	krs_pages, krs_max;	/* kept; at most */
	unsigned long	krs_high;		/* the most there were */
	uint64_t	krs_hits, krs_misses;	/* takes */
	uint64_t	krs_kept, krs_full;	/* puts: kept; no room, low */
	uint64_t	krs_freed;		/* to the map after all */
};
void	kmem_range_stats(struct kmem_range_stats *);

/*
 * Of one window and size, or with window KMEM_NWINDOWS of all that have
 * guards, whatever their window and size: kept now, at most, and takes.
 */
struct kmem_range_bin {
	unsigned	krb_n, krb_max;
	unsigned	krb_pages;
	unsigned	krb_idle;	/* not needed since the last tick */
	uint64_t	krb_hits, krb_misses;
};
void	kmem_range_bin(enum kmem_window, vsize_t pages,
	    struct kmem_range_bin *);

/*
 * What a bin keeps, the oldest first, at most max of it.
 * => how many
 */
struct kmem_range_entry {
	vaddr_t		kre_va;
	vsize_t		kre_pages;
	unsigned	kre_fence;	/* VM_PAGE_FENCE_* */
};
unsigned kmem_range_list(enum kmem_window, vsize_t pages,
	    struct kmem_range_entry *, unsigned max);

/*
 * Who has a region of kernel_map now.  vi_owner is who had its addresses from
 * the map; a range that was kept may have gone to somebody else since.
 * => never NULL; for printing only
 */
const char *kmem_range_owner(const struct vm_map_info *);

/* Does va lie in a range that is kept?  For printing only. */
bool	kmem_range_holds(vaddr_t);

/* Walk everything: NULL, or what is wrong (a static string). */
const char *kmem_range_check(void);

/* The frames are there, and nothing was allocated yet. */
void	kmem_range_bootstrap(void);

#endif
