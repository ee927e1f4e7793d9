/*
 * Mistakes with objects, watched for.
 *
 * 1. What it is.  A cache has modes (kc_debug, KMD_*), settled when it is
 *    made by what the boot options say of its name (kmem_debug_opt.c).  While
 *    none is on, an allocation and a free pay one test each for all of this;
 *    the heap's none, as the tables in which it finds a class have none for
 *    those that are watched.
 *
 *	KMD_CHECK	a tag tells who has an object: whoever frees what he
 *			has not, or twice, or where no object begins, is told
 *			so before anything has changed
 *	KMD_REDZONE	bytes before and behind an object that nobody should
 *			write: looked at when it is freed, and once more when
 *			it goes out again (kmem_zone.c)
 *	KMD_POISON	a free object is filled with KMD_BYTE_FREE, and looked
 *			at when it goes out again or its slab goes; a new one
 *			is filled with KMD_BYTE_NEW
 *	KMD_AUDIT	two records behind an object: who allocated it and who
 *			freed it, with their callers, and when (kmem_audit.c)
 *	KMD_GUARD	each object alone on its pages (kmem_guard.c)
 *	KMD_SAMPLE	a few objects so
 *
 *    All but the last include KMD_CHECK.  What each finds is told in lines of
 *    the log and ends in a panic (kmem_report.c); `show leaks` builds upon
 *    the tags (kmem_leaks.c).
 *
 * 2. Tags.  Each object has a byte in its slab's header: nobody's, the
 *    client's, or which type of kmalloc's.  It is written when the object
 *    goes out, by who has it at that moment, and looked at and taken away in
 *    one exchange when it comes back, so it takes no lock.
 *
 * 3. Constructed objects.  Poison is the opposite of a constructed state, so
 *    in a cache with KMD_POISON objects are constructed when they go out and
 *    destructed when they come back, each time (as illumos does): a client
 *    that leaves an object in another state than it got it finds out.  A
 *    constructor that must not run where the cache is allocated from, an
 *    interrupt for one, wants kmem=off:NAME for its cache.
 *
 * 4. No free list can be followed astray by an overflow.  Which objects of a
 *    slab are free are bits in its header, and magazines are arrays.  Lists of
 *    magazines have their links encoded (kmem_depot.c), and so has the one list
 *    that is threaded through freed pages (kmem_pages.c).  The links of a
 *    slab's header, which may lie behind its last object, are looked at from
 *    both sides before they are changed (kmem_link_remove), and one that is
 *    listed as having free objects, but has none by its bits, is the end.
 */
#include <vm/kmem_debug_impl.h>

/* => obj is ours, and in nobody's hands but our caller's */
static void
tag_out(struct kmem_cache *kc, void *obj, uint8_t tag)
{
	uint8_t *where = kmem_tag_at(kc, obj);

	if (where == NULL || *where != KMEM_TAG_NONE)
		vm_host_panic("kmem_cache_alloc(%s): %p in a magazine is no "
		    "free object", kc->kc_name, obj);
	__atomic_store_n(where, tag, __ATOMIC_RELAXED);
}

/*
 * Take away the tag of obj, which must be that one; *where was it.  In one
 * exchange: of two who free at once, one comes too late.  (What a scan for
 * leaks that was not finished left in it does not count.)
 */
static enum kmem_verdict
tag_take(struct kmem_cache *kc, void *obj, uint8_t tag, uint8_t **where)
{
	uint8_t was;

	*where = kmem_tag_at(kc, obj);
	if (*where == NULL)
		return KMEM_NO_OBJECT;
	was = (uint8_t)(__atomic_load_n(*where, __ATOMIC_RELAXED) &
	    KMEM_TAG_MARK) | tag;
	if (__atomic_compare_exchange_n(*where, &was, KMEM_TAG_NONE, false,
	    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return KMEM_OBJECT;
	return was == KMEM_TAG_NONE ? KMEM_FREE_OBJECT : KMEM_OTHER_TAG;
}

/*
 * Free objects, with all that lies beside them.
 */
static void
undress(const struct kmem_cache *kc, void *obj)
{
	/* All of it is free, so the zone behind it begins where it ends. */
	kmem_zones_write(kc, obj, kc->kc_size);
	if (kc->kc_debug & KMD_POISON)
		memset(obj, KMD_BYTE_FREE, kc->kc_size);
}

/* Has a free object been left alone? */
static bool
untouched(const struct kmem_cache *kc, const void *obj, struct kmem_damage *d)
{
	if (!kmem_zones_sound(kc, obj, d))
		return false;
	d->d_where = "into it, while it was free";
	return !(kc->kc_debug & KMD_POISON) ||
	    kmem_bytes_sound(obj, kc->kc_size, KMD_BYTE_FREE, d);
}

void
kmem_debug_slab(const struct kmem_cache *kc, const struct kmem_slab *sl,
    bool begin)
{
	struct kmem_damage d;
	unsigned i;
	void *obj;

	for (i = 0; i < kc->kc_per_slab; i++) {
		obj = kmem_slab_object(kc, sl, i);
		if (begin) {
			if (kc->kc_debug & KMD_AUDIT)
				memset(kmem_trail(kc, obj), 0,
				    sizeof(struct kmem_trail));
			undress(kc, obj);
		} else if (!untouched(kc, obj, &d))
			kmem_debug_damage(kc, obj, kc->kc_size,
			    kmem_trail_records(kc, obj), &d);
	}
}

/*
 * Going out.
 */

/*
 * An object was written to while it was free.  It is mended and free again
 * before that is told: who is caught can go on.
 */
static void __dead2
touched(struct kmem_cache *kc, void *obj, const struct kmem_damage *d)
{
	struct kmem_record r[2] = { { .r_sum = 0 }, { .r_sum = 0 } };

	if (kc->kc_debug & KMD_AUDIT)
		memcpy(r, kmem_trail(kc, obj)->t_record, sizeof(r));
	undress(kc, obj);
	kmem_cache_put(kc, obj);
	kmem_debug_damage(kc, obj, kc->kc_size,
	    kc->kc_debug & KMD_AUDIT ? r : NULL, d);
}

/* => false: its constructor refused; it is free again */
static bool
dress(struct kmem_cache *kc, void *obj, const struct kmem_use *u)
{
	struct kmem_damage d;

	if (!untouched(kc, obj, &d))
		touched(kc, obj, &d);
	kmem_zones_write(kc, obj, u->u_size);
	if (kc->kc_debug & KMD_POISON) {
		memset(obj, KMD_BYTE_NEW, u->u_size);
		if (kc->kc_ctor != NULL && kc->kc_ctor(obj, kc->kc_arg,
		    u->u_flags & (KM_NOSLEEP | KM_EASY)) != 0) {
			undress(kc, obj);
			kmem_cache_put(kc, obj);
			return false;
		}
	}
	if (kc->kc_debug & KMD_AUDIT)
		kmem_record_take(&kmem_trail(kc, obj)->t_record[KMD_ALLOCATED],
		    u->u_caller);
	return true;
}

void *
kmem_debug_out(struct kmem_cache *kc, void *obj, const struct kmem_use *u)
{
	const unsigned kmd = kc->kc_debug;

	if ((kmd & KMD_DRESSED) && !dress(kc, obj, u))
		return NULL;
	if (kmd & KMD_CHECK)
		tag_out(kc, obj, u->u_tag);
	if ((kmd & KMD_GUARD) ||
	    ((kmd & KMD_SAMPLE) && u->u_refill && kmem_guard_turn()))
		obj = kmem_guard_out(kc, obj, u);
	if (u->u_flags & KM_ZERO)
		memset(obj, 0, kmem_debug_usable(kc, obj));
	return obj;
}

size_t
kmem_debug_usable(const struct kmem_cache *kc, const void *obj)
{
	const struct kmem_guard *g = NULL;

	if (kc->kc_debug & (KMD_GUARD | KMD_SAMPLE))
		g = kmem_guard_find(obj);
	return g != NULL ? g->g_size : kmem_trail_size(kc, obj);
}

/*
 * Coming back.
 */
static bool
is_of(const struct kmem_cache *kc, const void *obj)
{
	const struct kmem_slab *sl = kmem_slab_find(obj);

	return sl != NULL && sl->sl_cache == kc;
}

enum kmem_verdict
kmem_debug_in(struct kmem_cache *kc, void **obj, uint8_t tag,
    const void *caller)
{
	enum kmem_verdict verdict;
	struct kmem_guard *g;
	struct kmem_damage d;
	uint8_t *where;

	if ((kc->kc_debug & (KMD_GUARD | KMD_SAMPLE)) &&
	    (g = kmem_guard_find(*obj)) != NULL) {
		if (g->g_cache != kc)
			return KMEM_NO_OBJECT;
		verdict = kmem_guard_in(g, obj, tag, caller);
		if (verdict != KMEM_OBJECT)
			return verdict;
	}
	if (!(kc->kc_debug & KMD_CHECK))
		return is_of(kc, *obj) ? KMEM_OBJECT : KMEM_NO_OBJECT;
	verdict = tag_take(kc, *obj, tag, &where);
	if (verdict != KMEM_OBJECT)
		return verdict;
	if (!kmem_zones_sound(kc, *obj, &d)) {
		__atomic_store_n(where, tag, __ATOMIC_RELAXED);
		kmem_debug_damage(kc, *obj, kmem_trail_size(kc, *obj),
		    kmem_trail_records(kc, *obj), &d);
	}
	if ((kc->kc_debug & KMD_POISON) && kc->kc_dtor != NULL)
		kc->kc_dtor(*obj, kc->kc_arg);
	if (kc->kc_debug & KMD_DRESSED)
		undress(kc, *obj);
	if (kc->kc_debug & KMD_AUDIT)
		kmem_record_take(&kmem_trail(kc, *obj)->t_record[KMD_FREED],
		    caller);
	return KMEM_OBJECT;
}
