/*
 * Unmap, flush, free, in this order: what the recording host pmap has to say
 * about every operation there is, and about all ways by which its callers
 * give frames back.  (The host pmap itself panics, in whatever test, when a
 * frame is free while it is still shown.)
 */
#include <stdlib.h>
#include <string.h>

#include <vm/kmalloc.h>
#include <vm/kmem_cache_impl.h>
#include <vm/kmem_range.h>
#include <vm/pmap.h>
#include <vm/vm_fail.h>
#include <vm/vm_kmem.h>
#include <vm/vm_phys.h>

#include "host.h"
#include "map_test.h"

#define UVA	0x00400000UL
#define PT	(1024 * PAGE_SIZE)	/* what a page table covers */

static uint64_t mark;		/* events before the operation */

static void
begin(void)
{
	mark = host_nevents();
}

/* What happened since, a letter for each event. */
static const char *
story(void)
{
	static const char letter[] = {
		[HOST_ENTER] = 'E', [HOST_REMOVE] = 'R', [HOST_PROTECT] = 'P',
		[HOST_FLUSH] = 'F', [HOST_ACTIVATE] = 'A',
		[HOST_PTP_ALLOC] = '+', [HOST_PTP_FREE] = '-',
		[HOST_ZERO] = 'Z', [HOST_COPY] = 'C',
	};
	static char s[HOST_NEVENTS + 1];
	uint64_t i, n = host_nevents() - mark;

	must(n <= HOST_NEVENTS);
	for (i = 0; i < n; i++)
		s[i] = letter[host_event(mark + i)->he_kind];
	s[n] = '\0';
	return s;
}

static bool
covers(const struct host_event *flush, const struct host_event *what)
{
	return flush->he_kind == HOST_FLUSH &&
	    flush->he_pmap == what->he_pmap &&
	    flush->he_sva <= what->he_sva && flush->he_eva >= what->he_eva;
}

/*
 * The rule: what is removed or protected is flushed next, and no frame is
 * given back before that.
 */
static void
check_order(void)
{
	const struct host_event *he, *next;

	for (uint64_t i = mark; i < host_nevents(); i++) {
		he = host_event(i);
		if (he->he_kind != HOST_REMOVE && he->he_kind != HOST_PROTECT)
			continue;
		next = host_event(i + 1);
		must(next != NULL && covers(next, he));
		must(next->he_nfree == he->he_nfree);
	}
}

/* The operation did this, and since its last event frames came back. */
static void
expect(const char *what, pfn_t freed)
{
	const struct host_event *last = host_event(host_nevents() - 1);

	if (strcmp(story(), what) != 0)
		ck_abort_msg("%s, not %s", story(), what);
	check_order();
	must(last == NULL || vm_phys_nfree() == last->he_nfree + freed);
	begin();
}

static paddr_t
frame(void)
{
	paddr_t pa;

	must(vm_phys_alloc(VM_PAGE_USER, &pa) == 0);
	return pa;
}

START_TEST(one_page)
{
	struct pmap *pm = pmap_create();
	paddr_t a = frame(), b = frame();

	begin();
	must(pmap_enter(pm, UVA, a, VM_PROT_RW) == 0);
	expect("+E", 0);
	must(pmap_enter(pm, UVA + PT, a, VM_PROT_RW) == 0);
	expect("+E", 0);
	must(pmap_enter(pm, UVA, b, VM_PROT_RW | PMAP_WRITETHRU) == 0);
	expect("EF", 0);
	pmap_protect(pm, UVA, UVA + PAGE_SIZE, VM_PROT_READ);
	expect("PF", 0);
	pmap_activate(pm);
	expect("A", 0);
	pmap_remove(pm, UVA, UVA + PT);
	expect("RF-", 1);
	vm_phys_free(b);
	pmap_remove(pm, UVA, UVA + PT);		/* nothing there */
	expect("", 2);
	pmap_activate(kernel_pmap);
	pmap_destroy(pm);
	expect("ARF-F", 1);
	vm_phys_free(a);
}
END_TEST

START_TEST(used_bits)
{
	struct pmap *pm = pmap_create();
	paddr_t a = frame();

	must(pmap_enter(pm, UVA, a, VM_PROT_READ) == 0);
	begin();
	must(pmap_test_bits(pm, UVA) == 0);
	must(host_access(pm, UVA + 5, VM_PROT_READ));
	must(!host_access(pm, UVA + 5, VM_PROT_RW));
	must(!host_access(pm, UVA + PAGE_SIZE, VM_PROT_READ));
	must(pmap_test_bits(pm, UVA) == PMAP_ACCESSED);
	pmap_protect(pm, UVA, UVA + PAGE_SIZE, VM_PROT_RW);
	expect("PF", 0);
	must(host_access(pm, UVA, VM_PROT_RW));
	must(pmap_clear_bits(pm, UVA, PMAP_MODIFIED) == PMAP_MODIFIED);
	expect("F", 0);
	must(pmap_clear_bits(pm, UVA, PMAP_MODIFIED) == 0);
	expect("", 0);
	must(pmap_test_bits(pm, UVA) == PMAP_ACCESSED);
	must(pmap_test_bits(pm, UVA + PT) == 0);
	pmap_destroy(pm);
	vm_phys_free(a);
}
END_TEST

START_TEST(kernel_pages)
{
	const vaddr_t va = VM_MISC_MAX - PT - PAGE_SIZE;	/* a border */
	paddr_t pa[3] = { frame(), frame(), frame() }, got[5];

	begin();
	vm_fail_set(VM_FAIL_PTP, 2, false);
	must(pmap_kenter(va, pa, 3, VM_PROT_RW) == ENOMEM);
	expect("+", 0);				/* the first one stays */
	vm_fail_set(VM_FAIL_PTP, 0, false);
	must(pmap_kenter(va, pa, 3, VM_PROT_RW) == 0);
	expect("+EEE", 0);
	*(char *)(va + 2 * PAGE_SIZE) = 'x';
	must(*(char *)host_phys(pa[2]) == 'x');
	must(pmap_kremove(va, 5, got) == 3);
	must(memcmp(got, pa, sizeof(pa)) == 0);
	expect("RF", 0);
	must(pmap_kremove(va, 5, got) == 0);
	expect("", 0);
	vm_phys_free_many(pa, 3);
	pmap_zero_page(frame());
	expect("Z", 0);
}
END_TEST

START_TEST(kernel_memory)
{
	vaddr_t va = kmem_alloc(kernel_map, 2 * PAGE_SIZE, KM_NOSLEEP);

	kmem_range_enable(false);
	kmem_free(kernel_map, va, 2 * PAGE_SIZE);
	begin();
	va = kmem_alloc(kernel_map, 2 * PAGE_SIZE, KM_NOSLEEP | KM_ZERO);
	expect("ZZEE", 0);
	kmem_free(kernel_map, va, 2 * PAGE_SIZE);
	expect("RF", 2);
	/* Half way: one batch is there, the next is not to be had. */
	vm_fail_set(VM_FAIL_PAGE, 40, true);
	must(kmem_alloc(kernel_map, ptoa(40), KM_NOSLEEP) == 0);
	vm_fail_set(VM_FAIL_PAGE, 0, false);
	expect("EEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEERF", 32);
}
END_TEST

/*
 * All ways by which sys/vm gives frames back: `take` has what is to go, `give`
 * is the way, and so many frames come back.
 */
static vaddr_t held[8];
static struct pmap *user;
static struct vm_map user_map;
static struct kmem_cache *cache;

static void
take_pages(void)
{
	held[0] = kmem_alloc(kernel_map, ptoa(5), KM_NOSLEEP);
}

static void
give_pages(void)
{
	kmem_free(kernel_map, held[0], ptoa(5));
}

static void
take_batches(void)
{
	held[0] = kmem_alloc(kernel_map, ptoa(70), KM_NOSLEEP | KM_HEAP);
}

static void
give_batches(void)
{
	kmem_free(kernel_map, held[0], ptoa(70));
}

/* Freed, but kept: what a lack of memory takes out of the range cache. */
static void
take_ranges(void)
{
	kmem_range_enable(true);
	for (unsigned i = 0; i < 4; i++)
		held[i] = kmem_alloc(kernel_map, ptoa(3), KM_NOSLEEP);
	for (unsigned i = 0; i < 4; i++)
		kmem_free(kernel_map, held[i], ptoa(3));
}

static void
give_ranges(void)
{
	must(kmem_reclaim(1000) >= 12);
	kmem_range_enable(false);
}

static void
take_block(void)
{
	held[0] = (vaddr_t)kmalloc(ptoa(9), M_TEMP, KM_NOSLEEP);
}

static void
give_block(void)
{
	kfree((void *)held[0], M_TEMP);
}

/* An interrupt may kfree, but somebody else gives the pages back. */
static void
give_block_later(void)
{
	uint64_t n = host_nevents();

	host_set_intr(true);
	kfree((void *)held[0], M_TEMP);
	host_set_intr(false);
	must(host_nevents() == n);
	must(kmem_pages_drain() == 9);
}

static void
take_slab(void)
{
	const struct kmem_cache_args args = {
		.ca_name = "frames", .ca_size = 3000
	};
	void *obj;

	cache = kmem_cache_create(&args);
	obj = kmem_cache_alloc(cache, KM_NOSLEEP);
	must(obj != NULL);
	kmem_cache_free(cache, obj);
}

static void
give_slab(void)
{
	kmem_cache_reap_all();
}

/* Frames of the user's are whoever's mapped them: only tables come back. */
static void
take_user(void)
{
	user = pmap_create();
	for (unsigned i = 0; i < 4; i++) {
		held[i] = frame();
		must(pmap_enter(user, UVA + i * (PT / 2), held[i],
		    VM_PROT_RW) == 0);
	}
}

static void
give_user(void)
{
	pmap_remove(user, UVA, UVA + 2 * PT);
	pmap_destroy(user);
}

static void
give_user_whole(void)
{
	pmap_destroy(user);
}

static void
take_map(void)
{
	take_user();
	must(vm_map_init(&user_map, "user", UVA, UVA + 2 * PT, VM_MAP_USER,
	    user) == 0);
	for (unsigned i = 0; i < 4; i++)
		must(vm_map_insert(&user_map, UVA + i * (PT / 2),
		    UVA + i * (PT / 2) + PAGE_SIZE, VM_PROT_RW, "u") == 0);
}

static void
give_map(void)
{
	must(vm_map_remove(&user_map, UVA, UVA + PT) == 0);
	must(vm_map_destroy(&user_map) == 2);
	pmap_destroy(user);
}

static const struct way {
	const char *w_name;
	void	(*w_take)(void), (*w_give)(void);
	pfn_t	 w_frames;		/* at least */
} ways[] = {
	{ "kmem_free", take_pages, give_pages, 5 },
	{ "kmem_free in batches", take_batches, give_batches, 70 },
	{ "range cache", take_ranges, give_ranges, 12 },
	{ "kfree", take_block, give_block, 9 },
	{ "kfree in an interrupt", take_block, give_block_later, 9 },
	{ "slabs", take_slab, give_slab, 1 },
	{ "pmap_remove", take_user, give_user, 3 },
	{ "pmap_destroy", take_user, give_user_whole, 3 },
	{ "vm_map_remove", take_map, give_map, 3 },
};

/*
 * At no event are there more free frames than before it all, those that were
 * flushed since, and tables that were unhooked after a flush.
 */
static void
check_frames(const char *name, pfn_t before)
{
	const struct host_event *he;
	pfn_t most = before;
	bool flushed = false;

	must(host_nevents() - mark <= HOST_NEVENTS);
	for (uint64_t i = mark; i < host_nevents(); i++) {
		he = host_event(i);
		if (he->he_nfree > most)
			ck_abort_msg("%s: event %u: %u frames free, not %u",
			    name, (unsigned)(i - mark), he->he_nfree, most);
		if (he->he_kind == HOST_REMOVE)
			flushed = false;
		if (he->he_kind == HOST_FLUSH) {
			flushed = true;
			most += he->he_eva == 0 ? 1 :
			    (pfn_t)atop(he->he_eva - he->he_sva);
		}
		must(he->he_kind != HOST_PTP_FREE || flushed);
		most += he->he_kind == HOST_PTP_FREE;
	}
	must(vm_phys_nfree() <= most);
}

START_TEST(every_way)
{
	const struct way *w = &ways[_i];
	pfn_t before;

	kmem_range_enable(false);
	w->w_take();
	must(held[0] != 0 || cache != NULL);
	before = vm_phys_nfree();
	begin();
	w->w_give();
	must(host_nevents() > mark);
	check_order();
	check_frames(w->w_name, before);
	must(vm_phys_nfree() >= before + w->w_frames);
}
END_TEST

static void
kenter_twice(void *arg)
{
	pmap_kenter(VM_MISC_MIN, arg, 1, VM_PROT_RW);
	pmap_kenter(VM_MISC_MIN, arg, 1, VM_PROT_RW);
}

START_TEST(kenter_is_for_holes)
{
	paddr_t pa = frame();
	const char *said = host_panic_of(kenter_twice, &pa, NULL);

	must(said != NULL && strstr(said, "is mapped there") != NULL);
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_test(tc, one_page);
	tcase_add_test(tc, used_bits);
	tcase_add_test(tc, kernel_pages);
	tcase_add_test(tc, kernel_memory);
	tcase_add_test(tc, kenter_is_for_holes);
	tcase_add_loop_test(tc, every_way, 0, nitems(ways));
}

int
main(void)
{
	return map_test_main("host pmap", add);
}
