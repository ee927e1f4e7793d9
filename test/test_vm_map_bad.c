/*
 * Bad input: each has a defined errno, and the map is as it was.
 *
 * The tables name the cases one by one.  The cross products leave nothing to
 * what one thought of: every pair of odd addresses, to every operation; the
 * oracle knows the errno and compares the whole map after each.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "map_test.h"

static struct twin t;

/*
 * A map with something in it, at pages 2…4 and 4…7 and 9…10 of 12.  In a
 * kernel map the last has guards of one page on both sides.
 */
#define NPAGES	12

static vaddr_t
at(size_t page)
{
	return oracle_va(&t.t_oracle, page);
}

static void
furnish(vaddr_t min, unsigned flags)
{
	struct vm_map_request r = {
		.vr_size = KB4(1), .vr_min = min + KB4(8),
		.vr_max = min + KB4(11), .vr_prot = VM_PROT_READ,
		.vr_owner = "guarded", .vr_guard_lo = 1, .vr_guard_hi = 1,
	};
	vaddr_t addr;

	twin_init(&t, "bad input", min, min + KB4(NPAGES), flags);
	must(twin_insert(&t, at(2), at(4), VM_PROT_RW, "ann") == 0);
	must(twin_insert(&t, at(4), at(7), VM_PROT_READ, "bob") == 0);
	must(twin_alloc(&t, &r, &addr) == 0);
	must(addr == at(9));
}

/* An address for a table: in pages from the map's begin, and bytes. */
struct where {
	long	page, byte;
};
#define W(p)	{ p, 0 }

static vaddr_t
addr_of(struct where w)
{
	return t.t_oracle.o_min + (vaddr_t)w.page * PAGE_SIZE +
	    (vaddr_t)w.byte;
}

static const struct range_case {
	const char	*what;
	struct where	a, b;		/* [a, b) */
	int		insert, remove, protect, wire;	/* 99: EINVAL or
							   EFAULT */
} kernel_ranges[] = {
	{ "empty, in a hole", W(0), W(0), EINVAL, EINVAL, EINVAL, EINVAL },
	{ "empty, in a region", W(3), W(3), EINVAL, EINVAL, EINVAL, EINVAL },
	{ "inverted", W(4), W(2), EINVAL, EINVAL, EINVAL, EINVAL },
	{ "begin unaligned", { 2, 1 }, W(4), EINVAL, EINVAL, EINVAL, EINVAL },
	{ "end unaligned", W(2), { 4, -1 }, EINVAL, EINVAL, EINVAL, EINVAL },
	{ "begins below", W(-1), W(1), EINVAL, EINVAL, 99, 99 },
	{ "ends above", W(11), W(13), EINVAL, EINVAL, 99, 99 },
	{ "below", W(-1), W(0), EINVAL, EINVAL, 99, 99 },
	{ "above", W(12), W(13), EINVAL, EINVAL, 99, 99 },
	{ "wider than the map", W(-1), W(13), EINVAL, EINVAL, 99, 99 },
	{ "head of a region", W(2), W(3), EEXIST, EINVAL, EINVAL, EINVAL },
	{ "tail of a region", W(3), W(4), EEXIST, EINVAL, EINVAL, EINVAL },
	{ "inside a region", W(5), W(6), EEXIST, EINVAL, EINVAL, EINVAL },
	{ "hole and region", W(1), W(4), EEXIST, EFAULT, EFAULT, EFAULT },
	{ "region and hole", W(4), W(8), EEXIST, EINVAL, EFAULT, EFAULT },
	{ "across a hole", W(4), W(11), EEXIST, EINVAL, EFAULT, EFAULT },
	{ "a hole", W(7), W(8), 0, EFAULT, EFAULT, EFAULT },
	{ "across two, cut", W(3), W(5), EEXIST, EINVAL, EINVAL, EINVAL },
	{ "two regions", W(2), W(7), EEXIST, EINVAL, 0, 0 },
	{ "a guard", W(8), W(9), EEXIST, EINVAL, EINVAL, EINVAL },
};

static void
expect(const char *what, const char *op, int error, int want)
{
	if (want == 99 ? error != EINVAL && error != EFAULT : error != want)
		ck_abort_msg("%s %s: error %d, not %d", op, what, error,
		    want);
}

START_TEST(ranges)
{
	const struct range_case *c;
	vaddr_t a, b;
	size_t i;

	for (i = 0; i < nitems(kernel_ranges); i++) {
		c = &kernel_ranges[i];
		furnish(MAP_MID, VM_MAP_KERNEL);
		a = addr_of(c->a);
		b = addr_of(c->b);
		expect(c->what, "remove", twin_remove(&t, a, b), c->remove);
		expect(c->what, "protect", twin_protect(&t, a, b,
		    VM_PROT_ALL), c->protect);
		expect(c->what, "wire", twin_wire(&t, a, b), c->wire);
		if (c->wire == 0)
			must(twin_unwire(&t, a, b) == 0);
		else
			expect(c->what, "unwire", twin_unwire(&t, a, b),
			    c->wire == EFAULT ? 99 : c->wire);
		expect(c->what, "insert", twin_insert(&t, a, b, VM_PROT_RW,
		    "new"), c->insert);
		twin_fini(&t);
	}
}
END_TEST

static const struct {
	const char	*what;
	struct where	a;
	long		size;		/* pages */
	long		bytes;
	int		error;
} frees[] = {
	{ "exact", W(2), 2, 0, 0 },
	{ "of a hole, no size", W(0), 0, 0, 99 },
	{ "of a hole (foreign)", W(0), 1, 0, EFAULT },
	{ "behind a region", W(7), 1, 0, EFAULT },
	{ "size 0", W(2), 0, 0, EINVAL },
	{ "too short", W(2), 1, 0, EINVAL },
	{ "too long", W(2), 3, 0, EINVAL },
	{ "two regions at once", W(2), 5, 0, EINVAL },
	{ "interior, to the end", W(3), 1, 0, EINVAL },
	{ "interior, past the end", W(3), 2, 0, EINVAL },
	{ "interior, inside", W(5), 1, 0, EINVAL },
	{ "hole and region", W(1), 3, 0, EFAULT },
	{ "unaligned address", { 2, 8 }, 2, 0, EINVAL },
	{ "unaligned size", W(2), 2, -1, EINVAL },
	{ "the guard's address", W(8), 1, 0, EINVAL },
	{ "guards included", W(8), 3, 0, EINVAL },
	{ "with the guard behind", W(9), 2, 0, EINVAL },
	{ "the guard behind", W(10), 1, 0, EINVAL },
	{ "between guards", W(9), 1, 0, 0 },
	{ "below the map", W(-1), 1, 0, 99 },
	{ "above the map", W(12), 1, 0, 99 },
	{ "a size that wraps", W(2), -1, 0, EINVAL },
	{ "a size that wraps, in a hole", W(0), -1, 0, 99 },
};

START_TEST(bad_frees)
{
	size_t i;
	vaddr_t a;
	vsize_t size;

	for (i = 0; i < nitems(frees); i++) {
		furnish(_i == 0 ? MAP_LOW : MAP_TOP - KB4(NPAGES),
		    VM_MAP_KERNEL);
		a = addr_of(frees[i].a);
		size = KB4(frees[i].size) + (vsize_t)frees[i].bytes;
		expect(frees[i].what, "free", twin_free(&t, a, size),
		    frees[i].error);
		if (frees[i].error == 0)
			expect(frees[i].what, "double free",
			    twin_free(&t, a, size), EFAULT);
		twin_fini(&t);
	}
}
END_TEST

static const struct {
	const char	*what;
	struct vm_map_request r;
	int		error;		/* 98: EINVAL or ENOMEM */
} requests[] = {
	{ "size 0", { .vr_size = 0 }, EINVAL },
	{ "size unaligned", { .vr_size = PAGE_SIZE + 1 }, EINVAL },
	{ "size of the map", { .vr_size = KB4(NPAGES) }, ENOMEM },
	{ "size above the map", { .vr_size = KB4(NPAGES + 1) }, ENOMEM },
	{ "largest size", { .vr_size = -PAGE_SIZE }, 98 },
	{ "size wraps with a guard", { .vr_size = -PAGE_SIZE,
	    .vr_guard_lo = 1 }, 98 },
	{ "size wraps to a page", { .vr_size = -KB4(2), .vr_guard_lo = 2,
	    .vr_guard_hi = 1 }, 98 },
	{ "size wraps with guards", { .vr_size = -KB4(2), .vr_guard_lo = 255,
	    .vr_guard_hi = 255 }, 98 },
	{ "alignment 3", { .vr_size = PAGE_SIZE, .vr_align = 3 }, EINVAL },
	{ "alignment 3 pages", { .vr_size = PAGE_SIZE, .vr_align = KB4(3) },
	    EINVAL },
	{ "alignment all ones", { .vr_size = PAGE_SIZE,
	    .vr_align = ~(vsize_t)0 }, EINVAL },
	{ "alignment above the map", { .vr_size = PAGE_SIZE,
	    .vr_align = (vsize_t)1 << (8 * sizeof(vsize_t) - 1) }, 98 },
	{ "guard before", { .vr_size = PAGE_SIZE, .vr_guard_lo = 256 },
	    EINVAL },
	{ "guard behind", { .vr_size = PAGE_SIZE, .vr_guard_hi = 256 },
	    EINVAL },
	{ "guard huge", { .vr_size = PAGE_SIZE, .vr_guard_hi = ~0u },
	    EINVAL },
	{ "guards do not fit", { .vr_size = PAGE_SIZE, .vr_guard_lo = 255,
	    .vr_guard_hi = 255 }, ENOMEM },
	{ "policy 3", { .vr_size = PAGE_SIZE, .vr_policy = 3 }, EINVAL },
	{ "policy -1", { .vr_size = PAGE_SIZE, .vr_policy = -1u }, EINVAL },
};

static void
expect_request(const char *what, const struct vm_map_request *r, int want)
{
	vaddr_t addr;
	int error = twin_alloc(&t, r, &addr);

	if (want == 98 ? error != EINVAL && error != ENOMEM : error != want)
		ck_abort_msg("alloc %s: error %d, not %d", what, error, want);
	error = twin_explain(&t, r);
	if (want == EINVAL && error != EINVAL)
		ck_abort_msg("explain %s: error %d", what, error);
}

START_TEST(bad_requests)
{
	size_t i;

	furnish(_i % 2 == 0 ? MAP_MID : MAP_TOP - KB4(NPAGES),
	    _i / 2 == 0 ? VM_MAP_KERNEL : VM_MAP_USER);
	for (i = 0; i < nitems(requests); i++)
		expect_request(requests[i].what, &requests[i].r,
		    requests[i].error);
	twin_fini(&t);
}
END_TEST

static const struct {
	const char	*what;
	struct where	min, max;
	int		error;		/* 97: EINVAL, or as if it were cut */
} windows[] = {
	{ "empty", W(1), W(1), EINVAL },
	{ "inverted", W(7), W(1), EINVAL },
	{ "min unaligned", { 0, 1 }, W(2), EINVAL },
	{ "max unaligned", W(0), { 2, -1 }, EINVAL },
	{ "below", W(-1), W(0), 98 },
	{ "above", W(12), W(13), 98 },
	{ "within a region", W(2), W(3), ENOMEM },
	{ "within two", W(2), W(7), ENOMEM },
	{ "sticks out below, free", W(-1), W(1), 97 },
	{ "sticks out above, free", W(11), W(13), 97 },
	{ "too small for two pages", W(0), W(1), 96 },
};

START_TEST(bad_windows)
{
	size_t i;

	furnish(MAP_MID, _i == 0 ? VM_MAP_KERNEL : VM_MAP_USER);
	for (i = 0; i < nitems(windows); i++) {
		struct vm_map_request r = {
			.vr_size = PAGE_SIZE, .vr_min = addr_of(windows[i].min),
			.vr_max = addr_of(windows[i].max),
		};
		vaddr_t addr;
		int error = windows[i].error;

		if (error == 97) {	/* the oracle admits the two */
			if (twin_alloc(&t, &r, &addr) == 0)
				must(twin_remove(&t, addr,
				    addr + PAGE_SIZE) == 0);
			continue;
		}
		if (error == 96) {
			r.vr_size = KB4(2);
			error = ENOMEM;
		}
		expect_request(windows[i].what, &r, error);
	}
	twin_fini(&t);
}
END_TEST

/* A protection that is none, on a range that exists, and on a hole. */
START_TEST(bad_protections)
{
	static const vm_prot_t bad[] = { VM_PROT_ALL + 1, 0x10, 0x80, -1u };
	struct vm_map_request r = { .vr_size = PAGE_SIZE };
	vaddr_t addr;
	size_t i;

	furnish(MAP_MID, _i == 0 ? VM_MAP_KERNEL : VM_MAP_USER);
	for (i = 0; i < nitems(bad); i++) {
		must(vm_map_protect(&t.t_map, at(2), at(4), bad[i]) == EINVAL);
		must(vm_map_insert(&t.t_map, at(0), at(2), bad[i],
		    "new") == EINVAL);
		must(vm_map_reserve(&t.t_map, at(0), at(2), bad[i],
		    "new") == EINVAL);
		r.vr_prot = bad[i];
		must(vm_map_alloc(&t.t_map, &r, &addr) == EINVAL);
		twin_compare(&t);
	}
	must(twin_protect(&t, at(2), at(4), VM_PROT_ALL) == 0);
	twin_fini(&t);
}
END_TEST

/* What is wired can be neither freed nor removed, nor can it overflow. */
START_TEST(wired)
{
	unsigned i;

	furnish(MAP_LOW, VM_MAP_KERNEL);
	must(twin_wire(&t, at(2), at(7)) == 0);
	must(twin_wire(&t, at(4), at(7)) == 0);
	must(twin_free(&t, at(2), KB4(2)) == EBUSY);
	must(twin_remove(&t, at(4), at(7)) == EBUSY);
	must(twin_unwire(&t, at(2), at(7)) == 0);
	must(twin_free(&t, at(4), KB4(3)) == EBUSY);
	must(twin_unwire(&t, at(2), at(7)) == EINVAL);
	must(twin_free(&t, at(2), KB4(2)) == 0);
	must(twin_unwire(&t, at(4), at(7)) == 0);
	must(twin_free(&t, at(4), KB4(3)) == 0);
	twin_fini(&t);

	furnish(MAP_LOW, VM_MAP_USER);
	must(twin_wire(&t, at(3), at(5)) == 0);
	must(twin_remove(&t, at(2), at(3)) == 0);
	must(twin_remove(&t, at(0), at(12)) == EBUSY);
	must(twin_remove(&t, at(4), at(6)) == EBUSY);
	must(twin_remove(&t, at(0), at(3)) == 0);
	must(twin_remove(&t, at(5), at(12)) == 0);
	must(twin_unwire(&t, at(3), at(6)) == EFAULT);
	t.t_lazy = true;
	for (i = 1; i < UINT16_MAX; i++)
		must(twin_wire(&t, at(3), at(4)) == 0);
	t.t_lazy = false;
	must(twin_wire(&t, at(3), at(5)) == EINVAL);
	must(twin_wire(&t, at(3), at(4)) == EINVAL);
	must(twin_wire(&t, at(4), at(5)) == 0);
	t.t_lazy = true;
	for (i = 1; i < UINT16_MAX; i++)
		must(twin_unwire(&t, at(3), at(4)) == 0);
	t.t_lazy = false;
	must(twin_unwire(&t, at(3), at(5)) == 0);
	must(twin_unwire(&t, at(3), at(5)) == EINVAL);
	must(twin_unwire(&t, at(4), at(5)) == 0);
	must(twin_remove(&t, at(0), at(12)) == 0);
	twin_fini(&t);
}
END_TEST

/* Every pair out of these, to everything that takes two numbers. */
static size_t
odd_numbers(vaddr_t *odd)
{
	vaddr_t min = t.t_oracle.o_min, max = t.t_oracle.o_max;
	size_t n = 0, p;

	for (p = 0; p <= NPAGES; p++)
		odd[n++] = at(p);
	odd[n++] = 0;
	odd[n++] = 1;
	odd[n++] = PAGE_SIZE;
	odd[n++] = KB4(2);
	odd[n++] = min - PAGE_SIZE;
	odd[n++] = min - 1;
	odd[n++] = min + 1;
	odd[n++] = at(3) + 8;
	odd[n++] = max - 1;
	odd[n++] = max + 1;
	odd[n++] = max + PAGE_SIZE;
	odd[n++] = -(vaddr_t)PAGE_SIZE;
	odd[n++] = -(vaddr_t)PAGE_SIZE - 1;
	odd[n++] = -(vaddr_t)KB4(2);
	odd[n++] = ~(vaddr_t)0;
	odd[n++] = (vaddr_t)1 << (8 * sizeof(vaddr_t) - 1);
	return n;
}

static void
window_of(vaddr_t a, vaddr_t b)
{
	struct vm_map_request r = {
		.vr_size = PAGE_SIZE, .vr_min = a, .vr_max = b,
	};
	vaddr_t addr;

	if (twin_alloc(&t, &r, &addr) == 0)
		must(twin_remove(&t, addr, addr + PAGE_SIZE) == 0);
	twin_explain(&t, &r);
	r.vr_min = r.vr_max = 0;
	r.vr_size = a;
	r.vr_align = b;
	if (twin_alloc(&t, &r, &addr) == 0)
		must(twin_remove(&t, addr, addr + a) == 0);
}

/* One pair, to everything; where it succeeds it is undone by starting anew. */
static void
pair(vaddr_t min, unsigned flags, vaddr_t a, vaddr_t b)
{
	if (twin_insert(&t, a, b, VM_PROT_ALL, "new") == 0)
		must(twin_remove(&t, a, b) == 0);
	if (twin_wire(&t, a, b) == 0)
		must(twin_unwire(&t, a, b) == 0);
	must(twin_unwire(&t, a, b) != 0);
	twin_lookup(&t, a);
	twin_next(&t, a);
	window_of(a, b);
	if (twin_protect(&t, a, b, VM_PROT_NONE) == 0) {
		twin_fini(&t);
		furnish(min, flags);
	}
	if (twin_free(&t, a, b) == 0) {
		twin_fini(&t);
		furnish(min, flags);
	}
	if (twin_remove(&t, a, b) == 0) {
		twin_fini(&t);
		furnish(min, flags);
	}
}

START_TEST(every_odd_pair)
{
	vaddr_t min[] = { MAP_LOW, MAP_MID, MAP_TOP - KB4(NPAGES) };
	unsigned flags = _i % 2 == 0 ? VM_MAP_KERNEL : VM_MAP_USER;
	vaddr_t odd[64];
	size_t n, i, j;

	furnish(min[_i / 2], flags);
	n = odd_numbers(odd);
	for (i = 0; i < n; i++)
		for (j = 0; j < n; j++)
			pair(min[_i / 2], flags, odd[i], odd[j]);
	twin_fini(&t);
}
END_TEST

START_TEST(bad_maps)
{
	static struct vm_map m;
	vaddr_t top = -(vaddr_t)PAGE_SIZE;
	static const struct {
		vaddr_t		min, max;
		unsigned	flags;
	} bad[] = {
		{ 0, 0, VM_MAP_KERNEL },
		{ KB4(2), KB4(2), VM_MAP_KERNEL },
		{ KB4(2), KB4(1), VM_MAP_KERNEL },
		{ KB4(2) + 1, KB4(3), VM_MAP_KERNEL },
		{ KB4(2), KB4(3) - 1, VM_MAP_KERNEL },
		{ KB4(2), ~(vaddr_t)0, VM_MAP_KERNEL },
		{ KB4(2), 0, VM_MAP_USER },
		{ -(vaddr_t)PAGE_SIZE, 0, VM_MAP_USER },
		{ KB4(2), KB4(3), 0 },
		{ KB4(2), KB4(3), VM_MAP_KERNEL | VM_MAP_USER },
		{ KB4(2), KB4(3), VM_MAP_KERNEL | 0x40 },
		{ KB4(2), KB4(3), 0x80 },
		/* Twice the largest; in 32 bits, 0. */
		{ 0, 2 * ((vaddr_t)1 << (VM_MAP_PAGE_BITS + 11)), VM_MAP_USER },
	};
	size_t i;

	for (i = 0; i < nitems(bad); i++)
		if (vm_map_init(&m, "bad", bad[i].min, bad[i].max,
		    bad[i].flags, NULL) != EINVAL)
			ck_abort_msg("bad map %zu: not EINVAL", i);
	must(vm_map_init(&m, NULL, MAP_MID, MAP_MID + PAGE_SIZE, VM_MAP_USER,
	    NULL) == EINVAL);
	must(vm_map_init(&m, "top", top - PAGE_SIZE, top, VM_MAP_USER,
	    NULL) == 0);
	must(vm_map_check(&m) == NULL);
	must(vm_map_insert(&m, top - PAGE_SIZE, top, VM_PROT_RW, "x") == 0);
	must(vm_map_insert(&m, top, 0, VM_PROT_RW, "x") == EINVAL);
	must(vm_map_remove(&m, top - PAGE_SIZE, 0) == EINVAL);
	must(vm_map_destroy(&m) == 1);
}
END_TEST

/* As large as maps can be, at both ends of what can be said. */
START_TEST(largest_maps)
{
	vsize_t size = ((vsize_t)1 << (VM_MAP_PAGE_BITS - 1)) << PAGE_SHIFT;
	struct vm_map_request r = { .vr_size = size };
	vaddr_t min[] = { 0, PAGE_SIZE, -(vaddr_t)PAGE_SIZE - size };
	static struct vm_map m;
	vaddr_t addr;
	size_t i;

	for (i = 0; i < nitems(min); i++) {
		must(vm_map_init(&m, "large", min[i], min[i] + size,
		    VM_MAP_KERNEL, NULL) == 0);
		must(vm_map_check(&m) == NULL);
		r.vr_size = size + PAGE_SIZE;
		must(vm_map_alloc(&m, &r, &addr) == ENOMEM);
		r.vr_size = size;
		must(vm_map_alloc(&m, &r, &addr) == 0);
		must(addr == min[i]);
		must(vm_map_check(&m) == NULL);
		must(vm_map_alloc(&m, &r, &addr) == ENOMEM);
		must(vm_map_free(&m, addr, size) == 0);
		r.vr_size = PAGE_SIZE;
		r.vr_policy = VM_FIT_TOPDOWN;
		must(vm_map_alloc(&m, &r, &addr) == 0);
		must(addr == min[i] + size - PAGE_SIZE);
		must(vm_map_check(&m) == NULL);
		must(vm_map_destroy(&m) == 1);
		r.vr_policy = VM_FIT_BEST;
	}
}
END_TEST

/* What is reserved stays: nothing frees it, joins it, or changes it. */
static void
check_reserved(struct vm_map *m, vaddr_t a, vaddr_t b)
{
	struct vm_map_info vi;
	int error;

	must(vm_map_free(m, a, b - a) ==
	    (m->vm_flags == VM_MAP_KERNEL ? EBUSY : EINVAL));
	must(vm_map_remove(m, a, b) == EBUSY);
	error = vm_map_protect(m, a, b, VM_PROT_ALL);
	must(error == EBUSY || error == EINVAL);
	must(vm_map_insert(m, a, b, VM_PROT_READ, "fixed") == EEXIST);
	must(vm_map_check(m) == NULL);
	must(vm_map_lookup(m, a, &vi) == 0);
	must(vi.vi_start == a && vi.vi_end == b);
	must(vi.vi_prot == VM_PROT_READ && vi.vi_wired == 0);
}

START_TEST(reserved)
{
	unsigned flags = _i == 0 ? VM_MAP_KERNEL : VM_MAP_USER;
	static struct vm_map m;
	vaddr_t a = MAP_MID;

	must(vm_map_init(&m, "reserved", a, a + KB4(NPAGES), flags,
	    NULL) == 0);
	must(vm_map_reserve(&m, a, a, VM_PROT_READ, "fixed") == EINVAL);
	must(vm_map_reserve(&m, a + 1, a + KB4(2), 0, "fixed") == EINVAL);
	must(vm_map_reserve(&m, a - PAGE_SIZE, a + KB4(2), 0, "x") == EINVAL);
	must(vm_map_reserve(&m, a + KB4(2), a + KB4(4), VM_PROT_READ,
	    "fixed") == 0);
	must(vm_map_reserve(&m, a + KB4(3), a + KB4(5), 0, "x") == EEXIST);
	check_reserved(&m, a + KB4(2), a + KB4(4));

	/* Equal neighbours, on both sides, stay apart. */
	must(vm_map_insert(&m, a, a + KB4(2), VM_PROT_READ, "fixed") == 0);
	must(vm_map_insert(&m, a + KB4(4), a + KB4(6), VM_PROT_READ,
	    "fixed") == 0);
	check_reserved(&m, a + KB4(2), a + KB4(4));
	must(vm_map_remove(&m, a, a + KB4(6)) ==
	    (flags == VM_MAP_KERNEL ? EINVAL : EBUSY));
	must(vm_map_remove(&m, a + KB4(3), a + KB4(5)) != 0);
	check_reserved(&m, a + KB4(2), a + KB4(4));
	must(vm_map_remove(&m, a, a + KB4(2)) == 0);
	must(vm_map_remove(&m, a + KB4(4), a + KB4(6)) == 0);
	check_reserved(&m, a + KB4(2), a + KB4(4));
	must(vm_map_destroy(&m) == 1);
}
END_TEST

/* A map that still has regions says so, and how many. */
START_TEST(destroyed_with_regions)
{
	furnish(MAP_MID, VM_MAP_KERNEL);
	must(vm_map_destroy(&t.t_map) == 3);
	oracle_fini(&t.t_oracle);
	furnish(MAP_MID, VM_MAP_USER);
	must(twin_wire(&t, at(2), at(7)) == 0);
	must(vm_map_destroy(&t.t_map) == 3);
	oracle_fini(&t.t_oracle);
	must(vm_map_init(&t.t_map, "empty", MAP_MID, MAP_MID + PAGE_SIZE,
	    VM_MAP_USER, NULL) == 0);
	must(vm_map_destroy(&t.t_map) == 0);
}
END_TEST

/* It names the first eight of them, and then says how many more. */
START_TEST(destroy_reports)
{
	static struct vm_map m;
	uint64_t lines;
	unsigned i, n;
	char want[120];

	for (n = 0; n < 12; n++) {
		must(vm_map_init(&m, "left over", MAP_MID, MAP_MID + KB4(32),
		    VM_MAP_KERNEL, NULL) == 0);
		for (i = 0; i < n; i++)
			must(vm_map_insert(&m, MAP_MID + KB4(i), MAP_MID +
			    KB4(i + 1), 0, i == 0 ? NULL : "ann") == 0);
		lines = host_log_count();
		must(vm_map_destroy(&m) == n);
		must(host_log_count() - lines == (n <= 8 ? n : 9));
		snprintf(want, sizeof(want), "left over: region [%#lx, %#lx) "
		    "of %s", MAP_MID + KB4(n - 1), MAP_MID + KB4(n),
		    n == 1 ? "nobody" : "ann");
		if (n > 8)
			snprintf(want, sizeof(want), "and %u more", n - 8);
		must(n == 0 || strstr(host_log_last(), want) != NULL);
	}
}
END_TEST

static void
destroy_kernel_map(void *arg)
{
	(void)arg;
	vm_map_destroy(kernel_map);
}

START_TEST(kernel_map_stays)
{
	must(host_panic_of(destroy_kernel_map, NULL, NULL) != NULL);
	must(vm_map_check(kernel_map) == NULL);
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_test(tc, ranges);
	tcase_add_loop_test(tc, bad_frees, 0, 2);
	tcase_add_loop_test(tc, bad_requests, 0, 4);
	tcase_add_loop_test(tc, bad_windows, 0, 2);
	tcase_add_loop_test(tc, bad_protections, 0, 2);
	tcase_add_test(tc, wired);
	tcase_add_loop_test(tc, every_odd_pair, 0, 6);
	tcase_add_test(tc, bad_maps);
	tcase_add_test(tc, largest_maps);
	tcase_add_loop_test(tc, reserved, 0, 2);
	tcase_add_test(tc, destroyed_with_regions);
	tcase_add_test(tc, destroy_reports);
	tcase_add_test(tc, kernel_map_stays);
}

int
main(void)
{
	return map_test_main("vm_map bad input", add);
}
