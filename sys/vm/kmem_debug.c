/*
 * Who frees what, watched (KMD_CHECK).
 *
 * Each object has a byte in its slab's header, the tag, that says who has it:
 * nobody, the cache's client, or which type of kmalloc's.  It is written when
 * the object goes out and when it comes back, by who has it at that moment,
 * so it takes no lock.  An object that is freed must be one, begin where the
 * pointer says, and be out to who frees it; everything else is named before
 * anything has changed.
 */
#include <vm/kmem_cache_impl.h>

void *
kmem_debug_out(struct kmem_cache *kc, void *obj, uint8_t tag, int flags)
{
	struct kmem_slab *sl = kmem_slab_find(obj);
	unsigned i;
	size_t off;

	if (sl == NULL || sl->sl_cache != kc ||
	    !kmem_slab_index(kc, sl, obj, &i, &off) || off != 0 ||
	    kmem_slab_tags(kc, sl)[i] != KMEM_TAG_NONE)
		vm_host_panic("kmem_cache_alloc(%s): %p in a magazine is no "
		    "free object", kc->kc_name, obj);
	__atomic_store_n(&kmem_slab_tags(kc, sl)[i], tag, __ATOMIC_RELAXED);
	return obj;
}

enum kmem_verdict
kmem_debug_in(struct kmem_cache *kc, void *obj, uint8_t tag)
{
	struct kmem_slab *sl = kmem_slab_find(obj);
	uint8_t *where;
	unsigned i;
	size_t off;

	if (sl == NULL || sl->sl_cache != kc ||
	    !kmem_slab_index(kc, sl, obj, &i, &off) || off != 0)
		return KMEM_NO_OBJECT;
	where = &kmem_slab_tags(kc, sl)[i];
	if (*where == KMEM_TAG_NONE)
		return KMEM_FREE_OBJECT;
	if (*where != tag)
		return KMEM_OTHER_TAG;
	__atomic_store_n(where, KMEM_TAG_NONE, __ATOMIC_RELAXED);
	return KMEM_OBJECT;
}
