/*
 * The boot information's parser under libFuzzer:
 *
 *	clang-14 -g -O1 -fsanitize=fuzzer,address,undefined -Isys \
 *	    -Itest/host/include -Itest/host test/fuzz/fuzz_multiboot.c \
 *	    sys/vm/bootmem.c sys/vm/vm_phys.c sys/libkern/bitmap.c \
 *	    test/host/host.c sys/libkern/printf.c sys/libkern/misc.c \
 *	    -o build/fuzz_multiboot
 *	build/fuzz_multiboot -max_len=4096 test/fuzz/corpus/multiboot
 *
 * test_multiboot.c includes this file and replays the corpus.
 *
 * An input is two bytes, where in memory one byte cannot be read (0xFFFF:
 * none), and the memory itself, from FUZZ_BASE on; the boot information is
 * what it begins with.  What must hold is written down here from the
 * specification's offsets and multiboot.h, without the parser's structures.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <i386/multiboot.c>

#define FUZZ_BASE	0x10000u
#define FUZZ_MAX	0x10000u	/* bytes of memory at most */

struct fuzz_mem {
	const uint8_t	*fm_bytes;
	size_t		 fm_size;
	uint64_t	 fm_hole;	/* address of the unreadable byte */
};

int	LLVMFuzzerTestOneInput(const uint8_t *, size_t);

#define FUZZ_MUST(e) \
	((e) ? (void)0 : fuzz_fail(#e, __LINE__))

static void
fuzz_fail(const char *what, int line)
{
	fprintf(stderr, "fuzz_multiboot: %s is false (line %d)\n", what, line);
	abort();
}

static bool
fuzz_read(void *arg, uint64_t pa, void *buf, size_t len)
{
	const struct fuzz_mem *fm = arg;

	if (pa < FUZZ_BASE || pa - FUZZ_BASE > fm->fm_size ||
	    len > fm->fm_size - (pa - FUZZ_BASE))
		return false;
	if (pa <= fm->fm_hole && fm->fm_hole < pa + len)
		return false;
	memcpy(buf, fm->fm_bytes + (pa - FUZZ_BASE), len);
	return true;
}

static uint64_t
fuzz_le(const struct fuzz_mem *fm, uint64_t pa, unsigned n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | fm->fm_bytes[pa - FUZZ_BASE + n];
	return v;
}

/*
 * The entry of the memory map at *pos, if it is there; *pos moves on.
 */
struct fuzz_entry {
	uint64_t	fe_base, fe_len;
	bool		fe_ram;
};

static bool
fuzz_entry(const struct fuzz_mem *fm, uint64_t *pos, uint64_t end,
    struct fuzz_entry *fe)
{
	char dummy[24];
	uint64_t size;

	if (*pos > end || end - *pos < 24 ||
	    !fuzz_read((void *)(uintptr_t)fm, *pos, dummy, 24))
		return false;
	size = fuzz_le(fm, *pos, 4);
	if (size < 20)
		return false;
	fe->fe_base = fuzz_le(fm, *pos + 4, 8);
	fe->fe_len = fuzz_le(fm, *pos + 12, 8);
	fe->fe_ram = fuzz_le(fm, *pos + 20, 4) == 1;
	*pos += size + 4;
	return true;
}

/* How far from pfn on all is RAM by one of the entries. */
static uint64_t
fuzz_ram_from(const struct fuzz_mem *fm, uint64_t pfn)
{
	uint64_t pos = fuzz_le(fm, FUZZ_BASE + 48, 4), lo, hi, far = pfn;
	uint64_t end = pos + fuzz_le(fm, FUZZ_BASE + 44, 4);
	struct fuzz_entry fe;

	while (fuzz_entry(fm, &pos, end, &fe)) {
		if (!fe.fe_ram || fe.fe_base + fe.fe_len < fe.fe_base)
			continue;
		lo = (fe.fe_base >> 12) + (fe.fe_base % 4096 != 0);
		hi = (fe.fe_base + fe.fe_len) >> 12;
		if (lo <= pfn && hi > far)
			far = hi;
	}
	return far;
}

/* Has [start, end), in frames, no byte in common with [pa, pa + len)? */
static bool
fuzz_apart(const struct bootmem_range *r, uint64_t pa, uint64_t len)
{
	uint64_t last = len == 0 ? 0 : pa + (len - 1) < pa ? UINT64_MAX :
	    pa + (len - 1);

	return len == 0 || last >> 12 < r->br_start || pa >> 12 >= r->br_end;
}

static void
fuzz_free_by_map(const struct fuzz_mem *fm, const struct bootmem_range *r)
{
	uint64_t pos = fuzz_le(fm, FUZZ_BASE + 48, 4), pfn, next, at;
	uint64_t end = pos + fuzz_le(fm, FUZZ_BASE + 44, 4);
	struct fuzz_entry fe;

	for (pfn = r->br_start; pfn < r->br_end; pfn = next) {
		next = fuzz_ram_from(fm, pfn);
		FUZZ_MUST(next > pfn);
	}
	for (at = pos; fuzz_entry(fm, &pos, end, &fe); at = pos) {
		FUZZ_MUST(fuzz_apart(r, at, 24));
		if (!fe.fe_ram)
			FUZZ_MUST(fuzz_apart(r, fe.fe_base, fe.fe_len));
	}
}

static void
fuzz_free_by_size(const struct fuzz_mem *fm, const struct bootmem_range *r)
{
	uint64_t lower = fuzz_le(fm, FUZZ_BASE + 4, 4) * 1024;
	uint64_t upper = fuzz_le(fm, FUZZ_BASE + 8, 4) * 1024 + 0x100000;

	FUZZ_MUST((uint64_t)r->br_end * 4096 <= lower ||
	    (r->br_start >= 256 && (uint64_t)r->br_end * 4096 <= upper));
}

/* One free range: it is RAM, and nobody else's. */
static void
fuzz_free(const struct fuzz_mem *fm, const struct bootinfo *bi,
    const struct bootmem_range *r)
{
	unsigned i;

	FUZZ_MUST(r->br_start > 0 && r->br_start < r->br_end);
	FUZZ_MUST(r->br_end <= 1u << 20);
	FUZZ_MUST(fuzz_apart(r, 0xA0000, 0x60000));
	FUZZ_MUST(fuzz_apart(r, FUZZ_BASE, 68));
	if ((bi->bi_flags & MBI_MMAP) != 0)
		fuzz_free_by_map(fm, r);
	else
		fuzz_free_by_size(fm, r);
	for (i = 0; i < bi->bi_nmods; i++)
		FUZZ_MUST(fuzz_apart(r, bi->bi_mods[i].bm_range.bi_start,
		    bi->bi_mods[i].bm_range.bi_end -
		    bi->bi_mods[i].bm_range.bi_start));
	for (i = 0; i < bi->bi_nsyms; i++)
		FUZZ_MUST(fuzz_apart(r, bi->bi_syms[i].bi_start,
		    bi->bi_syms[i].bi_end - bi->bi_syms[i].bi_start));
	if ((bi->bi_flags & MBI_CMDLINE) != 0)
		FUZZ_MUST(fuzz_apart(r, fuzz_le(fm, FUZZ_BASE + 16, 4),
		    strlen(bi->bi_cmdline) + 1));
}

static void
fuzz_info(const struct bootinfo *bi, int error)
{
	unsigned i;

	FUZZ_MUST((error == 0) == (bi->bi_error == NULL));
	FUZZ_MUST(error == 0 || error == EFAULT || error == ENOENT ||
	    error == ENOMEM);
	FUZZ_MUST(memchr(bi->bi_cmdline, 0, sizeof(bi->bi_cmdline)) != NULL);
	FUZZ_MUST(memchr(bi->bi_loader, 0, sizeof(bi->bi_loader)) != NULL);
	FUZZ_MUST(bi->bi_nmods <= BOOTINFO_MAXMODS);
	FUZZ_MUST(bi->bi_nmmap <= BOOTINFO_MAXMMAP);
	FUZZ_MUST(bi->bi_nsyms <= BOOTINFO_MAXSYMS);
	for (i = 0; i < bi->bi_nmods; i++) {
		FUZZ_MUST(memchr(bi->bi_mods[i].bm_name, 0,
		    sizeof(bi->bi_mods[i].bm_name)) != NULL);
		FUZZ_MUST(bi->bi_mods[i].bm_range.bi_start <=
		    bi->bi_mods[i].bm_range.bi_end);
	}
}

/* Parse, and hold the outcome to all of the above. */
static int
fuzz_parse(struct fuzz_mem *fm, struct bootmem *bm, struct bootinfo *bi)
{
	struct bootmem_range r;
	struct fuzz_entry fe;
	uint64_t pos, flags;
	bool map, above = false;
	unsigned i;
	char dummy[68];
	int error;

	error = multiboot_parse(MULTIBOOT_MAGIC, FUZZ_BASE, fuzz_read, fm, bm,
	    bi);
	fuzz_info(bi, error);
	FUZZ_MUST(bootmem_check(bm) == NULL);
	if (!fuzz_read(fm, FUZZ_BASE, dummy, sizeof(dummy))) {
		FUZZ_MUST(error == EFAULT);
		return error;
	}
	flags = fuzz_le(fm, FUZZ_BASE, 4);
	pos = fuzz_le(fm, FUZZ_BASE + 48, 4);
	map = (flags & 0x40) != 0 && fuzz_entry(fm, &pos,
	    pos + fuzz_le(fm, FUZZ_BASE + 44, 4), &fe);
	FUZZ_MUST(map == ((bi->bi_flags & MBI_MMAP) != 0));
	FUZZ_MUST((error == ENOENT) == (!map && (flags & 1) == 0));
	for (i = 0; bootmem_free_range(bm, i, &r); i++) {
		fuzz_free(fm, bi, &r);
		above = above || r.br_end > 256;
	}
	FUZZ_MUST(error == (above ? 0 : !map && (flags & 1) == 0 ? ENOENT :
	    ENOMEM));
	return error;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bootmem bm;
	static struct bootinfo bi;
	struct fuzz_mem fm;

	if (size < 2 || size > FUZZ_MAX)
		return 0;
	fm.fm_bytes = data + 2;
	fm.fm_size = size - 2;
	fm.fm_hole = data[0] | (uint64_t)data[1] << 8;
	fm.fm_hole = fm.fm_hole == 0xFFFF ? UINT64_MAX :
	    fm.fm_hole + FUZZ_BASE;
	fuzz_parse(&fm, &bm, &bi);
	return 0;
}
