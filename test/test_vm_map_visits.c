/*
 * How many nodes a search reads, on trees that an adversary would choose.
 *
 * The searches are vm_map_space.c's, compiled here once more so as to count
 * (the linker then leaves the library's alone).  A tree of n regions and the
 * sentinel is at most 2 log2(n + 2) high; a search is a number of walks down
 * from the root, which is what bound() knows of each kind of request.
 */
#define VM_SPACE_COUNT
#include <vm/vm_map_space.c>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "map_test.h"

#define BASE	MAP_ROUND
#define MAXN	4096

static struct vm_map map;
static struct vm_map_entry *entries;	/* MAXN */
static unsigned live[MAXN], n;		/* the indexes of those linked */
static uint64_t seed = 4711;

static unsigned
below(unsigned limit)
{
	return k_random(&seed) % limit;
}

/* -------------------------------- trees -------------------------------- */

static void
tree_init(vsize_t npages)
{
	must(vm_map_init(&map, "visits", BASE, BASE + KB4(npages),
	    VM_MAP_KERNEL, NULL) == 0);
	if (entries == NULL)
		entries = calloc(MAXN, sizeof(*entries));
	must(entries != NULL);
	n = 0;
}

/* A region of one page. */
static void
add(vsize_t page)
{
	struct vm_map_entry *e = &entries[n];
	vaddr_t start = BASE + KB4(page);

	must(n < MAXN);
	memset(e, 0, sizeof(*e));
	e->vme_end = start + PAGE_SIZE;
	map_link_locked(&map, e, start, space_before(&map, start));
	live[n] = n;
	n++;
}

/* Every second region goes. */
static void
thin(void)
{
	unsigned gone, k;

	for (gone = n / 2; gone > 0; gone--) {
		k = below(n);
		map_unlink_locked(&map, &entries[live[k]]);
		live[k] = live[--n];
	}
}

/* Upwards, without a hole but the rightmost. */
static void
tree_ascending(unsigned size)
{
	unsigned k;

	tree_init(size + 6000);
	for (k = 0; k < size; k++)
		add(k);
}

/* Downwards, without a hole but the leftmost. */
static void
tree_descending(unsigned size)
{
	unsigned k;

	tree_init(size + 6000);
	for (k = 0; k < size; k++)
		add(size + 5999 - k);
}

/* Upwards, a hole of one page behind each. */
static void
tree_comb(unsigned size)
{
	unsigned k;

	tree_init(2 * size);
	for (k = 0; k < size; k++)
		add(2 * k);
}

/* The same, and one of 8 pages as the last, or somewhere. */
static void
needle(unsigned size, unsigned at)
{
	unsigned k;

	tree_init(2 * size + 7);
	for (k = 0; k < size; k++)
		add(2 * k + (k > at ? 7 : 0));
}

static void
tree_needle_last(unsigned size)
{
	needle(size, size - 1);
}

static void
tree_needle(unsigned size)
{
	needle(size, below(size));
}

/* The same holes, made in another order. */
static void
tree_comb_shuffled(unsigned size)
{
	unsigned *page = malloc(size * sizeof(*page)), k, j, tmp;

	must(page != NULL);
	tree_init(2 * size);
	for (k = 0; k < size; k++)
		page[k] = 2 * k;
	for (k = size; k-- > 1; ) {
		j = below(k + 1);
		tmp = page[k];
		page[k] = page[j];
		page[j] = tmp;
	}
	for (k = 0; k < size; k++)
		add(page[k]);
	free(page);
}

/* Holes of 0-40 pages, so that there are some of each kind. */
static void
tree_random(unsigned size)
{
	unsigned k;
	vsize_t page = 0;

	tree_init(41 * size + 41);
	for (k = 0; k < size; k++) {
		page += below(41);
		add(page++);
	}
}

/* Behind each second region a hole of 4 pages, misaligned for 8. */
static void
tree_misaligned(unsigned size)
{
	unsigned k;

	tree_init(8 * size);
	for (k = 0; k < size; k++) {
		add(8 * k);
		add(8 * k + 3);
	}
}

typedef void	tree_t(unsigned size);
static tree_t *const trees[] = {
	tree_ascending, tree_descending, tree_comb, tree_needle_last,
	tree_needle, tree_comb_shuffled, tree_random,
};
#define NTREES	(sizeof(trees) / sizeof(trees[0]))

/* ------------------------------- searches ------------------------------ */

enum kind { SMALL, LARGER, IN_ORDER, ALIGNED, NKINDS };

/*
 * Walks from the root to a leaf, at one node read a level: without a window,
 * and with one.
 *
 *	SMALL	  best fit of up to 32 pages: the mask at the root, one walk;
 *		  in a window to its two edges, to the hole's edge, and down
 *	LARGER	  best fit above: in two classes to the edge, down, and then
 *		  from hole to hole, up and down, LARGE_TRIES times; and if
 *		  there is none in them, as IN_ORDER
 *	IN_ORDER  first fit and top-down: to the edge and down, looking at a
 *		  child's max_gap beside it
 *	ALIGNED	  the tight tries, and the one that surely fits
 *
 * So without a window and an alignment a small request reads at most
 * 2 log2(n + 2) nodes, and 4 log2(n + 2) in order; a window costs up to four
 * times as much; and a large request a constant factor more.
 */
#define LARGE_WALKS	(2 * (2 + 2 * LARGE_TRIES))

static const struct {
	const char	*k_name;
	unsigned	 k_walks[2];
} kinds[NKINDS] = {
	{ "best fit, small", { 1, 4 } },
	{ "best fit, large", { LARGE_WALKS + 2, LARGE_WALKS + 4 } },
	{ "in order", { 2, 4 } },
	{ "best fit, aligned", { 1 + TIGHT_TRIES, 4 + 2 * TIGHT_TRIES } },
};

/* Beyond that: the root's mask, and what is read once more than walked. */
#define MORE	2

static unsigned long nasked, napart;
static double most[NKINDS][2];		/* of what is allowed */

static enum kind
kind_of(const struct space_request *rq)
{
	if (rq->sr_policy != VM_FIT_BEST)
		return IN_ORDER;
	if (rq->sr_align > PAGE_SIZE)
		return ALIGNED;
	return rq->sr_need > LARGE ? LARGER : SMALL;
}

static void
ask(const struct space_request *rq)
{
	const struct vm_map_stats was = map.vm_stats;
	bool window = rq->sr_min > map.vm_min || rq->sr_max < map.vm_max;
	enum kind k = kind_of(rq);
	double bound = kinds[k].k_walks[window] * 2 * log2(n + 2) + MORE;
	vaddr_t start;

	space_visits = 0;
	(void)space_find(&map, rq, &start);
	nasked++;
	if (map.vm_stats.vms_last_resort != was.vms_last_resort ||
	    map.vm_stats.vms_last_visits != was.vms_last_visits) {
		napart++;
		return;
	}
	if ((double)space_visits > bound)
		ck_abort_msg("%s: %lu nodes read of %u, at most %.1f allowed: "
		    "%lu bytes, aligned %lu, in [%#lx, %#lx), policy %d",
		    kinds[k].k_name, space_visits, n + 1, bound, rq->sr_need,
		    rq->sr_align, rq->sr_min, rq->sr_max, rq->sr_policy);
	if ((double)space_visits / bound > most[k][window])
		most[k][window] = (double)space_visits / bound;
}

static void
ask_all(vaddr_t min, vaddr_t max)
{
	static const vsize_t sizes[] = { 1, 2, 3, 8, 9, 31, 33, 60, 5000 };
	struct space_request rq = { .sr_min = min, .sr_max = max };
	unsigned i, align, policy;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (align = 0; align <= 3; align += 3)
			for (policy = 0; policy <= VM_FIT_TOPDOWN; policy++) {
				rq.sr_need = KB4(sizes[i]);
				rq.sr_align = PAGE_SIZE << align;
				rq.sr_policy = policy;
				if (rq.sr_need <= max - min)
					ask(&rq);
			}
}

/* The whole map; less its first and its last page; windows at random. */
static void
ask_windows(void)
{
	unsigned npages = (unsigned)atop(map.vm_max - map.vm_min), a, b, i;

	ask_all(map.vm_min, map.vm_max);
	if (npages < 2)
		return;
	ask_all(map.vm_min + PAGE_SIZE, map.vm_max);
	ask_all(map.vm_min, map.vm_max - PAGE_SIZE);
	for (i = 0; i < 30; i++) {
		a = below(npages);
		b = a + 1 + below(npages - a);
		ask_all(map.vm_min + KB4(a), map.vm_min + KB4(b));
	}
}

START_TEST(bounds)
{
	unsigned size;

	for (size = 1; size <= MAXN; size = size * 2 + below(2)) {
		trees[_i](size);
		must(vm_map_check(&map) == NULL);
		ask_windows();
		thin();
		ask_windows();
	}
	printf("%lu searches, %lu counted apart; of what is allowed, without "
	    "and with window:\n", nasked, napart);
	for (size = 0; size < NKINDS; size++)
		printf("  %-20s %.2f %.2f\n", kinds[size].k_name,
		    most[size][0], most[size][1]);
	must(napart < nasked / 3);
}
END_TEST

/* Where nothing fits for its alignment, every hole is looked at; counted. */
START_TEST(last_resort)
{
	const unsigned size = MAXN / 2;
	const struct space_request rq = {
		.sr_need = KB4(4),
		.sr_align = KB4(8),
		.sr_min = BASE,
		.sr_max = BASE + KB4(8 * size),
		.sr_policy = VM_FIT_BEST,
	};
	vaddr_t start;

	tree_misaligned(size);
	space_visits = 0;
	ck_assert_ptr_null(space_find(&map, &rq, &start));
	ck_assert_uint_eq(map.vm_stats.vms_last_resort, 1);
	ck_assert_uint_eq(map.vm_stats.vms_last_visits, size);
	ck_assert_uint_ge(space_visits, size);
}
END_TEST

static void
tests(TCase *tc)
{
	tcase_add_loop_test(tc, bounds, 0, (int)NTREES);
	tcase_add_test(tc, last_resort);
}

int
main(void)
{
	return map_test_main("vm_map_visits", tests);
}
