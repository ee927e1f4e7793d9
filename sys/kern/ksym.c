/*
 * Symbols of the kernel itself, so that a trace has names wherever it was
 * loaded from and by whatever.
 *
 * The build makes the table from the linked kernel and links it in: weak
 * here, as the first link has none yet.  Addresses ascend; where several
 * names share one, the first is as good as any.
 */
#include <kern/kern.h>

extern const unsigned long ksym_addr[] __attribute__((__weak__));
extern const uint32_t ksym_name_off[] __attribute__((__weak__));
extern const char ksym_names[] __attribute__((__weak__));
extern const unsigned ksym_count __attribute__((__weak__));

static unsigned
nsyms(void)
{
	return &ksym_count == NULL ? 0 : ksym_count;
}

/*
 * The last object's size is not in the table: an address so far behind the
 * last symbol is taken for outside of the image.
 */
#define LAST_SIZE	(16 * PAGE_SIZE)

const char *
ksym_find(vaddr_t addr, vaddr_t *off)
{
	unsigned lo = 0, hi = nsyms();

	/* ksym_addr[lo] <= addr < ksym_addr[hi], their ends being infinite */
	if (hi == 0 || addr < ksym_addr[0] ||
	    addr - ksym_addr[0] >= ksym_addr[hi - 1] - ksym_addr[0] + LAST_SIZE)
		return NULL;
	while (hi - lo > 1) {
		unsigned mid = lo + (hi - lo) / 2;

		if (ksym_addr[mid] <= addr)
			lo = mid;
		else
			hi = mid;
	}
	while (lo > 0 && ksym_addr[lo - 1] == ksym_addr[lo])
		lo--;
	*off = addr - ksym_addr[lo];
	return ksym_names + ksym_name_off[lo];
}

bool
ksym_value(const char *name, vaddr_t *addr)
{
	for (unsigned i = 0; i < nsyms(); i++) {
		if (strcmp(ksym_names + ksym_name_off[i], name) == 0) {
			*addr = ksym_addr[i];
			return true;
		}
	}
	return false;
}
