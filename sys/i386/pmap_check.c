/*
 * Does the hardware's view agree with the map's?  kernel_map says which
 * addresses are taken, the page tables which are mapped: what is mapped must
 * be taken, and not as a guard.
 */
#include <i386/machdep.h>
#include <i386/memlayout.h>
#include <kern/kern.h>
#include <kern/md.h>
#include <machine/cpufunc.h>
#include <vm/pmap.h>
#include <vm/vm_map.h>

/* Where vi ends, and what came of it: nothing before the first look. */
struct check {
	struct vm_map_info ck_info;
	vaddr_t		 ck_at;
	char		 ck_wrong[96];
};

/* Is va inside the usable part of the region? */
static bool
usable(const struct vm_map_info *vi, vaddr_t va)
{
	return va >= vi->vi_start + ptoa(vi->vi_guard_lo) &&
	    va < vi->vi_end - ptoa(vi->vi_guard_hi) &&
	    vi->vi_prot != VM_PROT_NONE;
}

/* The page at va is mapped by pte.  => NULL, or what is wrong with that */
static const char *
check_page(struct check *ck, vaddr_t va, pte_t pte)
{
	struct vm_map_info *vi = &ck->ck_info;

	if (va >= ck->ck_at) {
		if (vm_map_next(kernel_map, va, vi) != 0)
			return "behind the last region";
		ck->ck_at = vi->vi_end;
	}
	if (va < vi->vi_start)
		return "in a hole of kernel_map";
	if (!(pte & PG_V))
		return NULL;
	if (!usable(vi, va))
		return "in a guard";
	if ((pte & PG_RW) && !(vi->vi_prot & VM_PROT_WRITE))
		return "writable in a read-only region";
	if (pte & PG_U)
		return "open to user mode";
	return NULL;
}

static const char *
check_table(struct check *ck, vaddr_t va)
{
	const char *wrong;

	for (unsigned i = 0; i < PT_ENTRIES; i++, va += PAGE_SIZE) {
		pte_t pte = PTMAP[va >> PAGE_SHIFT];

		if (pte == 0)
			continue;
		wrong = check_page(ck, va, pte);
		if (wrong == NULL)
			continue;
		k_snprintf(ck->ck_wrong, sizeof(ck->ck_wrong),
		    "page %#lx is mapped %s", va, wrong);
		return ck->ck_wrong;
	}
	return NULL;
}

const char *
md_pmap_check(void)
{
	static struct check ck;
	const char *wrong;

	ck.ck_at = 0;
	if ((PDMAP[PDE_RECURSIVE] & PG_FRAME) != rcr3())
		return "the recursive slot names another directory";
	if (PDMAP[0] & PG_V && PTMAP[0] & PG_V)
		return "page 0 is mapped";
	for (vaddr_t va = VM_MIN_KERNEL_ADDRESS; va < VM_MAX_KERNEL_ADDRESS;
	    va += PT_SPAN) {
		if (!(PDMAP[PDE_INDEX(va)] & PG_V))
			continue;
		wrong = check_table(&ck, va);
		if (wrong != NULL)
			return wrong;
	}
	return NULL;
}
