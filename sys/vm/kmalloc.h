/*
 * kmalloc: the kernel's heap, accounted by type.  Small sizes come from
 * caches whose slabs lie in the heap window; large ones are
 * kmem_alloc(kernel_map, …, KM_HEAP).
 */
#ifndef VM_KMALLOC_H
#define VM_KMALLOC_H

#include <machine/vmcpu.h>

#include <vm/kmem_cache.h>

/*
 * What one CPU did with a type, by size class; the first one is for whole
 * pages.  What was allocated on one CPU may be freed on another: only the
 * sums over the CPUs mean something, and modulo the word.
 */
#define KMALLOC_NCLASSES	64
struct kmalloc_share {
	struct {
		uint32_t sc_allocs, sc_frees;
	}		 ks_count[KMALLOC_NCLASSES + 1];
	uint32_t	 ks_fails;
	vsize_t		 ks_pages;	/* bytes of whole pages in use */
} __attribute__((__aligned__(VM_CPU_ALIGN)));

/*
 * And the most that it had, which is looked at on the slow way only.  Each
 * class counts as it was at the last look at it.
 */
struct kmalloc_high {
	uint32_t	 kh_seen[KMALLOC_NCLASSES + 1];	/* in use then */
	vsize_t		 kh_bytes;	/* of that */
	vsize_t		 kh_most;	/* bytes, those of whole pages too */
} __attribute__((__aligned__(VM_CPU_ALIGN)));

/*
 * A type of use, for `show malloc`.  Define one with KMALLOC_DEFINE at file
 * scope; it needs no registering.
 */
struct kmalloc_type {
	const char	*kt_name;
	const char	*kt_desc;
	struct kmalloc_type *kt_next;	/* on the list since its first use */
	uint8_t		 kt_id;		/* 0 until then; beside each object */
	struct kmalloc_share kt_share[VM_NCPU];
	struct kmalloc_high kt_high[VM_NCPU];
};

struct kmalloc_stats {
	unsigned long	 ks_inuse;	/* allocations */
	vsize_t		 ks_bytes;	/* of them, as kmalloc_usable says */
	vsize_t		 ks_high;	/* high water of ks_bytes, but for some
					   magazines' worth; the sum over the
					   CPUs */
	unsigned long	 ks_requests;	/* modulo the word */
	unsigned long	 ks_fails;
	uint32_t	 ks_sizes;	/* bit k: of classes from 2^k bytes on;
					   bit 31: of whole pages */
};
#define KMALLOC_DEFINE(type, name, desc) \
	struct kmalloc_type type[1] = {{ .kt_name = name, .kt_desc = desc }}

extern struct kmalloc_type M_TEMP[1];

/*
 * => 8-byte aligned; 16-byte where size is a multiple of 16 (what needs it
 *    has such a size); page-aligned from a page on
 * => NULL for 0 bytes, for absurd sizes, and when there is no memory
 * => up to a page it keeps its address but not its frame (KM_MESH): what a
 *    device reads or writes comes from kmem_alloc
 * => flags: KM_NOSLEEP, KM_ZERO
 */
void	*kmalloc(size_t size, struct kmalloc_type *, int flags);

/* n * size bytes, zeroed; NULL when the product overflows. */
void	*kcalloc(size_t n, size_t size, struct kmalloc_type *, int flags);

/*
 * => p = NULL: kmalloc; size = 0: kfree and NULL
 * => NULL otherwise: p is untouched and still the caller's
 * => KM_ZERO clears what lies behind the usable size that p had
 */
void	*krealloc(void *p, size_t size, struct kmalloc_type *, int flags);

/*
 * => NULL is ignored; a pointer that kmalloc did not give is a named panic,
 *    and so is, with KMD_CHECK, one of another type's or given back already
 *    (without it, as kmem_cache_free)
 */
void	kfree(void *p, struct kmalloc_type *);

/* Bytes that are there; 0 for NULL.  => what kfree panics of, this does too */
size_t	kmalloc_usable(const void *p);

/* The types that were used: NULL begins, NULL ends. */
const struct kmalloc_type *kmalloc_next(const struct kmalloc_type *);

/* => no lock: exact while nobody allocates or frees */
void	kmalloc_stats(const struct kmalloc_type *, struct kmalloc_stats *);

/*
 * Walk every cache, large block and type.  => NULL, or what is wrong
 * => nobody may allocate or free meanwhile
 */
const char *kmalloc_check(void);
void	kmalloc_bootstrap(void);

#endif
