/*
 * The kernel's self-tests, on the machine it runs on: what no test on a host
 * can see, and a look at the rest.
 *
 * Each runs under panic_catch, so that one that panics is one that failed
 * and not the end; frames are counted around each, so that every test is one
 * for leaks as well.
 *
 * `plant=NAME` breaks something that has to be found.  A suite that passes
 * with a fault planted is worth nothing, so the build's tests boot those too.
 */
#include <kern/mapwalk.h>
#include <kern/md.h>
#include <kern/selftest.h>
#include <vm/kmalloc.h>
#include <vm/kmem_range.h>
#include <vm/vm_phys.h>

static const struct selftest tests[] = {
	{ "structures", test_structures },
	{ "printf", test_printf },
	{ "symbols", test_symbols },
	{ "trace", test_trace },
	{ "roots", test_roots },
	{ "locks", test_locks },
	{ "panic", test_panic },
	{ "clock", test_clock },
	{ "protection", test_protection },
	{ "stacks", test_stacks },
	{ "guards", test_guards },
	{ "frames", test_phys },
	{ "pressure", test_pressure },
	{ "page tables", test_pmap_check },
	{ "user pmap", test_pmap_user },
	{ "kmem sizes", test_kmem_sizes },
	{ "kmem frees", test_kmem_frees },
	{ "kmem churn", test_kmem_churn },
	{ "kmem failures", test_kmem_failures },
	{ "kmem range", test_kmem_range },
	{ "cache", test_cache },
	{ "cache, meshed", test_cache_mesh },
	{ "cache misuse", test_cache_misuse },
	{ "kmalloc", test_kmalloc },
	{ "kmalloc misuse", test_kmalloc_misuse },
	{ "kmem zones", test_kmem_zones },
	{ "kmem poison", test_kmem_poison },
	{ "kmem bad frees", test_kmem_bad_frees },
	{ "kmem bad frees, heap", test_kmem_bad_heap },
	{ "kmem guard pages", test_kmem_guard },
	{ "kmem samples", test_kmem_sample },
	{ "kmem leaks", test_kmem_leaks },
	{ "kmem encoded links", test_kmem_links },
	{ "interrupted", test_interrupted },
	{ "slabs", test_slabs },
	{ "slabs, churned", test_slabs_churned },
	{ "structures, after", test_structures },
};

static char why[1000];

const char *
test_failed(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	k_vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return why;
}

bool
test_planted(const char *name)
{
	char plant[16];

	return bootopt_value("plant", plant, sizeof(plant)) &&
	    strcmp(plant, name) == 0;
}

static bool
contains(const char *s, const char *word)
{
	size_t n = strlen(word);

	for (; *s != '\0'; s++)
		if (strncmp(s, word, n) == 0)
			return true;
	return n == 0;
}

const char *
test_panics(void (*fn)(void *), void *arg, const char *word,
    const char *word2)
{
	char msg[400];

	if (!panic_catch(fn, arg, msg, sizeof(msg)))
		return test_failed("no panic, where one should name \"%s\", "
		    "\"%s\"", word, word2);
	if (!contains(msg, word) || !contains(msg, word2))
		return test_failed("the panic does not name \"%s\", \"%s\": %s",
		    word, word2, msg);
	return NULL;
}

const char *
test_structures(void)
{
	const char *wrong;

	if ((wrong = vm_map_check(kernel_map)) != NULL)
		return test_failed("vm_map_check: %s", wrong);
	if ((wrong = vm_phys_check()) != NULL)
		return test_failed("vm_phys_check: %s", wrong);
	if ((wrong = md_pmap_check()) != NULL)
		return test_failed("md_pmap_check: %s", wrong);
	if ((wrong = kmem_range_check()) != NULL)
		return test_failed("kmem_range_check: %s", wrong);
	if ((wrong = kmalloc_check()) != NULL)
		return test_failed("kmalloc_check: %s", wrong);
	for (struct kmem_cache *kc = NULL;
	    (kc = kmem_cache_next(kc)) != NULL;)
		if ((wrong = kmem_cache_check(kc)) != NULL)
			return test_failed("kmem_cache_check: %s", wrong);
	return NULL;
}

struct run {
	const struct selftest *r_test;
	const char	*r_wrong;
};

static void
run_test(void *arg)
{
	struct run *r = arg;

	r->r_wrong = r->r_test->t_fn();
}

/* Frames that are free when no cache keeps any for later. */
static unsigned long
frames_at_rest(void)
{
	kmem_cache_reap_all();
	return frames_free();
}

static bool
run_one(const struct selftest *t)
{
	static char msg[160];
	struct run r = { t, NULL };
	unsigned long before = frames_at_rest(), after;

	if (panic_catch(run_test, &r, msg, sizeof(msg)))
		r.r_wrong = test_failed("panicked: %s", msg);
	after = frames_at_rest();
	if (r.r_wrong == NULL && after != before)
		r.r_wrong = test_failed("%lu frames free before, %lu after",
		    before, after);
	if (r.r_wrong == NULL)
		printf("selftest: %s ok\n", t->t_name);
	else
		printf("selftest: %s FAILED: %s\n", t->t_name, r.r_wrong);
	return r.r_wrong == NULL;
}

static const char *
test_planted_failure(void)
{
	return "this one was planted";
}

/* What the tests have to find, and what whoever runs them has to. */
static void
plant(void)
{
	struct vm_map_entry *root = (struct vm_map_entry *)(void *)
	    kernel_map->vm_tree.rb_root;

	if (test_planted("map"))
		root->vme_max_gap ^= PAGE_SIZE;
	if (test_planted("panic"))
		panic("selftest: this one was planted");
	if (test_planted("fault"))
		*(volatile char *)(uintptr_t)kern_main = 0;
	test_kmem_plant();
	if (test_planted("triple"))
		md_triple_fault();
	while (test_planted("hang"))
		continue;
}

unsigned
selftest_run(void)
{
	static const struct selftest planted = {
		"planted", test_planted_failure
	};
	unsigned failed = 0, n = nitems(tests);

	plant();
	for (unsigned i = 0; i < nitems(tests); i++)
		failed += !run_one(&tests[i]);
	if (test_planted("test")) {
		failed += !run_one(&planted);
		n++;
	}
	printf("selftest: %u passed, %u failed\n", n - failed, failed);
	return failed;
}
