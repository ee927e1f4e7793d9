/*
 * Pages for slabs and for the heap's large blocks, and the way back from a
 * pointer to what lies behind it.
 *
 * 1. Each frame behind a slab points back to it (vm_page, pg_slab).  So the
 *    question "which slab is this in" costs one look at the page table and
 *    one at the frame's vm_page, takes no lock, and has an answer for every
 *    pointer there is: what is not mapped, not kmem_alloc's, or in neither of
 *    our windows is nobody's, and it is never read or written to find out.
 *
 * 2. An interrupt may call kfree, but not kmem_free.  Pages that it gives
 *    back are kept on a list, threaded through the pages themselves, until
 *    somebody comes by who may.
 *
 *    It is the only list of free memory whose links lie in that memory, where
 *    an overflow, or who still writes to what was freed, may change them.  So
 *    a link, and the size beside it, are encoded with a number that is drawn
 *    at boot and with where they lie, and checked before they are followed:
 *    one that is not as it was written ends in a panic and is not followed to
 *    wherever somebody wants.
 */
#include <vm/kmem_cache_impl.h>

struct kept {
	uintptr_t	 k_next;	/* encoded */
	uintptr_t	 k_size;	/* encoded */
	uintptr_t	 k_check;	/* of both */
};

static struct {
	struct vm_mtx	 lock;
	struct kept	*list;
	uintptr_t	 secret;	/* odd */
} kept;

static uintptr_t
encode(const struct kept *k, uintptr_t value)
{
	return value ^ (uintptr_t)k ^ kept.secret;
}

/* No sum that changes of both fields alike would leave as it is. */
static uintptr_t
check_of(const struct kept *k)
{
	return (k->k_next * kept.secret ^ k->k_size) * kept.secret;
}

static void
kept_write(struct kept *k, struct kept *next, vsize_t size)
{
	k->k_next = encode(k, (uintptr_t)next);
	k->k_size = encode(k, size);
	k->k_check = check_of(k);
}

/* => the next one; *size is this one's */
static struct kept *
kept_read(const struct kept *k, vsize_t *size)
{
	if (k->k_check != check_of(k))
		vm_host_panic("kmem_pages: the pages at %p, which an "
		    "interrupt freed, were written to since: link %#lx size "
		    "%#lx check %#lx", (const void *)k, (unsigned long)
		    k->k_next, (unsigned long)k->k_size,
		    (unsigned long)k->k_check);
	*size = encode(k, k->k_size);
	return (struct kept *)encode(k, k->k_next);
}

void
kmem_pages_bootstrap(void)
{
	vm_mtx_init(&kept.lock, "kmem pages");
	kept.list = NULL;
	kept.secret = vm_host_random() | 1;
}

vaddr_t
kmem_pages_alloc(vsize_t size, int flags, const char *owner)
{
	struct vm_map_request req = { .vr_size = size, .vr_owner = owner };
	vaddr_t addr;

	if (vm_host_intr())
		return 0;
	kmem_pages_drain();
	req.vr_min = (flags & KM_HEAP) ? VM_HEAP_MIN : VM_SLAB_MIN;
	req.vr_max = (flags & KM_HEAP) ? VM_HEAP_MAX : VM_SLAB_MAX;
	if (kmem_alloc_request(kernel_map, &req,
	    flags & (KM_NOSLEEP | KM_EASY | KM_ZERO), &addr) != 0)
		return 0;
	return addr;
}

void
kmem_pages_free(vaddr_t addr, vsize_t size)
{
	struct kept *k;

	if (!vm_host_intr()) {
		kmem_free(kernel_map, addr, size);
		return;
	}
	k = (struct kept *)addr;
	vm_mtx_enter(&kept.lock);
	kept_write(k, kept.list, size);
	__atomic_store_n(&kept.list, k, __ATOMIC_RELAXED);
	vm_mtx_exit(&kept.lock);
}

/* The first of the list off it.  => NULL: it is empty */
static struct kept *
kept_pop(vsize_t *size)
{
	struct kept *k;

	vm_mtx_enter(&kept.lock);
	k = kept.list;
	if (k != NULL)
		__atomic_store_n(&kept.list, kept_read(k, size),
		    __ATOMIC_RELAXED);
	vm_mtx_exit(&kept.lock);
	return k;
}

unsigned long
kmem_pages_drain(void)
{
	unsigned long n = 0;
	struct kept *k;
	vsize_t size = 0;

	/* Without the lock: what comes too late for us waits for the next. */
	if (__atomic_load_n(&kept.list, __ATOMIC_RELAXED) == NULL)
		return 0;
	while ((k = kept_pop(&size)) != NULL) {
		n += atop(size);
		kmem_free(kernel_map, (vaddr_t)k, size);
	}
	return n;
}

struct vm_page *
kmem_page(const void *ptr)
{
	vaddr_t va = (vaddr_t)ptr;
	struct vm_page *pg;
	paddr_t pa;

	if (!(va >= VM_HEAP_MIN && va < VM_HEAP_MAX) &&
	    !(va >= VM_SLAB_MIN && va < VM_SLAB_MAX))
		return NULL;
	if (!pmap_kextract(va, &pa))
		return NULL;
	pg = vm_phys_page(pa);
	if (pg == NULL || pg->pg_owner != VM_PAGE_KMEM)
		return NULL;
	return pg;
}

/*
 * Classes by page.
 */
struct kmem_classes kmem_classes;

void
kmem_class_bootstrap(void)
{
	struct vm_map_request vr = { .vr_min = VM_MISC_MIN,
	    .vr_max = VM_MISC_MAX, .vr_owner = "heap classes" };
	struct vm_phys_stats ps;
	vsize_t n = 0;
	vaddr_t addr;
	unsigned i;

	vm_phys_stats(&ps);
	for (i = 0; i < VM_NZONES; i++)
		n += ps.ps_total[i];
	if (n > atop(VM_HEAP_MAX - VM_HEAP_MIN))
		n = atop(VM_HEAP_MAX - VM_HEAP_MIN);
	vr.vr_size = n = round_page(n);
	if (kmem_alloc_request(kernel_map, &vr, KM_NOSLEEP | KM_ZERO,
	    &addr) != 0)
		return;
	kmem_classes.kp_class = (uint8_t *)addr;
	kmem_classes.kp_npages = n;
}

void
kmem_class_set(vaddr_t base, vsize_t npages, uint8_t class)
{
	const vsize_t first = atop(base - VM_HEAP_MIN);
	vsize_t i;

	for (i = first; i < first + npages && i < kmem_classes.kp_npages; i++)
		kmem_classes.kp_class[i] = class;
}
