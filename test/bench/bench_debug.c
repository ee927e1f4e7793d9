/*
 * What watching for mistakes costs: for counting instructions under
 * callgrind (test/bench/debug.sh), not for a clock.
 *
 *	bench_debug OPTION N	N allocations and frees of one object of a
 *				cache, and as many by kmalloc; OPTION is what
 *				the kernel's kmem= would have
 */
#include <stdio.h>
#include <stdlib.h>

#include <vm/kmalloc.h>
#include <vm/kmem_debug.h>

#include "host.h"

/* Distinct, so that callgrind counts them apart. */
static void __attribute__((__noinline__))
cache_loop(struct kmem_cache *kc, unsigned long n)
{
	while (n-- > 0)
		kmem_cache_free(kc, kmem_cache_alloc(kc, KM_SLEEP));
}

static void __attribute__((__noinline__))
heap_loop(unsigned long n)
{
	while (n-- > 0)
		kfree(kmalloc(64, M_TEMP, KM_SLEEP), M_TEMP);
}

int
main(int argc, char **argv)
{
	const struct kmem_cache_args ca = { .ca_name = "bench",
	    .ca_size = 64 };
	struct kmem_cache *kc;
	unsigned long n;

	if (argc != 3) {
		fprintf(stderr, "usage: bench_debug OPTION N\n");
		return EXIT_FAILURE;
	}
	n = strtoul(argv[2], NULL, 10);
	kmem_debug_set(0);
	if (!kmem_debug_option(argv[1])) {
		fprintf(stderr, "%s\n", host_log_last());
		return EXIT_FAILURE;
	}
	host_boot(4096);
	kc = kmem_cache_create(&ca);
	cache_loop(kc, n);
	heap_loop(n);
	return EXIT_SUCCESS;
}
