/*
 * The inside of the heap, for kmalloc*.c, the debugger and the tests.
 */
#ifndef VM_KMALLOC_IMPL_H
#define VM_KMALLOC_IMPL_H

#include <vm/kmalloc.h>
#include <vm/kmem_cache_impl.h>

/* The largest size that has a class; above it are whole pages. */
#define KMALLOC_MAX_CLASS	PAGE_SIZE

/* Types with an identity of their own; later ones share the last one's. */
#define KMALLOC_MAX_ID		(KMEM_TAG_MARK - 1u)

/* The i-th class's cache, smallest first; NULL: there is no i-th. */
struct kmem_cache *kmalloc_class(unsigned i);

/* The bytes that a request of size takes, of a class or of pages. */
size_t	kmalloc_held(size_t size);

/* What ptr is, in words, the heap's types included. */
void	kmalloc_describe(char *buf, size_t size, const void *ptr);

#endif
