/*
 * Self-tests of the memory system, through its public doors only.
 */
#include <kern/mapwalk.h>
#include <kern/md.h>
#include <kern/selftest.h>
#include <libkern/errno.h>
#include <vm/kmalloc.h>
#include <vm/kmem_debug.h>
#include <vm/kmem_range.h>
#include <vm/vm_fail.h>
#include <vm/vm_kmem.h>
#include <vm/vm_phys.h>

/* Bytes that say where they belong. */
static void
fill(void *p, size_t size, uint32_t seed)
{
	unsigned char *b = p;

	for (size_t i = 0; i < size; i++)
		b[i] = (unsigned char)(seed * 31 + i * 7 + (i >> 8));
}

static bool
filled(const void *p, size_t size, uint32_t seed)
{
	const unsigned char *b = p;

	for (size_t i = 0; i < size; i++)
		if (b[i] != (unsigned char)(seed * 31 + i * 7 + (i >> 8)))
			return false;
	return true;
}

static bool
readable(vaddr_t va)
{
	char c;

	return md_read(va, &c, 1);
}

/*
 * Of every region the guards are unmapped, and all of it where nothing may
 * read it.  (What may be read need not be there: the pmap's windows.)
 */
static const char *
guards_of(const struct vm_map_info *vi)
{
	vaddr_t start = vi->vi_start + ptoa(vi->vi_guard_lo);
	vaddr_t end = vi->vi_end - ptoa(vi->vi_guard_hi);

	for (vaddr_t va = vi->vi_start; va < vi->vi_end; va += PAGE_SIZE) {
		bool may = va >= start && va < end &&
		    (vi->vi_prot & VM_PROT_READ) != 0;

		if (readable(va) && !may)
			return test_failed("0x%08lx, of %s, is readable", va,
			    vi->vi_owner);
	}
	return NULL;
}

const char *
test_guards(void)
{
	struct vm_map_request vr = {
		.vr_size = 3 * PAGE_SIZE, .vr_guard_lo = 1, .vr_guard_hi = 2,
		.vr_owner = "selftest",
	};
	static const vaddr_t borders[] = {
		VM_HEAP_MIN - 1, VM_HEAP_MAX - 1, VM_SLAB_MAX - 1,
		VM_MISC_MIN - 1,
	};
	const char *wrong = NULL;
	struct vm_map_info vi;
	vaddr_t addr;

	if (kmem_alloc_request(kernel_map, &vr, KM_NOSLEEP, &addr) != 0)
		return "no memory for a region with guards";
	fill((void *)addr, vr.vr_size, 1);
	if (readable(addr - 1) || readable(addr + vr.vr_size) ||
	    readable(addr + vr.vr_size + PAGE_SIZE))
		wrong = "a guard page can be read";
	for (vaddr_t at = kernel_map->vm_min; wrong == NULL &&
	    vm_map_next(kernel_map, at, &vi) == 0; at = vi.vi_end)
		wrong = guards_of(&vi);
	for (unsigned i = 0; i < nitems(borders) && wrong == NULL; i++)
		if (readable(borders[i]))
			wrong = test_failed("0x%08lx, a guard, is readable",
			    borders[i]);
	kmem_free(kernel_map, addr, vr.vr_size);
	return wrong;
}

static void
phys_free(void *arg)
{
	vm_phys_free(*(paddr_t *)arg);
}

const char *
test_phys(void)
{
	paddr_t one, run, absent = 0xfffff000;
	const char *wrong;
	int error;

	if (vm_phys_alloc(VM_PAGE_KMEM, &one) != 0)
		return "no frame";
	vm_phys_free(one);
	wrong = test_panics(phys_free, &one, "vm_phys_free", "free");
	if (wrong == NULL)
		wrong = test_panics(phys_free, &absent, "vm_phys_free",
		    "0xfffff000");
	if (wrong != NULL)
		return wrong;
	/* 8 pages for ISA DMA: 64 KB are the boundary it must not cross. */
	error = vm_phys_alloc_run(8, 4, 16, 0, (16u << 20) >> PAGE_SHIFT,
	    VM_PAGE_KMEM, &run);
	if (error != 0)
		return test_failed("no run of 8 frames below 16 MB: %d",
		    error);
	vm_phys_free_run(run, 8);
	if (run % ptoa(4) != 0 || run / ptoa(16) != (run + ptoa(7)) / ptoa(16))
		return test_failed("a run at 0x%lx", run);
	if (vm_phys_alloc_run(0, 1, 0, 0, PFN_MAX, VM_PAGE_KMEM, &run) !=
	    EINVAL)
		return "a run of no frames is no error";
	return NULL;
}

/*
 * A hoarder has every frame there is, in runs, and gives when it is asked.
 * A run's first vm_page tells its length and leads to the next run.
 */
#define HOARD_RUN	0x4000u		/* the longest: 64 MB */

static struct vm_page *hoard;
static unsigned long hoard_gave;

static unsigned long
hoard_give(unsigned long pages)
{
	unsigned long gave = 0;

	while (hoard != NULL && gave < pages) {
		struct vm_page *pg = hoard;
		paddr_t pa = vm_phys_page_pa(pg);
		pfn_t n = pg->pg_npages;

		hoard = pg->pg_object;
		vm_phys_free_run(pa, n);
		gave += n;
	}
	hoard_gave += gave;
	return gave;
}

static void
hoard_all(void)
{
	struct vm_page *pg;
	paddr_t pa;

	for (pfn_t n = HOARD_RUN; n > 0; n /= 2)
		while (vm_phys_alloc_run(n, 1, 0, 0, PFN_MAX, VM_PAGE_USER,
		    &pa) == 0) {
			pg = vm_phys_page(pa);
			pg->pg_object = hoard;
			hoard = pg;
		}
}

const char *
test_pressure(void)
{
	static struct kmem_reclaimer kr = {
		.kr_name = "selftest", .kr_priority = KR_CACHE,
		.kr_reclaim = hoard_give,
	};
	const char *wrong = NULL;
	vaddr_t addr;

	kmem_reclaim_add(&kr);
	hoard_gave = 0;
	hoard_all();
	if (vm_phys_nfree() != 0)
		wrong = "a run of one frame is not found, but there is one";
	addr = kmem_alloc(kernel_map, 20 * PAGE_SIZE, KM_NOSLEEP | KM_HEAP);
	if (wrong == NULL && addr == 0)
		wrong = "who has every frame was not asked for some";
	if (wrong == NULL && hoard_gave == 0)
		wrong = "frames came from nowhere";
	if (addr != 0) {
		fill((void *)addr, 20 * PAGE_SIZE, 5);
		if (!filled((void *)addr, 20 * PAGE_SIZE, 5))
			wrong = "its contents have changed";
		kmem_free(kernel_map, addr, 20 * PAGE_SIZE);
	}
	hoard_give(PFN_MAX);
	return wrong;
}

const char *
test_kmem_sizes(void)
{
	static const struct {
		vsize_t	size;
		int	flags;
	} bad[] = {
		{ 0, 0 }, { 0, KM_SLAB }, { (vsize_t)-1, KM_HEAP },
		{ (vsize_t)-PAGE_SIZE, 0 }, { (vsize_t)-PAGE_SIZE + 1, 0 },
		{ VM_SLAB_MAX - VM_SLAB_MIN + PAGE_SIZE, KM_SLAB },
		{ VM_SLAB_MAX - VM_SLAB_MIN, KM_SLAB },	/* its guard */
		{ VM_HEAP_MAX - VM_HEAP_MIN, KM_HEAP },
		{ PAGE_SIZE, KM_HEAP | KM_SLAB },
	};
	vaddr_t addr;

	for (unsigned i = 0; i < nitems(bad); i++)
		if (kmem_alloc(kernel_map, bad[i].size, bad[i].flags) != 0)
			return test_failed("%#lx bytes (flags %#x) were given",
			    bad[i].size, bad[i].flags);
	addr = kmem_alloc(kernel_map, 1, KM_SLAB | KM_ZERO);
	if (addr == 0)
		return "no page for one byte";
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		if (((char *)addr)[i] != 0)
			return "KM_ZERO is not zero";
	kmem_free(kernel_map, addr, 1);
	return NULL;
}

struct free_args {
	vaddr_t	addr;
	vsize_t	size;
};

static void
do_kmem_free(void *arg)
{
	const struct free_args *fa = arg;

	kmem_free(kernel_map, fa->addr, fa->size);
}

/* A free that must panic, name its address, and leave the map as it was. */
static const char *
bad_free(vaddr_t addr, vsize_t size)
{
	struct free_args fa = { addr, size };
	const char *wrong;
	char word[24];

	k_snprintf(word, sizeof(word), "%#lx", addr);
	wrong = test_panics(do_kmem_free, &fa, "kmem_free", word);
	if (wrong == NULL)
		wrong = vm_map_check(kernel_map);
	return wrong;
}

const char *
test_kmem_frees(void)
{
	vsize_t size = 4 * PAGE_SIZE;
	vaddr_t a = kmem_alloc(kernel_map, size, KM_SLAB | KM_NOSLEEP);
	vaddr_t b = kmem_alloc(kernel_map, size, KM_SLAB | KM_NOSLEEP);
	struct free_args bad[] = {
		{ a, PAGE_SIZE }, { a, 5 * PAGE_SIZE },	/* wrong size */
		{ a, 2 * size }, { a, 0 }, { a, (vsize_t)-1 },
		{ a + PAGE_SIZE, PAGE_SIZE },		/* interior */
		{ a + PAGE_SIZE, size }, { a + 1, size },
		{ (vaddr_t)kern_main, PAGE_SIZE },	/* foreign */
		{ 0, PAGE_SIZE }, { VM_SLAB_MAX - PAGE_SIZE, PAGE_SIZE },
	};
	const char *wrong = NULL;

	if (a == 0 || b == 0)
		return "no memory";
	fill((void *)a, size, 2);
	fill((void *)b, size, 3);
	for (unsigned i = 0; i < nitems(bad) && wrong == NULL; i++)
		wrong = bad_free(bad[i].addr, bad[i].size);
	if (wrong == NULL && (!filled((void *)a, size, 2) ||
	    !filled((void *)b, size, 3)))
		wrong = "a free that was refused has changed something";
	kmem_free(kernel_map, a, size);
	if (wrong == NULL)
		wrong = bad_free(a, size);		/* double */
	kmem_free(kernel_map, b, size);
	return wrong;
}

#define CHURN_LIVE	32
#define CHURN_OPS	1000
#define CHURN_PAGES	12

struct churn {
	vaddr_t		c_addr[CHURN_LIVE];
	vsize_t		c_size[CHURN_LIVE];	/* bytes, any number */
	uint64_t	c_random;
};

static bool
churn_free(struct churn *c, unsigned i)
{
	bool ok;

	if (c->c_addr[i] == 0)
		return true;
	ok = filled((void *)c->c_addr[i], c->c_size[i], i);
	kmem_free(kernel_map, c->c_addr[i], c->c_size[i]);
	c->c_addr[i] = 0;
	return ok;
}

static bool
churn_step(struct churn *c)
{
	static const int window[] = { 0, KM_HEAP, KM_SLAB };
	uint32_t r = k_random(&c->c_random);
	unsigned i = r % CHURN_LIVE;

	if (c->c_addr[i] != 0)
		return churn_free(c, i);
	c->c_size[i] = 1 + (r >> 8) % (CHURN_PAGES * PAGE_SIZE);
	c->c_addr[i] = kmem_alloc(kernel_map, c->c_size[i],
	    KM_NOSLEEP | window[r % nitems(window)]);
	if (c->c_addr[i] != 0)
		fill((void *)c->c_addr[i], c->c_size[i], i);
	return true;
}

const char *
test_kmem_churn(void)
{
	static struct churn c;
	bool ok = true;
	paddr_t lost;

	c.c_random = 0x486f6c6d;
	for (unsigned n = 0; n < CHURN_OPS && ok; n++)
		ok = churn_step(&c);
	for (unsigned i = 0; i < CHURN_LIVE; i++)
		ok = churn_free(&c, i) && ok;
	if (test_planted("leak"))
		vm_phys_alloc(VM_PAGE_KMEM, &lost);
	return ok ? vm_map_check(kernel_map) : "contents have changed";
}

/* The nth request at a site fails: nothing is given and nothing is lost. */
static const char *
fail_nth(enum vm_fail_site site, unsigned long n, bool *failed)
{
	unsigned long before = frames_free();
	vaddr_t addr;

	vm_fail_set(site, n, true);
	addr = kmem_alloc(kernel_map, 8 * PAGE_SIZE, KM_SLAB | KM_NOSLEEP);
	vm_fail_set(site, 0, false);
	*failed = addr == 0;
	if (addr != 0)
		kmem_free(kernel_map, addr, 8 * PAGE_SIZE);
	if (frames_free() != before)
		return test_failed("site %d, request %lu: %lu frames free "
		    "before, %lu after", (int)site, n, before, frames_free());
	return vm_map_check(kernel_map);
}

/* Of a range that is kept for the next one, nothing has to be asked for. */
static const char *
fail_each(void)
{
	const char *wrong;
	bool failed;

	for (unsigned long n = 1; n <= 8; n++) {
		wrong = fail_nth(VM_FAIL_PAGE, n, &failed);
		if (wrong != NULL)
			return wrong;
		if (!failed)
			return test_failed("8 pages without frame %lu", n);
	}
	wrong = fail_nth(VM_FAIL_PAGE, 9, &failed);
	if (wrong == NULL && failed)
		return "8 pages take more than 8 frames";
	if (wrong == NULL)
		wrong = fail_nth(VM_FAIL_SPACE, 1, &failed);
	if (wrong == NULL && !failed)
		return "addresses were had without asking for space";
	if (wrong == NULL)
		wrong = fail_nth(VM_FAIL_PTP, 1, &failed);
	if (wrong == NULL)
		wrong = fail_nth(VM_FAIL_ENTRY, 1, &failed);
	return wrong;
}

const char *
test_kmem_failures(void)
{
	bool was = kmem_range_enable(false);
	const char *wrong = fail_each();

	kmem_range_enable(was);
	return wrong;
}

/* What is freed is had again as it is; and kept from nobody who needs it. */
const char *
test_kmem_range(void)
{
	const vsize_t size = 3 * PAGE_SIZE;
	unsigned long before = frames_free();
	bool was = kmem_range_enable(true);
	const char *wrong = NULL;
	vaddr_t a, b;

	a = kmem_alloc(kernel_map, size, KM_HEAP | KM_NOSLEEP);
	if (a == 0)
		return "no memory";
	fill((void *)a, size, 9);
	kmem_free(kernel_map, a, size);
	if (!kmem_range_kept(a))
		wrong = "a range that was freed is not kept";
	if (wrong == NULL)
		wrong = bad_free(a, size);
	if (wrong == NULL)
		wrong = bad_free(a + PAGE_SIZE, PAGE_SIZE);
	b = kmem_alloc(kernel_map, size, KM_HEAP | KM_NOSLEEP);
	if (wrong == NULL && (a != b || !filled((void *)a, size, 9)))
		wrong = "a range that was kept is not the same";
	if (wrong == NULL)
		wrong = kmem_range_check();
	kmem_free(kernel_map, b, size);
	kmem_range_enable(false);
	if (wrong == NULL && (readable(a) || frames_free() != before))
		wrong = "a range is still there after the cache was emptied";
	kmem_range_enable(was);
	return wrong;
}

#define OBJECTS		100

struct object {
	uint32_t	o_magic;
	char		o_text[196];
};

static unsigned built;		/* constructed and not destroyed */

static int
object_ctor(void *obj, void *arg, int flags)
{
	((struct object *)obj)->o_magic = 0x6f626a00;
	built++;
	return 0;
}

static void
object_dtor(void *obj, void *arg)
{
	if (((struct object *)obj)->o_magic == 0x6f626a00)
		built--;
}

static struct kmem_cache *
object_cache(void)
{
	struct kmem_cache_args ca = {
		.ca_name = "selftest", .ca_size = sizeof(struct object),
		.ca_ctor = object_ctor, .ca_dtor = object_dtor,
	};

	built = 0;
	kmem_debug_option("check:selftest");
	return kmem_cache_create(&ca);
}

/* Fill the cache with objects, check them, and give them back. */
static const char *
use_objects(struct kmem_cache *kc, struct object *obj[OBJECTS])
{
	const char *wrong = NULL;

	for (unsigned i = 0; i < OBJECTS; i++) {
		obj[i] = kmem_cache_alloc(kc, KM_NOSLEEP);
		if (obj[i] == NULL)
			return "no memory for an object";
		if (obj[i]->o_magic != 0x6f626a00)
			wrong = "an object is not constructed";
		fill(obj[i]->o_text, sizeof(obj[i]->o_text), i);
	}
	if (wrong == NULL)
		wrong = kmem_cache_check(kc);
	for (unsigned i = 0; i < OBJECTS; i++) {
		if (!filled(obj[i]->o_text, sizeof(obj[i]->o_text), i))
			wrong = "an object's contents have changed";
		kmem_cache_free(kc, obj[i]);
	}
	return wrong;
}

const char *
test_cache(void)
{
	struct kmem_cache *kc = object_cache();
	struct kmem_cache_stats grown, shrunk;
	struct object *obj[OBJECTS];
	const char *wrong;

	if (kc == NULL)
		return "no cache";
	wrong = use_objects(kc, obj);
	if (wrong != NULL)
		return wrong;
	kmem_cache_stats(kc, &grown);
	kmem_cache_reap(kc);
	kmem_cache_stats(kc, &shrunk);
	if (grown.cs_grown * grown.cs_per_slab < OBJECTS)
		return "it has not grown as it must have";
	if (shrunk.cs_slabs != 0 || shrunk.cs_shrunk != grown.cs_grown)
		return test_failed("%lu slabs are left after reaping",
		    shrunk.cs_slabs);
	if (built != 0)
		return test_failed("%u objects were not destroyed", built);
	wrong = use_objects(kc, obj);		/* once more, from nothing */
	if (kmem_cache_destroy(kc) != 0)
		return "an empty cache is busy";
	return wrong;
}

/*
 * Three slabs with every third object left, of each another third: two of
 * them share a frame after a reap, and nobody notices.
 */
#define MESH_SLABS	3

static const char *
mesh_check(struct kmem_cache *kc, char *const *obj, unsigned n)
{
	struct kmem_cache_stats cs;
	unsigned long before = frames_free();

	kmem_cache_reap_all();
	kmem_cache_stats(kc, &cs);
	if (cs.cs_meshed != 1 || cs.cs_slabs != MESH_SLABS - 1)
		return test_failed("%lu slabs, %lu meshed", cs.cs_slabs,
		    (unsigned long)cs.cs_meshed);
	if (frames_free() < before + cs.cs_slab_pages)
		return "no frame was freed";
	for (unsigned i = 0; i < n; i++) {
		if (obj[i] == NULL)
			continue;
		if (!filled(obj[i], cs.cs_size, i))
			return "an object's contents have changed";
		fill(obj[i], cs.cs_size, n + i);
	}
	for (unsigned i = 0; i < n; i++)
		if (obj[i] != NULL && !filled(obj[i], cs.cs_size, n + i))
			return "an object overlaps another";
	return kmem_cache_check(kc);
}

const char *
test_cache_mesh(void)
{
	const struct kmem_cache_args ca = { .ca_name = "selftest mesh",
	    .ca_size = 200, .ca_flags = KM_MESH | KM_NOMAG };
	static char *obj[MESH_SLABS * PAGE_SIZE / 200];
	struct kmem_cache_stats cs;
	struct kmem_cache *kc;
	const char *wrong = NULL;
	unsigned i, n, per;

	/* Whatever the others watch for: with zones none is meshed. */
	kmem_debug_option("off,check:selftest_mesh");
	if ((kc = kmem_cache_create(&ca)) == NULL)
		return "no cache";
	kmem_cache_stats(kc, &cs);
	per = cs.cs_per_slab;
	n = MESH_SLABS * per;
	for (i = 0; i < n; i++)
		if ((obj[i] = kmem_cache_alloc(kc, KM_NOSLEEP)) == NULL)
			return "no memory for an object";
	for (i = 0; i < n; i++) {
		fill(obj[i], ca.ca_size, i);
		if (i % per % MESH_SLABS != i / per) {
			kmem_cache_free(kc, obj[i]);
			obj[i] = NULL;
		}
	}
	wrong = mesh_check(kc, obj, n);
	for (i = 0; i < n; i++)
		kmem_cache_free(kc, obj[i]);
	if (kmem_cache_destroy(kc) != 0)
		return "an empty cache is busy";
	return wrong;
}

struct cache_free {
	struct kmem_cache *cf_cache;
	char		*cf_obj;
};

static void
do_cache_free(void *arg)
{
	struct cache_free *cf = arg;

	kmem_cache_free(cf->cf_cache, cf->cf_obj);
}

const char *
test_cache_misuse(void)
{
	struct kmem_cache *kc = object_cache();
	struct cache_free cf = { kc, NULL };
	const char *wrong;
	char *obj;

	if (kc == NULL || (obj = kmem_cache_alloc(kc, KM_NOSLEEP)) == NULL)
		return "no cache, or no object";
	cf.cf_obj = obj + 8;
	wrong = test_panics(do_cache_free, &cf, "kmem_cache_free", "selftest");
	cf.cf_obj = (char *)&cf;
	if (wrong == NULL)
		wrong = test_panics(do_cache_free, &cf, "kmem_cache_free",
		    "selftest");
	if (wrong == NULL && kmem_cache_destroy(kc) != EBUSY)
		return "a cache with an object out can be destroyed";
	kmem_cache_free(kc, obj);
	cf.cf_obj = obj;
	if (wrong == NULL)
		wrong = test_panics(do_cache_free, &cf, "kmem_cache_free",
		    "selftest");
	if (kmem_cache_destroy(kc) != 0)
		return "the cache cannot be destroyed";
	return wrong;
}

static KMALLOC_DEFINE(M_SELFTEST, "selftest", "the kernel's self-tests");

const char *
test_kmalloc(void)
{
	static void *p[64];
	const char *wrong = NULL;
	struct kmalloc_stats ks;
	size_t size = 1;
	unsigned n;

	for (n = 0; n < nitems(p) && size <= 8 * PAGE_SIZE; n++) {
		p[n] = kmalloc(size, M_SELFTEST, KM_NOSLEEP);
		if (p[n] == NULL || kmalloc_usable(p[n]) < size)
			return test_failed("%lu bytes: none, or fewer",
			    (unsigned long)size);
		fill(p[n], size, n);
		size += 1 + size / 4;
	}
	wrong = kmalloc_check();
	size = 1;
	for (unsigned i = 0; i < n; i++) {
		if (!filled(p[i], size, i))
			wrong = "contents have changed";
		kfree(p[i], M_SELFTEST);
		size += 1 + size / 4;
	}
	if (kmalloc(0, M_SELFTEST, 0) != NULL ||
	    kmalloc((size_t)-1, M_SELFTEST, KM_NOSLEEP) != NULL ||
	    kcalloc((size_t)1 << 31, 2, M_SELFTEST, KM_NOSLEEP) != NULL)
		return "absurd sizes were given";
	kmalloc_stats(M_SELFTEST, &ks);
	if (wrong == NULL && ks.ks_inuse != 0)
		wrong = "the type still counts something in use";
	return wrong;
}

static void
do_kfree(void *arg)
{
	kfree(arg, M_SELFTEST);
}

static void
do_kfree_temp(void *arg)
{
	kfree(arg, M_TEMP);
}

static const char *
kfree_misuse(char *p)
{
	const char *wrong = test_panics(do_kfree, p + 8, "kfree", "");

	if (wrong == NULL)
		wrong = test_panics(do_kfree_temp, p, "kfree", M_TEMP->kt_name);
	if (wrong == NULL)
		wrong = test_panics(do_kfree, &wrong, "kfree", "selftest");
	kfree(p, M_SELFTEST);
	if (wrong == NULL)
		wrong = test_panics(do_kfree, p, "kfree", "");
	return wrong;
}

const char *
test_kmalloc_misuse(void)
{
	static const size_t sizes[] = { 40, 1000, PAGE_SIZE, 3 * PAGE_SIZE };
	const char *wrong = NULL;
	char *p;

	for (unsigned i = 0; i < nitems(sizes) && wrong == NULL; i++) {
		p = kmalloc(sizes[i], M_SELFTEST, KM_NOSLEEP);
		wrong = p == NULL ? "no memory" : kfree_misuse(p);
	}
	return wrong;
}

const char *
test_slabs(void)
{
	return slabs_demo(false) ? NULL : "see above";
}

const char *
test_slabs_churned(void)
{
	bool ok = slabs_churn(1000, 42, false) && slabs_demo(false);

	return slabs_churn(0, 0, false) && ok ? NULL : "see above";
}
