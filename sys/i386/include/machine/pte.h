/*
 * Page tables as the i386 has them, and where pmap.c finds them: through the
 * recursive slot (the directory is its own last table), and through a few
 * pages of address space of its own, the windows.
 *
 * A test that runs pmap.c elsewhere supplies its own twins of ptmap.h and of
 * cpufunc.h.
 */
#ifndef MACHINE_PTE_H
#define MACHINE_PTE_H

#include <stdint.h>

#include <machine/vmparam.h>

typedef uint32_t pte_t;		/* an entry of a table or of a directory */

#define PG_V		0x001u	/* valid */
#define PG_RW		0x002u	/* writable; else read-only, to us too (WP) */
#define PG_U		0x004u	/* user mode may */
#define PG_WT		0x008u	/* cached, but written through */
#define PG_N		0x010u	/* not cached */
#define PG_A		0x020u	/* was used */
#define PG_M		0x040u	/* was written */
#define PG_G		0x100u	/* global: a load of %cr3 leaves it cached */
#define PG_PROTNONE	0x200u	/* ours: a page without access, PG_V clear */
#define PG_FRAME	0xFFFFF000u

#define PT_ENTRIES	1024u			/* in a table, in a directory */
#define PT_SPAN		(PT_ENTRIES * PAGE_SIZE)	/* 4 MB */
#define PDE_INDEX(va)	((unsigned)((va) >> 22))
#define PTE_INDEX(va)	((unsigned)((va) >> PAGE_SHIFT) & (PT_ENTRIES - 1))

/* The recursive slot: all tables in a row, and among them the directory. */
#define PDE_RECURSIVE	(PT_ENTRIES - 1)
#define PTMAP		((pte_t *)0xFFC00000UL)
#define PDMAP		((pte_t *)0xFFFFF000UL)

/* The windows of pmap.c: pages whose table is always there. */
#define PMAP_WINDOW_MIN	0xE0405000UL
enum pmap_window {
	PMAP_WINDOW_ZERO,	/* zeroed, or copied from; boot reads too */
	PMAP_WINDOW_COPY,	/* copied to */
	PMAP_WINDOW_DIR,	/* the directory of a pmap that is not active */
	PMAP_WINDOW_TABLE,	/* one of its tables */
	PMAP_NWINDOWS
};
#define PMAP_WINDOW_MAX	(PMAP_WINDOW_MIN + PMAP_NWINDOWS * PAGE_SIZE)

#endif
