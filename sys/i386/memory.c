/*
 * Memory at boot: from what the loader says to vm_phys.  All that is here is
 * gone when boot is over (conf/kernel.ld): nothing of it, no string either,
 * may be kept.
 */
#include <i386/machdep.h>
#include <i386/memlayout.h>
#include <i386/multiboot.h>
#include <kern/kern.h>
#include <kern/md.h>
#include <libkern/errno.h>
#include <vm/bootmem.h>
#include <vm/vm_phys.h>

#define PFN_1M		0x100u
#define PFN_16M		0x1000u

static struct bootmem bootmem;
static struct bootinfo bootinfo;
static int bootinfo_error;
static paddr_t pagearray_pa;
static vsize_t pagearray_size;

static const char *
mmap_type(uint32_t type)
{
	static const char *const names[] = {
		"?", "RAM", "reserved", "ACPI tables", "ACPI NVS", "bad RAM",
	};

	return type < nitems(names) ? names[type] : "reserved, by type";
}

static void
print_mmap(void)
{
	const struct bootinfo *bi = &bootinfo;

	if (bi->bi_nmmap == 0) {
		printf("memory map: none; %u KB from 0, %u KB from 1 MB\n",
		    (unsigned)bi->bi_mem_lower, (unsigned)bi->bi_mem_upper);
		return;
	}
	printf("memory map, from the firmware:\n");
	for (unsigned i = 0; i < bi->bi_nmmap; i++) {
		const struct bootinfo_mmap *m = &bi->bi_mmap[i];
		uint64_t end = m->bp_base + m->bp_len;

		if (end < m->bp_base)		/* it wraps: to the top */
			end = UINT64_MAX;
		printf("  [0x%09llx, 0x%09llx) %9llu KB  %s\n",
		    (unsigned long long)m->bp_base,
		    (unsigned long long)end,
		    (unsigned long long)m->bp_len >> 10,
		    mmap_type(m->bp_type));
	}
	if (bi->bi_moremmap > 0)
		printf("  ... and %u more\n", bi->bi_moremmap);
}

static void
print_taken(void)
{
	const struct bootinfo *bi = &bootinfo;

	for (unsigned i = 0; i < bi->bi_nmods; i++)
		printf("module: [%#llx, %#llx) %s\n",
		    (unsigned long long)bi->bi_mods[i].bm_range.bi_start,
		    (unsigned long long)bi->bi_mods[i].bm_range.bi_end,
		    bi->bi_mods[i].bm_name);
	if (bi->bi_moremods > 0)
		printf("module: ... and %u more\n", bi->bi_moremods);
	for (unsigned i = 0; i < bi->bi_nsyms; i++)
		printf("%s[%#llx, %#llx)%s", i == 0 ? "symbols: " : ", ",
		    (unsigned long long)bi->bi_syms[i].bi_start,
		    (unsigned long long)bi->bi_syms[i].bi_end,
		    i + 1 == bi->bi_nsyms ? "\n" : "");
	if (bi->bi_bad > 0 || bootmem.bm_bad > 0)
		printf("boot: skipped %u things that made no sense\n",
		    bi->bi_bad + bootmem.bm_bad);
	if (bootmem.bm_above4g > 0)
		printf("memory: %llu MB above 4 GB are out of reach\n",
		    (unsigned long long)bootmem.bm_above4g >> 20);
}

/*
 * Believe the loader, as far as multiboot.c does.  Early, so that the
 * command line is there for all else; what came of it is told later.
 */
void
bootinfo_init(void)
{
	bootinfo_error = multiboot_parse(boot_magic, boot_info,
	    pmap_boot_read, NULL, &bootmem, &bootinfo);
	kernmap_cmdline(bootinfo.bi_cmdline);
}

static void
print_bootinfo(void)
{
	if (bootinfo_error != 0)
		panic("multiboot: %s (eax %#x, ebx %#x, error %d)",
		    bootinfo.bi_error, (unsigned)boot_magic,
		    (unsigned)boot_info, bootinfo_error);
	printf("boot: by %s\n", bootinfo.bi_loader[0] != '\0' ?
	    bootinfo.bi_loader : "an unnamed loader");
	print_mmap();
	print_taken();
}

/*
 * A frame for each page that there may be, and for each a vm_page: placed
 * where it is in nobody's way, above 16 MB if there is such memory.
 */
static void
place_pagearray(void)
{
	pfn_t npfn = bootmem_npfn(&bootmem);
	const char *wrong = bootmem_check(&bootmem);
	int error;

	if (wrong != NULL)
		panic("boot: bootmem: %s", wrong);
	pagearray_size = round_page(vm_phys_size(npfn));
	if (bootmem_alloc(&bootmem, pagearray_size, PFN_16M, PFN_MAX,
	    &pagearray_pa) != 0 &&
	    bootmem_alloc(&bootmem, pagearray_size, PFN_1M, PFN_MAX,
	    &pagearray_pa) != 0)
		panic("boot: no room in memory for the page array, %lu KB "
		    "for %u frames", pagearray_size >> 10, (unsigned)npfn);
	error = pmap_boot_map(&bootmem, PAGEARRAY_MIN, pagearray_pa,
	    pagearray_size);
	if (error != 0)
		panic("boot: the page array, %lu KB at %#lx: %s (error %d)",
		    pagearray_size >> 10, pagearray_pa, error == ENOMEM ?
		    "no room for the tables that map it" :
		    "what the memory map calls RAM there is none", error);
	kernmap_pagearray(pagearray_size);
	vm_phys_init((void *)PAGEARRAY_MIN, npfn);
}

static void
print_layout(void)
{
	printf("image: text [%p, %p), rodata [%p, %p): read-only\n",
	    text_start, text_end, rodata_start, rodata_end);
	printf("image: data and bss [%p, %p), %lu KB in all\n", data_start,
	    data_end, (KVTOP(image_end) - IMAGE_PA) >> 10);
	printf("image: for boot only [%p, %p)\n", init_start, init_end);
	printf("boot stack: [%#lx, %#lx), guard pages below and above\n",
	    BOOTSTACK_MIN, BOOTSTACK_MAX);
	printf("page array: [%#lx, %#lx), at %#lx in memory, %lu bytes a MB\n",
	    PAGEARRAY_MIN, PAGEARRAY_MIN + pagearray_size, pagearray_pa,
	    (unsigned long)vm_phys_size(PFN_MAX) >> 12);
}

static void
print_frames(void)
{
	struct vm_phys_stats ps;
	pfn_t total = 0;

	vm_phys_stats(&ps);
	for (unsigned z = 0; z < VM_NZONES; z++)
		total += ps.ps_total[z];
	printf("vm_phys: %u frames free (%u KB): %u below 1 MB, %u below "
	    "16 MB, %u above\n", (unsigned)total, (unsigned)total * 4,
	    (unsigned)ps.ps_free[VM_ZONE_LOW],
	    (unsigned)ps.ps_free[VM_ZONE_DMA],
	    (unsigned)ps.ps_free[VM_ZONE_HIGH]);
}

void
md_memory_init(void)
{
	print_bootinfo();
	bootmem_keep(&bootmem, IMAGE_PA, KVTOP(image_end) - IMAGE_PA);
	place_pagearray();
	pmap_boot_final();
	bootmem_close(&bootmem);
	print_layout();
	print_frames();
}

/*
 * The loader's tables, strings, modules and symbols have served.
 * => how many frames they were; *ram there are, *kept of them the kernel's
 */
uint32_t
memory_release(uint32_t *ram, uint32_t *kept)
{
	bootmem_count(&bootmem, ram, kept);
	return bootmem_release(&bootmem);
}
