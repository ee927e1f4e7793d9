/*
 * The common part of the slab layer's tests.
 */
#include <pthread.h>
#include <stdlib.h>

#include "slab_test.h"

static struct ledger beginning;

void
slab_boot(pfn_t frames, unsigned kmd)
{
	kmem_debug_set(kmd);
	host_boot(frames);
	slab_mark();
}

void
slab_mark(void)
{
	ledger_take(&beginning);
}

void
slab_check(void)
{
	struct kmem_cache *kc = NULL;
	const char *bad;

	while ((kc = kmem_cache_next(kc)) != NULL) {
		bad = kmem_cache_check(kc);
		if (bad != NULL)
			ck_abort_msg("%s: %s", kc->kc_name, bad);
	}
	bad = kmalloc_check();
	if (bad == NULL)
		bad = vm_map_check(kernel_map);
	if (bad == NULL)
		bad = vm_phys_check();
	if (bad != NULL)
		ck_abort_msg("%s", bad);
	must(host_locks()->hl_held == 0);
}

void
slab_done(void)
{
	const char *bad;

	slab_check();
	kmem_cache_reap_all();
	slab_check();
	bad = ledger_since(&beginning);
	if (bad != NULL)
		ck_abort_msg("at the end: %s", bad);
}

unsigned
slab_debug_of(int i)
{
	return i % 2 ? KMD_CHECK : 0;
}

unsigned
slab_panics(void (*fn)(void *), void *arg, const char *words)
{
	unsigned nlocks;
	const char *said = host_panic_of(fn, arg, &nlocks);

	if (said == NULL || strstr(said, words) == NULL)
		ck_abort_msg("\"%s\" is not \"...%s...\"", said == NULL ?
		    "no panic" : said, words);
	return nlocks;
}

void
slab_do_free(void *arg)
{
	const struct slab_mistake *m = arg;

	kmem_cache_free(m->m_cache, m->m_ptr);
}

int
slab_construct(void *obj, void *arg, int flags)
{
	return 0;
}

void
slab_alloc_zero(void *arg)
{
	kmem_cache_alloc(arg, KM_ZERO);
}

struct leaks {
	void		**l_leak;
	unsigned	 l_n, l_max;
};

static void
leaked(const struct kmem_leak *kl, void *arg)
{
	struct leaks *l = arg;

	must(l->l_n < l->l_max);
	l->l_leak[l->l_n++] = kl->kl_obj;
}

unsigned
slab_leaks(void **leak, unsigned max)
{
	struct leaks l = { leak, 0, max };

	must(kmem_leaks(leaked, &l) == l.l_n);
	slab_check();
	return l.l_n;
}

struct kmem_cache *
slab_make(const char *name, size_t size, int flags)
{
	const struct kmem_cache_args ca = { .ca_name = name, .ca_size = size,
	    .ca_flags = flags };
	struct kmem_cache *kc = kmem_cache_create(&ca);

	must(kc != NULL);
	return kc;
}

struct kmem_cache_stats
slab_stats(struct kmem_cache *kc)
{
	struct kmem_cache_stats cs;

	kmem_cache_stats(kc, &cs);
	return cs;
}

struct kmem_cache *
slab_named(const char *name)
{
	struct kmem_cache *kc = NULL;

	while ((kc = kmem_cache_next(kc)) != NULL)
		if (strcmp(kc->kc_name, name) == 0)
			return kc;
	ck_abort_msg("no cache is called %s", name);
	return NULL;
}

static uint8_t
byte_of(uint32_t mark, size_t i)
{
	return (uint8_t)(mark + i * 7 + (i >> 8));
}

void
slab_fill(void *obj, size_t size, uint32_t mark)
{
	uint8_t *p = obj;
	size_t i;

	for (i = 0; i < size; i++)
		p[i] = byte_of(mark, i);
}

bool
slab_holds(const void *obj, size_t size, uint32_t mark)
{
	const uint8_t *p = obj;
	size_t i;

	for (i = 0; i < size; i++)
		if (p[i] != byte_of(mark, i))
			return false;
	return true;
}

struct call {
	void		(*c_fn)(void *);
	void		*c_arg;
};

static void *
called(void *arg)
{
	const struct call *c = arg;

	c->c_fn(c->c_arg);
	return NULL;
}

void
slab_on_other_cpu(void (*fn)(void *), void *arg)
{
	struct call c = { fn, arg };
	pthread_t id;

	must(pthread_create(&id, NULL, called, &c) == 0);
	must(pthread_join(id, NULL) == 0);
}

static paddr_t *hoard;
static pfn_t nhoard;

void
slab_hoard(void)
{
	pfn_t n = vm_phys_nfree();

	if (n == 0)
		return;
	hoard = realloc(hoard, (nhoard + n) * sizeof(*hoard));
	must(hoard != NULL);
	must(vm_phys_alloc_many(n, VM_PAGE_USER, hoard + nhoard) == 0);
	nhoard += n;
}

void
slab_hoard_give(pfn_t n)
{
	if (n == 0 || n > nhoard)
		n = nhoard;
	nhoard -= n;
	if (n != 0)
		vm_phys_free_many(hoard + nhoard, n);
}
