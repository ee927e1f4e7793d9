/*
 * Mistakes with objects of kmem_cache and kmalloc, caught: what a cache can
 * be told to watch for, without a rebuild, and what can be asked afterwards.
 * The theory opens kmem_debug.c; kmem_cache.9 says what each costs.
 */
#ifndef VM_KMEM_DEBUG_H
#define VM_KMEM_DEBUG_H

#include <vm/kmem_cache.h>

/* KMD_CHECK, who frees what, is 0x01 (kmem_cache.h). */
#define KMD_REDZONE	0x02u	/* bytes before and behind an object */
#define KMD_POISON	0x04u	/* writes to free objects; reads of new ones */
#define KMD_AUDIT	0x08u	/* who allocated, who freed, and when */
#define KMD_GUARD	0x10u	/* each object alone, before an unmapped page */
#define KMD_SAMPLE	0x20u	/* that for a few of them */
#define KMD_ALL		(KMD_CHECK | KMD_REDZONE | KMD_POISON | KMD_AUDIT)

/*
 * One boot option's value: "MODE,MODE...", for all caches that are created
 * from now on, or "MODE,MODE...:NAME" for those of that name.  Modes add to
 * what earlier options gave; `off` takes that away.
 *	check redzone poison audit guard sample sample/N all off
 * => NAME: `*` at its end stands for any rest, and `_` for a blank
 * => before kmem_cache_bootstrap, to have it for the heap's caches too
 * => false: something in it was not understood, and is said in the log; the
 *    rest counts
 */
bool	kmem_debug_option(const char *value);

/* The modes of a cache of that name, if it were created now. */
unsigned kmem_debug_modes(const char *name);

/* "check,redzone": for people.  => buf */
#define KMD_NAMES	48
const char *kmem_debug_names(char buf[KMD_NAMES], unsigned kmd);

/*
 * Log what is known of the object that ptr points into, or that was there:
 * who allocated it, who freed it.
 * => false: nothing is, and nothing was logged
 * => takes no lock, touches nothing through ptr
 */
bool	kmem_debug_tell(const void *ptr);

/*
 * For a trap handler: somebody touched va, where nothing is mapped.  Is that
 * an object's guard page, or an object that was freed?
 * => kmem_debug_fault_what: in words, into buf; kmem_debug_fault: in lines of
 *    the log, with both call chains
 * => false: it is neither
 */
bool	kmem_debug_fault_what(vaddr_t va, char *buf, size_t size);
bool	kmem_debug_fault(vaddr_t va);

/*
 * Leaks: objects in use that no pointer leads to, from the kernel's static
 * data, stacks and registers on, through other objects.  A pointer counts
 * wherever into an object it points, and whether it is one or only looks so.
 * => fn for each; the number of them
 * => only objects of caches with KMD_CHECK, and the heap's blocks of pages,
 *    can be found to be leaked; the others in use are looked through
 * => nobody may allocate, free or write pointers meanwhile; no lock is taken
 */
struct kmem_leak {
	const struct kmem_cache *kl_cache;	/* NULL: a block of pages */
	void		*kl_obj;
	size_t		 kl_size;	/* as asked for, where that is known */
};
unsigned long kmem_leaks(void (*fn)(const struct kmem_leak *, void *arg),
	    void *arg);

#endif
