/*
 * An i386's memory management unit, for test_pmap.c: it walks the page tables
 * in the host machine's frames as the CPU does, and its TLB forgets nothing
 * that it is not told to forget.
 *
 * => the TLB has room for every page there is, and for every directory entry
 * => an entry gets in only by an access, or by pmap.c's looking at a table
 *    through the recursive slot or a window, which is one, too
 * => an access sets PG_A, a write PG_M, in the entry in memory
 */
#ifndef TEST_PMAP_SIM_H
#define TEST_PMAP_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include <machine/pte.h>

/* What the MMU was told to forget. */
struct sim_count {
	unsigned	sc_invlpg;	/* pages, one by one, */
	unsigned	sc_cr3;		/* all but the global ones, */
	unsigned	sc_all;		/* all (CR4.PGE changed) */
};
extern struct sim_count sim_count;

/* It forgets nothing, whatever it is told. */
extern bool sim_deaf;

/* Paging is on, from the directory at pd; the TLB is empty. */
void	sim_on(paddr_t pd, bool pge);

/*
 * Read or write the page at va, in user mode or not.
 * => false: a page fault; true with the frame in *pa
 */
bool	sim_access(vaddr_t va, bool write_it, bool user, paddr_t *pa);

/* The entry for va in memory, under the directory at pd; 0: no table. */
pte_t	sim_walk(paddr_t pd, vaddr_t va);

/* A directory's or table's entries, in memory. */
pte_t	*sim_table(paddr_t pa);

/* Whether all that the TLB holds is what stands in memory now: NULL, or what
 * is stale. */
const char *sim_stale(void);

/* Does the TLB hold anything of the frame? */
bool	sim_holds(paddr_t pa);

#endif
