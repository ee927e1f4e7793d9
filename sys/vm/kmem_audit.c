/*
 * Who allocated an object, who freed it, and when: a record of each, the
 * call chain in it.
 *
 * A record lies behind its object, where a wild write may reach it.  So it
 * carries the sum of what it says, and one that does not add up is reported
 * as damaged rather than believed.
 *
 * The chain begins with the client: what lies between it and here is the
 * allocator, as deep as the compiler made it.  The client's own return
 * address tells where that ends.  (Of kmalloc's own functions one or two may
 * come first: they say how the client came in.)
 */
#include <vm/kmem_debug_impl.h>

/* More than the functions of the allocator that lie above one another. */
#define OURS		8u

/* Never 0: that is a record that was never written. */
static unsigned long
sum_of(const struct kmem_record *r)
{
	unsigned long sum = r->r_tick;
	unsigned i;

	for (i = 0; i < KMD_FRAMES; i++)
		sum = sum * 31 + r->r_pc[i];
	return sum | 1;
}

void __attribute__((__noinline__))
kmem_record_take(struct kmem_record *r, const void *caller)
{
	vaddr_t pc[OURS + KMD_FRAMES];
	const unsigned n = vm_host_backtrace(pc, nitems(pc));
	unsigned i, first = 0;

	for (i = 0; i < n && pc[i] != (vaddr_t)caller; i++)
		continue;
	/* A machine that cannot tell its chain knows the caller at least. */
	if (i < n)
		first = i;
	for (i = 0; i < KMD_FRAMES; i++)
		r->r_pc[i] = first + i < n ? pc[first + i] : 0;
	if (n == 0)
		r->r_pc[0] = (vaddr_t)caller;
	r->r_tick = vm_host_ticks();
	r->r_sum = sum_of(r);
}

bool
kmem_record_sound(const struct kmem_record *r)
{
	return r->r_sum == sum_of(r);
}

void
kmem_record_log(const struct kmem_record *r, const char *did)
{
	char name[64];
	unsigned i;

	if (r->r_sum == 0) {
		vm_host_log("  never %s", did);
		return;
	}
	if (!kmem_record_sound(r)) {
		vm_host_log("  %s: the record is damaged", did);
		return;
	}
	vm_host_log("  %s at tick %lu, %lu ticks ago, by", did, r->r_tick,
	    vm_host_ticks() - r->r_tick);
	for (i = 0; i < KMD_FRAMES && r->r_pc[i] != 0; i++) {
		vm_host_symbol(r->r_pc[i], name, sizeof(name));
		vm_host_log("    %#lx %s", r->r_pc[i], name);
	}
}

void
kmem_records_log(const struct kmem_record *r)
{
	if (r == NULL)
		return;
	kmem_record_log(&r[KMD_ALLOCATED], "allocated");
	kmem_record_log(&r[KMD_FREED], "freed");
}
