/*
 * Self-tests of the page tables that the CPU walks, and of its TLB: what is
 * entered can be used, what is taken away faults at once.
 */
#include <kern/md.h>
#include <kern/selftest.h>
#include <vm/pmap.h>
#include <vm/vm_kmem.h>
#include <vm/vm_phys.h>

#define UVA	0x40000000UL	/* some place of the user's */
#define NUSER	2		/* pages there */

/*
 * kernel_map and the page tables: each way in which they can disagree is
 * made, seen, and undone.
 */
const char *
test_pmap_check(void)
{
	vaddr_t va = kmem_alloc(kernel_map, PAGE_SIZE, KM_NOSLEEP);
	const char *wrong = md_pmap_check();
	paddr_t pa;

	if (va == 0)
		return "no page";
	if (wrong != NULL)
		return test_failed("md_pmap_check: %s", wrong);
	if (pmap_kremove(va, 1, &pa) != 1)
		return "a page that was allocated is not mapped";
	if (md_pmap_check() == NULL)
		wrong = "a page that is missing is not seen";
	if (pmap_kenter(va, &pa, 1, VM_PROT_READ) != 0)
		return "pmap_kenter has to make a table that was there";
	if (wrong == NULL && md_pmap_check() == NULL)
		wrong = "a page that should be writable is not seen";
	pmap_protect(kernel_pmap, va, va + PAGE_SIZE, VM_PROT_NONE);
	if (wrong == NULL && md_pmap_check() == NULL)
		wrong = "a page without access is not seen";
	pmap_protect(kernel_pmap, va, va + PAGE_SIZE, VM_PROT_RW);
	kmem_free_now(kernel_map, va, PAGE_SIZE);
	if (vm_phys_alloc(VM_PAGE_KMEM, &pa) != 0)
		return "no frame";
	pmap_kenter(va, &pa, 1, VM_PROT_RW);
	if (wrong == NULL && md_pmap_check() == NULL)
		wrong = "a page in a hole of kernel_map is not seen";
	pmap_kremove(va, 1, &pa);
	vm_phys_free(pa);
	return wrong != NULL ? wrong : md_pmap_check();
}

static void
poke(void *va)
{
	*(volatile unsigned *)va = 1;
}

static unsigned
peek(vaddr_t va)
{
	return *(volatile unsigned *)va;
}

static void
peek_at(void *va)
{
	peek((vaddr_t)va);
}

static void
destroy(void *pm)
{
	pmap_destroy(pm);
}

/* The CPU sets the bits, and again after they were cleared. */
static const char *
bits_of(struct pmap *pm, vaddr_t va)
{
	pmap_clear_bits(pm, va, PMAP_ACCESSED | PMAP_MODIFIED);
	if (pmap_test_bits(pm, va) != 0)
		return "bits that were cleared are set";
	peek(va);
	if (pmap_test_bits(pm, va) != PMAP_ACCESSED)
		return "a read does not count as an access";
	poke((void *)va);
	if (pmap_clear_bits(pm, va, PMAP_MODIFIED) != PMAP_MODIFIED)
		return "a write does not count as one";
	poke((void *)va);
	if (pmap_test_bits(pm, va) != (PMAP_ACCESSED | PMAP_MODIFIED))
		return "the TLB kept a bit that was cleared";
	return NULL;
}

/* With pm active, UVA and the page behind it mapped to pa[]. */
static const char *
use_pages(struct pmap *pm, const paddr_t *pa)
{
	const vaddr_t second = UVA + PAGE_SIZE;
	const char *wrong;

	if (peek(UVA) != 0 || peek(second) != 0)
		return "a frame that was zeroed is not";
	poke((void *)UVA);
	if (peek(second) != 0)
		return "two pages show one frame";
	if ((wrong = bits_of(pm, UVA)) != NULL)
		return wrong;
	if (pmap_enter(pm, second, pa[0], VM_PROT_READ) != 0)
		return "a page could not be entered anew";
	if (peek(second) != 1)
		return "the TLB kept a frame that was replaced";
	wrong = test_panics(poke, (void *)second, "write to", "read-only");
	if (wrong != NULL)
		return wrong;
	pmap_protect(pm, UVA, second, VM_PROT_READ);
	wrong = test_panics(poke, (void *)UVA, "write to", "read-only");
	if (wrong != NULL)
		return wrong;
	pmap_remove(pm, UVA, second);
	return test_panics(peek_at, (void *)UVA, "read of", "not present");
}

/* Memory of the kernel's, allocated in one pmap, is there in the other. */
static const char *
share_kernel(struct pmap *pm)
{
	vaddr_t va = kmem_alloc(kernel_map, PAGE_SIZE, KM_NOSLEEP);
	const char *wrong = NULL;

	if (va == 0)
		return "no page";
	poke((void *)va);
	pmap_activate(kernel_pmap);
	if (peek(va) != 1)
		wrong = "the kernel's memory differs";
	else
		wrong = bits_of(kernel_pmap, va);
	if (wrong == NULL)
		wrong = test_panics(peek_at, (void *)(UVA + PAGE_SIZE),
		    "read of", "not present");
	pmap_activate(pm);
	kmem_free_now(kernel_map, va, PAGE_SIZE);
	if (wrong == NULL)
		wrong = test_panics(peek_at, (void *)va, "read of",
		    "not present");
	return wrong;
}

static const char *
user_pmap(struct pmap *pm, const paddr_t *pa)
{
	const char *wrong;

	for (unsigned i = 0; i < NUSER; i++) {
		pmap_zero_page(pa[i]);
		if (pmap_enter(pm, UVA + ptoa(i), pa[i], VM_PROT_RW) != 0)
			return "no frame for a page table";
	}
	pmap_activate(pm);
	wrong = use_pages(pm, pa);
	if (wrong == NULL)
		wrong = share_kernel(pm);
	if (wrong == NULL)
		wrong = md_pmap_check();
	if (wrong == NULL)
		wrong = test_panics(destroy, pm, "pmap_destroy", "active");
	pmap_activate(kernel_pmap);
	return wrong;
}

const char *
test_pmap_user(void)
{
	struct pmap *pm = pmap_create();
	const char *wrong = "no frame";
	paddr_t pa[NUSER];
	unsigned n;

	if (pm == NULL)
		return "no frame for a directory";
	for (n = 0; n < NUSER; n++)
		if (vm_phys_alloc(VM_PAGE_USER, &pa[n]) != 0)
			break;
	if (n == NUSER)
		wrong = user_pmap(pm, pa);
	pmap_destroy(pm);
	while (n-- > 0)
		vm_phys_free(pa[n]);
	return wrong;	/* the frames are counted by who called us */
}
