/*
 * What the machine has given out: taken before and after a test, the two
 * must be equal.  What the range cache keeps is nobody's, and goes first.
 * Page tables and the store of map entries are never given
 * back and are left out, as frames and as regions.
 */
#ifndef TEST_LEDGER_H
#define TEST_LEDGER_H

#include <string.h>

#include <vm/kmem_range.h>
#include <vm/vm_map.h>
#include <vm/vm_phys.h>

struct ledger {
	pfn_t		l_kmem;		/* frames behind kmem_alloc */
	pfn_t		l_rest;		/* free, page tables, entries */
	unsigned long	l_regions;
	uint64_t	l_hash;		/* of all regions, in order */
};

static inline void
ledger_take(struct ledger *l)
{
	struct vm_phys_stats ps;
	struct vm_map_info vi;
	vaddr_t va = kernel_map->vm_min;

	memset(l, 0, sizeof(*l));
	kmem_range_drain();
	vm_phys_stats(&ps);
	l->l_kmem = ps.ps_owner[VM_PAGE_KMEM];
	l->l_rest = ps.ps_owner[VM_PAGE_FREE] + ps.ps_owner[VM_PAGE_PTP] +
	    ps.ps_owner[VM_PAGE_ENTRY];
	l->l_hash = 14695981039346656037ULL;	/* FNV's */
	for (; vm_map_next(kernel_map, va, &vi) == 0; va = vi.vi_end) {
		if (vi.vi_owner != NULL &&
		    strcmp(vi.vi_owner, "map entries") == 0)
			continue;
		l->l_regions++;
		l->l_hash = (l->l_hash ^ vi.vi_start) * 1099511628211ULL;
		l->l_hash = (l->l_hash ^ vi.vi_end) * 1099511628211ULL;
	}
}

static inline bool
ledger_same(const struct ledger *a, const struct ledger *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* NULL, or what differs from before. */
static inline const char *
ledger_since(const struct ledger *before)
{
	struct ledger now;

	ledger_take(&now);
	if (now.l_kmem != before->l_kmem || now.l_rest != before->l_rest)
		return "frames are not as before";
	if (!ledger_same(&now, before))
		return "the regions of kernel_map are not as before";
	return NULL;
}

#endif
