/*
 * The memory of the host test machine, and what of it the process sees where:
 * the calls of the host's that host_pmap.c makes.
 *
 * Physical memory is a memfd of nframes pages, seen whole at `phys`.  The
 * kernel's addresses are reserved (PROT_NONE), and to map one is to mmap the
 * frame's page of the memfd over it.
 *
 * Linux lets a process have 65,530 separate mappings (vm.max_map_count), so
 * a machine whose frames are scattered holds some 250 MB in use.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <vm/vm_host.h>

#include "host_mem.h"

static int memfd = -1;
static pfn_t nframes;
static char *phys;
static uint64_t nsyscalls;

/*
 * What the host's calls take of this thread's time, if somebody asks: in a
 * benchmark they stand where a kernel writes a page table.
 */
static bool timing;
static uint64_t clock_cost;	/* of one look at the clock */
static _Atomic uint64_t syscall_ns;

static uint64_t
clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void
host_syscalls_timed(bool on)
{
	uint64_t t, least = UINT64_MAX;
	unsigned i;

	for (i = 0; i < 1000; i++) {
		t = clock_ns();
		t = clock_ns() - t;
		least = t < least ? t : least;
	}
	clock_cost = least;
	timing = on;
}

uint64_t
host_syscall_ns(void)
{
	return syscall_ns;
}

static uint64_t
call_begins(void)
{
	return timing ? clock_ns() : 0;
}

/* Half of each look at the clock lies within what it measures. */
static void
call_ends(uint64_t since)
{
	nsyscalls++;
	if (timing)
		syscall_ns += clock_ns() - since + clock_cost;
}

/*
 * The host's own address space.
 */

/* Have [start, end) show nothing. */
static void
reserve(vaddr_t start, vaddr_t end, int how)
{
	const uint64_t since = call_begins();
	void *want = (void *)start;
	void *got = mmap(want, end - start, PROT_NONE, MAP_PRIVATE |
	    MAP_ANONYMOUS | MAP_NORESERVE | how, -1, 0);

	call_ends(since);
	if (got != want)
		vm_host_panic("host_mem: reserve [%#lx, %#lx): %s", start, end,
		    got == MAP_FAILED ? strerror(errno) : "not there");
}

static int
host_prot(vm_prot_t prot)
{
	return (prot & VM_PROT_READ ? PROT_READ : 0) |
	    (prot & VM_PROT_WRITE ? PROT_WRITE : 0);
}

/*
 * Have [start, end) show the frames from pa on.  They are there when it
 * returns (MAP_POPULATE), as on a machine whose memory is there: the host
 * would give them one by one when they are touched, which costs more.
 */
void
host_mem_show(vaddr_t start, vaddr_t end, paddr_t pa, vm_prot_t prot)
{
	const uint64_t since = call_begins();
	void *got = mmap((void *)start, end - start, host_prot(prot),
	    MAP_SHARED | MAP_FIXED | MAP_POPULATE, memfd, (off_t)pa);

	call_ends(since);
	if (got == MAP_FAILED)
		vm_host_panic("host_mem: map [%#lx, %#lx) to frame %#lx: %s",
		    start, end, pa, strerror(errno));
}

void
host_mem_protect(vaddr_t start, vaddr_t end, vm_prot_t prot)
{
	const uint64_t since = call_begins();
	const int error = mprotect((void *)start, end - start,
	    host_prot(prot));

	call_ends(since);
	if (error != 0)
		vm_host_panic("host_mem: protect [%#lx, %#lx) %#x: %s", start,
		    end, prot, strerror(errno));
}

uint64_t
host_syscalls(void)
{
	return nsyscalls;
}

void
host_mem_hide(vaddr_t start, vaddr_t end)
{
	reserve(start, end, MAP_FIXED);
}

void
host_mem_bootstrap(pfn_t n)
{
	const size_t size = (size_t)n << PAGE_SHIFT;

	/* Before the host chooses where the view goes: it may choose these. */
	reserve(VM_MIN_KERNEL_ADDRESS, VM_MAX_KERNEL_ADDRESS,
	    MAP_FIXED_NOREPLACE);
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
}

void *
host_phys(paddr_t pa)
{
	if (pa >> PAGE_SHIFT >= nframes)
		vm_host_panic("host_phys(%#lx): there are %u frames", pa,
		    nframes);
	return phys + pa;
}
