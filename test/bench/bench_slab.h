/*
 * What the benchmarks of slab and heap share: several allocators in one
 * process, asked for the same.
 *
 * Peers are libraries, loaded by dlopen so that they replace nobody's malloc,
 * and all are called through pointers, ours too, so that a call costs each
 * the same.  A timed loop is compiled once for each way of calling (enum
 * kind), without a wrapper in between.
 */
#ifndef BENCH_BENCH_SLAB_H
#define BENCH_BENCH_SLAB_H

#include <vm/kmalloc.h>

#include "bench.h"

enum kind {
	CACHE,		/* ours: a kmem_cache for each size */
	HEAP,		/* ours: kmalloc */
	MALLOC,		/* malloc and free */
	SLICE		/* GLib's g_slice: who frees tells the size */
};

struct party {
	const char	*pa_name;
	enum kind	 pa_kind;
	void		*(*pa_cache_alloc)(struct kmem_cache *, int);
	void		 (*pa_cache_free)(struct kmem_cache *, void *);
	void		*(*pa_kmalloc)(size_t, struct kmalloc_type *, int);
	void		 (*pa_kfree)(void *, struct kmalloc_type *);
	void		*(*pa_malloc)(size_t);
	void		 (*pa_free)(void *);
	void		*(*pa_slice_alloc)(size_t);
	void		 (*pa_slice_free)(size_t, void *);
	void		*(*pa_memalign)(size_t, size_t);
	void		 (*pa_memalign_free)(void *);
};

/* Ours by two doors, and the peers. */
enum { SLAB, KMALLOC, GLIBC, JEMALLOC, MIMALLOC, TCMALLOC, GSLICE, NPARTIES };
#define FIRST_PEER	GLIBC
extern struct party parties[NPARTIES];
extern struct kmalloc_type M_BENCH[1];

/*
 * Boot a machine, and load the peers of the bit set.  Whoever cannot be had
 * stays unloaded (pa_malloc is NULL).
 * => once per process
 * => FRUGAL: jemalloc gives back at once what it can (its decay times are 0)
 * => CHECKED: ours watches who frees what (KMD_CHECK)
 */
#define ALL_PARTIES	((1u << NPARTIES) - 1)
#define FRUGAL		0x1u
#define CHECKED		0x2u
void	parties_load(unsigned who, unsigned flags);
bool	party_there(const struct party *);
/* Why one is not there, or NULL. */
const char *party_missing(const struct party *);

/* Give back whatever can be. */
void	party_trim(const struct party *);

/*
 * 4 KB pages that the process holds for this party, from some origin on:
 * for ours, frames that are not free, page tables left out; for a peer, the
 * anonymous memory of this process, less what the host may take at will.
 */
long	party_pages(const struct party *);

#define ALWAYS_INLINE	inline __attribute__((always_inline))

/* An object of size bytes; for kind CACHE, of kc. */
static ALWAYS_INLINE void *
take(const struct party *p, enum kind kind, struct kmem_cache *kc, size_t size)
{
	switch (kind) {
	case CACHE:
		return p->pa_cache_alloc(kc, KM_SLEEP);
	case HEAP:
		return p->pa_kmalloc(size, M_BENCH, KM_SLEEP);
	case MALLOC:
		return p->pa_malloc(size);
	default:
		return p->pa_slice_alloc(size);
	}
}

static ALWAYS_INLINE void
give(const struct party *p, enum kind kind, struct kmem_cache *kc, size_t size,
    void *obj)
{
	switch (kind) {
	case CACHE:
		p->pa_cache_free(kc, obj);
		break;
	case HEAP:
		p->pa_kfree(obj, M_BENCH);
		break;
	case MALLOC:
		p->pa_free(obj);
		break;
	default:
		p->pa_slice_free(size, obj);
	}
}

/* fn, which is inline, compiled for the kind of the party. */
#define BY_KIND(p, fn, ...) do {					\
	enum kind k_ = (p)->pa_kind;					\
	k_ == CACHE ? fn(p, CACHE, __VA_ARGS__) : k_ == HEAP ?		\
	    fn(p, HEAP, __VA_ARGS__) : k_ == MALLOC ?			\
	    fn(p, MALLOC, __VA_ARGS__) : fn(p, SLICE, __VA_ARGS__);	\
} while (0)

/* How much of everything. */
struct bench_options {
	bool		 o_quick;
	unsigned	 o_slices;	/* of each party, at most MAXSLICES */
	double		 o_slice_ns;	/* what the slowest takes for one */
	uint64_t	 o_seed;
	const char	*o_dir;		/* for what is plotted; or NULL */
	const char	*o_prefix;	/* of figures: "" or "32." */
};
#define MAXSLICES	31
extern struct bench_options opt;

/* Of this thread's, this process's processor time; of the clock's: ns. */
double	cpu_ns(void);
double	process_ns(void);
double	wall_ns(void);

/* Zeroed memory of the harness's own, by mmap, all of it touched. */
void	*harness_memory(size_t bytes);

/*
 * Run fn(arg) in a process of its own; ends this one if that ends badly.
 * => what: said to who waits
 */
void	bench_apart(void (*fn)(void *), void *arg, const char *what);

/* The tables.  What a workload runs is in the files of these names. */
void	bench_slab_speed(char **names);
void	bench_slab_count(void);
void	bench_slab_trace(void);
void	bench_slab_churn(void);
void	bench_slab_waste(void);
void	bench_slab_pages(void);

/*
 * A workload of the table of speed.
 * => w_run does n operations; threads is 1 or more
 */
struct workload {
	const char	*w_name;
	const char	*w_what;	/* for people */
	double		 w_target;	/* ours / the fastest peer's */
	size_t		 w_size;	/* of an object; 0: of the heap */
	unsigned	 w_threads;
	bool		 w_cached;	/* ours: constructed objects, cached */
	size_t		 w_unit;	/* operations come in so many */
	void		(*w_run)(const struct party *, struct kmem_cache *,
			    const struct workload *, size_t n);
};
extern const struct workload workloads[];	/* of one thread: loops */
extern const size_t nworkloads;
extern const struct workload thread_workloads[];
extern const size_t nthread_workloads;

/* The cache that ours uses for it, or NULL. */
struct kmem_cache *workload_cache(const struct workload *);

#endif
