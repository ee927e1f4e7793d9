/*
 * Corners of the watching for mistakes, which none of the mistakes that
 * test_kmem_debug.c makes comes to: who is told too late, a call chain that
 * is too short, a map without room, objects of caches that are not watched,
 * regions that the scan for leaks has to keep off, and what it costs.
 */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libkern/errno.h>
#include <vm/kmalloc_impl.h>
#include <vm/kmem_debug_impl.h>
#include <vm/kmem_range.h>

#include "slab_test.h"

#define FRAMES		8192u		/* 32 MB */

static KMALLOC_DEFINE(M_FIRST, "first", "the tests' first type");
static KMALLOC_DEFINE(M_SECOND, "second", "the tests' second type");

/* A machine whose caches watch for what these options say. */
static void
boot(const char *option, const char *more)
{
	kmem_debug_set(0);
	must(kmem_debug_option(option));
	if (more != NULL)
		must(kmem_debug_option(more));
	host_boot(FRAMES);
	slab_mark();
}

static void *
get(struct kmem_cache *kc)
{
	void *obj = kmem_cache_alloc(kc, KM_NOSLEEP);

	must(obj != NULL);
	memset(obj, 0, kc->kc_size);
	return obj;
}

static void
expect_panic(void (*fn)(void *), void *arg, const char *want)
{
	unsigned nlocks;
	const char *said = host_panic_of(fn, arg, &nlocks);

	if (said == NULL || strcmp(said, want) != 0)
		ck_abort_msg("\"%s\" is not \"%s\"", said == NULL ?
		    "no panic" : said, want);
	must(nlocks == 0);
}

static const char *
say(const char *fmt, ...) __attribute__((__format__(__printf__, 1, 2)));

static const char *
say(const char *fmt, ...)
{
	static char line[300];
	va_list ap;

	va_start(ap, fmt);
	k_vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	return line;
}

/*
 * Leave this behind where the next function's variables will lie: what it
 * takes from there without having written it is known then.
 */
static bool __attribute__((__noinline__))
litter(vaddr_t with)
{
	volatile vaddr_t left[512];
	unsigned i;

	for (i = 0; i < nitems(left); i++)
		left[i] = with;
	return left[7] == with;
}

static void
do_alloc(void *arg)
{
	must(litter(0) && kmem_cache_alloc(arg, KM_NOSLEEP) != NULL);
}

/*
 * Options.
 */

/* `_` stands for a blank and for nothing else, and nothing else for one. */
START_TEST(blanks)
{
	kmem_debug_set(0);
	must(kmem_debug_option("check:a_b"));
	must(kmem_debug_option("poison:c-d"));
	must(kmem_debug_modes("a b") == KMD_CHECK);
	must(kmem_debug_modes("a_b") == KMD_CHECK);
	must(kmem_debug_modes("a-b") == 0 && kmem_debug_modes("axb") == 0);
	must(kmem_debug_modes("c-d") == (KMD_CHECK | KMD_POISON));
	must(kmem_debug_modes("c d") == 0 && kmem_debug_modes("c_d") == 0);
}
END_TEST

/*
 * What is said of who comes back: a word for each kind of mistake.
 */
static enum kmem_verdict
back(struct kmem_cache *kc, void *obj, uint8_t tag)
{
	void *p = obj;
	enum kmem_verdict verdict = kmem_debug_in(kc, &p, tag,
	    __builtin_return_address(0));

	must(verdict == KMEM_OBJECT || p == obj);
	return verdict;
}

START_TEST(verdicts)
{
	static const char *const mode[] = { "check", "redzone", "audit",
	    "all" };
	struct kmem_cache *kc, *other;
	struct kmem_slab *sl;
	char *p, *q;

	boot(mode[_i], NULL);
	kc = slab_make("verdicts", 64, 0);
	other = slab_make("other", 64, 0);
	p = get(kc);
	q = get(other);
	sl = kmem_slab_find(p);
	must(back(kc, p + 8, KMEM_TAG_OUT) == KMEM_NO_OBJECT);
	must(back(kc, &kc, KMEM_TAG_OUT) == KMEM_NO_OBJECT);
	must(back(kc, q, KMEM_TAG_OUT) == KMEM_NO_OBJECT);
	must(back(kc, sl, KMEM_TAG_OUT) == KMEM_NO_OBJECT);
	must(back(kc, p, KMEM_TAG_OUT + 1) == KMEM_OTHER_TAG);
	/* A scan for leaks that did not end left its mark. */
	kmem_slab_tags(kc, sl)[((uintptr_t)p - (uintptr_t)sl->sl_first) /
	    kc->kc_stride] |= KMEM_TAG_MARK;
	must(back(kc, p, KMEM_TAG_OUT + 1) == KMEM_OTHER_TAG);
	must(back(kc, p, KMEM_TAG_OUT) == KMEM_OBJECT);
	must(back(kc, p, KMEM_TAG_OUT) == KMEM_FREE_OBJECT);
	must(back(kc, p, KMEM_TAG_OUT + 1) == KMEM_FREE_OBJECT);
	kmem_cache_put(kc, p);
	kmem_cache_free(other, q);
	must(kmem_cache_destroy(kc) == 0 && kmem_cache_destroy(other) == 0);
	slab_done();
}
END_TEST

/* Of samples, and of those alone on their pages. */
START_TEST(verdicts_alone)
{
	static const char *const mode[] = { "sample/1", "guard" };
	struct kmem_cache *kc, *other;
	void *p, *q;

	boot(mode[_i], "off:other");
	kc = slab_make("verdicts", 64, 0);
	other = slab_make("other", 64, 0);
	p = get(kc);
	q = get(other);
	must(kmem_guard_find(p) != NULL && kmem_guard_find(q) == NULL);
	must(back(kc, &kc, KMEM_TAG_OUT) == KMEM_NO_OBJECT);
	must(back(kc, NULL, KMEM_TAG_OUT) == KMEM_NO_OBJECT);
	must(back(kc, q, KMEM_TAG_OUT) == KMEM_NO_OBJECT);
	must(back(kc, (char *)p + 8, KMEM_TAG_OUT) == KMEM_NO_OBJECT);
	must(back(kc, p, KMEM_TAG_OUT + 1) == KMEM_OTHER_TAG);
	kmem_cache_free(other, q);
	kmem_cache_free(kc, p);
	must(kmem_cache_destroy(kc) == 0 && kmem_cache_destroy(other) == 0);
	slab_done();
}
END_TEST

/*
 * A round of a magazine that is another cache's free object, or lies in a
 * slab and in none of its objects.
 */
START_TEST(rounds)
{
	struct kmem_cache *kc, *other;
	void **round = NULL, *p, *bad[2];
	unsigned i;

	boot("check", NULL);
	kc = slab_make("rounds", 64, 0);
	other = slab_make("other", 64, 0);
	p = get(kc);
	bad[0] = get(other);
	kmem_cache_free(other, bad[0]);
	bad[1] = kmem_slab_find(p);
	must(!(kc->kc_flags & KC_OFFSLAB));
	kmem_cache_free(kc, p);
	for (i = 0; i < VM_NCPU; i++)
		if (kmem_cpu_n(&kc->kc_cpu[i]) > 0)
			round = &kc->kc_cpu[i].cc_top[-1];
	must(round != NULL && *round == p);
	for (i = 0; i < nitems(bad); i++) {
		*round = bad[i];
		expect_panic(do_alloc, kc, say("kmem_cache_alloc(rounds): %p "
		    "in a magazine is no free object", bad[i]));
		kmem_cache_put(kc, p);
	}
	must(kmem_cache_destroy(kc) == 0 && kmem_cache_destroy(other) == 0);
	slab_done();
}
END_TEST

/* Where nobody keeps records none are told, not even that there are none. */
START_TEST(no_records)
{
	static const char *const mode[] = { "poison", "redzone,poison" };
	struct kmem_cache *kc;
	uint64_t logs;
	char *p;

	boot(mode[_i], "audit:audit");
	kc = slab_make("plain", 40, 0);
	p = get(kc);
	kmem_cache_free(kc, p);
	p[3] = 'x';
	logs = host_log_count();
	expect_panic(do_alloc, kc, say("kmem: plain: object %p (40 bytes): 3 "
	    "bytes into it, while it was free: 0x78, not 0x6b; 1 changed",
	    (void *)p));
	must(host_log_count() == logs + 1);
	must(strcmp(host_log_last(), say("kmem: %p, an object of plain (40 "
	    "bytes), was damaged 3 bytes into it, while it was free",
	    (void *)p)) == 0);
	must(kmem_cache_destroy(kc) == 0);
	/* Nor are those of what is no object those of the last one. */
	kc = slab_make("audit", 40, 0);
	p = get(kc);
	must(kmem_debug_records(p) != NULL);
	must(kmem_debug_records(&kc) == NULL);
	must(kmem_debug_records(NULL) == NULL);
	kmem_cache_free(kc, p);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* And a new slab's are those of nobody, whatever its pages held before. */
START_TEST(records_begin)
{
	struct kmem_cache *kc;
	vaddr_t va;
	void *p;

	boot("off", "audit:audit");
	kc = slab_make("audit", 40, 0);
	va = kmem_alloc(kernel_map, ptoa(64), KM_NOSLEEP);
	must(va != 0);
	memset((void *)va, 0x5c, ptoa(64));
	kmem_free(kernel_map, va, ptoa(64));
	p = get(kc);
	must(kmem_debug_tell(p));
	must(strcmp(host_log_last(), "  never freed") == 0);
	kmem_cache_free(kc, p);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * Without poison an object comes back as it was freed: a constructor's work
 * is kept, and so is what the client left there.
 */
static unsigned nbuilt;

static int
build(void *obj, void *arg, int flags)
{
	memset(obj, 'b', 64);
	nbuilt++;
	return 0;
}

START_TEST(constructed)
{
	static const char *const mode[] = { "check", "redzone", "audit",
	    "redzone,audit" };
	const struct kmem_cache_args ca = { .ca_name = "built",
	    .ca_size = 64, .ca_ctor = build };
	struct kmem_cache *kc;
	char *obj[10];
	unsigned i, j;

	boot(mode[_i], NULL);
	kc = kmem_cache_create(&ca);
	must(kc != NULL);
	for (i = 0; i < 20; i++) {
		for (j = 0; j < nitems(obj); j++) {
			obj[j] = kmem_cache_alloc(kc, KM_NOSLEEP);
			must(obj[j] != NULL);
			must(obj[j][0] == 'b' && obj[j][63] == 'b');
			must(obj[j][31] == 'b' || obj[j][31] == 'c');
			obj[j][31] = 'c';
		}
		for (j = 0; j < nitems(obj); j++)
			kmem_cache_free(kc, obj[j]);
	}
	must(nbuilt == kc->kc_nslabs * kc->kc_per_slab);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * Bytes: each one of them counts, wherever they begin, and no other does.
 */
START_TEST(bytes)
{
	static uint8_t mem[96];
	struct kmem_damage d;
	size_t start, n, i;

	for (start = 0; start < 2 * sizeof(long); start++)
		for (n = 0; n < 70; n++) {
			memset(mem, 1, sizeof(mem));
			memset(mem + start, KMD_BYTE_ZONE, n);
			must(kmem_bytes_sound(mem + start, n, KMD_BYTE_ZONE,
			    &d));
			for (i = 0; i < n; i++) {
				mem[start + i] ^= 0x80;
				must(!kmem_bytes_sound(mem + start, n,
				    KMD_BYTE_ZONE, &d));
				must(d.d_distance == i && d.d_count == 1);
				must(d.d_found == (KMD_BYTE_ZONE ^ 0x80));
				mem[start + i] ^= 0x80;
			}
		}
}
END_TEST

/*
 * Records.
 */

/* A word that is on no stack but as an instruction's operand. */
#define NOBODY	((void *)(uintptr_t)0x5ee4b0d9u)

/* A call chain that the caller is not part of is told from its begin. */
START_TEST(caller_unknown)
{
	struct kmem_record r;
	unsigned i;

	memset(&r, 0, sizeof(r));
	kmem_record_take(&r, NOBODY);
	must(kmem_record_sound(&r));
	must(r.r_pc[0] != 0 && r.r_pc[1] != 0);
	for (i = 0; i < KMD_FRAMES; i++)
		must(r.r_pc[i] != (vaddr_t)NOBODY);
}
END_TEST

static void *
take_short(void *arg)
{
	/* At the first call the linker leaves things there, too. */
	kmem_record_take(arg, __builtin_return_address(0));
	must(litter(0x11111111));
	kmem_record_take(arg, __builtin_return_address(0));
	return NULL;
}

/* A thread's first function: behind it there are one or two, or none. */
START_TEST(chain_is_short)
{
	struct kmem_record r;
	unsigned i = 0, n;
	pthread_t t;

	must(pthread_create(&t, NULL, take_short, &r) == 0);
	must(pthread_join(t, NULL) == 0);
	must(kmem_record_sound(&r) && r.r_pc[0] != 0);
	while (i < KMD_FRAMES && r.r_pc[i] != 0)
		i++;
	must(i > 0 && i < KMD_FRAMES);
	for (n = i; n < KMD_FRAMES; n++)
		must(r.r_pc[n] == 0);
	host_advance(7);
	kmem_record_log(&r, "met");
	must(strcmp(host_log_line(i), "  met at tick 0, 7 ticks ago, by") ==
	    0);
	must(strcmp(host_log_last(), say("    %#lx %#lx", r.r_pc[i - 1],
	    r.r_pc[i - 1])) == 0);
}
END_TEST

/* Through a pointer, so that it is no loop. */
static int deeper(struct kmem_record *, unsigned);
static int (*volatile again)(struct kmem_record *, unsigned) = deeper;

static int
deeper(struct kmem_record *r, unsigned n)
{
	if (n > 0)
		return again(r, n - 1) + 1;
	kmem_record_take(r, NOBODY);
	return 1;
}

/* And one that fills the record is told as far as that goes. */
START_TEST(chain_is_long)
{
	struct kmem_record r;
	uint64_t logs;

	host_advance(1000);
	must(again(&r, 2 * KMD_FRAMES) == 2 * KMD_FRAMES + 1);
	must(r.r_pc[KMD_FRAMES - 1] != 0 && r.r_tick == 1000);
	logs = host_log_count();
	kmem_record_log(&r, "met");
	must(host_log_count() == logs + 1 + KMD_FRAMES);
}
END_TEST

/*
 * Objects alone on their pages.
 */

/* Of two who free, one comes when the pages are gone already. */
START_TEST(too_late)
{
	struct kmem_cache *kc;
	struct kmem_guard *g;
	void *p, *q;

	boot("guard", NULL);
	kc = slab_make("alone", 64, 0);
	p = get(kc);
	g = kmem_guard_find(p);
	must(g != NULL && g->g_tag == KMEM_TAG_OUT);
	q = p;
	must(kmem_guard_in(g, &q, KMEM_TAG_OUT + 1, NULL) == KMEM_OTHER_TAG);
	must(q == p && kmem_guard_find(p) == g);
	must(kmem_debug_tell(p));
	must(strcmp(host_log_last(), "  never freed") == 0);
	kmem_cache_free(kc, p);
	/* Nor does who was looking at it lose his way. */
	must(kmem_guard_next(g) == NULL);
	must(kmem_guard_find(p) == NULL && kmem_guard_near((vaddr_t)p) == g);
	must(kmem_guard_in(g, &q, KMEM_TAG_OUT, NULL) == KMEM_FREE_OBJECT);
	must(kmem_guard_in(g, &q, KMEM_TAG_OUT + 1, NULL) ==
	    KMEM_FREE_OBJECT);
	must(q == p);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* Its frame is freed between two looks at it: nobody's, by the second. */
static void
do_kfree_guarded(void *arg)
{
	kfree(arg, M_FIRST);
}

START_TEST(gone_between_looks)
{
	struct vm_page *pg;
	struct kmem_guard *g;
	void *p;

	boot("guard", NULL);
	p = kmalloc(100, M_FIRST, 0);
	g = kmem_guard_find(p);
	must(g != NULL);
	pg = kmem_page(p);
	pg->pg_slab = NULL;
	must(slab_panics(do_kfree_guarded, p, "kfree(") == 0);
	pg->pg_slab = g;
	kfree(p, M_FIRST);
	slab_done();
}
END_TEST

/* Room for what was asked for, and for no more of the class. */
START_TEST(alone_in_class)
{
	static const struct { size_t size, room; } want[] = {
		{ 1, 8 }, { 8, 8 }, { 9, 16 }, { 16, 16 }, { 17, 24 },
		{ 129, 136 }, { 136, 136 }, { 137, 144 }, { 144, 144 },
		{ 1009, 1016 }, { 1025, 1032 }, { 4065, 4072 }, { 4089, 4096 },
		{ 4096, 4096 },
	};
	unsigned i;
	size_t off;
	char *p;

	boot("guard", NULL);
	for (i = 0; i < nitems(want); i++) {
		p = kcalloc(1, want[i].size, M_FIRST, KM_NOSLEEP);
		must(p != NULL && kmem_guard_find(p) != NULL);
		must(((uintptr_t)p & PAGE_MASK) == PAGE_SIZE - want[i].room);
		for (off = 0; off < want[i].size; off++)
			must(p[off] == 0);
		for (; off < want[i].room; off++)
			must((uint8_t)p[off] == KMD_BYTE_ZONE);
		kfree(p, M_FIRST);
	}
	slab_done();
}
END_TEST

/* Of whom the pages are, is said wherever a page is looked at. */
static void
free_page(void *arg)
{
	vm_phys_free(*(paddr_t *)arg);
}

START_TEST(whose_page)
{
	struct kmem_cache *kc;
	struct vm_map_info vi;
	paddr_t pa;
	void *p;

	boot("guard", NULL);
	kc = slab_make("alone", 64, 0);
	p = get(kc);
	must(vm_map_lookup(kernel_map, trunc_page((vaddr_t)p), &vi) == 0);
	must(strcmp(kmem_range_owner(&vi), "alone") == 0);
	must(pmap_kextract(trunc_page((vaddr_t)p), &pa));
	vm_phys_ref(pa);
	expect_panic(free_page, &pa, say("vm_phys_free: pa 0x%lx, 1 frames: "
	    "pfn 0x%lx is still referenced (owner kmem, 2 references, name -)",
	    pa, (unsigned long)atop(pa)));
	vm_phys_page(pa)->pg_refs--;
	kmem_cache_free(kc, p);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* Give all of a window's addresses away, but for what is smaller. */
static void
fill_window(vaddr_t min, vaddr_t max, vsize_t least)
{
	struct vm_map_request vr = { .vr_min = min, .vr_max = max,
	    .vr_owner = "full", .vr_prot = VM_PROT_NONE };
	vaddr_t addr;

	for (vr.vr_size = max - min; vr.vr_size >= least;)
		if (vm_map_alloc(kernel_map, &vr, &addr) != 0)
			vr.vr_size = trunc_page(vr.vr_size / 2);
}

/* A window that is full: its objects are alone nowhere else, either. */
START_TEST(window_full)
{
	struct kmem_cache *kc;
	void *p, *q;

	boot("guard", NULL);
	kc = slab_make("alone", 64, 0);
	p = kmalloc(100, M_FIRST, KM_NOSLEEP);
	q = get(kc);
	must(kmem_guard_find(p) != NULL && kmem_guard_find(q) != NULL);
	must((vaddr_t)p < VM_HEAP_MAX && (vaddr_t)q >= VM_SLAB_MIN);
	kfree(p, M_FIRST);
	kmem_cache_free(kc, q);
	kmem_guard_reap(~0ul);
	fill_window(VM_HEAP_MIN, VM_HEAP_MAX, PAGE_SIZE);
	p = kmalloc(100, M_FIRST, KM_NOSLEEP);
	must(p != NULL && kmem_guard_find(p) == NULL);
	must((vaddr_t)p < VM_HEAP_MAX);
	q = get(kc);
	must(kmem_guard_find(q) != NULL);
	kmem_cache_free(kc, q);
	kmem_guard_reap(~0ul);
	fill_window(VM_SLAB_MIN, VM_SLAB_MAX, PAGE_SIZE);
	q = get(kc);
	must(kmem_guard_find(q) == NULL);
	kmem_cache_free(kc, q);
	kfree(p, M_FIRST);
	slab_check();
}
END_TEST

/* By itself it is each 64th one's turn. */
START_TEST(turn_by_itself)
{
	unsigned i, n;

	boot("off", NULL);
	kmem_guard_every(0);
	for (i = 0; !kmem_guard_turn(); i++)
		must(i < 64);
	for (n = 0; n < 3; n++) {
		for (i = 1; !kmem_guard_turn(); i++)
			must(i < 64);
		must(i == 64);
	}
}
END_TEST

/* Samples are taken where a magazine was empty, of caches that want them. */
START_TEST(sampled_at_refills)
{
	struct kmem_cache *kc, *other;
	void *obj[24];
	unsigned i, n;
	bool empty;

	boot(_i == 0 ? "check" : "redzone", "sample/1:sampled");
	kc = slab_make("sampled", 64, 0);
	other = slab_make("other", 64, 0);
	must(kc->kc_debug == (other->kc_debug | KMD_SAMPLE));
	must(other->kc_debug == (KMD_CHECK | (_i == 0 ? 0 : KMD_REDZONE)));
	for (i = n = 0; i < nitems(obj); i++) {
		empty = kmem_cpu_n(&kc->kc_cpu[1]) == 0;
		obj[i] = get(kc);
		must((kmem_guard_find(obj[i]) != NULL) == empty);
		n += empty;
	}
	must(n > 0 && n < 5);
	for (i = 0; i < nitems(obj); i++)
		kmem_cache_free(kc, obj[i]);
	for (i = 0; i < nitems(obj); i++) {
		obj[i] = get(other);
		must(kmem_guard_find(obj[i]) == NULL);
	}
	for (i = 0; i < nitems(obj); i++)
		kmem_cache_free(other, obj[i]);
	must(kmem_cache_destroy(kc) == 0 && kmem_cache_destroy(other) == 0);
	slab_done();
}
END_TEST

/* As many as there may be, again and again; others do not count. */
START_TEST(samples_come_back)
{
	static void *obj[3000];
	struct kmem_cache *kc, *alone;
	unsigned i, n, round;
	void *p;

	boot("sample/1:sampled", "guard:alone");
	kc = slab_make("sampled", 128, 0);
	alone = slab_make("alone", 128, 0);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 40; i++) {
			p = get(alone);
			must(kmem_guard_find(p) != NULL);
			kmem_cache_free(alone, p);
		}
		for (i = n = 0; i < nitems(obj); i++) {
			obj[i] = get(kc);
			n += kmem_guard_find(obj[i]) != NULL;
		}
		must(n == 32);
		for (i = 0; i < nitems(obj); i++)
			kmem_cache_free(kc, obj[i]);
		kmem_cache_reap(kc);
	}
	must(kmem_cache_destroy(kc) == 0 && kmem_cache_destroy(alone) == 0);
	slab_done();
}
END_TEST

/*
 * Leaks.
 */
static void *root[4];
static void *leak[64];

static unsigned
leaks(void)
{
	return slab_leaks(leak, nitems(leak));
}

static bool
is_leaked(const void *obj)
{
	unsigned i, n = leaks();

	for (i = 0; i < n; i++)
		if (leak[i] == obj)
			return true;
	return false;
}

/* What points from where no object is, and to where none is. */
START_TEST(leaks_beside)
{
	struct kmem_cache *kc;
	struct kmem_slab *a, *b;
	void *obj[200] = { NULL };
	unsigned i, n;

	boot("check", NULL);
	host_set_roots(root, root + nitems(root));
	kc = slab_make("beside", 64, 0);
	must(!(kc->kc_flags & KC_OFFSLAB));
	n = 2 * kc->kc_per_slab;
	must(n <= nitems(obj));
	for (i = 0; i < n; i++)
		obj[i] = get(kc);
	a = kmem_slab_find(obj[0]);
	for (i = 0, b = a; i < n && b == a; i++)
		b = kmem_slab_find(obj[i]);
	must(b != a);
	/* Of each slab, all but one object goes: the same of both. */
	for (i = 0; i < n; i++)
		if ((char *)obj[i] != a->sl_first + kc->kc_stride &&
		    (char *)obj[i] != b->sl_first + kc->kc_stride)
			kmem_cache_free(kc, obj[i]);
	root[0] = a->sl_first + kc->kc_stride + 8;
	must(leaks() == 1 && leak[0] == b->sl_first + kc->kc_stride);
	/* Into the header behind the objects of the other one. */
	root[1] = b;
	must(leaks() == 1 && leak[0] == b->sl_first + kc->kc_stride);
	root[1] = &b->sl_words;
	must(leaks() == 1 && leak[0] == b->sl_first + kc->kc_stride);
	root[1] = b->sl_first + kc->kc_stride;
	must(leaks() == 0);
}
END_TEST

/*
 * Caches that are not watched: what of them is out is a root, what is in
 * their slabs is not, and the layer's own memory is none either.
 */
START_TEST(leaks_unwatched)
{
	struct kmem_cache *kc, *plain, *alone;
	void **p, **q, **r;

	boot("check", "off:plain");
	must(kmem_debug_option("guard:alone"));
	host_set_roots(root, root + nitems(root));
	kc = slab_make("watched", 64, 0);
	plain = slab_make("plain", 64, 0);
	alone = slab_make("alone", 64, 0);
	must(plain->kc_debug == 0);
	p = get(kc);
	q = get(plain);
	r = get(plain);
	must(is_leaked(p));
	q[7] = p;
	must(leaks() == 0);
	q[7] = NULL;
	r[3] = p;
	must(leaks() == 0);
	/* It goes back to its slab, and is as it was. */
	kmem_cache_free(plain, r);
	kmem_cache_reap(plain);
	must(kmem_slab_find(r) != NULL && r[3] == p);
	must(leaks() == 1 && leak[0] == p);
	/* Who points to the record of a guard does not have the object. */
	r = get(alone);
	root[0] = kmem_guard_find(r);
	root[1] = &kmem_guard_find(r)->g_obj;
	must(leaks() == 2 && is_leaked(r) && is_leaked(p));
	/* Nor who points to what it stands for. */
	root[0] = kmem_guard_find(r)->g_shadow;
	must(leaks() == 2 && is_leaked(r));
	root[0] = r;
	must(leaks() == 1 && leak[0] == p);
	kmem_cache_free(alone, r);
	kmem_cache_free(kc, p);
	kmem_cache_free(plain, q);
	must(kmem_cache_destroy(kc) == 0 && kmem_cache_destroy(plain) == 0);
	must(kmem_cache_destroy(alone) == 0);
	slab_done();
}
END_TEST

/* Rings, with and without somebody who points in: of the alone, of blocks. */
START_TEST(leaks_ring)
{
	struct kmem_cache *kc;
	void **p, **q;
	unsigned i;

	boot("guard", NULL);
	host_set_roots(root, root + nitems(root));
	kc = slab_make("alone", 64, 0);
	p = get(kc);
	q = get(kc);
	p[1] = q;
	q[2] = p;
	must(leaks() == 2);
	root[0] = &q[5];
	must(leaks() == 0);
	root[0] = NULL;
	q[2] = q;
	must(leaks() == 2);
	root[0] = q;
	must(leaks() == 1 && leak[0] == p);
	kmem_cache_free(kc, p);
	kmem_cache_free(kc, q);
	must(kmem_cache_destroy(kc) == 0);
	root[0] = NULL;
	p = kcalloc(2, PAGE_SIZE, M_FIRST, 0);
	q = kcalloc(2, PAGE_SIZE, M_FIRST, 0);
	for (i = 0; i < 2; i++) {
		p[700] = i == 0 ? q : p;
		q[300] = i == 0 ? p : q;
		must(leaks() == 2);
		root[0] = &q[900];
		root[1] = p;
		must(leaks() == 0);
		root[0] = root[1] = NULL;
	}
	kfree(p, M_FIRST);
	kfree(q, M_FIRST);
	slab_done();
}
END_TEST

/*
 * One that an interrupt freed, and still mapped: what it stood for can be
 * somebody's again, and leaked.
 */
START_TEST(leaks_after_interrupt)
{
	struct kmem_cache *kc;
	void **p, **shadow, *obj[200];
	unsigned n = 0;

	boot("guard", NULL);
	host_set_roots(root, root + nitems(root));
	kc = slab_make("alone", 64, 0);
	root[0] = p = get(kc);
	shadow = kmem_guard_find(p)->g_shadow;
	must(leaks() == 0);
	host_set_intr(true);
	kmem_cache_free(kc, p);
	must(kmem_guard_find(p) != NULL);
	do {
		must(n < nitems(obj));
		obj[n] = get(kc);
	} while (obj[n++] != (void *)shadow);
	host_set_intr(false);
	must(is_leaked(shadow));
	while (n-- > 0)
		kmem_cache_free(kc, obj[n]);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* More at once than the scan keeps in mind: more rounds, with no more roots. */
START_TEST(leaks_overflow)
{
	enum { WIDE = 300 };
	static const char *const mode[] = { "check", "guard" };
	struct kmem_cache *kc;
	void **wide, **block, **p, **q, **r;
	unsigned i;

	boot(mode[_i], NULL);
	host_set_roots(root, root + nitems(root));
	kc = slab_make("many", 64, 0);
	wide = kcalloc(WIDE + 1, sizeof(void *), M_FIRST, 0);
	root[0] = wide;
	for (i = 0; i < WIDE; i++) {
		wide[i] = p = get(kc);
		p[1] = get(kc);
	}
	must(leaks() == 0);
	/* Leaked, and what only they point to. */
	block = kcalloc(3, PAGE_SIZE, M_SECOND, 0);
	block[PAGE_SIZE / sizeof(void *)] = p = get(kc);
	q = get(kc);
	q[3] = r = get(kc);
	must(leaks() == 4);
	must(is_leaked(block) && is_leaked(p) && is_leaked(q) && is_leaked(r));
	/* The last of many: reached, and read through in a later round. */
	wide[WIDE] = block;
	must(leaks() == 2 && is_leaked(q) && is_leaked(r));
	wide[WIDE] = q;
	must(leaks() == 2 && is_leaked(block) && is_leaked(p));
	root[1] = block;
	must(leaks() == 0);
}
END_TEST

/* One round will do for a chain: the map is walked as often as for none. */
START_TEST(leaks_one_round)
{
	struct kmem_cache *kc;
	void **p, **first;
	uint64_t none, locks;
	unsigned i;

	boot("check", NULL);
	host_set_roots(root, root + nitems(root));
	kc = slab_make("chain", 64, 0);
	first = p = get(kc);
	for (i = 0; i < 20; i++)
		p = *p = get(kc);
	must(leaks() == 21);
	none = host_locks()->hl_read;
	must(leaks() == 21);
	locks = host_locks()->hl_read;
	none = locks - none;
	root[0] = first;
	must(leaks() == 0);
	must(host_locks()->hl_read - locks == none);
}
END_TEST

/* What cannot be read is not looked through, and what is not there. */
START_TEST(leaks_unreadable)
{
	struct vm_map_request vr = { .vr_size = ptoa(3),
	    .vr_min = VM_MISC_MIN, .vr_max = VM_MISC_MAX,
	    .vr_prot = VM_PROT_RW, .vr_owner = "unreadable" };
	struct kmem_cache *kc;
	vaddr_t pages, nothing;
	void *p;

	boot("check", NULL);
	host_set_roots(root, root + nitems(root));
	kc = slab_make("leaky", 64, 0);
	p = get(kc);
	must(kmem_alloc_request(kernel_map, &vr, KM_ZERO, &pages) == 0);
	must(vm_map_alloc(kernel_map, &vr, &nothing) == 0);
	must(nothing > pages);
	((void **)pages)[700] = p;
	must(leaks() == 0);
	must(vm_map_protect(kernel_map, pages, pages + ptoa(3),
	    VM_PROT_NONE) == 0);
	must(leaks() == 1 && leak[0] == p);
	must(vm_map_protect(kernel_map, pages, pages + ptoa(3),
	    VM_PROT_READ) == 0);
	must(leaks() == 0);
	must(vm_map_free(kernel_map, nothing, ptoa(3)) == 0);
	kmem_free(kernel_map, pages, ptoa(3));
	kmem_cache_free(kc, p);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmem_debug, corners");
	TCase *tc = tcase_create("kmem_debug");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, blanks);
	tcase_add_loop_test(tc, verdicts, 0, 4);
	tcase_add_loop_test(tc, verdicts_alone, 0, 2);
	tcase_add_test(tc, rounds);
	tcase_add_loop_test(tc, no_records, 0, 2);
	tcase_add_test(tc, records_begin);
	tcase_add_loop_test(tc, constructed, 0, 4);
	tcase_add_test(tc, bytes);
	tcase_add_test(tc, caller_unknown);
	tcase_add_test(tc, chain_is_short);
	tcase_add_test(tc, chain_is_long);
	tcase_add_test(tc, too_late);
	tcase_add_test(tc, gone_between_looks);
	tcase_add_test(tc, alone_in_class);
	tcase_add_test(tc, whose_page);
	tcase_add_test(tc, window_full);
	tcase_add_test(tc, turn_by_itself);
	tcase_add_loop_test(tc, sampled_at_refills, 0, 2);
	tcase_add_test(tc, samples_come_back);
	tcase_add_test(tc, leaks_beside);
	tcase_add_test(tc, leaks_unwatched);
	tcase_add_test(tc, leaks_ring);
	tcase_add_test(tc, leaks_after_interrupt);
	tcase_add_loop_test(tc, leaks_overflow, 0, 2);
	tcase_add_test(tc, leaks_one_round);
	tcase_add_test(tc, leaks_unreadable);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
