/*
 * The inside of the slab layer, for kmem_*.c, kmalloc*.c, the debugger and
 * the tests.  The theory opens kmem_cache.c.
 *
 * Fields are guarded by
 *	(c)  the cache's own kc_lock
 *	(p)  the CPU that they belong to (machine/vmcpu.h)
 *	(l)  the list of caches' lock (kmem_cache.c)
 *	     and those without a letter do not change after creation.
 */
#ifndef VM_KMEM_CACHE_IMPL_H
#define VM_KMEM_CACHE_IMPL_H

#include <machine/vmcpu.h>

#include <vm/kmem_cache.h>
#include <vm/kmem_debug.h>
#include <vm/pmap.h>
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
 * larger slabs unused.  So do slabs of 28 objects or more: 8 % more pages at
 * its peak, for 7 % of the time of the first replay (make bench-slab).
 */
#define KMEM_WASTE		8u

/* Colours differ by a line of a processor's cache, or else make no odds. */
#define KMEM_COLOR_STEP		64u

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
	char		 *sl_first;	/* object 0: kmem_slab_base + colour +
					   kc_obj_off */
	char		 *sl_twin;	/* (c) other pages that show the same
					   frames (kmem_mesh.c), or NULL */
	uint16_t	  sl_inuse;	/* (c) objects out */
	uint16_t	  sl_color;	/* in bytes */
	uint32_t	  sl_words;	/* (c) bit w: sl_free[w] is not 0 */
	uint32_t	  sl_free[];	/* (c) bit i: object i is free; behind
					   the last word a tag byte for each
					   object, in caches with KMD_CHECK */
};

/*
 * A tag says who has the object: nobody (it may be in a magazine, or in the
 * slab), the cache's client, or in the heap's caches whose type it is.  It is
 * the object's holder's to write.
 */
#define KMEM_TAG_NONE	0
#define KMEM_TAG_OUT	1
#define KMEM_TAG_MARK	0x80	/* besides: the leak scan was there */

/*
 * A magazine: free objects of one cache, taken and put at the end.  What is
 * in front of the first is NULL, so that the object put last can be looked at
 * without a question.
 */
struct kmem_mag {
	uintptr_t	 m_link;	/* (c) the next of a list, encoded */
	uint32_t	 m_check;	/* (c) of that */
	uint16_t	 m_n;		/* rounds, unless it is loaded */
	uint16_t	 m_size;	/* room for rounds */
	void		*m_none;	/* NULL */
	void		*m_round[];
};

/* All but samples, which are looked for when a magazine is empty. */
#define KMD_WATCH	(~KMD_SAMPLE)

/*
 * What a CPU has of a cache: the loaded magazine, and the one before it.
 *
 *	 cc_mag	    cc_first		cc_top		    cc_end
 *	   |header|NULL|round|round|round|	|	|	|
 *
 * Where none is loaded, all are NULL: it is empty, and it is full.
 */
struct kmem_cpu {
	void		**cc_top;	/* (p) where the next round is put */
	void		**cc_first;	/* (p) the same when it is empty, */
	void		**cc_end;	/* (p) and when it is full */
	struct kmem_mag	 *cc_mag;	/* (p) */
	struct kmem_mag	 *cc_prev;	/* (p) */
	unsigned	  cc_prev_n;	/* (p) its rounds */
	unsigned	  cc_debug;	/* kc_debug & KMD_WATCH, at hand */
	unsigned long	  cc_allocs;	/* (p) objects given out here, modulo
					   the word; unless kc_allocs counts */
} __attribute__((__aligned__(VM_CPU_ALIGN)));

/* Magazines of so many words, header included; 0: none. */
#define KMEM_MAG_WORDS_MIN	8u
#define KMEM_MAG_WORDS_MAX	128u
#define KMEM_MAG_HEADER		(sizeof(struct kmem_mag) / sizeof(void *))

/* Partial slabs are kept in so many lists, by how much of them is out. */
#define KMEM_BINS		8u

/* Bytes of a header off the slab: one word, and tags for its objects. */
#define KMEM_OFF_SIZE	roundup2(offsetof(struct kmem_slab, sl_free) + \
			    sizeof(uint32_t) + KMEM_OFF_MAXOBJ, sizeof(void *))

#define KC_HEAP		0x1u	/* one of kmalloc's classes */
#define KC_ONSLAB	0x2u	/* never an off-slab header (the cache of
				   headers: it would need itself) */
#define KC_OFFSLAB	0x4u	/* headers come from the cache of headers */
#define KC_STATIC	0x8u	/* part of the system: not to be destroyed */

#define KC_NOMAG	0x10u	/* no magazines: what they are made of */
#define KC_MESH		0x20u	/* two slabs may share frames (KM_MESH) */

struct kmem_cache {
	struct kmem_cpu	 kc_cpu[VM_NCPU_QUICK];	/* from VM_NCPU on nobody's:
						   never loaded */

	/* The depot. */
	struct vm_mtx	 kc_lock;
	struct kmem_mag	*kc_full_mags;	/* (c) with rounds */
	struct kmem_mag	*kc_empty_mags;	/* (c) without */
	unsigned	 kc_nfull, kc_nempty_mags;	/* (c) of these */
	unsigned	 kc_min_full, kc_min_empty;	/* (c) the least of each
					   since the last reaping */
	unsigned long	 kc_rounds;	/* (c) in the depot's magazines */
	unsigned	 kc_mag_words;	/* (c) of new magazines; 0: none */
	unsigned	 kc_mag_want;	/* (c) magazines that frees lacked */
	unsigned	 kc_contended;	/* (c) found the lock taken */

	/* The slabs. */
	struct kmem_link kc_partial[KMEM_BINS];	/* (c) some objects out, some
					   not; the fullest last */
	uint32_t	 kc_bins;	/* (c) bit b: kc_partial[b] has slabs */
	struct kmem_link kc_empty;	/* (c) none out; newest first */
	struct kmem_link kc_full;	/* (c) all out */
	unsigned long	 kc_nempty;	/* (c) slabs on kc_empty */
	unsigned long	 kc_nslabs;	/* (c) on all three */
	unsigned long	 kc_inuse;	/* (c) objects out of their slabs */
	unsigned long	 kc_min_empty_slabs;	/* (c) since the last reaping */

	size_t		 kc_stride;	/* from object to object */
	size_t		 kc_obj_off;	/* to it from its stride's begin */
	size_t		 kc_slab_size;	/* bytes, whole pages */
	size_t		 kc_hdr_off;	/* where the header is, on the slab */
	unsigned	 kc_per_slab;	/* objects */
	unsigned	 kc_nwords;	/* of sl_free */
	unsigned	 kc_bin_shift;	/* bin = objects out >> this */
	unsigned	 kc_reserve;	/* free objects kept back */
	unsigned	 kc_debug;	/* KMD_* */
	unsigned	 kc_flags;	/* KC_* */
	unsigned	 kc_class;	/* kmalloc's, from 1; or 0 */
	/* Who counts what goes out; NULL: each CPU (cc_allocs). */
	unsigned long	 (*kc_allocs)(const struct kmem_cache *);
	int		 kc_window;	/* KM_SLAB or KM_HEAP */
	size_t		 kc_align;
	size_t		 kc_color_max;	/* the largest colour, in bytes */
	size_t		 kc_color_step;	/* from one to the next */
	size_t		 kc_color;	/* (c) of the next slab */

	const char	*kc_name;
	size_t		 kc_size;	/* as asked for */
	kmem_ctor_t	*kc_ctor;
	kmem_dtor_t	*kc_dtor;
	void		*kc_arg;

	uint64_t	 kc_fails;			/* (c) */
	uint64_t	 kc_grown, kc_shrunk;		/* (c) */
	uint64_t	 kc_meshed;	/* (c) of those that went: twins */

	struct kmem_link kc_all;	/* (l) the caches, oldest first */
	unsigned	 kc_holds;	/* (l) reapers that look at it */
	bool		 kc_claimed;	/* (l) by who destroys it */
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

/* Somebody wrote over them, or over a slab's header.  => kmem_report.c */
void	kmem_link_torn(const struct kmem_link *) __dead2;
void	kmem_slab_torn(const struct kmem_cache *, const struct kmem_slab *)
	    __dead2;

/*
 * Where a header lies behind its slab's objects an overflow can reach it: no
 * link is followed to write to where its neighbour does not link back from.
 */
static inline void
kmem_link_remove(struct kmem_link *l)
{
	if (__builtin_expect(l->kl_next->kl_prev != l ||
	    l->kl_prev->kl_next != l, 0))
		kmem_link_torn(l);
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

/* The first byte of its pages. */
static inline char *
kmem_slab_base(const struct kmem_cache *kc, const struct kmem_slab *sl)
{
	return sl->sl_first - sl->sl_color - kc->kc_obj_off;
}

static inline void *
kmem_slab_object(const struct kmem_cache *kc, const struct kmem_slab *sl,
    unsigned i)
{
	return sl->sl_first + i * kc->kc_stride;
}

/*
 * The object that ptr points into, by the slab's own addresses or its twin's;
 * false: into none.
 */
static inline bool
kmem_slab_index(const struct kmem_cache *kc, const struct kmem_slab *sl,
    const void *ptr, unsigned *index, size_t *off)
{
	const size_t size = kc->kc_per_slab * kc->kc_stride;
	/* Below the first object this wraps, and is too large. */
	size_t d = (uintptr_t)ptr - (uintptr_t)sl->sl_first;

	if (d >= size && sl->sl_twin != NULL)
		d = (uintptr_t)ptr - (uintptr_t)sl->sl_twin - sl->sl_color -
		    kc->kc_obj_off;
	if (d >= size)
		return false;
	/* Both fit in 32 bits, where dividing is quicker. */
	*index = (uint32_t)d / (uint32_t)kc->kc_stride;
	*off = d - *index * kc->kc_stride;
	return true;
}

static inline bool
kmem_slab_is_free(const struct kmem_slab *sl, unsigned i)
{
	return (__atomic_load_n(&sl->sl_free[i / 32], __ATOMIC_RELAXED) &
	    1u << i % 32) != 0;
}

/* Has a client of the cache the object?  Without KMD_CHECK: as far as known. */
static inline bool
kmem_slab_is_out(const struct kmem_cache *kc, struct kmem_slab *sl,
    unsigned i)
{
	if (kmem_slab_is_free(sl, i))
		return false;
	return !(kc->kc_debug & KMD_CHECK) || __atomic_load_n(
	    &kmem_slab_tags(kc, sl)[i], __ATOMIC_RELAXED) != KMEM_TAG_NONE;
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
 * => no lock: it is true while ptr is the caller's and nothing is meshed
 */
struct vm_page *kmem_page(const void *ptr);

/*
 * The frame of a slab that ptr points into, or NULL.  A frame is marked
 * VM_PAGE_SLAB for just as long as it is part of one.
 */
static inline const struct vm_page *
kmem_slab_page(const void *ptr)
{
	const struct vm_page *pg;
	paddr_t pa;

	if ((vaddr_t)ptr - VM_HEAP_MIN >= VM_SLAB_MAX - VM_HEAP_MIN ||
	    !pmap_kextract((vaddr_t)ptr, &pa))
		return NULL;
	pg = &vm_frames.vf_page[pa >> PAGE_SHIFT];
	return pg->pg_flags & VM_PAGE_SLAB ? pg : NULL;
}

/*
 * Which of kmalloc's classes a page of the heap window is of, a byte a page:
 * 0 is none of them, one whose objects are watched (KMD_WATCH), or not known
 * here.  The table covers as many pages as there are frames; the map takes the
 * lowest hole that fits, so what lies above is rare.
 */
struct kmem_classes {
	uint8_t		*kp_class;
	vsize_t		 kp_npages;
};
extern struct kmem_classes kmem_classes;

/* The page's number, by which the table has it if that is long enough. */
static inline vsize_t
kmem_class_at(const void *ptr)
{
	return ((vaddr_t)ptr - VM_HEAP_MIN) >> PAGE_SHIFT;
}

static inline unsigned
kmem_class_of(const void *ptr)
{
	const vsize_t i = kmem_class_at(ptr);

	return i < kmem_classes.kp_npages ? kmem_classes.kp_class[i] : 0;
}

/* What the table has for a slab of kc. */
static inline uint8_t
kmem_class_quick(const struct kmem_cache *kc)
{
	return kc->kc_debug & KMD_WATCH ? 0 : (uint8_t)kc->kc_class;
}
void	kmem_class_set(vaddr_t base, vsize_t npages, uint8_t class);
/* After vm_phys and kernel_map; no memory for it: nothing is known. */
void	kmem_class_bootstrap(void);

/* The slab that it is part of. */
static inline struct kmem_slab *
kmem_slab_find(const void *ptr)
{
	const struct vm_page *pg = kmem_slab_page(ptr);

	return pg != NULL ? pg->pg_slab : NULL;
}
_Static_assert(VM_HEAP_MAX == VM_SLAB_MIN, "the windows do not touch");

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
/*
 * Up to n objects, those at the lowest addresses.
 * => how many: fewer when it is full; cache lock held
 */
unsigned kmem_slab_take(struct kmem_cache *, struct kmem_slab *, void **obj,
	    unsigned n);
/* Is obj an object that is out?  Then *index is set. */
enum kmem_verdict kmem_slab_judge(const struct kmem_cache *,
	    const struct kmem_slab *, const void *obj, unsigned *index);
/* => cache lock held; nothing is changed unless it returns KMEM_OBJECT */
enum kmem_verdict kmem_slab_put(struct kmem_cache *, struct kmem_slab *,
	    const void *obj);
/* What is out of b is out of a.  => cache lock held */
void	kmem_slab_merge(const struct kmem_cache *, struct kmem_slab *a,
	    const struct kmem_slab *b);

/*
 * kmem_slablist.c: the slabs of a cache.
 */
void	kmem_slabs_init(struct kmem_cache *);
/*
 * Up to n objects from the slabs that there are, from the fullest.
 * => how many: fewer when there are no more, or what is left is reserved and
 *    `reserve` does not say that it may be taken
 * => cache lock held
 */
unsigned kmem_slabs_take(struct kmem_cache *, bool reserve, void **obj,
	    unsigned n);
/*
 * Put n objects back, which may be any pointers.
 * => one that is none of the cache's that is out, or NULL; cache lock held
 */
const void *kmem_slabs_put(struct kmem_cache *, void *const *obj, unsigned n);
/* One more slab.  => no lock held; false: no memory, or in an interrupt */
bool	kmem_slabs_grow(struct kmem_cache *, int flags);
/*
 * Take the oldest empty slabs above `keep` off the cache, into `out`, and
 * destroy what is there, with no lock held.
 * => the number of pages
 */
void	kmem_slabs_trim(struct kmem_cache *, unsigned long keep,
	    struct kmem_link *out);
unsigned long kmem_slabs_destroy(struct kmem_cache *, struct kmem_link *);
/*
 * What is out of b is out of a from now on, and b is no slab any more.
 * => cache lock held; each object is free in one of them at least
 */
void	kmem_slabs_merge(struct kmem_cache *, struct kmem_slab *a,
	    struct kmem_slab *b);

/*
 * kmem_mesh.c: two sparse slabs on the frames of one.
 */

/* Wherever that is possible.  => no lock held; the number of pages */
unsigned long kmem_mesh(struct kmem_cache *);
/* The slab goes: first its twin.  => no lock held, the slab on no list */
void	kmem_mesh_undo(struct kmem_cache *, struct kmem_slab *);

/*
 * kmem_depot.c: magazines.
 */

/*
 * What the loaded magazine could not do.
 * => the CPU is not held
 */
void	*kmem_depot_alloc(struct kmem_cache *, int flags);
void	kmem_depot_free(struct kmem_cache *, void *obj);
/* All magazines' rounds go to their slabs, the magazines back. */
void	kmem_depot_purge(struct kmem_cache *);
/* Only those of the depot that nobody needed since the last time. */
void	kmem_depot_reap(struct kmem_cache *);
/* Smaller magazines from now on. */
void	kmem_depot_shrink(struct kmem_cache *);
/* Objects in magazines.  => cache lock held; a guess while CPUs are at it */
unsigned long kmem_depot_rounds(const struct kmem_cache *);
void	kmem_depot_init(struct kmem_cache *);
void	kmem_depot_bootstrap(void);
/* The one behind mag in its list.  => checked: what is none is a panic */
struct kmem_mag *kmem_mag_next(const struct kmem_mag *);

/* Rounds in the loaded magazine, and room for them.  => the CPU is held */
static inline unsigned
kmem_cpu_n(const struct kmem_cpu *cc)
{
	return (unsigned)(cc->cc_top - cc->cc_first);
}

static inline unsigned
kmem_cpu_size(const struct kmem_cpu *cc)
{
	return (unsigned)(cc->cc_end - cc->cc_first);
}

/*
 * An object of the loaded magazine.
 * => the CPU is held; not counted; false: there is none, *obj is as it was
 */
static inline bool
kmem_cpu_pop(struct kmem_cpu *cc, void **obj)
{
	void **top = cc->cc_top;

	if (__builtin_expect(top == cc->cc_first, 0))
		return false;
	*obj = *--top;
	cc->cc_top = top;
	return true;
}

/* The same, counted. */
static inline bool
kmem_cpu_get(struct kmem_cpu *cc, void **obj)
{
	if (!kmem_cpu_pop(cc, obj))
		return false;
	cc->cc_allocs++;
	return true;
}

/* => false: it is full, or obj is what was put there last */
static inline bool
kmem_cpu_push(struct kmem_cpu *cc, void *obj)
{
	void **top = cc->cc_top;

	if (__builtin_expect(top == cc->cc_end, 0))
		return false;
	if (__builtin_expect(top[-1] == obj, 0))
		return false;
	*top = obj;
	cc->cc_top = top + 1;
	return true;
}

/*
 * kmem_cache.c, for kmalloc and the slabs.
 */

/* A cache in the caller's memory.  => false: senseless arguments */
bool	kmem_cache_init(struct kmem_cache *, const struct kmem_cache_args *,
	    unsigned kc_flags);
/* An object goes out to who is named by the tag, or comes back from there. */
void	*kmem_cache_get(struct kmem_cache *, size_t size, int flags,
	    uint8_t tag);
void	kmem_cache_put(struct kmem_cache *, void *obj);
struct kmem_slab *kmem_header_alloc(int flags);
void	kmem_header_free(struct kmem_slab *);
struct kmem_link *kmem_cache_list(void);
/* Which only a walk can find: a panic that says what obj is. */
void	kmem_cache_misuse(const struct kmem_cache *, const char *func,
	    const void *obj) __dead2;

/*
 * kmem_debug.c: what costs nothing but one test while it is off (kc_debug).
 */

/* An allocation, as it was asked for. */
struct kmem_use {
	size_t		 u_size;	/* bytes; 0: the cache's */
	const void	*u_caller;	/* where it returns to */
	int		 u_flags;
	uint8_t		 u_tag;
	bool		 u_refill;	/* the magazine could not be used */
};

/*
 * obj goes out.
 * => what the client gets for it, zeroed if that is wanted; NULL: the
 *    constructor's refusal, and obj is back among the free ones
 */
void	*kmem_debug_out(struct kmem_cache *, void *obj,
	    const struct kmem_use *);
/*
 * obj comes back from who is named by the tag; caller: as u_caller.
 * => KMEM_OBJECT: and what it has become may be put where free objects are;
 *    else nothing has happened
 */
enum kmem_verdict kmem_debug_in(struct kmem_cache *, void **obj, uint8_t tag,
	    const void *caller);
/* A slab's objects begin to be free, or end to be. */
void	kmem_debug_slab(const struct kmem_cache *, const struct kmem_slab *,
	    bool begin);

/* Surely no sample, and nothing else is watched for? */
static inline bool
kmem_debug_plain(const struct kmem_cache *kc, const void *obj)
{
	return kc->kc_debug == 0 || (kc->kc_debug == KMD_SAMPLE &&
	    (((uintptr_t)obj + kc->kc_stride) & PAGE_MASK) != 0);
}

/*
 * kmem_cache_ddb.c: what ptr is, in words, for a panic or a person.
 * => takes no lock, touches nothing through ptr
 */
void	kmem_describe(char *buf, size_t size, const void *ptr);

#endif
