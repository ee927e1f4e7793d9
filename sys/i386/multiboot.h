/*
 * Multiboot 1: what the boot loader leaves behind, and how it becomes a
 * struct bootmem and a struct bootinfo.
 *
 * The parser is pure C and reads physical memory only through a function of
 * its caller's, so that it runs on the host too, under tests and a fuzzer.
 * Nothing that it is told is believed: whatever the loader or the firmware
 * hands over ends in a working result or in a named error.
 */
#ifndef I386_MULTIBOOT_H
#define I386_MULTIBOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vm/bootmem.h>

/* In our image, for the loader; the entry code has them too. */
#define MULTIBOOT_HEADER_MAGIC	0x1BADB002u
#define MULTIBOOT_PAGE_ALIGN	0x00000001u	/* modules on page borders */
#define MULTIBOOT_MEMORY_INFO	0x00000002u	/* mem_* or a map, please */

/* In EAX, from the loader; EBX is the address of a multiboot_info. */
#define MULTIBOOT_MAGIC		0x2BADB002u

/* mbi_flags: which of the fields mean anything. */
#define MBI_MEMORY		0x0001u		/* mbi_mem_* */
#define MBI_CMDLINE		0x0004u
#define MBI_MODS		0x0008u
#define MBI_ELF			0x0020u		/* mbi_elf_* */
#define MBI_MMAP		0x0040u
#define MBI_LOADER		0x0200u

/*
 * As the specification (0.6.96, section 3.3) lays it out.  All addresses
 * are physical.  What follows mbi_loader_name is of no use to us.
 */
struct multiboot_info {
	uint32_t	mbi_flags;
	uint32_t	mbi_mem_lower;		/* KiB from 0 */
	uint32_t	mbi_mem_upper;		/* KiB from 1 MiB */
	uint32_t	mbi_boot_device;
	uint32_t	mbi_cmdline;
	uint32_t	mbi_mods_count;
	uint32_t	mbi_mods_addr;
	uint32_t	mbi_elf_num;		/* section headers */
	uint32_t	mbi_elf_size;		/* bytes in each */
	uint32_t	mbi_elf_addr;
	uint32_t	mbi_elf_shndx;		/* which one names the others */
	uint32_t	mbi_mmap_length;	/* bytes */
	uint32_t	mbi_mmap_addr;
	uint32_t	mbi_drives_length;
	uint32_t	mbi_drives_addr;
	uint32_t	mbi_config_table;
	uint32_t	mbi_loader_name;
};

struct multiboot_mod {
	uint32_t	mod_start;
	uint32_t	mod_end;		/* one past the last byte */
	uint32_t	mod_string;
	uint32_t	mod_reserved;
};

/* mm_size does not count itself: the next entry is mm_size + 4 bytes on. */
struct multiboot_mmap {
	uint32_t	mm_size;		/* 20, or more */
	uint64_t	mm_base;
	uint64_t	mm_len;
	uint32_t	mm_type;
} __attribute__((packed));

#define MULTIBOOT_RAM		1u	/* mm_type; all others are not RAM */

#define BOOTINFO_MAXMODS	16
#define BOOTINFO_MAXMMAP	64
#define BOOTINFO_MAXSYMS	4

/* Bytes [bi_start, bi_end) of physical memory; an end of 4 GiB can be said. */
struct bootinfo_range {
	uint64_t	bi_start;
	uint64_t	bi_end;
};

struct bootinfo_mod {
	struct bootinfo_range bm_range;
	char		bm_name[64];
};

struct bootinfo_mmap {
	uint64_t	bp_base;
	uint64_t	bp_len;
	uint32_t	bp_type;
};

/*
 * What the loader said, copied out of its memory: all of it stays true when
 * the frames that the original lay in are given away.  Strings are always
 * terminated, "" where there was none, and cut where they are too long.
 */
struct bootinfo {
	const char	*bi_error;	/* why multiboot_parse failed */
	uint32_t	 bi_flags;	/* MBI_*: what was given and readable */
	uint32_t	 bi_mem_lower;	/* KiB; 0 if not given */
	uint32_t	 bi_mem_upper;
	char		 bi_cmdline[256];
	char		 bi_loader[64];

	/* Modules: all are taken, the first few are kept here. */
	unsigned	 bi_nmods;	/* valid in bi_mods */
	unsigned	 bi_moremods;	/* taken, but not kept */
	struct bootinfo_mod bi_mods[BOOTINFO_MAXMODS];

	/* The memory map as it was given: the first few, as they came. */
	unsigned	 bi_nmmap;	/* valid in bi_mmap */
	unsigned	 bi_moremmap;	/* used, but not kept */
	struct bootinfo_mmap bi_mmap[BOOTINFO_MAXMMAP];

	/* Our ELF's sections that the loader placed by itself (symbols). */
	unsigned	 bi_nsyms;
	struct bootinfo_range bi_syms[BOOTINFO_MAXSYMS];

	unsigned	 bi_bad;	/* things that made no sense, skipped */
};

/* Read len bytes at physical address pa.  => false: that cannot be read */
typedef bool	multiboot_read_t(void *arg, uint64_t pa, void *buf, size_t len);

/*
 * Make sense of what the loader left: EAX was magic, EBX mbi_pa.
 * => bm is initialised here; RAM is what the memory map says, or where there
 *    is none, mem_lower and mem_upper; what is not RAM wins over what is;
 *    frame 0, and [0xA0000, 0x100000), where a PC has its display and its
 *    ROMs, are never RAM
 * => the structures, strings, modules and symbols are taken in bm.  The
 *    kernel's own image is not: that is the caller's to do, before the first
 *    bootmem_alloc
 * => 0, or with bi->bi_error set: EINVAL (magic), EFAULT (nothing to be read
 *    at mbi_pa, or the map only once), ENOENT (no memory information),
 *    ENOMEM (no usable RAM at or above 1 MiB)
 * => what else makes no sense is skipped and counted, in bi_bad and bm_bad
 */
int	multiboot_parse(uint32_t magic, uint64_t mbi_pa, multiboot_read_t *,
	    void *arg, struct bootmem *, struct bootinfo *);

#endif
