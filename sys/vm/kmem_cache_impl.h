/*
 * The inside of the slab layer, for kmem_*.c, kmalloc*.c, the debugger and
 * the tests.  The theory opens kmem_cache.c.
 *
 * Fields are guarded by
 *	(c)  the cache's own kc_lock
 *	(l)  the list of caches' lock (kmem_cache.c)
 *	     and those without a letter do not change after creation.
 */
#ifndef VM_KMEM_CACHE_IMPL_H
#define VM_KMEM_CACHE_IMPL_H

#include <vm/kmem_cache.h>
#include <vm/vm_phys.h>

/*
 * Objects of a slab: 32 words of free bits, whose summary is one word more,
 * so that a free object is two bit scans away.
 */
#define KMEM_SLAB_MAXOBJ	1024u

/*
 * A header off the slab has one word of bits: where more than 32 objects fit
 * in a slab, a header on it costs less than 1/32 of an object each.
 */
#define KMEM_OFF_MAXOBJ		32u

/*
 * Pages of a slab: what the layout tries by itself, and what one may ask
 * for.  At 8 pages the tail is below 1/9 for any object of up to a page.
 */
#define KMEM_SLAB_TRYPAGES	8u
#define KMEM_SLAB_MAXPAGES	64u

/*
 * The layout takes the fewest pages that waste at most 1/KMEM_WASTE of what
 * they hold: Bonwick's bound.  On the recording of a Linux build (test_trace)
 * 1/16 holds as many pages; 1/4 wastes more, and 1/32 leaves more of its
 * larger slabs unused.
 */
#define KMEM_WASTE		8u

/* Empty slabs that a cache keeps: one, against bouncing on a slab's edge. */
#define KMEM_EMPTY_KEEP		1u

/* A ring of these, one of which is the list itself. */
struct kmem_link {
	struct kmem_link *kl_next;
	struct kmem_link *kl_prev;
};

struct kmem_slab {
	struct kmem_link  sl_link;	/* (c) must be first */
	struct kmem_cache *sl_cache;
	char		 *sl_base;	/* its pages */
	char		 *sl_first;	/* object 0: base + colour */
	uint32_t	  sl_inuse;	/* (c) objects out */
	uint32_t	  sl_words;	/* (c) bit w: sl_free[w] is not 0 */
	uint32_t	  sl_free[];	/* (c) bit i: object i is free; behind
					   the last word a tag byte for each
					   object, in caches that have tags */
};

/* Bytes of a header off the slab: one word, and tags for its objects. */
#define KMEM_OFF_SIZE	roundup2(offsetof(struct kmem_slab, sl_free) + \
			    sizeof(uint32_t) + KMEM_OFF_MAXOBJ, sizeof(void *))

#define KC_TAGS		0x1u	/* a byte beside each object (kmalloc's) */
#define KC_ONSLAB	0x2u	/* never an off-slab header (the cache of
				   headers: it would need itself) */
#define KC_OFFSLAB	0x4u	/* headers come from the cache of headers */
#define KC_STATIC	0x8u	/* part of the system: not to be destroyed */

struct kmem_cache {
	struct vm_mtx	 kc_lock;
	struct kmem_link kc_partial;	/* (c) some objects out, some not */
	struct kmem_link kc_empty;	/* (c) none out; newest first */
	struct kmem_link kc_full;	/* (c) all out */
	unsigned long	 kc_nempty;	/* (c) slabs on kc_empty */
	unsigned long	 kc_nslabs;	/* (c) on all three */
	unsigned long	 kc_inuse;	/* (c) objects out */

	size_t		 kc_stride;	/* from object to object */
	size_t		 kc_slab_size;	/* bytes, whole pages */
	size_t		 kc_hdr_off;	/* where the header is, on the slab */
	unsigned	 kc_per_slab;	/* objects */
	unsigned	 kc_nwords;	/* of sl_free */
	unsigned	 kc_flags;	/* KC_* */
	int		 kc_window;	/* KM_SLAB or KM_HEAP */
	size_t		 kc_align;
	size_t		 kc_color_max;	/* the largest colour, in bytes */
	size_t		 kc_color;	/* (c) of the next slab */

	const char	*kc_name;
	size_t		 kc_size;	/* as asked for */
	kmem_ctor_t	*kc_ctor;
	kmem_dtor_t	*kc_dtor;
	void		*kc_arg;

	uint64_t	 kc_allocs, kc_frees, kc_fails;	/* (c) */
	uint64_t	 kc_grown, kc_shrunk;		/* (c) */

	struct kmem_link kc_all;	/* (l) the caches, oldest first */
	unsigned	 kc_holds;	/* (l) reapers that look at it */
};

/* What a pointer turns out to be when its cache looks. */
enum kmem_verdict {
	KMEM_OBJECT,		/* an object that is out: all is well */
	KMEM_NO_OBJECT,		/* not where an object begins */
	KMEM_FREE_OBJECT,	/* an object that nobody has */
	KMEM_OTHER_TAG,		/* an object that somebody else has */
};

static inline void
kmem_link_init(struct kmem_link *l)
{
	l->kl_next = l->kl_prev = l;
}

static inline bool
kmem_link_empty(const struct kmem_link *l)
{
	return l->kl_next == l;
}

static inline void
kmem_link_insert(struct kmem_link *where, struct kmem_link *l)
{
	l->kl_prev = where;
	l->kl_next = where->kl_next;
	where->kl_next->kl_prev = l;
	where->kl_next = l;
}

static inline void
kmem_link_remove(struct kmem_link *l)
{
	l->kl_prev->kl_next = l->kl_next;
	l->kl_next->kl_prev = l->kl_prev;
}

static inline struct kmem_slab *
kmem_link_slab(struct kmem_link *l)
{
	return container_of(l, struct kmem_slab, sl_link);
}

static inline uint8_t *
kmem_slab_tags(const struct kmem_cache *kc, struct kmem_slab *sl)
{
	return (uint8_t *)&sl->sl_free[kc->kc_nwords];
}

static inline void *
kmem_slab_object(const struct kmem_cache *kc, const struct kmem_slab *sl,
    unsigned i)
{
	return sl->sl_first + i * kc->kc_stride;
}

static inline bool
kmem_slab_is_free(const struct kmem_slab *sl, unsigned i)
{
	return (sl->sl_free[i / 32] & 1u << i % 32) != 0;
}

/*
 * kmem_pages.c: whole pages for slabs and for the heap's large blocks.
 */

/*
 * size bytes (whole pages) in the window that flags name.
 * => 0: no memory, or we are in an interrupt
 */
vaddr_t	kmem_pages_alloc(vsize_t size, int flags, const char *owner);
/* => from an interrupt: kept aside, given back by the next call outside */
void	kmem_pages_free(vaddr_t addr, vsize_t size);
/* Give back what was kept aside; the number of pages. */
unsigned long kmem_pages_drain(void);
void	kmem_pages_bootstrap(void);

/*
 * The frame behind ptr, if kmem_alloc gave it in one of our two windows.
 * => NULL for every other pointer; nothing is touched through it
 * => no lock: what it says stays true while ptr is the caller's
 */
struct vm_page *kmem_page(const void *ptr);
/* The slab that ptr points into, or NULL. */
struct kmem_slab *kmem_slab_find(const void *ptr);

/*
 * kmem_slab.c: one slab.
 */

/*
 * Lay slabs of kc out: pages of them, or as many as waste little (0).
 * => false: no object fits
 */
bool	kmem_slab_layout(struct kmem_cache *kc, unsigned pages);
/* => no lock held; NULL: no memory, or the constructor's refusal */
struct kmem_slab *kmem_slab_create(struct kmem_cache *, size_t color,
	    int flags);
/* => no lock held; the slab is on no list and empty */
void	kmem_slab_destroy(struct kmem_cache *, struct kmem_slab *);
/* => cache lock held; the slab is not full */
void	*kmem_slab_take(struct kmem_cache *, struct kmem_slab *, uint8_t tag);
/* Is obj an object that is out?  Then *index is set. */
enum kmem_verdict kmem_slab_judge(const struct kmem_cache *,
	    const struct kmem_slab *, const void *obj, unsigned *index);
/* => cache lock held; nothing is changed unless it returns KMEM_OBJECT */
enum kmem_verdict kmem_slab_put(struct kmem_cache *, struct kmem_slab *,
	    const void *obj, uint8_t tag);
/* The object that ptr points into; false: into none. */
bool	kmem_slab_index(const struct kmem_cache *, const struct kmem_slab *,
	    const void *ptr, unsigned *index, size_t *off);

/*
 * kmem_cache.c, for kmalloc and the slabs.
 */

/* A cache in the caller's memory.  => false: senseless arguments */
bool	kmem_cache_init(struct kmem_cache *, const struct kmem_cache_args *,
	    unsigned kc_flags);
void	*kmem_cache_alloc_tagged(struct kmem_cache *, int flags, uint8_t tag);
enum kmem_verdict kmem_cache_free_tagged(struct kmem_slab *, void *obj,
	    uint8_t tag);
struct kmem_slab *kmem_header_alloc(int flags);
void	kmem_header_free(struct kmem_slab *);
struct kmem_link *kmem_cache_list(void);

/*
 * kmem_cache_ddb.c: what ptr is, in words, for a panic or a person.
 * => takes no lock, touches nothing through ptr
 */
void	kmem_describe(char *buf, size_t size, const void *ptr);

#endif
