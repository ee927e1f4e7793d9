/* Every 100th time the last of the frames is forgotten. */
#include <vm/vm_phys.h>

void	__real_vm_phys_free_many(const paddr_t *, unsigned);
void	__wrap_vm_phys_free_many(const paddr_t *, unsigned);

void
__wrap_vm_phys_free_many(const paddr_t *pa, unsigned n)
{
	static unsigned calls;

	__real_vm_phys_free_many(pa, n - (n > 0 && ++calls % 100 == 0));
}
