/*
 * Corners of the slab layer and of the heap, which neither random operations
 * nor the tests of what is promised come to by themselves: the last size that
 * a magazine grows to, a reaper inside a destructor, a heap that has no table
 * of classes or is larger than it, the pages of somebody else between slabs.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libkern/errno.h>

#include "slab_test.h"

#define FRAMES		8192u		/* 32 MB */

static KMALLOC_DEFINE(M_FIRST, "first", "the tests' first type");
static KMALLOC_DEFINE(M_SECOND, "second", "the tests' second type");

static void *obj[60000];

static unsigned
debug_of(int i)
{
	return i % 2 ? KMD_CHECK : 0;
}

static void
alloc_n(struct kmem_cache *kc, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		obj[i] = kmem_cache_alloc(kc, KM_NOSLEEP);
		must(obj[i] != NULL);
		slab_fill(obj[i], kc->kc_size, i);
	}
}

static void
free_n(struct kmem_cache *kc, unsigned n)
{
	while (n-- > 0) {
		must(slab_holds(obj[n], kc->kc_size, n));
		kmem_cache_free(kc, obj[n]);
	}
}

/* What fn(arg) panics with, which must hold `what`, and leave no lock. */
static void
expect(void (*fn)(void *), void *arg, const char *what)
{
	const char *said;
	unsigned nlocks;

	said = host_panic_of(fn, arg, &nlocks);
	if (said == NULL || strstr(said, what) == NULL)
		ck_abort_msg("\"%s\" is not \"...%s...\"", said == NULL ?
		    "no panic" : said, what);
	must(nlocks == 0);
}

/*
 * Constructed objects.
 */
static int
construct(void *o, void *arg, int flags)
{
	*(uint32_t *)o = 0xB0B0B0B0;
	return 0;
}

static void
alloc_zero(void *arg)
{
	kmem_cache_alloc(arg, KM_ZERO);
}

/* Zeroes of a constructed object are refused, whose ever it was before. */
START_TEST(zero_and_constructor)
{
	const struct kmem_cache_args ca = { .ca_name = "made",
	    .ca_size = 64, .ca_ctor = construct };
	struct kmem_cache *kc;
	struct kmem_cache_stats before, after;
	uint32_t *o;

	slab_boot(FRAMES, debug_of(_i));
	kc = kmem_cache_create(&ca);
	must(kc != NULL);
	o = kmem_cache_alloc(kc, 0);
	kmem_cache_free(kc, o);
	before = slab_stats(kc);
	must(before.cs_cached > 0);
	expect(alloc_zero, kc, "KM_ZERO would undo the constructor");
	after = slab_stats(kc);
	must(after.cs_inuse == 0 && after.cs_cached == before.cs_cached);
	slab_check();
	must(kmem_cache_alloc(kc, 0) == o && *o == 0xB0B0B0B0);
	kmem_cache_free(kc, o);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* A destructor that reaps: the cache that is being destroyed is passed by. */
static unsigned long reaped;

static void
reap(void *o, void *arg)
{
	must(host_locks()->hl_held == 0);
	reaped += kmem_cache_reap_all();
}

START_TEST(reaped_by_destructor)
{
	const struct kmem_cache_args ca = { .ca_name = "reaps",
	    .ca_size = 3 * PAGE_SIZE, .ca_slab_pages = 3, .ca_dtor = reap };
	struct kmem_cache *kc, *later;

	slab_boot(FRAMES, debug_of(_i));
	kc = kmem_cache_create(&ca);
	later = slab_make("later", 5 * PAGE_SIZE, 0);
	kmem_cache_free(kc, kmem_cache_alloc(kc, 0));
	kmem_cache_free(later, kmem_cache_alloc(later, 0));
	must(slab_stats(later).cs_empty_slabs == 1);
	must(kmem_cache_destroy(kc) == 0);
	/* What is behind it on the list was reaped all the same. */
	must(slab_stats(later).cs_slabs == 0 && reaped >= 5);
	must(kmem_cache_destroy(later) == 0);
	slab_done();
}
END_TEST

/* What a refused destruction names is out, and it names all of a few. */
START_TEST(only_what_is_out)
{
	struct kmem_cache *kc;
	char want[64];
	uint64_t logs;
	unsigned i, n;

	slab_boot(FRAMES, debug_of(_i));
	kc = slab_make("stays", 64, 0);
	alloc_n(kc, 5);
	logs = host_log_count();
	must(kmem_cache_destroy(kc) == EBUSY);
	must(host_log_count() == logs + 6);
	for (i = 0; i < 5; i++) {
		snprintf(want, sizeof(want), "(stays): %p is out", obj[i]);
		for (n = 1; n <= 5; n++)
			if (strstr(host_log_line(n), want) != NULL)
				break;
		must(n <= 5);
	}
	free_n(kc, 5);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

static void
do_destroy(void *arg)
{
	kmem_cache_destroy(arg);
}

START_TEST(not_to_be_destroyed)
{
	struct kmem_cache *kc;

	slab_boot(FRAMES, debug_of(_i));
	expect(do_destroy, slab_named("kmem headers"),
	    "kmem_cache_destroy(kmem headers): a cache of the system's own");
	kc = slab_make("mine", 64, 0);
	host_set_intr(true);
	expect(do_destroy, kc, "kmem_cache_destroy(mine): from an interrupt");
	host_set_intr(false);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* Each object is counted once, be it the first of a slab or of a magazine. */
START_TEST(counted)
{
	struct kmem_cache *kc;
	struct kmem_cache_stats cs;
	unsigned i, flags;

	slab_boot(FRAMES, debug_of(_i));
	for (flags = 0; flags <= KM_NOMAG; flags += KM_NOMAG) {
		kc = slab_make("counted", 200, (int)flags);
		for (i = 1; i <= 300; i++) {
			obj[i] = kmem_cache_alloc(kc, KM_NOSLEEP);
			cs = slab_stats(kc);
			must(cs.cs_allocs == i && cs.cs_frees == 0);
			must(cs.cs_inuse == i && cs.cs_fails == 0);
		}
		for (i = 300; i > 0; i--) {
			kmem_cache_free(kc, obj[i]);
			cs = slab_stats(kc);
			must(cs.cs_allocs == 300 && cs.cs_frees == 301 - i);
		}
		host_set_intr(true);
		kmem_cache_reap(kc);
		for (i = 0; kmem_cache_alloc(kc, 0) != NULL; i++)
			must(slab_stats(kc).cs_allocs == 301 + i);
		host_set_intr(false);
		cs = slab_stats(kc);
		must(cs.cs_allocs == 300 + i && cs.cs_fails == 1);
		must(cs.cs_inuse == i);
	}
}
END_TEST

/*
 * A cache whose headers must be on the slab, with objects of whole pages:
 * one page less than a slab has is the most that it can hold.
 */
START_TEST(whole_pages_on_slab)
{
	static struct kmem_cache kc, large;
	struct kmem_cache_args ca = { .ca_name = "pages",
	    .ca_size = PAGE_SIZE, .ca_align = PAGE_SIZE };

	slab_boot(FRAMES, debug_of(_i));
	must(kmem_cache_init(&kc, &ca, KC_ONSLAB | KC_STATIC));
	must(!(kc.kc_flags & KC_OFFSLAB));
	must(kc.kc_slab_size == ptoa(KMEM_SLAB_TRYPAGES));
	must(kc.kc_per_slab == KMEM_SLAB_TRYPAGES - 1);
	alloc_n(&kc, 20);
	slab_check();
	free_n(&kc, 20);
	/* Nothing is left for the header. */
	ca.ca_name = "large";
	ca.ca_size = ptoa(KMEM_SLAB_MAXPAGES);
	must(!kmem_cache_init(&large, &ca, KC_ONSLAB | KC_STATIC));
	must(strstr(host_log_last(), "no object fits in a slab") != NULL);
	slab_done();
}
END_TEST

/*
 * Magazines.
 */
static struct kmem_cache *busy;
static atomic_bool held;

/* Hold the lock until somebody must have run into it. */
static void *
hold(void *arg)
{
	const struct timespec ms = { 0, 2000000 };

	vm_mtx_enter(&busy->kc_lock);
	held = true;
	nanosleep(&ms, NULL);
	vm_mtx_exit(&busy->kc_lock);
	return NULL;
}

/* Find kc's lock taken, for the 16th time, on the way to its depot. */
static void
contend(struct kmem_cache *kc)
{
	unsigned tries;
	pthread_t t;
	void *o;

	busy = kc;
	kc->kc_contended = 15;
	for (tries = 0; kc->kc_contended == 15 && tries < 100; tries++) {
		kmem_depot_purge(kc);
		held = false;
		must(pthread_create(&t, NULL, hold, NULL) == 0);
		while (!held)
			sched_yield();
		o = kmem_cache_alloc(kc, KM_NOSLEEP);
		must(pthread_join(t, NULL) == 0);
		must(o != NULL);
		kmem_cache_free(kc, o);
	}
	must(kc->kc_contended == 0);
}

/* Magazines grow twice, then no more; where there are none, none come. */
START_TEST(magazines_grow)
{
	static const struct {
		size_t	 size;
		unsigned words[4];
	} grow[] = {
		{ 64, { 64, 128, 128, 128 } },
		{ 700, { 32, 64, 128, 128 } },
		{ 3000, { 8, 16, 32, 32 } },
		{ 9000, { 0, 0, 0, 0 } },
	};
	struct kmem_cache *kc;
	unsigned i, n;

	slab_boot(FRAMES, debug_of(_i));
	for (i = 0; i < nitems(grow); i++) {
		kc = slab_make("grows", grow[i].size, 0);
		must(kc->kc_mag_words == grow[i].words[0]);
		for (n = 1; n < nitems(grow[i].words); n++) {
			contend(kc);
			must(kc->kc_mag_words == grow[i].words[n]);
		}
		must(kmem_cache_destroy(kc) == 0);
	}
	slab_done();
}
END_TEST

/* The largest magazine is not half filled at once, but gets 32 rounds. */
START_TEST(refill_is_limited)
{
	struct kmem_cache *kc;
	struct kmem_cpu *cc;

	slab_boot(FRAMES, debug_of(_i));
	kc = slab_make("refilled", 64, 0);
	cc = &kc->kc_cpu[1];
	alloc_n(kc, 2);
	must(cc->cc_size == 61 && cc->cc_n == 30);
	free_n(kc, 2);
	contend(kc);
	kmem_depot_purge(kc);
	alloc_n(kc, 2);
	must(cc->cc_size == 125 && cc->cc_n == 32);
	free_n(kc, 2);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* Both of a CPU's magazines are made as they are missed, by no interrupt. */
START_TEST(supplied)
{
	struct kmem_cache *kc, *mags;
	struct kmem_cpu *cc;

	slab_boot(FRAMES, debug_of(_i));
	kc = slab_make("supplied", 64, 0);
	cc = &kc->kc_cpu[1];
	alloc_n(kc, 2);
	must(cc->cc_mag != NULL && cc->cc_prev != NULL);
	must(kc->kc_nempty_mags == 0 && kc->kc_mag_want == 0);
	mags = kmem_slab_find(cc->cc_mag)->sl_cache;
	free_n(kc, 2);
	kmem_depot_purge(kc);
	must(cc->cc_mag == NULL && mags->kc_inuse == 0 && mags->kc_nslabs > 0);
	host_set_intr(true);
	alloc_n(kc, 3);
	must(cc->cc_mag == NULL && mags->kc_inuse == 0);
	free_n(kc, 3);
	host_set_intr(false);
	alloc_n(kc, 1);
	must(cc->cc_mag != NULL && cc->cc_prev == NULL);
	free_n(kc, 1);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * An interrupt frees in masses: the depot fills up, and is emptied by the
 * next who frees and may give pages back.
 */
START_TEST(mass_freeing_in_interrupt)
{
	struct kmem_cache *kc;
	unsigned i, n;

	slab_boot(FRAMES, debug_of(_i));
	kc = slab_make("intr", 256, 0);
	n = (unsigned)kc->kc_rounds_max * 2;
	/* The magazines for it are made by and by. */
	for (i = 0; i < 60 && !kc->kc_direct; i++) {
		free_n(kc, i == 0 ? 0 : 300);
		alloc_n(kc, n);
		host_set_intr(true);
		while (n > 300)
			kmem_cache_free(kc, obj[--n]);
		host_set_intr(false);
		n = (unsigned)kc->kc_rounds_max * 2;
	}
	must(kc->kc_direct && kc->kc_rounds >= kc->kc_rounds_max);
	must(kc->kc_nslabs * kc->kc_slab_size >= ptoa(120));
	slab_check();
	free_n(kc, 300);
	must(kc->kc_nfull == 0 && kc->kc_rounds == 0);
	must(kc->kc_nslabs * kc->kc_slab_size <= ptoa(70));
	slab_check();
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * What is no object.
 */
struct mistake {
	struct kmem_cache *m_cache;
	void		*m_ptr;
	struct kmalloc_type *m_type;
};

static void
do_free(void *arg)
{
	const struct mistake *m = arg;

	kmem_cache_free(m->m_cache, m->m_ptr);
}

static void
do_kfree(void *arg)
{
	const struct mistake *m = arg;

	kfree(m->m_ptr, m->m_type);
}

static void
do_krealloc(void *arg)
{
	const struct mistake *m = arg;

	krealloc(m->m_ptr, 10, m->m_type, 0);
}

static void
do_usable(void *arg)
{
	const struct mistake *m = arg;

	kmalloc_usable(m->m_ptr);
}

/* Beside the objects of a slab: its header, and what the colour leaves. */
START_TEST(beside)
{
	struct mistake m = { .m_type = M_FIRST };
	struct kmem_cache *kc;
	struct kmem_slab *sl;
	char *o, *p;

	slab_boot(FRAMES, debug_of(_i));
	kc = slab_make("beside", 100, KM_NOMAG);
	o = kmem_cache_alloc(kc, 0);
	sl = kmem_slab_find(o);
	m.m_cache = kc;
	m.m_ptr = sl;
	expect(do_free, &m, "beside the objects of a slab of beside");
	m.m_ptr = sl->sl_first + kc->kc_per_slab * kc->kc_stride;
	expect(do_free, &m, "beside the objects of a slab of beside");
	m.m_ptr = sl->sl_first - 1;
	must((uintptr_t)sl->sl_first % PAGE_SIZE == 0);
	expect(do_free, &m, "kmem_cache_free(beside, ");
	m.m_ptr = o + 1;
	expect(do_free, &m, "1 bytes into");
	kmem_cache_free(kc, o);
	must(kmem_cache_destroy(kc) == 0);

	p = kmalloc(100, M_FIRST, 0);
	m.m_ptr = kmem_slab_find(p);
	expect(do_krealloc, &m, "beside the objects of a slab of kmalloc-");
	expect(do_usable, &m, "beside the objects of a slab of kmalloc-");
	kfree(p, M_FIRST);
	slab_done();
}
END_TEST

/* Pages in the windows that are not kmem_alloc's are nobody's objects. */
START_TEST(frames_of_others)
{
	const vaddr_t va = VM_HEAP_MIN + ptoa(5000);
	struct mistake m = { .m_ptr = (void *)va, .m_type = M_FIRST };
	paddr_t pa;

	slab_boot(FRAMES, debug_of(_i));
	must(vm_phys_alloc(VM_PAGE_USER, &pa) == 0);
	must(vm_map_insert(kernel_map, va, va + PAGE_SIZE, VM_PROT_RW,
	    "other") == 0);
	must(pmap_kenter(va, &pa, 1, VM_PROT_RW) == 0);
	must(kmem_page((void *)va) == NULL);
	m.m_cache = slab_make("none of it", 64, 0);
	expect(do_kfree, &m, "no memory of the slabs' or the heap's");
	expect(do_krealloc, &m, "no memory of the slabs' or the heap's");
	must(kmem_cache_destroy(m.m_cache) == 0);
	must(pmap_kremove(va, 1, &pa) == 1);
	must(vm_map_remove(kernel_map, va, va + PAGE_SIZE) == 0);
	vm_phys_free(pa);
	slab_done();
}
END_TEST

/*
 * The heap's table of classes.
 */
static void
use_heap(void)
{
	static const size_t sizes[] = { 1, 8, 100, 1000, 4096, 5000 };
	char *p[nitems(sizes)];
	unsigned i;

	for (i = 0; i < nitems(p); i++) {
		p[i] = kmalloc(sizes[i], M_FIRST, KM_NOSLEEP);
		must(p[i] != NULL);
		slab_fill(p[i], sizes[i], i);
	}
	for (i = 0; i < nitems(p); i++) {
		must(slab_holds(p[i], sizes[i], i));
		kfree(p[i], M_FIRST);
	}
}

/* Without one, and above what it covers, the frames say as much. */
START_TEST(no_table)
{
	const struct kmem_classes table = kmem_classes;
	struct kmem_classes was;
	vaddr_t end;

	must(table.kp_npages == 0);
	slab_boot(FRAMES, debug_of(_i));
	was = kmem_classes;
	must(was.kp_npages == round_page(FRAMES - 1));
	use_heap();
	kmem_cache_reap_all();
	slab_hoard();
	kmem_class_bootstrap();
	must(kmem_classes.kp_class == NULL && kmem_classes.kp_npages == 0);
	slab_hoard_give(0);
	use_heap();
	kmem_cache_reap_all();
	kmem_classes = was;
	/* The windows up to behind the table are taken. */
	end = VM_HEAP_MIN + ptoa(was.kp_npages);
	must(vm_map_insert(kernel_map, VM_HEAP_MIN, end, VM_PROT_RW,
	    "filler") == 0);
	obj[0] = kmalloc(100, M_FIRST, 0);
	must((vaddr_t)obj[0] >= end && kmem_class_of(obj[0]) == 0);
	kfree(obj[0], M_FIRST);
	use_heap();
	kmem_cache_reap_all();
	must(vm_map_remove(kernel_map, VM_HEAP_MIN, end) == 0);
	slab_done();
}
END_TEST

/* It knows a class while there is a slab of it, and no other caches. */
START_TEST(table_follows)
{
	struct kmem_cache *kc;
	char *p, *o;

	slab_boot(FRAMES, debug_of(_i));
	p = kmalloc(100, M_FIRST, 0);
	kc = kmem_slab_find(p)->sl_cache;
	must(kc->kc_class != 0 && kmem_class_of(p) == kc->kc_class);
	kfree(p, M_FIRST);
	kmem_cache_reap_all();
	must(kmem_class_of(p) == 0);
	kc = slab_make("no class", 100, KM_HEAP);
	o = kmem_cache_alloc(kc, 0);
	must((vaddr_t)o < VM_HEAP_MAX && kmem_class_of(o) == 0);
	kmem_cache_free(kc, o);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* Where there are more frames than pages in the window, it covers that. */
START_TEST(large_machine)
{
	const vsize_t pages = atop(VM_HEAP_MAX - VM_HEAP_MIN);

	slab_boot((pfn_t)pages + 5000, debug_of(_i));
	must(kmem_classes.kp_npages == pages);
	use_heap();
	slab_done();
}
END_TEST

/* A type's first object comes out of a magazine, and the type is known. */
START_TEST(first_of_type)
{
	struct kmalloc_stats ks;
	uint64_t zero = 0;
	void *p;

	slab_boot(FRAMES, debug_of(_i));
	p = kmalloc(64, M_FIRST, 0);
	slab_fill(p, 64, 1);
	kfree(p, M_FIRST);
	must(M_SECOND->kt_id == 0);
	must(kmalloc(64, M_SECOND, 0) == p);
	must(M_SECOND->kt_id > M_FIRST->kt_id);
	kmalloc_stats(M_SECOND, &ks);
	must(ks.ks_inuse == 1 && ks.ks_bytes == 64);
	must(ks.ks_requests == 1 && ks.ks_sizes == 64);
	kfree(p, M_SECOND);
	/* What comes out of a magazine and is to be zero was not before. */
	must(kcalloc(8, 8, M_FIRST, 0) == p);
	must(memcmp(p, &zero, sizeof(zero)) == 0);
	kfree(p, M_FIRST);
	kmalloc_stats(M_FIRST, &ks);
	must(ks.ks_inuse == 0 && ks.ks_requests == 2 && ks.ks_sizes == 64);
	slab_done();
}
END_TEST

/* The zone begins behind what was asked for. */
START_TEST(zoned)
{
	struct mistake m = { .m_type = M_FIRST };
	char *p, *o;

	slab_boot(FRAMES, KMD_CHECK | KMD_REDZONE);
	m.m_cache = slab_make("zoned", 100, 0);
	m.m_ptr = p = kmalloc(99, M_FIRST, 0);
	must(kmalloc_usable(p) == 99);
	slab_fill(p, 99, 1);
	p[99] ^= 1;
	expect(do_kfree, &m, "kmalloc-104: object");
	p[99] ^= 1;
	must(slab_holds(p, 99, 1));
	kfree(p, M_FIRST);
	m.m_ptr = o = kmem_cache_alloc(m.m_cache, 0);
	slab_fill(o, 100, 2);
	o[100] ^= 1;
	expect(do_free, &m, "zoned: object");
	o[100] ^= 1;
	must(slab_holds(o, 100, 2));
	kmem_cache_free(m.m_cache, o);
	must(kmem_cache_destroy(m.m_cache) == 0);
	slab_done();
}
END_TEST

/* Objects alone on their pages, at addresses and of types that are wrong. */
START_TEST(guarded_heap)
{
	struct mistake m = { .m_type = M_FIRST };
	char *p;

	slab_boot(FRAMES, KMD_GUARD | debug_of(_i));
	kfree(kmalloc(1, M_SECOND, 0), M_SECOND);
	p = kmalloc(100, M_FIRST, 0);
	must(kmalloc_usable(p) == 100);
	m.m_ptr = p + 1;
	expect(do_krealloc, &m, "1 bytes into");
	expect(do_usable, &m, "1 bytes into");
	m.m_ptr = p;
	m.m_type = M_SECOND;
	expect(do_krealloc, &m, "of type first");
	must(krealloc(p, 90, M_FIRST, 0) != NULL);
	slab_check();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmem_corner");
	TCase *tc = tcase_create("kmem_corner");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, zero_and_constructor, 0, 2);
	tcase_add_loop_test(tc, reaped_by_destructor, 0, 2);
	tcase_add_loop_test(tc, only_what_is_out, 0, 2);
	tcase_add_loop_test(tc, not_to_be_destroyed, 0, 2);
	tcase_add_loop_test(tc, counted, 0, 2);
	tcase_add_loop_test(tc, whole_pages_on_slab, 0, 2);
	tcase_add_loop_test(tc, magazines_grow, 0, 2);
	tcase_add_loop_test(tc, refill_is_limited, 0, 2);
	tcase_add_loop_test(tc, supplied, 0, 2);
	tcase_add_loop_test(tc, mass_freeing_in_interrupt, 0, 2);
	tcase_add_loop_test(tc, beside, 0, 2);
	tcase_add_loop_test(tc, frames_of_others, 0, 2);
	tcase_add_loop_test(tc, no_table, 0, 2);
	tcase_add_loop_test(tc, table_follows, 0, 2);
	tcase_add_loop_test(tc, large_machine, 0, 2);
	tcase_add_loop_test(tc, first_of_type, 0, 2);
	tcase_add_test(tc, zoned);
	tcase_add_loop_test(tc, guarded_heap, 0, 2);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
