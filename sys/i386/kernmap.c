/*
 * What of boot is there for good: the command line, what lies where in
 * kernel_map, and the end of what only boot needed.
 */
#include <i386/machdep.h>
#include <i386/memlayout.h>
#include <kern/kern.h>
#include <kern/md.h>
#include <vm/pmap.h>
#include <vm/vm_map.h>
#include <vm/vm_phys.h>

static char cmdline[256];	/* as bi_cmdline, which is cut at that */
static vsize_t pagearray_size;

void
kernmap_cmdline(const char *s)
{
	k_strlcpy(cmdline, s, sizeof(cmdline));
}

const char *
md_cmdline(void)
{
	return cmdline;
}

void
kernmap_pagearray(vsize_t size)
{
	pagearray_size = size;
}

/* Tell kernel_map what was there before it. */
void
md_map_init(void)
{
	const struct {
		vaddr_t		 start, end;
		vm_prot_t	 prot;
		const char	*owner;
	} places[] = {
		{ PTOKV(VGA_PA), PTOKV(VGA_PA) + VGA_SIZE, VM_PROT_RW,
		    "VGA text" },
		{ (vaddr_t)text_start, (vaddr_t)text_end,
		    VM_PROT_READ | VM_PROT_EXECUTE, "kernel text" },
		{ (vaddr_t)rodata_start, (vaddr_t)rodata_end, VM_PROT_READ,
		    "kernel rodata" },
		{ (vaddr_t)data_start, (vaddr_t)data_end, VM_PROT_RW,
		    "kernel data" },
		{ (vaddr_t)fault_stack - PAGE_SIZE, (vaddr_t)fault_stack,
		    VM_PROT_NONE, "fault stack guard" },
		{ (vaddr_t)fault_stack, (vaddr_t)image_end, VM_PROT_RW,
		    "fault stack" },
		{ VM_HEAP_MIN - PAGE_SIZE, VM_HEAP_MIN, VM_PROT_NONE,
		    "image guard" },
		{ VM_HEAP_MAX - PAGE_SIZE, VM_HEAP_MAX, VM_PROT_NONE,
		    "heap guard" },
		{ VM_SLAB_MAX - PAGE_SIZE, VM_SLAB_MAX, VM_PROT_NONE,
		    "slab guard" },
		{ BOOTSTACK_MIN, BOOTSTACK_MAX, VM_PROT_RW, "boot stack" },
		{ STACK_GUARD, STACK_GUARD + PAGE_SIZE, VM_PROT_NONE,
		    "stack guard" },
		{ PMAP_WINDOW_MIN, PMAP_WINDOW_MAX, VM_PROT_RW,
		    "pmap windows" },
		{ PAGEARRAY_MIN, PAGEARRAY_MIN + pagearray_size, VM_PROT_RW,
		    "page array" },
	};
	int error;

	for (unsigned i = 0; i < nitems(places); i++) {
		error = vm_map_reserve(kernel_map, places[i].start,
		    places[i].end, places[i].prot, places[i].owner);
		if (error != 0)
			panic("md_map_init: %s at [%#lx, %#lx): error %d",
			    places[i].owner, places[i].start, places[i].end,
			    error);
	}	error = vm_map_insert(kernel_map, (vaddr_t)init_start,
	    (vaddr_t)init_end, VM_PROT_RW, "boot code");
	if (error != 0)
		panic("md_map_init: boot code at [%p, %p): error %d",
		    init_start, init_end, error);
}

/* Every frame that the firmware called RAM is vm_phys's, or kept. */
static void
account(uint32_t ram, uint32_t kept)
{
	struct vm_phys_stats ps;
	uint32_t total = 0;

	vm_phys_stats(&ps);
	for (unsigned z = 0; z < VM_NZONES; z++)
		total += ps.ps_total[z];
	if (total + kept != ram)
		panic("boot: %u frames of RAM, but %u of vm_phys's and %u "
		    "kept", (unsigned)ram, (unsigned)total, (unsigned)kept);
	printf("boot: %u frames of RAM: %u in vm_phys, %u for the image and "
	    "the page array\n", (unsigned)ram, (unsigned)total,
	    (unsigned)kept);
}

void
md_boot_release(void)
{
	vaddr_t start = (vaddr_t)init_start, end = (vaddr_t)init_end;
	uint32_t ram, kept, loader = memory_release(&ram, &kept);
	uint32_t init = (uint32_t)atop(end - start);
	int error;

	pmap_remove(kernel_pmap, start, end);
	error = vm_map_free(kernel_map, start, end - start);
	if (error != 0)
		panic("md_boot_release: [%#lx, %#lx): error %d", start, end,
		    error);
	vm_phys_add((pfn_t)atop(KVTOP(start)), (pfn_t)atop(KVTOP(end)));
	printf("boot: %u pages given back: %u of the loader's, %u of the "
	    "kernel's own for boot\n", (unsigned)(loader + init),
	    (unsigned)loader, (unsigned)init);
	account(ram, kept - init);
}
