/*
 * Mistakes with objects, each made once: the report that is due for it, to
 * the letter, with both call chains, and nothing else.
 */
#include <check.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libkern/errno.h>
#include <vm/kmalloc_impl.h>
#include <vm/kmem_debug_impl.h>
#include <vm/vm_fail.h>

#include "host.h"
#include "ledger.h"
#include "must.h"

#define FRAMES		16384u		/* 64 MB */

static KMALLOC_DEFINE(M_ONE, "one", "the tests' first type");
static KMALLOC_DEFINE(M_TWO, "two", "the tests' second type");

static struct ledger before;

static void
boot(const char *option)
{
	kmem_debug_set(0);
	if (option != NULL)
		must(kmem_debug_option(option));
	host_boot(FRAMES);
	ledger_take(&before);
}

static void
check_all(void)
{
	const char *bad = kmalloc_check();
	struct kmem_cache *kc = NULL;

	while (bad == NULL && (kc = kmem_cache_next(kc)) != NULL)
		bad = kmem_cache_check(kc);
	if (bad == NULL)
		bad = vm_map_check(kernel_map);
	if (bad == NULL)
		bad = vm_phys_check();
	if (bad != NULL)
		ck_abort_msg("check: %s", bad);
	must(host_locks()->hl_held == 0);
}

static void
done(void)
{
	const char *bad;

	check_all();
	kmem_cache_reap_all();
	kmem_reclaim(~0ul);
	bad = ledger_since(&before);
	if (bad != NULL)
		ck_abort_msg("at the end: %s", bad);
}

static struct kmem_cache *
make(const char *name, size_t size, size_t align)
{
	const struct kmem_cache_args ca = { .ca_name = name, .ca_size = size,
	    .ca_align = align };
	struct kmem_cache *kc = kmem_cache_create(&ca);

	must(kc != NULL);
	return kc;
}

/*
 * Clients, of whom a record should tell.  What they return is used, so that
 * their calls do not become jumps.
 */
static char * __attribute__((__noinline__))
alloc_client(struct kmem_cache *kc)
{
	char *obj = kmem_cache_alloc(kc, KM_SLEEP);

	must(obj != NULL);
	return obj;
}

static int __attribute__((__noinline__))
free_client(struct kmem_cache *kc, void *obj)
{
	kmem_cache_free(kc, obj);
	return 1;
}

static char * __attribute__((__noinline__))
kmalloc_client(size_t size)
{
	char *p = kmalloc(size, M_ONE, KM_SLEEP);

	must(p != NULL);
	return p;
}

static int __attribute__((__noinline__))
kfree_client(void *p)
{
	kfree(p, M_ONE);
	return 1;
}

/* Does the function's code lie around pc? */
#define IN(fn, pc)	((vaddr_t)(pc) - (vaddr_t)(uintptr_t)(fn) < 512)

/*
 * What was said: a panic, and before it lines of the log.
 */
struct freeing {
	struct kmem_cache *f_cache;	/* NULL: the heap's */
	struct kmalloc_type *f_type;
	void		*f_obj;
};

static void
do_free(void *arg)
{
	const struct freeing *f = arg;

	if (f->f_cache != NULL)
		kmem_cache_free(f->f_cache, f->f_obj);
	else
		kfree(f->f_obj, f->f_type);
}

static void
do_alloc(void *arg)
{
	const struct freeing *f = arg;

	must((f->f_cache != NULL ? kmem_cache_alloc(f->f_cache, 0) :
	    kmalloc(100, M_ONE, 0)) != NULL);
}

static void
do_reap(void *arg)
{
	const struct freeing *f = arg;

	kmem_cache_reap(f->f_cache);
}

static void
expect(void (*fn)(void *), const struct freeing *f, const char *want)
{
	unsigned nlocks;
	const char *said = host_panic_of(fn, (void *)(uintptr_t)f, &nlocks);

	if (said == NULL)
		ck_abort_msg("no panic where \"%s\" was due", want);
	if (strcmp(said, want) != 0)
		ck_abort_msg("\"%s\" is not \"%s\"", said, want);
	must(nlocks == 0);
}

/* The number of the line, counted back, that is so; none: a failure. */
static unsigned
line_back(const char *want)
{
	unsigned i;

	for (i = 0; i < HOST_NLOGS; i++)
		if (strcmp(host_log_line(i), want) == 0)
			return i;
	ck_abort_msg("the log has no line \"%s\"", want);
	return 0;
}

/*
 * The lines behind that one are of the call chain, and name fn: at once, or
 * behind two of kmalloc's own functions.
 */
static void
expect_chain(const char *head, const void *fn)
{
	unsigned i = line_back(head), n;
	unsigned long pc;

	for (n = 0; n < 3 && i-- > 0; n++)
		if (sscanf(host_log_line(i), "    %lx", &pc) == 1 &&
		    IN(fn, pc))
			return;
	ck_abort_msg("not behind \"%s\": %p", head, fn);
}

#define AT_0	" at tick 0, 0 ticks ago, by"

static const char *
say(const char *fmt, ...) __attribute__((__format__(__printf__, 1, 2)));

static const char *
say(const char *fmt, ...)
{
	static char line[2][300];
	static unsigned n;
	va_list ap;

	n = !n;
	va_start(ap, fmt);
	k_vsnprintf(line[n], sizeof(line[n]), fmt, ap);
	va_end(ap);
	return line[n];
}

/*
 * Options.
 */
START_TEST(options)
{
	char buf[KMD_NAMES];

	kmem_debug_set(0);
	must(kmem_debug_modes("any") == 0);
	must(kmem_debug_option("check"));
	must(kmem_debug_modes("any") == KMD_CHECK);
	must(kmem_debug_option("redzone,sample:vnodes"));
	must(kmem_debug_modes("any") == KMD_CHECK);
	must(kmem_debug_modes("vnode") == KMD_CHECK);
	must(kmem_debug_modes("vnodes2") == KMD_CHECK);
	must(kmem_debug_modes("vnodes") ==
	    (KMD_CHECK | KMD_REDZONE | KMD_SAMPLE));
	must(kmem_debug_option("all:kmalloc-*"));
	must(kmem_debug_modes("kmalloc-8") == KMD_ALL);
	must(kmem_debug_modes("kmalloc") == KMD_CHECK);
	must(kmem_debug_option("off:kmalloc-8"));
	must(kmem_debug_modes("kmalloc-8") == 0);
	must(kmem_debug_option("off,guard:kmem_c*"));
	must(kmem_debug_modes("kmem caches") == (KMD_CHECK | KMD_GUARD));
	must(kmem_debug_option("off"));
	must(kmem_debug_modes("vnodes") == 0);
	/* The same again counts as the later one; others keep their order. */
	kmem_debug_set(0);
	must(kmem_debug_option("all:a"));
	must(kmem_debug_option("off:a*"));
	must(kmem_debug_modes("a") == 0);
	must(kmem_debug_option("check:b*c"));
	must(kmem_debug_option("all:a"));
	must(kmem_debug_modes("a") == KMD_ALL);
	must(kmem_debug_modes("ab") == 0);
	must(kmem_debug_modes("b*c") == KMD_CHECK);
	must(kmem_debug_modes("bbc") == 0 && kmem_debug_modes("b") == 0);
	/* A name that is too long has its begin compared. */
	must(kmem_debug_option("check:a_name_of_forty_characters_and_fewer"));
	must(kmem_debug_modes("a name of forty characters and fewer") ==
	    KMD_CHECK);
	must(kmem_debug_modes("a name of forty characters and few") ==
	    KMD_CHECK);
	must(kmem_debug_modes("a name of forty characters") == 0);
	kmem_debug_set(KMD_SAMPLE);
	must(kmem_debug_get() == KMD_SAMPLE);
	must(kmem_debug_modes("vnodes") == KMD_SAMPLE);
	must(strcmp(kmem_debug_names(buf, KMD_ALL | KMD_GUARD | KMD_SAMPLE),
	    "check,redzone,poison,audit,guard,sample") == 0);
	must(strcmp(kmem_debug_names(buf, 0), "nothing") == 0);
}
END_TEST

START_TEST(bad_options)
{
	static const char *const bad[] = { "", "chek", "check,", ",check",
	    "check,,audit", "sample/", "sample/0", "sample/x", "sample/9x",
	    "sample/99999999999", "sample/99999999999999999999999",
	    "sampl", "samples", ":name" };
	uint64_t logs;
	unsigned i;

	for (i = 0; i < nitems(bad); i++) {
		kmem_debug_set(0);
		logs = host_log_count();
		must(!kmem_debug_option(bad[i]));
		must(host_log_count() == logs + 1);
		must(strstr(host_log_last(), bad[i]) != NULL);
		must(kmem_debug_modes("any") == (strstr(bad[i], "check") ?
		    KMD_CHECK | (strstr(bad[i], "audit") ? KMD_AUDIT : 0) : 0));
	}
	kmem_debug_set(0);
	must(!kmem_debug_option("poison,redzome:x"));
	must(strcmp(host_log_last(), "kmem=poison,redzome:x: `redzome` is none "
	    "of check redzone poison audit guard sample sample/N all off") ==
	    0);
	must(kmem_debug_modes("x") == (KMD_CHECK | KMD_POISON));
	kmem_debug_set(0);
	for (i = 0; i < 20; i++)
		must(kmem_debug_option("check:none"));
	for (i = 0; i < 15; i++)
		must(kmem_debug_option(say("check:none%u", i)));
	must(!kmem_debug_option("check"));
	must(strstr(host_log_last(), "16 options") != NULL);
	must(kmem_debug_modes("any") == 0);
}
END_TEST

/*
 * Layouts: in every mode objects keep their alignment and do not touch each
 * other, each other's zones, or records.
 */
static void
try_layout(unsigned kmd, size_t size, size_t align)
{
	struct kmem_cache *kc;
	char *obj[20];
	size_t i, off;

	kmem_debug_set(kmd);
	kc = make("layout", size, align);
	must(kc->kc_debug == kmd);
	must(kc->kc_stride >= size && kc->kc_stride % kc->kc_align == 0);
	must(kc->kc_obj_off % kc->kc_align == 0);
	/* The zone before it is as short as the alignment lets it be. */
	if (kmd & KMD_REDZONE)
		must(kc->kc_obj_off == (kc->kc_align > 64 ? 0 :
		    kc->kc_align > 16 ? kc->kc_align : 16));
	if (!(kmd & KMD_DRESSED) || kmd == (KMD_CHECK | KMD_POISON))
		must(kc->kc_stride == roundup2(size, kc->kc_align) &&
		    kc->kc_obj_off == 0);
	for (i = 0; i < nitems(obj); i++) {
		obj[i] = alloc_client(kc);
		must((uintptr_t)obj[i] % kc->kc_align == 0);
		memset(obj[i], (int)i + 1, size);
	}
	for (i = 0; i < nitems(obj); i++) {
		for (off = 0; off < size; off++)
			must(obj[i][off] == (char)(i + 1));
		if (kmd & KMD_AUDIT) {
			const struct kmem_guard *g = kmem_guard_find(obj[i]);
			const struct kmem_record *r = g != NULL ?
			    g->g_record : kmem_trail_records(kc, obj[i]);

			must(kmem_record_sound(r));
			must(IN(alloc_client, r->r_pc[0]));
			must(kmem_debug_records(obj[i]) == r);
		}
		must(free_client(kc, obj[i]));
	}
	check_all();
	must(kmem_cache_destroy(kc) == 0);
}

START_TEST(layouts)
{
	static const unsigned modes[] = { 0, KMD_CHECK,
	    KMD_CHECK | KMD_REDZONE, KMD_CHECK | KMD_POISON,
	    KMD_CHECK | KMD_AUDIT, KMD_ALL, KMD_CHECK | KMD_GUARD,
	    KMD_ALL | KMD_GUARD | KMD_SAMPLE };
	static const size_t sizes[] = { 1, 7, 8, 9, 24, 63, 64, 100, 128, 500,
	    1000, 2048, 4000, 4096, 5000, 20000 };
	static const size_t aligns[] = { 0, 16, 64, 128, 4096 };
	unsigned m, s, a;

	boot(NULL);
	for (m = 0; m < nitems(modes); m++)
		for (s = 0; s < nitems(sizes); s++)
			for (a = 0; a < nitems(aligns); a++)
				try_layout(modes[m], sizes[s], aligns[a]);
	done();
}
END_TEST

/*
 * Red zones.  Each byte of them, and of what lies behind.
 */
START_TEST(overflow)
{
	struct kmem_cache *kc;
	struct freeing f;
	size_t i, room;
	char was;

	boot("redzone,audit");
	kc = make("over", 100, 0);
	f = (struct freeing){ .f_cache = kc, .f_obj = alloc_client(kc) };
	room = (size_t)((char *)kmem_trail(kc, f.f_obj) - (char *)f.f_obj);
	must(room >= 100 + KMD_ZONE);
	for (i = 100; i < room + 8; i++) {
		char *p = (char *)f.f_obj + i;

		was = *p;
		*p ^= 0x40;
		if (i < room)
			expect(do_free, &f, say("kmem: over: object %p (100 "
			    "bytes): %zu bytes behind its end: 0xfb, not 0xbb; "
			    "1 changed", f.f_obj, i - 100));
		else
			expect(do_free, &f, say("kmem: over: object %p (100 "
			    "bytes): %zu bytes behind its end: %#x, not 0x64; "
			    "8 changed", f.f_obj, room - 100,
			    *(uint8_t *)kmem_trail(kc, f.f_obj)));
		must(line_back(say("kmem: %p, an object of over (100 bytes), "
		    "was damaged %zu bytes behind its end", f.f_obj,
		    (i < room ? i : room) - 100)) < 20);
		expect_chain("  allocated" AT_0, alloc_client);
		must(strcmp(host_log_last(), "  never freed") == 0);
		*p = was;
		check_all();
	}
	/* A longer one is told by its begin, and counted. */
	memset((char *)f.f_obj + 103, 'x', 4);
	expect(do_free, &f, say("kmem: over: object %p (100 bytes): 3 bytes "
	    "behind its end: 0x78, not 0xbb; 4 changed", f.f_obj));
	memset((char *)f.f_obj + 103, KMD_BYTE_ZONE, 4);
	must(free_client(kc, f.f_obj));
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

START_TEST(underflow)
{
	struct kmem_cache *kc;
	struct freeing f;
	char *p;
	size_t i;

	boot("redzone,audit:under");
	kc = make("under", 100, 0);
	p = alloc_client(kc);
	f = (struct freeing){ .f_cache = kc, .f_obj = p };
	for (i = 1; i <= KMD_ZONE; i++) {
		p[-(ptrdiff_t)i] = 0x11;
		expect(do_free, &f, say("kmem: under: object %p (100 bytes): "
		    "%zu bytes before its begin: 0x11, not 0xbb; 1 changed",
		    f.f_obj, i));
		expect_chain("  allocated" AT_0, alloc_client);
		p[-(ptrdiff_t)i] = (char)KMD_BYTE_ZONE;
	}
	memset(p - 5, 7, 3);
	expect(do_free, &f, say("kmem: under: object %p (100 bytes): 3 bytes "
	    "before its begin: 0x7, not 0xbb; 3 changed", f.f_obj));
	memset(p - 5, KMD_BYTE_ZONE, 3);
	must(free_client(kc, p));
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/* The heap's zones begin where what was asked for ends. */
START_TEST(heap_overflow)
{
	struct freeing f = { .f_type = M_ONE };
	size_t size;
	char *p;

	boot("redzone,audit");
	for (size = 1; size <= 4096; size += size < 300 ? 1 : 97) {
		p = f.f_obj = kmalloc_client(size);
		must(kmalloc_usable(p) == size);
		memset(p, 'a', size);
		p[size] = 'a';
		expect(do_free, &f, say("kmem: %s: object %p (%zu bytes): 0 "
		    "bytes behind its end: 0x61, not 0xbb; 1 changed",
		    kmem_slab_find(p)->sl_cache->kc_name, (void *)p, size));
		expect_chain("  allocated" AT_0, kmalloc_client);
		p[size] = (char)KMD_BYTE_ZONE;
		must(kfree_client(p));
	}
	done();
}
END_TEST

/* What was asked for can grow, and is told exactly. */
START_TEST(heap_sizes)
{
	char *p, *q;
	size_t i;

	boot("all");
	p = kcalloc(10, 10, M_ONE, 0);
	must(kmalloc_usable(p) == 100);
	for (i = 0; i < 100; i++)
		must(p[i] == 0);
	memset(p, 1, 100);
	q = krealloc(p, 103, M_ONE, KM_ZERO);
	must(q != p && kmalloc_usable(q) == 103);
	for (i = 0; i < 103; i++)
		must(q[i] == (i < 100));
	must(krealloc(q, 90, M_ONE, 0) == q);
	must(kfree_client(q));
	done();
}
END_TEST

/*
 * Poison.
 */
START_TEST(write_after_free)
{
	struct kmem_cache *kc;
	struct freeing f;
	size_t i;
	char *p;

	boot("poison,audit");
	kc = make("stale", 72, 0);
	f = (struct freeing){ .f_cache = kc };
	for (i = 0; i < 72; i++) {
		p = alloc_client(kc);
		host_advance(3);
		must(free_client(kc, p));
		host_advance(4);
		must((uint8_t)p[i] == KMD_BYTE_FREE);
		p[i] = 'x';
		expect(do_alloc, &f, say("kmem: stale: object %p (72 bytes): "
		    "%zu bytes into it, while it was free: 0x78, not 0x6b; 1 "
		    "changed", (void *)p, i));
		expect_chain(say("  allocated at tick %zu, 7 ticks ago, by",
		    i * 7), alloc_client);
		expect_chain(say("  freed at tick %zu, 4 ticks ago, by",
		    i * 7 + 3), free_client);
		check_all();
	}
	/* Or when its slab goes. */
	p = alloc_client(kc);
	must(free_client(kc, p));
	p[20] = 'x';
	p[71] = 'y';
	expect(do_reap, &f, say("kmem: stale: object %p (72 bytes): 20 bytes "
	    "into it, while it was free: 0x78, not 0x6b; 2 changed",
	    (void *)p));
	expect_chain(say("  freed at tick %u, 0 ticks ago, by", 72 * 7),
	    free_client);
}
END_TEST

/* What is found at the last moment, with no more known than must be. */
START_TEST(slab_goes)
{
	struct kmem_cache *kc;
	struct freeing f;
	char *p;

	boot("redzone:zone");
	must(kmem_debug_option("poison:poison"));
	kc = make("zone", 72, 0);
	f = (struct freeing){ .f_cache = kc };
	p = alloc_client(kc);
	must(kmem_debug_records(p) == NULL && kmem_debug_records(&f) == NULL);
	must(!kmem_debug_tell(p) && !kmem_debug_tell(&f));
	must(free_client(kc, p));
	p[72] = 'x';
	expect(do_alloc, &f, say("kmem: zone: object %p (72 bytes): 0 bytes "
	    "behind its end: 0x78, not 0xbb; 1 changed", (void *)p));
	p = alloc_client(kc);
	must(free_client(kc, p));
	p[-1] = 'x';
	expect(do_reap, &f, say("kmem: zone: object %p (72 bytes): 1 bytes "
	    "before its begin: 0x78, not 0xbb; 1 changed", (void *)p));
	f.f_cache = kc = make("poison", 72, 0);
	p = alloc_client(kc);
	must(free_client(kc, p));
	p[71] = 'x';
	expect(do_alloc, &f, say("kmem: poison: object %p (72 bytes): 71 bytes "
	    "into it, while it was free: 0x78, not 0x6b; 1 changed",
	    (void *)p));
	must(alloc_client(kc) == p && free_client(kc, p));
}
END_TEST

START_TEST(new_is_not_zero)
{
	struct kmem_cache *kc;
	char *p;
	unsigned i;

	boot("poison,redzone");
	kc = make("new", 50, 0);
	p = alloc_client(kc);
	for (i = 0; i < 50; i++)
		must((uint8_t)p[i] == KMD_BYTE_NEW);
	must((uint8_t)p[50] == KMD_BYTE_ZONE);
	must(free_client(kc, p));
	p = kmem_cache_alloc(kc, KM_ZERO);
	for (i = 0; i < 50; i++)
		must(p[i] == 0);
	must(free_client(kc, p));
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/*
 * Constructed objects: under poison each time, alone on a page as well.
 */
#define BORN	0xB0B0B0B0u

static unsigned long nborn, ndead;
static bool refuse;

static int
ctor(void *obj, void *arg, int flags)
{
	must(arg == &nborn && host_locks()->hl_held == 0);
	if (refuse)
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

static void
try_constructors(const char *option)
{
	const struct kmem_cache_args ca = { .ca_name = "ctor", .ca_size = 60,
	    .ca_ctor = ctor, .ca_dtor = dtor, .ca_arg = &nborn };
	struct kmem_cache_stats cs;
	struct kmem_cache *kc;
	uint32_t *obj[100];
	unsigned i, round;

	boot(option);
	kc = kmem_cache_create(&ca);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < nitems(obj); i++) {
			obj[i] = kmem_cache_alloc(kc, 0);
			must(obj[i] != NULL && *obj[i] == BORN);
		}
		for (i = 0; i < nitems(obj); i++)
			must(free_client(kc, obj[i]));
		check_all();
	}
	if (kc->kc_debug & KMD_POISON) {
		must(nborn == ndead);
		refuse = true;
		must(kmem_cache_alloc(kc, 0) == NULL);
		refuse = false;
		kmem_cache_stats(kc, &cs);
		must(cs.cs_inuse == 0);
		check_all();
		obj[0] = kmem_cache_alloc(kc, 0);
		must(obj[0] != NULL && free_client(kc, obj[0]));
	}
	must(kmem_cache_destroy(kc) == 0);
	must(nborn == ndead);
	done();
}

START_TEST(constructors_poison)
{
	try_constructors("poison,redzone,audit");
}
END_TEST

START_TEST(constructors_guard)
{
	try_constructors("guard");
}
END_TEST

START_TEST(constructors_all)
{
	try_constructors("all,guard,sample/3");
}
END_TEST

/*
 * Who frees what: the report, and the two chains.
 */
static void
try_frees(const char *option)
{
	struct kmem_cache *kc, *other;
	struct freeing f;
	char *p, *q;

	boot(option);
	kc = make("frees", 100, 0);
	other = make("other", 100, 0);
	p = alloc_client(kc);
	q = alloc_client(other);
	f = (struct freeing){ .f_cache = kc, .f_obj = p + 8 };
	expect(do_free, &f, say("kmem_cache_free(frees, %p): 8 bytes into %p, "
	    "an object of frees", (void *)(p + 8), (void *)p));
	expect_chain("  allocated" AT_0, alloc_client);
	must(strcmp(host_log_last(), "  never freed") == 0);
	f.f_obj = q;
	expect(do_free, &f, say("kmem_cache_free(frees, %p): an object of "
	    "other", (void *)q));
	must(line_back(say("kmem: %p is in object %p of other (100 bytes)",
	    (void *)q, (void *)q)) < 30);
	f.f_obj = &f;
	expect(do_free, &f, say("kmem_cache_free(frees, %p): no memory of the "
	    "slabs' or the heap's", (void *)&f));
	must(free_client(kc, p));
	f.f_obj = p;
	expect(do_free, &f, say("kmem_cache_free(frees, %p): a free object of "
	    "frees", (void *)p));
	expect_chain("  allocated" AT_0, alloc_client);
	expect_chain("  freed" AT_0, free_client);
	must(free_client(other, q));
	must(kmem_cache_destroy(kc) == 0 && kmem_cache_destroy(other) == 0);
	done();
}

START_TEST(frees_audit)
{
	try_frees("audit");
}
END_TEST

START_TEST(frees_all)
{
	try_frees("all");
}
END_TEST

START_TEST(heap_frees)
{
	struct freeing f = { .f_type = M_ONE };
	const char *class;
	char *p;

	boot("all");
	kfree(kmalloc(1, M_TWO, 0), M_TWO);
	p = kmalloc_client(100);
	class = kmem_slab_find(p)->sl_cache->kc_name;
	f.f_obj = p + 4;
	expect(do_free, &f, say("kfree(%p, type one): 4 bytes into %p, an "
	    "object of %s of type one", (void *)(p + 4), (void *)p, class));
	f.f_obj = p;
	f.f_type = M_TWO;
	expect(do_free, &f, say("kfree(%p, type two): an object of %s of type "
	    "one", (void *)p, class));
	expect_chain("  allocated" AT_0, kmalloc_client);
	must(kfree_client(p));
	f.f_type = M_ONE;
	expect(do_free, &f, say("kfree(%p, type one): a free object of %s",
	    (void *)p, class));
	expect_chain("  freed" AT_0, kfree_client);
	done();
}
END_TEST

/*
 * Who frees, or moves, in the name of a type that nobody has used yet, whose
 * identity is that of no type, has nothing: least of all what is free.
 */
struct unused {
	struct kmalloc_type u_type[1];
	void		*u_obj;
};

static void
do_krealloc(void *arg)
{
	struct unused *u = arg;

	krealloc(u->u_obj, 50, u->u_type, 0);
}

static void
do_kfree(void *arg)
{
	struct unused *u = arg;

	kfree(u->u_obj, u->u_type);
}

static void
expect_unused(void (*fn)(void *), void *obj, const char *want)
{
	struct unused u = { { { .kt_name = "unused" } }, obj };
	unsigned nlocks;
	const char *said = host_panic_of(fn, &u, &nlocks);

	if (said == NULL)
		ck_abort_msg("no panic where \"%s\" was due", want);
	if (strcmp(said, want) != 0)
		ck_abort_msg("\"%s\" is not \"%s\"", said, want);
	must(nlocks == 0);
	/* It is no type by that. */
	must(u.u_type->kt_id == 0 && u.u_type->kt_next == NULL);
}

static void
try_unused(const char *modes)
{
	const char *class;
	char *p, *q;

	boot(modes);
	p = kmalloc_client(100);
	q = kmalloc_client(100);
	class = kmem_slab_find(p)->sl_cache->kc_name;
	expect_unused(do_kfree, p, say("kfree(%p, type unused): an object of "
	    "%s of type one", (void *)p, class));
	must(kfree_client(p));
	/* The object freed last would be told without a look at its tag. */
	must(kfree_client(q));
	expect_unused(do_kfree, p, say("kfree(%p, type unused): a free object "
	    "of %s", (void *)p, class));
	expect_unused(do_krealloc, p, say("krealloc(%p, type unused): a free "
	    "object of %s", (void *)p, class));
	done();
}

START_TEST(unused_check)
{
	try_unused("check");
}
END_TEST

START_TEST(unused_all)
{
	try_unused("all");
}
END_TEST

/* Alone on its pages, freed by an interrupt, not yet unmapped. */
START_TEST(unused_guard)
{
	char *p;

	boot("guard");
	p = kmalloc_client(100);
	host_set_intr(true);
	must(kfree_client(p));
	expect_unused(do_kfree, p, say("kfree(%p, type unused): 0 bytes into "
	    "%p, an object of kmalloc-104 (100 bytes), freed", (void *)p,
	    (void *)p));
	expect_unused(do_krealloc, p, say("krealloc(%p, type unused): 0 bytes "
	    "into %p, an object of kmalloc-104 (100 bytes), freed", (void *)p,
	    (void *)p));
	host_set_intr(false);
	done();
}
END_TEST

/*
 * What a magazine holds is looked at when it goes out: a round that was
 * written over is nobody's object, another cache's, or somebody's.
 */
START_TEST(bad_rounds)
{
	struct kmem_cache *kc, *other;
	struct freeing f;
	void **round = NULL;
	char *p, *q, *bad[4];
	unsigned i;

	boot("check");
	kc = make("rounds", 64, 0);
	other = make("other", 64, 0);
	p = alloc_client(kc);
	q = alloc_client(kc);
	must(free_client(kc, p));
	for (i = 0; i < VM_NCPU; i++)
		if (kmem_cpu_n(&kc->kc_cpu[i]) > 0)
			round = &kc->kc_cpu[i].cc_top[-1];
	must(round != NULL && *round == p);
	bad[0] = p + 8;			/* none begins there */
	bad[1] = (char *)&f;		/* no memory of ours */
	bad[2] = alloc_client(other);	/* another cache's */
	bad[3] = q;			/* in use */
	f = (struct freeing){ .f_cache = kc };
	for (i = 0; i < nitems(bad); i++) {
		*round = bad[i];
		expect(do_alloc, &f, say("kmem_cache_alloc(rounds): %p in a "
		    "magazine is no free object", (void *)bad[i]));
		/* It was taken, and comes back as it was. */
		kmem_cache_put(kc, p);
		must(*round == p);
	}
	must(alloc_client(kc) == p);
	must(free_client(kc, p) && free_client(kc, q));
	must(free_client(other, bad[2]));
	must(kmem_cache_destroy(kc) == 0 && kmem_cache_destroy(other) == 0);
	done();
}
END_TEST

struct sized {
	vaddr_t		 s_addr;
	vsize_t		 s_size;
};

static void
do_kmem_free(void *arg)
{
	struct sized *s = arg;

	kmem_free(kernel_map, s->s_addr, s->s_size);
}

START_TEST(wrong_size)
{
	struct sized s = { 0, ptoa(2) };
	const char *said;

	boot("all");
	s.s_addr = kmem_alloc(kernel_map, ptoa(3), KM_HEAP);
	said = host_panic_of(do_kmem_free, &s, NULL);
	must(said != NULL && strcmp(said, say("kmem_free: kernel_map: addr "
	    "%#lx size 0x2000: wrong size: region [%#lx, %#lx) of heap",
	    s.s_addr,
	    s.s_addr, s.s_addr + ptoa(3))) == 0);
	kmem_free(kernel_map, s.s_addr, ptoa(3));
	done();
}
END_TEST

/* Who still has objects of a cache that is to go. */
START_TEST(destroy_refused)
{
	struct kmem_cache *kc;
	char *p;

	boot("audit");
	kc = make("busy", 40, 0);
	p = alloc_client(kc);
	must(kmem_cache_destroy(kc) == EBUSY);
	line_back(say("kmem_cache_destroy(busy): %p is out", (void *)p));
	expect_chain("  allocated" AT_0, alloc_client);
	must(free_client(kc, p));
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

START_TEST(damaged_record)
{
	struct kmem_cache *kc;
	struct freeing f;
	char *p;

	boot("audit");
	kc = make("damaged", 40, 0);
	p = alloc_client(kc);
	f = (struct freeing){ .f_cache = kc, .f_obj = p + 1 };
	kmem_trail(kc, p)->t_record[KMD_ALLOCATED].r_pc[2]++;
	expect(do_free, &f, say("kmem_cache_free(damaged, %p): 1 bytes into "
	    "%p, an object of damaged", (void *)(p + 1), (void *)p));
	line_back("  allocated: the record is damaged");
	must(free_client(kc, p));
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/*
 * Guard pages.  A fault is the CPU's: it is caught, and handed to
 * kmem_debug_fault as a trap handler would.
 */
static sigjmp_buf fault_jmp;
static vaddr_t fault_va;

static void
fault_handler(int sig, siginfo_t *si, void *ctx)
{
	fault_va = (vaddr_t)si->si_addr;
	siglongjmp(fault_jmp, 1);
}

/* Does reading, or writing, the byte at p fault, at p? */
static bool
faults(volatile char *p, bool write)
{
	struct sigaction sa = { .sa_sigaction = fault_handler,
	    .sa_flags = SA_SIGINFO };
	struct sigaction was;
	volatile bool faulted = false;

	sigaction(SIGSEGV, &sa, &was);
	if (sigsetjmp(fault_jmp, 1) != 0)
		faulted = true;
	else if (write)
		*p = 'w';
	else
		(void)*p;
	sigaction(SIGSEGV, &was, NULL);
	must(!faulted || fault_va == (vaddr_t)p);
	return faulted;
}

static void
expect_fault(char *p, const char *what, bool freed)
{
	char buf[160];

	must(faults(p, false) && faults(p, true));
	must(kmem_debug_fault_what((vaddr_t)p, buf, sizeof(buf)));
	if (strcmp(buf, what) != 0)
		ck_abort_msg("\"%s\" is not \"%s\"", buf, what);
	must(kmem_debug_fault((vaddr_t)p));
	line_back(say("kmem: %#lx is %s", (vaddr_t)p, what));
	expect_chain("  allocated" AT_0, alloc_client);
	if (freed)
		expect_chain("  freed" AT_0, free_client);
	else
		must(strcmp(host_log_last(), "  never freed") == 0);
}

static void
try_guard(const char *option, size_t size, size_t align)
{
	struct kmem_cache *kc = make("alone", size, align);
	char *p = alloc_client(kc), *end;
	struct freeing f = { .f_cache = kc, .f_obj = p };
	size_t slack;

	must((uintptr_t)p % kc->kc_align == 0);
	end = (char *)roundup2((uintptr_t)(p + size), (uintptr_t)PAGE_SIZE);
	slack = (size_t)(end - (p + size));
	must(slack < kc->kc_align);
	must(!faults(p, true) && !faults(p + size - 1, true));
	expect_fault(end, say("%zu bytes behind the end of %p, an object of "
	    "alone (%zu bytes), in use", slack, (void *)p, size), false);
	if (slack > 0) {
		p[size] = 'x';
		expect(do_free, &f, say("kmem: alone: object %p (%zu bytes): 0 "
		    "bytes behind its end: 0x78, not 0xbb; 1 changed",
		    (void *)p, size));
		p[size] = (char)KMD_BYTE_ZONE;
	}
	if (((uintptr_t)p & PAGE_MASK) != 0) {
		p[-1] = 'x';
		expect(do_free, &f, say("kmem: alone: object %p (%zu bytes): 1 "
		    "bytes before its begin: 0x78, not 0xbb; 1 changed",
		    (void *)p, size));
		p[-1] = (char)KMD_BYTE_ZONE;
	}
	must(free_client(kc, p));
	expect_fault(p, say("0 bytes into %p, an object of alone (%zu bytes), "
	    "freed", (void *)p, size), true);
	expect(do_free, &f, say("kmem_cache_free(alone, %p): 0 bytes into %p, "
	    "an object of alone (%zu bytes), freed", (void *)p, (void *)p,
	    size));
	expect_chain("  freed" AT_0, free_client);
	check_all();
	must(kmem_cache_destroy(kc) == 0);
}

START_TEST(guards)
{
	static const size_t sizes[] = { 1, 8, 61, 100, 1024, 4095, 4096, 4097,
	    10000 };
	unsigned i;

	boot("guard:alone");
	for (i = 0; i < nitems(sizes); i++) {
		try_guard("guard:alone", sizes[i], 0);
		try_guard("guard:alone", sizes[i], 64);
	}
	done();
}
END_TEST

/* Frees that are wrong, of objects alone on their pages. */
START_TEST(guard_frees)
{
	struct kmem_cache *kc, *other;
	struct freeing f;
	char *p, *q;

	boot("guard");
	kc = make("alone", 64, 0);
	other = make("other", 64, 0);
	p = alloc_client(kc);
	f = (struct freeing){ .f_cache = kc, .f_obj = p + 8 };
	expect(do_free, &f, say("kmem_cache_free(alone, %p): 8 bytes into %p, "
	    "an object of alone (64 bytes), in use", (void *)(p + 8),
	    (void *)p));
	f.f_obj = p;
	f.f_cache = other;
	expect(do_free, &f, say("kmem_cache_free(other, %p): 0 bytes into %p, "
	    "an object of alone (64 bytes), in use", (void *)p, (void *)p));
	must(free_client(kc, p));
	q = kmalloc_client(100);
	must(kmalloc_usable(q) == 100);
	must(((uintptr_t)q + 104) % PAGE_SIZE == 0);
	f = (struct freeing){ .f_type = M_TWO, .f_obj = q };
	kfree(kmalloc(1, M_TWO, 0), M_TWO);
	expect(do_free, &f, say("kfree(%p, type two): 0 bytes into %p, an "
	    "object of kmalloc-104 (100 bytes), in use of type one", (void *)q,
	    (void *)q));
	must(kfree_client(q));
	f.f_type = M_ONE;
	expect(do_free, &f, say("kfree(%p, type one): 0 bytes into %p, an "
	    "object of kmalloc-104 (100 bytes), freed", (void *)q, (void *)q));
	q = kmalloc_client(48);
	must((uintptr_t)q % 16 == 0);
	must((vaddr_t)q >= VM_HEAP_MIN && (vaddr_t)q < VM_HEAP_MAX);
	must((vaddr_t)p >= VM_SLAB_MIN && (vaddr_t)p < VM_SLAB_MAX);
	q = krealloc(q, 4096, M_ONE, 0);
	must((uintptr_t)q % PAGE_SIZE == 0 && kmalloc_usable(q) == 4096);
	must(faults(q + 4096, true));
	must(kfree_client(q));
	must(kmem_cache_destroy(kc) == 0 && kmem_cache_destroy(other) == 0);
	done();
}
END_TEST

/*
 * Addresses that were freed come back late, and all of them in the end; the
 * frames come back at once.
 */
START_TEST(guard_order)
{
	struct kmem_cache *kc;
	char *p, *first, buf[160];
	unsigned i, j;
	pfn_t nfree;

	boot("guard:alone");
	kc = make("alone", 64, 0);
	first = alloc_client(kc);
	must(free_client(kc, first));
	nfree = vm_phys_nfree();
	for (i = 0; i < 63; i++) {
		p = alloc_client(kc);
		must(p != first);
		must(free_client(kc, p));
		for (j = 0; j < 3; j++)
			must(kmem_debug_fault_what((vaddr_t)first, buf,
			    sizeof(buf)));
	}
	/* What 64 records take. */
	must(nfree - vm_phys_nfree() <= 8);
	must(free_client(kc, alloc_client(kc)));
	must(!kmem_debug_fault_what((vaddr_t)first, buf, sizeof(buf)));
	must(!kmem_debug_fault((vaddr_t)first));
	must(kmem_reclaim(~0ul) >= 64);
	must(!kmem_debug_fault_what((vaddr_t)p, buf, sizeof(buf)));
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

START_TEST(guard_interrupts)
{
	struct freeing f;
	struct kmem_cache *kc;
	char *p, *q, *r, buf[160];

	boot("guard:alone");
	kc = make("alone", 64, 0);
	p = alloc_client(kc);
	q = alloc_client(kc);
	host_set_intr(true);
	r = kmem_cache_alloc(kc, KM_NOSLEEP);
	must(r == NULL || kmem_guard_find(r) == NULL);
	if (r != NULL)
		kmem_cache_free(kc, r);
	must(free_client(kc, p));
	host_set_intr(false);
	must((uint8_t)p[0] == KMD_BYTE_FREE && (uint8_t)p[63] == KMD_BYTE_FREE);
	must(strstr(host_log_last(), "freed") == NULL);
	must(kmem_debug_fault((vaddr_t)p));
	expect_chain("  freed" AT_0, free_client);
	must(free_client(kc, q));
	must(faults(p, false) && faults(q, false));
	/* And when a reclaim is what comes first. */
	p = alloc_client(kc);
	host_set_intr(true);
	must(free_client(kc, p));
	must(kmem_reclaim(1) == 0);
	host_set_intr(false);
	must(kmem_reclaim(~0ul) > 0);
	must(faults(p, false));
	/* Freed twice, while it waits; by another cache, by a wrong begin. */
	p = alloc_client(kc);
	host_set_intr(true);
	must(free_client(kc, p));
	must(kmem_guard_reap(1) == 0);
	f.f_obj = p;
	f.f_cache = kc;
	expect(do_free, &f, say("kmem_cache_free(alone, %p): 0 bytes into %p, "
	    "an object of alone (64 bytes), freed", (void *)p, (void *)p));
	host_set_intr(false);
	/* Before an object. */
	p = alloc_client(kc);
	must(kmem_debug_fault_what((vaddr_t)p - 10, buf, sizeof(buf)));
	must(strcmp(buf, say("10 bytes before %p, an object of alone (64 "
	    "bytes), in use", (void *)p)) == 0);
	must(free_client(kc, p));
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/* A constructor that refuses the page refuses nothing else. */
START_TEST(guard_refused)
{
	const struct kmem_cache_args ca = { .ca_name = "ctor", .ca_size = 60,
	    .ca_ctor = ctor, .ca_dtor = dtor, .ca_arg = &nborn };
	struct kmem_cache *kc;
	void *obj;

	boot("guard");
	kc = kmem_cache_create(&ca);
	obj = kmem_cache_alloc(kc, 0);
	must(obj != NULL && kmem_guard_find(obj) != NULL);
	refuse = true;
	must(free_client(kc, obj));
	obj = kmem_cache_alloc(kc, 0);
	must(obj != NULL && kmem_guard_find(obj) == NULL);
	must(free_client(kc, obj));
	refuse = false;
	must(kmem_cache_destroy(kc) == 0);
	must(nborn == ndead);
	done();
}
END_TEST

/* Without memory for it an object is one of the slab's. */
START_TEST(guard_starved)
{
	enum vm_fail_site site = (enum vm_fail_site)_i;
	struct kmem_cache *kc;
	unsigned long n;
	char *p, *q;

	boot("guard:alone");
	kc = make("alone", 64, 0);
	q = alloc_client(kc);
	for (n = 1; n < 40; n++) {
		/* Without even a record at hand, half of the time. */
		if (n % 4 < 2 && q != NULL) {
			must(free_client(kc, q));
			q = NULL;
			kmem_cache_reap_all();
		}
		vm_fail_set(site, n / 4 + 1, n % 2);
		p = kmem_cache_alloc(kc, KM_NOSLEEP);
		if (p != NULL) {
			memset(p, 1, 64);
			must(free_client(kc, p));
		}
		must(p != NULL || q == NULL);
		vm_fail_set(site, 0, false);
		check_all();
		kmem_reclaim(~0ul);
		if (n % 2 == 0)
			kmem_cache_reap_all();
		if (q == NULL)
			q = alloc_client(kc);
	}
	must(free_client(kc, q));
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/*
 * Samples.
 */
START_TEST(samples)
{
	struct kmem_cache *kc;
	static char *obj[4000];
	unsigned i, n = 0, round;

	boot("sample/2");
	kc = make("sampled", 128, 0);
	must(kc->kc_debug == KMD_SAMPLE);
	for (round = 0; round < 3; round++, n = 0) {
		for (i = 0; i < nitems(obj); i++) {
			obj[i] = alloc_client(kc);
			memset(obj[i], (int)i, 128);
			n += kmem_guard_find(obj[i]) != NULL;
		}
		/* At most so many at a time. */
		must(n <= 32);
		must(round > 0 || n == 32);
		for (i = 0; i < nitems(obj); i++) {
			bool alone = kmem_guard_find(obj[i]) != NULL;

			must(obj[i][127] == (char)i);
			must(free_client(kc, obj[i]));
			must(!alone || faults(obj[i], false));
		}
		check_all();
		kmem_cache_reap(kc);
	}
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

START_TEST(sample_is_told)
{
	struct kmem_cache *kc;
	static char *obj[1000];
	unsigned i, n = 0;
	struct freeing f;

	boot("sample/3");
	kc = make("sampled", 100, 0);
	for (i = 0; i < nitems(obj); i++)
		obj[i] = alloc_client(kc);
	for (i = 0; i < nitems(obj); i++) {
		if (kmem_guard_find(obj[i]) == NULL) {
			must(free_client(kc, obj[i]));
			continue;
		}
		if (n++ == 0) {
			expect_fault(obj[i] + 104, say("4 bytes behind the end "
			    "of %p, an object of sampled (100 bytes), in use",
			    (void *)obj[i]), false);
			must(free_client(kc, obj[i]));
			expect_fault(obj[i] + 99, say("99 bytes into %p, an "
			    "object of sampled (100 bytes), freed",
			    (void *)obj[i]), true);
			f = (struct freeing){ .f_cache = kc, .f_obj = obj[i] };
			expect(do_free, &f, say("kmem_cache_free(sampled, %p): "
			    "0 bytes into %p, an object of sampled (100 "
			    "bytes), freed", (void *)obj[i], (void *)obj[i]));
		} else
			must(free_client(kc, obj[i]));
	}
	must(n > 1);
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/*
 * The list of pages that interrupts freed: whatever is written there since
 * is seen, and no link followed.
 */
static void
do_drain(void *arg)
{
	kmem_cache_reap_all();
}

START_TEST(encoded_links)
{
	const char *said;
	uintptr_t *p, q;
	unsigned i, bit;

	boot(NULL);
	p = kmalloc(3 * PAGE_SIZE, M_ONE, 0);
	q = (uintptr_t)kmalloc(2 * PAGE_SIZE, M_ONE, 0);
	host_set_intr(true);
	kfree((void *)q, M_ONE);
	kfree(p, M_ONE);
	host_set_intr(false);
	/* No address of anything can be read there. */
	must(p[0] != q && p[1] != 3 * PAGE_SIZE);
	for (i = 0; i < 3; i++)
		for (bit = 0; bit < 8 * sizeof(*p); bit++) {
			p[i] ^= (uintptr_t)1 << bit;
			said = host_panic_of(do_drain, NULL, NULL);
			must(said != NULL && strcmp(said, say("kmem_pages: the "
			    "pages at %p, which an interrupt freed, were "
			    "written to since: link %#lx size %#lx check %#lx",
			    (void *)p, (unsigned long)p[0],
			    (unsigned long)p[1], (unsigned long)p[2])) == 0);
			p[i] ^= (uintptr_t)1 << bit;
		}
	/* The same change of both, which a plain sum would not see. */
	p[0] ^= 0x1000;
	p[1] ^= 0x1000;
	must(host_panic_of(do_drain, NULL, NULL) != NULL);
	p[0] ^= 0x1000;
	p[1] ^= 0x1000;
	/* Mended, all goes back. */
	must(kmem_cache_reap_all() >= 5);
	done();
}
END_TEST

/*
 * An overflow from a slab's last object into its header, where no zone lies
 * between: the links are not followed.
 */
START_TEST(torn_links)
{
	struct kmem_link elsewhere = { NULL, NULL }, *l;
	struct kmem_cache *kc;
	struct kmem_slab *sl;
	struct freeing f;
	const char *said;
	unsigned i, n;
	void **obj;

	boot(NULL);
	kc = make("torn", 64, 0);
	must(!(kc->kc_flags & KC_OFFSLAB));
	n = 2 * kc->kc_per_slab;
	obj = calloc(n, sizeof(*obj));
	for (i = 0; i < n; i++)
		obj[i] = alloc_client(kc);
	kmem_cache_reap(kc);
	sl = kmem_slab_find(obj[0]);
	l = &sl->sl_link;
	f = (struct freeing){ .f_cache = kc };
	for (i = 0; i < n; i++)
		if (kmem_slab_find(obj[i]) == sl)
			kmem_cache_free(kc, obj[i]);
	elsewhere.kl_prev = elsewhere.kl_next = &elsewhere;
	for (i = 0; i < 2; i++) {
		struct kmem_link was = *l;

		if (i == 0)
			l->kl_next = &elsewhere;
		else
			l->kl_prev = &elsewhere;
		said = host_panic_of(do_reap, &f, NULL);
		must(said != NULL && strcmp(said, say("kmem: the links at %p, "
		    "which slabs are listed by, were written over: next %p, "
		    "previous %p", (void *)l, (void *)l->kl_next,
		    (void *)l->kl_prev)) == 0);
		must(elsewhere.kl_prev == &elsewhere &&
		    elsewhere.kl_next == &elsewhere);
		*l = was;
	}
	free(obj);
}
END_TEST

/*
 * Zeroes from the last object on, as far as the bits: of a slab that has an
 * object left nothing is left to give, and who asks is told, not kept waiting.
 */
START_TEST(torn_header)
{
	struct freeing f = { .f_cache = NULL };
	struct kmem_cache *kc;
	struct kmem_slab *sl, was;
	const char *said;
	unsigned nlocks;
	void *obj;

	boot(NULL);
	kmem_debug_set(0);
	kc = make("torn", 64, 0);
	obj = alloc_client(kc);
	kmem_cache_reap(kc);
	sl = kmem_slab_find(obj);
	must(!(kc->kc_flags & KC_OFFSLAB) && sl->sl_inuse == 1);
	was = *sl;
	memset(sl, 0, sizeof(*sl));
	f.f_cache = kc;
	said = host_panic_of(do_alloc, &f, &nlocks);
	must(said != NULL && strcmp(said, say("kmem: the header at %p, of a "
	    "slab of torn, was written over", (void *)sl)) == 0);
	must(nlocks == 1);
	*sl = was;
	must(free_client(kc, obj));
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/* And magazines are listed by links that are encoded. */
START_TEST(torn_magazine)
{
	static void *obj[2000];
	struct kmem_cache *kc;
	struct kmem_mag *mag;
	struct freeing f;
	const char *said;
	uintptr_t was;
	unsigned i, bit;

	boot(NULL);
	kc = make("torn", 64, 0);
	for (bit = 0; kc->kc_nfull < 2 && bit < 10; bit++) {
		for (i = 0; i < nitems(obj); i++)
			obj[i] = alloc_client(kc);
		for (i = 0; i < nitems(obj); i++)
			must(free_client(kc, obj[i]));
	}
	must(kc->kc_nfull >= 2);
	mag = kc->kc_full_mags;
	must(kmem_mag_next(mag) != NULL);
	must(mag->m_link != (uintptr_t)kmem_mag_next(mag));
	f = (struct freeing){ .f_cache = kc };
	was = mag->m_link;
	for (bit = 12; bit < 8 * sizeof(was); bit++) {
		mag->m_link = was ^ (uintptr_t)1 << bit;
		said = host_panic_of(do_reap, &f, NULL);
		must(said != NULL && strstr(said, say("kmem: the magazine at "
		    "%p was written over: what it leads to, ", (void *)mag)) ==
		    said);
		mag->m_link = was;
	}
}
END_TEST

/*
 * Leaks.
 */
static void *root[8];

struct found {
	unsigned	 n;
	struct kmem_leak leak[2000];
};

static void
found_one(const struct kmem_leak *kl, void *arg)
{
	struct found *f = arg;

	must(f->n < nitems(f->leak));
	f->leak[f->n++] = *kl;
}

static void
count_one(const struct kmem_leak *kl, void *arg)
{
	++*(unsigned long *)arg;
}

static struct found found;

/* Those n, in any order, and no others, are leaked. */
static void
expect_leaks_(unsigned line, unsigned n, void *const *objs)
{
	struct found *const fp = &found;
	unsigned i, j;

	fp->n = 0;
	must(kmem_leaks(found_one, fp) == fp->n);
	for (i = 0; i < n; i++) {
		for (j = 0; j < fp->n && fp->leak[j].kl_obj != objs[i]; j++)
			continue;
		if (j == fp->n)
			ck_abort_msg("%p, the %u-th, is not among the %u leaks",
			    objs[i], i, fp->n);
	}
	if (fp->n != n)
		ck_abort_msg("line %u: %u leaks, not %u: %p", line, fp->n,
		    n, fp->leak[0].kl_obj);
	/* And no mark is left. */
	check_all();
}

#define expect_leaks(...)	expect_leaks_(__LINE__, __VA_ARGS__)

static void
try_leaks(const char *option)
{
	const struct kmem_cache_args with_arg = { .ca_name = "arg",
	    .ca_size = 8, .ca_arg = NULL };
	struct kmem_cache_args ca = with_arg;
	struct kmem_cache *kc, *kc2;
	void **p, **q, **r, **big;
	vaddr_t pages;

	boot(option);
	host_set_roots(root, root + nitems(root));
	kc = make("leaky", 100, 0);
	expect_leaks(0, NULL);
	p = (void **)alloc_client(kc);
	memset(p, 0, 100);
	expect_leaks(1, (void *[]){ p });
	root[3] = p;
	expect_leaks(0, NULL);
	root[3] = (char *)p + 99;
	expect_leaks(0, NULL);
	root[3] = (char *)p + 100;
	expect_leaks(1, (void *[]){ p });
	/* A chain through the heap, a large block, and back. */
	q = (void **)kmalloc_client(1000);
	big = (void **)kmalloc_client(3 * PAGE_SIZE);
	memset(q, 0, 1000);
	memset(big, 0, 3 * PAGE_SIZE);
	root[3] = p;
	p[1] = (char *)q + 500;
	q[10] = (char *)big + 2 * PAGE_SIZE;
	big[1000] = NULL;
	expect_leaks(0, NULL);
	p[1] = NULL;
	expect_leaks(2, (void *[]){ q, big });
	/* A ring that nobody points into. */
	big[1000] = q;
	expect_leaks(2, (void *[]){ q, big });
	root[0] = big;
	expect_leaks(0, NULL);
	root[0] = NULL;
	/* What was freed points nowhere any more. */
	r = (void **)alloc_client(kc);
	memset(r, 0, 100);
	root[1] = r;
	r[5] = q;
	expect_leaks(0, NULL);
	must(free_client(kc, r));
	expect_leaks(2, (void *[]){ q, big });
	/* Pages of kmem_alloc are roots, a cache's argument is one, too. */
	pages = kmem_alloc(kernel_map, ptoa(2), 0);
	memset((void *)pages, 0, ptoa(2));
	*(void **)(pages + PAGE_SIZE + 16) = q;
	expect_leaks(0, NULL);
	kmem_free(kernel_map, pages, ptoa(2));
	expect_leaks(2, (void *[]){ q, big });
	ca.ca_arg = q;
	kc2 = kmem_cache_create(&ca);
	expect_leaks(0, NULL);
	must(kmem_cache_destroy(kc2) == 0);
	/* What one is told of each. */
	must(kfree_client(big));
	root[3] = NULL;
	must(free_client(kc, p));
	expect_leaks(1, (void *[]){ q });
	must(found.leak[0].kl_cache->kc_flags & KC_HEAP);
	must(found.leak[0].kl_size == (kmalloc_usable(q)));
	must(kfree_client(q));
	q = (void **)kmalloc_client(3 * PAGE_SIZE);
	expect_leaks(1, (void *[]){ q });
	must(found.leak[0].kl_cache == NULL &&
	    found.leak[0].kl_size == 3 * PAGE_SIZE);
	must(kfree_client(q));
	must(kmem_cache_destroy(kc) == 0);
	expect_leaks(0, NULL);
	host_set_roots(NULL, NULL);
	done();
}

START_TEST(leaks)
{
	static const char *const mode[] = { "check", "all", "guard",
	    "all,guard", "redzone,sample/1" };

	try_leaks(mode[_i]);
}
END_TEST

/*
 * More reached at once than the scan keeps in mind, and as long a chain: it
 * finds its way all the same.
 */
START_TEST(leaks_many)
{
	enum { WIDE = 1500, LONG = 3000 };
	struct kmem_cache *kc;
	void **wide, **p, **last = NULL;
	unsigned long n = 0;
	unsigned i;

	boot("check");
	host_set_roots(root, root + nitems(root));
	kc = make("many", 64, 0);
	wide = (void **)kmalloc_client(WIDE * sizeof(void *));
	for (i = 0; i < WIDE; i++) {
		wide[i] = p = (void **)alloc_client(kc);
		memset(p, 0, 64);
		p[3] = alloc_client(kc);
		memset(p[3], 0, 64);
		last = p;
	}
	root[0] = wide;
	expect_leaks(0, NULL);
	/* Below the last of them, one more each time. */
	for (i = 0; i < LONG; i++, last = p) {
		p = (void **)alloc_client(kc);
		memset(p, 0, 64);
		last[7] = p;
	}
	expect_leaks(0, NULL);
	root[1] = last;
	root[0] = NULL;
	must(kmem_leaks(count_one, &n) == n);
	must(n == 1 + 2 * WIDE + LONG - 1);
}
END_TEST

/* One alone on its pages and one that is not, leaked both, or either. */
START_TEST(leaks_mixed)
{
	struct kmem_cache *kc, *alone;
	void **p, **q, **other;

	boot("check");
	must(kmem_debug_option("guard:alone"));
	host_set_roots(root, root + nitems(root));
	kc = make("plain", 64, 0);
	alone = make("alone", 64, 0);
	root[0] = other = (void **)alloc_client(alone);
	p = (void **)alloc_client(kc);
	q = (void **)alloc_client(alone);
	memset(p, 0, 64);
	memset(q, 0, 64);
	memset(other, 0, 64);
	must(kmem_guard_find(q) != NULL && kmem_guard_find(p) == NULL);
	expect_leaks(2, (void *[]){ p, q });
	root[1] = p;
	expect_leaks(1, (void *[]){ q });
	root[1] = q;
	expect_leaks(1, (void *[]){ p });
	q[7] = p;
	expect_leaks(0, NULL);
	/* What one freed alone on its page points to, nobody points to. */
	must(free_client(alone, q));
	expect_leaks(1, (void *[]){ p });
	must(free_client(kc, p) && free_client(alone, other));
	root[0] = root[1] = NULL;
	must(kmem_cache_destroy(kc) == 0 && kmem_cache_destroy(alone) == 0);
	done();
}
END_TEST

/* A sample of a cache in which nobody is asked who has what. */
START_TEST(leaks_samples)
{
	static void *obj[500], *leaked[500];
	struct kmem_cache *kc;
	unsigned i, n = 0;

	boot("sample/2");
	host_set_roots(obj, obj + nitems(obj));
	kc = make("sampled", 64, 0);
	for (i = 0; i < nitems(obj); i++) {
		obj[i] = alloc_client(kc);
		memset(obj[i], 0, 64);
	}
	expect_leaks(0, NULL);
	for (i = 0; i < nitems(obj); i++)
		if (kmem_guard_find(obj[i]) != NULL) {
			leaked[n++] = obj[i];
			obj[i] = NULL;
		}
	must(n > 3);
	expect_leaks(n, leaked);
	for (i = 0; i < n; i++)
		must(free_client(kc, leaked[i]));
	for (i = 0; i < nitems(obj); i++)
		kmem_cache_free(kc, obj[i]);
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/*
 * From the program's own data and this stack, as by itself.  What lies about
 * there may look like a pointer to one or another: most are found.
 */
START_TEST(leaks_default_roots)
{
	static uintptr_t hidden[50];
	static void *kept;
	void *volatile local;
	struct kmem_cache *kc;
	unsigned i, j, n = 0;

	boot(_i ? "guard" : "check");
	kc = make("leaky", 100, 0);
	kept = alloc_client(kc);
	local = alloc_client(kc);
	for (i = 0; i < nitems(hidden); i++) {
		hidden[i] = ~(uintptr_t)alloc_client(kc);
		memset((void *)~hidden[i], 0, 100);
	}
	found.n = 0;
	kmem_leaks(found_one, &found);
	for (i = 0; i < found.n; i++) {
		must(found.leak[i].kl_obj != kept);
		must(found.leak[i].kl_obj != local);
		for (j = 0; j < nitems(hidden); j++)
			n += (uintptr_t)found.leak[i].kl_obj == ~hidden[j];
	}
	must(n == found.n && n > nitems(hidden) / 2);
	kmem_cache_free(kc, kept);
	kmem_cache_free(kc, local);
	for (i = 0; i < nitems(hidden); i++)
		kmem_cache_free(kc, (void *)~hidden[i]);
	must(kmem_cache_destroy(kc) == 0);
	done();
}
END_TEST

/* The heap, all of it in every mode at once, at random. */
static void
try_random(const char *option, unsigned seed)
{
	static struct { char *p; size_t size; uint8_t mark; } slot[300];
	uint64_t rng = seed;
	unsigned op, i;
	size_t off;

	boot(option);
	for (op = 0; op < 20000; op++) {
		i = k_random(&rng) % nitems(slot);
		if (slot[i].p == NULL) {
			slot[i].size = 1 + k_random(&rng) %
			    (op % 3 ? 300 : 6000);
			slot[i].p = kmalloc(slot[i].size, M_ONE, KM_NOSLEEP);
			must(slot[i].p != NULL);
			slot[i].mark = (uint8_t)k_random(&rng);
			memset(slot[i].p, slot[i].mark, slot[i].size);
			continue;
		}
		for (off = 0; off < slot[i].size; off += 1 + off / 4)
			must((uint8_t)slot[i].p[off] == slot[i].mark);
		kfree(slot[i].p, M_ONE);
		slot[i].p = NULL;
		if (op % 1000 == 0)
			check_all();
		if (op % 5000 == 0)
			kmem_cache_reap_all();
	}
	for (i = 0; i < nitems(slot); i++)
		kfree(slot[i].p, M_ONE);
	done();
}

START_TEST(random_operations)
{
	static const char *const mode[] = { "all", "guard", "sample/1",
	    "all,guard", "all,sample/2", "redzone", "poison", "audit" };

	try_random(mode[_i], (unsigned)_i + 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmem_debug");
	TCase *tc = tcase_create("kmem_debug");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, options);
	tcase_add_test(tc, bad_options);
	tcase_add_test(tc, layouts);
	tcase_add_test(tc, overflow);
	tcase_add_test(tc, underflow);
	tcase_add_test(tc, heap_overflow);
	tcase_add_test(tc, heap_sizes);
	tcase_add_test(tc, write_after_free);
	tcase_add_test(tc, slab_goes);
	tcase_add_test(tc, new_is_not_zero);
	tcase_add_test(tc, constructors_poison);
	tcase_add_test(tc, constructors_guard);
	tcase_add_test(tc, constructors_all);
	tcase_add_test(tc, frees_audit);
	tcase_add_test(tc, frees_all);
	tcase_add_test(tc, heap_frees);
	tcase_add_test(tc, unused_check);
	tcase_add_test(tc, unused_all);
	tcase_add_test(tc, unused_guard);
	tcase_add_test(tc, bad_rounds);
	tcase_add_test(tc, wrong_size);
	tcase_add_test(tc, destroy_refused);
	tcase_add_test(tc, damaged_record);
	tcase_add_test(tc, guards);
	tcase_add_test(tc, guard_frees);
	tcase_add_test(tc, guard_order);
	tcase_add_test(tc, guard_interrupts);
	tcase_add_test(tc, guard_refused);
	tcase_add_loop_test(tc, guard_starved, 0, VM_FAIL_NSITES);
	tcase_add_test(tc, samples);
	tcase_add_test(tc, sample_is_told);
	tcase_add_test(tc, encoded_links);
	tcase_add_test(tc, torn_links);
	tcase_add_test(tc, torn_header);
	tcase_add_test(tc, torn_magazine);
	tcase_add_loop_test(tc, leaks, 0, 5);
	tcase_add_test(tc, leaks_many);
	tcase_add_test(tc, leaks_mixed);
	tcase_add_test(tc, leaks_samples);
	tcase_add_loop_test(tc, leaks_default_roots, 0, 2);
	tcase_add_loop_test(tc, random_operations, 0, 8);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
