/*
 * kmem_cache: random operations against a model, and each promise of
 * kmem_cache.h by itself.
 *
 * The model is what the caller of an allocator knows: the objects that are
 * out, and the bytes that were written to them.  Every byte of an object is
 * written when it is allocated and checked when it is freed, so two objects
 * that overlap, or an allocator that writes where it must not, cannot be
 * missed.
 */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libkern/errno.h>
#include <vm/kmalloc.h>
#include <vm/kmem_cache_impl.h>
#include <vm/vm_fail.h>

#include "heap_stats.h"
#include "host.h"
#include "ledger.h"
#include "must.h"

#define FRAMES		16384u		/* 64 MB */

static struct ledger before;

static void
boot(void)
{
	host_boot(FRAMES);
	ledger_take(&before);
}

static void
check_all(void)
{
	struct kmem_cache *kc = NULL;
	const char *bad;

	while ((kc = kmem_cache_next(kc)) != NULL) {
		bad = kmem_cache_check(kc);
		if (bad != NULL)
			ck_abort_msg("%s: %s", kc->kc_name, bad);
	}
	must(vm_map_check(kernel_map) == NULL);
	must(host_locks()->hl_held == 0);
}

/* Nothing is out, so that everything must be back after a reap. */
static void
done(void)
{
	const char *bad;

	check_all();
	kmem_cache_reap_all();
	bad = ledger_since(&before);
	if (bad != NULL)
		ck_abort_msg("at the end: %s", bad);
	bad = vm_phys_check();
	must(bad == NULL);
}

static struct kmem_cache *
make(const char *name, size_t size, size_t align, unsigned pages, int flags)
{
	const struct kmem_cache_args ca = { .ca_name = name, .ca_size = size,
	    .ca_align = align, .ca_slab_pages = pages, .ca_flags = flags };

	return kmem_cache_create(&ca);
}

/* Byte i of what an object with this mark holds. */
static uint8_t
byte_of(uint32_t mark, size_t i)
{
	return (uint8_t)(mark + i * 7 + (i >> 8));
}

static void
fill(void *obj, size_t size, uint32_t mark)
{
	uint8_t *p = obj;
	size_t i;

	for (i = 0; i < size; i++)
		p[i] = byte_of(mark, i);
}

static bool
holds(const void *obj, size_t size, uint32_t mark)
{
	const uint8_t *p = obj;
	size_t i;

	for (i = 0; i < size; i++)
		if (p[i] != byte_of(mark, i))
			return false;
	return true;
}

/*
 * Layouts: every size in some form is laid out without overlap, aligned, in
 * its window, and found again by any pointer into an object.
 */
static void
try_layout(size_t size, size_t align, unsigned pages, int flags)
{
	struct kmem_cache *kc = make("layout", size, align, pages, flags);
	struct kmem_cache *found;
	struct kmem_cache_stats cs;
	void **obj, *begin;
	unsigned i, n;

	must(kc != NULL);
	kmem_cache_stats(kc, &cs);
	must(cs.cs_size == size && cs.cs_stride >= size);
	must(pages == 0 || cs.cs_slab_pages == pages);
	must(cs.cs_stride * cs.cs_per_slab <= ptoa(cs.cs_slab_pages));
	/* Their tags are not waste. */
	if (pages == 0 && size <= PAGE_SIZE)
		must((cs.cs_stride + 1) * cs.cs_per_slab >=
		    ptoa(cs.cs_slab_pages) * 7 / 8);
	/* A tail as long as an object would have been one more. */
	must(cs.cs_per_slab == KMEM_SLAB_MAXOBJ || kc->kc_hdr_off -
	    cs.cs_per_slab * cs.cs_stride < cs.cs_stride + sizeof(void *));
	n = cs.cs_per_slab + 1;
	obj = calloc(n, sizeof(*obj));
	for (i = 0; i < n; i++) {
		obj[i] = kmem_cache_alloc(kc, KM_NOSLEEP);
		must(obj[i] != NULL);
		must((uintptr_t)obj[i] % (align == 0 ? 8 : align) == 0);
		if (flags & KM_HEAP)
			must((vaddr_t)obj[i] >= VM_HEAP_MIN &&
			    (vaddr_t)obj[i] < VM_HEAP_MAX);
		else
			must((vaddr_t)obj[i] >= VM_SLAB_MIN &&
			    (vaddr_t)obj[i] < VM_SLAB_MAX);
		fill(obj[i], size, i);
		must(kmem_cache_find((char *)obj[i] + size - 1, &found,
		    &begin) && found == kc && begin == obj[i]);
	}
	kmem_cache_stats(kc, &cs);
	must(cs.cs_slabs == 2 && cs.cs_inuse == n && cs.cs_grown == 2);
	must(kmem_cache_check(kc) == NULL);
	for (i = 0; i < n; i++) {
		must(holds(obj[i], size, i));
		kmem_cache_free(kc, obj[i]);
	}
	must(kmem_cache_check(kc) == NULL);
	must(kmem_cache_destroy(kc) == 0);
	free(obj);
}

START_TEST(layouts)
{
	static const size_t sizes[] = { 1, 7, 8, 9, 16, 24, 63, 64, 65, 100,
	    127, 128, 200, 256, 300, 511, 512, 513, 768, 1000, 1024, 1025,
	    1365, 2000, 2048, 2049, 2720, 3000, 4095, 4096, 4097, 5952, 8192,
	    10000, 65536, 100000, 64 * 4096 };
	static const size_t aligns[] = { 0, 1, 4, 8, 16, 64, 256, 4096 };
	unsigned s, a;

	boot();
	for (s = 0; s < nitems(sizes); s++) {
		for (a = 0; a < nitems(aligns); a++)
			if (aligns[a] <= 64 || sizes[s] >= 64)
				try_layout(sizes[s], aligns[a], 0, 0);
		try_layout(sizes[s], 0, 0, KM_HEAP);
		if (sizes[s] <= 4096)
			try_layout(sizes[s], 0, 5, 0);
		if (sizes[s] <= 4096)
			try_layout(sizes[s], 32, 1, 0);
	}
	check_all();
	done();
}
END_TEST

START_TEST(random_sizes)
{
	uint64_t rng = 20;
	size_t size;
	unsigned i;

	boot();
	for (i = 0; i < 300; i++) {
		size = 1 + k_random(&rng) % (i % 3 == 0 ? 20000 : 3000);
		try_layout(size, (size_t)8 << k_random(&rng) % 4, 0, 0);
	}
	done();
}
END_TEST

/*
 * The layout's choice, worked out once more and by brute force: every number
 * of pages and both places of the header, the fewest pages that waste at most
 * 1/KMEM_WASTE or else the least waste.
 */
struct choice {
	size_t		 c_bytes;
	size_t		 c_n;		/* objects */
	size_t		 c_held;	/* a header off the slab included */
	bool		 c_off;
};

/* Does a keep more for each object than b? */
static bool
dearer(const struct choice *a, const struct choice *b)
{
	return a->c_held * b->c_n > b->c_held * a->c_n;
}

static struct choice
best_of(size_t stride, size_t bytes)
{
	const size_t fix = offsetof(struct kmem_slab, sl_free);
	struct choice on = { bytes, 0, bytes, false };
	struct choice off = { bytes, bytes / stride, bytes + fix + 4 + 32,
	    true };
	size_t n, header;

	for (n = 1; n <= 1024 && n * stride <= bytes; n++) {
		header = fix + (n + 31) / 32 * 4 + n;	/* n: the tags */
		header = (header + sizeof(void *) - 1) & -sizeof(void *);
		if (n * stride + header <= bytes)
			on.c_n = n;
	}
	if (off.c_n > 32 || (on.c_n != 0 && !dearer(&on, &off)))
		return on;
	return off;
}

static struct choice
choose(size_t stride)
{
	struct choice c, best = { 0 };
	size_t pages = (stride + PAGE_SIZE - 1) / PAGE_SIZE;

	do {
		c = best_of(stride, pages * PAGE_SIZE);
		if ((c.c_held - c.c_n * stride) * KMEM_WASTE <= c.c_held)
			return c;
		if (best.c_n == 0 || dearer(&best, &c))
			best = c;
	} while (++pages <= KMEM_SLAB_TRYPAGES);
	return best;
}

START_TEST(layout_is_best)
{
	struct kmem_cache *kc;
	struct choice c;
	size_t size;

	boot();
	for (size = 8; size < 50000; size += size < 5000 ? 8 : 136) {
		kc = make("best", size, 8, 0, 0);
		must(kc != NULL);
		c = choose(size);
		if (kc->kc_slab_size != c.c_bytes || kc->kc_per_slab != c.c_n ||
		    !(kc->kc_flags & KC_OFFSLAB) != !c.c_off)
			ck_abort_msg("%zu bytes: %u in %zu, best %zu in %zu",
			    size, kc->kc_per_slab, kc->kc_slab_size, c.c_n,
			    c.c_bytes);
		must(kmem_cache_destroy(kc) == 0);
	}
	done();
}
END_TEST

/* Nonsense is refused, and said. */
START_TEST(senseless)
{
	static const struct kmem_cache_args bad[] = {
		{ .ca_name = NULL, .ca_size = 8 },
		{ .ca_name = "n", .ca_size = 0 },
		{ .ca_name = "n", .ca_size = SIZE_MAX },
		{ .ca_name = "n", .ca_size = (size_t)1 << 31 },
		{ .ca_name = "n", .ca_size = 64 * 4096 + 1 },
		{ .ca_name = "n", .ca_size = 8, .ca_align = 3 },
		{ .ca_name = "n", .ca_size = 8, .ca_align = 8192 },
		{ .ca_name = "n", .ca_size = 4097, .ca_slab_pages = 1 },
		{ .ca_name = "n", .ca_size = 8, .ca_slab_pages = 65 },
		{ .ca_name = "n", .ca_size = 8, .ca_slab_pages = ~0u },
		{ .ca_name = "n", .ca_size = 8, .ca_flags = KM_SLAB },
	};
	uint64_t logs;
	unsigned i;

	boot();
	for (i = 0; i < nitems(bad); i++) {
		logs = host_log_count();
		must(kmem_cache_create(&bad[i]) == NULL);
		must(host_log_count() == logs + 1);
		must(strstr(host_log_last(), bad[i].ca_name != NULL ?
		    "kmem_cache_create(n, " : "kmem_cache_create(-, ") != NULL);
	}
	done();
}
END_TEST

/*
 * Constructors.  A constructed object says so in its first word; a user
 * leaves it so.
 */
#define BORN	0xB0B0B0B0u

static unsigned long nborn, ndead;
static unsigned long refuse_at;	/* the n-th call; 0: never */

static int
ctor(void *obj, void *arg, int flags)
{
	must(arg == &nborn && host_locks()->hl_held == 0);
	if (refuse_at != 0 && --refuse_at == 0)
		return ENOMEM;
	must(*(uint32_t *)obj != BORN);
	*(uint32_t *)obj = BORN;
	nborn++;
	return 0;
}

static void
dtor(void *obj, void *arg)
{
	must(arg == &nborn && host_locks()->hl_held == 0);
	must(*(uint32_t *)obj == BORN);
	*(uint32_t *)obj = 0;
	ndead++;
}

static struct kmem_cache *
make_ctor(size_t size)
{
	const struct kmem_cache_args ca = { .ca_name = "ctor",
	    .ca_size = size, .ca_ctor = ctor, .ca_dtor = dtor,
	    .ca_arg = &nborn };

	return kmem_cache_create(&ca);
}

START_TEST(constructors)
{
	static const size_t sizes[] = { 32, 200, 1000, 3000 };
	struct kmem_cache *kc;
	struct kmem_cache_stats cs;
	void *obj[100];
	unsigned i, s;

	boot();
	for (s = 0; s < nitems(sizes); s++) {
		kc = make_ctor(sizes[s]);
		for (i = 0; i < nitems(obj); i++) {
			obj[i] = kmem_cache_alloc(kc, KM_SLEEP);
			must(*(uint32_t *)obj[i] == BORN);
		}
		kmem_cache_stats(kc, &cs);
		must(nborn - ndead == cs.cs_slabs * cs.cs_per_slab);
		kmem_cache_free(kc, obj[3]);
		obj[3] = kmem_cache_alloc(kc, KM_SLEEP);
		must(*(uint32_t *)obj[3] == BORN);
		kmem_cache_stats(kc, &cs);
		must(nborn - ndead == cs.cs_slabs * cs.cs_per_slab);
		for (i = 0; i < nitems(obj); i++)
			kmem_cache_free(kc, obj[i]);
		must(kmem_cache_destroy(kc) == 0);
		must(nborn == ndead);
	}
	done();
}
END_TEST

START_TEST(constructor_refuses)
{
	struct kmem_cache *kc;
	struct kmem_cache_stats cs;
	unsigned n;
	void *obj;

	boot();
	kc = make_ctor(100);
	kmem_cache_stats(kc, &cs);
	for (n = 1; n <= cs.cs_per_slab; n++) {
		refuse_at = n;
		must(kmem_cache_alloc(kc, KM_SLEEP) == NULL);
		must(nborn == ndead);
		must(kmem_cache_check(kc) == NULL);
	}
	refuse_at = 0;
	kmem_cache_stats(kc, &cs);
	must(cs.cs_fails == n - 1 && cs.cs_slabs == 0);
	obj = kmem_cache_alloc(kc, KM_SLEEP);
	must(obj != NULL);
	kmem_cache_free(kc, obj);
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/*
 * Random operations on several caches against the model.
 */
#define NCACHES		6u
#define NSLOTS		3000u
#define NOPS		60000u

struct slot {
	void		*s_obj;
	uint32_t	 s_mark;
};

static struct world {
	struct kmem_cache *w_cache;
	char		 w_name[16];
	size_t		 w_size;
	bool		 w_ctor;
	unsigned	 w_nout;
	struct slot	 w_slot[NSLOTS];
} world[NCACHES];

static void
world_make(struct world *w, uint64_t *rng)
{
	static const size_t sizes[] = { 1, 8, 20, 64, 72, 100, 192, 257, 512,
	    704, 1024, 1568, 2080, 3000, 4096, 5952, 9000 };
	static unsigned serial;

	snprintf(w->w_name, sizeof(w->w_name), "world %u", serial++);
	w->w_size = sizes[k_random(rng) % nitems(sizes)];
	w->w_ctor = w->w_size >= 4 && k_random(rng) % 3 == 0;
	w->w_cache = w->w_ctor ? make_ctor(w->w_size) :
	    make(w->w_name, w->w_size, (size_t)8 << k_random(rng) % 4, 0,
	    k_random(rng) % 2 ? KM_HEAP : 0);
	must(w->w_cache != NULL);
	w->w_nout = 0;
}

/* The bytes that the user may write: a constructor's word stays. */
static size_t
skip(const struct world *w)
{
	return w->w_ctor ? sizeof(uint32_t) : 0;
}

static void
world_alloc(struct world *w, struct slot *s, uint64_t *rng)
{
	int flags = w->w_ctor || k_random(rng) % 4 ? 0 : KM_ZERO;
	size_t i;

	s->s_obj = kmem_cache_alloc(w->w_cache, flags | KM_NOSLEEP);
	must(s->s_obj != NULL);
	if (w->w_ctor)
		must(*(uint32_t *)s->s_obj == BORN);
	for (i = 0; (flags & KM_ZERO) && i < w->w_size; i++)
		must(((uint8_t *)s->s_obj)[i] == 0);
	s->s_mark = k_random(rng);
	fill((char *)s->s_obj + skip(w), w->w_size - skip(w), s->s_mark);
	w->w_nout++;
}

static void
world_free(struct world *w, struct slot *s)
{
	must(holds((char *)s->s_obj + skip(w), w->w_size - skip(w),
	    s->s_mark));
	kmem_cache_free(w->w_cache, s->s_obj);
	s->s_obj = NULL;
	w->w_nout--;
}

static void
world_empty(struct world *w)
{
	unsigned i;

	for (i = 0; i < NSLOTS; i++)
		if (w->w_slot[i].s_obj != NULL)
			world_free(w, &w->w_slot[i]);
	must(w->w_nout == 0);
}

/* Now and then: reap, destroy (refused or not), and make again. */
static void
world_upheaval(struct world *w, uint64_t *rng)
{
	struct kmem_cache_stats cs;
	unsigned what = k_random(rng) % 8;

	if (what < 5) {
		kmem_cache_reap(w->w_cache);
		kmem_cache_stats(w->w_cache, &cs);
		must(cs.cs_empty_slabs == 0 && cs.cs_inuse == w->w_nout);
		return;
	}
	if (w->w_nout != 0)
		must(kmem_cache_destroy(w->w_cache) == EBUSY);
	if (what == 5) {
		world_empty(w);
		must(kmem_cache_destroy(w->w_cache) == 0);
		world_make(w, rng);
	}
}

START_TEST(random_operations)
{
	uint64_t rng = (uint64_t)_i + 1;
	unsigned op, phase, i;
	struct world *w;
	struct slot *s;

	printf("kmem_cache: seed %d\n", _i + 1);
	kmem_debug_set(_i % 3 == 2 ? 0 : KMD_CHECK);
	boot();
	for (i = 0; i < NCACHES; i++)
		world_make(&world[i], &rng);
	for (op = 0; op < NOPS; op++) {
		w = &world[k_random(&rng) % NCACHES];
		s = &w->w_slot[k_random(&rng) % NSLOTS];
		/* Tides: mostly growing, mostly shrinking, in turn. */
		phase = op / 5000 % 2 ? 70 : 30;
		if (s->s_obj == NULL && k_random(&rng) % 100 >= phase)
			world_alloc(w, s, &rng);
		else if (s->s_obj != NULL && k_random(&rng) % 100 < phase)
			world_free(w, s);
		if (op % 400 == 0)
			world_upheaval(&world[k_random(&rng) % NCACHES], &rng);
		if (op % 50 == 0)
			must(kmem_cache_check(w->w_cache) == NULL);
		if (op % 1000 == 0)
			check_all();
	}
	for (i = 0; i < NCACHES; i++) {
		world_empty(&world[i]);
		must(kmem_cache_destroy(world[i].w_cache) == 0);
	}
	must(nborn == ndead);
	done();
}
END_TEST

/*
 * Empty slabs: one is kept, what is above goes back at once, a reap takes
 * all.
 */
START_TEST(empty_slabs)
{
	struct kmem_cache *kc;
	struct kmem_cache_stats cs;
	static void *obj[4096];
	unsigned i, n;

	boot();
	kc = make("empty", 512, 0, 2, KM_NOMAG);
	kmem_cache_stats(kc, &cs);
	n = cs.cs_per_slab * 10;
	for (i = 0; i < n; i++)
		obj[i] = kmem_cache_alloc(kc, KM_SLEEP);
	kmem_cache_stats(kc, &cs);
	must(cs.cs_slabs == 10 && cs.cs_empty_slabs == 0);
	for (i = 0; i < n; i++)
		kmem_cache_free(kc, obj[i]);
	kmem_cache_stats(kc, &cs);
	must(cs.cs_slabs == KMEM_EMPTY_KEEP && cs.cs_inuse == 0);
	must(cs.cs_empty_slabs == KMEM_EMPTY_KEEP);
	must(cs.cs_shrunk == 10 - KMEM_EMPTY_KEEP);
	must(kmem_cache_reap(kc) == 2);
	must(kmem_cache_reap(kc) == 0);
	/* At a slab's edge nothing bounces. */
	kmem_cache_free(kc, kmem_cache_alloc(kc, KM_SLEEP));
	kmem_cache_stats(kc, &cs);
	for (i = 0; i < 100; i++)
		kmem_cache_free(kc, kmem_cache_alloc(kc, KM_SLEEP));
	must(cs.cs_grown == 11);
	kmem_cache_stats(kc, &cs);
	must(cs.cs_grown == 11);
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/* The pages of the slab that obj is in. */
static char *
base_of(const void *obj)
{
	const struct kmem_slab *sl = kmem_slab_find(obj);

	return kmem_slab_base(sl->sl_cache, sl);
}

/* Slabs begin at different offsets while their tail allows it. */
START_TEST(colours)
{
	struct kmem_cache *kc;
	size_t color[20], max;
	unsigned i, per;
	struct kmem_slab *sl;
	void *obj[20 * 64];

	boot();
	kc = make("colour", 600, 0, 4, 0);
	per = kc->kc_per_slab;
	max = kc->kc_color_max;
	must(per <= 64 && max > 0);
	for (i = 0; i < 20 * per; i++) {
		obj[i] = kmem_cache_alloc(kc, KM_SLEEP);
		sl = kmem_slab_find(obj[i]);
		color[i / per] = (uintptr_t)sl->sl_first & PAGE_MASK;
		must(color[i / per] <= max && max < PAGE_SIZE);
		must(sl->sl_first == base_of(obj[i]) + color[i / per]);
	}
	for (i = 1; i < 20; i++)
		must(color[i] == (color[i - 1] == max ? 0 :
		    color[i - 1] + 64));
	for (i = 0; i < 20 * per; i++)
		kmem_cache_free(kc, obj[i]);
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/*
 * The question that Holm answers, through caches: slabs of 4, 4 and 5 pages,
 * the second destroyed; a slab of 5 goes behind the third, one of 4 into the
 * hole.
 */
START_TEST(slab_question)
{
	const size_t four = ptoa(4), five = ptoa(5);
	struct kmem_cache *kc[5];
	char *base[5];
	void *obj[5];
	unsigned i;
	static const unsigned pages[] = { 4, 4, 5, 5, 4 };

	boot();
	for (i = 0; i < 5; i++)
		kc[i] = make("question", ptoa(pages[i]), 0, pages[i], 0);
	for (i = 0; i < 3; i++) {
		obj[i] = kmem_cache_alloc(kc[i], KM_SLEEP);
		base[i] = base_of(obj[i]);
	}
	/* The headers' first page came between the first two. */
	must(base[2] == base[1] + four);
	kmem_cache_free(kc[1], obj[1]);
	must(kmem_cache_reap(kc[1]) == 4);
	obj[3] = kmem_cache_alloc(kc[3], KM_SLEEP);
	must(base_of(obj[3]) == base[2] + five);
	obj[4] = kmem_cache_alloc(kc[4], KM_SLEEP);
	must(base_of(obj[4]) == base[1]);
	for (i = 0; i < 5; i++) {
		if (i != 1)
			kmem_cache_free(kc[i], obj[i]);
		must(kmem_cache_destroy(kc[i]) == 0);
	}
	done();
}
END_TEST

/* Objects that are out keep their cache alive. */
START_TEST(destroy_refused)
{
	struct kmem_cache *kc;
	void *obj[3], *many[20];
	uint64_t logs;
	unsigned i;
	char want[64];

	boot();
	kc = make("busy", 2000, 0, 0, 0);
	for (i = 0; i < nitems(many); i++)
		many[i] = kmem_cache_alloc(kc, KM_SLEEP);
	logs = host_log_count();
	must(kmem_cache_destroy(kc) == EBUSY);
	must(host_log_count() == logs + 8 + 1);	/* a few of them are named */
	for (i = 0; i < nitems(many); i++)
		kmem_cache_free(kc, many[i]);
	obj[0] = kmem_cache_alloc(kc, KM_SLEEP);
	obj[1] = kmem_cache_alloc(kc, KM_SLEEP);
	logs = host_log_count();
	must(kmem_cache_destroy(kc) == EBUSY);
	must(host_log_count() == logs + 3);
	snprintf(want, sizeof(want), "(busy): refused, 2 still out");
	must(strstr(host_log_last(), want) != NULL);
	obj[2] = kmem_cache_alloc(kc, KM_SLEEP);
	must(obj[2] != NULL);
	must(kmem_cache_check(kc) == NULL);
	kmem_cache_free(kc, obj[0]);
	kmem_cache_free(kc, obj[1]);
	kmem_cache_free(kc, obj[2]);
	kmem_cache_free(kc, NULL);
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/* They are named wherever they are: in full slabs and in partial ones. */
START_TEST(refusal_names_all)
{
	struct kmem_cache *kc;
	void *obj[1100];
	uint64_t logs;
	unsigned i, k, n;
	char want[64];

	boot();
	kc = make("named", 100, 0, 1, KM_NOMAG);
	n = kc->kc_per_slab;
	must(n >= 16 && n <= 100);
	for (i = 0; i < 10 * n; i++)
		obj[i] = kmem_cache_alloc(kc, KM_SLEEP);
	/* In slab k: k times an eighth, and one; the last has none. */
	for (k = 0; k < 9; k++)
		for (i = k * n / 8 + 1; i < n; i++)
			kmem_cache_free(kc, obj[k * n + i]);
	for (i = 0; i < n; i++)
		kmem_cache_free(kc, obj[9 * n + i]);
	for (k = 0; k < 9; k++) {
		logs = host_log_count();
		must(kmem_cache_destroy(kc) == EBUSY);
		must(host_log_count() - logs > 1);
		for (i = 0; i <= k * n / 8 && i < n; i++)
			kmem_cache_free(kc, obj[k * n + i]);
	}
	must(kmem_cache_destroy(kc) == 0);
	kc = make("one", 100, 0, 1, 0);
	obj[0] = kmem_cache_alloc(kc, KM_SLEEP);
	logs = host_log_count();
	must(kmem_cache_destroy(kc) == EBUSY);
	must(host_log_count() == logs + 2);
	snprintf(want, sizeof(want), "(one): %p is out", obj[0]);
	must(strstr(host_log_line(1), want) != NULL);
	kmem_cache_free(kc, obj[0]);
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/*
 * A cache that a reaper looks at cannot go: who wants to destroy it waits, or
 * is refused where waiting is impossible.
 */
static struct kmem_cache *reaped;
static unsigned nwaits;

static bool
wait_twice(const void *chan)
{
	must(chan == reaped && host_locks()->hl_held == 0);
	return ++nwaits < 3;
}

static void
dtor_destroys(void *obj, void *arg)
{
	must(kmem_cache_destroy(reaped) == EBUSY);
	must(*(char **)arg == obj);
}

START_TEST(destroy_while_reaped)
{
	void *obj;
	const struct kmem_cache_args ca = { .ca_name = "reaped",
	    .ca_size = 8192, .ca_slab_pages = 2, .ca_dtor = dtor_destroys,
	    .ca_arg = &obj };

	boot();
	reaped = kmem_cache_create(&ca);
	obj = kmem_cache_alloc(reaped, KM_SLEEP);
	kmem_cache_free(reaped, obj);
	must(kmem_cache_reap_all() >= 2);
	must(host_sleeps() == 1);
	host_set_sleep(true, wait_twice);
	obj = kmem_cache_alloc(reaped, KM_SLEEP);
	kmem_cache_free(reaped, obj);
	must(kmem_cache_reap_all() >= 2);
	must(nwaits == 3);
	must(kmem_cache_destroy(reaped) == 0);
	done();
}
END_TEST

/*
 * Mistakes.  Each is a panic that names the cache and the pointer and says
 * what the pointer is; everything is as before.
 */
struct mistake {
	struct kmem_cache *m_cache;
	void		*m_ptr;
};

static void
commit(void *arg)
{
	struct mistake *m = arg;

	kmem_cache_free(m->m_cache, m->m_ptr);
}

static void
expect(struct kmem_cache *kc, void *ptr, const char *what)
{
	struct mistake m = { kc, ptr };
	struct kmem_cache_stats a, b;
	struct ledger l;
	const char *said;
	char head[64];
	unsigned nlocks;

	kmem_cache_stats(kc, &a);
	ledger_take(&l);
	said = host_panic_of(commit, &m, &nlocks);
	if (said == NULL)
		ck_abort_msg("no panic where \"%s\" was due", what);
	snprintf(head, sizeof(head), "kmem_cache_free(%s, ", kc->kc_name);
	if (strncmp(said, head, strlen(head)) != 0 ||
	    strstr(said, what) == NULL)
		ck_abort_msg("\"%s\" is not \"%s…%s\"", said, head, what);
	snprintf(head, sizeof(head), "%lx", (unsigned long)ptr);
	must(ptr == NULL || strstr(said, head) != NULL);
	must(nlocks == 0);
	kmem_cache_stats(kc, &b);
	must(memcmp(&a, &b, sizeof(a)) == 0);
	must(ledger_since(&l) == NULL);
	check_all();
}

static void
mistakes_in(size_t size, unsigned pages)
{
	struct kmem_cache *kc = make("victim", size, 0, pages, 0);
	struct kmem_cache *other = make("other", size, 0, pages, 0);
	char *a, *b, *c;
	struct kmem_slab *sl;

	a = kmem_cache_alloc(kc, KM_SLEEP);
	b = kmem_cache_alloc(kc, KM_SLEEP);
	c = kmem_cache_alloc(other, KM_SLEEP);
	sl = kmem_slab_find(a);
	fill(a, size, 1);
	fill(b, size, 2);
	kmem_cache_free(kc, a);
	expect(kc, a, "a free object of victim");
	expect(kc, b + 1, "1 bytes into");
	expect(kc, b + size / 2, ", an object of victim");
	expect(kc, a + size - 1, ", a free object of victim");
	expect(kc, c, "an object of other");
	expect(kc, c + 4, ", an object of other");
	expect(other, b, "an object of victim");
	if (!(kc->kc_flags & KC_OFFSLAB)) {
		expect(kc, sl, "beside the objects of a slab of victim");
		expect(kc, kmem_slab_base(kc, sl) + kc->kc_slab_size - 1,
		    "beside the objects");
	} else
		expect(kc, sl, "an object of kmem headers");
	must(holds(b, size, 2));
	kmem_cache_free(kc, b);
	kmem_cache_reap(kc);
	expect(kc, b, "no memory of the slabs'");	/* the slab is gone */
	kmem_cache_free(other, c);
	must(kmem_cache_destroy(kc) == 0);
	must(kmem_cache_destroy(other) == 0);
}

START_TEST(mistakes)
{
	struct kmem_cache *kc;
	vaddr_t pages, slab_pages;
	int on_stack;
	char *from_host = malloc(4096);

	boot();
	mistakes_in(64, 0);
	mistakes_in(100, 3);
	mistakes_in(1000, 0);
	mistakes_in(3000, 0);
	mistakes_in(5952, 0);

	kc = make("foreign", 64, 0, 0, 0);
	pages = kmem_alloc(kernel_map, 4 * PAGE_SIZE, 0);
	slab_pages = kmem_alloc(kernel_map, 4 * PAGE_SIZE, KM_SLAB);
	must(pages != 0 && slab_pages != 0);
	expect(kc, &on_stack, "no memory of the slabs'");
	expect(kc, from_host, "no memory of the slabs'");
	expect(kc, (void *)1, "no memory of the slabs'");
	expect(kc, (void *)UINTPTR_MAX, "no memory of the slabs'");
	expect(kc, (void *)(UINTPTR_MAX - 4095), "no memory of the slabs'");
	expect(kc, (void *)VM_MIN_KERNEL_ADDRESS, "no memory of the slabs'");
	expect(kc, (void *)VM_HEAP_MIN, "no memory of the slabs'");
	expect(kc, (void *)(VM_HEAP_MAX - 1), "no memory of the slabs'");
	expect(kc, (void *)(VM_SLAB_MAX - 1), "no memory of the slabs'");
	expect(kc, (void *)VM_SLAB_MAX, "no memory of the slabs'");
	expect(kc, (void *)(VM_SLAB_MIN + 0x800000), "no memory of the");
	expect(kc, (void *)pages, "no memory of the slabs'");
	expect(kc, (void *)(slab_pages + 8), "in pages that are no slab");
	kmem_free(kernel_map, pages, 4 * PAGE_SIZE);
	kmem_free(kernel_map, slab_pages, 4 * PAGE_SIZE);
	must(kmem_cache_destroy(kc) == 0);
	free(from_host);
	done();
}
END_TEST

static void
alloc_zero(void *arg)
{
	kmem_cache_alloc(arg, KM_ZERO);
}

static void
destroy(void *arg)
{
	kmem_cache_destroy(arg);
}

START_TEST(other_mistakes)
{
	struct kmem_cache *kc;
	const char *said;
	unsigned nlocks;

	boot();
	kc = make_ctor(64);
	said = host_panic_of(alloc_zero, kc, &nlocks);
	must(said != NULL && strstr(said, "kmem_cache_alloc(ctor, ") == said);
	must(nlocks == 0);
	said = host_panic_of(destroy, kmem_cache_next(NULL), &nlocks);
	must(said != NULL && nlocks == 0);
	must(strstr(said, "kmem_cache_destroy(kmem caches)") == said);
	host_set_intr(true);
	said = host_panic_of(destroy, kc, &nlocks);
	host_set_intr(false);
	must(said != NULL && strstr(said, "from an interrupt") != NULL);
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/*
 * An interrupt gets what there is, and frees; it neither grows nor shrinks.
 */
START_TEST(interrupts)
{
	struct kmem_cache *kc;
	struct kmem_cache_stats cs;
	struct ledger l;
	static void *obj[2000];
	unsigned i, n, more = 0;

	boot();
	kc = make("intr", 700, 0, 0, KM_NOMAG);
	kmem_cache_stats(kc, &cs);
	n = cs.cs_per_slab * 5;
	for (i = 0; i < n; i++)
		obj[i] = kmem_cache_alloc(kc, KM_SLEEP);
	for (i = 0; i < cs.cs_per_slab + 2; i++)
		kmem_cache_free(kc, obj[i]);
	ledger_take(&l);
	host_set_intr(true);
	while (more < 2000 - n &&
	    (obj[n + more] = kmem_cache_alloc(kc, KM_NOSLEEP)) != NULL)
		more++;
	must(more == i);
	must(ledger_since(&l) == NULL);
	while (i < n + more)
		kmem_cache_free(kc, obj[i++]);
	must(kmem_cache_reap(kc) == 0 && kmem_cache_reap_all() == 0);
	must(ledger_since(&l) == NULL);
	kmem_cache_stats(kc, &cs);
	must(cs.cs_empty_slabs == 5 && cs.cs_fails == 1);
	host_set_intr(false);
	check_all();
	/* The next free outside of it gives back what is too many. */
	kmem_cache_free(kc, kmem_cache_alloc(kc, KM_SLEEP));
	kmem_cache_stats(kc, &cs);
	must(cs.cs_slabs == KMEM_EMPTY_KEEP);
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/*
 * Every allocation below an operation fails in turn, once and for ever.
 * => the number of operations that failed for it
 */
#define SCENE	60u

static unsigned
scene(void)
{
	struct kmem_cache *on, *off;
	void *obj[2 * SCENE];
	unsigned i, fails = 0;

	on = make("on slab", 500, 0, 0, 0);
	off = make("off slab", 4096, 0, 4, 0);
	fails += (on == NULL) + (off == NULL);
	for (i = 0; i < 2 * SCENE; i++) {
		obj[i] = NULL;
		if ((i % 2 ? off : on) == NULL)
			continue;
		obj[i] = kmem_cache_alloc(i % 2 ? off : on,
		    i % 3 ? KM_SLEEP : KM_NOSLEEP);
		if (obj[i] == NULL)
			fails++;
		else
			fill(obj[i], i % 2 ? 4096 : 500, i);
		if (i % 10 == 0)
			check_all();
	}
	for (i = 0; i < 2 * SCENE; i++)
		if (obj[i] != NULL) {
			must(holds(obj[i], i % 2 ? 4096 : 500, i));
			kmem_cache_free(i % 2 ? off : on, obj[i]);
		}
	must(on == NULL || kmem_cache_destroy(on) == 0);
	must(off == NULL || kmem_cache_destroy(off) == 0);
	return fails;
}

START_TEST(fail_the_nth)
{
	const enum vm_fail_site site = (enum vm_fail_site)(_i / 2);
	const bool forever = _i % 2;
	unsigned long n, asked;
	unsigned failed, hit = 0;

	boot();
	for (n = 1;; n++) {
		vm_fail_set(site, n, forever);
		failed = scene();
		asked = vm_fail_count(site);
		vm_fail_set(site, 0, false);
		done();
		hit += failed != 0;
		if (asked < n)
			break;
		must(!forever || failed != 0 || site == VM_FAIL_PTP);
	}
	must(failed == 0);
	/* Page tables are made once: only a first run can miss one. */
	if (site != VM_FAIL_PTP)
		must(n > 10 && hit > 0);
}
END_TEST

/* With a fresh machine for each, page tables are missed too. */
START_TEST(fail_page_table)
{
	boot();
	vm_fail_set(VM_FAIL_PTP, (unsigned long)_i / 2 + 1, _i % 2);
	must(scene() != 0);
	vm_fail_set(VM_FAIL_PTP, 0, false);
	must(scene() == 0);
	done();
}
END_TEST

/*
 * Memory comes back: what one cache filled, and freed, another can have, to
 * the last frame, without anybody reaping.
 */
static unsigned
fill_up(struct kmem_cache *kc, void **obj, unsigned max)
{
	unsigned n = 0;

	while (n < max && (obj[n] = kmem_cache_alloc(kc, KM_NOSLEEP)) != NULL)
		n++;
	must(n < max);
	return n;
}

START_TEST(memory_comes_back)
{
	static void *obj[200000];
	struct kmem_cache *kc[3];
	unsigned round, i, n, first[3] = { 0 };

	host_boot(1024);
	kc[0] = make("small", 64, 0, 0, 0);
	kc[1] = make("middle", 700, 0, 0, KM_HEAP);
	kc[2] = make("large", 9000, 0, 0, 0);
	for (i = 0; i < 3; i++)			/* the page tables */
		for (n = fill_up(kc[i], obj, nitems(obj)); n > 0;)
			kmem_cache_free(kc[i], obj[--n]);
	kmem_cache_reap_all();
	ledger_take(&before);
	for (round = 0; round < 30; round++) {
		i = round % 3;
		n = fill_up(kc[i], obj, nitems(obj));
		if (first[i] == 0)
			first[i] = n;
		must(n == first[i]);
		check_all();
		while (n > 0)
			kmem_cache_free(kc[i], obj[--n]);
	}
	kmem_cache_reap_all();
	must(ledger_since(&before) == NULL);
	for (i = 0; i < 3; i++)
		must(kmem_cache_destroy(kc[i]) == 0);
	check_all();
}
END_TEST

/* A sleeper is served once somebody gives back. */
static struct kmem_cache *hoard;
static void *hoarded[20000];
static unsigned nhoarded;

static bool
give_back(const void *chan)
{
	unsigned i;

	if (nhoarded == 0)
		return false;
	for (i = 0; i < 100 && nhoarded > 0; i++)
		kmem_cache_free(hoard, hoarded[--nhoarded]);
	return true;
}

START_TEST(sleeping)
{
	struct kmem_cache *kc;
	void *obj;

	host_boot(1024);
	hoard = make("hoard", 1000, 0, 0, 0);
	kc = make("sleeper", 8000, 0, 0, 0);
	nhoarded = fill_up(hoard, hoarded, nitems(hoarded));
	must(kmem_cache_alloc(kc, KM_NOSLEEP) == NULL);
	must(kmem_cache_alloc(kc, KM_SLEEP) == NULL);	/* nobody can wake us */
	host_set_sleep(true, give_back);
	obj = kmem_cache_alloc(kc, KM_SLEEP);
	must(obj != NULL && nhoarded > 0);
	kmem_cache_free(kc, obj);
	while (nhoarded > 0)
		give_back(NULL);
	must(kmem_cache_destroy(kc) == 0);
	must(kmem_cache_destroy(hoard) == 0);
	check_all();
}
END_TEST

/* The check finds what is broken: each field that it looks at, once. */
#define BROKEN(stmt, undo) do {						\
	stmt;								\
	must(kmem_cache_check(kc) != NULL);				\
	undo;								\
	must(kmem_cache_check(kc) == NULL);				\
} while (0)

START_TEST(check_sees_faults)
{
	struct kmem_cache *kc, *other;
	struct kmem_slab *sl;
	struct vm_page *pg;
	void *obj;

	boot();
	kc = make("broken", 100, 0, 2, 0);
	other = make("other", 100, 0, 2, 0);
	obj = kmem_cache_alloc(kc, KM_SLEEP);
	sl = kmem_slab_find(obj);
	pg = kmem_page((char *)obj + PAGE_SIZE);
	must(kmem_cache_check(kc) == NULL);
	BROKEN(kc->kc_inuse++, kc->kc_inuse--);
	BROKEN(kc->kc_nslabs++, kc->kc_nslabs--);
	BROKEN(kc->kc_nempty++, kc->kc_nempty--);
	BROKEN(kc->kc_grown++, kc->kc_grown--);
	BROKEN(sl->sl_cache = other, sl->sl_cache = kc);
	BROKEN(sl->sl_inuse++, sl->sl_inuse--);
	BROKEN(sl->sl_inuse = 0, sl->sl_inuse = 1);
	BROKEN(sl->sl_words ^= 1, sl->sl_words ^= 1);
	BROKEN(sl->sl_words ^= 1u << 31, sl->sl_words ^= 1u << 31);
	BROKEN(sl->sl_free[0] ^= 1, sl->sl_free[0] ^= 1);
	BROKEN(sl->sl_free[0] ^= 4, sl->sl_free[0] ^= 4);
	BROKEN(sl->sl_free[kc->kc_nwords - 1] ^= 1u << 31,
	    sl->sl_free[kc->kc_nwords - 1] ^= 1u << 31);
	BROKEN(sl->sl_first++, sl->sl_first--);
	BROKEN(sl->sl_first += kc->kc_stride * 8,
	    sl->sl_first -= kc->kc_stride * 8);
	BROKEN(sl->sl_first += PAGE_SIZE, sl->sl_first -= PAGE_SIZE);
	BROKEN(sl->sl_color += 64, sl->sl_color -= 64);
	BROKEN(pg->pg_slab = NULL, pg->pg_slab = sl);
	BROKEN(pg->pg_flags ^= VM_PAGE_SLAB, pg->pg_flags ^= VM_PAGE_SLAB);
	kmem_cache_free(kc, obj);
	must(kmem_cache_destroy(kc) == 0);
	must(kmem_cache_destroy(other) == 0);
	done();
}
END_TEST

START_TEST(find)
{
	struct kmem_cache *kc, *found = NULL;
	void *begin = NULL;
	char *obj;
	int on_stack;

	boot();
	kc = make("found", 200, 0, 0, 0);
	obj = kmem_cache_alloc(kc, KM_SLEEP);
	must(kmem_cache_find(obj, &found, &begin));
	must(found == kc && begin == obj);
	must(kmem_cache_find(obj + 199, &found, &begin) && begin == obj);
	must(kmem_cache_find(obj + 200, &found, &begin) && begin != obj);
	must(!kmem_cache_find(kmem_slab_find(obj), &found, &begin));
	must(!kmem_cache_find(&on_stack, &found, &begin));
	must(!kmem_cache_find(NULL, &found, &begin));
	kmem_cache_free(kc, obj);
	must(kmem_cache_destroy(kc) == 0);
	must(!kmem_cache_find(obj, &found, &begin));
	done();
}
END_TEST

/*
 * Threads on the same caches and the same heap, while one of them reaps.
 * Each checks its own bytes; ThreadSanitizer, where it is on, the rest.
 */
#define NTHREADS	4u
#define THREAD_OPS	20000u
#define THREAD_SLOTS	200u

static struct kmem_cache *shared[3];
static KMALLOC_DEFINE(M_THREAD, "threads", "shared by the threads");

/* Three of four slots hold objects of the caches, the rest heap. */
static struct kmem_cache *
cache_of(unsigned slot)
{
	return slot % 4 == 3 ? NULL : shared[slot % 4];
}

static void *
thread(void *arg)
{
	uint64_t rng = (uint64_t)(uintptr_t)arg;
	struct slot slot[THREAD_SLOTS] = { { NULL, 0 } };
	struct kmem_cache *kc;
	unsigned op, i;
	size_t size;

	for (op = 0; op < THREAD_OPS + THREAD_SLOTS; op++) {
		/* The last round frees what is left. */
		i = op < THREAD_OPS ? k_random(&rng) % THREAD_SLOTS :
		    op - THREAD_OPS;
		kc = cache_of(i);
		size = kc != NULL ? kc->kc_size : 100 + i * 50;
		if (slot[i].s_obj != NULL) {
			must(holds(slot[i].s_obj, size, slot[i].s_mark));
			if (kc != NULL)
				kmem_cache_free(kc, slot[i].s_obj);
			else
				kfree(slot[i].s_obj, M_THREAD);
			slot[i].s_obj = NULL;
		} else if (op < THREAD_OPS) {
			slot[i].s_obj = kc != NULL ?
			    kmem_cache_alloc(kc, KM_NOSLEEP) :
			    kmalloc(size, M_THREAD, KM_NOSLEEP);
			must(slot[i].s_obj != NULL);
			slot[i].s_mark = k_random(&rng);
			fill(slot[i].s_obj, size, slot[i].s_mark);
		}
		if (op % 500 == 0)
			kmem_cache_reap_all();
	}
	return NULL;
}

START_TEST(threads)
{
	pthread_t id[NTHREADS];
	unsigned i;

	boot();
	shared[0] = make("shared 64", 64, 0, 0, 0);
	shared[1] = make("shared 700", 700, 0, 0, KM_HEAP);
	shared[2] = make("shared 4096", 4096, 0, 4, 0);
	for (i = 0; i < NTHREADS; i++)
		must(pthread_create(&id[i], NULL, thread,
		    (void *)(uintptr_t)(i + 1)) == 0);
	for (i = 0; i < NTHREADS; i++)
		must(pthread_join(id[i], NULL) == 0);
	must(kmalloc_check() == NULL && stats_of(M_THREAD).ks_inuse == 0);
	for (i = 0; i < 3; i++)
		must(kmem_cache_destroy(shared[i]) == 0);
	done();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmem_cache");
	TCase *tc = tcase_create("kmem_cache");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, layouts);
	tcase_add_test(tc, random_sizes);
	tcase_add_test(tc, layout_is_best);
	tcase_add_test(tc, senseless);
	tcase_add_test(tc, constructors);
	tcase_add_test(tc, constructor_refuses);
	tcase_add_loop_test(tc, random_operations, 0, 6);
	tcase_add_test(tc, empty_slabs);
	tcase_add_test(tc, colours);
	tcase_add_test(tc, slab_question);
	tcase_add_test(tc, destroy_refused);
	tcase_add_test(tc, refusal_names_all);
	tcase_add_test(tc, destroy_while_reaped);
	tcase_add_test(tc, mistakes);
	tcase_add_test(tc, other_mistakes);
	tcase_add_test(tc, interrupts);
	tcase_add_loop_test(tc, fail_the_nth, 0, 2 * VM_FAIL_NSITES);
	tcase_add_loop_test(tc, fail_page_table, 0, 2);
	tcase_add_test(tc, memory_comes_back);
	tcase_add_test(tc, sleeping);
	tcase_add_test(tc, check_sees_faults);
	tcase_add_test(tc, find);
	tcase_add_test(tc, threads);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
