/*
 * The page tables from the entry code's first ones to the final ones: what
 * memlayout.h draws.  All of it works on the live tables through the
 * recursive slot, before vm_phys and the pmap's lock are there.
 */
#include <i386/machdep.h>
#include <i386/memlayout.h>
#include <libkern/errno.h>
#include <machine/cpufunc.h>
#include <machine/ptmap.h>
#include <vm/bootmem.h>
#include <vm/pmap.h>
#include <vm/vm_host.h>

#define PFN_1M		0x100u

/*
 * Read physical memory, wherever it is, through one of pmap's windows: a
 * multiboot_read_t.
 */
bool
pmap_boot_read(void *arg, uint64_t pa, void *buf, size_t len)
{
	const vaddr_t va = PMAP_WINDOW_MIN + PMAP_WINDOW_ZERO * PAGE_SIZE;
	pte_t *pte = &PTMAP[va >> PAGE_SHIFT];
	char *to = buf;

	if (pa >= 1ULL << 32 || len > (1ULL << 32) - pa)
		return false;
	for (size_t n; len > 0; len -= n, pa += n, to += n) {
		size_t off = (size_t)pa & PAGE_MASK;

		n = PAGE_SIZE - off < len ? PAGE_SIZE - off : len;
		*pte = ((pte_t)pa & PG_FRAME) | PG_V;
		invlpg(va);
		memcpy(to, (const char *)va + off, n);
	}
	*pte = 0;
	invlpg(va);
	return true;
}

/*
 * Is there memory behind the page at va?  What the loader calls RAM need not
 * be: where nothing answers, all bits read as ones, or as zeros.
 */
static bool
probe_page(vaddr_t va)
{
	volatile uint32_t *first = (volatile uint32_t *)va;
	volatile uint32_t *last = first + PAGE_SIZE / sizeof(*last) - 1;

	*first = 0x5A5AA5A5;
	*last = ~0x5A5AA5A5u;
	return *first == 0x5A5AA5A5 && *last == ~0x5A5AA5A5u;
}

/* The entry for va; its table is placed if there is none yet. */
static int
boot_pte(struct bootmem *bm, vaddr_t va, pte_t **pte)
{
	pte_t *pde = &PDMAP[PDE_INDEX(va)];
	pte_t *table = PTMAP + rounddown2(va >> PAGE_SHIFT, PT_ENTRIES);
	paddr_t pa;
	int error;

	if (!(*pde & PG_V)) {
		error = bootmem_alloc(bm, PAGE_SIZE, PFN_1M, PFN_MAX, &pa);
		if (error != 0)
			return error;
		*pde = (pte_t)pa | PG_V | PG_RW;
		invlpg((vaddr_t)table);
		if (!probe_page((vaddr_t)table))
			return EFAULT;
		memset(table, 0, PAGE_SIZE);
	}
	*pte = &PTMAP[va >> PAGE_SHIFT];
	return 0;
}

/*
 * Map [va, va + size) to frames from pa on, for data.
 * => 0, ENOMEM, or EFAULT (no memory answers there): then some of it may be
 *    mapped
 */
int
pmap_boot_map(struct bootmem *bm, vaddr_t va, paddr_t pa, vsize_t size)
{
	pte_t *pte;
	int error;

	for (vsize_t off = 0; off < size; off += PAGE_SIZE) {
		error = boot_pte(bm, va + off, &pte);
		if (error != 0)
			return error;
		*pte = (pte_t)(pa + off) | PG_V | PG_RW;
		invlpg(va + off);
		if (!probe_page(va + off))
			return EFAULT;
	}
	return 0;
}

/* What the page at va of the image's slot may be used for; 0: not mapped. */
static pte_t
image_page_bits(vaddr_t va)
{
	if (va >= (vaddr_t)text_start && va < (vaddr_t)rodata_end)
		return PG_V;
	if (va >= (vaddr_t)init_start && va < (vaddr_t)data_end)
		return PG_V | PG_RW;
	if (va >= (vaddr_t)fault_stack && va < (vaddr_t)image_end)
		return PG_V | PG_RW;
	if (va >= PTOKV(VGA_PA) && va < PTOKV(VGA_PA) + VGA_SIZE)
		return PG_V | PG_RW | PG_N;
	return 0;
}

/* What locore.asm did with numbers of its own is what memlayout.h says. */
static void
check_locore(void)
{
	vaddr_t sp = (vaddr_t)__builtin_frame_address(0);
	pte_t *stack = &PTMAP[BOOTSTACK_MIN >> PAGE_SHIFT];

	KASSERT(rcr3() == KVTOP(boot_pd));
	KASSERT((PDMAP[PDE_RECURSIVE] & PG_FRAME) == KVTOP(boot_pd));
	KASSERT(sp > BOOTSTACK_MIN && sp < BOOTSTACK_MAX);
	for (vaddr_t off = 0; off < BOOTSTACK_MAX - BOOTSTACK_MIN;
	    off += PAGE_SIZE)
		KASSERT((stack[off >> PAGE_SHIFT] & PG_FRAME) ==
		    KVTOP(boot_stack) + off);
	KASSERT(!(pmap_live_pte(STACK_GUARD) & PG_V));
	KASSERT((vaddr_t)data_end < (vaddr_t)fault_stack);
	KASSERT((vaddr_t)text_start == PTOKV(IMAGE_PA));
	KASSERT((vaddr_t)text_end <= (vaddr_t)rodata_start);
	KASSERT((vaddr_t)rodata_end <= (vaddr_t)init_start);
	KASSERT((vaddr_t)init_end <= (vaddr_t)data_start);
	KASSERT(rcr0() & CR0_WP);
}

/* Every page of the kernel that is mapped by now becomes a global one. */
static void
make_global(void)
{
	for (vaddr_t va = VM_MIN_KERNEL_ADDRESS; va < VM_MAX_KERNEL_ADDRESS;
	    va += PT_SPAN) {
		pte_t *pte = vtopte(va);

		if (!(*vtopde(va) & PG_V))
			continue;
		for (unsigned i = 0; i < PT_ENTRIES; i++)
			if (pte[i] & PG_V)
				pte[i] |= PG_G;
	}
	lcr4(rcr4() | CR4_PGE);
}

static bool
cpu_has_global(void)
{
	uint32_t r[4];

	if (!cpu_has_cpuid)
		return false;
	cpuid(1, r);
	return (r[3] & CPUID_PGE) != 0;
}

/* The last of the boot loader's view goes, and what is read-only is so. */
void
pmap_boot_final(void)
{
	bool global = cpu_has_global();

	check_locore();
	for (vaddr_t va = KERNBASE; va < KERNBASE + KERN_SLOT;
	    va += PAGE_SIZE) {
		pte_t bits = image_page_bits(va);

		PTMAP[va >> PAGE_SHIFT] = bits ? (pte_t)KVTOP(va) | bits : 0;
	}
	PDMAP[0] = 0;
	if (global)
		make_global();
	lcr3(rcr3());
	pmap_bootstrap(KVTOP(boot_pd), global);
}
