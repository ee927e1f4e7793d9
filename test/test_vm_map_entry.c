/*
 * The entry store at its worst: every page of entries full, frames running
 * out, and an operation that needs two.  (test_vm_map_entry0.c shows that one
 * less in reserve would not do.)
 */
#include <libkern/errno.h>
#include <vm/vm_map_impl.h>
#include <vm/vm_phys.h>

#include "host.h"
#include "must.h"

#define FRAMES	2048
#define MAP_MIN	0x10000000UL
#define MAP_MAX	0x30000000UL

static struct vm_map user;
static paddr_t taken[FRAMES];
static unsigned ntaken;
static vaddr_t next = MAP_MIN;

/* Take every frame but so many. */
static void
starve(unsigned leave)
{
	while (vm_phys_nfree() > leave)
		must(vm_phys_alloc(VM_PAGE_USER, &taken[ntaken++]) == 0);
}

static void
feed(unsigned n)
{
	while (n-- > 0)
		vm_phys_free(taken[--ntaken]);
}

static struct entry_stats
store(void)
{
	struct entry_stats st;

	entry_stats(&st);
	return st;
}

/* Regions of four pages, four apart, until only `left` entries are there. */
static void
fill(unsigned long left)
{
	for (; store().es_free > left; next += 8 * PAGE_SIZE)
		must(vm_map_insert(&user, next, next + 4 * PAGE_SIZE,
		    VM_PROT_RW, "fill") == 0);
}

static void
begin(void)
{
	host_boot(FRAMES);
	must(vm_map_init(&user, "user", MAP_MIN, MAP_MAX, VM_MAP_USER,
	    NULL) == 0);
	/* Let the store grow once, so that its page table is there. */
	fill(ENTRY_RESERVE);
	must(vm_map_insert(&user, MAP_MAX - PAGE_SIZE, MAP_MAX, VM_PROT_RW,
	    "grown") == 0);
	must(store().es_pages == 1);
	ntaken = 0;
}

static void
sound(void)
{
	must(vm_map_check(&user) == NULL);
	must(vm_map_check(kernel_map) == NULL);
	must(vm_phys_check() == NULL);
}

/* The middle of the first region: two cuts. */
static int
cut_twice(void)
{
	return vm_map_protect(&user, MAP_MIN + PAGE_SIZE,
	    MAP_MIN + 3 * PAGE_SIZE, VM_PROT_READ);
}

START_TEST(full_and_starved)
{
	unsigned long left;
	pfn_t frames;

	/* Whatever number of entries is left, up to what the cuts take. */
	begin();
	starve(0);
	for (left = ENTRY_RESERVE + 1; left >= ENTRY_RESERVE; left--) {
		fill(left);
		frames = vm_phys_nfree();
		must(cut_twice() == ENOMEM);
		must(store().es_free == left);
		must(vm_phys_nfree() == frames);
		sound();
	}
	must(vm_map_insert(&user, MAP_MAX - 3 * PAGE_SIZE,
	    MAP_MAX - 2 * PAGE_SIZE, VM_PROT_RW, "one") == ENOMEM);

	/* One frame is enough: the reserve describes it. */
	feed(1);
	must(vm_phys_nfree() == 1);
	must(cut_twice() == 0);
	must(store().es_pages == 2);
	must(vm_phys_nfree() == 0);
	sound();
}
END_TEST

/* Giving back whole regions, or an end of one, needs no entry or frame. */
START_TEST(taking_away_needs_nothing)
{
	begin();
	starve(0);
	fill(ENTRY_RESERVE);
	must(vm_map_remove(&user, MAP_MIN, MAP_MIN + PAGE_SIZE) == 0);
	must(vm_map_remove(&user, MAP_MIN + 3 * PAGE_SIZE,
	    MAP_MIN + 9 * PAGE_SIZE) == 0);
	must(store().es_free == ENTRY_RESERVE);
	must(vm_map_remove(&user, MAP_MIN, MAP_MIN + 8 * PAGE_SIZE) == 0);
	must(store().es_free == ENTRY_RESERVE + 1);
	/* The middle does, says so, and goes once an entry is there. */
	must(vm_map_remove(&user, MAP_MIN + 10 * PAGE_SIZE,
	    MAP_MIN + 11 * PAGE_SIZE) == 0);
	must(store().es_free == ENTRY_RESERVE);
	must(vm_map_remove(&user, MAP_MIN + 17 * PAGE_SIZE,
	    MAP_MIN + 18 * PAGE_SIZE) == ENOMEM);
	sound();
}
END_TEST

/*
 * The growing itself runs out: its page is in a stretch that has no page
 * table yet, and there is one frame for both.
 */
START_TEST(growing_runs_out)
{
	struct vm_map_request stretch = {
		.vr_size = 0x400000,
		.vr_align = 0x400000,
		.vr_min = VM_MISC_MIN,
		.vr_max = VM_MISC_MAX,
	};
	struct vm_map_info vi;
	vaddr_t addr, va = VM_MISC_MIN;

	begin();
	/* Close every hole of the stretch that the first page lies in. */
	must(vm_map_alloc(kernel_map, &stretch, &addr) == 0);
	while (vm_map_next(kernel_map, va, &vi) == 0 && vi.vi_start < addr) {
		if (vi.vi_gap != 0)
			must(vm_map_insert(kernel_map, vi.vi_end,
			    vi.vi_end + vi.vi_gap, VM_PROT_NONE, "plug") == 0);
		va = vi.vi_end + vi.vi_gap;
	}
	fill(ENTRY_RESERVE);
	starve(1);
	must(cut_twice() == ENOMEM);
	must(vm_phys_nfree() == 1);
	must(store().es_free == ENTRY_RESERVE);
	sound();
	feed(1);
	must(cut_twice() == 0);
	must(vm_phys_nfree() == 0);
	sound();
}
END_TEST

/*
 * A map's spare entry: what the last free left is what the next region gets,
 * and the store is not asked; it comes back with the map.
 */
START_TEST(spare_stays_with_the_map)
{
	const struct vm_map_request vr = { .vr_size = PAGE_SIZE };
	unsigned long had, i;
	static struct vm_map map;
	uint64_t mutexes, locks;
	vaddr_t va;

	begin();
	had = store().es_free;
	must(vm_map_init(&map, "spare", MAP_MIN, MAP_MAX, VM_MAP_KERNEL,
	    NULL) == 0);
	/* That there is none is seen without the map's lock. */
	locks = host_locks()->hl_write;
	must(vm_map_alloc(&map, &vr, &va) == 0);
	must(host_locks()->hl_write == locks + 1);
	must(store().es_free == had - 1);
	mutexes = host_locks()->hl_mtx;
	for (i = 0; i < 10; i++) {
		must(vm_map_free(&map, va, PAGE_SIZE) == 0);
		must(map.vm_spare != NULL);
		must(vm_map_alloc(&map, &vr, &va) == 0);
		must(map.vm_spare == NULL);
	}
	must(host_locks()->hl_mtx == mutexes);
	/* One stays, the others go back. */
	must(vm_map_insert(&map, va + ptoa(2), va + ptoa(3), VM_PROT_RW,
	    "two") == 0);
	must(vm_map_free(&map, va, PAGE_SIZE) == 0);
	must(vm_map_free(&map, va + ptoa(2), PAGE_SIZE) == 0);
	must(store().es_free == had - 1);
	/* So does the one of a request that fails. */
	must(vm_map_insert(&map, va, va + PAGE_SIZE, VM_PROT_RW, "a") == 0);
	must(vm_map_insert(&map, va, va + PAGE_SIZE, VM_PROT_RW, "b") ==
	    EEXIST);
	must(map.vm_spare != NULL && store().es_free == had - 2);
	must(vm_map_destroy(&map) == 1);
	must(store().es_free == had);
	sound();
}
END_TEST

/*
 * The store grows by what it has itself: a spare entry, kernel_map's even, is
 * nothing that it counts on, and gives a starved map one region more.
 */
START_TEST(spare_is_not_the_stores)
{
	const struct vm_map_request vr = { .vr_size = PAGE_SIZE };
	struct vm_map_entry *chain;
	unsigned long n;
	vaddr_t va;

	begin();
	must(vm_map_alloc(kernel_map, &vr, &va) == 0);
	must(vm_map_free(kernel_map, va, PAGE_SIZE) == 0);
	must(kernel_map->vm_spare != NULL);
	n = store().es_free - ENTRY_RESERVE;
	chain = n > 0 ? entry_get((unsigned)n) : NULL;
	starve(0);
	must(store().es_free == ENTRY_RESERVE);
	must(vm_map_insert(&user, MAP_MAX - 3 * PAGE_SIZE,
	    MAP_MAX - 2 * PAGE_SIZE, VM_PROT_RW, "one") == ENOMEM);
	must(vm_map_alloc(kernel_map, &vr, &va) == 0);
	must(kernel_map->vm_spare == NULL);
	must(store().es_free == ENTRY_RESERVE);
	must(vm_map_free(kernel_map, va, PAGE_SIZE) == 0);
	feed(1);
	must(vm_map_insert(&user, MAP_MAX - 3 * PAGE_SIZE,
	    MAP_MAX - 2 * PAGE_SIZE, VM_PROT_RW, "one") == 0);
	must(kernel_map->vm_spare != NULL);
	must(store().es_pages == 2);
	entry_put(chain);
	sound();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("vm_map_entry");
	TCase *tc = tcase_create("worst");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, full_and_starved);
	tcase_add_test(tc, taking_away_needs_nothing);
	tcase_add_test(tc, growing_runs_out);
	tcase_add_test(tc, spare_stays_with_the_map);
	tcase_add_test(tc, spare_is_not_the_stores);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
