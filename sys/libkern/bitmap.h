/*
 * A bitmap with 32-way summaries above it.  bitmap.c has the theory.
 *
 * Bits are numbered [0, n).  Nothing here locks or allocates: the memory is
 * the caller's.
 */
#ifndef LIBKERN_BITMAP_H
#define LIBKERN_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITMAP_LEVELS	6		/* 32^6: what BITMAP_MAX needs */
#define BITMAP_MAX	(1u << 30)	/* bits; sums of two fit in 32 bits */

struct bitmap {
	unsigned	 bm_top;		/* the level of one word */
	uint32_t	 bm_bits[BITMAP_LEVELS];	/* in each level */
	uint32_t	*bm_level[BITMAP_LEVELS];
};

/*
 * Set up for n bits, all clear.
 * => n is at most BITMAP_MAX; 0 is fine
 * => mem is bitmap_size(n) bytes, zeroed or not, 4-byte aligned
 */
size_t	bitmap_size(uint32_t n);
void	bitmap_init(struct bitmap *, void *mem, uint32_t n);

static inline bool
bitmap_test(const struct bitmap *bm, uint32_t i)
{
	return (bm->bm_level[0][i / 32] >> (i % 32) & 1) != 0;
}

/* The 32 bits from i, a multiple of 32, on; those beyond the end are clear. */
static inline uint32_t
bitmap_word(const struct bitmap *bm, uint32_t i)
{
	return bm->bm_level[0][i / 32];
}

/* One bit, i < n; set already, or clear already, is fine. */
void	bitmap_set(struct bitmap *, uint32_t i);
void	bitmap_clear(struct bitmap *, uint32_t i);

/* All of [lo, hi), a word at a time; hi <= n, and nothing where lo >= hi. */
void	bitmap_set_range(struct bitmap *, uint32_t lo, uint32_t hi);
void	bitmap_clear_range(struct bitmap *, uint32_t lo, uint32_t hi);

/*
 * The 32 bits from rounddown(i, 32) on as a word, the first in its lowest bit:
 * take them all, so that they are clear, and see which were set; set those
 * of `bits` as well.
 */
uint32_t bitmap_take_word(struct bitmap *, uint32_t i);
void	bitmap_put_word(struct bitmap *, uint32_t i, uint32_t bits);

/* The first set bit at or above i.  => n: there is none */
uint32_t bitmap_next_set(const struct bitmap *, uint32_t i);

/*
 * The first clear bit in [lo, hi) / the last; lo <= hi <= n.
 * => hi: all are set
 * => reads (hi - lo) / 32 words: the summaries know only of set bits
 */
uint32_t bitmap_first_clear(const struct bitmap *, uint32_t lo, uint32_t hi);
uint32_t bitmap_last_clear(const struct bitmap *, uint32_t lo, uint32_t hi);

/*
 * The lowest run of n set bits inside [lo, hi), whose first is a multiple of
 * align, a power of two.  There are no set bits beyond the end.
 * => hi: there is none, or n is 0
 */
uint32_t bitmap_find_run(const struct bitmap *, uint32_t n, uint32_t align,
	    uint32_t lo, uint32_t hi);

/* NULL, or which invariant of bitmap.c is broken (a static string). */
const char *bitmap_check(const struct bitmap *);

#endif
