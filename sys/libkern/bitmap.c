/*
 * A bitmap with 32-way summaries above it.
 *
 * 1. What it is
 *
 * Level 0 holds the bits.  Each word of 32 of them has one bit in level 1,
 * set when any of them is; each word of level 1 one bit in level 2; and so on
 * up to the level that is a single word.  2^20 bits need four levels of
 * 32,768 + 1,024 + 32 + 1 words, 135,300 bytes:
 *
 *	level 3		[         one word         ]
 *	level 2		[w0][w1] ...            [w31]
 *	level 1		[w0][w1] ...                 ...  [w1023]
 *	level 0		[w0][w1] ...                             ...  [w32767]
 *
 * So the lowest set bit of all is one bit-scan a level away, whatever the
 * bits are, and setting or clearing one touches one word, or one more for
 * each level in which a word becomes or ceases to be zero.
 *
 * 2. Invariants (bitmap_check)
 *
 *  I1	In each level above 0, a bit is set exactly when the word below it,
 *	that it stands for, is not zero.
 *  I2	No bit is set at or above the number of bits of its level.
 *
 * 3. Searching for the next set bit
 *
 * From bit i go up: look at what is left of i's word; when that is empty, the
 * next word's bit in the level above is where to go on.  Where i is the first
 * bit of its word there is nothing to look at: its summary says as much.  So
 * a search from 0 begins at the top, and one from 4,096 = 4 * 32^2 (a zone
 * that begins at 16 MiB) two levels up.  Once a set bit is found, go down:
 * by I1 every word on the way has one.
 *
 * 4. Searching for a run
 *
 * Whether [s, s + n) is all set is asked from its far end: the last clear bit
 * c of it rules out every begin up to c, so the next candidate lies behind c,
 * and a failed look costs about as much as it moves the search on
 * (Boyer and Moore's idea).  Words of zeroes are skipped by way of the
 * summaries.
 *
 * A run of at most 32 that begins in a word ends in it or in the next.  Of the
 * two together, w & w >> 1 leaves the bits at which two set ones begin; that
 * again with w >> 2, four; and so on: all runs of n that begin in the word are
 * found by some log2 n steps, without a branch for each piece in it.
 *
 * Summaries tell nothing of clear bits; whoever looks for those reads words.
 *
 * 5. What it does not do
 *
 * It does not lock, and does not count.
 */
#include <libkern/bitmap.h>
#include <libkern/libkern.h>

/* Bits [lo, 32) of a word, and bits [0, hi), 0 < hi <= 32. */
#define MASK_FROM(lo)	(UINT32_MAX << (lo))
#define MASK_BELOW(hi)	(UINT32_MAX >> (32 - (hi)))

static uint32_t
words(uint32_t bits)
{
	return howmany(bits, 32);
}

size_t
bitmap_size(uint32_t n)
{
	size_t total = 0;

	do {
		n = words(n);
		total += n;
	} while (n > 1);
	return total * sizeof(uint32_t);
}

void
bitmap_init(struct bitmap *bm, void *mem, uint32_t n)
{
	uint32_t *w = mem;
	unsigned l = 0;

	memset(mem, 0, bitmap_size(n));
	memset(bm, 0, sizeof(*bm));
	for (;;) {
		bm->bm_level[l] = w;
		bm->bm_bits[l] = n;
		n = words(n);
		w += n;
		if (n <= 1)
			break;
		l++;
	}
	bm->bm_top = l;
}

/* Set bits in a word of level 0, and what stands for it above. */
static void
word_set(struct bitmap *bm, uint32_t word, uint32_t mask)
{
	uint32_t *w, old;
	unsigned l;

	for (l = 0;; l++) {
		w = &bm->bm_level[l][word];
		old = *w;
		*w |= mask;
		if (old != 0 || l == bm->bm_top)
			break;
		mask = 1u << (word % 32);
		word /= 32;
	}
}

static void
word_clear(struct bitmap *bm, uint32_t word, uint32_t mask)
{
	uint32_t *w;
	unsigned l;

	for (l = 0;; l++) {
		w = &bm->bm_level[l][word];
		*w &= ~mask;
		if (*w != 0 || l == bm->bm_top)
			break;
		mask = 1u << (word % 32);
		word /= 32;
	}
}

void
bitmap_set(struct bitmap *bm, uint32_t i)
{
	word_set(bm, i / 32, 1u << (i % 32));
}

void
bitmap_clear(struct bitmap *bm, uint32_t i)
{
	word_clear(bm, i / 32, 1u << (i % 32));
}

uint32_t
bitmap_take_word(struct bitmap *bm, uint32_t i)
{
	uint32_t bits = bm->bm_level[0][i / 32];

	if (bits != 0)
		word_clear(bm, i / 32, bits);
	return bits;
}

void
bitmap_put_word(struct bitmap *bm, uint32_t i, uint32_t bits)
{
	if (bits != 0)
		word_set(bm, i / 32, bits);
}

/*
 * The part of [lo, hi), lo < hi, that lies in lo's word.
 * => returns where the rest begins
 */
static uint32_t
first_part(uint32_t lo, uint32_t hi, uint32_t *mask)
{
	uint32_t end = rounddown2(lo, 32u) + 32;

	*mask = MASK_FROM(lo % 32);
	if (end <= hi)
		return end;
	*mask &= MASK_BELOW(hi % 32);
	return hi;
}

void
bitmap_set_range(struct bitmap *bm, uint32_t lo, uint32_t hi)
{
	uint32_t next, mask;

	for (; lo < hi; lo = next) {
		next = first_part(lo, hi, &mask);
		word_set(bm, lo / 32, mask);
	}
}

void
bitmap_clear_range(struct bitmap *bm, uint32_t lo, uint32_t hi)
{
	uint32_t next, mask;

	for (; lo < hi; lo = next) {
		next = first_part(lo, hi, &mask);
		word_clear(bm, lo / 32, mask);
	}
}

uint32_t
bitmap_next_set(const struct bitmap *bm, uint32_t i)
{
	uint32_t w = 0;
	unsigned l;

	for (l = 0; i < bm->bm_bits[l]; l++) {
		if (i % 32 != 0 || l == bm->bm_top) {
			w = bm->bm_level[l][i / 32] & MASK_FROM(i % 32);
			if (w != 0 || l == bm->bm_top)
				break;
			i += 32;
		}
		i /= 32;
	}
	if (w == 0)
		return bm->bm_bits[0];
	i = rounddown2(i, 32u) + bit_lowest32(w);
	while (l > 0)
		i = i * 32 + bit_lowest32(bm->bm_level[--l][i]);
	return i;
}

uint32_t
bitmap_first_clear(const struct bitmap *bm, uint32_t lo, uint32_t hi)
{
	uint32_t i, next, mask, w;

	for (i = lo; i < hi; i = next) {
		next = first_part(i, hi, &mask);
		w = ~bm->bm_level[0][i / 32] & mask;
		if (w != 0)
			return rounddown2(i, 32u) + bit_lowest32(w);
	}
	return hi;
}

uint32_t
bitmap_last_clear(const struct bitmap *bm, uint32_t lo, uint32_t hi)
{
	uint32_t i, begin, w;

	for (i = hi; i > lo; i = begin) {
		begin = rounddown2(i - 1, 32u);
		w = ~bm->bm_level[0][begin / 32] & MASK_BELOW(i - begin);
		if (begin < lo)
			w &= MASK_FROM(lo - begin);
		if (w != 0)
			return begin + bit_highest32(w);
	}
	return hi;
}

/* Bits of w at which n set ones in a row begin, n <= 32. */
static uint64_t
begins(uint64_t w, uint32_t n)
{
	uint32_t have, step;

	for (have = 1; have < n; have += step) {
		step = have < n - have ? have : n - have;
		w &= w >> step;
	}
	return w;
}

/* Two words, and of the first one what is at or above bit i. */
static uint64_t
two_words(const struct bitmap *bm, uint32_t i)
{
	uint32_t w = i / 32;
	uint64_t two = bm->bm_level[0][w] & MASK_FROM(i % 32);

	if (w + 1 < words(bm->bm_bits[0]))
		two |= (uint64_t)bm->bm_level[0][w + 1] << 32;
	return two;
}

/*
 * Runs and alignments of at most 32: all that begin in a word, at once.  The
 * mask has every align-th bit.
 */
static uint32_t
find_short(const struct bitmap *bm, uint32_t n, uint32_t align, uint32_t lo,
    uint32_t hi, uint32_t top)
{
	const uint32_t mask = UINT32_MAX / (UINT32_MAX >> (32 - align));
	uint32_t s, at;

	for (s = lo; s < top; s = rounddown2(s, 32u) + 32) {
		if (bm->bm_level[0][s / 32] == 0)
			s = bitmap_next_set(bm, s);
		if (s >= top)
			break;
		at = (uint32_t)begins(two_words(bm, s), n) & mask;
		if (at == 0)
			continue;
		s = rounddown2(s, 32u) + bit_lowest32(at);
		return s < top && n <= top - s ? s : hi;
	}
	return hi;
}

static uint32_t
find_long(const struct bitmap *bm, uint32_t n, uint32_t align, uint32_t lo,
    uint32_t hi, uint32_t top)
{
	uint32_t s, clear;

	for (s = lo; s < top; s = clear + 1) {
		s = roundup2(bitmap_next_set(bm, s), align);
		if (s >= top || n > top - s)
			break;
		clear = bitmap_last_clear(bm, s, s + n);
		if (clear == s + n)
			return s;
	}
	return hi;
}

uint32_t
bitmap_find_run(const struct bitmap *bm, uint32_t n, uint32_t align,
    uint32_t lo, uint32_t hi)
{
	uint32_t top = hi < bm->bm_bits[0] ? hi : bm->bm_bits[0];

	if (n == 0)
		return hi;
	return (n <= 32 && align <= 32 ? find_short : find_long)(bm, n, align,
	    lo, hi, top);
}

/* Is word w of level l, and its bit above it, as I1 and I2 have it? */
static const char *
check_word(const struct bitmap *bm, unsigned l, uint32_t w)
{
	uint32_t word = bm->bm_level[l][w];
	uint32_t bits = bm->bm_bits[l] - w * 32;

	if (bits < 32 && (word & MASK_FROM(bits)) != 0)
		return "a bit beyond the end is set";
	if (l == bm->bm_top)
		return NULL;
	if ((bm->bm_level[l + 1][w / 32] >> (w % 32) & 1) != (word != 0))
		return "a summary differs from what is below it";
	return NULL;
}

const char *
bitmap_check(const struct bitmap *bm)
{
	const char *why;
	uint32_t w;
	unsigned l;

	for (l = 0; l <= bm->bm_top; l++) {
		if (l > 0 && bm->bm_bits[l] != words(bm->bm_bits[l - 1]))
			return "a level has the wrong size";
		for (w = 0; w < words(bm->bm_bits[l]); w++) {
			why = check_word(bm, l, w);
			if (why != NULL)
				return why;
		}
	}
	return NULL;
}
