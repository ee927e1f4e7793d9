/*
 * vm_map's five promises by name, its bad input, and random operations, all
 * against the oracle.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "map_test.h"

#define EXPECT_LAYOUT(lo, base, ...) do { \
	static const unsigned holes_[] = { __VA_ARGS__ }; \
	layout_init(lo, __func__, base, holes_, nitems(holes_)); \
} while (0)

static struct layout lo;

/* What one request does, its result wanted: an address, or an error. */
static vaddr_t
ask(struct twin *t, const struct vm_map_request *r, int want)
{
	vaddr_t addr = 0;
	int error = twin_alloc(t, r, &addr);

	if (error != want)
		ck_abort_msg("%s: error %d, not %d", t->t_title, error, want);
	return addr;
}

/* The classes are what the design says, and none is forgotten. */
START_TEST(promise_0_classes)
{
	unsigned long most = 1UL << VM_MAP_PAGE_BITS;
	unsigned k;

	for (k = 0; k < VM_MAP_NCLASSES; k++) {
		if (oracle_class_pages(k) > most)
			break;
		if (vm_map_class_pages(k) != oracle_class_pages(k))
			ck_abort_msg("class %u: %lu pages, not %lu", k,
			    vm_map_class_pages(k), oracle_class_pages(k));
	}
	must(k > 60);
	must(vm_map_class_pages(0) == 1);
	must(vm_map_class_pages(31) == 32);
	must(vm_map_class_pages(32) == 33);
	must(vm_map_class_pages(33) == 48);
}
END_TEST

/*
 * For holes of every size up to 130, one at a time: all requests that fit
 * succeed, the next larger fails; windows that leave a part count the part.
 */
START_TEST(promise_1_never_fails_while_a_hole_fits)
{
	struct vm_map_request r = { 0 };
	unsigned hole, n, cut;
	vaddr_t addr;

	for (hole = 1; hole <= 130; hole++) {
		layout_init(&lo, __func__, MAP_MID, &hole, 1);
		lo.lo_twin.t_lazy = hole % 10 != 0;
		for (n = 1; n <= hole; n++) {
			r.vr_size = KB4(n);
			cut = hole - n;		/* the window is exact */
			r.vr_min = lo.lo_hole[0] + KB4(cut / 2);
			r.vr_max = r.vr_min + KB4(n);
			addr = ask(&lo.lo_twin, &r, 0);
			must(addr == r.vr_min);
			must(twin_free(&lo.lo_twin, addr, r.vr_size) == 0);
			r.vr_size += PAGE_SIZE;
			ask(&lo.lo_twin, &r, ENOMEM);
		}
		layout_fini(&lo);
	}
}
END_TEST

/*
 * Fill maps that are all in pieces until nothing fits, size by size from the
 * largest: no free page may be left when single ones are asked for.
 */
START_TEST(promise_1_fills_to_the_last_page)
{
	uint64_t seed = 100 + (uint64_t)_i;
	unsigned npages[MAXHOLES], i;
	struct vm_map_request r = { 0 };
	vaddr_t addr;

	for (i = 0; i < MAXHOLES; i++)
		npages[i] = 1 + twin_random(&seed, i % 2 ? 40 : 200);
	layout_init(&lo, __func__, MAP_LOW, npages, MAXHOLES);
	lo.lo_twin.t_lazy = true;
	for (i = 210; i > 0; i = i * 9 / 10) {
		r.vr_size = KB4(i);
		while (twin_alloc(&lo.lo_twin, &r, &addr) == 0)
			continue;
	}
	must(lo.lo_twin.t_oracle.o_used == lo.lo_twin.t_oracle.o_npages);
	layout_fini(&lo);
}
END_TEST

/* Two holes of each size from 1 to 33 pages, in a random order. */
static void
two_of_each(uint64_t seed, unsigned *npages)
{
	unsigned i, j, tmp;

	for (i = 0; i < 66; i++)
		npages[i] = i / 2 + 1;
	for (i = 65; i > 0; i--) {
		j = twin_random(&seed, i + 1);
		tmp = npages[i];
		npages[i] = npages[j];
		npages[j] = tmp;
	}
}

/* Exactly the size asked for, the lower of the two first. */
START_TEST(promise_2_exactly_the_best_hole)
{
	unsigned npages[66], n, i, found;

	two_of_each(200 + (uint64_t)_i, npages);
	layout_init(&lo, __func__, MAP_ROUND, npages, 66);
	for (n = 32; n > 0; n--) {
		found = 0;
		for (i = 0; i < 66; i++) {
			if (npages[i] != n)
				continue;
			layout_expect(&lo, n, lo.lo_hole[i]);
			found++;
		}
		must(found == 2);
	}
	layout_fini(&lo);
}
END_TEST

/* Where there is none of that size, the next larger, up to 32 pages. */
START_TEST(promise_2_next_larger_hole)
{
	EXPECT_LAYOUT(&lo, MAP_ROUND, 40, 9, 7, 33, 32, 7, 100, 8);
	layout_expect(&lo, 6, lo.lo_hole[2]);
	layout_expect(&lo, 5, lo.lo_hole[5]);
	layout_expect(&lo, 5, lo.lo_hole[7]);
	layout_expect(&lo, 5, lo.lo_hole[1]);
	layout_expect(&lo, 5, lo.lo_hole[4]);
	layout_expect(&lo, 5, lo.lo_hole[4] + KB4(5));
	layout_fini(&lo);
}
END_TEST

/* The question Holm is about: slabs of 4, 4, 5; the second goes. */
START_TEST(promise_2_slab_question)
{
	struct vm_map_request r4 = { .vr_size = KB4(4) };
	struct vm_map_request r5 = { .vr_size = KB4(5) };
	vaddr_t a, b, c, d, e;
	struct twin t;

	twin_init(&t, __func__, MAP_ROUND, MAP_ROUND + KB4(1000),
	    VM_MAP_KERNEL);
	a = ask(&t, &r4, 0);
	b = ask(&t, &r4, 0);
	c = ask(&t, &r5, 0);
	must(b == a + KB4(4) && c == b + KB4(4));
	must(twin_free(&t, b, KB4(4)) == 0);
	d = ask(&t, &r5, 0);
	must(d == c + KB4(5));
	e = ask(&t, &r4, 0);
	must(e == b);
	twin_fini(&t);
}
END_TEST

/*
 * A hole counts with its part in the window: a large hole cut down to an
 * exact fit beats a smaller whole one that is too large.
 */
START_TEST(promise_2_windows_cut_holes)
{
	struct vm_map_request r = { .vr_size = KB4(6) };
	vaddr_t *h = lo.lo_hole;

	EXPECT_LAYOUT(&lo, MAP_MID, 20, 8, 6, 20, 8, 20);
	r.vr_min = h[0] + KB4(13);	/* 7 left, 8, 6 */
	r.vr_max = h[2] + KB4(6);
	must(ask(&lo.lo_twin, &r, 0) == h[2]);
	must(ask(&lo.lo_twin, &r, 0) == h[0] + KB4(13));
	must(ask(&lo.lo_twin, &r, 0) == h[1]);
	ask(&lo.lo_twin, &r, ENOMEM);
	r.vr_min = h[3] + KB4(2);	/* 18 left, 8, 7 left */
	r.vr_max = h[5] + KB4(7);
	must(ask(&lo.lo_twin, &r, 0) == h[5]);
	must(ask(&lo.lo_twin, &r, 0) == h[4]);
	must(ask(&lo.lo_twin, &r, 0) == h[3] + KB4(2));
	layout_fini(&lo);

	EXPECT_LAYOUT(&lo, MAP_MID, 20, 50);
	r.vr_min = h[1] + KB4(3);	/* inside one hole */
	r.vr_max = h[1] + KB4(9);
	must(ask(&lo.lo_twin, &r, 0) == h[1] + KB4(3));
	r.vr_min = h[1] + KB4(20);
	r.vr_max = h[1] + KB4(25);	/* one page too small */
	ask(&lo.lo_twin, &r, ENOMEM);
	layout_fini(&lo);
}
END_TEST

/* Every window over a small map, every size. */
START_TEST(promise_2_every_window)
{
	struct vm_map_request r = { 0 };
	struct twin *t = &lo.lo_twin;
	vaddr_t addr;
	size_t a, b, n;

	EXPECT_LAYOUT(&lo, MAP_ROUND, 3, 5, 1, 4, 2, 5, 34, 3);
	t->t_lazy = true;
	for (a = 0; a < t->t_oracle.o_npages; a++) {
		for (b = a + 1; b <= t->t_oracle.o_npages; b++) {
			r.vr_min = oracle_va(&t->t_oracle, a);
			r.vr_max = oracle_va(&t->t_oracle, b);
			for (n = 1; n <= 6; n++) {
				r.vr_size = KB4(n);
				if (twin_alloc(t, &r, &addr) == 0)
					twin_free(t, addr, r.vr_size);
			}
		}
	}
	layout_fini(&lo);
}
END_TEST

/* The tightest of the request's class, or of the next; small ones lowest. */
START_TEST(promise_3_next_class)
{
	vaddr_t *h = lo.lo_hole;

	EXPECT_LAYOUT(&lo, MAP_ROUND, 40, 90, 47, 63, 48, 64, 33);
	layout_expect(&lo, 45, h[2]);	/* 33…47 has one of 47 */
	layout_expect(&lo, 44, h[4]);	/* and now none: 48…63, the 48 */
	layout_expect(&lo, 33, h[6]);	/* exact */
	layout_expect(&lo, 20, h[0]);	/* none to 32: lowest of 33…47 */
	layout_expect(&lo, 64, h[5]);
	layout_fini(&lo);
}
END_TEST

/* Only the first sixteen of a class are looked at. */
START_TEST(promise_3_first_sixteen)
{
	unsigned npages[18], i;
	vaddr_t *h = lo.lo_hole;

	for (i = 0; i < 18; i++)
		npages[i] = i == 15 ? 42 : i == 16 ? 41 : i == 17 ? 50 : 44;
	layout_init(&lo, __func__, MAP_ROUND, npages, 18);
	layout_expect(&lo, 41, h[15]);	/* 41 is the seventeenth */
	layout_expect(&lo, 41, h[16]);	/* now it is the sixteenth */
	layout_fini(&lo);

	for (i = 0; i < 18; i++)
		npages[i] = i == 17 ? 50 : i == 16 ? 45 : 40;
	layout_init(&lo, __func__, MAP_ROUND, npages, 18);
	layout_expect(&lo, 45, h[17]);	/* none of sixteen: the next class */
	layout_expect(&lo, 45, h[16]);	/* and then the lowest that fits */
	layout_fini(&lo);
}
END_TEST

/* None at or above: the first that fits. */
START_TEST(promise_3_first_that_fits)
{
	vaddr_t *h = lo.lo_hole;

	EXPECT_LAYOUT(&lo, MAP_ROUND, 36, 45, 46, 43);
	layout_expect(&lo, 44, h[1]);
	layout_expect(&lo, 37, h[3]);
	layout_expect(&lo, 37, h[2]);
	layout_fini(&lo);
}
END_TEST

/* Half octaves, or whole ones from 128 on where addresses are long. */
START_TEST(promise_3_octaves)
{
	vaddr_t *h = lo.lo_hole;
	bool wide = VM_MAP_PAGE_BITS > 20;

	EXPECT_LAYOUT(&lo, MAP_ROUND, 200, 150, 250, 700, 400, 260);
	layout_expect(&lo, 20, wide ? h[0] : h[1]);
	layout_expect(&lo, 100, wide ? h[1] : h[1] + KB4(20));
	layout_expect(&lo, 151, wide ? h[0] + KB4(20) : h[0]);
	layout_expect(&lo, 193, h[2]);
	layout_fini(&lo);
}
END_TEST

/* A part in a window belongs to the class of the part. */
START_TEST(promise_3_windows_cut_holes)
{
	struct vm_map_request r = { .vr_size = KB4(34) };
	vaddr_t *h = lo.lo_hole;

	EXPECT_LAYOUT(&lo, MAP_MID, 100, 70, 90, 100);
	r.vr_min = h[0] + KB4(60);	/* 40 left: the class of 34 */
	r.vr_max = h[3] + KB4(50);	/* 50 of 100: the next class */
	must(ask(&lo.lo_twin, &r, 0) == h[0] + KB4(60));
	must(ask(&lo.lo_twin, &r, 0) == h[3]);
	must(ask(&lo.lo_twin, &r, 0) == h[1]);
	layout_fini(&lo);
}
END_TEST

/* 4 pages aligned to 8 among holes of 4 that are not aligned, but for one. */
START_TEST(promise_4_among_misaligned_holes)
{
	struct vm_map_request r = { .vr_size = KB4(4), .vr_align = KB4(8) };
	unsigned npages[MAXHOLES], i;

	for (i = 0; i < MAXHOLES; i++)
		npages[i] = i % 2 == 0 ? 4 : 2;	/* 4+1+2+1 */
	layout_init(&lo, __func__, MAP_ROUND + PAGE_SIZE, npages, MAXHOLES);
	ask(&lo.lo_twin, &r, ENOMEM);
	layout_fini(&lo);

	npages[100] = 3;	/* shifts those behind it */
	npages[102] = 5;	/* and back */
	layout_init(&lo, __func__, MAP_ROUND + PAGE_SIZE, npages, MAXHOLES);
	must(ask(&lo.lo_twin, &r, 0) % KB4(8) == 0);
	ask(&lo.lo_twin, &r, ENOMEM);
	layout_fini(&lo);
}
END_TEST

/* Every size and alignment, to the window's size, in all states of filling. */
START_TEST(promise_4_every_alignment)
{
	uint64_t seed = 400 + (uint64_t)_i;
	struct vm_map_request r = { 0 };
	unsigned npages[40], i, served = 0;
	struct twin *t = &lo.lo_twin;
	vaddr_t addr;

	for (i = 0; i < nitems(npages); i++)
		npages[i] = 1 + twin_random(&seed, 60);
	layout_init(&lo, __func__, _i % 2 ? MAP_MID : MAP_LOW, npages,
	    nitems(npages));
	t->t_seed = 400 + (uint64_t)_i;
	t->t_lazy = true;
	for (i = 0; i < 1500; i++) {
		r.vr_size = KB4(1 + twin_random(&seed, 40));
		r.vr_align = PAGE_SIZE << twin_random(&seed, 11);
		r.vr_guard_lo = twin_random(&seed, 8) == 0;
		if (twin_alloc(t, &r, &addr) != 0)
			continue;
		must(addr % r.vr_align == 0);
		served++;
		if (i % 5 != 0)
			twin_free(t, addr, r.vr_size);
	}
	must(served > 200);
	layout_fini(&lo);
}
END_TEST

/* An alignment below a page asks for nothing. */
START_TEST(promise_4_small_alignments)
{
	struct vm_map_request r = { .vr_size = KB4(2) };
	vaddr_t *h = lo.lo_hole;

	EXPECT_LAYOUT(&lo, MAP_LOW, 5, 3, 2, 2, 2, 2);
	for (r.vr_align = 1; r.vr_align <= 8; r.vr_align *= 2)
		must(ask(&lo.lo_twin, &r, 0) == h[2 + bit_lowest32(
		    (uint32_t)r.vr_align)]);
	r.vr_align = PAGE_SIZE;
	must(ask(&lo.lo_twin, &r, 0) == h[1]);
	layout_fini(&lo);
}
END_TEST

START_TEST(promise_5_first_fit)
{
	struct vm_map_request r = { .vr_policy = VM_FIT_FIRST };
	vaddr_t *h = lo.lo_hole;

	EXPECT_LAYOUT(&lo, MAP_ROUND, 3, 9, 4, 100, 4, 3);
	r.vr_size = KB4(4);
	must(ask(&lo.lo_twin, &r, 0) == h[1]);
	must(ask(&lo.lo_twin, &r, 0) == h[1] + KB4(4));
	must(ask(&lo.lo_twin, &r, 0) == h[2]);
	r.vr_align = KB4(32);
	must(ask(&lo.lo_twin, &r, 0) == MAP_ROUND + KB4(32));
	r.vr_align = 0;
	r.vr_min = h[3] + KB4(50);
	r.vr_max = h[5];
	must(ask(&lo.lo_twin, &r, 0) == r.vr_min);
	layout_fini(&lo);
}
END_TEST

START_TEST(promise_5_topdown)
{
	struct vm_map_request r = { .vr_policy = VM_FIT_TOPDOWN };
	vaddr_t *h = lo.lo_hole;

	EXPECT_LAYOUT(&lo, MAP_ROUND, 3, 9, 4, 100, 6, 3);
	r.vr_size = KB4(4);
	must(ask(&lo.lo_twin, &r, 0) == h[4] + KB4(2));
	must(ask(&lo.lo_twin, &r, 0) == h[3] + KB4(96));
	r.vr_max = h[3] + KB4(10);
	r.vr_min = h[0];
	must(ask(&lo.lo_twin, &r, 0) == h[3] + KB4(6));
	r.vr_align = KB4(8);
	must(ask(&lo.lo_twin, &r, 0) == MAP_ROUND + KB4(8));
	layout_fini(&lo);
}
END_TEST

/* Guards belong to the region, and alignment to what lies behind them. */
START_TEST(guards)
{
	struct vm_map_request r = {
		.vr_size = KB4(2), .vr_guard_lo = 1, .vr_guard_hi = 2,
		.vr_align = KB4(4),
	};
	struct twin *t = &lo.lo_twin;
	vaddr_t *h = lo.lo_hole;

	EXPECT_LAYOUT(&lo, MAP_ROUND, 8, 4, 5, 30);
	must(ask(t, &r, 0) == MAP_ROUND + KB4(4));	/* [3, 8) cut: 4…8 */
	r.vr_align = 0;
	must(ask(t, &r, 0) == h[2] + PAGE_SIZE);
	must(twin_free(t, h[2], KB4(5)) == EINVAL);
	must(twin_free(t, h[2] + PAGE_SIZE, KB4(4)) == EINVAL);
	must(twin_free(t, h[2], KB4(2)) == EINVAL);
	must(twin_free(t, h[2] + PAGE_SIZE, KB4(2)) == 0);
	must(twin_free(t, h[2] + PAGE_SIZE, KB4(2)) == EFAULT);
	r.vr_guard_lo = r.vr_guard_hi = 2;	/* [h3, h3 + 6) */
	must(ask(t, &r, 0) == h[3] + KB4(2));
	must(twin_protect(t, h[3] + KB4(1), h[3] + KB4(6), 1) == EINVAL);
	must(twin_wire(t, h[3] + KB4(2), h[3] + KB4(5)) == EINVAL);
	must(twin_remove(t, h[3] + KB4(1), h[3] + KB4(5)) == EINVAL);
	must(twin_wire(t, h[3] + KB4(2), h[3] + KB4(4)) == 0);
	must(twin_protect(t, h[3], h[3] + KB4(6), 1) == 0);
	must(twin_unwire(t, h[3], h[3] + KB4(6)) == 0);
	must(twin_remove(t, h[3], h[3] + KB4(6)) == 0);
	r.vr_guard_lo = r.vr_guard_hi = 255;
	ask(t, &r, ENOMEM);
	r.vr_guard_lo = 256;
	ask(t, &r, EINVAL);
	layout_fini(&lo);
}
END_TEST

static const struct {
	unsigned	npages, flags, nops;
} random_run[] = {
	{ 1, VM_MAP_KERNEL, 2000 },	{ 1, VM_MAP_USER, 2000 },
	{ 7, VM_MAP_KERNEL, 10000 },	{ 7, VM_MAP_USER, 10000 },
	{ 64, VM_MAP_KERNEL, 20000 },	{ 64, VM_MAP_USER, 20000 },
	{ 700, VM_MAP_KERNEL, 12000 },	{ 700, VM_MAP_USER, 12000 },
	{ 3000, VM_MAP_KERNEL, 6000 },	{ 3000, VM_MAP_USER, 6000 },
};

START_TEST(random_operations)
{
	unsigned npages = random_run[_i % nitems(random_run)].npages, i;
	unsigned round = (unsigned)_i / nitems(random_run);
	vaddr_t min[] = { MAP_MID, MAP_LOW, MAP_TOP - KB4(npages) };
	const char *more = getenv("HOLM_MORE");
	uint64_t seed = 1000 + (uint64_t)_i;
	struct twin_source from = { twin_random, &seed };
	unsigned nops = random_run[_i % nitems(random_run)].nops;
	static struct twin t;

	if (more != NULL) {
		seed += strtoul(more, NULL, 0) * 1000;
		nops *= 10;
	}
	twin_init(&t, __func__, min[round], min[round] + KB4(npages),
	    random_run[_i % nitems(random_run)].flags);
	t.t_seed = seed;
	for (i = 0; i < nops; i++)
		twin_step(&t, &from);
	must(t.t_errors[0] > nops / 10);
	if (npages >= 64) {
		must(t.t_errors[ENOMEM] > 10 && t.t_errors[EINVAL] > 10);
		must(t.t_errors[EEXIST] > 10 && t.t_errors[EFAULT] > 10);
		must(t.t_errors[EBUSY] > 2);
	}
	if (getenv("HOLM_VERBOSE") != NULL)
		printf("%u pages: of %lu aligned %lu from a smallest fit\n",
		    npages, t.t_aligned, t.t_tight);
	twin_fini(&t);
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_test(tc, promise_0_classes);
	tcase_add_test(tc, promise_1_never_fails_while_a_hole_fits);
	tcase_add_loop_test(tc, promise_1_fills_to_the_last_page, 0, 3);
	tcase_add_loop_test(tc, promise_2_exactly_the_best_hole, 0, 10);
	tcase_add_test(tc, promise_2_next_larger_hole);
	tcase_add_test(tc, promise_2_slab_question);
	tcase_add_test(tc, promise_2_windows_cut_holes);
	tcase_add_test(tc, promise_2_every_window);
	tcase_add_test(tc, promise_3_next_class);
	tcase_add_test(tc, promise_3_first_sixteen);
	tcase_add_test(tc, promise_3_first_that_fits);
	tcase_add_test(tc, promise_3_octaves);
	tcase_add_test(tc, promise_3_windows_cut_holes);
	tcase_add_test(tc, promise_4_among_misaligned_holes);
	tcase_add_loop_test(tc, promise_4_every_alignment, 0, 6);
	tcase_add_test(tc, promise_4_small_alignments);
	tcase_add_test(tc, promise_5_first_fit);
	tcase_add_test(tc, promise_5_topdown);
	tcase_add_test(tc, guards);
	tcase_add_loop_test(tc, random_operations, 0,
	    3 * (int)nitems(random_run));
}

int
main(void)
{
	return map_test_main("vm_map", add);
}
