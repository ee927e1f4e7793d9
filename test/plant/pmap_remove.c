/* The last page of what is unmapped stays mapped. */
#include <vm/pmap.h>

void	__real_pmap_remove(struct pmap *, vaddr_t, vaddr_t);
void	__wrap_pmap_remove(struct pmap *, vaddr_t, vaddr_t);

void
__wrap_pmap_remove(struct pmap *pm, vaddr_t sva, vaddr_t eva)
{
	__real_pmap_remove(pm, sva, eva == sva ? eva : eva - PAGE_SIZE);
}
