/*
 * Mistakes with objects, each made once on the real machine: the report that
 * is due for it, to the letter, with the functions of both call chains.
 */
#include <kern/ddb.h>
#include <kern/md.h>
#include <kern/selftest.h>
#include <vm/kmalloc_impl.h>
#include <vm/kmem_debug_impl.h>

static KMALLOC_DEFINE(M_OURS, "selftest kmem", "mistakes of the self-tests");

static char log[3000];		/* what was said before the panic */

/* Is word in text, from there on?  => behind it; NULL: no */
static const char *
find(const char *text, const char *word)
{
	const size_t n = strlen(word);

	for (; *text != '\0'; text++)
		if (strncmp(text, word, n) == 0)
			return text + n;
	return n == 0 ? text : NULL;
}

/* Clients, which records are to name. */
static char * __attribute__((__noinline__))
client_alloc(struct kmem_cache *kc)
{
	return kmem_cache_alloc(kc, KM_NOSLEEP);
}

static void __attribute__((__noinline__))
client_free(struct kmem_cache *kc, void *obj)
{
	kmem_cache_free(kc, obj);
}

/* A mistake that is about to be made: fn(cache, object). */
struct mistake {
	void		(*m_fn)(struct kmem_cache *, void *obj);
	struct kmem_cache *m_cache;
	char		*m_obj;
};

static void
commit(void *arg)
{
	const struct mistake *m = arg;

	m->m_fn(m->m_cache, m->m_obj);
}

static const char *
expect(void (*fn)(struct kmem_cache *, void *), struct kmem_cache *kc,
    char *obj, const char *fmt, ...) __printflike(4, 5);

static const char *
expect(void (*fn)(struct kmem_cache *, void *), struct kmem_cache *kc,
    char *obj, const char *fmt, ...)
{
	struct mistake m = { fn, kc, obj };
	static char want[300], msg[400];
	bool panicked;
	va_list ap;

	va_start(ap, fmt);
	k_vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	log[0] = '\0';
	log_divert(log, sizeof(log));
	panicked = panic_catch(commit, &m, msg, sizeof(msg));
	log_divert(NULL, 0);
	if (!panicked)
		return test_failed("no panic \"%s\"", want);
	/* Of a fault one cannot say beforehand which instruction it is. */
	if (strncmp(msg, want, strlen(want)) != 0)
		return test_failed("\"%s\" is not \"%s\"", msg, want);
	return NULL;
}

/* The log has a chain that begins so, and then names the function. */
static const char *
expect_chain(const char *did, const char *function)
{
	const char *p = find(log, did);

	if (p == NULL || (p = find(p, " ticks ago, by\n    0x")) == NULL ||
	    find(p, function) == NULL)
		return test_failed("no chain \"%s\" with %s: %s", did,
		    function, log);
	return NULL;
}

static struct kmem_cache *
cache(const char *name, const char *option)
{
	const struct kmem_cache_args ca = { .ca_name = name, .ca_size = 100 };

	kmem_debug_option(option);
	return kmem_cache_create(&ca);
}

#define TRY(e)	do {							\
	const char *wrong_ = (e);					\
	if (wrong_ != NULL)						\
		return wrong_;						\
} while (0)

/* Beside an object, behind it and before it. */
const char *
test_kmem_zones(void)
{
	struct kmem_cache *kc = cache("selftest zone",
	    "off,redzone,audit:selftest_zone");
	char *p;

	if (kc == NULL || (p = client_alloc(kc)) == NULL)
		return "no object";
	p[103] = 'x';
	TRY(expect(client_free, kc, p, "kmem: selftest zone: object %p (100 "
	    "bytes): 3 bytes behind its end: 0x78, not 0xbb; 1 changed",
	    (void *)p));
	TRY(expect_chain("  allocated at tick ", " client_alloc+0x"));
	if (find(log, "  never freed\n") == NULL)
		return "it was never freed, and that is not said";
	p[103] = (char)KMD_BYTE_ZONE;
	p[-2] = 'y';
	TRY(expect(client_free, kc, p, "kmem: selftest zone: object %p (100 "
	    "bytes): 2 bytes before its begin: 0x79, not 0xbb; 1 changed",
	    (void *)p));
	p[-2] = (char)KMD_BYTE_ZONE;
	client_free(kc, p);
	return kmem_cache_destroy(kc) == 0 ? NULL : "objects are left";
}

static void
do_alloc(struct kmem_cache *kc, void *obj)
{
	client_alloc(kc);
}

/* Writing to an object that was freed. */
const char *
test_kmem_poison(void)
{
	struct kmem_cache *kc = cache("selftest poison",
	    "off,poison,audit:selftest_poison");
	char *p;

	if (kc == NULL || (p = client_alloc(kc)) == NULL)
		return "no object";
	if ((uint8_t)p[99] != KMD_BYTE_NEW)
		return "a new object is not filled";
	client_free(kc, p);
	p[40] = 'z';
	TRY(expect(do_alloc, kc, NULL, "kmem: selftest poison: object %p (100 "
	    "bytes): 40 bytes into it, while it was free: 0x7a, not 0x6b; 1 "
	    "changed", (void *)p));
	TRY(expect_chain("  allocated at tick ", " client_alloc+0x"));
	TRY(expect_chain("  freed at tick ", " client_free+0x"));
	return kmem_cache_destroy(kc) == 0 ? NULL : "objects are left";
}

/* Frees of what is not one's own to free. */
const char *
test_kmem_bad_frees(void)
{
	struct kmem_cache *kc = cache("selftest free",
	    "off,audit:selftest_free");
	struct kmem_cache *other = cache("selftest other",
	    "off,check:selftest_other");
	char *p, *q;

	if (kc == NULL || other == NULL || (p = client_alloc(kc)) == NULL ||
	    (q = client_alloc(other)) == NULL)
		return "no object";
	TRY(expect(client_free, kc, p + 4, "kmem_cache_free(selftest free, "
	    "%p): 4 bytes into %p, an object of selftest free",
	    (void *)(p + 4), (void *)p));
	TRY(expect_chain("  allocated at tick ", " client_alloc+0x"));
	TRY(expect(client_free, other, p, "kmem_cache_free(selftest other, "
	    "%p): an object of selftest free", (void *)p));
	TRY(expect(client_free, kc, q, "kmem_cache_free(selftest free, %p): "
	    "an object of selftest other", (void *)q));
	TRY(expect(client_free, kc, log, "kmem_cache_free(selftest free, %p): "
	    "no memory of the slabs' or the heap's", (void *)log));
	client_free(kc, p);
	TRY(expect(client_free, kc, p, "kmem_cache_free(selftest free, %p): a "
	    "free object of selftest free", (void *)p));
	TRY(expect_chain("  allocated at tick ", " client_alloc+0x"));
	TRY(expect_chain("  freed at tick ", " client_free+0x"));
	client_free(other, q);
	return kmem_cache_destroy(kc) == 0 && kmem_cache_destroy(other) == 0 ?
	    NULL : "objects are left";
}

static void
do_kfree_temp(struct kmem_cache *kc, void *p)
{
	kfree(p, M_TEMP);
}

static void
do_kmem_free_less(struct kmem_cache *kc, void *p)
{
	kmem_free(kernel_map, (vaddr_t)p, PAGE_SIZE);
}

/* The heap's, by another type; pages, with another size. */
const char *
test_kmem_bad_heap(void)
{
	const vaddr_t va = kmem_alloc(kernel_map, 2 * PAGE_SIZE, KM_HEAP);
	char *p = kmalloc(100, M_OURS, KM_NOSLEEP);
	const struct kmem_slab *sl = kmem_slab_find(p);
	const char *wrong = NULL;

	if (va == 0 || p == NULL)
		return "no memory";
	/* As far as the boot option has it watched, and in a slab. */
	if (sl != NULL && (sl->sl_cache->kc_debug & KMD_CHECK))
		wrong = expect(do_kfree_temp, NULL, p, "kfree(%p, type temp): "
		    "an object of %s of type selftest kmem", (void *)p,
		    sl->sl_cache->kc_name);
	if (wrong == NULL)
		wrong = expect(do_kmem_free_less, NULL, (char *)va,
		    "kmem_free: kernel_map: addr %#lx size 0x1000: wrong "
		    "size: region [%#lx, %#lx) of heap", va, va,
		    va + 2 * PAGE_SIZE);
	kfree(p, M_OURS);
	kmem_free(kernel_map, va, 2 * PAGE_SIZE);
	return wrong;
}

static void
do_read(struct kmem_cache *kc, void *p)
{
	(void)*(volatile char *)p;
}

static void
do_write(struct kmem_cache *kc, void *p)
{
	*(volatile char *)p = 'w';
}

/* What the trap handler says of a fault that is not expected. */
static void
tell_fault(char *p)
{
	log[0] = '\0';
	log_divert(log, sizeof(log));
	kmem_debug_fault((vaddr_t)p);
	log_divert(NULL, 0);
}

static const char *
guarded(struct kmem_cache *kc, char *p)
{
	const char *name = kc->kc_name;

	TRY(expect(do_read, kc, p + 104, "page fault: read of kernel page %p "
	    "(4 bytes behind the end of %p, an object of %s (100 bytes), in "
	    "use), not present at 0x", (void *)(p + 104), (void *)p, name));
	tell_fault(p + 104);
	TRY(expect_chain("  allocated at tick ", " client_alloc+0x"));
	p[101] = 'x';
	TRY(expect(client_free, kc, p, "kmem: %s: object %p (100 bytes): 1 "
	    "bytes behind its end: 0x78, not 0xbb; 1 changed", name,
	    (void *)p));
	p[101] = (char)KMD_BYTE_ZONE;
	client_free(kc, p);
	TRY(expect(do_write, kc, p, "page fault: write to kernel page %p (0 "
	    "bytes into %p, an object of %s (100 bytes), freed), not present "
	    "at 0x", (void *)p, (void *)p, name));
	tell_fault(p);
	TRY(expect_chain("  allocated at tick ", " client_alloc+0x"));
	TRY(expect_chain("  freed at tick ", " client_free+0x"));
	TRY(expect(client_free, kc, p, "kmem_cache_free(%s, %p): 0 bytes into "
	    "%p, an object of %s (100 bytes), freed", name, (void *)p,
	    (void *)p, name));
	return NULL;
}

/* Alone before an unmapped page: the CPU finds it out. */
const char *
test_kmem_guard(void)
{
	struct kmem_cache *kc = cache("selftest guard",
	    "off,guard:selftest_guard");
	char *p;

	if (kc == NULL || (p = client_alloc(kc)) == NULL)
		return "no object";
	TRY(guarded(kc, p));
	return kmem_cache_destroy(kc) == 0 ? NULL : "objects are left";
}

/* One in some allocations: the first, if each refill gives one. */
const char *
test_kmem_sample(void)
{
	struct kmem_cache *kc;
	char *p;

	kmem_guard_every(1);
	kc = cache("selftest sample", "off,sample:selftest_sample");
	p = kc == NULL ? NULL : client_alloc(kc);
	kmem_guard_every(0);
	if (p == NULL)
		return "no object";
	if (kmem_guard_find(p) == NULL)
		return "it is not alone on its page";
	TRY(guarded(kc, p));
	return kmem_cache_destroy(kc) == 0 ? NULL : "objects are left";
}

/*
 * Pointers that the scan does not know.  What lies about on the stack, or in
 * a variable that somebody has done with, may look like one or another of
 * them: of some objects most are found.
 */
#define HIDDEN		32u

static uintptr_t hidden[HIDDEN];
static bool found[HIDDEN];
static void *volatile kept;

static bool __attribute__((__noinline__))
hide(struct kmem_cache *kc)
{
	for (unsigned i = 0; i < HIDDEN; i++) {
		hidden[i] = ~(uintptr_t)client_alloc(kc);
		if (hidden[i] == ~(uintptr_t)0)
			return false;
		memset((void *)~hidden[i], 0, kc->kc_size);
	}
	return true;
}

static void __attribute__((__noinline__))
wash_stack(void)
{
	volatile char dirt[1024];

	for (unsigned i = 0; i < sizeof(dirt); i++)
		dirt[i] = 0;
}

static void
leak_found(const struct kmem_leak *kl, void *arg)
{
	for (unsigned i = 0; i < HIDDEN; i++)
		found[i] |= (uintptr_t)kl->kl_obj == ~hidden[i];
}

/* => how many of them are leaked; found[] says which */
static unsigned
leaks(void)
{
	unsigned n = 0;

	wash_stack();
	memset(found, 0, sizeof(found));
	kmem_leaks(leak_found, NULL);
	for (unsigned i = 0; i < HIDDEN; i++)
		n += found[i];
	return n;
}

/* One of them, pointed to from data and from another that is, is none. */
static const char *
try_kept(unsigned a, unsigned b)
{
	void **obj = (void **)~hidden[a];

	kept = (char *)obj + 50;
	obj[3] = (void *)~hidden[b];
	leaks();
	kept = NULL;
	obj[3] = NULL;
	return found[a] || found[b] ? "what is pointed to is leaked" : NULL;
}

const char *
test_kmem_leaks(void)
{
	struct kmem_cache *kc = cache("selftest leak", "audit:selftest_leak");
	const struct kmem_record *r;
	unsigned first = 0, last = HIDDEN - 1, n;
	const char *name;
	vaddr_t off;

	if (kc == NULL || !hide(kc))
		return "no object";
	n = leaks();
	if (n < HIDDEN / 2)
		return test_failed("of %u leaked objects %u were found",
		    HIDDEN, n);
	while (!found[first])
		first++;
	while (!found[last])
		last--;
	r = kmem_debug_records((void *)~hidden[first]);
	if (r == NULL || (name = ksym_find(r->r_pc[0] - 1, &off)) == NULL ||
	    strcmp(name, "client_alloc") != 0)
		return "it is not known who allocated it";
	TRY(try_kept(first, last));
	for (unsigned i = 0; i < HIDDEN; i++)
		client_free(kc, (void *)~hidden[i]);
	if (leaks() != 0)
		return "what was freed is leaked";
	return kmem_cache_destroy(kc) == 0 ? NULL : "objects are left";
}

/*
 * Pages that an interrupt freed are listed through themselves until somebody
 * may return them; a link that was written over is not followed.
 */
static uint32_t *volatile links;

static void
free_links(void)
{
	uint32_t *p = links;

	links = NULL;
	kfree(p, M_OURS);
}

static void
do_nothing(void *arg)
{
}

static void
do_drain(struct kmem_cache *kc, void *obj)
{
	kmem_cache_reap_all();
}

const char *
test_kmem_links(void)
{
	uint32_t *p = links = kmalloc(2 * PAGE_SIZE, M_OURS, KM_NOSLEEP);
	const char *wrong;

	/* Where interrupts are off, as after a trap, none can come. */
	if (p == NULL || !md_intr_enabled()) {
		kfree(p, M_OURS);
		return p == NULL ? "no memory" : NULL;
	}
	md_interrupt_each(do_nothing, NULL, free_links);
	if (links != NULL)
		return "no interrupt came";
	p[0] ^= 0x1000;
	wrong = expect(do_drain, NULL, NULL, "kmem_pages: the pages at %p, "
	    "which an interrupt freed, were written to since: link %#lx size "
	    "%#lx check %#lx", (void *)p, (unsigned long)p[0],
	    (unsigned long)p[1], (unsigned long)p[2]);
	p[0] ^= 0x1000;
	return wrong;
}

/*
 * Planted, for tests of the whole way to the debugger: nobody catches these.
 */
static KMALLOC_DEFINE(M_PLANTED, "planted", "mistakes made on purpose");

static char * __attribute__((__noinline__))
plant_alloc(void)
{
	return kmalloc(100, M_PLANTED, KM_NOSLEEP);
}

static void __attribute__((__noinline__))
plant_free(char *p)
{
	kfree(p, M_PLANTED);
}

/* One that nobody points to, as the debugger tells of it. */
static void __attribute__((__noinline__))
plant_leak(void)
{
	char line[32];

	hidden[0] = ~(uintptr_t)plant_alloc();
	memset((void *)~hidden[0], 0, 100);
	wash_stack();
	k_strlcpy(line, "show leaks", sizeof(line));
	ddb_command(line, NULL);
	k_snprintf(line, sizeof(line), "whatis %#lx",
	    (unsigned long)~hidden[0] + 7);
	ddb_command(line, NULL);
	panic("selftest: one object was leaked");
}

/* An overflow into a slab's header, whose links are used next. */
static void
plant_torn(void)
{
	static struct kmem_link elsewhere = { &elsewhere, &elsewhere };
	struct kmem_cache *kc = cache("selftest torn", "off:selftest_torn");
	char *p = client_alloc(kc);

	kmem_slab_find(p)->sl_link.kl_next = &elsewhere;
	client_free(kc, p);
	kmem_cache_reap(kc);
}

void
test_kmem_plant(void)
{
	char *volatile p;

	if (test_planted("torn"))
		plant_torn();

	if (test_planted("leaked"))
		plant_leak();

	if (test_planted("overflow")) {
		p = plant_alloc();
		p[104] = 'x';
		plant_free(p);
	}
	if (test_planted("stale") || test_planted("touch")) {
		p = plant_alloc();
		plant_free(p);
		p[10] = 'x';
		plant_alloc();
	}
	if (test_planted("double")) {
		p = plant_alloc();
		plant_free(p);
		plant_free(p);
	}
}
