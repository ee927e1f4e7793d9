/*
 * The self-tests' own.  A test returns NULL, or in words what is wrong.
 * Whatever it takes it gives back, on failure too where it can: the runner
 * counts frames around each one.
 */
#ifndef KERN_SELFTEST_H
#define KERN_SELFTEST_H

#include <kern/kern.h>

struct selftest {
	const char	*t_name;
	const char	*(*t_fn)(void);
};

/* In a static buffer, good until the next one. */
const char *test_failed(const char *fmt, ...) __printflike(1, 2);

/* What the boot option plant= wants broken. */
bool	test_planted(const char *name);

/*
 * fn(arg) must panic or fault, with a message that has both words in it.
 */
const char *test_panics(void (*fn)(void *), void *arg, const char *word,
	    const char *word2);

/* Every structure's own check. */
const char *test_structures(void);

/* selftest_kern.c */
const char *test_printf(void);
const char *test_symbols(void);
const char *test_trace(void);
const char *test_roots(void);
const char *test_locks(void);
const char *test_panic(void);
const char *test_clock(void);
const char *test_protection(void);

/* selftest_intr.c */
const char *test_interrupted(void);

/* selftest_pmap.c */
const char *test_pmap_check(void);
const char *test_pmap_user(void);

/* selftest_stack.c */
const char *test_stacks(void);

/* selftest_kmem.c */
const char *test_kmem_zones(void);
const char *test_kmem_poison(void);
const char *test_kmem_bad_frees(void);
const char *test_kmem_bad_heap(void);
const char *test_kmem_guard(void);
const char *test_kmem_sample(void);
const char *test_kmem_leaks(void);
const char *test_kmem_links(void);
void	test_kmem_plant(void);	/* what plant= wants of it */

/* selftest_vm.c */
const char *test_guards(void);
const char *test_phys(void);
const char *test_pressure(void);
const char *test_kmem_sizes(void);
const char *test_kmem_frees(void);
const char *test_kmem_churn(void);
const char *test_kmem_failures(void);
const char *test_kmem_range(void);
const char *test_cache(void);
const char *test_cache_mesh(void);
const char *test_cache_misuse(void);
const char *test_kmalloc(void);
const char *test_kmalloc_misuse(void);
const char *test_slabs(void);
const char *test_slabs_churned(void);

#endif
