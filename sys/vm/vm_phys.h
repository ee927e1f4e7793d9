/*
 * Physical pages: which frames are free (a bitmap with three levels of 32-way
 * summaries above it), and a struct vm_page for each.
 *
 * Frames are named by their physical address (page-aligned paddr_t) where one
 * is handed about, and by their frame number (pfn, address >> PAGE_SHIFT)
 * where ranges are: an end of 4 GiB is pfn 2^20, which no paddr_t of 32 bits
 * can say.
 */
#ifndef VM_VM_PHYS_H
#define VM_VM_PHYS_H

#include <vm/vm.h>

typedef uint32_t pfn_t;

#define PFN_MAX		(1u << 20)	/* 4 GiB: one past the last frame */

/*
 * Zones by who can reach them.  An ordinary request takes from VM_ZONE_HIGH
 * and falls back to the one below only when that is empty.
 */
enum vm_zone {
	VM_ZONE_LOW,		/* below 1 MiB: real mode, boot of other CPUs */
	VM_ZONE_DMA,		/* below 16 MiB: ISA DMA */
	VM_ZONE_HIGH,		/* the rest */
	VM_NZONES
};

/* Who owns a frame, for the debugger and against double frees. */
enum vm_page_owner {
	VM_PAGE_RESERVED,	/* absent, firmware's, or the kernel image's */
	VM_PAGE_FREE,
	VM_PAGE_KMEM,		/* behind a kmem_alloc */
	VM_PAGE_PTP,		/* a page table */
	VM_PAGE_ENTRY,		/* the store of map entries */
	VM_PAGE_USER,
	VM_PAGE_NOWNERS
};

/*
 * 12 bytes on i386.  Two words belong to whoever has the frame, and mean what
 * its owner makes of them:
 *
 *	kmem		on the first frame of an allocation how many pages
 *			it has, and who asked; or, as the flags say, the
 *			slab, or the kmalloc_type of the block; of a range
 *			that the range cache keeps: who had it last, or NULL
 *	user		the page's place in an object, and that object.  Who
 *			looks for pages to put out goes round the array by
 *			frame number, as a clock's hand, and needs no links.
 *	others		nothing
 */
struct vm_page {
	uint8_t		 pg_owner;	/* enum vm_page_owner */
	uint8_t		 pg_flags;
	uint16_t	 pg_refs;	/* 1 when allocated; never wraps */
	union {
		uint32_t pg_npages;	/* first of so many */
		uint32_t pg_offset;	/* user: in the object, in pages */
	};
	union {
		const char *pg_name;	/* none of VM_PAGE_NAMELESS: who
					   asked, or NULL */
		void	*pg_slab;	/* VM_PAGE_SLAB: the slab on it;
					   VM_PAGE_HEAP: the kmalloc_type of
					   the block that begins here */
		void	*pg_object;	/* user */
	};
};
#define VM_PAGE_MAXREFS	UINT16_MAX

/* pg_flags */
#define VM_PAGE_SLAB	0x01
#define VM_PAGE_HEAP	0x02
#define VM_PAGE_RANGE	0x04	/* begins a plain range of kmem_alloc's, */
#define VM_PAGE_CACHED	0x08	/* freed, and kept (kmem_range.c) */
#define VM_PAGE_GUARD	0x10	/* kmem_guard.c's: pg_slab is its record */
#define VM_PAGE_MARK	0x20	/* reached by the scan for leaks */
#define VM_PAGE_FENCE_LO 0x40	/* a range: with a guard page before it, */
#define VM_PAGE_FENCE_HI 0x80	/* and behind */
#define VM_PAGE_NAMELESS (VM_PAGE_SLAB | VM_PAGE_HEAP | VM_PAGE_GUARD)

struct vm_phys_stats {
	pfn_t	ps_total[VM_NZONES];	/* frames ever handed to vm_phys */
	pfn_t	ps_free[VM_NZONES];
	uint64_t ps_taken[VM_NZONES];	/* frames, by all allocations ever */
	uint64_t ps_given[VM_NZONES];	/* and by all frees */
	pfn_t	ps_owner[VM_PAGE_NOWNERS];	/* frames by owner */
	uint64_t ps_allocs, ps_frees, ps_fails;	/* calls */
	pfn_t	ps_mark_low, ps_mark_high;	/* vm_phys_watch */
	bool	ps_low;			/* below, and not above again yet */
	uint64_t ps_crossed;		/* times that ps_low changed */
};

/*
 * Set up for frames [0, npfn), all of them reserved.
 * => mem is vm_phys_size(npfn) bytes, zeroed or not, 8-byte aligned, and
 *    stays vm_phys's for ever
 * => npfn is at most PFN_MAX
 */
size_t	vm_phys_size(pfn_t npfn);
void	vm_phys_init(void *mem, pfn_t npfn);

/*
 * Hand the reserved frames [start, end) over as free ones.  Those beyond
 * npfn are ignored; one that is already free or allocated is a named panic.
 */
void	vm_phys_add(pfn_t start, pfn_t end);

/*
 * One frame, the lowest free one of the highest zone that has any.
 * => 0 with *pa set, or ENOMEM
 * => never sleeps; may be called from an interrupt
 */
int	vm_phys_alloc(enum vm_page_owner, paddr_t *pa);

/*
 * n contiguous frames within [lo, hi), the lowest such run.
 * => align is a power of two in pages (1 for any); boundary is 0, or a power
 *    of two in pages that the run must not cross
 * => 0, EINVAL (n = 0, a bad alignment, n > boundary), or ENOMEM
 * => the first frame's pg_npages is n
 */
int	vm_phys_alloc_run(pfn_t n, pfn_t align, pfn_t boundary, pfn_t lo,
	    pfn_t hi, enum vm_page_owner, paddr_t *pa);

/*
 * n frames, wherever they are, in ascending order of each zone: as n calls of
 * vm_phys_alloc, with the lock taken once.
 * => 0 with pa[0 .. n) set, or ENOMEM with none taken
 */
int	vm_phys_alloc_many(unsigned n, enum vm_page_owner, paddr_t *pa);

/*
 * This very frame.
 * => 0, EINVAL (there is none at pa), or EBUSY (it is not free)
 */
int	vm_phys_alloc_at(paddr_t pa, enum vm_page_owner);

/*
 * Give back.  A frame that is free already, reserved, or absent is a named
 * panic, and so is one that is still referenced more than once, or that
 * stands in pa[] twice.  Then none was given back.
 */
void	vm_phys_free(paddr_t pa);
void	vm_phys_free_run(paddr_t pa, pfn_t n);
void	vm_phys_free_many(const paddr_t *pa, unsigned n);

/*
 * One reference to an allocated frame more, or less.  The last one gives the
 * frame back.
 * => vm_phys_unref: true when it did
 * => a frame that is not allocated, and one reference more than
 *    VM_PAGE_MAXREFS, is a named panic
 */
void	vm_phys_ref(paddr_t pa);
bool	vm_phys_unref(paddr_t pa);

/*
 * Call fn(true) when fewer than low frames are free, and after that fn(false)
 * as soon as high are; and so on.  low <= high; what lies between keeps the
 * two apart.  Both 0: never.
 * => replaces what was watched before; where low is crossed already, fn is
 *    called at once
 * => fn may be called from an interrupt, and with any lock of the order
 *    above vm_phys's held: it may set a flag or call vm_host_wakeup
 * => on several CPUs two calls may overtake each other: ps_low is the truth
 */
void	vm_phys_watch(pfn_t low, pfn_t high, void (*fn)(bool low));

/*
 * The page of a frame; NULL beyond npfn.
 * => good for as long as the frame is in the same hands
 * => takes no lock but the first time that a frame is looked at
 */
static inline struct vm_page *vm_phys_page(paddr_t pa);

struct vm_frames {			/* constant after vm_phys_init */
	struct vm_page	*vf_page;
	uint8_t		*vf_state;	/* 2 bits; not 0: fill vf_page in */
	pfn_t		 vf_npfn;
};
extern struct vm_frames vm_frames;

void	vm_phys_page_fill(pfn_t);

static inline struct vm_page *
vm_phys_page(paddr_t pa)
{
	paddr_t pfn = pa >> PAGE_SHIFT;

	if (pfn >= vm_frames.vf_npfn)
		return NULL;
	if ((__atomic_load_n(&vm_frames.vf_state[pfn / 4], __ATOMIC_ACQUIRE) >>
	    (pfn % 4 * 2) & 3) != 0)
		vm_phys_page_fill((pfn_t)pfn);
	return &vm_frames.vf_page[pfn];
}

/* The address of the frame whose page it is. */
paddr_t	vm_phys_page_pa(const struct vm_page *);

pfn_t	vm_phys_nfree(void);		/* over all zones */
void	vm_phys_stats(struct vm_phys_stats *);

/* Walk everything; returns NULL, or what is wrong (a static string). */
const char *vm_phys_check(void);

#endif
