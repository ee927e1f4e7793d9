/*
 * Bring sys/vm up on the host machine, in the kernel's order.  What i386's
 * md_map_init() makes known to kernel_map is made known here too, so that
 * both machines have the same holes.
 */
#include <stdlib.h>

#include <vm/kmalloc.h>
#include <vm/kmem_cache.h>
#include <vm/vm_host.h>
#include <vm/vm_kmem.h>
#include <vm/vm_map.h>
#include <vm/vm_phys.h>

#include "host_mem.h"

static void
reserve(vaddr_t start, vaddr_t end, const char *owner)
{
	int error = vm_map_reserve(kernel_map, start, end, VM_PROT_NONE, owner);

	if (error != 0)
		vm_host_panic("host_boot: reserve [%#lx, %#lx) %s: error %d",
		    start, end, owner, error);
}

/* A flat machine's unused memory is the host's, and so no page comes back. */
static unsigned long
give_back(unsigned long pages)
{
	host_purge();
	return 0;
}

static struct kmem_reclaimer flat_memory = {
	.kr_name = "host", .kr_priority = KR_DIRTY, .kr_reclaim = give_back
};

void
host_boot(pfn_t nframes)
{
	static bool booted;
	void *mem;

	if (booted)
		vm_host_panic("host_boot: a second time in one process");
	booted = true;
	host_pmap_bootstrap(nframes);
	mem = calloc(1, vm_phys_size(nframes));
	if (mem == NULL)
		vm_host_panic("host_boot: no memory for %u frames' records",
		    nframes);
	vm_phys_init(mem, nframes);
	vm_phys_add(1, nframes);

	vm_map_bootstrap();
	reserve(VM_MIN_KERNEL_ADDRESS, VM_HEAP_MIN, "kernel image");
	reserve(VM_HEAP_MAX - PAGE_SIZE, VM_HEAP_MAX, "heap guard");
	reserve(VM_SLAB_MAX - PAGE_SIZE, VM_SLAB_MAX, "slab guard");
	reserve(VM_SLAB_MAX, VM_MISC_MIN, "boot stack");
	kmem_cache_bootstrap();
	kmalloc_bootstrap();
	if (host_mem_flat())
		kmem_reclaim_add(&flat_memory);
}
