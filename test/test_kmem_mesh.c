/*
 * Meshing: two slabs on the frames of one.  Nobody who has an object of
 * either notices; the frames of one are free, to the page; nothing is meshed
 * that must not be; and when all is freed nothing is left of it.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <libkern/errno.h>
#include <vm/kmem_debug_impl.h>
#include <vm/vm_fail.h>

#include "slab_test.h"

#define FRAMES		4096u		/* 16 MB */

static KMALLOC_DEFINE(M_MESH, "mesh", "the tests' own");

/*
 * Slabs by the number.  obj[s * kc_per_slab + i] is at place i of the s-th
 * slab, or NULL when it was freed; all caches here have at most so many.
 */
static void *obj[300000];
static unsigned nobj;
static uint32_t writes;

static uint32_t
mark_of(unsigned i)
{
	return i * 37 + i / 7 + writes * 101;
}

static unsigned
place_of(const struct kmem_cache *kc, const void *o)
{
	struct kmem_slab *sl = kmem_slab_find(o);
	unsigned i;
	size_t off;

	must(sl != NULL && sl->sl_cache == kc);
	must(kmem_slab_index(kc, sl, o, &i, &off) && off == 0);
	return i;
}

static void *
get(struct kmem_cache *kc)
{
	void *o = kc->kc_flags & KC_HEAP ?
	    kmalloc(kc->kc_size, M_MESH, KM_NOSLEEP) :
	    kmem_cache_alloc(kc, KM_NOSLEEP);

	must(o != NULL);
	return o;
}

static void
put(struct kmem_cache *kc, void *o)
{
	if (kc->kc_flags & KC_HEAP)
		kfree(o, M_MESH);
	else
		kmem_cache_free(kc, o);
}

/* One more slab, all of it out. */
static void
add_slab(struct kmem_cache *kc, size_t color)
{
	struct kmem_slab *sl = NULL;
	unsigned i;
	void *o;

	kc->kc_color = color;
	for (i = 0; i < kc->kc_per_slab; i++, nobj++) {
		must(nobj < nitems(obj));
		o = get(kc);
		if (i == 0)
			sl = kmem_slab_find(o);
		must(kmem_slab_find(o) == sl && place_of(kc, o) == i);
		must(sl->sl_color == color && sl->sl_twin == NULL);
		slab_fill(o, kc->kc_size, mark_of(nobj));
		obj[nobj] = o;
	}
}

static void
drop(struct kmem_cache *kc, unsigned i)
{
	must(slab_holds(obj[i], kc->kc_size, mark_of(i)));
	put(kc, obj[i]);
	obj[i] = NULL;
}

/* Of slab s the places [lo, hi) stay, each step-th of them. */
static void
keep(struct kmem_cache *kc, unsigned s, unsigned lo, unsigned hi,
    unsigned step)
{
	const unsigned first = s * kc->kc_per_slab;
	unsigned i;

	for (i = 0; i < kc->kc_per_slab; i++)
		if (obj[first + i] != NULL &&
		    (i < lo || i >= hi || (i - lo) % step != 0))
			drop(kc, first + i);
}

static void
verify(const struct kmem_cache *kc)
{
	unsigned i;

	for (i = 0; i < nobj; i++)
		if (obj[i] != NULL)
			must(slab_holds(obj[i], kc->kc_size, mark_of(i)));
}

/* All of them first: who overlaps another shows it. */
static void
rewrite(const struct kmem_cache *kc)
{
	unsigned i;

	writes++;
	for (i = 0; i < nobj; i++)
		if (obj[i] != NULL)
			slab_fill(obj[i], kc->kc_size, mark_of(i));
	verify(kc);
}

static void
drop_all(struct kmem_cache *kc)
{
	while (nobj > 0)
		if (obj[--nobj] != NULL)
			drop(kc, nobj);
}

static struct kmem_cache *
make(size_t size, unsigned pages, int flags)
{
	const struct kmem_cache_args ca = { .ca_name = "meshed",
	    .ca_size = size, .ca_slab_pages = pages, .ca_flags = flags };
	struct kmem_cache *kc = kmem_cache_create(&ca);

	must(kc != NULL);
	nobj = 0;
	return kc;
}

static struct kmem_cache *
make_sparse(size_t size, unsigned pages)
{
	return make(size, pages, KM_MESH | KM_NOMAG);
}

/* The largest objects of which exactly n fit into a slab. */
static struct kmem_cache *
make_fit(unsigned n, unsigned pages)
{
	size_t size = rounddown2(ptoa(pages) / n, 8);
	struct kmem_cache *kc;

	for (;;) {
		kc = make_sparse(size, pages);
		if (kc->kc_per_slab == n)
			return kc;
		must(kc->kc_per_slab < n && size > 8);
		must(kmem_cache_destroy(kc) == 0);
		size -= 8;
	}
}

static void
finish(struct kmem_cache *kc)
{
	drop_all(kc);
	must(slab_stats(kc).cs_inuse == 0);
	must(kmem_cache_destroy(kc) == 0);
}

/* The same memory by the other one of its slab's two ranges. */
static char *
other_way(const void *o)
{
	const struct kmem_slab *sl = kmem_slab_find(o);
	char *base = kmem_slab_base(sl->sl_cache, sl);
	const size_t size = sl->sl_cache->kc_slab_size;

	must(sl->sl_twin != NULL);
	if ((uintptr_t)o - (uintptr_t)base < size)
		return sl->sl_twin + ((const char *)o - base);
	must((uintptr_t)o - (uintptr_t)sl->sl_twin < size);
	return base + ((const char *)o - sl->sl_twin);
}

/* Does its client know it by an address of the twin's? */
static bool
is_twins(const void *o)
{
	const struct kmem_slab *sl = kmem_slab_find(o);

	return sl->sl_twin != NULL && (uintptr_t)o - (uintptr_t)sl->sl_twin <
	    sl->sl_cache->kc_slab_size;
}

/* One that its client knows by the twin's address, or by the slab's. */
static unsigned
some_object(bool twins)
{
	unsigned i;

	for (i = 0; i < nobj; i++)
		if (obj[i] != NULL && is_twins(obj[i]) == twins)
			return i;
	ck_abort_msg("none of them is a twin's");
	return 0;
}

static bool
is_mapped(const void *p)
{
	struct vm_map_info vi;
	paddr_t pa;
	bool region;

	kmem_range_drain();
	region = vm_map_lookup(kernel_map, trunc_page((vaddr_t)p), &vi) == 0;
	must(pmap_extract(kernel_pmap, trunc_page((vaddr_t)p), &pa) ==
	    region);
	return region;
}

static pfn_t
kmem_frames(void)
{
	struct vm_phys_stats ps;

	vm_phys_stats(&ps);
	return ps.ps_owner[VM_PAGE_KMEM];
}

/* Meshing frees so many slabs, their pages, and nothing else. */
static void
expect_meshed(struct kmem_cache *kc, unsigned n)
{
	const unsigned long pages = n * atop(kc->kc_slab_size);
	const struct kmem_cache_stats was = slab_stats(kc);
	struct kmem_cache_stats is;
	pfn_t nfree, held;

	kmem_range_drain();
	nfree = vm_phys_nfree();
	held = kmem_frames();
	must(kmem_mesh(kc) == pages);
	must(vm_phys_nfree() == nfree + pages);
	must(kmem_frames() == held - pages);
	is = slab_stats(kc);
	must(is.cs_meshed == was.cs_meshed + n);
	must(is.cs_slabs == was.cs_slabs - n);
	must(is.cs_shrunk == was.cs_shrunk + n && is.cs_grown == was.cs_grown);
	must(is.cs_inuse == was.cs_inuse);
	verify(kc);
	slab_check();
}

/*
 * Two slabs, the second of which has what the first has not: all kinds of
 * slabs, with and without a header on them, up to the eight pages that are
 * copied at most, and numbers of objects about those that a word has bits.
 */
static const struct {
	unsigned n, pages;
} kinds[] = {
	{ 2, 1 }, { 3, 1 }, { 4, 1 }, { 14, 1 }, { 32, 1 }, { 33, 1 },
	{ 2, 2 }, { 5, 2 }, { 32, 2 }, { 5, 3 }, { 33, 3 }, { 9, 4 },
	{ 11, 5 }, { 32, 5 }, { 7, 6 }, { 40, 6 }, { 15, 7 }, { 2, 8 },
	{ 9, 8 }, { 31, 8 }, { 32, 8 }, { 33, 8 }, { 64, 8 }, { 65, 8 },
};

/* As many as there are. */
static const struct {
	size_t	 size;
	unsigned pages;
} small[] = {
	{ 8, 1 }, { 16, 2 }, { 40, 3 }, { 32, 8 }, { 100, 4 },
};

/* What is out of the two, in the way of the number. */
static void
add_pair(struct kmem_cache *kc, unsigned way)
{
	const unsigned n = kc->kc_per_slab;
	const unsigned at = n > 32 ? 31 : 0;	/* a word's last bit */

	must(nobj == 0);
	add_slab(kc, way % 2 ? kc->kc_color_max : 0);
	add_slab(kc, way % 2 ? kc->kc_color_max : 0);
	switch (way) {
	case 0:		/* all of one, when they are meshed */
		keep(kc, 0, 0, n, 2);
		keep(kc, 1, 1, n, 2);
		break;
	case 1:		/* the first and the last */
		keep(kc, 0, n - 1, n, 1);
		keep(kc, 1, 0, 1, 1);
		break;
	case 2:		/* two halves */
		keep(kc, 0, 0, n / 2, 1);
		keep(kc, 1, n / 2, n, 1);
		break;
	default:
		keep(kc, 0, at, at + 1, 1);
		keep(kc, 1, at + 1, at + 2, 1);
	}
}

/* What was a slab's that has gone is given out by the address of the other. */
static void
try_reuse(struct kmem_cache *kc)
{
	const unsigned i = some_object(true);
	char *was = obj[i], *o;

	o = other_way(was);
	must(slab_holds(o, kc->kc_size, mark_of(i)));
	drop(kc, i);
	slab_check();
	verify(kc);
	if (slab_stats(kc).cs_empty_slabs != 0)
		return;
	/* What was free before lies elsewhere, or comes first. */
	do {
		must(nobj < nitems(obj));
		obj[nobj] = get(kc);
		must(!is_twins(obj[nobj]));
		slab_fill(obj[nobj], kc->kc_size, mark_of(nobj));
	} while (obj[nobj++] != o);
	must(slab_stats(kc).cs_slabs == 1);
	verify(kc);
	slab_check();
}

static void
try_pair(struct kmem_cache *kc, unsigned way)
{
	struct kmem_slab *sl;
	char *twin;
	unsigned i;

	add_pair(kc, way);
	expect_meshed(kc, 1);
	sl = kmem_slab_find(obj[some_object(true)]);
	twin = sl->sl_twin;
	must(sl == kmem_slab_find(obj[some_object(false)]));
	rewrite(kc);
	for (i = 0; i < nobj; i++)
		if (obj[i] != NULL)
			must(slab_holds(other_way(obj[i]), kc->kc_size,
			    mark_of(i)));
	for (i = 0; i < kc->kc_slab_size; i += PAGE_SIZE)
		must(is_mapped(twin + i) && kmem_slab_find(twin + i) == sl);
	slab_check();
	expect_meshed(kc, 0);
	try_reuse(kc);
	rewrite(kc);
	drop_all(kc);
	kmem_cache_reap(kc);
	must(slab_stats(kc).cs_slabs == 0);
	for (i = 0; i < kc->kc_slab_size; i += PAGE_SIZE)
		must(!is_mapped(twin + i) && kmem_slab_find(twin + i) == NULL);
	slab_check();
}

static void
try_kind(struct kmem_cache *kc)
{
	unsigned way;

	for (way = 0; way < 4; way++)
		try_pair(kc, way);
	must(kmem_cache_destroy(kc) == 0);
}

START_TEST(pairs)
{
	struct kmem_cache *kc;
	bool on = false, off = false;
	unsigned k;

	slab_boot(FRAMES, slab_debug_of(_i));
	for (k = 0; k < nitems(kinds); k++) {
		kc = make_fit(kinds[k].n, kinds[k].pages);
		on |= !(kc->kc_flags & KC_OFFSLAB);
		off |= (kc->kc_flags & KC_OFFSLAB) != 0;
		try_kind(kc);
	}
	must(on && off);
	for (k = 0; k < nitems(small); k++) {
		kc = make_sparse(small[k].size, small[k].pages);
		must(kc->kc_nwords > 1);
		try_kind(kc);
	}
	slab_done();
}
END_TEST

/* As everybody gets it: by reaping all caches. */
START_TEST(by_reaping)
{
	struct kmem_cache *kc;
	pfn_t nfree;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = make_sparse(500, 2);
	add_pair(kc, 0);
	kmem_cache_reap_all();
	must(slab_stats(kc).cs_meshed == 1);
	verify(kc);
	drop_all(kc);
	kmem_cache_reap_all();
	nfree = vm_phys_nfree();
	add_pair(kc, 0);
	must(kmem_reap_tick() == 0);
	host_advance(KMEM_REAP_TICKS);
	kmem_reap_tick();
	must(slab_stats(kc).cs_meshed == 1);	/* that is not for every day */
	must(kmem_cache_reap(kc) == 0 && slab_stats(kc).cs_meshed == 1);
	must(kmem_cache_reap_all() >= 2);
	must(slab_stats(kc).cs_meshed == 2);
	must(vm_phys_nfree() + 2 == nfree);
	finish(kc);
	slab_done();
}
END_TEST

/* As nothing else is: the slabs of an interrupt wait for who comes later. */
START_TEST(in_interrupt)
{
	struct kmem_cache *kc;
	char *twin;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = make_sparse(500, 2);
	add_pair(kc, 0);
	host_set_intr(true);
	must(kmem_cache_reap_all() == 0 && slab_stats(kc).cs_meshed == 0);
	host_set_intr(false);
	expect_meshed(kc, 1);
	twin = kmem_slab_find(obj[some_object(true)])->sl_twin;
	host_set_intr(true);
	rewrite(kc);
	drop_all(kc);
	must(slab_stats(kc).cs_empty_slabs == 1);
	host_set_intr(false);
	must(is_mapped(twin));
	must(kmem_cache_reap(kc) == 2 && !is_mapped(twin));
	finish(kc);
	slab_done();
}
END_TEST

/*
 * More than two.
 */

/* One twin each: of 2 n slabs with an object in each n stay, and so on. */
START_TEST(one_twin_each)
{
	struct kmem_cache *kc;
	unsigned n, i;

	slab_boot(FRAMES, slab_debug_of(_i));
	for (n = 1; n <= 9; n++) {
		kc = make_sparse(400, 1);
		must(kc->kc_per_slab >= 9);
		for (i = 0; i < n; i++)
			add_slab(kc, 0);
		for (i = 0; i < n; i++)
			keep(kc, i, i, i + 1, 1);
		expect_meshed(kc, n / 2);
		expect_meshed(kc, 0);
		rewrite(kc);
		finish(kc);
	}
	slab_done();
}
END_TEST

/*
 * What is not meshed.
 */
static void
destruct(void *o, void *arg)
{
}

static const struct {
	struct kmem_cache_args ca;
	unsigned kmd, meshed;
} whose[] = {
	{ { .ca_size = 200, .ca_flags = KM_MESH | KM_NOMAG }, 0, 1 },
	{ { .ca_size = 200, .ca_flags = KM_NOMAG }, 0, 0 },
	{ { .ca_size = 200, .ca_flags = KM_MESH | KM_NOMAG,
	    .ca_ctor = slab_construct }, 0, 0 },
	{ { .ca_size = 200, .ca_flags = KM_MESH | KM_NOMAG,
	    .ca_dtor = destruct }, 0, 0 },
	{ { .ca_size = 200, .ca_flags = KM_MESH | KM_NOMAG | KM_HEAP }, 0, 1 },
	{ { .ca_size = 200, .ca_flags = KM_MESH | KM_NOMAG }, KMD_CHECK, 1 },
	{ { .ca_size = 200, .ca_flags = KM_MESH | KM_NOMAG },
	    KMD_CHECK | KMD_REDZONE, 0 },
	{ { .ca_size = 200, .ca_flags = KM_MESH | KM_NOMAG },
	    KMD_CHECK | KMD_POISON, 0 },
	{ { .ca_size = 200, .ca_flags = KM_MESH | KM_NOMAG },
	    KMD_CHECK | KMD_AUDIT, 0 },
	{ { .ca_size = 200, .ca_flags = KM_MESH | KM_NOMAG }, KMD_SAMPLE, 1 },
	{ { .ca_size = 900, .ca_flags = KM_MESH | KM_NOMAG,
	    .ca_slab_pages = 8 }, 0, 1 },
	{ { .ca_size = 900, .ca_flags = KM_MESH | KM_NOMAG,
	    .ca_slab_pages = 9 }, 0, 0 },
	{ { .ca_size = 9000, .ca_flags = KM_MESH | KM_NOMAG,
	    .ca_slab_pages = 64 }, 0, 0 },
	{ { .ca_size = PAGE_SIZE, .ca_flags = KM_MESH | KM_NOMAG,
	    .ca_slab_pages = 1 }, 0, 0 },
};

START_TEST(whose_slabs)
{
	struct kmem_cache_args ca = whose[_i].ca;
	struct kmem_cache *kc;

	slab_boot(FRAMES, 0);
	kmem_debug_set(whose[_i].kmd);
	kmem_guard_every(1u << 31);	/* a sample would be no slab's */
	ca.ca_name = "whose";
	kc = kmem_cache_create(&ca);
	must(kc != NULL && kc->kc_debug == whose[_i].kmd);
	kmem_debug_set(0);
	add_pair(kc, kc->kc_per_slab > 1 ? 0 : 1);
	kmem_cache_reap_all();
	must(slab_stats(kc).cs_meshed == whose[_i].meshed);
	rewrite(kc);
	slab_check();
	must(kmem_mesh(kc) == 0);
	drop_all(kc);
	must(kmem_cache_destroy(kc) == 0);
	kmem_guard_every(0);
	slab_done();
}
END_TEST

/* What is kept back is there for who may have it, in sparse slabs, too. */
START_TEST(reserve_is_kept)
{
	struct kmem_cache_args ca = { .ca_name = "kept", .ca_size = 500,
	    .ca_flags = KM_MESH };
	struct kmem_cache *kc;
	unsigned i, k;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = make_sparse(500, 0);
	ca.ca_reserve = 2 * kc->kc_per_slab;
	must(kmem_cache_destroy(kc) == 0);
	kc = kmem_cache_create(&ca);
	nobj = 0;
	for (i = 0; i < 6 * kc->kc_per_slab; i++)
		slab_fill(obj[nobj++] = get(kc), 500, mark_of(i));
	for (i = 0; i < nobj; i++)
		if (place_of(kc, obj[i]) != i / kc->kc_per_slab)
			drop(kc, i);
	kmem_cache_reap_all();
	must(slab_stats(kc).cs_meshed == 0);
	slab_hoard();
	while (kmem_cache_alloc(kc, KM_NOSLEEP) != NULL)
		continue;
	k = (unsigned)kc->kc_inuse;
	for (i = 0; i < ca.ca_reserve; i++)
		must(kmem_cache_alloc(kc, KM_RESERVE) != NULL);
	must(kc->kc_inuse == k + ca.ca_reserve);
	verify(kc);
	slab_check();
}
END_TEST

/* One place that both have, wherever it is. */
START_TEST(not_disjoint)
{
	static const unsigned fits[][2] = { { 4, 1 }, { 32, 1 }, { 33, 1 },
	    { 64, 8 }, { 65, 8 } };
	struct kmem_cache *kc;
	unsigned k, i, n;

	slab_boot(FRAMES, slab_debug_of(_i));
	for (k = 0; k < nitems(fits); k++) {
		n = fits[k][0];
		kc = make_fit(n, fits[k][1]);
		for (i = 0; i < n; i++) {
			add_slab(kc, 0);
			add_slab(kc, 0);
			keep(kc, 0, i, i + 1, 1);
			keep(kc, 1, i, i + 1, 1);
			expect_meshed(kc, 0);
			drop_all(kc);
			kmem_cache_reap(kc);
		}
		finish(kc);
	}
	slab_done();
}
END_TEST

START_TEST(other_colors)
{
	struct kmem_cache *kc;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = make_sparse(304, 1);
	must(kc->kc_color_max >= KMEM_COLOR_STEP);
	add_slab(kc, 0);
	add_slab(kc, KMEM_COLOR_STEP);
	add_slab(kc, 0);
	keep(kc, 0, 0, 1, 1);
	keep(kc, 1, 1, 2, 1);
	expect_meshed(kc, 0);
	keep(kc, 2, 2, 4, 1);
	expect_meshed(kc, 1);
	must(kmem_slab_find(obj[0])->sl_color == 0);
	must(kmem_slab_find(obj[kc->kc_per_slab + 1])->sl_twin == NULL);
	finish(kc);
	slab_done();
}
END_TEST

/* Somebody could write meanwhile. */
static atomic_bool go;

static void
nap(void)
{
	static const struct timespec ms = { 0, 1000 * 1000 };

	nanosleep(&ms, NULL);
}

static void *
bystander(void *arg)
{
	while (!go)
		nap();
	return NULL;
}

START_TEST(beside_a_thread)
{
	struct kmem_cache *kc;
	pthread_t t;
	pfn_t nfree;
	unsigned i;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = make_sparse(304, 1);
	add_pair(kc, 0);
	must(pthread_create(&t, NULL, bystander, NULL) == 0);
	must(!vm_host_stop_cpus());
	kmem_cache_reap_all();
	nfree = vm_phys_nfree();
	must(kmem_mesh(kc) == 0 && kmem_cache_reap_all() == 0);
	must(vm_phys_nfree() == nfree);
	must(slab_stats(kc).cs_meshed == 0 && slab_stats(kc).cs_slabs == 2);
	slab_check();
	go = true;
	must(pthread_join(t, NULL) == 0);
	/* Joined, it may be on its way out yet. */
	for (i = 0; !vm_host_stop_cpus() && i < 2000; i++)
		nap();
	expect_meshed(kc, 1);
	rewrite(kc);
	finish(kc);
	slab_done();
}
END_TEST

/*
 * Who makes mistakes, by an address of the twin's.
 */
static void
do_reap(void *arg)
{
	struct slab_mistake *m = arg;

	kmem_cache_reap(m->m_cache);
}

static void
do_kfree(void *arg)
{
	struct slab_mistake *m = arg;

	kfree(m->m_ptr, M_MESH);
}

static void
do_usable(void *arg)
{
	struct slab_mistake *m = arg;

	kmalloc_usable(m->m_ptr);
}

static void
do_krealloc(void *arg)
{
	struct slab_mistake *m = arg;

	krealloc(m->m_ptr, 10, M_MESH, KM_NOSLEEP);
}

static void __printflike(4, 5)
expect_panic(void (*fn)(void *), struct kmem_cache *kc, void *ptr,
    const char *fmt, ...)
{
	struct slab_mistake m = { kc, ptr };
	char want[200];
	const char *said;
	unsigned nlocks;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	said = host_panic_of(fn, &m, &nlocks);
	if (said == NULL || strcmp(said, want) != 0)
		ck_abort_msg("\"%s\" is not \"%s\"", said == NULL ?
		    "no panic" : said, want);
	must(nlocks == 0);
	slab_check();
}

START_TEST(misuse)
{
	struct kmem_cache *kc, *other;
	char *t, *base, *beside, *mine;
	unsigned i;
	int on_stack;

	slab_boot(FRAMES, slab_debug_of(_i));
	other = slab_make("other", 200, KM_NOMAG);
	mine = kmem_cache_alloc(other, 0);
	kc = make_sparse(200, 1);
	must(!(kc->kc_flags & KC_OFFSLAB));
	add_pair(kc, 1);
	expect_meshed(kc, 1);
	i = some_object(true);
	t = obj[i];
	base = kmem_slab_find(t)->sl_twin;
	must((char *)t >= base && (char *)t < base + PAGE_SIZE);
	must(kmem_cache_destroy(kc) == EBUSY);
	expect_panic(slab_do_free, kc, t + 8, "kmem_cache_free(meshed, %p): "
	    "8 bytes into %p, an object of meshed", t + 8, t);
	expect_panic(slab_do_free, kc, t + 199, "kmem_cache_free(meshed, %p): "
	    "199 bytes into %p, an object of meshed", t + 199, t);
	beside = base + kc->kc_hdr_off;
	expect_panic(slab_do_free, kc, beside, "kmem_cache_free(meshed, %p): "
	    "beside the objects of a slab of meshed", beside);
	beside = base + kmem_slab_find(t)->sl_color + 2 * kc->kc_stride;
	expect_panic(slab_do_free, kc, beside, "kmem_cache_free(meshed, %p): "
	    "a free object of meshed", beside);
	expect_panic(slab_do_free, other, t,
	    "kmem_cache_free(other, %p): an object of meshed", t);
	expect_panic(slab_do_free, kc, mine, "kmem_cache_free(meshed, %p): an "
	    "object of other", mine);
	expect_panic(slab_do_free, kc, &on_stack, "kmem_cache_free(meshed, "
	    "%p): no memory of the slabs' or the heap's", (void *)&on_stack);
	rewrite(kc);
	drop(kc, i);
	expect_panic(slab_do_free, kc, t, "kmem_cache_free(meshed, %p): a free "
	    "object of meshed", t);
	expect_panic(slab_do_free, kc, other_way(t), "kmem_cache_free(meshed, "
	    "%p): a free object of meshed", (void *)other_way(t));
	expect_panic(slab_do_free, kc, t + 8, "kmem_cache_free(meshed, "
	    "%p): 8 bytes into %p, a free object of meshed", t + 8, t);
	must(slab_stats(kc).cs_inuse == 1);
	rewrite(kc);
	finish(kc);
	kmem_cache_free(other, mine);
	must(kmem_cache_destroy(other) == 0);
	slab_done();
}
END_TEST

/* What a pointer points into, is told by the addresses that it is seen at. */
START_TEST(found)
{
	struct kmem_cache *kc, *in;
	struct kmem_slab *sl;
	void *begin;
	char *o, *twin;
	unsigned i, way;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = make_sparse(304, 3);
	must(!(kc->kc_flags & KC_OFFSLAB));
	add_pair(kc, 0);
	/* A small number is no place in the twin that it has not. */
	sl = kmem_slab_find(obj[0]);
	must(sl->sl_color == 0 && kc->kc_obj_off == 0);
	must(kmem_slab_judge(kc, sl, (void *)(2 * kc->kc_stride), &i) ==
	    KMEM_NO_OBJECT);
	expect_meshed(kc, 1);
	for (i = 0; i < nobj; i++) {
		for (way = 0; way < 2 && obj[i] != NULL; way++) {
			o = way ? other_way(obj[i]) : obj[i];
			begin = in = NULL;
			must(kmem_cache_find(o, &in, &begin));
			must(in == kc && begin == o);
			must(kmem_cache_find(o + 303, &in, &begin));
			must(begin == o);
		}
	}
	twin = kmem_slab_find(obj[some_object(true)])->sl_twin;
	must(kmem_cache_find(twin, &in, &begin));
	must(!kmem_cache_find(twin + kc->kc_hdr_off, &in, &begin));
	must(!kmem_cache_find(kmem_slab_find(twin), &in, &begin));
	finish(kc);
	must(!kmem_cache_find(twin, &in, &begin));
	slab_done();
}
END_TEST

/*
 * With magazines, and the heap.
 */

/* How many slabs were seen before this one? */
static const struct kmem_slab *seen[400];
static unsigned nseen;

static unsigned
rank_of(const void *o)
{
	const struct kmem_slab *sl = kmem_slab_find(o);
	unsigned i;

	for (i = 0; i < nseen && seen[i] != sl; i++)
		continue;
	must(i < nitems(seen));
	if (i == nseen)
		seen[nseen++] = sl;
	return i;
}

/* Two slabs with nothing in common; nothing lies in magazines. */
static void
add_two(struct kmem_cache *kc)
{
	unsigned i;

	nobj = nseen = 0;
	do {
		kc->kc_color = 0;
		slab_fill(obj[nobj] = get(kc), kc->kc_size, mark_of(nobj));
	} while (rank_of(obj[nobj++]) < 2);
	for (i = 0; i < nobj; i++)
		if (rank_of(obj[i]) >= 2 ||
		    place_of(kc, obj[i]) % 2 != rank_of(obj[i]))
			drop(kc, i);
	kmem_cache_reap(kc);
}

/* Two of the twin's, freed into the magazine, come out as they were. */
static void
try_magazine(struct kmem_cache *kc)
{
	unsigned i, j;
	void *o[2];

	o[0] = obj[i = some_object(true)];
	drop(kc, i);
	o[1] = NULL;
	for (j = i + 1; j < nobj && o[1] == NULL; j++)
		if (obj[j] != NULL && is_twins(obj[j])) {
			o[1] = obj[j];
			drop(kc, j);
			break;
		}
	slab_check();
	must(slab_stats(kc).cs_cached >= 1u + (o[1] != NULL));
	if (o[1] != NULL)
		must((obj[j] = get(kc)) == o[1]);
	must((obj[i] = get(kc)) == o[0]);
	rewrite(kc);
}

/* All that kmalloc.h has to say of one in the twin. */
static void
try_heap(struct kmem_cache *kc)
{
	const size_t size = kc->kc_size;
	unsigned i = some_object(true);
	char *o = obj[i], *q;

	must(kmalloc_usable(o) == size && kmalloc_usable(other_way(o)) == size);
	must(krealloc(o, size, M_MESH, KM_NOSLEEP) == o);
	expect_panic(do_usable, NULL, o + 4, "kmalloc_usable(%p, type any): "
	    "4 bytes into %p, an object of %s%s", o + 4, o, kc->kc_name,
	    kc->kc_debug & KMD_CHECK ? " of type mesh" : "");
	q = krealloc(o, 3 * size, M_MESH, KM_NOSLEEP);
	must(q != NULL && kmem_slab_find(q) != kmem_slab_find(o));
	must(slab_holds(q, size, mark_of(i)));
	kfree(q, M_MESH);
	obj[i] = NULL;
}

/* Every class of the heap that has more than one object in a slab. */
START_TEST(heap)
{
	struct kmalloc_stats ks;
	struct kmem_cache *kc;
	unsigned c, n = 0;
	char *twin;
	size_t off;

	slab_boot(FRAMES, slab_debug_of(_i));
	for (c = 0; (kc = kmalloc_class(c)) != NULL; c++) {
		if (kc->kc_per_slab < 2)
			continue;
		add_two(kc);
		expect_meshed(kc, 1);
		n++;
		twin = kmem_slab_find(obj[some_object(true)])->sl_twin;
		for (off = 0; off < kc->kc_slab_size; off += PAGE_SIZE)
			must(kmem_class_of(twin + off) ==
				    (kc->kc_debug == 0 ? c + 1 : 0));
		rewrite(kc);
		if (kc->kc_cpu[1].cc_mag != NULL)
			try_magazine(kc);
		try_heap(kc);
		verify(kc);
		drop_all(kc);
		slab_check();
		kmem_cache_reap(kc);
		must(!is_mapped(twin));
		for (off = 0; off < kc->kc_slab_size; off += PAGE_SIZE)
			must(kmem_class_of(twin + off) == 0);
	}
	must(n >= KMALLOC_NCLASSES - 2);
	kmalloc_stats(M_MESH, &ks);
	must(ks.ks_inuse == 0 && ks.ks_bytes == 0);
	slab_done();
}
END_TEST

/* The heap is told at once, where it asks; else when magazines are emptied. */
START_TEST(misuse_heap)
{
	const char *of = _i % 2 ? " of type mesh" : "";
	struct kmem_cache *kc;
	const char *name;
	unsigned i;
	char *t;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_named("kmalloc-208");
	name = kc->kc_name;
	add_two(kc);
	expect_meshed(kc, 1);
	t = obj[i = some_object(true)];
	expect_panic(do_krealloc, NULL, t + 8, "krealloc(%p, type mesh): "
	    "8 bytes into %p, an object of %s%s", t + 8, t, name, of);
	if (kc->kc_debug & KMD_CHECK) {
		expect_panic(do_kfree, NULL, t + 8, "kfree(%p, type mesh): "
		    "8 bytes into %p, an object of %s%s", t + 8, t, name, of);
		drop(kc, i);
		expect_panic(do_kfree, NULL, t, "kfree(%p, type mesh): "
		    "a free object of %s", t, name);
		t = other_way(t);
		expect_panic(do_kfree, NULL, t, "kfree(%p, type mesh): "
		    "a free object of %s", t, name);
	} else {
		put(kc, get(kc));	/* now with a magazine */
		kmem_cache_free(kc, t + 8);
		expect_panic(do_reap, kc, t + 8, "kmem_cache_reap(%s, %p): "
		    "8 bytes into %p, an object of %s", name, t + 8, t, name);
		put(kc, get(kc));
		drop(kc, i);
		kmem_cache_free(kc, other_way(t));
		t = other_way(t);
		expect_panic(do_reap, kc, t, "kmem_cache_reap(%s, %p): "
		    "a free object of %s", name, t, name);
	}
	rewrite(kc);
	drop_all(kc);
	slab_done();
}
END_TEST

/*
 * Leaks: an object that is pointed to by either range is none.
 */
static void *root[100];

struct leaked {
	unsigned	 l_n;
	void		*l_obj;
};

static void
note(const struct kmem_leak *kl, void *arg)
{
	struct leaked *l = arg;

	l->l_n++;
	l->l_obj = kl->kl_obj;
}

/* NULL: nothing is leaked; else this one, by which of its ranges ever. */
static void
expect_leaked(void *o)
{
	struct leaked l = { 0, NULL };

	must(kmem_leaks(note, &l) == l.l_n);
	if (l.l_n != (o != NULL))
		ck_abort_msg("%u are leaked", l.l_n);
	must(l.l_obj == o || l.l_obj == other_way(o));
	slab_check();
}

START_TEST(leaks)
{
	struct kmem_cache *kc;
	unsigned i, first = nitems(root), last = 0;

	slab_boot(FRAMES, KMD_CHECK);
	host_set_roots(root, root + nitems(root));
	kc = make(200, 1, KM_MESH | (_i ? KM_HEAP : 0) | KM_NOMAG);
	must(2 * kc->kc_per_slab <= nitems(root));
	add_pair(kc, 0);
	for (i = 0; i < nobj; i++) {
		if (obj[i] == NULL)
			continue;
		memset(obj[i], 0, 200);
		root[i] = obj[i];
	}
	expect_leaked(NULL);
	must(kmem_mesh(kc) == atop(kc->kc_slab_size));
	expect_leaked(NULL);
	for (i = 0; i < nobj; i++) {
		if (obj[i] == NULL)
			continue;
		root[i] = NULL;
		expect_leaked(obj[i]);
		root[i] = other_way(obj[i]) + 199;
		expect_leaked(NULL);
		if (first == nitems(root))
			first = i;
		last = i;
	}
	must(is_twins(obj[first]) != is_twins(obj[last]));
	/* What is seen through the twin leads on, and is led to. */
	((void **)obj[first])[3] = obj[last];
	root[last] = NULL;
	expect_leaked(NULL);
	((void **)obj[first])[3] = NULL;
	expect_leaked(obj[last]);
	((void **)obj[last])[5] = other_way(obj[first]);
	root[last] = other_way(obj[last]);
	root[first] = NULL;
	expect_leaked(NULL);
}
END_TEST

/* Objects alone on their pages: what stands for them in the slabs is meshed. */
START_TEST(leaks_of_guards)
{
	struct kmem_cache *kc;
	struct leaked l;
	unsigned i, n;
	void *shadow;

	slab_boot(FRAMES, KMD_CHECK | KMD_GUARD);
	host_set_roots(root, root + nitems(root));
	kc = make(200, 1, KM_MESH | KM_NOMAG);
	n = kc->kc_per_slab;
	must(2 * n <= nitems(root));
	for (i = 0; i < 2 * n; i++) {
		kc->kc_color = 0;
		root[i] = get(kc);
	}
	for (i = 0; i < 2 * n; i++) {
		memset(root[i], 0, 200);
		shadow = kmem_guard_find(root[i])->g_shadow;
		if (place_of(kc, shadow) % 2 == i / n)
			continue;
		kmem_cache_free(kc, root[i]);
		root[i] = NULL;
	}
	must(kmem_mesh(kc) == atop(kc->kc_slab_size));
	slab_check();
	expect_leaked(NULL);
	for (i = 0; i < 2 * n; i++) {
		if (root[i] == NULL)
			continue;
		obj[0] = root[i];
		root[i] = NULL;
		l = (struct leaked){ 0, NULL };
		kmem_leaks(note, &l);
		must(l.l_n == 1 && l.l_obj == obj[0]);
		root[i] = obj[0];
		expect_leaked(NULL);
	}
	for (i = 0; i < 2 * n; i++)
		kmem_cache_free(kc, root[i]);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * Memory.
 */

static void
fail_all(bool on)
{
	unsigned i;

	for (i = 0; i < VM_FAIL_NSITES; i++) {
		must(vm_fail_count(i) == 0);
		vm_fail_set(i, on ? 1 : 0, on);
	}
}

/* Nothing is asked for, neither on the way there nor back. */
START_TEST(nothing_is_allocated)
{
	struct kmem_cache *kc;
	unsigned k, s, pages;
	pfn_t nfree;

	slab_boot(FRAMES, slab_debug_of(_i));
	for (k = 0; k < nitems(kinds); k++) {
		kc = make_fit(kinds[k].n, kinds[k].pages);
		pages = kinds[k].pages;
		for (s = 0; s < 6; s++)
			add_slab(kc, 0);
		for (s = 0; s < 6; s++)
			keep(kc, s, s % 2, s % 2 + 1, 1);
		kmem_range_drain();
		slab_hoard();
		fail_all(true);
		must(kmem_mesh(kc) == 3 * pages);
		must(vm_phys_nfree() == 3 * pages);
		verify(kc);
		drop_all(kc);
		nfree = vm_phys_nfree();
		must(nfree >= 3 * pages);
		must(kmem_cache_reap(kc) <= 3 * pages);
		kmem_range_drain();
		must(vm_phys_nfree() >= 6 * pages);
		fail_all(false);
		slab_hoard_give(0);
		must(kmem_cache_destroy(kc) == 0);
	}
	slab_done();
}
END_TEST

/* Who asks for pages has them of sparse slabs, to the last. */
START_TEST(under_pressure)
{
	static vaddr_t va[64];
	struct kmem_cache *kc;
	unsigned i, n = 2 * 20, dense = 0;

	slab_boot(FRAMES, slab_debug_of(_i));
	/* Tables for their addresses, and entries. */
	for (i = 0; i < nitems(va); i++)
		must((va[i] = kmem_alloc(kernel_map, PAGE_SIZE, 0)) != 0);
	while (i-- > 0)
		kmem_free(kernel_map, va[i], PAGE_SIZE);
	for (dense = 0; dense < 2; dense++) {
		kc = make_fit(14, 1);
		for (i = 0; i < n; i++)
			add_slab(kc, 0);
		for (i = 0; i < n; i++)
			keep(kc, i, dense ? 0 : i % 14, dense ? 10 :
			    i % 14 + 1, 1);
		kmem_range_drain();
		slab_hoard();
		for (i = 0; (va[i] = kmem_alloc(kernel_map, PAGE_SIZE,
		    KM_NOSLEEP)) != 0; i++)
			must(i < n);
		/* In 14 places there are two or three. */
		must(i == (dense ? 0 : n / 2));
		must(slab_stats(kc).cs_meshed == i);
		verify(kc);
		slab_check();
		while (i-- > 0)
			kmem_free(kernel_map, va[i], PAGE_SIZE);
		slab_hoard_give(0);
		finish(kc);
	}
	slab_done();
}
END_TEST

/*
 * How long is looked for a partner.
 */

/* 32 tries: n have the one place that is out, and one above them has not. */
START_TEST(tries)
{
	struct kmem_cache *kc;
	unsigned i, n;

	slab_boot(FRAMES, slab_debug_of(_i));
	for (n = 0; n <= 33; n++) {
		kc = make_fit(32, 1);
		must(kc->kc_bin_shift == 2);
		for (i = 0; i < n + 2; i++)
			add_slab(kc, 0);
		for (i = 0; i < n; i++)
			keep(kc, i, 0, 5, 1);
		keep(kc, n, 1, 9, 1);
		keep(kc, n + 1, 0, 1, 1);
		expect_meshed(kc, n < 32);
		rewrite(kc);
		finish(kc);
	}
	slab_done();
}
END_TEST

/* 256 are looked at, oneself, twins and those of other colours counted. */
START_TEST(looks)
{
	struct kmem_cache *kc;
	unsigned i, n;

	slab_boot(FRAMES, slab_debug_of(_i));
	for (n = 253; n <= 256; n++) {
		kc = make_sparse(304, 1);
		must(kc->kc_color_max >= KMEM_COLOR_STEP);
		must(kc->kc_bin_shift == 1);
		for (i = 0; i < n; i++)
			add_slab(kc, KMEM_COLOR_STEP);
		add_slab(kc, 0);
		add_slab(kc, 0);
		for (i = 0; i < n; i++)
			keep(kc, i, 1, 3, 1);
		keep(kc, n, 1, 5, 1);
		keep(kc, n + 1, 0, 1, 1);
		expect_meshed(kc, n <= 254);
		rewrite(kc);
		finish(kc);
	}
	slab_done();
}
END_TEST

/* After a peak: of what a fifth is left of, nearly each finds another. */
START_TEST(after_a_peak)
{
	uint64_t rng = (uint64_t)_i + 1;
	struct kmem_cache *kc;
	unsigned i, slabs = 400;

	printf("kmem_mesh: peak, seed %d\n", _i + 1);
	slab_boot(FRAMES, slab_debug_of(_i));
	kc = make_fit(14, 1);
	for (i = 0; i < slabs; i++)
		add_slab(kc, 0);
	for (i = 0; i < nobj; i++)
		if (k_random(&rng) % 5 != 0)
			drop(kc, i);
	kmem_cache_reap(kc);
	slabs = (unsigned)slab_stats(kc).cs_slabs;
	kmem_mesh(kc);
	slab_check();
	must(slab_stats(kc).cs_meshed > slabs * 45 / 100);
	rewrite(kc);
	finish(kc);
	slab_done();
}
END_TEST

/* The check sees a twin that is none. */
#define BROKEN(stmt, undo) do {						\
	stmt;								\
	must(kmem_cache_check(kc) != NULL);				\
	undo;								\
	must(kmem_cache_check(kc) == NULL);				\
} while (0)

static void
show(char *va, paddr_t pa)
{
	must(pmap_enter(kernel_pmap, (vaddr_t)va, pa, VM_PROT_RW) == 0);
}

START_TEST(check_sees_faults)
{
	struct kmem_cache *kc;
	struct kmem_slab *sl;
	paddr_t other = 0, was = 0;
	vaddr_t va;
	size_t off;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = make_fit(5, 3);
	add_pair(kc, 0);
	expect_meshed(kc, 1);
	sl = kmem_slab_find(obj[some_object(true)]);
	BROKEN(sl->sl_twin += PAGE_SIZE, sl->sl_twin -= PAGE_SIZE);
	BROKEN(sl->sl_twin -= PAGE_SIZE, sl->sl_twin += PAGE_SIZE);
	va = kmem_alloc(kernel_map, PAGE_SIZE, 0);
	must(pmap_extract(kernel_pmap, va, &other));
	for (off = 0; off < kc->kc_slab_size; off += PAGE_SIZE) {
		must(pmap_extract(kernel_pmap, (vaddr_t)sl->sl_twin + off,
		    &was));
		BROKEN(show(sl->sl_twin + off, other),
		    show(sl->sl_twin + off, was));
		BROKEN(pmap_remove(kernel_pmap, (vaddr_t)sl->sl_twin + off,
		    (vaddr_t)sl->sl_twin + off + PAGE_SIZE),
		    show(sl->sl_twin + off, was));
	}
	kmem_free(kernel_map, va, PAGE_SIZE);
	finish(kc);
	slab_done();
}
END_TEST

/* A page of a slab that somebody has unmapped. */
static void
do_mesh(void *arg)
{
	kmem_mesh(arg);
}

START_TEST(unmapped)
{
	struct kmem_cache *kc;
	const char *said;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = make_fit(2, 2);
	must(kc->kc_flags & KC_OFFSLAB);
	add_pair(kc, 0);
	/* What was touched last is the twin, and has nothing in this page. */
	pmap_remove(kernel_pmap, (vaddr_t)obj[3] - PAGE_SIZE, (vaddr_t)obj[3]);
	said = host_panic_of(do_mesh, kc, NULL);
	must(said != NULL && strstr(said, "\"pg != NULL\"") != NULL);
}
END_TEST

/*
 * At random: caches of all kinds and the heap, up and down, meshed and reaped
 * now and then, and what everybody has is looked at.
 */
#define NITEMS		4000u
#define NCACHES		6u

static struct item {
	char		*i_ptr;		/* or NULL */
	struct kmem_cache *i_cache;	/* NULL: the heap's */
	size_t		 i_size;
	uint32_t	 i_mark;
} item[NITEMS];

static struct kmem_cache *some[NCACHES];
static unsigned nfails;

static void
make_some(void)
{
	static const struct {
		size_t	 size;
		unsigned pages;
		int	 flags;
	} kind[NCACHES] = {
		{ 24, 1, KM_NOMAG }, { 304, 1, 0 }, { 1360, 1, 0 },
		{ 800, 3, KM_NOMAG }, { 3640, 8, 0 }, { 64, 2, KM_HEAP },
	};
	unsigned i;

	for (i = 0; i < NCACHES; i++)
		some[i] = make(kind[i].size, kind[i].pages,
		    KM_MESH | kind[i].flags);
}

static void
item_check(const struct item *it)
{
	must(slab_holds(it->i_ptr, it->i_size, it->i_mark));
}

static void
item_alloc(struct item *it, uint64_t *rng)
{
	const unsigned i = k_random(rng) % (NCACHES + 3);

	it->i_cache = i < NCACHES ? some[i] : NULL;
	it->i_size = i < NCACHES ? some[i]->kc_size :
	    1 + k_random(rng) % (i == NCACHES ? 5000 : 600);
	it->i_mark = k_random(rng);
	it->i_ptr = it->i_cache != NULL ?
	    kmem_cache_alloc(it->i_cache, KM_NOSLEEP) :
	    kmalloc(it->i_size, M_MESH, KM_NOSLEEP);
	nfails += it->i_ptr == NULL;
	if (it->i_ptr != NULL)
		slab_fill(it->i_ptr, it->i_size, it->i_mark);
}

static void
item_free(struct item *it)
{
	item_check(it);
	if (it->i_cache != NULL)
		kmem_cache_free(it->i_cache, it->i_ptr);
	else
		kfree(it->i_ptr, M_MESH);
	it->i_ptr = NULL;
}

/* It is written to anew, or becomes another size. */
static void
item_change(struct item *it, uint64_t *rng)
{
	size_t size = 1 + k_random(rng) % 2000;
	char *p;

	item_check(it);
	if (it->i_cache == NULL && k_random(rng) % 2) {
		p = krealloc(it->i_ptr, size, M_MESH, KM_NOSLEEP);
		nfails += p == NULL;
		if (p == NULL)
			return;
		must(slab_holds(p, size < it->i_size ? size : it->i_size,
		    it->i_mark));
		it->i_ptr = p;
		it->i_size = size;
	}
	it->i_mark = k_random(rng);
	slab_fill(it->i_ptr, it->i_size, it->i_mark);
}

static void
step(unsigned wanted, uint64_t *rng)
{
	struct item *it = &item[k_random(rng) % NITEMS];

	if (it->i_ptr == NULL) {
		if (k_random(rng) % 100 < wanted)
			item_alloc(it, rng);
	} else if (k_random(rng) % 100 < wanted)
		item_change(it, rng);
	else
		item_free(it);
}

static unsigned long
meshed(void)
{
	struct kmem_cache *kc = NULL;
	unsigned long n = 0;

	while ((kc = kmem_cache_next(kc)) != NULL)
		n += (unsigned long)kc->kc_meshed;
	return n;
}

/* In one of the ways that there are. */
static void
give_back(uint64_t *rng)
{
	struct kmem_cache *kc = NULL;

	switch (k_random(rng) % 4) {
	case 0:
		kmem_cache_reap_all();
		break;
	case 1:
		while ((kc = kmem_cache_next(kc)) != NULL)
			kmem_mesh(kc);
		break;
	case 2:
		kmem_cache_reap(some[k_random(rng) % NCACHES]);
		kmem_mesh(some[k_random(rng) % NCACHES]);
		break;
	default:
		host_advance(KMEM_REAP_TICKS);
		kmem_reap_tick();
	}
}

static void
items_check(void)
{
	unsigned i;

	for (i = 0; i < NITEMS; i++)
		if (item[i].i_ptr != NULL)
			item_check(&item[i]);
	slab_check();
}

static void
run_random(unsigned seed, unsigned frames, unsigned kmd)
{
	static const unsigned wanted[] = { 60, 15, 50, 10, 70, 20 };
	uint64_t rng = seed;
	unsigned p, i;

	printf("kmem_mesh: seed %u, %u frames, modes %#x\n", seed, frames, kmd);
	slab_boot(frames, kmd);
	kmem_guard_every(3);
	make_some();
	for (p = 0; p < nitems(wanted); p++) {
		for (i = 0; i < 3 * NITEMS; i++) {
			step(wanted[p], &rng);
			if (k_random(&rng) % 400 == 0)
				give_back(&rng);
			if (k_random(&rng) % 2000 == 0)
				slab_check();
		}
		items_check();
	}
	must(meshed() > 100);
	for (i = 0; i < NITEMS; i++)
		if (item[i].i_ptr != NULL)
			item_free(&item[i]);
	for (i = 0; i < NCACHES; i++)
		must(kmem_cache_destroy(some[i]) == 0);
	slab_done();
}

START_TEST(at_random)
{
	run_random((unsigned)_i + 1, FRAMES, slab_debug_of(_i));
	must(nfails == 0);
}
END_TEST

/* With less memory than is asked for, so that all of it is always in use. */
START_TEST(at_random_short)
{
	run_random((unsigned)_i + 1, 500, slab_debug_of(_i));
	must(nfails > 100);
}
END_TEST

/* What stands for objects that are alone on their pages is meshed, too. */
START_TEST(at_random_alone)
{
	static const unsigned kmd[] = { KMD_CHECK | KMD_GUARD, KMD_SAMPLE,
	    KMD_CHECK | KMD_SAMPLE };

	run_random((unsigned)_i + 1, 3 * FRAMES, kmd[_i]);
	must(nfails == 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmem_mesh");
	TCase *tc = tcase_create("kmem_mesh");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, pairs, 0, 2);
	tcase_add_loop_test(tc, by_reaping, 0, 2);
	tcase_add_loop_test(tc, in_interrupt, 0, 2);
	tcase_add_loop_test(tc, one_twin_each, 0, 2);
	tcase_add_loop_test(tc, whose_slabs, 0, (int)nitems(whose));
	tcase_add_loop_test(tc, reserve_is_kept, 0, 2);
	tcase_add_loop_test(tc, not_disjoint, 0, 2);
	tcase_add_loop_test(tc, other_colors, 0, 2);
	tcase_add_loop_test(tc, beside_a_thread, 0, 2);
	tcase_add_loop_test(tc, misuse, 0, 2);
	tcase_add_loop_test(tc, found, 0, 2);
	tcase_add_loop_test(tc, heap, 0, 2);
	tcase_add_loop_test(tc, misuse_heap, 0, 2);
	tcase_add_loop_test(tc, leaks, 0, 2);
	tcase_add_test(tc, leaks_of_guards);
	tcase_add_loop_test(tc, nothing_is_allocated, 0, 2);
	tcase_add_loop_test(tc, under_pressure, 0, 2);
	tcase_add_loop_test(tc, tries, 0, 2);
	tcase_add_loop_test(tc, looks, 0, 2);
	tcase_add_loop_test(tc, after_a_peak, 0, 4);
	tcase_add_loop_test(tc, check_sees_faults, 0, 2);
	tcase_add_loop_test(tc, unmapped, 0, 2);
	tcase_add_loop_test(tc, at_random, 0, 8);
	tcase_add_loop_test(tc, at_random_short, 0, 4);
	tcase_add_loop_test(tc, at_random_alone, 0, 3);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
