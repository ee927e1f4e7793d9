/*
 * Unmap, flush, free, in this order: what the recording host pmap has to say
 * about every operation there is, and about those of its callers that give
 * frames back.
 */
#include <stdlib.h>
#include <string.h>

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
}

int
main(void)
{
	return map_test_main("host pmap", add);
}
