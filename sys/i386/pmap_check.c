/*
 * Does the hardware's view agree with the map's?  kernel_map says which
 * addresses are taken, the page tables which are mapped.  What is mapped must
 * be taken, for that, and not as a guard; what is taken must be mapped, whole
 * and with the region's protection, to frames that are not free.
 *
 * (pmap's windows are taken, and mapped only now and then.)
 */
#include <i386/machdep.h>
#include <i386/memlayout.h>
#include <kern/kern.h>
#include <kern/md.h>
#include <machine/cpufunc.h>
#include <vm/pmap.h>
#include <vm/vm_map.h>
#include <vm/vm_phys.h>

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

/* What pte says of a page that the region wants there.  => as check_page */
static const char *
check_entry(const struct vm_map_info *vi, pte_t pte, bool global)
{
	const struct vm_page *pg = vm_phys_page(pte & PG_FRAME);

	if (!(pte & PG_V))
		return "not mapped";
	if (!(pte & PG_RW) != !(vi->vi_prot & VM_PROT_WRITE))
		return pte & PG_RW ? "mapped writable" : "mapped read-only";
	if (pg != NULL && pg->pg_owner == VM_PAGE_FREE)
		return "mapped to a free frame";
	if (!(pte & PG_G) != !global)
		return global ? "mapped as if it were a user's" :
		    "mapped as global";
	return NULL;
}

/* Every page that the region wants is there. */
static const char *
check_region(struct check *ck, bool global)
{
	const struct vm_map_info *vi = &ck->ck_info;
	const char *wrong;

	if (vi->vi_start == PMAP_WINDOW_MIN)
		return NULL;
	for (vaddr_t va = vi->vi_start; va < vi->vi_end; va += PAGE_SIZE) {
		if (!usable(vi, va))
			continue;
		wrong = check_entry(vi, pmap_live_pte(va), global);
		if (wrong == NULL)
			continue;
		k_snprintf(ck->ck_wrong, sizeof(ck->ck_wrong),
		    "page %#lx of %s is %s", va, vi->vi_owner != NULL ?
		    vi->vi_owner : "nobody", wrong);
		return ck->ck_wrong;
	}
	return NULL;
}

/* What is mapped belongs to a region. */
static const char *
check_tables(struct check *ck)
{
	const char *wrong = NULL;

	ck->ck_at = 0;
	for (vaddr_t va = VM_MIN_KERNEL_ADDRESS; va < VM_MAX_KERNEL_ADDRESS &&
	    wrong == NULL; va += PT_SPAN) {
		pte_t pde = PDMAP[PDE_INDEX(va)];

		if (!(pde & PG_V))
			continue;
		wrong = pde & (PG_U | PG_G) ? "a kernel page table is the "
		    "user's, or global" : check_table(ck, va);
	}
	return wrong;
}

const char *
md_pmap_check(void)
{
	static struct check ck;
	const char *wrong;
	bool global = pmap_global_pages();

	if ((PDMAP[PDE_RECURSIVE] & PG_FRAME) != rcr3())
		return "the recursive slot names another directory";
	if (PDMAP[0] & PG_V && PTMAP[0] & PG_V)
		return "page 0 is mapped";
	wrong = check_tables(&ck);
	for (vaddr_t at = kernel_map->vm_min; wrong == NULL &&
	    vm_map_next(kernel_map, at, &ck.ck_info) == 0;
	    at = ck.ck_info.vi_end)
		wrong = check_region(&ck, global);
	return wrong;
}
