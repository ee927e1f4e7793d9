/*
 * One map after another, each of another kind, size, place and number of
 * regions.  Every operation's result is compared with the model's; the whole
 * of the map, with vm_map_check, once in SOAK_SAMPLE operations.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "model.h"
#include "soak.h"

#define SOAK_EPOCH	100000		/* operations on one map */
#define SOAK_SAMPLE	2048

struct soak {
	uint64_t	s_seed, s_random;
	uint64_t	s_ops, s_ok;
	size_t		s_npages;
	unsigned	s_target;	/* regions to have, more or less */
	unsigned	s_sizes;	/* which distribution of sizes */
	struct vm_map	s_map;
	struct model	s_model;
};

static struct soak s;

static void
fail(const char *what, vaddr_t a, vaddr_t b, int error, int right,
    vaddr_t at)
{
	fprintf(stderr, "soak: seed %llu, operation %llu, %s map [%#lx, "
	    "%#lx), %u regions: %s %#lx %#lx: error %d, right is %d "
	    "(at %#lx)\n", (unsigned long long)s.s_seed,
	    (unsigned long long)s.s_ops,
	    s.s_model.m_flags == VM_MAP_USER ? "user" : "kernel",
	    s.s_model.m_min, s.s_model.m_max, s.s_model.m_n, what, a, b,
	    error, right, at);
	abort();
}

static void
expect(const char *what, vaddr_t a, vaddr_t b, int error, int right)
{
	if (error != right)
		fail(what, a, b, error, right, 0);
	s.s_ok += error == 0;
}

static unsigned
draw(unsigned n)
{
	return k_random(&s.s_random) % n;
}

static size_t
draw_page(void)
{
	uint64_t r = (uint64_t)draw(1u << 31) << 31 | draw(1u << 31);

	return (size_t)(r % s.s_npages);
}

static size_t
draw_npages(void)
{
	static const unsigned most[][4] = {
		{ 8, 8, 8, 8 }, { 4, 8, 32, 90 }, { 40, 200, 33, 1000 }
	};
	size_t max = most[s.s_sizes][draw(4)];

	if (draw(64) == 0)
		max = s.s_npages / 16 + 1;
	if (max > s.s_npages)
		max = s.s_npages;
	return 1 + draw((unsigned)(max < 1u << 30 ? max : 1u << 30));
}

static const char *
draw_owner(void)
{
	return draw(2) ? "ann" : "bob";
}

/* A range near a region, so that it hits something. */
static void
draw_range(vaddr_t *a, vaddr_t *b)
{
	const struct model *m = &s.s_model;
	size_t p, len = draw_npages();

	if (m->m_n == 0 || draw(4) == 0) {
		p = draw_page();
	} else {
		p = (m->m_region[draw(m->m_n)].mr_start - m->m_min) /
		    PAGE_SIZE;
		if (draw(2) == 0)
			p += draw(16);
		else if (draw(2) == 0)
			p -= draw(8);
		if (p >= s.s_npages)
			p = s.s_npages - 1;
	}
	if (len > s.s_npages - p)
		len = s.s_npages - p;
	*a = m->m_min + p * PAGE_SIZE;
	*b = *a + len * PAGE_SIZE;
}

static void
draw_request(struct vm_map_request *r)
{
	vaddr_t a, b;

	*r = (struct vm_map_request){
		.vr_size = draw_npages() * PAGE_SIZE, .vr_prot = draw(4),
		.vr_owner = draw_owner(),
	};
	switch (draw(8)) {
	case 0:
		draw_range(&r->vr_min, &r->vr_max);
		break;
	case 1:
	case 2:
		draw_range(&a, &r->vr_max);
		draw_range(&r->vr_min, &b);
		if (r->vr_min >= r->vr_max)
			r->vr_max = s.s_model.m_max;
		break;
	}
	if (draw(6) == 0)
		r->vr_align = PAGE_SIZE << draw(7);
	if (s.s_model.m_flags == VM_MAP_KERNEL && draw(8) == 0) {
		r->vr_guard_lo = draw(3);
		r->vr_guard_hi = draw(3);
	}
	if (draw(8) == 0)
		r->vr_policy = draw(2) ? VM_FIT_FIRST : VM_FIT_TOPDOWN;
}

/* An alignment may be larger than the window: EINVAL is right then, too. */
static bool
may_refuse(const struct vm_map_request *r)
{
	vsize_t len = r->vr_max != 0 ? r->vr_max - r->vr_min :
	    s.s_model.m_max - s.s_model.m_min;

	return r->vr_align > len;
}

static void
soak_alloc(void)
{
	struct vm_map_request r;
	vaddr_t addr = 0, want = 0;
	int error, right;
	bool exact;

	draw_request(&r);
	right = model_find(&s.s_model, &r, &want, &exact);
	error = vm_map_alloc(&s.s_map, &r, &addr);
	if (error == EINVAL && may_refuse(&r))
		return;
	expect("alloc", r.vr_size, r.vr_align, error, right);
	if (error != 0)
		return;
	if (exact ? addr != want : !model_place(&s.s_model, &r, addr))
		fail("alloc at", addr, want, 0, 0, addr);
	model_take(&s.s_model, &r, addr);
}

static void
soak_insert(void)
{
	vm_prot_t prot = draw(4);
	const char *owner = draw_owner();
	vaddr_t a, b;

	draw_range(&a, &b);
	expect("insert", a, b, vm_map_insert(&s.s_map, a, b, prot, owner),
	    model_insert(&s.s_model, a, b, prot, owner));
}

static void
soak_free(void)
{
	const struct mregion *mr;
	vaddr_t addr, end;

	if (s.s_model.m_n == 0)
		return;
	mr = &s.s_model.m_region[draw(s.s_model.m_n)];
	addr = mr->mr_start + mr->mr_guard_lo * PAGE_SIZE;
	end = mr->mr_end - mr->mr_guard_hi * PAGE_SIZE;
	if (draw(32) == 0)
		draw_range(&addr, &end);
	expect("free", addr, end, vm_map_free(&s.s_map, addr, end - addr),
	    model_free(&s.s_model, addr, end - addr));
}

static void
soak_remove(void)
{
	vaddr_t a, b;

	draw_range(&a, &b);
	expect("remove", a, b, vm_map_remove(&s.s_map, a, b),
	    model_remove(&s.s_model, a, b));
}

/* Kernel maps: one whole region. */
static void
draw_whole(vaddr_t *a, vaddr_t *b)
{
	const struct mregion *mr;

	draw_range(a, b);
	if (s.s_model.m_flags == VM_MAP_KERNEL) {
		mr = &s.s_model.m_region[draw(s.s_model.m_n)];
		*a = mr->mr_start;
		*b = mr->mr_end;
	}
}

static void
soak_wire(void)
{
	vaddr_t a, b;

	draw_whole(&a, &b);
	expect("wire", a, b, vm_map_wire(&s.s_map, a, b),
	    model_wire(&s.s_model, a, b, true));
}

static void
soak_unwire(void)
{
	unsigned i, n = s.s_model.m_n;
	const struct mregion *mr = s.s_model.m_region;
	vaddr_t a, b;

	for (i = draw(n), mr += i; i < n && mr->mr_wired == 0; i++)
		mr++;
	if (i == n)
		return;
	a = mr->mr_start;
	b = mr->mr_end;
	expect("unwire", a, b, vm_map_unwire(&s.s_map, a, b),
	    model_wire(&s.s_model, a, b, false));
}

static void
soak_protect(void)
{
	vm_prot_t prot = draw(4);
	vaddr_t a, b;

	draw_whole(&a, &b);
	expect("protect", a, b, vm_map_protect(&s.s_map, a, b, prot),
	    model_protect(&s.s_model, a, b, prot));
}

static void
soak_lookup(void)
{
	const struct model *m = &s.s_model;
	struct vm_map_info vi;
	vaddr_t a, b;
	unsigned i;

	draw_range(&a, &b);
	i = model_above(m, a);
	expect("next", a, 0, vm_map_next(&s.s_map, a, &vi),
	    i < m->m_n ? 0 : ENOENT);
	if (i < m->m_n && vi.vi_start != m->m_region[i].mr_start)
		fail("next", a, vi.vi_start, 0, 0, m->m_region[i].mr_start);
	expect("lookup", a, 0, vm_map_lookup(&s.s_map, a, &vi),
	    i < m->m_n && m->m_region[i].mr_start <= a ? 0 : EFAULT);
}

static void
soak_step(void)
{
	bool few = s.s_model.m_n < s.s_target;
	bool user = s.s_model.m_flags == VM_MAP_USER;
	unsigned what = draw(64);

	if (what < 44 || s.s_model.m_n == 0) {
		if (what % 16 < (few ? 9u : 5u))
			(what % 4 == 0 ? soak_insert : soak_alloc)();
		else
			(user ? soak_remove : soak_free)();
	} else if (what < 48) {
		soak_wire();
	} else if (what < 54) {
		soak_unwire();
	} else if (what < 60) {
		soak_protect();
	} else {
		soak_lookup();
	}
	s.s_ops++;
}

static void
soak_check(void)
{
	const char *why = model_compare(&s.s_model, &s.s_map);

	if (why != NULL)
		fail(why, 0, 0, 0, 0, 0);
}

static void
epoch_begin(void)
{
	static const unsigned target[] = { 20, 100, 300, 700 };
	static const unsigned log2pages[] = { 8, 11, 14, 18,
	    VM_MAP_PAGE_BITS - 6, VM_MAP_PAGE_BITS - 1 };
	vaddr_t min, size;
	unsigned flags = draw(2) ? VM_MAP_KERNEL : VM_MAP_USER;

	s.s_npages = ((size_t)1 << log2pages[draw(nitems(log2pages))]) -
	    1 - draw(30);
	s.s_target = target[draw(nitems(target))];
	s.s_sizes = draw(3);
	size = s.s_npages * PAGE_SIZE;
	switch (draw(3)) {
	case 0:
		min = PAGE_SIZE;
		break;
	case 1:
		min = -(vaddr_t)PAGE_SIZE - size;
		break;
	default:
		min = ((vaddr_t)1 << (VM_MAP_PAGE_BITS + 10)) + PAGE_SIZE;
		break;
	}
	model_init(&s.s_model, min, min + size, flags);
	expect("init", min, min + size, vm_map_init(&s.s_map, "soak", min,
	    min + size, flags, NULL), 0);
}

static void
epoch_end(void)
{
	unsigned long n;

	soak_check();
	n = vm_map_destroy(&s.s_map);
	if (n != s.s_model.m_n)
		fail("destroy", n, s.s_model.m_n, 0, 0, 0);
}

void
soak_run(uint64_t n, uint64_t seed, bool progress)
{
	clock_t begin = clock();
	double sec;

	s.s_seed = seed;
	s.s_random = seed * 0x9E3779B97F4A7C15ULL + 1;
	s.s_ops = s.s_ok = 0;
	while (s.s_ops < n) {
		epoch_begin();
		do {
			soak_step();
			if (s.s_ops % SOAK_SAMPLE == 0)
				soak_check();
		} while (s.s_ops % SOAK_EPOCH != 0 && s.s_ops < n);
		epoch_end();
		if (!progress || (s.s_ops % (20 * SOAK_EPOCH) != 0 &&
		    s.s_ops < n))
			continue;
		sec = (double)(clock() - begin) / CLOCKS_PER_SEC;
		printf("soak: %zu bits, seed %llu: %llu of %llu, %.0f %% "
		    "successful, %.0f a second\n", 8 * sizeof(long),
		    (unsigned long long)seed, (unsigned long long)s.s_ops,
		    (unsigned long long)n,
		    100.0 * (double)s.s_ok / (double)s.s_ops,
		    (double)s.s_ops / (sec + 1e-9));
		fflush(stdout);
	}
}
