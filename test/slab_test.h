/*
 * What the tests of the slab layer and of the heap have in common: a machine,
 * the walk over all caches, and the way to another CPU.
 */
#ifndef TEST_SLAB_TEST_H
#define TEST_SLAB_TEST_H

#include <vm/kmalloc_impl.h>
#include <vm/kmem_cache_impl.h>

#include "host.h"
#include "ledger.h"
#include "must.h"

/*
 * A machine of so many frames, whose caches watch for what kmd says; what it
 * holds now is what it must hold in the end (slab_done).
 */
void	slab_boot(pfn_t frames, unsigned kmd);
/* Take the present for that beginning. */
void	slab_mark(void);
/* Every structure's own check.  => nobody allocates meanwhile */
void	slab_check(void);
/* Nothing is out: after a reap all is as in the beginning. */
void	slab_done(void);

/* What a looped test watches for: nothing, and in its odd rounds who frees. */
unsigned slab_debug_of(int i);

struct kmem_cache *slab_make(const char *name, size_t size, int flags);
struct kmem_cache_stats slab_stats(struct kmem_cache *);
/* The one that goes by this name. */
struct kmem_cache *slab_named(const char *name);

/* Bytes that say whose they are. */
void	slab_fill(void *obj, size_t size, uint32_t mark);
bool	slab_holds(const void *obj, size_t size, uint32_t mark);

/* fn(arg) panics, with words that hold these.  => how many locks it leaves */
unsigned slab_panics(void (*fn)(void *), void *arg, const char *words);

/* A pointer that is freed, perhaps to a cache that it is not of. */
struct slab_mistake {
	struct kmem_cache *m_cache;
	void		*m_ptr;
};
void	slab_do_free(void *mistake);

/* A constructor that does nothing; and what one forbids. */
int	slab_construct(void *obj, void *arg, int flags);
void	slab_alloc_zero(void *cache);

/* What is leaked, at most max of it.  => how many */
unsigned slab_leaks(void **leak, unsigned max);

/*
 * fn(arg) on another CPU: that of a thread which has ended when this returns.
 * What it left in its magazines stays there, and the next such thread finds
 * it.
 */
void	slab_on_other_cpu(void (*fn)(void *), void *arg);

/*
 * Take every free frame, as somebody would who gives none back, and give
 * so many of them back after all (0: all).
 */
void	slab_hoard(void);
void	slab_hoard_give(pfn_t n);

#endif
