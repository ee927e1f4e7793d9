/*
 * What the watching has found, for a person: the object, its cache, how far
 * off it was, and both call chains, in lines of the log; what is the end of
 * the kernel panics with all of it in one line after that.
 */
#include <vm/kmem_debug_impl.h>

void
kmem_debug_damage(const struct kmem_cache *kc, const void *obj, size_t size,
    const struct kmem_record *records, const struct kmem_damage *d)
{
	vm_host_log("kmem: %p, an object of %s (%zu bytes), was damaged %zu "
	    "bytes %s", obj, kc->kc_name, size, d->d_distance, d->d_where);
	kmem_records_log(records);
	vm_host_panic("kmem: %s: object %p (%zu bytes): %zu bytes %s: %#x, not "
	    "%#x; %zu changed", kc->kc_name, obj, size, d->d_distance,
	    d->d_where, d->d_found, d->d_want, d->d_count);
}

void
kmem_link_torn(const struct kmem_link *l)
{
	vm_host_panic("kmem: the links at %p, which slabs are listed by, were "
	    "written over: next %p, previous %p", (const void *)l,
	    (void *)l->kl_next, (void *)l->kl_prev);
}

void
kmem_slab_torn(const struct kmem_cache *kc, const struct kmem_slab *sl)
{
	vm_host_panic("kmem: the header at %p, of a slab of %s, was written "
	    "over", (const void *)sl, kc->kc_name);
}

const struct kmem_record *
kmem_debug_records(const void *ptr)
{
	const struct kmem_guard *g = kmem_guard_near((vaddr_t)ptr);
	struct kmem_cache *kc;
	void *obj;

	if (g != NULL)
		return g->g_record;
	return kmem_cache_find(ptr, &kc, &obj) ? kmem_trail_records(kc, obj) :
	    NULL;
}

bool
kmem_debug_tell(const void *ptr)
{
	const struct kmem_guard *g = kmem_guard_near((vaddr_t)ptr);
	const struct kmem_record *r;
	struct kmem_cache *kc;
	void *obj;

	if (g != NULL)
		return kmem_debug_fault((vaddr_t)ptr);
	if (!kmem_cache_find(ptr, &kc, &obj))
		return false;
	r = kmem_trail_records(kc, obj);
	if (r == NULL)
		return false;
	vm_host_log("kmem: %p is in object %p of %s (%zu bytes)", ptr, obj,
	    kc->kc_name, kc->kc_size);
	kmem_records_log(r);
	return true;
}

bool
kmem_debug_fault_what(vaddr_t va, char *buf, size_t size)
{
	const struct kmem_guard *g = kmem_guard_near(va);

	if (g == NULL)
		return false;
	kmem_guard_describe(g, va, buf, size);
	return true;
}

bool
kmem_debug_fault(vaddr_t va)
{
	const struct kmem_guard *g = kmem_guard_near(va);
	char what[160];

	if (g == NULL)
		return false;
	kmem_guard_describe(g, va, what, sizeof(what));
	vm_host_log("kmem: %#lx is %s", va, what);
	kmem_records_log(g->g_record);
	return true;
}
