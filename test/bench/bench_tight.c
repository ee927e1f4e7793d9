/*
 * What TIGHT_TRIES (vm_map_space.c) is worth: a map in which 4,000 regions of
 * 1 to 16 pages, at alignments of 1 to 16 pages, are replaced at random.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <vm/vm_map.h>

#include "host.h"

#define LIVE	4000
#define OPS	200000
#define RUNS	5
#define BASE	0x10000000UL
#define SPAN	((vsize_t)LIVE * 40 * PAGE_SIZE)

struct region {
	vaddr_t	addr;
	vsize_t	size;
};

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void
churn(struct vm_map *map, uint64_t seed)
{
	static struct region live[LIVE];
	struct vm_map_request rq;
	struct region *r;
	int i;

	for (i = 0; i < LIVE; i++)
		live[i].size = 0;
	for (i = 0; i < OPS; i++) {
		r = &live[k_random(&seed) % LIVE];
		if (r->size != 0 && vm_map_free(map, r->addr, r->size) != 0)
			abort();
		rq = (struct vm_map_request){
			.vr_size = ptoa(1 + k_random(&seed) % 16),
			.vr_align = ptoa(1UL << k_random(&seed) % 5),
		};
		r->size = rq.vr_size;
		if (vm_map_alloc(map, &rq, &r->addr) != 0)
			abort();
	}
}

int
main(int argc, char **argv)
{
	const struct vm_map_request page = { .vr_size = PAGE_SIZE };
	unsigned long holes = 0, tail = 0;
	struct vm_map_explain vx;
	static struct vm_map map;
	double ns = 0, start;
	uint64_t run;

	host_boot(16384);
	for (run = 1; run <= RUNS; run++) {
		vm_map_init(&map, "tight", BASE, BASE + SPAN, VM_MAP_KERNEL,
		    NULL);
		start = now();
		churn(&map, run);
		ns += now() - start;
		vm_map_explain(&map, &page, &vx);
		holes += vx.vx_nholes;
		tail += atop(vx.vx_largest);
		while (vm_map_destroy(&map) != 0)
			continue;
	}
	printf("bench map.tight.tries%s ours=%lu holes (largest %lu pages, "
	    "%.0f ns)\n", argc > 1 ? argv[1] : "", holes / RUNS, tail / RUNS,
	    ns / RUNS / OPS);
	return 0;
}
