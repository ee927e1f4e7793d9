/*
 * kmem_cache: slabs of equal, constructed objects, after Bonwick (USENIX
 * Summer 1994).  Slabs come from kmem_alloc(kernel_map, …, KM_SLAB) and go
 * back the same way.
 */
#ifndef VM_KMEM_CACHE_H
#define VM_KMEM_CACHE_H

#include <vm/vm_kmem.h>

struct kmem_cache;

/*
 * Prepare an object / undo that.  Objects stay constructed between
 * kmem_cache_free and the next kmem_cache_alloc.
 * => ctor: 0, or an errno: then the allocation fails
 */
typedef int	kmem_ctor_t(void *obj, void *arg, int flags);
typedef void	kmem_dtor_t(void *obj, void *arg);

struct kmem_cache_args {
	const char	*ca_name;	/* kept, not copied */
	size_t		 ca_size;	/* bytes of an object, at least 1 */
	size_t		 ca_align;	/* power of two up to a page, 0: 8 */
	kmem_ctor_t	*ca_ctor;	/* or NULL */
	kmem_dtor_t	*ca_dtor;	/* or NULL */
	void		*ca_arg;	/* theirs */
	unsigned	 ca_slab_pages;	/* pages per slab; 0: chosen by waste */
	unsigned	 ca_reserve;	/* free objects that are kept back for
					   allocations with KM_RESERVE */
	int		 ca_flags;	/* KM_HEAP: slabs in the heap window;
					   KM_NOMAG: no magazines;
					   KM_MESH: an object keeps its address,
					   but not its frame (kmem_mesh.c) */
};

/*
 * => NULL: no memory (for the reserve, too), or senseless arguments (said in
 *    the log)
 */
struct kmem_cache *kmem_cache_create(const struct kmem_cache_args *);

/*
 * Return every slab and the cache itself.
 * => EBUSY when objects are still out: they are reported, and the cache goes
 *    on as it was
 * => waits for a reaper that is looking at it; EBUSY where nobody can wait
 * => not from an interrupt
 */
int	kmem_cache_destroy(struct kmem_cache *);

/*
 * => NULL when there is no memory (and KM_NOSLEEP, or nobody to wake us)
 * => KM_ZERO is for caches without a constructor
 * => KM_RESERVE never sleeps, and takes from the reserve before it fails: in
 *    a cache with a reserve of n, as long as fewer than n objects so allocated
 *    are out, it never does
 * => from an interrupt: what there is, never a new slab
 */
void	*kmem_cache_alloc(struct kmem_cache *, int flags);

/*
 * => a pointer that is not an object of this cache, or a free one, is a
 *    panic that names the cache, the pointer and what it is instead: at once
 *    with KMD_CHECK; without it when it is the object freed last, or at the
 *    latest when the object goes back to its slab
 * => NULL is ignored
 * => never allocates, may be called from an interrupt
 */
void	kmem_cache_free(struct kmem_cache *, void *obj);

/*
 * The same for n objects.
 * => kmem_cache_alloc_many: 0, or ENOMEM with none taken
 */
int	kmem_cache_alloc_many(struct kmem_cache *, unsigned n, void **objs,
	    int flags);
void	kmem_cache_free_many(struct kmem_cache *, unsigned n, void **objs);

/*
 * Empty the magazines of all CPUs, and return the empty slabs; the number of
 * pages that went back.  kmem_alloc calls for it by itself when it runs short.
 * => nothing happens in an interrupt
 */
unsigned long kmem_cache_reap(struct kmem_cache *);
unsigned long kmem_cache_reap_all(void);

/*
 * Return what was not needed lately: to be called about once a second, from
 * where one may free memory; every KMEM_REAP_TICKS it does something.
 * => the number of pages that went back
 */
#define KMEM_REAP_TICKS	1500	/* 15 seconds (vm_host_ticks) */
unsigned long kmem_reap_tick(void);

/*
 * What caches that are created from now on watch for (KMD_*, kmem_debug.h);
 * earlier options are forgotten.
 * => before kmem_cache_bootstrap, to have it for those of the heap too
 */
#define KMD_CHECK	0x01u	/* who frees what: double, foreign, interior */
void	kmem_debug_set(unsigned kmd);
unsigned kmem_debug_get(void);

struct kmem_cache_stats {
	const char	*cs_name;
	size_t		 cs_size;	/* as asked for */
	size_t		 cs_stride;	/* as laid out */
	unsigned	 cs_slab_pages;
	unsigned	 cs_per_slab;
	unsigned long	 cs_slabs, cs_empty_slabs;
	unsigned long	 cs_inuse;	/* objects out */
	unsigned long	 cs_cached;	/* free ones in magazines */
	unsigned	 cs_rounds;	/* in a magazine; 0: has none */
	uint64_t	 cs_allocs, cs_frees;	/* modulo the word; of the
						   heap's caches 2^32 */
	uint64_t	 cs_fails;
	uint64_t	 cs_grown, cs_shrunk;	/* slabs, ever */
	uint64_t	 cs_meshed;	/* of these, into another's frames */
};
void	kmem_cache_stats(struct kmem_cache *, struct kmem_cache_stats *);

/*
 * The caches in order of creation: NULL begins, NULL ends.
 * => takes no lock: for the debugger, and for who knows that no cache is
 *    made or destroyed meanwhile
 */
struct kmem_cache *kmem_cache_next(struct kmem_cache *);

/* The cache and the begin of the object that ptr points into, if any. */
bool	kmem_cache_find(const void *ptr, struct kmem_cache **, void **obj);

/*
 * NULL, or what is wrong (a static string).
 * => nobody may allocate or free in it meanwhile
 */
const char *kmem_cache_check(struct kmem_cache *);

/* After vm_map_bootstrap and vm_phys. */
void	kmem_cache_bootstrap(void);

#endif
