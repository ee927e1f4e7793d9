/* Every hundredth frame that is given back is lost. */
#include <vm/vm_phys.h>

void	__real_vm_phys_free(paddr_t);
void	__wrap_vm_phys_free(paddr_t);

void
__wrap_vm_phys_free(paddr_t pa)
{
	static unsigned n;

	if (++n % 100 != 0)
		__real_vm_phys_free(pa);
}
