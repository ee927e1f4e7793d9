/*
 * Memory before there is a memory system: what the firmware says there is,
 * made sense of, and a placement allocator over it that is closed for good
 * once vm_phys has taken over.
 *
 * Pure C, no globals, no allocation: tested and fuzzed on the host.  The
 * Multiboot structures are parsed in multiboot.c; this knows only ranges.
 */
#ifndef VM_BOOTMEM_H
#define VM_BOOTMEM_H

#include <vm/vm_phys.h>

#define BOOTMEM_MAXRANGES	256

struct bootmem_range {			/* frames [start, end) */
	pfn_t	br_start;
	pfn_t	br_end;
};

/*
 * Ranges are kept sorted, disjoint and joined.  bm_ram is what may be used;
 * bm_taken what is in use of it (image, modules, boot information, what was
 * placed): never handed to vm_phys until it is released on purpose.  bm_kept
 * is the part of bm_taken that stays in use after boot.
 */
struct bootmem {
	unsigned	bm_nram, bm_ntaken, bm_nkept;
	bool		bm_closed;
	uint64_t	bm_above4g;	/* bytes of RAM out of reach */
	uint64_t	bm_lost;	/* bytes dropped: less than a page,
					   or a table was full */
	unsigned	bm_bad;		/* entries that made no sense */
	struct bootmem_range bm_ram[BOOTMEM_MAXRANGES];
	struct bootmem_range bm_taken[BOOTMEM_MAXRANGES];
	struct bootmem_range bm_kept[BOOTMEM_MAXRANGES];
};

void	bootmem_init(struct bootmem *);

/*
 * Usable RAM [start, start + len): shrunk inwards to whole pages, cut at
 * 4 GiB; a range that wraps is counted bad and ignored.
 */
void	bootmem_add(struct bootmem *, uint64_t start, uint64_t len);

/*
 * Not RAM after all [start, start + len): grown outwards to whole pages, and
 * it wins over bootmem_add.  Call after every bootmem_add.
 */
void	bootmem_reserve(struct bootmem *, uint64_t start, uint64_t len);

/* In use [start, start + len), grown outwards; may lie outside of RAM. */
void	bootmem_take(struct bootmem *, uint64_t start, uint64_t len);

/* The same for what is in use for ever. */
void	bootmem_keep(struct bootmem *, uint64_t start, uint64_t len);

/*
 * Place size bytes in RAM that is not taken, and keep them: the lowest fit
 * at or above frame lo and below frame hi.
 * => page-aligned, whole pages; 0 with *pa set, ENOMEM, or EINVAL (size 0)
 * => panics by name after bootmem_close
 */
int	bootmem_alloc(struct bootmem *, uint64_t size, pfn_t lo, pfn_t hi,
	    paddr_t *pa);

/* The number of frames vm_phys has to cover: one past the highest RAM. */
pfn_t	bootmem_npfn(const struct bootmem *);

/* vm_phys_add() what is RAM and not taken, and close for good. */
void	bootmem_close(struct bootmem *);

/*
 * Boot is over: vm_phys_add() what was taken of RAM, and is not kept.  Not
 * before bootmem_close.
 * => returns how many frames that were; the second time, none
 */
pfn_t	bootmem_release(struct bootmem *);

/* Frames of RAM, and those of them that are kept. */
void	bootmem_count(const struct bootmem *, pfn_t *ram, pfn_t *kept);

/*
 * The i-th range of RAM that is not taken, in address order.
 * => false when there is no i-th
 */
bool	bootmem_free_range(const struct bootmem *, unsigned i,
	    struct bootmem_range *);

/* NULL, or what is wrong with the ranges (a static string). */
const char *bootmem_check(const struct bootmem *);

#endif
