/*
 * The memory of the host test machine, and what of it the process sees where:
 * the calls of the host's that host_pmap.c makes.
 *
 * Physical memory is a memfd of nframes pages, seen whole at `phys`.  The
 * kernel's addresses are reserved (PROT_NONE), and to map one is to mmap the
 * frame's page of the memfd over it.  (A flat machine does it otherwise:
 * host_flat.c.)
 *
 * Linux lets a process have 65,530 separate mappings (vm.max_map_count), so
 * a machine whose frames are scattered holds some 250 MB in use.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <vm/vm_host.h>

#include "host_flat.h"

static int memfd = -1;
static pfn_t nframes;
static char *phys;
static bool flat;
static uint64_t nsyscalls;

/*
 * The host's own address space.
 */
static int
host_prot(vm_prot_t prot)
{
	return (prot & VM_PROT_READ ? PROT_READ : 0) |
	    (prot & VM_PROT_WRITE ? PROT_WRITE : 0);
}

/* Memory of its own, or none, for [start, end). */
void
host_call_reserve(vaddr_t start, vaddr_t end, int prot, int how)
{
	void *want = (void *)start;
	void *got = mmap(want, end - start, prot, MAP_PRIVATE |
	    MAP_ANONYMOUS | MAP_NORESERVE | how, -1, 0);

	nsyscalls++;
	if (got != want)
		vm_host_panic("host_mem: reserve [%#lx, %#lx): %s", start, end,
		    got == MAP_FAILED ? strerror(errno) : "not there");
}

/*
 * They are there when it returns (MAP_POPULATE), as on a machine whose memory
 * is there: the host would give them one by one when they are touched, which
 * costs more.
 */
void
host_call_map(vaddr_t start, vaddr_t end, paddr_t pa, vm_prot_t prot)
{
	void *got = mmap((void *)start, end - start, host_prot(prot),
	    MAP_SHARED | MAP_FIXED | MAP_POPULATE, memfd, (off_t)pa);

	nsyscalls++;
	if (got == MAP_FAILED)
		vm_host_panic("host_mem: map [%#lx, %#lx) to frame %#lx: %s",
		    start, end, pa, strerror(errno));
}

void
host_call_protect(vaddr_t start, vaddr_t end, vm_prot_t prot)
{
	const int error = mprotect((void *)start, end - start,
	    host_prot(prot));

	nsyscalls++;
	if (error != 0)
		vm_host_panic("host_mem: protect [%#lx, %#lx) %#x: %s", start,
		    end, prot, strerror(errno));
}

void
host_call_advise(void *start, size_t size, int advice)
{
	const int error = madvise(start, size, advice);

	nsyscalls++;
	if (error != 0)
		vm_host_panic("host_mem: advise %p size %#zx %d: %s", start,
		    size, advice, strerror(errno));
}

uint64_t
host_syscalls(void)
{
	return nsyscalls;
}

/*
 * The machine's memory.
 */
void
host_set_flat(bool on)
{
	if (phys != NULL)
		vm_host_panic("host_set_flat: the machine is made already");
	flat = on;
}

bool
host_mem_flat(void)
{
	return flat;
}

void
host_mem_show(vaddr_t start, vaddr_t end, paddr_t pa, vm_prot_t prot)
{
	if (flat)
		flat_show(start, end, pa, prot);
	else
		host_call_map(start, end, pa, prot);
}

void
host_mem_hide(vaddr_t start, vaddr_t end)
{
	if (flat)
		flat_hide(start, end);
	else
		host_call_reserve(start, end, PROT_NONE, MAP_FIXED);
}

void
host_mem_protect(vaddr_t start, vaddr_t end, vm_prot_t prot)
{
	if (flat)
		flat_protect(start, end, prot);
	else
		host_call_protect(start, end, prot);
}

void
host_mem_lost(const paddr_t *pa, unsigned n)
{
	if (flat)
		flat_lost(pa, n);
}

void
host_mem_zero(paddr_t pa)
{
	if (flat)
		flat_zero(pa);
	else
		memset(host_phys(pa), 0, PAGE_SIZE);
}

void
host_mem_bootstrap(pfn_t n)
{
	const size_t size = (size_t)n << PAGE_SHIFT;

	/* Before the host chooses where the view goes: it may choose these. */
	host_call_reserve(VM_MIN_KERNEL_ADDRESS, VM_MAX_KERNEL_ADDRESS,
	    flat ? PROT_READ | PROT_WRITE : PROT_NONE, MAP_FIXED_NOREPLACE);
	nframes = n;
	memfd = memfd_create("holm-frames", MFD_CLOEXEC);
	if (memfd < 0 || ftruncate(memfd, (off_t)size) != 0)
		vm_host_panic("host_mem: memory of %u frames: %s", n,
		    strerror(errno));
	phys = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED |
	    MAP_NORESERVE, memfd, 0);
	if (phys == MAP_FAILED)
		vm_host_panic("host_mem: view of %u frames: %s", n,
		    strerror(errno));
	if (flat)
		flat_bootstrap(n, phys);
}

void *
host_phys(paddr_t pa)
{
	if (pa >> PAGE_SHIFT >= nframes)
		vm_host_panic("host_phys(%#lx): there are %u frames", pa,
		    nframes);
	return flat ? flat_phys(pa) : phys + pa;
}
