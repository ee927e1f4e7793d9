/*
 * Bitmaps, through bitmap.h alone, against an array of bools and loops that
 * look at one bool after the other.
 *
 * every_state takes all 65,536 states of 16 bits that straddle two words and
 * applies every operation to each; that is exhaustive, and takes a few
 * seconds.  BITMAP_STEP=n takes every n-th state only.
 */
#include <sys/mman.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libkern/bitmap.h>
#include <libkern/libkern.h>

#include "must.h"

#define MODEL_MAX	40000u

static struct bitmap bm;
static bool model[MODEL_MAX];
static uint32_t nbits;

/* The bitmap's memory ends where nothing can be read any more. */
static void *
memory(size_t size)
{
	static char *map;
	static size_t len;

	if (map != NULL)
		munmap(map, len + 4096);
	len = roundup2(size, 4096u);
	map = mmap(NULL, len + 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(map != MAP_FAILED);
	must(mprotect(map + len, 4096, PROT_NONE) == 0);
	return map + len - size;
}

static void
make(uint32_t n)
{
	void *mem = memory(bitmap_size(n));

	nbits = n;
	memset(mem, 0xA5, bitmap_size(n));
	bitmap_init(&bm, mem, n);
	if (n <= MODEL_MAX)
		memset(model, 0, n);
}

/* The model's answers. */
static uint32_t
slow_next_set(uint32_t i)
{
	while (i < nbits && !model[i])
		i++;
	return i < nbits ? i : nbits;
}

static uint32_t
slow_first_clear(uint32_t lo, uint32_t hi)
{
	while (lo < hi && model[lo])
		lo++;
	return lo;
}

static uint32_t
slow_last_clear(uint32_t lo, uint32_t hi)
{
	uint32_t i;

	for (i = hi; i > lo; i--)
		if (!model[i - 1])
			return i - 1;
	return hi;
}

static uint32_t
slow_find_run(uint32_t n, uint32_t align, uint32_t lo, uint32_t hi)
{
	uint32_t s, i, top = hi < nbits ? hi : nbits;

	for (s = lo; n != 0 && (uint64_t)s + n <= top; s++) {
		if (s % align != 0)
			continue;
		for (i = s; i < s + n && model[i]; i++)
			;
		if (i == s + n)
			return s;
	}
	return hi;
}

static void
same(void)
{
	uint32_t i;

	must(bitmap_check(&bm) == NULL);
	for (i = 0; i < nbits; i++)
		must(bitmap_test(&bm, i) == model[i]);
}

/* The word of bit i is taken, and put back. */
static void
change_word(uint32_t i)
{
	uint32_t bits = bitmap_take_word(&bm, i), b;

	for (b = 0; b < 32; b++) {
		i = rounddown2(i, 32u) + b;
		must((bits >> b & 1) == (i < nbits && model[i]));
		must(i >= nbits || !bitmap_test(&bm, i));
	}
	must(bitmap_check(&bm) == NULL);
	must(bitmap_take_word(&bm, i) == 0);
	bitmap_put_word(&bm, i, bits);
	must(bitmap_check(&bm) == NULL);
}

/* Everything that changes one state, and back again. */
static void
state_changes(uint32_t base)
{
	bool was;
	uint32_t i;

	for (i = base; i < base + 16; i++) {
		was = model[i];
		model[i] = true;
		bitmap_set(&bm, i);
		must(bitmap_test(&bm, i));
		must(bitmap_check(&bm) == NULL);
		model[i] = false;
		bitmap_clear(&bm, i);
		must(!bitmap_test(&bm, i));
		must(bitmap_check(&bm) == NULL);
		model[i] = was;
		if (was)
			bitmap_set(&bm, i);
	}
	change_word(base);
	change_word(base + 15);
}

/* Everything that looks at one. */
static void
state_looks(uint32_t base)
{
	uint32_t i, hi, n, align;

	for (i = base - 2; i < base + 18; i++)
		must(bitmap_next_set(&bm, i) == slow_next_set(i));
	for (i = base - 1; i <= base + 17; i++)
		for (hi = i; hi <= base + 17; hi += 3) {
			must(bitmap_first_clear(&bm, i, hi) ==
			    slow_first_clear(i, hi));
			must(bitmap_last_clear(&bm, i, hi) ==
			    slow_last_clear(i, hi));
		}
	for (n = 1; n <= 17; n++)
		for (align = 1; align <= 16; align *= 2) {
			must(bitmap_find_run(&bm, n, align, base, base + 16) ==
			    slow_find_run(n, align, base, base + 16));
			must(bitmap_find_run(&bm, n, align, base + 1,
			    base + 13) ==
			    slow_find_run(n, align, base + 1, base + 13));
		}
}

START_TEST(every_state)
{
	const char *env = getenv("BITMAP_STEP");
	unsigned step = env == NULL ? 1 : (unsigned)atoi(env);
	uint32_t state, i, base;

	/* Astride the first two words; and the words of level 1, too. */
	base = _i == 0 ? 24 : 1016;
	make(_i == 0 ? 64 : 1100);
	for (state = 0; state <= 0xFFFF; state += step > 0 ? step : 1) {
		for (i = 0; i < 16; i++) {
			model[base + i] = (state >> i & 1) != 0;
			if (model[base + i])
				bitmap_set_range(&bm, base + i, base + i + 1);
			else
				bitmap_clear_range(&bm, base + i,
				    base + i + 1);
		}
		state_looks(base);
		if (state % 16 == 0 || _i == 0)
			state_changes(base);
	}
	same();
}
END_TEST

/* One step, random; how full the bitmap gets is up to `bias` of 256. */
static void
random_step(uint64_t *rnd, unsigned bias)
{
	uint32_t lo = k_random(rnd) % (nbits + 1), hi, i;
	uint32_t n, align;
	bool set = k_random(rnd) % 256 < bias;

	hi = lo + k_random(rnd) % (k_random(rnd) % 64 == 0 ? nbits + 1 : 70);
	if (hi > nbits)
		hi = nbits;
	switch (k_random(rnd) % 5) {
	case 4:
		if (lo < nbits)
			change_word(lo);
		break;
	case 0:
		if (lo == nbits)
			break;
		model[lo] = set;
		(set ? bitmap_set : bitmap_clear)(&bm, lo);
		break;
	case 1:
		for (i = lo; i < hi; i++)
			model[i] = set;
		(set ? bitmap_set_range : bitmap_clear_range)(&bm, lo, hi);
		break;
	case 2:
		must(bitmap_next_set(&bm, lo) == slow_next_set(lo));
		must(bitmap_first_clear(&bm, lo, hi) ==
		    slow_first_clear(lo, hi));
		must(bitmap_last_clear(&bm, lo, hi) ==
		    slow_last_clear(lo, hi));
		break;
	case 3:
		n = 1 + k_random(rnd) % (k_random(rnd) % 8 == 0 ? 2000 : 40);
		align = 1u << (k_random(rnd) % 3 == 0 ?
		    k_random(rnd) % 12 : 0);
		hi = k_random(rnd) % 2 == 0 ? nbits : hi + n;
		must(bitmap_find_run(&bm, n, align, lo, hi) ==
		    slow_find_run(n, align, lo, hi));
		break;
	}
}

static const uint32_t sizes[] = {
	0, 1, 2, 31, 32, 33, 63, 64, 65, 1000, 1023, 1024, 1025, 2048,
	32767, 32768, 32769, MODEL_MAX,
};

START_TEST(random_operations)
{
	static const unsigned bias[] = { 128, 30, 220 };
	uint64_t rnd = 0x5EED0000u + (unsigned)_i;
	unsigned i, b;

	make(sizes[_i]);
	for (b = 0; b < nitems(bias); b++) {
		for (i = 0; i < 4000; i++) {
			random_step(&rnd, bias[b]);
			if (nbits < 3000 || i % 512 == 0)
				must(bitmap_check(&bm) == NULL);
		}
		same();
	}
}
END_TEST

/* 4 GiB of frames: the size that was promised, and one bit anywhere. */
START_TEST(a_million_bits)
{
	const uint32_t n = 1u << 20;
	uint64_t rnd = 0xB17;
	uint32_t i, bit, at;

	ck_assert_uint_eq(bitmap_size(n), 135300);
	make(n);
	ck_assert_uint_eq(bm.bm_top, 3);
	ck_assert_uint_eq(bitmap_next_set(&bm, 0), n);
	for (i = 0; i < 20000; i++) {
		bit = k_random(&rnd) % n;
		at = k_random(&rnd) % (bit + 1);
		bitmap_set(&bm, bit);
		must(bitmap_next_set(&bm, 0) == bit);
		must(bitmap_next_set(&bm, at) == bit);
		must(bitmap_next_set(&bm, bit + 1) == n);
		bitmap_clear(&bm, bit);
		must(bitmap_next_set(&bm, at) == n);
	}
	bitmap_set_range(&bm, 0, n);
	ck_assert_uint_eq(bitmap_first_clear(&bm, 0, n), n);
	ck_assert_uint_eq(bitmap_find_run(&bm, n, n, 0, n), 0);
	bitmap_clear(&bm, n / 2 - 1);
	ck_assert_uint_eq(bitmap_find_run(&bm, n / 2, 1, 0, n), n / 2);
	ck_assert_uint_eq(bitmap_find_run(&bm, n / 2 + 1, 1, 0, n), n);
	ck_assert_uint_eq(bitmap_find_run(&bm, n / 2 - 1, 1, 0, n), 0);
	ck_assert(bitmap_check(&bm) == NULL);
}
END_TEST

START_TEST(strange_arguments)
{
	make(100);
	bitmap_set_range(&bm, 0, 100);
	ck_assert_uint_eq(bitmap_next_set(&bm, 100), 100);
	ck_assert_uint_eq(bitmap_next_set(&bm, UINT32_MAX), 100);
	ck_assert_uint_eq(bitmap_find_run(&bm, 0, 1, 0, 100), 100);
	ck_assert_uint_eq(bitmap_find_run(&bm, UINT32_MAX, 1, 0, 100), 100);
	ck_assert_uint_eq(bitmap_find_run(&bm, 1, 1u << 31, 0, 100), 0);
	ck_assert_uint_eq(bitmap_find_run(&bm, 1, 1u << 31, 1, 100), 100);
	ck_assert_uint_eq(bitmap_find_run(&bm, 1, 1, 0, UINT32_MAX), 0);
	ck_assert_uint_eq(bitmap_find_run(&bm, 101, 1, 0, UINT32_MAX),
	    UINT32_MAX);
	bitmap_set_range(&bm, 50, 50);
	bitmap_clear_range(&bm, 50, 50);
	ck_assert_uint_eq(bitmap_first_clear(&bm, 0, 100), 100);
	/* Sizes where a level is just full, and the largest. */
	ck_assert_uint_eq(bitmap_size(0), 0);
	ck_assert_uint_eq(bitmap_size(1), 4);
	ck_assert_uint_eq(bitmap_size(32), 4);
	ck_assert_uint_eq(bitmap_size(33), 12);
	ck_assert_uint_eq(bitmap_size(1024), 33 * 4);
	ck_assert_uint_eq(bitmap_size(1025), (33 + 2 + 1) * 4);
	ck_assert_uint_eq(bitmap_size(BITMAP_MAX),
	    4 * ((1u << 25) + (1u << 20) + (1u << 15) + (1u << 10) + 33));
}
END_TEST

/* Every single flipped bit above level 0, and beyond the end, is noticed. */
static const uint32_t fault_sizes[] = { 1, 31, 32, 33, 63, 1023, 1024, 1100 };

START_TEST(check_sees_faults)
{
	uint32_t i;
	unsigned l;

	make(fault_sizes[_i]);
	for (i = 0; i < nbits; i += 7)
		bitmap_set(&bm, i);
	for (l = 0; l <= bm.bm_top; l++)
		for (i = l == 0 ? nbits : 0;
		    i < roundup2(bm.bm_bits[l], 32u); i++) {
			bm.bm_level[l][i / 32] ^= 1u << (i % 32);
			must(bitmap_check(&bm) != NULL);
			bm.bm_level[l][i / 32] ^= 1u << (i % 32);
		}
	ck_assert(bitmap_check(&bm) == NULL);
	if (bm.bm_top == 0)
		return;
	bm.bm_bits[1]++;
	ck_assert(bitmap_check(&bm) != NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("bitmap");
	TCase *tc = tcase_create("bitmap");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 240);
	tcase_add_loop_test(tc, every_state, 0, 2);
	tcase_add_loop_test(tc, random_operations, 0, nitems(sizes));
	tcase_add_test(tc, a_million_bits);
	tcase_add_test(tc, strange_arguments);
	tcase_add_loop_test(tc, check_sees_faults, 0, nitems(fault_sizes));
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
