/*
 * The slab layer does what it has to and no more: who wants a page gets one,
 * and everybody else keeps what he has; a refusal leaves a cache as it was;
 * what an interrupt, a reserve, or nobody was given is counted so.
 */
#define _GNU_SOURCE
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include <libkern/errno.h>
#include <vm/kmem_debug_impl.h>
#include <vm/kmem_range.h>
#include <vm/vm_kmem.h>

#include "slab_test.h"

#define FRAMES		8192u		/* 32 MB */

static KMALLOC_DEFINE(M_TEST, "exact", "the tests' type");

static void *obj[10000];

static void
alloc_n(struct kmem_cache *kc, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		obj[i] = kmem_cache_alloc(kc, KM_NOSLEEP);
		must(obj[i] != NULL);
	}
}

static void
free_n(struct kmem_cache *kc, unsigned n)
{
	while (n > 0)
		kmem_cache_free(kc, obj[--n]);
}

/*
 * Giving back.
 */

/* A cache with one slab, which has so many pages, and is empty. */
static struct kmem_cache *
make_empty(const char *name, unsigned pages)
{
	const struct kmem_cache_args ca = { .ca_name = name,
	    .ca_size = 3000, .ca_slab_pages = pages, .ca_flags = KM_NOMAG };
	struct kmem_cache *kc = kmem_cache_create(&ca);

	must(kc != NULL);
	kmem_cache_free(kc, kmem_cache_alloc(kc, 0));
	must(kc->kc_nempty == 1 && kc->kc_nslabs == 1);
	return kc;
}

/* Magazines full of objects, so many slabs of which nobody else has any. */
static struct kmem_cache *
make_cached(void)
{
	struct kmem_cache *kc = slab_make("cached", 2000, 0);
	const unsigned n = 2 * kc->kc_per_slab;

	alloc_n(kc, n);
	free_n(kc, n);
	must(kc->kc_nempty == 0 && kc->kc_nslabs >= 2);
	must(slab_stats(kc).cs_inuse == 0 && slab_stats(kc).cs_cached > 0);
	return kc;
}

/* Of each slab another object is out, so that two can be made one. */
static struct kmem_cache *
make_sparse(unsigned nslabs)
{
	const struct kmem_cache_args ca = { .ca_name = "sparse",
	    .ca_size = 400, .ca_slab_pages = 2,
	    .ca_flags = KM_NOMAG | KM_MESH };
	struct kmem_cache *kc = kmem_cache_create(&ca);
	const unsigned n = kc->kc_per_slab;
	unsigned i;

	alloc_n(kc, nslabs * n);
	for (i = 0; i < nslabs * n; i++)
		if (i % n != i / n)
			kmem_cache_free(kc, obj[i]);
	must(kc->kc_nslabs == nslabs && kc->kc_inuse == nslabs);
	return kc;
}

/*
 * A page is wanted: what an interrupt has freed is given first, then the first
 * empty slab that there is, then what somebody has in his magazines, and what
 * two slabs can share only when there is nothing else.
 */
START_TEST(no_more_than_wanted)
{
	struct kmem_cache *cached, *first, *second, *mags, *sparse;
	unsigned long pages;
	void *block;

	slab_boot(FRAMES, slab_debug_of(_i));
	block = kmalloc(ptoa(5), M_TEST, 0);
	sparse = make_sparse(8);
	cached = make_cached();
	mags = kmem_slab_find(cached->kc_cpu[1].cc_mag)->sl_cache;
	first = make_empty("first", 3);
	second = make_empty("second", 3);
	kmem_range_drain();
	host_set_intr(true);
	kfree(block, M_TEST);
	host_set_intr(false);

	must(kmem_reclaim(1) == 5);
	must(first->kc_nempty == 1 && second->kc_nempty == 1);
	must(kmem_reclaim(1) == 3);
	must(first->kc_nempty == 0 && second->kc_nempty == 1);
	must(kmem_reclaim(1) == 3);
	must(second->kc_nempty == 0 && slab_stats(cached).cs_cached > 0);
	pages = atop(cached->kc_slab_size) * cached->kc_nslabs;
	if (_i / 2 == 0) {
		must(kmem_reclaim(1) == pages && pages > 1);
		must(sparse->kc_meshed == 0);
	} else {
		must(kmem_reclaim(pages + 1) > pages + 1);
		must(sparse->kc_meshed > 0);
	}
	must(slab_stats(cached).cs_cached == 0 && cached->kc_nslabs == 0);
	/* The magazines' own slab has become empty, and was not needed. */
	must(mags->kc_nempty == 1 && mags->kc_inuse == 0);
	must(kmem_reclaim(1) == 1 && mags->kc_nempty == 0);
	if (_i / 2 == 0)
		must(kmem_reclaim(1) > 1 && sparse->kc_meshed > 0);
	must(kmem_reclaim(1) == 0);
	slab_check();
}
END_TEST

/* Who waits for a cache is woken each time that a reaper lets go of it. */
START_TEST(woken_once_a_cache)
{
	struct kmem_cache *kc = NULL;
	unsigned n = 0;
	uint64_t before;

	slab_boot(FRAMES, slab_debug_of(_i));
	slab_make("one more", 64, 0);
	while ((kc = kmem_cache_next(kc)) != NULL)
		n++;
	kmem_cache_reap_all();
	host_advance(KMEM_REAP_TICKS);
	kmem_reap_tick();
	host_advance(KMEM_REAP_TICKS);
	before = host_wakeups();
	must(kmem_reap_tick() == 0);
	must(host_wakeups() == before + n);
}
END_TEST

/* Where an interrupt has left nothing there is nothing to lock. */
START_TEST(nothing_kept)
{
	uint64_t before;

	slab_boot(FRAMES, slab_debug_of(_i));
	before = host_locks()->hl_mtx;
	must(kmem_pages_drain() == 0);
	must(host_locks()->hl_mtx == before);
}
END_TEST

/*
 * A slab goes to the front of its list when it comes into another eighth, and
 * stays where it is as long as it does not.
 */
START_TEST(moved_by_eighths)
{
	struct kmem_cache *kc;
	struct kmem_slab *a, *b;
	unsigned i, n, step;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("eighths", 100, KM_NOMAG);
	n = kc->kc_per_slab;
	step = 1u << kc->kc_bin_shift;
	must(step >= 4);
	alloc_n(kc, 2 * n);
	a = kmem_slab_find(obj[0]);
	b = kmem_slab_find(obj[n]);
	/* Both have two more out than their eighth begins with; b came last. */
	for (i = 0; i < n - step - 2; i++)
		kmem_cache_free(kc, obj[i]);
	for (i = 0; i < n - step - 2; i++)
		kmem_cache_free(kc, obj[n + i]);
	must(a->sl_inuse == step + 2 && b->sl_inuse == step + 2);
	kmem_cache_free(kc, obj[i]);
	must(a->sl_inuse == step + 1);
	must(kmem_slab_find(kmem_cache_alloc(kc, 0)) == b);
	slab_check();
}
END_TEST

/* A cache that has no magazines is not searched for any. */
START_TEST(no_magazines)
{
	struct kmem_cache *kc;
	uint64_t before;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("without", 64, KM_NOMAG);
	before = host_locks()->hl_mtx;
	must(kmem_cache_reap(kc) == 0);
	must(host_locks()->hl_mtx == before + 1);
	must(kmem_cache_destroy(kc) == 0);
}
END_TEST

/*
 * What a CPU got back last it gives out first, whoever comes there next: his
 * first allocation goes the long way.
 */
static void
leave(void *arg)
{
	struct kmem_cache *kc = arg;
	const struct kmem_cpu *cc;
	unsigned n = 200;

	alloc_n(kc, n);
	cc = &kc->kc_cpu[host_cpu.hc_number];
	while (cc->cc_mag == NULL || cc->cc_prev_n == 0 || kmem_cpu_n(cc) < 5)
		kmem_cache_free(kc, obj[--n]);
	obj[0] = obj[n];
}

static void
find(void *arg)
{
	obj[1] = kmem_cache_alloc(arg, 0);
}

START_TEST(last_is_first)
{
	struct kmem_cache *kc;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("last", 64, 0);
	slab_on_other_cpu(leave, kc);
	slab_on_other_cpu(find, kc);
	must(obj[0] == obj[1]);
	slab_check();
}
END_TEST

/* A header is as large as its bits are, and its tags where there are any. */
START_TEST(header_is_small)
{
	struct kmem_cache *kc;
	size_t size;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("header", 100, 0);
	must(!(kc->kc_flags & KC_OFFSLAB));
	size = offsetof(struct kmem_slab, sl_free) +
	    kc->kc_nwords * sizeof(uint32_t) + _i % 2 * kc->kc_per_slab;
	must(kc->kc_hdr_off == kc->kc_slab_size -
	    roundup2(size, sizeof(void *)));
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* A tail may be longer than the longest colour that a header can say. */
START_TEST(long_tail)
{
	const struct kmem_cache_args ca = { .ca_name = "tail",
	    .ca_size = 90000, .ca_slab_pages = 64 };
	struct kmem_cache *kc;
	unsigned n;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = kmem_cache_create(&ca);
	must(kc != NULL && kc->kc_per_slab == 2);
	must(kc->kc_color_max == rounddown2(UINT16_MAX, kc->kc_color_step));
	kc->kc_color = kc->kc_color_max - kc->kc_color_step;
	alloc_n(kc, 6);
	for (n = 0; n < 6; n++)
		slab_fill(obj[n], 90000, n);
	slab_check();
	must(kmem_slab_find(obj[2])->sl_color == kc->kc_color_max);
	must(kmem_slab_find(obj[4])->sl_color == 0);
	for (n = 0; n < 6; n++)
		must(slab_holds(obj[n], 90000, n));
	free_n(kc, 6);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * Behind the last CPU's magazines is nobody's place.  Who has no CPU yet finds
 * nothing there, and puts nothing there.
 */
_Static_assert(VM_NCPU_QUICK == VM_NCPU + 1, "there is no such place");

static void
first_alloc(void *arg)
{
	obj[0] = kmem_cache_alloc(arg, 0);
}

static void
first_free(void *arg)
{
	kmem_cache_free(arg, obj[0]);
}

static void
first_kmalloc(void *arg)
{
	obj[0] = kmalloc(64, M_TEST, 0);
}

static void
first_kfree(void *arg)
{
	kfree(obj[0], M_TEST);
}

static void
without_cpu(struct kmem_cache *kc, void (*fn)(void *))
{
	const struct kmem_cpu *nobody = &kc->kc_cpu[VM_NCPU];

	slab_on_other_cpu(fn, kc);
	must(nobody->cc_mag == NULL && nobody->cc_prev == NULL);
	must(nobody->cc_top == NULL && nobody->cc_first == NULL);
	must(nobody->cc_end == NULL && nobody->cc_allocs == 0);
}

START_TEST(nobodys_magazine)
{
	struct kmem_cache *kc, *class;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("last", 64, 0);
	kfree(kmalloc(64, M_TEST, 0), M_TEST);
	class = kmalloc_class(6);
	must(class->kc_size == 64);
	without_cpu(kc, first_alloc);
	must(kmem_slab_find(obj[0])->sl_cache == kc);
	without_cpu(kc, first_free);
	without_cpu(class, first_kmalloc);
	must(kmem_slab_find(obj[0])->sl_cache == class);
	without_cpu(class, first_kfree);
	must(slab_stats(kc).cs_inuse == 0 && slab_stats(class).cs_inuse == 0);
	slab_check();
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* A frame is marked for as long as it is a slab's, and then it may be kept. */
START_TEST(marked)
{
	struct kmem_cache *kc;
	const struct vm_page *pg[3];
	unsigned i;
	char *base;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = make_empty("marked", 3);
	base = kmem_slab_base(kc, kmem_link_slab(kc->kc_empty.kl_next));
	for (i = 0; i < 3; i++) {
		pg[i] = kmem_page(base + ptoa(i));
		must(pg[i] != NULL && (pg[i]->pg_flags & VM_PAGE_SLAB));
	}
	must(kmem_cache_reap(kc) == 3);
	must(kmem_range_kept((vaddr_t)base));
	for (i = 0; i < 3; i++) {
		must(kmem_page(base + ptoa(i)) == pg[i]);
		must(!(pg[i]->pg_flags & VM_PAGE_SLAB));
	}
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * What should not be there, in the magazine that is looked at last or in the
 * one before: the reap goes on, and says so in the end.
 */
static void
do_reap(void *arg)
{
	kmem_cache_reap(arg);
}

START_TEST(bad_in_a_magazine)
{
	struct kmem_cache *kc;
	const struct kmem_mag *mag;
	struct kmem_cpu *cc;
	char want[80];
	unsigned i, n, nrounds;
	int on_stack;

	slab_boot(FRAMES, 0);
	kc = slab_make("bad", 64, 0);
	cc = &kc->kc_cpu[1];
	n = 200;
	alloc_n(kc, n);
	while (cc->cc_mag == NULL || cc->cc_prev == NULL)
		kmem_cache_free(kc, obj[--n]);
	kmem_cache_free(kc, &on_stack);
	/* The older half goes to the other one. */
	while (_i == 1 && cc->cc_prev_n == 0)
		kmem_cache_free(kc, obj[--n]);
	mag = _i == 1 ? cc->cc_prev : cc->cc_mag;
	nrounds = _i == 1 ? cc->cc_prev_n : kmem_cpu_n(cc);
	for (i = 0; i < nrounds && mag->m_round[i] != &on_stack; i++)
		continue;
	must(i < nrounds);
	snprintf(want, sizeof(want), "kmem_cache_reap(bad, %p)",
	    (void *)&on_stack);
	must(slab_panics(do_reap, kc, want) == 0);
	must(slab_stats(kc).cs_cached == 0 && cc->cc_mag == NULL);
	free_n(kc, n);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * An object alone on its pages has the place of a slab's on its frame, and is
 * none: where it turns up in a magazine, somebody has written there.
 */
START_TEST(guard_in_a_magazine)
{
	struct kmem_cache *kc;
	struct kmem_cpu *cc;
	char want[80];
	void **last, *was, *p;

	slab_boot(FRAMES, KMD_GUARD);
	kc = slab_make("guarded", 64, 0);
	cc = &kc->kc_cpu[1];
	p = kmem_cache_alloc(kc, 0);
	kmem_cache_free(kc, kmem_cache_alloc(kc, 0));
	must(kmem_guard_find(p) != NULL && kmem_cpu_n(cc) > 0);
	last = &cc->cc_top[-1];
	was = *last;
	*last = p;
	snprintf(want, sizeof(want), "kmem_cache_reap(guarded, %p)", p);
	must(slab_panics(do_reap, kc, want) == 0);
	kmem_cache_free(kc, p);
	must(kmem_slabs_put(kc, &was, 1) == NULL);
	slab_check();
}
END_TEST

/*
 * Behind the last object lies what is none, whatever stands behind the last
 * tag.
 */
static void
do_kfree(void *arg)
{
	kfree(arg, M_TEST);
}

/* What would be the next object of o's slab, with a tag, or NULL. */
static void *
behind(void *o, uint8_t tag)
{
	struct kmem_slab *sl = kmem_slab_find(o);
	const struct kmem_cache *kc = sl->sl_cache;
	uint8_t *next = kmem_slab_tags(kc, sl) + kc->kc_per_slab;

	if ((kc->kc_flags & KC_OFFSLAB) || (uintptr_t)next % 8 == 0)
		return NULL;
	*next = tag;
	return sl->sl_first + kc->kc_per_slab * kc->kc_stride;
}

START_TEST(behind_the_tags)
{
	struct slab_mistake m;
	unsigned size, n[2] = { 0, 0 };
	void *o;

	slab_boot(FRAMES, KMD_CHECK);
	for (size = 32; size <= 256; size += 8) {
		o = kmalloc(size, M_TEST, 0);
		m.m_ptr = behind(o, M_TEST->kt_id);
		if (m.m_ptr != NULL) {
			must(slab_panics(do_kfree, m.m_ptr, "kfree(") == 0);
			n[0]++;
		}
		kfree(o, M_TEST);
		m.m_cache = slab_make("behind", size, 0);
		o = kmem_cache_alloc(m.m_cache, 0);
		m.m_ptr = behind(o, KMEM_TAG_OUT);
		if (m.m_ptr != NULL) {
			must(slab_panics(slab_do_free, &m,
			    "beside the objects of a slab of behind") == 0);
			n[1]++;
		}
		kmem_cache_free(m.m_cache, o);
		must(kmem_cache_destroy(m.m_cache) == 0);
	}
	must(n[0] > 0 && n[1] > 0);
	slab_done();
}
END_TEST

/*
 * What is not mapped is nobody's, even if the first frame were a slab's; nor
 * is what no frame is behind.
 */
START_TEST(not_mapped)
{
	struct vm_page *pg, was;
	struct slab_mistake m;
	struct kmem_slab *sl;
	paddr_t pa, *pte;
	vaddr_t va;

	slab_boot(FRAMES, slab_debug_of(_i));
	pg = vm_frames.vf_page;
	m.m_cache = slab_make("gone", 3000, 0);
	m.m_ptr = kmem_cache_alloc(m.m_cache, 0);
	va = trunc_page((vaddr_t)m.m_ptr);
	sl = kmem_slab_find(m.m_ptr);
	must(trunc_page((vaddr_t)sl) != va);
	was = pg[0];
	pg[0] = *kmem_page(m.m_ptr);
	must(pg[0].pg_slab == sl && pmap_kremove(va, 1, &pa) == 1);
	must(kmem_page(m.m_ptr) == NULL && kmem_slab_find(m.m_ptr) == NULL);
	if (_i % 2)
		must(slab_panics(slab_do_free, &m, "kmem_cache_free(gone, ") ==
		    0);
	must(kmem_slabs_put(m.m_cache, &m.m_ptr, 1) == m.m_ptr);
	pg[0] = was;
	pte = &host_kpte[(va - VM_MIN_KERNEL_ADDRESS) >> PAGE_SHIFT];
	*pte = ptoa((paddr_t)vm_frames.vf_npfn + 10000) | 1;
	must(kmem_page(m.m_ptr) == NULL);
	*pte = 0;
	must(pmap_kenter(va, &pa, 1, VM_PROT_RW) == 0);
	kmem_cache_free(m.m_cache, m.m_ptr);
	must(kmem_cache_destroy(m.m_cache) == 0);
	slab_done();
}
END_TEST

/* What shows a slab's frame, but outside of the windows, is no object. */
START_TEST(outside_of_the_windows)
{
	const vaddr_t va = VM_MISC_MAX - ptoa(4);
	struct slab_mistake m;
	struct kmem_slab *sl;
	paddr_t pa;
	void *o;

	slab_boot(FRAMES, slab_debug_of(_i));
	m.m_cache = slab_make("shown", 64, 0);
	o = kmem_cache_alloc(m.m_cache, 0);
	sl = kmem_slab_find(o);
	must(pmap_kextract(trunc_page((vaddr_t)o), &pa));
	must(vm_map_insert(kernel_map, va, va + PAGE_SIZE, VM_PROT_RW,
	    "shown") == 0);
	must(pmap_kenter(va, &pa, 1, VM_PROT_RW) == 0);
	sl->sl_twin = (char *)va;
	m.m_ptr = (char *)va + ((uintptr_t)o & PAGE_MASK);
	must(kmem_slab_find(m.m_ptr) == NULL);
	if (_i % 2)
		must(slab_panics(slab_do_free, &m, "kmem_cache_free(shown, ") ==
		    0);
	must(kmem_slabs_put(m.m_cache, &m.m_ptr, 1) == m.m_ptr);
	sl->sl_twin = NULL;
	must(pmap_kremove(va, 1, &pa) == 1);
	must(vm_map_remove(kernel_map, va, va + PAGE_SIZE) == 0);
	kmem_cache_free(m.m_cache, o);
	must(kmem_cache_destroy(m.m_cache) == 0);
	slab_done();
}
END_TEST

/*
 * Looks: how often is the page table asked for the frame of what lies in the
 * windows?  Each time is a fault, and the instruction is stepped over.
 */
#define EFLAGS_TF	0x100

static volatile unsigned nlooks;

static void
table_protect(int prot)
{
	const uintptr_t lo = round_page((uintptr_t)host_kpte);
	const uintptr_t hi = trunc_page((uintptr_t)(host_kpte + HOST_NKPTE));

	if (mprotect((void *)lo, hi - lo, prot) != 0)
		abort();
}

static void
look(int sig, siginfo_t *si, void *context)
{
	const uintptr_t at = (uintptr_t)si->si_addr - (uintptr_t)host_kpte;
	ucontext_t *uc = context;

	if (at >= HOST_NKPTE * sizeof(*host_kpte))
		abort();
	nlooks++;
	table_protect(PROT_READ | PROT_WRITE);
	uc->uc_mcontext.gregs[REG_EFL] |= EFLAGS_TF;
}

static void
looked(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;

	table_protect(PROT_NONE);
	uc->uc_mcontext.gregs[REG_EFL] &= ~EFLAGS_TF;
}

static unsigned
looks(void (*fn)(void *), void *arg)
{
	const struct sigaction begin = { .sa_sigaction = look,
	    .sa_flags = SA_SIGINFO };
	const struct sigaction end = { .sa_sigaction = looked,
	    .sa_flags = SA_SIGINFO };

	must(sigaction(SIGSEGV, &begin, NULL) == 0);
	must(sigaction(SIGTRAP, &end, NULL) == 0);
	nlooks = 0;
	table_protect(PROT_NONE);
	fn(arg);
	table_protect(PROT_READ | PROT_WRITE);
	must(signal(SIGSEGV, SIG_DFL) != SIG_ERR);
	must(signal(SIGTRAP, SIG_DFL) != SIG_ERR);
	return nlooks;
}

/* Out of a magazine and back into it: not one, and for a tag one each. */
START_TEST(looked_at_once)
{
	const unsigned tags = _i % 2;
	struct kmem_cache *kc, *class = kmalloc_class(6);
	struct kmem_cpu *cc;
	unsigned i, n;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("looks", 64, 0);
	must(class->kc_size == 64);
	for (i = 0; i < 2; i++) {
		kmem_cache_free(kc, kmem_cache_alloc(kc, 0));
		kfree(kmalloc(64, M_TEST, 0), M_TEST);
	}
	for (i = 0; i < 9; i++) {
		must(looks(first_alloc, kc) == tags);
		must(looks(first_free, kc) == tags);
		must(looks(first_kmalloc, NULL) == tags);
		/* Where there are tags, the class is not known without. */
		must(looks(first_kfree, NULL) == 2 * tags);
	}
	/* Nor when it is another magazine. */
	cc = &class->kc_cpu[1];
	for (n = 0; n < 100 || kmem_cpu_n(cc) != 0; n++)
		obj[n] = kmalloc(64, M_TEST, 0);
	must(cc->cc_prev != NULL && cc->cc_prev_n == 0);
	for (; kmem_cpu_n(cc) != kmem_cpu_size(cc); n--)
		kfree(obj[n - 1], M_TEST);
	must(looks(first_kfree, NULL) == 2 * tags);
	must(cc->cc_prev_n != 0);
	while (n > 1)
		kfree(obj[--n], M_TEST);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* By the addresses of the slab's twin as by its own: one. */
START_TEST(looked_at_as_a_twin)
{
	const vaddr_t va = VM_SLAB_MAX - ptoa(4);
	struct kmem_cache *kc;
	struct kmem_slab *sl;
	char *own, *other;
	paddr_t pa;

	slab_boot(FRAMES, KMD_CHECK);
	kc = slab_make("twin", 64, 0);
	obj[0] = own = kmem_cache_alloc(kc, 0);
	sl = kmem_slab_find(own);
	must(pmap_kextract(trunc_page((vaddr_t)own), &pa));
	must(vm_map_insert(kernel_map, va, va + PAGE_SIZE, VM_PROT_RW,
	    "twin") == 0);
	must(pmap_kenter(va, &pa, 1, VM_PROT_RW) == 0);
	sl->sl_twin = (char *)va;
	must(looks(first_free, kc) == 1 && looks(first_alloc, kc) == 1);
	must(obj[0] == own);
	obj[0] = other = (char *)va + ((uintptr_t)own & PAGE_MASK);
	must(looks(first_free, kc) == 1 && looks(first_alloc, kc) == 1);
	must(obj[0] == other);
	sl->sl_twin = NULL;
	must(pmap_kremove(va, 1, &pa) == 1);
	must(vm_map_remove(kernel_map, va, va + PAGE_SIZE) == 0);
	kmem_cache_free(kc, own);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* Objects that go back to their slab in a row: one for all. */
struct row {
	struct kmem_cache *r_cache;
	void		*r_obj[64];
	unsigned	 r_n;
};

static void
put_row(void *arg)
{
	const struct row *r = arg;

	must(kmem_slabs_put(r->r_cache, r->r_obj, r->r_n) == NULL);
}

START_TEST(put_in_a_row)
{
	struct row r = { .r_n = 12 };
	unsigned i, n;

	slab_boot(FRAMES, 0);
	r.r_cache = slab_make("row", 64, KM_NOMAG);
	n = r.r_cache->kc_per_slab;
	alloc_n(r.r_cache, 2 * n);
	memcpy(r.r_obj, obj, 6 * sizeof(*obj));
	memcpy(r.r_obj + 6, obj + n, 6 * sizeof(*obj));
	must(looks(put_row, &r) == 2);
	for (i = 0; i < 12; i++)
		r.r_obj[i] = obj[i % 2 * n + 6 + i / 2];
	must(looks(put_row, &r) == 12);
	for (i = 12; i < n; i++) {
		kmem_cache_free(r.r_cache, obj[i]);
		kmem_cache_free(r.r_cache, obj[n + i]);
	}
	must(kmem_cache_destroy(r.r_cache) == 0);
	slab_done();
}
END_TEST

/*
 * Refusals.
 */

/* Nothing is taken, freed, moved or counted where no object was at hand. */
START_TEST(refused_as_it_was)
{
	const struct kmem_cache_args ca = { .ca_name = "made",
	    .ca_size = 64, .ca_ctor = slab_construct };
	static struct kmem_cache was;
	struct kmem_cache *kc;
	struct kmem_cpu *cc;
	unsigned n;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = kmem_cache_create(&ca);
	cc = &kc->kc_cpu[1];
	memcpy(&was, kc, sizeof(was));
	must(slab_panics(slab_alloc_zero, kc,
	    "KM_ZERO would undo the constructor") == 0);
	must(memcmp(&was, kc, sizeof(was)) == 0);
	for (n = 0; n < 30; n++) {
		alloc_n(kc, 1000);
		free_n(kc, 1000);
	}
	/* The loaded magazine is empty, the one before it full. */
	for (n = 0; kmem_cpu_n(cc) != 0 || cc->cc_prev_n == 0 ||
	    kc->kc_empty_mags == NULL; n++)
		obj[n] = kmem_cache_alloc(kc, 0);
	memcpy(&was, kc, sizeof(was));
	must(slab_panics(slab_alloc_zero, kc,
	    "KM_ZERO would undo the constructor") == 0);
	must(memcmp(&was, kc, sizeof(was)) == 0);
	free_n(kc, n);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* What is not so is said before anything is done about it. */
static void
do_reap_bare(void *arg)
{
	struct kmem_cache *kc = arg;

	kmem_slab_destroy(kc, kmem_link_slab(kc->kc_full.kl_next));
}

START_TEST(asserted)
{
	struct kmem_cache *kc;
	struct kmem_slab *sl;
	paddr_t pa;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("asserts", PAGE_SIZE, KM_NOMAG);
	alloc_n(kc, kc->kc_per_slab);
	sl = kmem_slab_find(obj[0]);
	must(slab_panics(do_reap_bare, kc, "sl->sl_inuse == 0") == 0);
	must(kmem_slab_find(obj[0]) == sl && sl->sl_cache == kc);
	free_n(kc, kc->kc_per_slab);
	must(kc->kc_nempty == 1);
	/* Somebody has taken a page from under it. */
	must(pmap_kremove(trunc_page((vaddr_t)obj[0]), 1, &pa) == 1);
	must(slab_panics(do_reap, kc, "pg != NULL") == 0);
}
END_TEST

/*
 * Links that were written over, on either side of what is to come off a list.
 */
static void
do_free(void *arg)
{
	struct kmem_cache *kc;
	void *o;

	must(kmem_cache_find(arg, &kc, &o));
	kmem_cache_free(kc, o);
}

static void
do_destroy(void *arg)
{
	kmem_cache_destroy(arg);
}

START_TEST(torn_links)
{
	struct kmem_cache *kc, *around[2];
	struct kmem_link *l, forged;
	unsigned n;

	slab_boot(FRAMES, slab_debug_of(_i));
	around[0] = slab_make("before", 64, 0);
	kc = slab_make("torn", 64, KM_NOMAG);
	around[1] = slab_make("after", 64, 0);
	n = kc->kc_per_slab;
	alloc_n(kc, 3 * n);
	must(around[1]->kc_all.kl_prev == &kc->kc_all);
	if (_i / 2 % 2) {
		l = &kmem_slab_find(obj[n])->sl_link;
		must(l->kl_next != &kc->kc_full && l->kl_prev != &kc->kc_full);
	} else {
		free_n(kc, 3 * n);
		l = &kc->kc_all;
	}
	forged = *l;
	if (_i / 4)
		l->kl_next->kl_prev = &forged;
	else
		l->kl_prev->kl_next = &forged;
	if (_i / 2 % 2)
		slab_panics(do_free, obj[n], "which slabs are listed by, were "
		    "written over");
	else
		slab_panics(do_destroy, kc, "were written over");
	/* Nothing was written to where it leads. */
	must(forged.kl_next == l->kl_next && forged.kl_prev == l->kl_prev);
}
END_TEST

/* The same of slabs that are tried for meshing, and put behind the others. */
static void
do_mesh(void *arg)
{
	kmem_mesh(arg);
}

START_TEST(torn_and_meshed)
{
	struct kmem_link *l, other = { &other, &other };
	struct kmem_cache *kc;
	unsigned i, n;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("torn", 400, KM_NOMAG | KM_MESH);
	n = kc->kc_per_slab;
	alloc_n(kc, 3 * n);
	for (i = 0; i < 3 * n; i++)
		if (i % n != 0)
			kmem_cache_free(kc, obj[i]);
	l = kc->kc_partial[0].kl_next;
	must(kc->kc_nslabs == 3 && l->kl_next != &kc->kc_partial[0]);
	if (_i / 2)
		l->kl_next->kl_prev = &other;
	else
		l->kl_prev = &other;
	slab_panics(do_mesh, kc,
	    "which slabs are listed by, were written over");
	must(other.kl_next == &other && other.kl_prev == &other);
}
END_TEST

/* A magazine's link that was changed, be it to where there is a magazine. */
static void
do_next(void *arg)
{
	kmem_mag_next(arg);
}

START_TEST(led_astray)
{
	struct kmem_cache *kc;
	struct kmem_mag *mag, *next, *loaded;
	uintptr_t link;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("astray", 64, 0);
	while (kc->kc_nfull < 2) {
		alloc_n(kc, 500);
		free_n(kc, 500);
	}
	mag = kc->kc_full_mags;
	next = kmem_mag_next(mag);
	loaded = kc->kc_cpu[1].cc_mag;
	link = mag->m_link;
	must(next != NULL && loaded != NULL && loaded != next);
	mag->m_link = link ^ (uintptr_t)next ^ (uintptr_t)loaded;
	must(slab_panics(do_next, mag, "was written over") == 0);
	mag->m_link = link;
	must(kmem_mag_next(mag) == next);
}
END_TEST

/*
 * The heap.
 */

/* A request that cannot be met at all costs nobody anything. */
START_TEST(absurd)
{
	struct kmem_cache *kc;
	unsigned long cached;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = make_cached();
	cached = slab_stats(kc).cs_cached;
	must(kmalloc(VM_HEAP_MAX - VM_HEAP_MIN + 1, M_TEST, 0) == NULL);
	must(kmalloc(SIZE_MAX, M_TEST, 0) == NULL);
	must(slab_stats(kc).cs_cached == cached);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* Who frees what is none, unwatched, is told by the cache, as elsewhere. */
static void
do_usable(void *arg)
{
	kmalloc_usable(arg);
}

START_TEST(unwatched)
{
	char *p, *q;

	slab_boot(FRAMES, 0);
	p = kmalloc(100, M_TEST, 0);
	q = kmalloc(100, M_TEST, 0);
	kmem_cache_reap(kmem_slab_find(p)->sl_cache);
	must(slab_panics(do_kfree, p + 8, "kmem_cache_free(kmalloc-104, ") ==
	    0);
	must(kmalloc_usable(p) == 104);
	kfree(p, M_TEST);
	/* Once it is back in its slab, which q keeps. */
	kmem_cache_reap(kmem_slab_find(q)->sl_cache);
	must(slab_panics(do_usable, p, "a free object of kmalloc-104") == 0);
	kfree(q, M_TEST);
	slab_check();
}
END_TEST

/* A type that nobody has used has nothing, least of all what is free. */
static void
do_kfree_other(void *arg)
{
	static KMALLOC_DEFINE(M_UNUSED, "unused", "nobody's");

	kfree(arg, M_UNUSED);
}

START_TEST(of_no_type)
{
	void *p, *q;

	slab_boot(FRAMES, KMD_CHECK);
	p = kmalloc(100, M_TEST, 0);
	q = kmalloc(100, M_TEST, 0);
	must(slab_panics(do_kfree_other, p, "type unused): an object of ") ==
	    0);
	kfree(p, M_TEST);
	kfree(q, M_TEST);
	must(slab_panics(do_kfree_other, p, "type unused): a free object of ")
	    == 0);
	slab_done();
}
END_TEST

/* A page of a class is one where there are zones between them, too. */
START_TEST(page_aligned_pages)
{
	unsigned i;

	slab_boot(FRAMES, KMD_CHECK | KMD_REDZONE);
	for (i = 0; i < 10; i++) {
		obj[i] = kmalloc(PAGE_SIZE, M_TEST, 0);
		must(page_aligned((vaddr_t)obj[i]));
	}
	while (i > 0)
		kfree(obj[--i], M_TEST);
	slab_done();
}
END_TEST

static struct kmalloc_stats
figures(const struct kmalloc_type *kt)
{
	struct kmalloc_stats ks;

	kmalloc_stats(kt, &ks);
	return ks;
}

/* n at a time, and back. */
static void
use(struct kmalloc_type *kt, size_t size, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		obj[i] = kmalloc(size, kt, 0);
	while (i > 0)
		kfree(obj[--i], kt);
	must(figures(kt).ks_inuse == 0 && figures(kt).ks_bytes == 0);
}

/*
 * The high water: looked at when a magazine was not enough, each 16th time,
 * and for each block of pages; and it does not fall.
 */
START_TEST(high_water)
{
	static KMALLOC_DEFINE(M_FAST, "fast", "what magazines have");

	slab_boot(FRAMES, slab_debug_of(_i));
	use(M_TEST, ptoa(5), 1);
	use(M_TEST, ptoa(2), 1);
	must(figures(M_TEST).ks_high == ptoa(5));
	use(M_TEST, 64, 300);
	must(figures(M_TEST).ks_high == ptoa(5));
	if (_i % 2) {
		use(M_FAST, 64, 17);
		must(figures(M_FAST).ks_high == 16 * 64);
		return;
	}
	/* The first goes the long way, as its type is not known yet. */
	use(M_FAST, 64, 17);
	must(figures(M_FAST).ks_high == 0);
}
END_TEST

/* Zeroes are written where they are asked for. */
START_TEST(not_zeroed)
{
	char *p, *q;
	size_t i;

	slab_boot(FRAMES, slab_debug_of(_i));
	q = kmalloc(1000, M_TEST, 0);
	p = kmalloc(64, M_TEST, 0);
	slab_fill(q, 1000, 1);
	kfree(q, M_TEST);
	memset(p, 0, 64);
	must(krealloc(p, 1000, M_TEST, 0) == q);
	for (i = 0; i < 64; i++)
		must(q[i] == 0);
	slab_fill(q, 64, 1);
	must(slab_holds(q, 1000, 1));
	kfree(q, M_TEST);
	slab_done();
}
END_TEST

/*
 * Two CPUs use a type for the first time, and it is registered once.  The one
 * that comes first is held up inside, as it writes to the type before, until
 * the other one must be waiting for it.
 */
static union {
	struct kmalloc_type type;
	char		 pages[roundup2(sizeof(struct kmalloc_type),
			    PAGE_SIZE)];	/* and nothing else on them */
} earlier __attribute__((__aligned__(PAGE_SIZE)));
static atomic_bool inside, outside;

static void
nap(void)
{
	static const struct timespec ms = { 0, 1000 * 1000 };

	nanosleep(&ms, NULL);
}

static void
held_up(int sig)
{
	unsigned i;

	inside = true;
	while (!outside)
		nap();
	for (i = 0; i < 20; i++)
		nap();
	if (mprotect(&earlier, sizeof(earlier), PROT_READ | PROT_WRITE) != 0)
		abort();
}

static void *
first_use(void *arg)
{
	kfree(kmalloc(64, M_TEST, 0), M_TEST);
	return NULL;
}

START_TEST(registered_once)
{
	const struct sigaction sa = { .sa_handler = held_up };
	const struct kmalloc_type *kt = NULL;
	unsigned n = 0;
	pthread_t t;

	slab_boot(FRAMES, slab_debug_of(_i));
	earlier.type.kt_name = "before";
	kfree(kmalloc(64, &earlier.type, 0), &earlier.type);
	must(sigaction(SIGSEGV, &sa, NULL) == 0);
	must(mprotect(&earlier, sizeof(earlier), PROT_READ) == 0);
	must(pthread_create(&t, NULL, first_use, NULL) == 0);
	while (!inside)
		nap();
	must(M_TEST->kt_id == 0);
	outside = true;
	first_use(NULL);
	must(pthread_join(t, NULL) == 0);
	must(signal(SIGSEGV, SIG_DFL) != SIG_ERR);
	while ((kt = kmalloc_next(kt)) != NULL)
		must(kt == (n++ == 0 ? &earlier.type : M_TEST));
	must(n == 2 && figures(M_TEST).ks_requests == 2);
	slab_done();
}
END_TEST

/*
 * Counted.
 */

/* What comes of the reserve is, and what does not come is not. */
START_TEST(reserve_counted)
{
	const struct kmem_cache_args ca = { .ca_name = "reserve",
	    .ca_size = 600, .ca_reserve = 3 };
	struct kmem_cache *kc;
	unsigned n, i;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = kmem_cache_create(&ca);
	must(kc != NULL && slab_stats(kc).cs_rounds == 0);
	host_set_intr(true);
	for (n = 0; (obj[n] = kmem_cache_alloc(kc, 0)) != NULL; n++)
		continue;
	must(n + 3 == kc->kc_per_slab * kc->kc_nslabs);
	for (i = 1; i <= 3; i++) {
		obj[n++] = kmem_cache_alloc(kc, KM_RESERVE);
		must(obj[n - 1] != NULL && slab_stats(kc).cs_allocs == n);
		must(slab_stats(kc).cs_fails == 1);
	}
	must(kmem_cache_alloc(kc, KM_RESERVE) == NULL);
	must(slab_stats(kc).cs_allocs == n && slab_stats(kc).cs_fails == 2);
	free_n(kc, n);
	host_set_intr(false);
	must(slab_stats(kc).cs_frees == n);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* In a heap's class all types' are, on whatever CPU, and no other class's. */
START_TEST(class_counted)
{
	static KMALLOC_DEFINE(M_OTHER, "other", "the tests' other type");
	struct kmalloc_type *const kt[] = { M_TEST, M_OTHER };
	struct kmem_cache *kc = kmalloc_class(6);
	struct kmem_cache_stats cs;
	unsigned i;

	slab_boot(FRAMES, slab_debug_of(_i));
	must(kc->kc_size == 64 && slab_stats(kc).cs_allocs == 0);
	for (i = 1; i <= 300; i++) {
		kfree(kmalloc(65, kt[i % 2], 0), kt[i % 2]);
		obj[i] = kmalloc(64, kt[i % 2], 0);
		cs = slab_stats(kc);
		must(cs.cs_allocs == i && cs.cs_inuse == i && cs.cs_frees == 0);
	}
	slab_on_other_cpu(first_kmalloc, NULL);
	must(slab_stats(kc).cs_allocs == 301);
	slab_on_other_cpu(first_kfree, NULL);
	must(slab_stats(kc).cs_frees == 1);
	while (--i > 0) {
		kfree(obj[i], kt[i % 2]);
		cs = slab_stats(kc);
		must(cs.cs_allocs == 301 && cs.cs_frees == 302 - i);
	}
	slab_done();
}
END_TEST

/* Who may have nothing of the reserve makes it whole first. */
START_TEST(reserve_made_whole)
{
	const struct kmem_cache_args ca = { .ca_name = "reserve",
	    .ca_size = 600, .ca_reserve = 50 };
	struct kmem_cache *kc;
	unsigned n;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = kmem_cache_create(&ca);
	must(kc != NULL);
	host_set_intr(true);
	for (n = 0; (obj[n] = kmem_cache_alloc(kc, KM_RESERVE)) != NULL; n++)
		continue;
	host_set_intr(false);
	must(n == kc->kc_nslabs * kc->kc_per_slab && n >= 50);
	obj[n] = kmem_cache_alloc(kc, KM_NOSLEEP);
	must(obj[n++] != NULL);
	must(kc->kc_nslabs * kc->kc_per_slab >= n + 50);
	free_n(kc, n);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* A sample is looked for where a magazine was empty, and nowhere else. */
START_TEST(sampled_at_a_refill)
{
	struct kmem_cache *kc;
	struct kmem_cpu *cc;
	unsigned n, nguards = 0;
	bool empty, guard;

	slab_boot(FRAMES, KMD_SAMPLE);
	kc = slab_make("sampled", 64, 0);
	cc = &kc->kc_cpu[1];
	kmem_guard_every(1);
	for (n = 0; n < 300; n++) {
		empty = kmem_cpu_n(cc) == 0;
		obj[n] = kmem_cache_alloc(kc, 0);
		guard = kmem_guard_find(obj[n]) != NULL;
		must(guard == empty);
		nguards += guard;
	}
	must(nguards > 3 && nguards < 100);
	free_n(kc, n);
	must(kmem_cache_destroy(kc) == 0);
	/* Of the heap, too. */
	cc = &kmalloc_class(6)->kc_cpu[1];
	while (kmem_cpu_n(cc) == 0)
		must(kmalloc(64, M_TEST, 0) != NULL);
	must(kmalloc_class(6)->kc_size == 64 && kmem_cpu_n(cc) > 9);
	for (n = 0; n < 9; n++)
		must(kmem_guard_find(kcalloc(1, 64, M_TEST, 0)) == NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmem_exact");
	TCase *tc = tcase_create("kmem_exact");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, no_more_than_wanted, 0, 4);
	tcase_add_loop_test(tc, woken_once_a_cache, 0, 2);
	tcase_add_loop_test(tc, nothing_kept, 0, 2);
	tcase_add_loop_test(tc, moved_by_eighths, 0, 2);
	tcase_add_loop_test(tc, header_is_small, 0, 2);
	tcase_add_loop_test(tc, long_tail, 0, 2);
	tcase_add_loop_test(tc, marked, 0, 2);
	tcase_add_loop_test(tc, nobodys_magazine, 0, 2);
	tcase_add_loop_test(tc, no_magazines, 0, 2);
	tcase_add_loop_test(tc, last_is_first, 0, 2);
	tcase_add_test(tc, behind_the_tags);
	tcase_add_loop_test(tc, not_mapped, 0, 2);
	tcase_add_loop_test(tc, outside_of_the_windows, 0, 2);
	tcase_add_loop_test(tc, looked_at_once, 0, 2);
	tcase_add_test(tc, looked_at_as_a_twin);
	tcase_add_test(tc, put_in_a_row);
	tcase_add_loop_test(tc, bad_in_a_magazine, 0, 2);
	tcase_add_test(tc, guard_in_a_magazine);
	tcase_add_loop_test(tc, refused_as_it_was, 0, 2);
	tcase_add_loop_test(tc, asserted, 0, 2);
	tcase_add_loop_test(tc, torn_links, 0, 8);
	tcase_add_loop_test(tc, torn_and_meshed, 0, 4);
	tcase_add_loop_test(tc, led_astray, 0, 2);
	tcase_add_loop_test(tc, absurd, 0, 2);
	tcase_add_test(tc, unwatched);
	tcase_add_test(tc, of_no_type);
	tcase_add_test(tc, page_aligned_pages);
	tcase_add_loop_test(tc, high_water, 0, 2);
	tcase_add_loop_test(tc, not_zeroed, 0, 2);
	tcase_add_loop_test(tc, registered_once, 0, 2);
	tcase_add_loop_test(tc, reserve_counted, 0, 2);
	tcase_add_loop_test(tc, class_counted, 0, 2);
	tcase_add_loop_test(tc, reserve_made_whole, 0, 2);
	tcase_add_test(tc, sampled_at_a_refill);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
