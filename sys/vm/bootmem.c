/*
 * Boot memory: ranges of frames, before there is a vm_phys.
 *
 * 1. What it is
 *
 * Two tables of ranges, each sorted, disjoint and joined (no two touch): the
 * RAM there is, and what of the physical address space is in use.  What is
 * in the first and not in the second is free:
 *
 *	RAM	[=========]      [==================]    [====]
 *	taken	[==]          [=====]   [==]             [====] [==]
 *	free	    [=====]          [=]    [=======]
 *
 * Free ranges are not stored but found, by walking both tables side by side.
 *
 * 2. When a table is full
 *
 * A table that cannot take one range more errs to the safe side, says so in
 * bm_lost, and goes on.  RAM: the smallest of the ranges is dropped.  Taken:
 * the new range is joined with its nearest neighbour, and what lies between
 * them counts as taken too; kept, the same.  So some RAM is not used, but
 * none is used that must not be.
 *
 * 3. Its end
 *
 * bootmem_close hands the free ranges to vm_phys, and from then on nothing
 * can be placed here: two allocators over the same frames would be one too
 * many.  The tables stay readable.
 *
 * What the loader left is taken, but only until boot is over: then
 * bootmem_release hands over what of it is not kept.  A frame that is kept in
 * part is kept.
 *
 * 4. Locking: none; there is one CPU, and no interrupt yet.
 */
#include <libkern/errno.h>
#include <libkern/libkern.h>
#include <vm/bootmem.h>
#include <vm/vm_host.h>

#define BYTES_4G	((uint64_t)PFN_MAX << PAGE_SHIFT)

static uint64_t
bytes(pfn_t npages)
{
	return (uint64_t)npages << PAGE_SHIFT;
}

static pfn_t
pfn_min(pfn_t a, pfn_t b)
{
	return a < b ? a : b;
}

static pfn_t
pfn_max(pfn_t a, pfn_t b)
{
	return a > b ? a : b;
}

void
bootmem_init(struct bootmem *bm)
{
	memset(bm, 0, sizeof(*bm));
}

static void
check_open(const struct bootmem *bm, const char *func, uint64_t a, uint64_t b)
{
	if (bm->bm_closed)
		vm_host_panic("%s: 0x%llx, 0x%llx: boot memory is closed",
		    func, (unsigned long long)a, (unsigned long long)b);
}

/*
 * Tables.  The index of the first range that ends at or above pfn, so that
 * the range before it does not even touch pfn.
 */
static unsigned
table_find(const struct bootmem_range *t, unsigned n, pfn_t pfn)
{
	unsigned i;

	for (i = 0; i < n && t[i].br_end < pfn; i++)
		;
	return i;
}

static void
table_remove(struct bootmem_range *t, unsigned *n, unsigned i)
{
	(*n)--;
	memmove(&t[i], &t[i + 1], (*n - i) * sizeof(*t));
}

static void
table_insert(struct bootmem_range *t, unsigned *n, unsigned i,
    struct bootmem_range r)
{
	memmove(&t[i + 1], &t[i], (*n - i) * sizeof(*t));
	t[i] = r;
	(*n)++;
}

/*
 * Join r with all that it overlaps or touches from t[i] on, which becomes
 * one range.
 * => false: there is nothing to join it with; nothing has changed
 */
static bool
table_join(struct bootmem_range *t, unsigned *n, unsigned i,
    struct bootmem_range r)
{
	if (i == *n || t[i].br_start > r.br_end)
		return false;
	t[i].br_start = pfn_min(t[i].br_start, r.br_start);
	t[i].br_end = pfn_max(t[i].br_end, r.br_end);
	while (i + 1 < *n && t[i + 1].br_start <= t[i].br_end) {
		t[i].br_end = pfn_max(t[i].br_end, t[i + 1].br_end);
		table_remove(t, n, i + 1);
	}
	return true;
}

/* Frames of RAM, free or taken, in [start, end). */
static pfn_t
ram_in(const struct bootmem *bm, pfn_t start, pfn_t end)
{
	pfn_t lo, hi, sum = 0;
	unsigned i;

	for (i = 0; i < bm->bm_nram; i++) {
		lo = pfn_max(bm->bm_ram[i].br_start, start);
		hi = pfn_min(bm->bm_ram[i].br_end, end);
		if (lo < hi)
			sum += hi - lo;
	}
	return sum;
}

/* Enter r at i, where it fits; when full, drop the smallest range of all. */
static void
ram_insert(struct bootmem *bm, unsigned i, struct bootmem_range r)
{
	struct bootmem_range *t = bm->bm_ram;
	pfn_t size = r.br_end - r.br_start, min = size;
	unsigned j, victim = BOOTMEM_MAXRANGES;

	if (bm->bm_nram == BOOTMEM_MAXRANGES) {
		for (j = 0; j < bm->bm_nram; j++)
			if (t[j].br_end - t[j].br_start < min) {
				min = t[j].br_end - t[j].br_start;
				victim = j;
			}
		bm->bm_lost += bytes(min);
		if (victim == BOOTMEM_MAXRANGES)
			return;
		table_remove(t, &bm->bm_nram, victim);
		if (victim < i)
			i--;
	}
	table_insert(t, &bm->bm_nram, i, r);
}

void
bootmem_add(struct bootmem *bm, uint64_t start, uint64_t len)
{
	struct bootmem_range r;
	uint64_t end;
	unsigned i;

	check_open(bm, __func__, start, len);
	if (len > UINT64_MAX - start) {
		bm->bm_bad++;
		return;
	}
	end = start + len;
	if (end > BYTES_4G) {
		bm->bm_above4g += end - (start > BYTES_4G ? start : BYTES_4G);
		end = BYTES_4G;
	}
	if (start >= end)
		return;
	r.br_start = (pfn_t)((start + PAGE_MASK) >> PAGE_SHIFT);
	r.br_end = (pfn_t)(end >> PAGE_SHIFT);
	if (r.br_start >= r.br_end) {
		bm->bm_lost += end - start;
		return;
	}
	bm->bm_lost += end - start - bytes(r.br_end - r.br_start);
	i = table_find(bm->bm_ram, bm->bm_nram, r.br_start);
	if (!table_join(bm->bm_ram, &bm->bm_nram, i, r))
		ram_insert(bm, i, r);
}

/*
 * The frames that [start, start + len) has any part in.
 * => what wraps goes up to the very end
 * => false: there are none below 4 GiB
 */
static bool
grow(uint64_t start, uint64_t len, struct bootmem_range *r)
{
	uint64_t end = len > UINT64_MAX - start ? UINT64_MAX : start + len;

	if (len == 0 || start >= BYTES_4G)
		return false;
	if (end > BYTES_4G)
		end = BYTES_4G;
	r->br_start = (pfn_t)(start >> PAGE_SHIFT);
	r->br_end = (pfn_t)((end + PAGE_MASK) >> PAGE_SHIFT);
	return true;
}

/*
 * Cut r out of the i-th range of RAM, which it overlaps: nothing, one piece
 * or two are left.
 */
static void
ram_cut(struct bootmem *bm, unsigned i, struct bootmem_range r)
{
	struct bootmem_range lo = bm->bm_ram[i], hi = lo;

	lo.br_end = r.br_start;
	hi.br_start = r.br_end;
	table_remove(bm->bm_ram, &bm->bm_nram, i);
	if (hi.br_start < hi.br_end)
		table_insert(bm->bm_ram, &bm->bm_nram, i, hi);
	if (lo.br_start < lo.br_end)
		ram_insert(bm, i, lo);
}

void
bootmem_reserve(struct bootmem *bm, uint64_t start, uint64_t len)
{
	struct bootmem_range r;
	unsigned i;

	check_open(bm, __func__, start, len);
	if (!grow(start, len, &r))
		return;
	for (i = bm->bm_nram; i-- > 0;)
		if (bm->bm_ram[i].br_start < r.br_end &&
		    bm->bm_ram[i].br_end > r.br_start)
			ram_cut(bm, i, r);
}

/*
 * No room for r, which belongs before t[i] and touches nothing: take what
 * lies between it and its nearer neighbour as well.
 * => the gap, which is lost
 */
static struct bootmem_range
table_stretch(struct bootmem_range *t, unsigned n, unsigned i,
    struct bootmem_range r)
{
	struct bootmem_range gap;
	bool below;

	below = i == n || (i > 0 &&
	    r.br_start - t[i - 1].br_end <= t[i].br_start - r.br_end);
	if (below) {
		gap.br_start = t[i - 1].br_end;
		gap.br_end = r.br_start;
		t[i - 1].br_end = r.br_end;
	} else {
		gap.br_start = r.br_end;
		gap.br_end = t[i].br_start;
		t[i].br_start = r.br_start;
	}
	return gap;
}

/* Enter r in a table.  => what had to be entered besides, or nothing */
static struct bootmem_range
table_enter(struct bootmem_range *t, unsigned *n, struct bootmem_range r)
{
	unsigned i = table_find(t, *n, r.br_start);

	if (!table_join(t, n, i, r)) {
		if (*n == BOOTMEM_MAXRANGES)
			return table_stretch(t, *n, i, r);
		table_insert(t, n, i, r);
	}
	return (struct bootmem_range){ 0, 0 };
}

static void
take(struct bootmem *bm, struct bootmem_range r)
{
	struct bootmem_range gap = table_enter(bm->bm_taken, &bm->bm_ntaken,
	    r);

	bm->bm_lost += bytes(ram_in(bm, gap.br_start, gap.br_end));
}

/* What is kept is taken: so is what a full table keeps besides. */
static void
keep(struct bootmem *bm, struct bootmem_range r)
{
	struct bootmem_range gap = table_enter(bm->bm_kept, &bm->bm_nkept, r);
	uint64_t lost = bm->bm_lost;

	take(bm, r);
	if (gap.br_start < gap.br_end) {
		take(bm, gap);
		lost += bytes(ram_in(bm, gap.br_start, gap.br_end));
	}
	if (bm->bm_lost < lost)		/* else both tables were full */
		bm->bm_lost = lost;
}

void
bootmem_take(struct bootmem *bm, uint64_t start, uint64_t len)
{
	struct bootmem_range r;

	check_open(bm, __func__, start, len);
	if (grow(start, len, &r))
		take(bm, r);
}

void
bootmem_keep(struct bootmem *bm, uint64_t start, uint64_t len)
{
	struct bootmem_range r;

	check_open(bm, __func__, start, len);
	if (grow(start, len, &r))
		keep(bm, r);
}

/*
 * The first range of RAM without the n ranges of t at or above pfn, cut to
 * begin there.
 * => false: there is none
 */
static bool
next_without(const struct bootmem *bm, const struct bootmem_range *t,
    unsigned n, pfn_t pfn, struct bootmem_range *r)
{
	unsigned i, j = 0;
	pfn_t s, end;

	for (i = 0; i < bm->bm_nram; i++) {
		end = bm->bm_ram[i].br_end;
		s = pfn_max(bm->bm_ram[i].br_start, pfn);
		for (; s < end; s = t[j].br_end) {
			while (j < n && t[j].br_end <= s)
				j++;
			if (j == n || t[j].br_start > s)
				break;
		}
		if (s >= end)
			continue;
		r->br_start = s;
		r->br_end = j == n ? end : pfn_min(end, t[j].br_start);
		return true;
	}
	return false;
}

static bool
next_free(const struct bootmem *bm, pfn_t pfn, struct bootmem_range *r)
{
	return next_without(bm, bm->bm_taken, bm->bm_ntaken, pfn, r);
}

int
bootmem_alloc(struct bootmem *bm, uint64_t size, pfn_t lo, pfn_t hi,
    paddr_t *pa)
{
	struct bootmem_range r;
	uint64_t n;

	check_open(bm, __func__, size, lo);
	if (size == 0)
		return EINVAL;
	n = (size >> PAGE_SHIFT) + ((size & PAGE_MASK) != 0);
	for (; next_free(bm, lo, &r) && r.br_start < hi; lo = r.br_end) {
		if (n > pfn_min(r.br_end, hi) - r.br_start)
			continue;
		r.br_end = r.br_start + (pfn_t)n;
		keep(bm, r);
		*pa = ptoa(r.br_start);
		return 0;
	}
	return ENOMEM;
}

pfn_t
bootmem_npfn(const struct bootmem *bm)
{
	return bm->bm_nram == 0 ? 0 : bm->bm_ram[bm->bm_nram - 1].br_end;
}

void
bootmem_close(struct bootmem *bm)
{
	struct bootmem_range r;
	pfn_t pfn;

	check_open(bm, __func__, bm->bm_nram, bm->bm_ntaken);
	bm->bm_closed = true;
	for (pfn = 0; next_free(bm, pfn, &r); pfn = r.br_end)
		vm_phys_add(r.br_start, r.br_end);
}

/* Hand over what of r is taken.  => how many frames */
static pfn_t
release_taken(const struct bootmem *bm, struct bootmem_range r)
{
	pfn_t lo, hi, sum = 0;
	unsigned i;

	for (i = 0; i < bm->bm_ntaken; i++) {
		lo = pfn_max(bm->bm_taken[i].br_start, r.br_start);
		hi = pfn_min(bm->bm_taken[i].br_end, r.br_end);
		if (lo < hi) {
			vm_phys_add(lo, hi);
			sum += hi - lo;
		}
	}
	return sum;
}

pfn_t
bootmem_release(struct bootmem *bm)
{
	struct bootmem_range r;
	pfn_t pfn, sum = 0;

	if (!bm->bm_closed)
		vm_host_panic("bootmem_release: %u ranges: boot memory is "
		    "still open", bm->bm_ntaken);
	for (pfn = 0; next_without(bm, bm->bm_kept, bm->bm_nkept, pfn, &r);
	    pfn = r.br_end)
		sum += release_taken(bm, r);
	memcpy(bm->bm_taken, bm->bm_kept, sizeof(bm->bm_taken));
	bm->bm_ntaken = bm->bm_nkept;
	return sum;
}

void
bootmem_count(const struct bootmem *bm, pfn_t *ram, pfn_t *kept)
{
	unsigned i;

	*ram = ram_in(bm, 0, PFN_MAX);
	*kept = 0;
	for (i = 0; i < bm->bm_nkept; i++)
		*kept += ram_in(bm, bm->bm_kept[i].br_start,
		    bm->bm_kept[i].br_end);
}

bool
bootmem_free_range(const struct bootmem *bm, unsigned i,
    struct bootmem_range *out)
{
	struct bootmem_range r;
	pfn_t pfn;

	for (pfn = 0; next_free(bm, pfn, &r); pfn = r.br_end)
		if (i-- == 0) {
			*out = r;
			return true;
		}
	return false;
}

static const char *
table_check(const struct bootmem_range *t, unsigned n)
{
	unsigned i;

	if (n > BOOTMEM_MAXRANGES)
		return "a table holds more than it can";
	for (i = 0; i < n; i++) {
		if (t[i].br_start >= t[i].br_end || t[i].br_end > PFN_MAX)
			return "a range is empty or beyond 4 GiB";
		if (i > 0 && t[i - 1].br_end >= t[i].br_start)
			return "ranges are not sorted, disjoint and joined";
	}
	return NULL;
}

const char *
bootmem_check(const struct bootmem *bm)
{
	const char *why;

	why = table_check(bm->bm_ram, bm->bm_nram);
	if (why == NULL)
		why = table_check(bm->bm_taken, bm->bm_ntaken);
	return why != NULL ? why : table_check(bm->bm_kept, bm->bm_nkept);
}
