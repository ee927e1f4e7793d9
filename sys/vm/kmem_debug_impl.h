/*
 * The inside of the watching, for kmem_*.c, the debugger and the tests.
 */
#ifndef VM_KMEM_DEBUG_IMPL_H
#define VM_KMEM_DEBUG_IMPL_H

#include <vm/kmem_cache_impl.h>
#include <vm/kmem_debug.h>

/*
 * Bytes of an object in use that are its client's: those asked for where a
 * zone begins behind them, or the end of a page, and else the cache's.
 */
size_t	kmem_debug_usable(const struct kmem_cache *, const void *obj);

/* The records of the object that ptr points into, or NULL. */
const struct kmem_record *kmem_debug_records(const void *ptr);

/* Where the tag of obj is; NULL: no object of kc begins there. */
static inline uint8_t *
kmem_tag_at(const struct kmem_cache *kc, const void *obj)
{
	struct kmem_slab *sl = kmem_slab_find(obj);
	unsigned i;
	size_t off;

	if (sl == NULL || sl->sl_cache != kc ||
	    !kmem_slab_index(kc, sl, obj, &i, &off) || off != 0)
		return NULL;
	return &kmem_slab_tags(kc, sl)[i];
}

/* The same where tags are all that is watched; else NULL. */
static inline uint8_t *
kmem_check_at(const struct kmem_cache *kc, const void *obj)
{
	return (kc->kc_debug & KMD_WATCH) == KMD_CHECK ?
	    kmem_tag_at(kc, obj) : NULL;
}

/*
 * An object goes out, or comes back, where tags are all that is watched, and
 * all is well.  => false: nothing has happened; kmem_debug_out, kmem_debug_in
 * say why
 */
static inline bool
kmem_check_out(const struct kmem_cache *kc, const void *obj, uint8_t tag)
{
	uint8_t *where = kmem_check_at(kc, obj);

	if (where == NULL || *where != KMEM_TAG_NONE)
		return false;
	__atomic_store_n(where, tag, __ATOMIC_RELAXED);
	return true;
}

static inline bool
kmem_check_in(const struct kmem_cache *kc, const void *obj, uint8_t tag)
{
	uint8_t *where = kmem_check_at(kc, obj);

	/* In one exchange: of two who free at once, one comes too late. */
	return where != NULL && __atomic_compare_exchange_n(where, &tag,
	    KMEM_TAG_NONE, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* kmem_debug_in, which mostly is no more than that. */
static inline enum kmem_verdict
kmem_debug_back(struct kmem_cache *kc, void **obj, uint8_t tag,
    const void *caller)
{
	return kmem_check_in(kc, *obj, tag) ? KMEM_OBJECT :
	    kmem_debug_in(kc, obj, tag, caller);
}

/* What has more of an object than its tag. */
#define KMD_DRESSED	(KMD_REDZONE | KMD_POISON | KMD_AUDIT)

/*
 * What bytes say (as in Linux's poison.h): none of these is an address that
 * anything is mapped at, where four or eight of them are read as one.
 */
#define KMD_BYTE_FREE	0x6Bu	/* of a free object */
#define KMD_BYTE_NEW	0x5Au	/* of one that nobody has written to yet */
#define KMD_BYTE_ZONE	0xBBu	/* beside an object */

/*
 * A zone is at least so long: two words of the largest kind, so that the
 * next field of an array of structures written at falls into it.
 */
#define KMD_ZONE	16u
/* Objects aligned above this have no zone before them: it would double them. */
#define KMD_ZONE_ALIGN	64u

/*
 * kmem_audit.c: who did it, and when.
 */
#define KMD_FRAMES	8u	/* functions of the call chain */

struct kmem_record {
	vaddr_t		 r_pc[KMD_FRAMES];	/* ends with 0 when shorter */
	unsigned long	 r_tick;
	unsigned long	 r_sum;		/* of the rest; 0: never written */
};
#define KMD_ALLOCATED	0	/* index of the record of each object that */
#define KMD_FREED	1	/* says who did that last */

/* Fill it in, from the function on to which `caller` is the way back. */
void	kmem_record_take(struct kmem_record *, const void *caller);
/* Is it as it was written? */
bool	kmem_record_sound(const struct kmem_record *);
/* "allocated" at that tick, by whom: some lines of the log. */
void	kmem_record_log(const struct kmem_record *, const char *did);
/* Both of them.  => NULL: nothing is logged */
void	kmem_records_log(const struct kmem_record *);

/*
 * kmem_zone.c: where zones and records lie, and what is damaged.
 *
 *	stride
 *	|front zone|object ... asked for|zone behind ...|trail  |
 *	^          ^ kc_obj_off         ^ t_size
 */
struct kmem_trail {
	uint32_t	 t_size;	/* bytes asked for */
	uint32_t	 t_check;	/* the same, encoded */
	struct kmem_record t_record[2];	/* with KMD_AUDIT only */
};

struct kmem_damage {
	const char	*d_where;	/* in words */
	size_t		 d_distance;	/* bytes, as d_where counts them */
	uint8_t		 d_found, d_want;
	size_t		 d_count;	/* bytes that are not as they should */
};

/* Bytes from object to object, and from a stride's begin to the object. */
size_t	kmem_debug_stride(unsigned kmd, size_t size, size_t align,
	    size_t *obj_off);
/* NULL: the cache has none */
struct kmem_trail *kmem_trail(const struct kmem_cache *, const void *obj);
/* NULL: the cache keeps none */
const struct kmem_record *kmem_trail_records(const struct kmem_cache *,
	    const void *obj);

/* Bytes asked for, as far as that is known. */
size_t	kmem_trail_size(const struct kmem_cache *, const void *obj);

/* Write the zones of an object that is to be so long. */
void	kmem_zones_write(const struct kmem_cache *, void *obj, size_t size);
/* => true: they are as they were written */
bool	kmem_zones_sound(const struct kmem_cache *, const void *obj,
	    struct kmem_damage *);
/* Are n bytes at p all so?  Else the first that is not, from p on. */
bool	kmem_bytes_sound(const void *p, size_t n, uint8_t byte,
	    struct kmem_damage *);

/*
 * kmem_report.c: what was found, told.
 */

/* An object, who had it, and what is damaged about it; the end. */
void	kmem_debug_damage(const struct kmem_cache *, const void *obj,
	    size_t size, const struct kmem_record *, const struct kmem_damage *)
	    __dead2;

/*
 * kmem_guard.c: objects alone on their pages.
 *
 * Fields are guarded by (g) the guards' lock; those without a letter do not
 * change while the object is out.
 */
struct kmem_guard {
	struct kmem_link g_link;	/* (g) in use, or freed; first */
	struct kmem_cache *g_cache;
	void		*g_shadow;	/* the slab's, for which it stands */
	char		*g_obj;
	size_t		 g_size;	/* as asked for */
	vaddr_t		 g_base;	/* its pages, without the guard */
	vsize_t		 g_bytes;
	uint8_t		 g_tag;		/* as in slabs; NONE: freed */
	bool		 g_sample;	/* one of few */
	bool		 g_mark;	/* the leak scan's */
	struct kmem_record g_record[2];
};

/* From now on each n-th refill of a magazine gets one; 0: as by itself. */
void	kmem_guard_every(uint32_t n);
/* Is it this one's turn? */
bool	kmem_guard_turn(void);
/*
 * A place of its own for an object that goes out, in exchange for it.
 * => obj itself when none can be had: no memory, or in an interrupt
 * => no lock held; it is constructed if obj was to be
 */
void	*kmem_guard_out(struct kmem_cache *, void *obj,
	    const struct kmem_use *);
/*
 * The way back: obj becomes what it was given for.
 * => KMEM_OBJECT, or nothing has happened
 * => no lock held; from an interrupt its page stays mapped for a while
 */
enum kmem_verdict kmem_guard_in(struct kmem_guard *, void **obj, uint8_t tag,
	    const void *caller);
/* The one in use that ptr points into the pages of, or NULL. */
struct kmem_guard *kmem_guard_find(const void *ptr);
/* The same by a search: those that were freed lately, and guard pages, too. */
struct kmem_guard *kmem_guard_near(vaddr_t va);
/* Where va lies, seen from the object: "3 bytes behind the end of ..." */
void	kmem_guard_describe(const struct kmem_guard *, vaddr_t va, char *buf,
	    size_t size);
/* Those in use, in no order.  => the debugger's: takes no lock */
struct kmem_guard *kmem_guard_next(struct kmem_guard *);
/*
 * Forget those that were freed, all of them.
 * => the number of pages of addresses; no memory comes of it but the records'
 */
unsigned long kmem_guard_reap(unsigned long want);
void	kmem_guard_bootstrap(void);

#endif
