/* The last page of what is unmapped stays mapped; its frame is handed out. */
#include <vm/pmap.h>

unsigned __real_pmap_kremove(vaddr_t, unsigned, paddr_t *);
unsigned __wrap_pmap_kremove(vaddr_t, unsigned, paddr_t *);

unsigned
__wrap_pmap_kremove(vaddr_t va, unsigned n, paddr_t *pa)
{
	unsigned got;

	if (n == 0)
		return 0;
	got = __real_pmap_kremove(va, n - 1, pa);
	return got + pmap_extract(kernel_pmap, va + ptoa(n - 1), &pa[got]);
}
