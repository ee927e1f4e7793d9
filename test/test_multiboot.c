/*
 * The boot information's parser: maps by hand, random maps against an array
 * of bools, reads that are refused at every place, and the fuzzer's corpus.
 *
 * What the parser reads is 64 KiB of memory at FUZZ_BASE; the boot
 * information lies at its beginning, and what that points to behind it.
 *
 * MULTIBOOT_SEEDS=DIR writes the machines made by hand there, as inputs for
 * the fuzzer to begin with.
 */
#include "fuzz/fuzz_multiboot.c"

#include <check.h>
#include <dirent.h>
#include <unistd.h>

#include "host.h"
#include "must.h"

#define CORPUS	"test/fuzz/corpus/multiboot"

#define K	1024ULL
#define M	(1024 * K)
#define G	(1024 * M)

/* Where things lie; each begins a page. */
#define AT_CMDLINE	0x11000u
#define AT_LOADER	0x12000u
#define AT_MMAP		0x13000u	/* to 0x18000 */
#define AT_MODS		0x18000u
#define AT_ELF		0x19000u
#define AT_NAMES	0x1A000u

static uint8_t memory[FUZZ_MAX];
static struct fuzz_mem fm;
static struct bootmem bm;
static struct bootinfo bi;
static uint32_t mmap_end;

static void
put(uint32_t pa, uint64_t v, unsigned n)
{
	for (; n > 0; n--, v >>= 8)
		memory[pa++ - FUZZ_BASE] = (uint8_t)v;
}

static void
put_string(uint32_t pa, const char *s)
{
	memcpy(&memory[pa - FUZZ_BASE], s, strlen(s) + 1);
}

static void
begin(uint32_t flags)
{
	memset(memory, 0, sizeof(memory));
	fm = (struct fuzz_mem){ memory, sizeof(memory), UINT64_MAX };
	put(FUZZ_BASE, flags, 4);
	put(FUZZ_BASE + 48, AT_MMAP, 4);
	mmap_end = AT_MMAP;
}

/* One more entry of the memory map, of `size` bytes besides its size. */
static void
entry(uint32_t size, uint64_t base, uint64_t len, uint32_t type)
{
	put(mmap_end, size, 4);
	put(mmap_end + 4, base, 8);
	put(mmap_end + 12, len, 8);
	put(mmap_end + 20, type, 4);
	mmap_end += size + 4;
	put(FUZZ_BASE + 44, mmap_end - AT_MMAP, 4);
}

static void
save_seed(void)
{
	const char *dir = getenv("MULTIBOOT_SEEDS");
	static unsigned n;
	char name[256];
	size_t size = sizeof(memory);
	FILE *f;

	if (dir == NULL)
		return;
	while (size > 68 && memory[size - 1] == 0)
		size--;
	snprintf(name, sizeof(name), "%s/hand-%03u-%d", dir, n++,
	    (int)getpid());
	f = fopen(name, "wb");
	ck_assert(f != NULL);
	fputc(fm.fm_hole == UINT64_MAX ? 0xFF :
	    (int)(fm.fm_hole - FUZZ_BASE) & 0xFF, f);
	fputc(fm.fm_hole == UINT64_MAX ? 0xFF :
	    (int)(fm.fm_hole - FUZZ_BASE) >> 8, f);
	fwrite(memory, 1, size, f);
	fclose(f);
}

/* Parse what is in memory; all that the fuzzer holds it to must hold. */
static int
parse(void)
{
	save_seed();
	return fuzz_parse(&fm, &bm, &bi);
}

static const char *
free_text(void)
{
	static char buf[8192];
	struct bootmem_range r;
	size_t len = 0;
	unsigned i;

	buf[0] = '\0';
	for (i = 0; bootmem_free_range(&bm, i, &r); i++)
		len += (size_t)snprintf(buf + len, sizeof(buf) - len,
		    "[%x,%x)", r.br_start, r.br_end);
	return buf;
}

/*
 * Maps by hand.  The boot information takes frames 0x10 and 0x13.
 */
static const struct table {
	struct {
		uint32_t	size;	/* 0: no more */
		uint64_t	base, len;
		uint32_t	type;
	} t_entry[12];
	int		t_error;
	const char	*t_free;
	uint64_t	t_above4g;
	unsigned	t_bad;		/* bm_bad */
} tables[] = {
	/* QEMU with 64 MiB, as SeaBIOS has it. */
	{ { { 20, 0, 0x9FC00, 1 }, { 20, 0x9FC00, 0x400, 2 },
	    { 20, 0xF0000, 0x10000, 2 }, { 20, M, 0x3EE0000, 1 },
	    { 20, 0x3FE0000, 0x20000, 2 }, { 20, 0xFFFC0000, 0x40000, 2 } },
	    0, "[1,10)[11,13)[14,9f)[100,3fe0)", 0, 0 },
	/* The same, last first, with entries of 24 bytes. */
	{ { { 24, 0xFFFC0000, 0x40000, 2 }, { 24, 0x3FE0000, 0x20000, 2 },
	    { 24, M, 0x3EE0000, 1 }, { 24, 0xF0000, 0x10000, 2 },
	    { 24, 0x9FC00, 0x400, 2 }, { 24, 0, 0x9FC00, 1 } },
	    0, "[1,10)[11,13)[14,9f)[100,3fe0)", 0, 0 },
	/* 8 GiB: half of it out of reach. */
	{ { { 20, 0, 0x9FC00, 1 }, { 20, M, 3 * G - M, 1 },
	    { 20, 3 * G, G, 2 }, { 20, 4 * G, 5 * G, 1 } },
	    0, "[1,10)[11,13)[14,9f)[100,c0000)", 5 * G, 0 },
	/* One that crosses 4 GiB. */
	{ { { 20, 4 * G - 4 * M, 8 * M, 1 } }, 0, "[ffc00,100000)", 4 * M,
	    0 },
	/* Reserved wins, wherever it stands, and of whatever type. */
	{ { { 20, 2 * M, M, 3 }, { 20, 0, 8 * M, 1 }, { 20, 4 * M, 1, 4 },
	    { 24, 6 * M - 1, 2, 5 }, { 20, 7 * M, 0, 2 },
	    { 20, 7 * M + 4096, 4096, 0 }, { 20, 8 * M - 1, 1, UINT32_MAX } },
	    0, "[1,10)[11,13)[14,a0)[100,200)[300,400)[401,5ff)[601,701)"
	    "[702,7ff)", 0, 0 },
	/* Overlapping and the same twice; of no length; less than a page. */
	{ { { 20, M, 4 * M, 1 }, { 20, 2 * M, 4 * M, 1 },
	    { 20, M, 4 * M, 1 }, { 20, 16 * M, 0, 1 },
	    { 20, 20 * M + 1, 8190, 1 }, { 20, 24 * M + 1, 8191, 1 } },
	    0, "[100,600)[1801,1802)", 0, 0 },
	/* RAM that wraps is none; what is not RAM may wrap. */
	{ { { 20, M, UINT64_MAX, 1 }, { 20, 4 * M, 4 * M, 1 },
	    { 20, 7 * M, UINT64_MAX, 2 } }, 0, "[400,700)", 0, 1 },
	{ { { 20, M, UINT64_MAX - M, 1 } }, 0, "[100,100000)",
	    UINT64_MAX - 4 * G, 0 },
	/* The display and the ROMs are no RAM, whatever is said. */
	{ { { 28, 0, 2 * M, 1 } }, 0, "[1,10)[11,13)[14,a0)[100,200)", 0, 0 },
	/* Entries of other sizes, mixed. */
	{ { { 36, M, M, 1 }, { 20, 3 * M, M, 1 }, { 96, 5 * M, M, 1 },
	    { 21, 7 * M, M, 1 }, { 20, 9 * M, M, 1 } },
	    0, "[100,200)[300,400)[500,600)[700,800)[900,a00)", 0, 0 },
	/* Nothing to be used. */
	{ { { 20, 0, 8 * M, 2 } }, ENOMEM, "", 0, 0 },
	{ { { 20, 0, M, 1 } }, ENOMEM, "[1,10)[11,13)[14,a0)", 0, 0 },
	{ { { 20, 0, 8 * M, 1 }, { 20, M, 7 * M, 2 } }, ENOMEM,
	    "[1,10)[11,13)[14,a0)", 0, 0 },
	{ { { 20, 4 * G, 4 * G, 1 } }, ENOMEM, "", 4 * G, 0 },
	{ { { 20, M, 4095, 1 } }, ENOMEM, "", 0, 0 },
	{ { { 20, 0, UINT64_MAX, 1 }, { 20, 0, UINT64_MAX, 2 } }, ENOMEM, "",
	    UINT64_MAX - 4 * G, 0 },
};

START_TEST(by_hand)
{
	const struct table *t = &tables[_i];
	unsigned i;

	begin(MBI_MMAP);
	for (i = 0; i < nitems(t->t_entry) && t->t_entry[i].size != 0; i++)
		entry(t->t_entry[i].size, t->t_entry[i].base,
		    t->t_entry[i].len, t->t_entry[i].type);
	ck_assert_int_eq(parse(), t->t_error);
	ck_assert_str_eq(free_text(), t->t_free);
	ck_assert_uint_eq(bm.bm_above4g, t->t_above4g);
	ck_assert_uint_eq(bm.bm_bad, t->t_bad);
	ck_assert_uint_eq(bi.bi_bad, 0);
	ck_assert_uint_eq(bi.bi_nmmap, i);
	ck_assert_uint_eq(bi.bi_mmap[i - 1].bp_base, t->t_entry[i - 1].base);
	ck_assert_uint_eq(bi.bi_mmap[i - 1].bp_len, t->t_entry[i - 1].len);
	ck_assert_uint_eq(bi.bi_mmap[i - 1].bp_type, t->t_entry[i - 1].type);
	if (t->t_error != 0)
		ck_assert_str_eq(bi.bi_error,
		    "there is no usable RAM at or above 1 MiB");
}
END_TEST

START_TEST(no_loader)
{
	begin(MBI_MEMORY);
	put(FUZZ_BASE + 8, 1024, 4);
	ck_assert_int_eq(multiboot_parse(MULTIBOOT_HEADER_MAGIC, FUZZ_BASE,
	    fuzz_read, &fm, &bm, &bi), EINVAL);
	ck_assert(strstr(bi.bi_error, "magic") != NULL);
	ck_assert_int_eq(multiboot_parse(MULTIBOOT_MAGIC, 0, fuzz_read, &fm,
	    &bm, &bi), EFAULT);
	ck_assert_str_eq(bi.bi_error, "the boot information is unreadable");
	ck_assert_int_eq(multiboot_parse(MULTIBOOT_MAGIC, 0x5000, fuzz_read,
	    &fm, &bm, &bi), EFAULT);
	ck_assert_int_eq(multiboot_parse(MULTIBOOT_MAGIC,
	    FUZZ_BASE + FUZZ_MAX - 67, fuzz_read, &fm, &bm, &bi), EFAULT);
	ck_assert_int_eq(multiboot_parse(MULTIBOOT_MAGIC, 4 * G - 67,
	    fuzz_read, &fm, &bm, &bi), EFAULT);
	ck_assert_int_eq(multiboot_parse(MULTIBOOT_MAGIC, UINT64_MAX,
	    fuzz_read, &fm, &bm, &bi), EFAULT);
	ck_assert_int_eq(multiboot_parse(MULTIBOOT_MAGIC, FUZZ_BASE,
	    fuzz_read, &fm, &bm, &bi), 0);
	ck_assert(bi.bi_error == NULL);
	ck_assert_int_eq(parse(), 0);
}
END_TEST

/* What is said of memory when there is no map, or none to be read. */
START_TEST(no_map)
{
	begin(0);
	ck_assert_int_eq(parse(), ENOENT);
	ck_assert(strstr(bi.bi_error, "neither a memory map") != NULL);

	begin(MBI_MEMORY);
	put(FUZZ_BASE + 4, 639, 4);
	put(FUZZ_BASE + 8, 63 * 1024 + 3, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(free_text(), "[1,10)[11,9f)[100,4000)");
	ck_assert_uint_eq(bi.bi_mem_lower, 639);
	ck_assert_uint_eq(bi.bi_mem_upper, 63 * 1024 + 3);
	ck_assert_uint_eq(bi.bi_flags, MBI_MEMORY);
	ck_assert_uint_eq(bi.bi_bad, 0);
	/* Absurd ones. */
	put(FUZZ_BASE + 4, UINT32_MAX, 4);
	put(FUZZ_BASE + 8, UINT32_MAX, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(free_text(), "[1,10)[11,a0)[100,100000)");
	put(FUZZ_BASE + 8, 1024, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(free_text(), "[1,10)[11,a0)[100,200)");
	put(FUZZ_BASE + 8, 4 * M + 1024, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(free_text(), "[1,10)[11,a0)[100,100000)");
	put(FUZZ_BASE + 4, 640, 4);
	put(FUZZ_BASE + 8, 3, 4);
	ck_assert_int_eq(parse(), ENOMEM);
	put(FUZZ_BASE + 4, 0, 4);
	put(FUZZ_BASE + 8, 0, 4);
	ck_assert_int_eq(parse(), ENOMEM);
	ck_assert_str_eq(free_text(), "");

	/* A map of no length, at no place, of no size. */
	put(FUZZ_BASE, MBI_MEMORY | MBI_MMAP, 4);
	put(FUZZ_BASE + 8, 1024, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(free_text(), "[100,200)");
	ck_assert_uint_eq(bi.bi_bad, 1);
	put(FUZZ_BASE + 44, UINT32_MAX, 4);
	ck_assert_int_eq(parse(), 0);	/* entries of size 0 */
	ck_assert_uint_eq(bi.bi_bad, 1);
	put(AT_MMAP, 19, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(bi.bi_flags, MBI_MEMORY);
	put(FUZZ_BASE + 48, UINT32_MAX - 2, 4);
	ck_assert_int_eq(parse(), 0);
	put(FUZZ_BASE + 48, 0, 4);
	ck_assert_int_eq(parse(), 0);
	put(FUZZ_BASE, MBI_MMAP, 4);
	ck_assert_int_eq(parse(), ENOENT);
}
END_TEST

/* A length that lies, and maps that end too early or too late. */
START_TEST(lengths)
{
	unsigned i, len;

	for (i = 0; i < 2; i++) {
		begin(MBI_MMAP);
		entry(20, M, M, 1);
		entry(i == 0 ? 20 : 24, 3 * M, M, 1);
		len = mmap_end - AT_MMAP;
		put(FUZZ_BASE + 44, len - 1, 4);
		ck_assert_int_eq(parse(), 0);
		/* 24 of 28 bytes of an entry are enough. */
		ck_assert_str_eq(free_text(), i == 0 ? "[100,200)" :
		    "[100,200)[300,400)");
		ck_assert_uint_eq(bi.bi_bad, 1);
		put(FUZZ_BASE + 44, len + 1, 4);
		ck_assert_int_eq(parse(), 0);
		ck_assert_str_eq(free_text(), "[100,200)[300,400)");
		ck_assert_uint_eq(bi.bi_bad, 1);
		put(FUZZ_BASE + 44, UINT32_MAX, 4);
		ck_assert_int_eq(parse(), 0);
		ck_assert_str_eq(free_text(), "[100,200)[300,400)");
		ck_assert_uint_eq(bi.bi_bad, 1);
	}
	/* An entry that claims to be longer than all that there is. */
	begin(MBI_MMAP);
	entry(20, M, M, 1);
	entry(20, 3 * M, M, 1);
	put(AT_MMAP + 24, UINT32_MAX, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(free_text(), "[100,200)[300,400)");
	ck_assert_uint_eq(bi.bi_nmmap, 2);
	ck_assert_uint_eq(bi.bi_bad, 1);
	/* The map is taken as far as it goes: here into another page. */
	begin(MBI_MMAP);
	mmap_end = AT_MMAP + 4096 - 24;
	entry(20, 0, 4 * M, 1);
	put(AT_MMAP + 4096 - 24, 1000, 4);
	put(FUZZ_BASE + 44, 25, 4);
	put(FUZZ_BASE + 48, AT_MMAP + 4096 - 24, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(free_text(), "[1,10)[11,13)[15,a0)[100,400)");
}
END_TEST

/* Hundreds of entries: all are used, the first are kept. */
START_TEST(many_entries)
{
	struct bootmem_range r;
	unsigned i, n;

	begin(MBI_MMAP);
	for (i = 0; i < 500; i++)
		entry(20, M * (499 - i), M / 2, 1);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(bi.bi_nmmap, BOOTINFO_MAXMMAP);
	ck_assert_uint_eq(bi.bi_moremmap, 500 - BOOTINFO_MAXMMAP);
	ck_assert_uint_eq(bi.bi_mmap[63].bp_base, (499 - 63) * M);
	/* The table holds 256 of the ranges, and says what it lost. */
	for (i = n = 0; bootmem_free_range(&bm, i, &r); i++)
		n += r.br_end - r.br_start;
	ck_assert_uint_eq(bm.bm_lost, (500 - 256) * M / 2);
	ck_assert_uint_eq(n, 256 * 128);

	/* Touching ones are one range, however many. */
	begin(MBI_MMAP);
	for (i = 0; i < 700; i++)
		entry(20, M + i * 8192, 8192, 1);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(free_text(), "[100,678)");
	ck_assert_uint_eq(bm.bm_lost, 0);
}
END_TEST

/*
 * A memory that is the same 64 KiB again and again, up to where it may be
 * asked for.
 */
static bool
mirror_read(void *arg, uint64_t pa, void *buf, size_t len)
{
	uint8_t *byte = buf;

	must(pa < 4 * G && len <= 4 * G - pa);
	for (++*(unsigned *)arg; len > 0; len--)
		*byte++ = memory[pa++ % FUZZ_MAX];
	return true;
}

#define MIRROR(pa) multiboot_parse(MULTIBOOT_MAGIC, pa, mirror_read, &reads, \
    &bm, &bi)

START_TEST(top_of_memory)
{
	unsigned reads = 0;

	begin(MBI_MEMORY);
	put(FUZZ_BASE + 8, 1024, 4);
	ck_assert_int_eq(MIRROR(FUZZ_BASE), 0);
	ck_assert_int_eq(MIRROR(4 * G - 0x10000), 0);
	ck_assert_int_eq(MIRROR(4 * G - 67), EFAULT);
	ck_assert_int_eq(MIRROR(4 * G + FUZZ_BASE), EFAULT);
	ck_assert_int_eq(MIRROR(0), EFAULT);
	memcpy(&memory[FUZZ_MAX - 68], memory, 68);
	ck_assert_int_eq(MIRROR(4 * G - 68), 0);
	/* A command line up to the top, and all tables across it. */
	begin(MBI_MEMORY | MBI_MMAP | MBI_MODS | MBI_ELF | MBI_CMDLINE);
	put(FUZZ_BASE + 8, 1024, 4);
	put(FUZZ_BASE + 16, UINT32_MAX - 1, 4);
	put(FUZZ_BASE + 20, 2, 4);
	put(FUZZ_BASE + 24, UINT32_MAX - 16, 4);
	put(FUZZ_BASE + 28, 2, 4);
	put(FUZZ_BASE + 32, 40, 4);
	put(FUZZ_BASE + 36, UINT32_MAX - 30, 4);
	put(FUZZ_BASE + 44, 100, 4);
	put(FUZZ_BASE + 48, UINT32_MAX - 20, 4);
	put_string(FUZZ_BASE + FUZZ_MAX - 2, "z");
	memory[FUZZ_MAX - 1] = 'z';
	ck_assert_int_eq(MIRROR(FUZZ_BASE), 0);
	ck_assert_str_eq(bi.bi_cmdline, "zz");
	ck_assert_uint_eq(bi.bi_flags, MBI_MEMORY | MBI_MODS | MBI_ELF |
	    MBI_CMDLINE);
	ck_assert_uint_eq(bm.bm_taken[bm.bm_ntaken - 1].br_end, PFN_MAX);
	/* As many sections as there is memory: no more than a kernel has. */
	put(FUZZ_BASE, MBI_MEMORY | MBI_ELF, 4);
	put(FUZZ_BASE + 28, UINT32_MAX, 4);
	put(FUZZ_BASE + 32, FUZZ_MAX, 4);
	put(FUZZ_BASE + 36, AT_ELF, 4);
	reads = 0;
	ck_assert_int_eq(MIRROR(FUZZ_BASE), 0);
	ck_assert_uint_eq(reads, 1 + 4096);
	ck_assert_uint_eq(bi.bi_bad, 1);
}
END_TEST

/* A memory that is one map without end; and one that ends the first time. */
struct endless {
	unsigned	e_reads, e_stop;
};

static bool
endless_read(void *arg, uint64_t pa, void *buf, size_t len)
{
	struct endless *e = arg;
	struct multiboot_mmap mm = { 20, 2 * M, M, MULTIBOOT_RAM };
	struct multiboot_info mbi = {
		.mbi_flags = MBI_MMAP, .mbi_mmap_addr = 0x20000,
		.mbi_mmap_length = UINT32_MAX,
	};

	if (e->e_reads++ == e->e_stop)
		return false;
	if (pa == FUZZ_BASE)
		memcpy(buf, &mbi, len);
	else
		memcpy(buf, &mm, len);
	return true;
}

START_TEST(endless_maps)
{
	struct endless e = { 0, UINT32_MAX };

	ck_assert_int_eq(multiboot_parse(MULTIBOOT_MAGIC, FUZZ_BASE,
	    endless_read, &e, &bm, &bi), 0);
	ck_assert_uint_eq(e.e_reads, 1 + 2 * 4096);
	ck_assert_uint_eq(bi.bi_bad, 1);
	ck_assert_str_eq(free_text(), "[200,300)");
	/* In the second walk less can be read than in the first. */
	e = (struct endless){ 0, 1 + 4096 + 17 };
	ck_assert_int_eq(multiboot_parse(MULTIBOOT_MAGIC, FUZZ_BASE,
	    endless_read, &e, &bm, &bi), EFAULT);
	ck_assert_str_eq(bi.bi_error, "the memory map cannot be read twice");
}
END_TEST

START_TEST(strings)
{
	char want[256];

	begin(MBI_MMAP | MBI_CMDLINE | MBI_LOADER);
	entry(20, 0, 4 * M, 1);
	put(FUZZ_BASE + 16, AT_CMDLINE, 4);
	put(FUZZ_BASE + 64, AT_LOADER, 4);
	put_string(AT_CMDLINE, "holm selftest magic=1");
	put_string(AT_LOADER, "GRUB 2.06");
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(bi.bi_cmdline, "holm selftest magic=1");
	ck_assert_str_eq(bi.bi_loader, "GRUB 2.06");
	ck_assert_uint_eq(bi.bi_flags, MBI_MMAP | MBI_CMDLINE | MBI_LOADER);
	ck_assert_str_eq(free_text(), "[1,10)[14,a0)[100,400)");
	/* Empty; none; not to be read; at the top of memory. */
	put_string(AT_CMDLINE, "");
	put(FUZZ_BASE + 64, 0, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(bi.bi_cmdline, "");
	ck_assert_str_eq(bi.bi_loader, "");
	ck_assert_uint_eq(bi.bi_flags, MBI_MMAP | MBI_CMDLINE);
	ck_assert_uint_eq(bi.bi_bad, 0);
	ck_assert_str_eq(free_text(), "[1,10)[12,13)[14,a0)[100,400)");
	put(FUZZ_BASE + 16, 0x123456, 4);
	put(FUZZ_BASE + 64, UINT32_MAX, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(bi.bi_cmdline, "");
	ck_assert_uint_eq(bi.bi_flags, MBI_MMAP);
	ck_assert_uint_eq(bi.bi_bad, 2);
	ck_assert_str_eq(free_text(), "[1,10)[11,13)[14,a0)[100,400)");
	/* No more is in use than up to the end, here of a page. */
	put_string(AT_CMDLINE + 0xFFC, "abc");
	put_string(AT_CMDLINE + 0x1000, "def");
	put(FUZZ_BASE + 16, AT_CMDLINE + 0xFFC, 4);
	put(FUZZ_BASE + 64, 0, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(bi.bi_cmdline, "abc");
	ck_assert_str_eq(free_text(), "[1,10)[12,13)[14,a0)[100,400)");
	/* Too long: 255 characters, and 63. */
	memset(&memory[AT_CMDLINE - FUZZ_BASE], 'x', 256);
	memset(want, 'x', 255);
	want[255] = '\0';
	put(FUZZ_BASE + 16, AT_CMDLINE, 4);
	put(FUZZ_BASE + 64, AT_CMDLINE, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(bi.bi_cmdline, want);
	want[63] = '\0';
	ck_assert_str_eq(bi.bi_loader, want);
	/* Without an end, where memory ends: it is in use up to there. */
	memset(&memory[FUZZ_MAX - 3], 'y', 3);
	put(FUZZ_BASE + 16, FUZZ_BASE + FUZZ_MAX - 3, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(bi.bi_cmdline, "yyy");
	ck_assert((bi.bi_flags & MBI_CMDLINE) != 0);
	ck_assert_uint_eq(bi.bi_bad, 1);
}
END_TEST

static void
module(unsigned i, uint32_t start, uint32_t end, uint32_t name)
{
	put(AT_MODS + i * 16, start, 4);
	put(AT_MODS + i * 16 + 4, end, 4);
	put(AT_MODS + i * 16 + 8, name, 4);
	put(FUZZ_BASE + 20, i + 1, 4);
	put(FUZZ_BASE + 24, AT_MODS, 4);
}

START_TEST(modules)
{
	unsigned i;

	begin(MBI_MMAP | MBI_MODS);
	entry(20, 0, 5 * M, 1);
	ck_assert_int_eq(parse(), 0);	/* none, at 0 */
	ck_assert_uint_eq(bi.bi_bad, 0);
	put_string(AT_NAMES, "initrd root=/dev/md0");
	put_string(AT_NAMES + 100, "");
	module(0, 2 * M, 2 * M + 1, AT_NAMES);
	module(1, 3 * M + 5, 3 * M + 0x2005, AT_NAMES + 100);
	module(2, 4 * M, 4 * M, 0);			/* empty */
	module(3, 4 * M + 2, 4 * M + 1, AT_NAMES);	/* nonsense */
	module(4, 3 * M + 0x1000, 3 * M + 0x5000, 0x77777777);
	module(5, 0xFFFFF000, UINT32_MAX, 0);		/* not in RAM */
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(bi.bi_nmods, 5);
	ck_assert_uint_eq(bi.bi_bad, 2);
	ck_assert_str_eq(bi.bi_mods[0].bm_name, "initrd root=/dev/md0");
	ck_assert_uint_eq(bi.bi_mods[0].bm_range.bi_start, 2 * M);
	ck_assert_uint_eq(bi.bi_mods[0].bm_range.bi_end, 2 * M + 1);
	ck_assert_str_eq(bi.bi_mods[1].bm_name, "");
	ck_assert_str_eq(bi.bi_mods[3].bm_name, "");
	ck_assert_uint_eq(bi.bi_mods[3].bm_range.bi_start, 3 * M + 0x1000);
	ck_assert_uint_eq(bi.bi_mods[4].bm_range.bi_end, UINT32_MAX);
	ck_assert_str_eq(free_text(), "[1,10)[11,13)[14,18)[19,1a)"
	    "[1b,a0)[100,200)[201,300)[305,500)");

	/* More than are kept: taken all the same. */
	for (i = 0; i < 20; i++)
		module(i, 2 * M + i * 0x2000, 2 * M + i * 0x2000 + 0x1000, 0);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(bi.bi_nmods, BOOTINFO_MAXMODS);
	ck_assert_uint_eq(bi.bi_moremods, 4);
	for (i = 0; i < 20; i++)
		ck_assert_uint_eq(bm.bm_taken[bm.bm_ntaken - 20 +
		    i].br_start, 0x200 + i * 2);

	/* A number that lies; a table that is not there; all memory. */
	put(FUZZ_BASE + 20, UINT32_MAX, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_gt(bi.bi_moremods, 1000);
	ck_assert_uint_le(bi.bi_moremods, 1024 - 16);
	put(FUZZ_BASE + 24, FUZZ_BASE + FUZZ_MAX - 33, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(bi.bi_nmods, 2);
	ck_assert_uint_eq(bi.bi_bad, 1);
	put(FUZZ_BASE + 24, UINT32_MAX, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(bi.bi_nmods, 0);
	module(0, 0, UINT32_MAX, 0);
	ck_assert_int_eq(parse(), ENOMEM);
	ck_assert_str_eq(free_text(), "");
	/* There was RAM: that is not what is wrong. */
	ck_assert_str_eq(bi.bi_error,
	    "what the loader says it placed fills all RAM above 1 MiB");
}
END_TEST

static void
section(unsigned i, uint32_t type, uint32_t flags, uint32_t addr,
    uint32_t size)
{
	put(AT_ELF + i * 40 + 4, type, 4);
	put(AT_ELF + i * 40 + 8, flags, 4);
	put(AT_ELF + i * 40 + 12, addr, 4);
	put(AT_ELF + i * 40 + 20, size, 4);
	put(FUZZ_BASE + 28, i + 1, 4);
	put(FUZZ_BASE + 32, 40, 4);
	put(FUZZ_BASE + 36, AT_ELF, 4);
}

START_TEST(sections)
{
	unsigned i;

	begin(MBI_MMAP | MBI_ELF);
	entry(20, 0, 8 * M, 1);
	section(0, 1, 0, 0, 0x8000);		/* placed nowhere */
	section(1, 1, 6, 0xC0100000, 0x10000);	/* .text: the image's */
	section(2, 8, 3, 0xC0120000, 0x10000);	/* .bss */
	section(3, 2, 0, 3 * M, 0x1001);	/* .symtab */
	section(4, 3, 0, 4 * M, 1);		/* .strtab */
	section(5, 3, 0, 4 * M + 0x1000, 0);	/* empty */
	section(6, 8, 0, 4 * M + 0x2000, 99);	/* takes no memory */
	section(7, 1, 2, 5 * M, 0x1000);	/* the image's, low */
	section(8, 1, 0, 0xFFFFFFF0, 0x11);	/* beyond the end */
	section(9, 1, 0, 0xFFFFFFF0, 0x10);	/* up to the end */
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(bi.bi_nsyms, 3);
	ck_assert_uint_eq(bi.bi_bad, 1);
	ck_assert_uint_eq(bi.bi_syms[0].bi_start, 3 * M);
	ck_assert_uint_eq(bi.bi_syms[0].bi_end, 3 * M + 0x1001);
	ck_assert_uint_eq(bi.bi_syms[2].bi_end, 4 * G);
	ck_assert_str_eq(free_text(), "[1,10)[11,13)[14,19)[1a,a0)"
	    "[100,300)[302,400)[401,800)");
	ck_assert_uint_eq(bi.bi_flags, MBI_MMAP | MBI_ELF);

	for (i = 0; i < 10; i++)
		section(i, 1, 0, 2 * M + i * 0x2000, 0x1000);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(bi.bi_nsyms, BOOTINFO_MAXSYMS);
	for (i = 0; i < 10; i++)
		ck_assert_uint_eq(bm.bm_taken[bm.bm_ntaken - 10 +
		    i].br_start, 0x200 + i * 2);

	put(FUZZ_BASE + 32, 39, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(bi.bi_nsyms, 0);
	ck_assert_uint_eq(bi.bi_bad, 1);
	/* All the headers are one; and a size that leaps out of memory. */
	put(FUZZ_BASE + 28, UINT32_MAX, 4);
	put(FUZZ_BASE + 32, UINT32_MAX, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(bi.bi_nsyms, 1);
	ck_assert_uint_eq(bi.bi_bad, 1);
	put(FUZZ_BASE + 32, 40, 4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(bi.bi_bad, 1);
}
END_TEST

/* A machine with a bit of everything. */
static void
everything(void)
{
	unsigned i;

	begin(MBI_MMAP | MBI_MEMORY | MBI_CMDLINE | MBI_LOADER | MBI_MODS |
	    MBI_ELF);
	put(FUZZ_BASE + 4, 639, 4);
	put(FUZZ_BASE + 8, 31 * 1024, 4);
	put(FUZZ_BASE + 16, AT_CMDLINE, 4);
	put(FUZZ_BASE + 64, AT_LOADER, 4);
	put_string(AT_CMDLINE, "holm");
	put_string(AT_LOADER, "a loader");
	put_string(AT_NAMES, "mod");
	entry(20, 0, 0x9FC00, 1);
	entry(20, M, 31 * M, 1);
	entry(24, 6 * M, M, 2);
	entry(20, 8 * M, 1, 9);
	for (i = 0; i < 3; i++)
		module(i, (9 + i) * (uint32_t)M, (9 + i) * (uint32_t)M + 5,
		    AT_NAMES);
	for (i = 0; i < 3; i++)
		section(i, 2, 0, (13 + i) * (uint32_t)M, 0x1234);
}

/*
 * One byte after the other cannot be read: what follows from it is a
 * working result or a named error, and never a frame that was not RAM.
 */
START_TEST(holes)
{
	unsigned i, errors = 0;
	char all[8192];

	everything();
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(bi.bi_bad, 0);
	snprintf(all, sizeof(all), "%s", free_text());
	for (i = 0; i < 0xB000; i++) {
		fm.fm_hole = FUZZ_BASE + i;
		if (fuzz_parse(&fm, &bm, &bi) != 0)
			errors++;
		else if (strcmp(free_text(), all) != 0)
			must(bi.bi_bad != 0);
	}
	/*
	 * The boot information cannot be done without, and behind the first
	 * entry of the map, which is memory below 1 MiB, none can be missing
	 * but with all that follow.
	 */
	ck_assert_uint_eq(errors, 68 + 24);
}
END_TEST

/* The n-th read is refused, or all from the n-th on. */
struct refusal {
	unsigned	r_reads, r_nth;
	bool		r_forever;
};

static bool
refusing_read(void *arg, uint64_t pa, void *buf, size_t len)
{
	struct refusal *r = arg;

	r->r_reads++;
	if (r->r_reads == r->r_nth || (r->r_forever && r->r_reads > r->r_nth))
		return false;
	return fuzz_read(&fm, pa, buf, len);
}

START_TEST(refusals)
{
	struct refusal r;
	unsigned n, total = 0, outcome[32] = { 0 };
	int error;

	everything();
	for (n = 1; n == 1 || n <= total + 1; n++) {
		r = (struct refusal){ 0, n, _i != 0 };
		error = multiboot_parse(MULTIBOOT_MAGIC, FUZZ_BASE,
		    refusing_read, &r, &bm, &bi);
		if (r.r_reads > total)
			total = r.r_reads;
		fuzz_info(&bi, error);
		must(bootmem_check(&bm) == NULL);
		outcome[error]++;
		must(n == 1 ? error == EFAULT : true);
		if (n > total)
			must(error == 0 && bi.bi_bad == 0);
		else if (error == 0)
			must(bi.bi_bad > 0);
	}
	ck_assert_uint_gt(total, 40);
	/*
	 * The information; three entries in the first walk, which the second
	 * then finds, or does not find; four in the second.
	 */
	ck_assert_uint_eq(outcome[EFAULT], 1 + 3 + 4);
	ck_assert_uint_eq(outcome[ENOMEM] + outcome[ENOENT], 0);
}
END_TEST

/*
 * Random maps of a small machine, page for page.
 */
#define PAGES	768u

static void
paint(bool *pages, uint64_t start, uint64_t len, bool whole)
{
	uint64_t i;

	for (i = 0; i < PAGES; i++)
		if (whole ? start <= i * 4096 && (i + 1) * 4096 <= start + len :
		    len != 0 && start < (i + 1) * 4096 &&
		    i * 4096 < start + len)
			pages[i] = true;
}

START_TEST(random_maps)
{
	uint64_t rnd = 0x4D420000u + (unsigned)_i, base, len;
	bool ram[PAGES], not_ram[PAGES], is_free[PAGES], above;
	struct bootmem_range r;
	unsigned i, n, round;
	uint32_t type;
	int error;

	for (round = 0; round < 400; round++) {
		memset(ram, 0, sizeof(ram));
		memset(not_ram, 0, sizeof(not_ram));
		memset(is_free, 0, sizeof(is_free));
		begin(MBI_MMAP);
		n = 1 + k_random(&rnd) % (round % 8 == 0 ? 400 : 60);
		for (i = 0; i < n; i++) {
			base = k_random(&rnd) % (PAGES * 16) * 256;
			len = k_random(&rnd) % (PAGES * 4) * 256;
			if (base + len > PAGES * 4096)
				len = PAGES * 4096 - base;
			type = k_random(&rnd) % 3 ? 1 : k_random(&rnd) % 6;
			if (type != 1)
				len /= n;
			entry(20 + k_random(&rnd) % 2 * 4, base, len, type);
			paint(type == 1 ? ram : not_ram, base, len,
			    type == 1);
		}
		paint(not_ram, 0, 1, false);
		paint(not_ram, 0xA0000, 0x60000, false);
		paint(not_ram, FUZZ_BASE, 68, false);
		paint(not_ram, AT_MMAP, mmap_end - AT_MMAP, false);
		error = fuzz_parse(&fm, &bm, &bi);
		must(bi.bi_bad == 0 && bm.bm_bad == 0);
		for (i = 0; bootmem_free_range(&bm, i, &r); i++)
			for (; r.br_start < r.br_end; r.br_start++)
				is_free[r.br_start] = true;
		above = false;
		for (i = 0; i < PAGES; i++) {
			must(is_free[i] == (ram[i] && !not_ram[i]));
			above = above || (i >= 256 && is_free[i]);
		}
		must(error == (above ? 0 : ENOMEM));
	}
}
END_TEST

/* Noise in the place of all structures, or in a few bytes of good ones. */
START_TEST(noise)
{
	uint64_t rnd = 0x401530000u + (unsigned)_i;
	unsigned i, round;

	for (round = 0; round < 1500; round++) {
		everything();
		if (round % 16 == 0)
			for (i = 0; i < 0xB000; i++)
				memory[i] = (uint8_t)k_random(&rnd);
		for (i = k_random(&rnd) % 8; i > 0; i--)
			memory[k_random(&rnd) % 2 ? k_random(&rnd) % 68 :
			    k_random(&rnd) % 0xB000] =
			    (uint8_t)(k_random(&rnd) >> 8);
		fuzz_parse(&fm, &bm, &bi);
	}
}
END_TEST

START_TEST(corpus)
{
	static uint8_t input[FUZZ_MAX];
	struct dirent *d;
	char name[512];
	unsigned n = 0;
	size_t size;
	FILE *f;
	DIR *dir;

	dir = opendir(CORPUS);
	ck_assert_msg(dir != NULL, "%s: not there; run from the top", CORPUS);
	while ((d = readdir(dir)) != NULL) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", CORPUS, d->d_name);
		f = fopen(name, "rb");
		ck_assert(f != NULL);
		size = fread(input, 1, sizeof(input), f);
		fclose(f);
		LLVMFuzzerTestOneInput(input, size);
		n++;
	}
	closedir(dir);
	ck_assert_uint_ge(n, 20);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("multiboot");
	TCase *tc = tcase_create("multiboot");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, by_hand, 0, nitems(tables));
	tcase_add_test(tc, no_loader);
	tcase_add_test(tc, no_map);
	tcase_add_test(tc, lengths);
	tcase_add_test(tc, many_entries);
	tcase_add_test(tc, top_of_memory);
	tcase_add_test(tc, endless_maps);
	tcase_add_test(tc, strings);
	tcase_add_test(tc, modules);
	tcase_add_test(tc, sections);
	tcase_add_test(tc, holes);
	tcase_add_loop_test(tc, refusals, 0, 2);
	tcase_add_loop_test(tc, random_maps, 0, 4);
	tcase_add_loop_test(tc, noise, 0, 4);
	tcase_add_test(tc, corpus);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
