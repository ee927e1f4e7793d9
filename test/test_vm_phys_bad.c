/*
 * Physical pages: what is nobody's, what a panic says of a frame, and what
 * vm_phys_check sees that no frame shows: counters, watermarks, hints.
 */
#include <sys/mman.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <libkern/libkern.h>
#include <vm/vm_phys_impl.h>

#include "host.h"
#include "must.h"
#include "phys_test.h"

#define NFRAMES		6000u
#define LOW_END		256u	/* 1 MiB */
#define DMA_END		4096u	/* 16 MiB: where the highest zone begins */

#define BEYOND		(1u << 20)	/* bytes, more than 4 GiB's bitmap */

static void *mem;

/* A machine of n frames, all free; behind its memory nothing can be read. */
static void
make(pfn_t n)
{
	size_t size = vm_phys_size(n), len = round_page(size);
	char *map = mmap(NULL, len + BEYOND, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(map != MAP_FAILED);
	must(mprotect(map, len, PROT_READ | PROT_WRITE) == 0);
	mem = map + rounddown2(len - size, 8u);
	vm_phys_init(mem, n);
	vm_phys_add(0, n);
}

/*
 * Owners that take no frames.
 */
static enum vm_page_owner nobody;

static void
one_for_nobody(void *pa)
{
	vm_phys_alloc(nobody, pa);
}

static void
many_for_nobody(void *pa)
{
	vm_phys_alloc_many(1, nobody, pa);
}

static void
run_for_nobody(void *pa)
{
	vm_phys_alloc_run(1, 1, 0, 0, PFN_MAX, nobody, pa);
}

static void
this_for_nobody(void *pa)
{
	vm_phys_alloc_at(0, nobody);
}

START_TEST(owners)
{
	static void (*const fn[])(void *) = {
		one_for_nobody, many_for_nobody, run_for_nobody,
		this_for_nobody,
	};
	static const int none[] = { VM_PAGE_RESERVED, VM_PAGE_FREE,
	    VM_PAGE_NOWNERS, 1000 };
	paddr_t pa = 1;
	unsigned i, k;

	make(100);
	for (i = 0; i < nitems(none); i++)
		for (k = 0; k < nitems(fn); k++) {
			nobody = (enum vm_page_owner)none[i];
			must_panic(fn[k], &pa, "vm_phys.c", "owner", "");
		}
	ck_assert_uint_eq(pa, 1);
}
END_TEST

static void
free_one(void *pa)
{
	vm_phys_free(*(paddr_t *)pa);
}

/* What a panic says of a frame: a name only where there is one. */
START_TEST(names)
{
	static const struct {
		enum vm_page_owner	owner;
		uint8_t			flags;
		const char		*name, *want;
	} frames[] = {
		{ VM_PAGE_KMEM, 0, "somebody", "name somebody)" },
		{ VM_PAGE_KMEM, 0, NULL, "name -)" },
		{ VM_PAGE_KMEM, VM_PAGE_SLAB, "a slab", "name -)" },
		{ VM_PAGE_KMEM, VM_PAGE_HEAP, "a type", "name -)" },
		{ VM_PAGE_USER, 0, "an object", "name -)" },
	};
	struct vm_page *pg;
	paddr_t pa;
	unsigned i;

	make(100);
	for (i = 0; i < nitems(frames); i++) {
		ck_assert_int_eq(vm_phys_alloc(frames[i].owner, &pa), 0);
		pg = vm_phys_page(pa);
		pg->pg_refs = 2;
		pg->pg_flags = frames[i].flags;
		pg->pg_name = frames[i].name;
		must_panic(free_one, &pa, "still referenced", "2 references",
		    frames[i].want);
	}
	pa = ptoa(100);
	must_panic(free_one, &pa, "is absent", "owner -, 0 ref", "name -)");
}
END_TEST

/* Beyond 4 GiB, where only 64 bits reach. */
START_TEST(far_away)
{
	uint64_t far = ((uint64_t)1 << 32) + (unsigned)_i * PAGE_SIZE;
	paddr_t pa = (paddr_t)far;

	if (pa != far)
		return;
	make(100);
	must_panic(free_one, &pa, "vm_phys_free: ", "0x10000", "no such");
}
END_TEST

static void
pa_of_page(void *pg)
{
	vm_phys_page_pa(pg);
}

/* Where a vm_page is no frame's. */
START_TEST(pages_of_nobody)
{
	struct vm_page *first;

	make(100);
	first = vm_phys_page(0);
	ck_assert_uint_eq(vm_phys_page_pa(first + 99), ptoa(99));
	must_panic(pa_of_page, first - 1, "pg >= ", "", "");
	must_panic(pa_of_page, first + 100, "pg >= ", "", "");
}
END_TEST

static void
free_three(void *pa)
{
	vm_phys_free_many(pa, 3);
}

/* Many frames: their addresses end where nothing can be read any more. */
START_TEST(many_to_the_letter)
{
	char *two = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	paddr_t *pa = (paddr_t *)(void *)(two + PAGE_SIZE) - 3;

	ck_assert(two != MAP_FAILED);
	ck_assert_int_eq(mprotect(two + PAGE_SIZE, PAGE_SIZE, PROT_NONE), 0);
	make(100);
	vm_phys_free_many(pa + 3, 0);
	ck_assert_int_eq(vm_phys_alloc_many(3, VM_PAGE_KMEM, pa), 0);
	pa[2]++;
	must_panic(free_three, pa, "vm_phys_free_many: ", "pa 0x2001",
	    "no such range");
	pa[2]--;
	/* Of one that nobody looked at the panic knows as much. */
	pa[2] = pa[0];
	must_panic(free_three, pa, "pa 0x0, 3 frames", "is named twice",
	    "(owner kmem, 1 references, name -)");
	pa[2] = ptoa(PFN_MAX - 1);
	must_panic(free_three, pa, "pa 0xfffff000, 3 frames", "is absent",
	    "(owner -, 0 references, name -)");
	pa[2] = ptoa(2);
	vm_phys_free_many(pa, 3);
	must_panic(free_three, pa, "vm_phys_free_many: ",
	    "pa 0x0, 3 frames", "is free already");
}
END_TEST

#define SEEN(undo, what) do { \
		const char *why = vm_phys_check(); \
		ck_assert(why != NULL && strstr(why, what) != NULL); \
		undo; \
		ck_assert(vm_phys_check() == NULL); \
	} while (0)

/* Counters, and watermarks. */
START_TEST(check_sees_counters)
{
	struct vm_phys_stats *st = &vm_phys_self.vp_stats;
	unsigned i;
	paddr_t pa;

	make(NFRAMES);
	ck_assert_int_eq(vm_phys_alloc(VM_PAGE_KMEM, &pa), 0);
	vm_phys_watch(10, 20, NULL);
	for (i = 0; i < VM_NZONES; i++) {
		st->ps_total[i]++;
		SEEN(st->ps_total[i]--, "P4");
		st->ps_free[i]++;
		SEEN(st->ps_free[i]--, "P4");
	}
	for (i = 0; i < VM_PAGE_NOWNERS; i++) {
		st->ps_owner[i]++;
		SEEN(st->ps_owner[i]--, "P3");
	}
	st->ps_low = true;
	SEEN(st->ps_low = false, "P5");
	st->ps_mark_low = vm_phys_nfree() + 1;
	SEEN(st->ps_mark_low--, "P5");
	st->ps_mark_high = vm_phys_nfree() + 1;
	ck_assert(vm_phys_check() == NULL);
	st->ps_low = true;
	ck_assert(vm_phys_check() == NULL);	/* between the two, either */
	st->ps_mark_high--;
	SEEN(st->ps_low = false, "P5");
}
END_TEST

/* Taken so far: those given back, and those that are out. */
START_TEST(taken_by_zone)
{
	static const paddr_t at[VM_NZONES] = {
		[VM_ZONE_DMA] = ptoa(LOW_END), [VM_ZONE_HIGH] = ptoa(DMA_END)
	};
	struct vm_phys_stats st;
	unsigned z, i;

	make(NFRAMES);
	for (z = 0; z < VM_NZONES; z++) {
		for (i = 0; i <= z; i++) {
			ck_assert_int_eq(vm_phys_alloc_at(at[z],
			    VM_PAGE_USER), 0);
			vm_phys_free(at[z]);
		}
		ck_assert_int_eq(vm_phys_alloc_at(at[z], VM_PAGE_KMEM), 0);
	}
	vm_phys_stats(&st);
	for (z = 0; z < VM_NZONES; z++) {
		ck_assert_uint_eq(st.ps_taken[z], z + 2);
		ck_assert_uint_eq(st.ps_given[z], z + 1);
	}
}
END_TEST

/* The two frames change hands, and nobody is told. */
static void
swap(pfn_t used, pfn_t unused)
{
	struct vm_page *a = vm_phys_page(ptoa(used));
	struct vm_page *b = vm_phys_page(ptoa(unused)), was = *a;
	uint32_t *bits = mem;

	*a = *b;
	*b = was;
	bits[used / 32] |= 1u << (used % 32);
	bits[unused / 32] &= ~(1u << (unused % 32));
}

/* A free frame's bit below its zone's hint. */
START_TEST(check_sees_hint)
{
	paddr_t pa;

	make(NFRAMES);
	ck_assert_int_eq(vm_phys_alloc(VM_PAGE_KMEM, &pa), 0);
	ck_assert_uint_eq(pa, ptoa(DMA_END));
	/* Who asks for a frame by name has all others in the bitmap. */
	ck_assert_int_eq(vm_phys_alloc_at(0, VM_PAGE_KMEM), 0);
	swap(DMA_END, 5000);
	SEEN(swap(5000, DMA_END), "P6");
}
END_TEST

/* What is at hand, where it must not be: of another zone, above the hint. */
START_TEST(check_sees_hand)
{
	static const struct {
		enum vm_zone	zone;
		pfn_t		first;
		const char	*first_is, *then_is;
	} wrong[] = {
		{ VM_ZONE_HIGH, 64, "P7", "P1" },
		{ VM_ZONE_HIGH, LOW_END, "P7", "P1" },
		{ VM_ZONE_HIGH, 5024, "P1", "P7" },
		{ VM_ZONE_DMA, 64, "P7", "P1" },
		{ VM_ZONE_DMA, 5024, "P7", "P1" },
		{ VM_ZONE_DMA, 1024, "P1", "P7" },
		{ VM_ZONE_LOW, 5024, "P7", "P1" },
		{ VM_ZONE_LOW, 64, "P1", "P7" },
	};
	struct vm_phys_next *vn;
	uint32_t *bits;
	paddr_t pa;
	unsigned i;

	make(NFRAMES);
	ck_assert_int_eq(vm_phys_alloc(VM_PAGE_KMEM, &pa), 0);
	vn = &vm_phys_self.vp_next[VM_ZONE_HIGH];
	ck_assert_uint_eq(vn->vn_hand, 0xFFFFFFFE);
	ck_assert_int_eq(vm_phys_alloc_at(0, VM_PAGE_KMEM), 0);
	ck_assert_uint_eq(vn->vn_hand, 0);
	bits = mem;
	for (i = 0; i < nitems(wrong); i++) {
		vn = &vm_phys_self.vp_next[wrong[i].zone];
		vn->vn_first = wrong[i].first;
		vn->vn_hand = 1;
		/* There, and in the bitmap; in the bitmap no more. */
		SEEN(vn->vn_hand = 0, wrong[i].first_is);
		vn->vn_hand = 1;
		bits[wrong[i].first / 32] ^= 1;
		SEEN((vn->vn_hand = 0, bits[wrong[i].first / 32] ^= 1),
		    wrong[i].then_is);
	}
}
END_TEST

/* A watermark is crossed and nobody wants to hear of it. */
START_TEST(nobody_watches)
{
	struct vm_phys_stats st;
	paddr_t pa;

	make(10);
	vm_phys_watch(10, 10, NULL);
	ck_assert_int_eq(vm_phys_alloc(VM_PAGE_KMEM, &pa), 0);
	vm_phys_stats(&st);
	ck_assert(st.ps_low && st.ps_crossed == 1);
	vm_phys_free(pa);
	vm_phys_stats(&st);
	ck_assert(!st.ps_low && st.ps_crossed == 2);
	ck_assert(vm_phys_check() == NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("vm_phys_bad");
	TCase *tc = tcase_create("vm_phys_bad");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_test(tc, owners);
	tcase_add_test(tc, names);
	tcase_add_loop_test(tc, far_away, 0, 2);
	tcase_add_test(tc, pages_of_nobody);
	tcase_add_test(tc, many_to_the_letter);
	tcase_add_test(tc, nobody_watches);
	tcase_add_test(tc, check_sees_counters);
	tcase_add_test(tc, taken_by_zone);
	tcase_add_test(tc, check_sees_hint);
	tcase_add_test(tc, check_sees_hand);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
