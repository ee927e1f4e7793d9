/*
 * A type's figures as a value, for assertions.
 */
#ifndef TEST_HEAP_STATS_H
#define TEST_HEAP_STATS_H

#include <vm/kmalloc.h>

static inline struct kmalloc_stats
stats_of(const struct kmalloc_type *kt)
{
	struct kmalloc_stats ks;

	kmalloc_stats(kt, &ks);
	return ks;
}

#endif
