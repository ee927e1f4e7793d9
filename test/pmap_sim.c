/*
 * The MMU of pmap_sim.h.  It knows two levels of tables and nothing else: that
 * the last slot of a directory names the directory itself is for it a table
 * like any other.
 */
#include <stdio.h>
#include <string.h>

/* The addresses are i386's, not the host machine's. */
#include "../sys/i386/include/machine/vmparam.h"

#include <machine/cpufunc.h>
#include <machine/ptmap.h>
#include <vm/vm_host.h>

#include "host.h"
#include "pmap_sim.h"

#define NPAGES		(1u << 20)

struct sim_count sim_count;
bool sim_deaf;

static paddr_t cr3;
static uint32_t cr4;

static pte_t tlb[NPAGES];		/* by page; 0: not cached */
static unsigned cached[NPAGES], ncached; /* which pages are */
static unsigned place[NPAGES];		/* and where in cached[] */
static pte_t pde_cache[PT_ENTRIES];

pte_t *
sim_table(paddr_t pa)
{
	return host_phys(pa);
}

pte_t
sim_walk(paddr_t pd, vaddr_t va)
{
	pte_t pde = sim_table(pd)[PDE_INDEX(va)];

	return pde & PG_V ? sim_table(pde & PG_FRAME)[PTE_INDEX(va)] : 0;
}

static void
tlb_add(unsigned vpn, pte_t pte)
{
	tlb[vpn] = pte;
	place[vpn] = ncached;
	cached[ncached++] = vpn;
}

static void
tlb_drop(unsigned vpn)
{
	unsigned last = cached[--ncached];

	cached[place[vpn]] = last;
	place[last] = place[vpn];
	tlb[vpn] = 0;
}

/* Drop all, or all that are not global. */
static void
tlb_flush(bool global)
{
	unsigned i;

	if (sim_deaf)
		return;
	memset(pde_cache, 0, sizeof(pde_cache));
	for (i = ncached; i-- > 0;)
		if (global || !(cr4 & CR4_PGE) || !(tlb[cached[i]] & PG_G))
			tlb_drop(cached[i]);
}

void
invlpg(vaddr_t va)
{
	sim_count.sc_invlpg++;
	if (sim_deaf)
		return;
	memset(pde_cache, 0, sizeof(pde_cache));
	if (tlb[va >> PAGE_SHIFT] != 0)
		tlb_drop((unsigned)(va >> PAGE_SHIFT));
}

void
lcr3(paddr_t pa)
{
	sim_count.sc_cr3++;
	cr3 = pa;
	tlb_flush(false);
}

paddr_t
rcr3(void)
{
	return cr3;
}

void
lcr4(uint32_t r)
{
	if ((cr4 ^ r) & CR4_PGE) {
		sim_count.sc_all++;
		tlb_flush(true);
	}
	cr4 = r;
}

uint32_t
rcr4(void)
{
	return cr4;
}

void
sim_on(paddr_t pd, bool pge)
{
	sim_deaf = false;
	tlb_flush(true);
	cr3 = pd;
	cr4 = pge ? CR4_PGE : 0;
	memset(&sim_count, 0, sizeof(sim_count));
}

static bool
allows(pte_t pte, bool write_it, bool user)
{
	return (pte & PG_V) && (!write_it || (pte & PG_RW)) &&
	    (!user || (pte & PG_U));
}

/* The directory's entry: from the cache, else from memory, and used. */
static pte_t
load_pde(vaddr_t va)
{
	unsigned i = PDE_INDEX(va);
	pte_t *pde = &sim_table(cr3)[i];

	if (pde_cache[i] == 0 && (*pde & PG_V)) {
		*pde |= PG_A;
		pde_cache[i] = *pde;
	}
	return pde_cache[i];
}

/*
 * A write through an entry that is cached as not yet written walks again, as
 * a miss does.
 */
bool
sim_access(vaddr_t va, bool write_it, bool user, paddr_t *pa)
{
	unsigned vpn = (unsigned)(va >> PAGE_SHIFT);
	pte_t pde, *pte;

	if (tlb[vpn] != 0 && (!write_it || (tlb[vpn] & PG_M) ||
	    !(tlb[vpn] & PG_RW))) {
		*pa = tlb[vpn] & PG_FRAME;
		return allows(tlb[vpn], write_it, user);
	}
	pde = load_pde(va);
	if (!allows(pde, write_it, user))
		return false;
	pte = &sim_table(pde & PG_FRAME)[PTE_INDEX(va)];
	if (!allows(*pte, write_it, user))
		return false;
	*pte |= write_it ? PG_A | PG_M : PG_A;
	if (tlb[vpn] != 0)
		tlb_drop(vpn);
	tlb_add(vpn, *pte);
	*pa = *pte & PG_FRAME;
	return true;
}

/* pmap.c's own accesses: kernel mode, and never a fault. */
static void *
look(vaddr_t va)
{
	paddr_t pa;

	if (!sim_access(va, true, false, &pa))
		vm_host_panic("pmap_sim: page fault at %#lx", va);
	return (char *)host_phys(pa) + (va & PAGE_MASK);
}

pte_t *
vtopte(vaddr_t va)
{
	return look(0xFFC00000UL + (va >> PAGE_SHIFT) * sizeof(pte_t));
}

pte_t *
vtopde(vaddr_t va)
{
	return look(0xFFFFF000UL + PDE_INDEX(va) * sizeof(pte_t));
}

void *
vtoptr(vaddr_t va)
{
	return look(va);
}

const char *
sim_stale(void)
{
	static char what[80];
	unsigned i;

	for (i = 0; i < PT_ENTRIES; i++) {
		pte_t pde = sim_table(cr3)[i];

		if (pde_cache[i] == 0 || !((pde_cache[i] ^ pde) & ~PG_M))
			continue;
		snprintf(what, sizeof(what), "directory entry %u is %#x, "
		    "cached as %#x", i, pde, pde_cache[i]);
		return what;
	}
	for (i = 0; i < ncached; i++) {
		vaddr_t va = ptoa((vaddr_t)cached[i]);
		pte_t pte = sim_walk(cr3, va), was = tlb[cached[i]];

		/* That a page was written may be news to the TLB. */
		if (pte == was || pte == (was | PG_M))
			continue;
		snprintf(what, sizeof(what), "the entry of %#lx is %#x, "
		    "cached as %#x", va, pte, was);
		return what;
	}
	return NULL;
}

bool
sim_holds(paddr_t pa)
{
	unsigned i;

	if (cr3 == pa)
		return true;
	for (i = 0; i < PT_ENTRIES; i++)
		if (pde_cache[i] != 0 && (pde_cache[i] & PG_FRAME) == pa)
			return true;
	for (i = 0; i < ncached; i++)
		if ((tlb[cached[i]] & PG_FRAME) == pa)
			return true;
	return false;
}
