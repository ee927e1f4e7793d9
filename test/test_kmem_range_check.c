/*
 * kmem_range_check finds each invariant broken: the cache's own records are
 * changed behind its back, one after the other, and put right again.
 */
#include <stdlib.h>
#include <string.h>

#include <vm/kmem_range.c>
#include <vm/vm_map_impl.h>

#include "host.h"
#include "map_test.h"

static vaddr_t va;
static struct bin *b;

static void
fill(void)
{
	vaddr_t other;

	va = kmem_alloc(kernel_map, ptoa(3), KM_HEAP);
	other = kmem_alloc(kernel_map, ptoa(3), KM_HEAP);
	must(va != 0 && other != 0);
	kmem_free(kernel_map, other, ptoa(3));
	kmem_free(kernel_map, va, ptoa(3));
	b = bin_of(KMEM_HEAP, 3);
	must(b->b_n == 2 && b->b_slot[1] == slot_of(va, 3, 0));
	must(kmem_range_check() == NULL);
}

static void
finds(const char *what)
{
	const char *said = kmem_range_check();

	if (said == NULL || strncmp(said, what, strlen(what)) != 0)
		ck_abort_msg("\"%s\", not \"%s\"",
		    said == NULL ? "nothing" : said, what);
}

/* With *word changed by add it is found. */
#define FINDS(what, word, add) \
	do { (word) += (add); finds(what); (word) -= (add); } while (0)

START_TEST(counters)
{
	unsigned long less;

	fill();
	less = 5 - range.stats.krs_max;		/* than the six pages kept */
	FINDS("R1", b->b_max, -4u);
	FINDS("R1", b->b_max, KMEM_RANGE_MOST);
	FINDS("R1", b->b_idle, 3);
	FINDS("R2", range.stats.krs_pages, 1);
	FINDS("R2", range.stats.krs_max, less);
	FINDS("R2", range.stats.krs_high, -1ul);
	FINDS("R4", range.stats.krs_kept, 1);
	FINDS("R4", range.stats.krs_freed, 1);
	FINDS("R4", b->b_hits, 1);
	must(kmem_range_check() == NULL);
}
END_TEST

/* The second slot names another place. */
static void
names(vaddr_t place, const char *what)
{
	b->b_slot[1] = slot_of(place, 3, 0);
	finds(what);
	b->b_slot[1] = slot_of(va, 3, 0);
	must(kmem_range_check() == NULL);
}

START_TEST(places)
{
	struct vm_map_request vr = { .vr_size = ptoa(3), .vr_guard_lo = 1,
	    .vr_min = VM_HEAP_MIN, .vr_max = VM_HEAP_MAX,
	    .vr_prot = VM_PROT_RW };
	struct vm_map_entry *e;
	vaddr_t other;

	fill();
	names(VM_SLAB_MIN, "R3: a range lies outside");
	names(VM_HEAP_MIN - PAGE_SIZE, "R3: a range lies outside");
	names(VM_HEAP_MAX - ptoa(8), "R3: a range is not in the map");
	names(va + PAGE_SIZE, "R3: a range is another one");
	other = kmem_alloc(kernel_map, ptoa(4), KM_HEAP);
	names(other, "R3: a range is another one");
	must(kmem_alloc_request(kernel_map, &vr, 0, &other) == 0);
	names(other - PAGE_SIZE, "R3: a range is another one");
	vr.vr_guard_lo = 0, vr.vr_guard_hi = 1, vr.vr_size = ptoa(2);
	must(kmem_alloc_request(kernel_map, &vr, 0, &other) == 0);
	names(other, "R3: a range is another one");
	other = kmem_alloc(kernel_map, ptoa(3), KM_HEAP | KM_NOSLEEP);
	must(other == trunc_page(b->b_slot[0]) || other == va);
	kmem_free(kernel_map, other, ptoa(3));
	vr.vr_guard_hi = 0, vr.vr_size = ptoa(3);
	must(vm_map_alloc(kernel_map, &vr, &other) == 0);
	names(other, "R3: a page of a range is not mapped");
	must(vm_map_wire(kernel_map, other, other + ptoa(3)) == 0);
	names(other, "R3: a range is wired");
	must(vm_map_unwire(kernel_map, other, other + ptoa(3)) == 0);
	e = space_above(kernel_map, other);
	e->vme_prot = VM_PROT_READ;
	names(other, "R3: a range is wired or protected");
}
END_TEST

/* A slot's low bits, and the bin of those that have guards. */
START_TEST(slots)
{
	struct vm_map_request vr = { .vr_size = ptoa(2), .vr_guard_hi = 1,
	    .vr_min = VM_HEAP_MIN, .vr_max = VM_HEAP_MAX };
	struct bin *f = &range.fenced;
	vaddr_t other;

	fill();
	FINDS("R3: a range is in another's", b->b_slot[1], 1);
	FINDS("R3: a range has guards", b->b_slot[1], VM_PAGE_FENCE_LO);
	FINDS("R2: the pages of a bin", b->b_pages, 1);
	must(kmem_alloc_request(kernel_map, &vr, 0, &other) == 0);
	kmem_free(kernel_map, other, ptoa(2));
	must(f->b_n == 1 && kmem_range_check() == NULL);
	FINDS("R2: the pages of a bin", f->b_pages, 1);
	f->b_slot[0] = slot_of(other, 2, 0);
	finds("R3: a range has guards");
	f->b_slot[0] = slot_of(other, 2, VM_PAGE_FENCE_LO);
	finds("R3: a range is another one");
	f->b_slot[0] = slot_of(other, 2, FENCES);
	finds("R3: a range is another one");
	f->b_slot[0] = slot_of(other, 1, VM_PAGE_FENCE_HI);
	finds("R3: a range is another one");
	f->b_slot[0] = slot_of(other, 2, VM_PAGE_FENCE_HI);
	must(kmem_range_check() == NULL && kmem_range_drain() == 8);
}
END_TEST

START_TEST(frames)
{
	struct vm_page *pg, was;
	paddr_t pa, other;

	fill();
	pg = first_page(va);
	must(pg != NULL);
	was = *pg;
	FINDS("R3: a range's first frame", pg->pg_npages, 1);
	pg->pg_flags = VM_PAGE_RANGE;
	finds("R3: a range's first frame");
	pg->pg_flags = VM_PAGE_CACHED;
	finds("R3: a range's first frame");
	pg->pg_flags = VM_PAGE_RANGE | VM_PAGE_CACHED | VM_PAGE_SLAB;
	finds("R3: a range's first frame");
	*pg = was;
	must(kmem_range_check() == NULL);
	/* The last page shows another's frame, or none. */
	must(pmap_extract(kernel_pmap, va + ptoa(2), &pa));
	must(vm_phys_alloc(VM_PAGE_USER, &other) == 0);
	must(pmap_enter(kernel_pmap, va + ptoa(2), other, VM_PROT_RW) == 0);
	finds("R3: a range shows a frame that is not kmem's");
	pmap_remove(kernel_pmap, va + ptoa(2), va + ptoa(3));
	finds("R3: a page of a range is not mapped");
	must(pmap_enter(kernel_pmap, va + ptoa(2), pa, VM_PROT_RW) == 0);
	must(kmem_range_check() == NULL);
	must(kmem_range_drain() == 6);
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_test(tc, counters);
	tcase_add_test(tc, places);
	tcase_add_test(tc, slots);
	tcase_add_test(tc, frames);
}

int
main(void)
{
	return map_test_main("kmem_range check", add);
}
