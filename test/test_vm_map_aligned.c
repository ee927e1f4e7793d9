/*
 * P4 and P5 to the letter: where a request goes that is aligned, first-fit
 * or top-down, and what the statistics count, compared with the same said in
 * plain loops over a list of holes.  (Of aligned ones the oracle admits any
 * place that fits, as the promise does; this holds the code to what
 * vm_map_space.c says that it does.)
 */
#include <stdlib.h>

#include "map_test.h"

#define TRIES		4	/* smaller classes that are tried */
#define MAXPARTS	512
#define NREGIONS	150

/* A hole, and the part of it in the window (lo < hi). */
struct part {
	vaddr_t	p_start, p_end, p_lo, p_hi;
};

static struct vm_map map;
static struct part part[MAXPARTS];
static unsigned nparts;
static uint64_t seed;

static unsigned
draw(unsigned n)
{
	return twin_random(&seed, n);
}

static void
add_part(vaddr_t start, vaddr_t end, vaddr_t min, vaddr_t max)
{
	struct part p = {
		start, end, start > min ? start : min, end < max ? end : max
	};

	if (p.p_lo >= p.p_hi)
		return;
	must(nparts < MAXPARTS);
	part[nparts++] = p;
}

static void
list_parts(vaddr_t min, vaddr_t max)
{
	vaddr_t at = map.vm_min;
	struct vm_map_info vi;

	nparts = 0;
	while (vm_map_next(&map, at, &vi) == 0) {
		add_part(at, vi.vi_start, min, max);
		at = vi.vi_end;
	}
	add_part(at, map.vm_max, min, max);
}

/* A request; guards before only, since those behind are just size. */
struct want {
	vsize_t	w_need, w_lead, w_align;
};

static bool
fits(const struct part *p, const struct want *w, vaddr_t *at)
{
	vaddr_t lo = p->p_lo + w->w_lead;

	lo = (lo + w->w_align - 1) / w->w_align * w->w_align - w->w_lead;
	if (lo < p->p_lo || lo >= p->p_hi || p->p_hi - lo < w->w_need)
		return false;
	*at = lo + w->w_lead;
	return true;
}

/* The lowest part of the smallest class from *cls on; NULL: none. */
static const struct part *
pick(unsigned *cls)
{
	const struct part *best = NULL;
	unsigned i, c, least = ~0u;

	for (i = 0; i < nparts; i++) {
		c = oracle_class_of(atop(part[i].p_hi - part[i].p_lo));
		if (c >= *cls && c < least) {
			least = c;
			best = &part[i];
		}
	}
	*cls = least;
	return best;
}

/* The highest place in a part. */
static bool
fits_top(const struct part *p, const struct want *w, vaddr_t *at)
{
	vaddr_t lo;

	if (p->p_hi - p->p_lo < w->w_need)
		return false;
	lo = p->p_hi - w->w_need + w->w_lead;
	lo = lo / w->w_align * w->w_align - w->w_lead;
	if (lo < p->p_lo || lo > p->p_hi - w->w_need)
		return false;
	*at = lo + w->w_lead;
	return true;
}

/* The first that fits, from one end; those that did not are counted. */
static int
in_order(const struct want *w, bool top, vaddr_t *at, uint64_t *visits)
{
	const struct part *p;
	unsigned i;

	for (i = 0; i < nparts; i++) {
		p = &part[top ? nparts - 1 - i : i];
		if (p->p_end - p->p_start < w->w_need)
			continue;
		if (top ? fits_top(p, w, at) : fits(p, w, at))
			return 0;
		*visits += w->w_align > PAGE_SIZE;
	}
	return ENOMEM;
}

static int
best_aligned(const struct want *w, vaddr_t *at, uint64_t *resorts,
    uint64_t *visits)
{
	unsigned sure = oracle_class_up(atop(w->w_need + w->w_align) - 1);
	unsigned cls = oracle_class_up(atop(w->w_need)), i;
	const struct part *p;

	for (i = 0; i < TRIES && cls < sure; i++, cls++) {
		p = pick(&cls);
		if (p == NULL || cls >= sure)
			break;
		if (fits(p, w, at))
			return 0;
	}
	p = pick(&sure);
	if (p != NULL) {
		must(fits(p, w, at));
		return 0;
	}
	++*resorts;
	return in_order(w, false, at, visits);
}

/* Regions of a page to four, behind holes of all sizes up to `most`. */
static void
furnish(vaddr_t min, unsigned most)
{
	vsize_t page = 0;
	unsigned i, n;

	must(vm_map_init(&map, "aligned", min, min + KB4(NREGIONS * most),
	    VM_MAP_KERNEL, NULL) == 0);
	for (i = 0; i < NREGIONS; i++) {
		page += draw(draw(8) == 0 ? most : draw(3) == 0 ? 40 : 9);
		n = 1 + draw(4);
		if (page + n >= NREGIONS * most)
			break;
		must(vm_map_insert(&map, min + KB4(page), min +
		    KB4(page + n), 0, "ann") == 0);
		page += n;
	}
	/* Often nothing behind the last, so that there is no room for all. */
	if (draw(2) == 0 && page < NREGIONS * most)
		must(vm_map_insert(&map, min + KB4(page), map.vm_max, 0,
		    "all") == 0);
}

static void
draw_window(struct vm_map_request *r)
{
	vsize_t n = atop(map.vm_max - map.vm_min), a, b;

	if (draw(3) == 0)
		return;
	a = draw((unsigned)n);
	b = a + 1 + draw((unsigned)(draw(2) ? n - a : 30));
	r->vr_min = map.vm_min + KB4(a);
	r->vr_max = map.vm_min + KB4(b < n ? b : n);
}

static uint64_t served, resorted;

static void
ask(void)
{
	struct vm_map_request r = {
		.vr_size = KB4(1 + draw(draw(3) ? 12 : 200)),
		.vr_align = KB4(2) << draw(9), .vr_guard_lo = draw(5) == 0,
		.vr_policy = draw(2) ? VM_FIT_BEST : 1 + draw(2),
	};
	struct want w = {
		r.vr_size + KB4(r.vr_guard_lo), KB4(r.vr_guard_lo), r.vr_align
	};
	uint64_t resorts = 0, visits = 0;
	vaddr_t want = 0, addr = 0;
	struct vm_map_stats a, b;
	int error, right = ENOMEM;

	if (r.vr_policy != VM_FIT_BEST && draw(2))
		w.w_align = r.vr_align = PAGE_SIZE;
	draw_window(&r);
	list_parts(r.vr_max != 0 ? r.vr_min : map.vm_min,
	    r.vr_max != 0 ? r.vr_max : map.vm_max);
	if (w.w_need > (r.vr_max != 0 ? r.vr_max - r.vr_min :
	    map.vm_max - map.vm_min))
		;	/* nothing is looked at */
	else if (r.vr_policy == VM_FIT_BEST)
		right = best_aligned(&w, &want, &resorts, &visits);
	else
		right = in_order(&w, r.vr_policy == VM_FIT_TOPDOWN, &want,
		    &visits);
	vm_map_stats(&map, &a);
	error = vm_map_alloc(&map, &r, &addr);
	vm_map_stats(&map, &b);
	if (error != right || addr != want)
		ck_abort_msg("%lu pages, aligned %lu, guard %u, window [%#lx, "
		    "%#lx), policy %d: error %d at %#lx, not %d at %#lx",
		    atop(r.vr_size), atop(r.vr_align), r.vr_guard_lo,
		    r.vr_min, r.vr_max, (int)r.vr_policy, error, addr, right,
		    want);
	must(b.vms_last_resort - a.vms_last_resort == resorts);
	must(b.vms_last_visits - a.vms_last_visits == visits);
	resorted += resorts;
	served += error == 0;
	if (error == 0 && draw(8) != 0)
		must(vm_map_free(&map, addr, r.vr_size) == 0);
}

START_TEST(to_the_letter)
{
	static const unsigned most[] = { 12, 60, 300, 1100 };
	static const vaddr_t base[] = { MAP_LOW, MAP_ROUND, MAP_MID };
	unsigned i, round;

	seed = 900 + (uint64_t)_i;
	for (round = 0; round < 30; round++) {
		furnish(base[round % 3], most[_i % 4]);
		for (i = 0; i < 150; i++)
			ask();
		vm_map_destroy(&map);
	}
	must(served > 500);
	must(resorted > 50);
}
END_TEST

/*
 * So much that no class surely fits, and classes end: a page beyond the half
 * of the largest map's size, among holes of two pages and one that is huge.
 */
START_TEST(beyond_the_classes)
{
	vsize_t half = (vsize_t)1 << (VM_MAP_PAGE_BITS + PAGE_SHIFT - 1);
	struct vm_map_request r = { .vr_size = KB4(3), .vr_align = half };
	struct vm_map_stats a, b;
	unsigned i;
	vaddr_t addr;

	if (oracle_class_up(atop(half) + 2) < VM_MAP_NCLASSES)
		return;		/* 32 bits have classes for this */
	must(vm_map_init(&map, "huge", PAGE_SIZE, half + KB4(1 << 20),
	    VM_MAP_KERNEL, NULL) == 0);
	for (i = 1; i <= 10; i++)
		must(vm_map_insert(&map, KB4(3 * i), KB4(3 * i + 1), 0,
		    "ann") == 0);
	must(vm_map_insert(&map, half, half + PAGE_SIZE, 0, "bob") == 0);
	vm_map_stats(&map, &a);
	must(vm_map_alloc(&map, &r, &addr) == ENOMEM);
	/* The same in a window that cuts a hole at each end. */
	r.vr_min = KB4(2);
	r.vr_max = half + KB4(9);
	must(vm_map_alloc(&map, &r, &addr) == ENOMEM);
	vm_map_stats(&map, &b);
	must(b.vms_last_resort - a.vms_last_resort == 2);
	must(vm_map_free(&map, half, PAGE_SIZE) == 0);
	must(vm_map_alloc(&map, &r, &addr) == 0);
	must(addr == half);
	must(vm_map_destroy(&map) == 11);
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_test(tc, beyond_the_classes);
	tcase_add_loop_test(tc, to_the_letter, 0, 8);
}

int
main(void)
{
	return map_test_main("vm_map aligned", add);
}
