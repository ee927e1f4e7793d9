/*
 * kmalloc: random operations against a model, and each promise of kmalloc.h
 * by itself.  As in test_kmem_cache.c, every byte of every piece is written
 * and checked.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vm/kmalloc_impl.h>
#include <vm/vm_fail.h>

#include "heap_stats.h"
#include "host.h"
#include "ledger.h"
#include "must.h"

#define FRAMES		16384u		/* 64 MB */

static KMALLOC_DEFINE(M_ONE, "one", "the tests' first type");
static KMALLOC_DEFINE(M_TWO, "two", "the tests' second type");
static KMALLOC_DEFINE(M_UNUSED, "unused", "never allocated from");

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
	const char *bad = kmalloc_check();

	if (bad != NULL)
		ck_abort_msg("kmalloc_check: %s", bad);
	must(vm_map_check(kernel_map) == NULL);
	must(host_locks()->hl_held == 0);
}

static void
done(void)
{
	const struct kmalloc_type *kt = NULL;
	const char *bad;

	check_all();
	while ((kt = kmalloc_next(kt)) != NULL)
		must(stats_of(kt).ks_inuse == 0 && stats_of(kt).ks_bytes == 0);
	kmem_cache_reap_all();
	bad = ledger_since(&before);
	if (bad != NULL)
		ck_abort_msg("at the end: %s", bad);
}

static uint8_t
byte_of(uint32_t mark, size_t i)
{
	return (uint8_t)(mark + i * 5 + (i >> 8));
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

static bool
is_zero(const void *obj, size_t size)
{
	const uint8_t *p = obj;

	while (size > 0 && p[size - 1] == 0)
		size--;
	return size == 0;
}

/*
 * What an object of a class keeps of memory: its part of the slab's pages,
 * and of the page of headers where the header is not on the slab.
 */
static double
held_of(const struct kmem_cache *kc)
{
	double slab = (double)kc->kc_slab_size;
	struct kmem_cache *h = NULL;

	while ((h = kmem_cache_next(h)) != NULL)
		if ((kc->kc_flags & KC_OFFSLAB) &&
		    strcmp(h->kc_name, "kmem headers") == 0)
			slab += (double)h->kc_slab_size / h->kc_per_slab;
	return slab / kc->kc_per_slab;
}

/* Unused bytes / bytes held: 5 % on average, 12.5 % at worst above 64. */
START_TEST(waste)
{
	struct kmem_cache *kc;
	unsigned i = 0, size;
	double held, w, sum = 0, worst = 0, used_all = 0, held_all = 0;

	boot();
	for (size = 1; size <= 4096; size++) {
		while (kmalloc_class(i)->kc_size < size)
			i++;
		kc = kmalloc_class(i);
		must(kmalloc_held(size) == kc->kc_size);
		must(kc->kc_stride == kc->kc_size);
		held = held_of(kc);
		w = (held - size) / held;
		sum += w;
		used_all += size;
		held_all += held;
		if (size > 64 && w > worst)
			worst = w;
	}
	must(kmalloc_class(i + 1) == NULL);
	printf("kmalloc: waste %.2f %% on average over the sizes, %.2f %% of "
	    "the bytes, at worst %.2f %% above 64, %u classes\n", sum / 40.96,
	    100 * (held_all - used_all) / held_all, 100 * worst, i + 1);
	must(sum / 4096 <= 0.05);
	must((held_all - used_all) / held_all <= 0.05);
	must(worst <= 0.125);
	done();
}
END_TEST

/* Every size there is a class for, and the first ones above: aligned, in the
 * heap window, as large as promised. */
START_TEST(every_size)
{
	static void *p[9000];
	unsigned size;
	vaddr_t va;

	boot();
	for (size = 1; size < nitems(p); size++) {
		p[size] = kmalloc(size, M_ONE, KM_NOSLEEP);
		must(p[size] != NULL);
		va = (vaddr_t)p[size];
		must(va % 8 == 0 && (size % 16 != 0 || va % 16 == 0));
		must(size < PAGE_SIZE || va % PAGE_SIZE == 0);
		must(va >= VM_HEAP_MIN && va < VM_HEAP_MAX);
		must(kmalloc_usable(p[size]) == kmalloc_held(size));
		must(kmalloc_held(size) >= size);
		fill(p[size], size, size);
	}
	must(stats_of(M_ONE).ks_inuse == nitems(p) - 1);
	must(stats_of(M_ONE).ks_sizes == 0x80001FF8);
	check_all();
	for (size = 1; size < nitems(p); size++) {
		must(holds(p[size], size, size));
		kfree(p[size], M_ONE);
	}
	must(stats_of(M_ONE).ks_high > 4000 * nitems(p));
	done();
}
END_TEST

/* What cannot be is NULL, and counted where it is a request. */
START_TEST(absurd)
{
	static const size_t too_much[] = { SIZE_MAX, SIZE_MAX - 1,
	    SIZE_MAX - PAGE_SIZE, SIZE_MAX / 2, (size_t)1 << 30,
	    VM_HEAP_MAX - VM_HEAP_MIN + 1, VM_HEAP_MAX - VM_HEAP_MIN };
	unsigned i;
	void *p;

	boot();
	must(kmalloc(0, M_ONE, 0) == NULL);
	must(kcalloc(0, 10, M_ONE, 0) == NULL);
	must(kcalloc(10, 0, M_ONE, 0) == NULL);
	must(kcalloc(SIZE_MAX / 2, 3, M_ONE, 0) == NULL);
	must(kcalloc(SIZE_MAX, SIZE_MAX, M_ONE, 0) == NULL);
	must(kcalloc(((size_t)1 << sizeof(size_t) * 4) + 1,
	    (size_t)1 << sizeof(size_t) * 4, M_ONE, 0) == NULL);
	must(stats_of(M_ONE).ks_fails == 0);
	p = kmalloc(100, M_ONE, 0);
	fill(p, 100, 1);
	for (i = 0; i < nitems(too_much); i++) {
		must(kmalloc(too_much[i], M_ONE, 0) == NULL);
		must(krealloc(p, too_much[i], M_ONE, 0) == NULL);
		must(holds(p, 100, 1));
		must(stats_of(M_ONE).ks_fails == 2 * i + 2);
	}
	kfree(p, M_ONE);
	kfree(NULL, M_ONE);
	must(kmalloc_usable(NULL) == 0);
	done();
}
END_TEST

START_TEST(zeroed)
{
	static const size_t sizes[] = { 1, 8, 100, 1000, 4096, 5000, 70000 };
	unsigned i, round;
	char *p;

	boot();
	for (round = 0; round < 2; round++)
		for (i = 0; i < nitems(sizes); i++) {
			p = kmalloc(sizes[i], M_ONE, KM_ZERO);
			must(is_zero(p, kmalloc_usable(p)));
			memset(p, 0xff, kmalloc_usable(p));
			kfree(p, M_ONE);
			p = kcalloc(sizes[i], 3, M_ONE, 0);
			must(is_zero(p, 3 * sizes[i]));
			memset(p, 0xff, 3 * sizes[i]);
			kfree(p, M_ONE);
		}
	done();
}
END_TEST

START_TEST(realloc_keeps)
{
	static const size_t sizes[] = { 1, 7, 16, 64, 65, 72, 100, 500, 1000,
	    2032, 4095, 4096, 4097, 8192, 20000, 100000 };
	unsigned i, j;
	size_t less, was;
	char *p, *q;

	boot();
	for (i = 0; i < nitems(sizes); i++)
		for (j = 0; j < nitems(sizes); j++) {
			less = sizes[i] < sizes[j] ? sizes[i] : sizes[j];
			p = krealloc(NULL, sizes[i], M_ONE, 0);
			fill(p, sizes[i], i);
			was = kmalloc_usable(p);
			q = krealloc(p, sizes[j], M_ONE, KM_ZERO);
			must(q != NULL && holds(q, less, i));
			must(sizes[j] % 16 != 0 || (uintptr_t)q % 16 == 0);
			must(sizes[j] <= was || is_zero(q + was,
			    sizes[j] - was));
			/* What is in place is not twice what is needed. */
			must(kmalloc_usable(q) < 2 * kmalloc_held(sizes[j]));
			must(stats_of(M_ONE).ks_inuse == 1);
			must(stats_of(M_ONE).ks_bytes == kmalloc_usable(q));
			must(krealloc(q, kmalloc_usable(q), M_ONE, 0) == q);
			must(krealloc(q, 0, M_ONE, 0) == NULL);
			must(stats_of(M_ONE).ks_inuse == 0);
		}
	done();
}
END_TEST

/* Where a smaller piece cannot be had, the larger one stays. */
START_TEST(realloc_starved)
{
	char *p, *q;

	boot();
	p = kmalloc(4000, M_ONE, 0);
	fill(p, 4000, 9);
	vm_fail_set(VM_FAIL_PAGE, 1, true);
	q = krealloc(p, 100, M_ONE, KM_NOSLEEP);
	must(q == p && holds(q, 4000, 9));
	must(krealloc(p, 20000, M_ONE, KM_NOSLEEP) == NULL);
	must(holds(q, 4000, 9));
	vm_fail_set(VM_FAIL_PAGE, 0, false);
	kfree(q, M_ONE);
	done();
}
END_TEST

/*
 * Random operations against the model.
 */
#define NSLOTS		4000u
#define NOPS		60000u

static struct slot {
	char		*s_p;
	size_t		 s_size;
	uint32_t	 s_mark;
	struct kmalloc_type *s_type;
} slots[NSLOTS];

static size_t
random_size(uint64_t *rng)
{
	unsigned r = k_random(rng) % 100;

	if (r < 60)
		return 1 + k_random(rng) % 256;
	if (r < 90)
		return 1 + k_random(rng) % 4096;
	if (r < 99)
		return 1 + k_random(rng) % 20000;
	return 1 + k_random(rng) % 200000;
}

static void
slot_alloc(struct slot *s, uint64_t *rng)
{
	bool zero = k_random(rng) % 4 == 0;

	s->s_size = random_size(rng);
	s->s_type = k_random(rng) % 3 ? M_ONE : M_TWO;
	s->s_p = kmalloc(s->s_size, s->s_type,
	    KM_NOSLEEP | (zero ? KM_ZERO : 0));
	if (s->s_p == NULL)
		return;
	if (zero)
		must(is_zero(s->s_p, s->s_size));
	s->s_mark = k_random(rng);
	fill(s->s_p, s->s_size, s->s_mark);
}

static void
slot_resize(struct slot *s, uint64_t *rng)
{
	size_t size = random_size(rng);
	char *p = krealloc(s->s_p, size, s->s_type, KM_NOSLEEP);

	if (p == NULL)
		return;
	must(holds(p, size < s->s_size ? size : s->s_size, s->s_mark));
	s->s_p = p;
	s->s_size = size;
	s->s_mark = k_random(rng);
	fill(s->s_p, s->s_size, s->s_mark);
}

static void
slot_free(struct slot *s)
{
	must(holds(s->s_p, s->s_size, s->s_mark));
	must(kmalloc_usable(s->s_p) >= s->s_size);
	kfree(s->s_p, s->s_type);
	s->s_p = NULL;
}

/* The figures of a type are the model's. */
static void
check_figures(const struct kmalloc_type *kt)
{
	unsigned long n = 0;
	size_t bytes = 0;
	unsigned i;

	for (i = 0; i < NSLOTS; i++)
		if (slots[i].s_p != NULL && slots[i].s_type == kt) {
			n++;
			bytes += kmalloc_usable(slots[i].s_p);
		}
	must(stats_of(kt).ks_inuse == n && stats_of(kt).ks_bytes == bytes);
}

START_TEST(random_operations)
{
	uint64_t rng = (uint64_t)_i + 1;
	unsigned op, tide;
	struct slot *s;

	printf("kmalloc: seed %d\n", _i + 1);
	kmem_debug_set(_i % 3 == 2 ? 0 : KMD_CHECK);
	/* Odd seeds run out of memory now and then. */
	host_boot(_i % 2 ? 1024 : FRAMES);
	ledger_take(&before);
	for (op = 0; op < NOPS; op++) {
		s = &slots[k_random(&rng) % NSLOTS];
		tide = op / 10000 % 2 ? 70 : 30;
		if (s->s_p == NULL && k_random(&rng) % 100 >= tide)
			slot_alloc(s, &rng);
		else if (s->s_p != NULL && k_random(&rng) % 5 == 0)
			slot_resize(s, &rng);
		else if (s->s_p != NULL && k_random(&rng) % 100 < tide)
			slot_free(s);
		if (op % 500 == 0) {
			check_figures(M_ONE);
			check_figures(M_TWO);
			check_all();
		}
		if (op % 7000 == 0)
			kmem_cache_reap_all();
	}
	for (s = slots; s < slots + NSLOTS; s++)
		if (s->s_p != NULL)
			slot_free(s);
	if (_i % 2)
		must(stats_of(M_ONE).ks_fails > 0);
	done();
}
END_TEST

/*
 * Mistakes: named panics, and all is as before.
 */
struct mistake {
	void		*m_ptr;
	struct kmalloc_type *m_type;
};

static void
commit_free(void *arg)
{
	struct mistake *m = arg;

	kfree(m->m_ptr, m->m_type);
}

static void
commit_realloc(void *arg)
{
	struct mistake *m = arg;

	krealloc(m->m_ptr, 10, m->m_type, 0);
}

static void
commit_usable(void *arg)
{
	struct mistake *m = arg;

	kmalloc_usable(m->m_ptr);
}

static void
expect_of(void (*fn)(void *), const char *func, void *ptr,
    struct kmalloc_type *kt, const char *what)
{
	struct mistake m = { ptr, kt };
	struct kmalloc_type a = *kt;
	struct ledger l;
	char head[64], type[64];
	const char *said;
	unsigned nlocks;

	ledger_take(&l);
	said = host_panic_of(fn, &m, &nlocks);
	if (said == NULL)
		ck_abort_msg("no panic where \"%s\" was due", what);
	snprintf(head, sizeof(head), "%s(%p, ", func, ptr);
	snprintf(type, sizeof(type), "type %s): ",
	    fn == commit_usable ? "any" : kt->kt_name);
	if (strstr(said, head) != said || strstr(said, type) == NULL ||
	    strstr(said, what) == NULL)
		ck_abort_msg("\"%s\" is not \"%s%s…%s\"", said, head, type,
		    what);
	must(nlocks == 0);
	must(memcmp(&a, kt, sizeof(a)) == 0);
	must(ledger_since(&l) == NULL);
	check_all();
}

static void
expect(void *ptr, struct kmalloc_type *kt, const char *what)
{
	expect_of(commit_free, "kfree", ptr, kt, what);
	expect_of(commit_realloc, "krealloc", ptr, kt, what);
}

static void
expect_any(void *ptr, struct kmalloc_type *kt, const char *what)
{
	expect(ptr, kt, what);
	expect_of(commit_usable, "kmalloc_usable", ptr, kt, what);
}

START_TEST(mistakes)
{
	const struct kmem_cache_args ca = { .ca_name = "not the heap's",
	    .ca_size = 100, .ca_flags = KM_HEAP };
	static const size_t sizes[] = { 8, 60, 72, 500, 2000, 4096 };
	struct kmem_cache *kc;
	vaddr_t pages;
	char *p, *q, *obj;
	unsigned i;
	int on_stack;

	boot();
	kfree(kmalloc(1, M_ONE, 0), M_ONE);
	kfree(kmalloc(1, M_TWO, 0), M_TWO);
	for (i = 0; i < nitems(sizes); i++) {
		p = kmalloc(sizes[i], M_ONE, 0);
		q = kmalloc(sizes[i], M_ONE, 0);
		fill(q, sizes[i], i);
		expect(p, M_TWO, " of type one");
		expect(p, M_TWO, ": an object of kmalloc-");
		expect(p, M_UNUSED, " of type one");
		expect_any(p + 4, M_ONE, "4 bytes into");
		kfree(p, M_ONE);
		expect_any(p, M_ONE, "a free object of kmalloc-");
		expect_any(p + 1, M_ONE, "a free object of kmalloc-");
		must(holds(q, sizes[i], i));
		kfree(q, M_ONE);
		kmem_cache_reap_all();
		expect_any(p, M_ONE, "no memory of the slabs'");
	}
	p = kmalloc(5 * PAGE_SIZE, M_ONE, 0);
	fill(p, 5 * PAGE_SIZE, 3);
	expect(p, M_TWO, "0 bytes into");
	expect(p, M_TWO, "5 pages of type one");
	expect_any(p + 8, M_ONE, "8 bytes into");
	expect_any(p + PAGE_SIZE, M_ONE, "4096 bytes into");
	expect_any(p + 5 * PAGE_SIZE - 1, M_ONE, "20479 bytes into");
	must(holds(p, 5 * PAGE_SIZE, 3));
	kfree(p, M_ONE);
	expect_any(p, M_ONE, "no memory of the slabs'");

	kc = kmem_cache_create(&ca);
	obj = kmem_cache_alloc(kc, 0);
	pages = kmem_alloc(kernel_map, PAGE_SIZE, KM_HEAP);
	expect_any(obj, M_ONE, "an object of not the heap's");
	expect_any((void *)pages, M_ONE, "in pages that are no slab");
	expect_any(&on_stack, M_ONE, "no memory of the slabs'");
	expect_any((void *)8, M_ONE, "no memory of the slabs'");
	expect_any((void *)UINTPTR_MAX, M_ONE, "no memory of the slabs'");
	expect_any((void *)VM_HEAP_MIN, M_ONE, "");
	kmem_free(kernel_map, pages, PAGE_SIZE);
	kmem_cache_free(kc, obj);
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/* An object of the heap is not for kmem_cache_free either. */
static void
commit_cache_free(void *arg)
{
	struct mistake *m = arg;
	struct kmem_cache *kc;
	void *obj;

	must(kmem_cache_find(m->m_ptr, &kc, &obj));
	kmem_cache_free(kc, obj);
}

START_TEST(wrong_door)
{
	struct mistake m = { NULL, M_ONE };
	const char *said;

	boot();
	m.m_ptr = kmalloc(100, M_ONE, 0);
	said = host_panic_of(commit_cache_free, &m, NULL);
	must(said != NULL && strstr(said, "kmem_cache_free(kmalloc-") == said);
	kfree(m.m_ptr, M_ONE);
	done();
}
END_TEST

/*
 * An interrupt gets what there is, and may free anything; pages that it
 * frees go back when somebody else comes by.
 */
START_TEST(interrupts)
{
	void *big[3], *small[10], *p;
	struct ledger l;
	struct mistake m;
	const char *said;
	unsigned i;

	boot();
	for (i = 0; i < 3; i++)
		big[i] = kmalloc(3 * PAGE_SIZE, M_ONE, 0);
	for (i = 0; i < 10; i++)
		small[i] = kmalloc(100, M_ONE, 0);
	ledger_take(&l);
	host_set_intr(true);
	must(kmalloc(3 * PAGE_SIZE, M_ONE, KM_NOSLEEP) == NULL);
	must(kmalloc(2000, M_ONE, KM_NOSLEEP) == NULL);
	p = kmalloc(100, M_ONE, KM_NOSLEEP);
	must(p != NULL);
	kfree(p, M_ONE);
	for (i = 0; i < 3; i++)
		kfree(big[i], M_ONE);
	for (i = 0; i < 10; i++)
		kfree(small[i], M_ONE);
	must(ledger_since(&l) == NULL);
	must(stats_of(M_ONE).ks_inuse == 0);
	host_set_intr(false);
	check_all();
	/* Freed is freed, although the pages are still there. */
	m.m_ptr = big[1];
	m.m_type = M_ONE;
	said = host_panic_of(commit_free, &m, NULL);
	must(said != NULL && strstr(said, "in pages that are no slab"));
	must(kmem_cache_reap_all() >= 9);
	done();
}
END_TEST

START_TEST(interrupt_then_growth)
{
	void *big, *p;
	struct ledger l;

	boot();
	p = kmalloc(5000, M_ONE, 0);
	ledger_take(&l);
	big = kmalloc(50 * PAGE_SIZE, M_ONE, 0);
	host_set_intr(true);
	kfree(big, M_ONE);
	host_set_intr(false);
	kfree(p, M_ONE);
	p = kmalloc(5000, M_ONE, 0);
	must(ledger_since(&l) == NULL);
	kfree(p, M_ONE);
	done();
}
END_TEST

/*
 * Every allocation below an operation fails in turn.
 */
static unsigned
scene(void)
{
	static const size_t sizes[] = { 24, 100, 700, 3000, 4096, 9000, 40000 };
	char *p[2 * nitems(sizes)], *q;
	unsigned i, fails = 0;

	for (i = 0; i < nitems(p); i++) {
		p[i] = kmalloc(sizes[i / 2], M_ONE, i % 2 ? KM_NOSLEEP : 0);
		fails += p[i] == NULL;
		if (p[i] != NULL)
			fill(p[i], sizes[i / 2], i);
		check_all();
	}
	for (i = 0; i < nitems(p); i++) {
		if (p[i] == NULL)
			continue;
		q = krealloc(p[i], 2 * sizes[i / 2], M_ONE, 0);
		fails += q == NULL;
		p[i] = q != NULL ? q : p[i];
		must(holds(p[i], sizes[i / 2], i));
	}
	check_all();
	for (i = 0; i < nitems(p); i++)
		kfree(p[i], M_ONE);
	return fails;
}

START_TEST(fail_the_nth)
{
	const enum vm_fail_site site = (enum vm_fail_site)(_i / 2);
	const bool forever = _i % 2;
	unsigned long n, asked;
	unsigned failed;

	boot();
	for (n = 1;; n++) {
		vm_fail_set(site, n, forever);
		failed = scene();
		asked = vm_fail_count(site);
		vm_fail_set(site, 0, false);
		done();
		if (asked < n)
			break;
		must(!forever || failed != 0);
	}
	must(failed == 0);
	if (site != VM_FAIL_PTP)
		must(n > 10);
}
END_TEST

/* More types than a byte can tell apart: counted right all the same. */
START_TEST(many_types)
{
	static struct kmalloc_type kt[400];
	static void *p[nitems(kt)];
	const struct kmalloc_type *t = NULL;
	unsigned i, n = 0;

	boot();
	for (i = 0; i < nitems(kt); i++) {
		kt[i].kt_name = "many";
		p[i] = kmalloc(i + 1, &kt[i], 0);
		must(stats_of(&kt[i]).ks_inuse == 1);
	}
	check_all();
	while ((t = kmalloc_next(t)) != NULL)
		must(t == &kt[n++]);
	must(n == nitems(kt));
	for (i = 0; i < nitems(kt); i++)
		kfree(p[i], &kt[i]);
	done();
}
END_TEST

#define BROKEN(stmt, undo) do {						\
	stmt;								\
	must(kmalloc_check() != NULL);					\
	undo;								\
	must(kmalloc_check() == NULL);					\
} while (0)

START_TEST(check_sees_faults)
{
	struct vm_page *pg;
	struct kmem_slab *sl;
	struct kmem_cache *kc;
	char *p, *q;

	boot();
	p = kmalloc(100, M_ONE, 0);
	q = kmalloc(9000, M_ONE, 0);
	kfree(kmalloc(10, M_TWO, 0), M_TWO);
	sl = kmem_slab_find(p);
	kc = sl->sl_cache;
	pg = kmem_page(q);
	must(kmalloc_check() == NULL);
	BROKEN(M_ONE->kt_share[0].ks_count[3].sc_frees++,
	    M_ONE->kt_share[0].ks_count[3].sc_frees--);
	BROKEN(M_ONE->kt_share[1].ks_pages -= 8,
	    M_ONE->kt_share[1].ks_pages += 8);
	BROKEN(M_TWO->kt_share[0].ks_pages += 8,
	    M_TWO->kt_share[0].ks_pages -= 8);
	BROKEN(kc->kc_inuse++, kc->kc_inuse--);
	BROKEN(kmem_slab_tags(kc, sl)[0]++, kmem_slab_tags(kc, sl)[0]--);
	BROKEN(pg->pg_slab = M_TWO, pg->pg_slab = M_ONE);
	BROKEN(pg->pg_npages--, pg->pg_npages++);
	BROKEN(pg->pg_flags ^= VM_PAGE_HEAP, pg->pg_flags ^= VM_PAGE_HEAP);
	kfree(p, M_ONE);
	kfree(q, M_ONE);
	done();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmalloc");
	TCase *tc = tcase_create("kmalloc");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, waste);
	tcase_add_test(tc, every_size);
	tcase_add_test(tc, absurd);
	tcase_add_test(tc, zeroed);
	tcase_add_test(tc, realloc_keeps);
	tcase_add_test(tc, realloc_starved);
	tcase_add_loop_test(tc, random_operations, 0, 6);
	tcase_add_test(tc, mistakes);
	tcase_add_test(tc, wrong_door);
	tcase_add_test(tc, interrupts);
	tcase_add_test(tc, interrupt_then_growth);
	tcase_add_loop_test(tc, fail_the_nth, 0, 2 * VM_FAIL_NSITES);
	tcase_add_test(tc, many_types);
	tcase_add_test(tc, check_sees_faults);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
