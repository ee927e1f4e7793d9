/*
 * Multiboot 1: the boot information's parser.
 *
 * 1. Order
 *
 * RAM first: every entry of the memory map that says so, and only then, in a
 * second walk, every entry that says otherwise, so that of two that overlap
 * the cautious one wins wherever it stands.  Then all that the loader placed
 * in that RAM is taken, and the texts among it are copied.
 *
 * 2. What is believed
 *
 * Nothing.  Every address is read through get(), which stays below 4 GiB and
 * asks the caller's function, which may refuse.  Every count and length is
 * cut at a limit of ours, so that a lie costs a bounded time.  Where a table
 * cannot be read on, what has been read of it counts.  Tables are taken as
 * far as they were read, not as far as they claim to go.
 */
#include <i386/multiboot.h>
#include <libkern/errno.h>
#include <libkern/libkern.h>

#define BYTES_1M	0x100000u
#define BYTES_4G	((uint64_t)1 << 32)

/* A PC's display memory and ROMs: [640 KiB, 1 MiB). */
#define PC_HOLE		0xA0000u

/*
 * A BIOS reports at most 128 entries (the kernel's own page for them in
 * Linux), UEFI's loaders a few hundred.  ELF has at most 0xFF00 sections; a
 * kernel of ours has some 20.  A module is a word on GRUB's command line.
 */
#define MAX_MMAP	4096u
#define MAX_SECTIONS	4096u
#define MAX_MODS	1024u

/* What of an ELF section header matters here (ELF32, System V ABI ch. 4). */
struct section {
	uint32_t	sh_name;
	uint32_t	sh_type;
	uint32_t	sh_flags;
	uint32_t	sh_addr;
	uint32_t	sh_offset;
	uint32_t	sh_size;
};
#define SH_ENTSIZE	40u		/* bytes in a whole one */
#define SHT_NOBITS	8u
#define SHF_ALLOC	2u		/* part of the image: the caller's */

struct parser {
	multiboot_read_t *p_read;
	void		*p_arg;
	struct bootmem	*p_bm;
	struct bootinfo	*p_bi;
	struct multiboot_info p_mbi;
};

static bool
get(const struct parser *p, uint64_t pa, void *buf, size_t len)
{
	if (pa >= BYTES_4G || len > BYTES_4G - pa)
		return false;
	return p->p_read(p->p_arg, pa, buf, len);
}

/*
 * Copy a string, and take what it lies in.  Byte by byte: its length is not
 * known, and it may stand right before what cannot be read.
 * => false: not a byte of it is there, and *dst is ""
 */
static bool
get_string(const struct parser *p, uint32_t pa, char *dst, size_t size)
{
	bool ok = false;
	size_t i;
	char c;

	for (i = 0; pa != 0 && i < size - 1; i++) {
		ok = get(p, (uint64_t)pa + i, &c, 1);
		if (!ok)
			p->p_bi->bi_bad++;
		if (!ok || c == '\0')
			break;
		dst[i] = c;
	}
	dst[i] = '\0';
	if (ok || i > 0)
		bootmem_take(p->p_bm, pa, i + 1);
	return ok || i > 0;
}

/*
 * Call fn for each entry of the memory map, as far as it can be read.
 * => returns the number of entries, and in *end where the last one ended;
 *    *whole, whether that is where the map was said to end
 */
static unsigned
mmap_walk(const struct parser *p, uint64_t *end, bool *whole,
    void (*fn)(const struct parser *, const struct multiboot_mmap *))
{
	uint64_t pos = p->p_mbi.mbi_mmap_addr, step;
	uint64_t left = p->p_mbi.mbi_mmap_length;
	struct multiboot_mmap mm;
	unsigned n;

	for (n = 0; n < MAX_MMAP && left >= sizeof(mm); n++) {
		if (!get(p, pos, &mm, sizeof(mm)))
			break;
		step = (uint64_t)mm.mm_size + sizeof(mm.mm_size);
		if (step < sizeof(mm))
			break;
		fn(p, &mm);
		if (step > left) {	/* it claims more than the map has */
			pos += left;
			n++;
			break;
		}
		pos += step;
		left -= step;
	}
	*end = pos;
	*whole = left == 0;
	return n;
}

static void
mmap_ram(const struct parser *p, const struct multiboot_mmap *mm)
{
	struct bootinfo *bi = p->p_bi;

	if (bi->bi_nmmap < BOOTINFO_MAXMMAP) {
		bi->bi_mmap[bi->bi_nmmap].bp_base = mm->mm_base;
		bi->bi_mmap[bi->bi_nmmap].bp_len = mm->mm_len;
		bi->bi_mmap[bi->bi_nmmap].bp_type = mm->mm_type;
		bi->bi_nmmap++;
	} else
		bi->bi_moremmap++;
	if (mm->mm_type == MULTIBOOT_RAM)
		bootmem_add(p->p_bm, mm->mm_base, mm->mm_len);
}

static void
mmap_not_ram(const struct parser *p, const struct multiboot_mmap *mm)
{
	if (mm->mm_type != MULTIBOOT_RAM)
		bootmem_reserve(p->p_bm, mm->mm_base, mm->mm_len);
}

/*
 * => ENOENT: there is no map, or not one entry of it can be read; EFAULT:
 *    what could be read once cannot be read again, so that what is not RAM
 *    is not known
 */
static int
ram_by_map(const struct parser *p)
{
	uint64_t end;
	unsigned n;
	bool whole;

	if ((p->p_mbi.mbi_flags & MBI_MMAP) == 0)
		return ENOENT;
	n = mmap_walk(p, &end, &whole, mmap_ram);
	if (!whole || n == 0)
		p->p_bi->bi_bad++;
	if (n == 0)
		return ENOENT;
	if (mmap_walk(p, &end, &whole, mmap_not_ram) != n)
		return EFAULT;
	bootmem_take(p->p_bm, p->p_mbi.mbi_mmap_addr,
	    end - p->p_mbi.mbi_mmap_addr);
	p->p_bi->bi_flags |= MBI_MMAP;
	return 0;
}

static int
ram_by_size(const struct parser *p)
{
	uint64_t lower = (uint64_t)p->p_mbi.mbi_mem_lower * 1024;
	uint64_t upper = (uint64_t)p->p_mbi.mbi_mem_upper * 1024;

	if ((p->p_mbi.mbi_flags & MBI_MEMORY) == 0)
		return ENOENT;
	bootmem_add(p->p_bm, 0, lower < PC_HOLE ? lower : PC_HOLE);
	bootmem_add(p->p_bm, BYTES_1M, upper);
	return 0;
}

static void
take_mods(const struct parser *p)
{
	struct bootinfo *bi = p->p_bi;
	struct bootinfo_mod dummy, *bm;
	struct multiboot_mod mod;
	uint64_t pa = p->p_mbi.mbi_mods_addr;
	uint32_t i;

	for (i = 0; i < p->p_mbi.mbi_mods_count; i++) {
		if (i == MAX_MODS || !get(p, pa, &mod, sizeof(mod))) {
			bi->bi_bad++;
			break;
		}
		bootmem_take(p->p_bm, pa, sizeof(mod));
		pa += sizeof(mod);
		if (mod.mod_end < mod.mod_start) {
			bi->bi_bad++;
			continue;
		}
		bootmem_take(p->p_bm, mod.mod_start,
		    mod.mod_end - mod.mod_start);
		bm = bi->bi_nmods < BOOTINFO_MAXMODS ?
		    &bi->bi_mods[bi->bi_nmods++] : &dummy;
		bi->bi_moremods += bm == &dummy;
		bm->bm_range.bi_start = mod.mod_start;
		bm->bm_range.bi_end = mod.mod_end;
		get_string(p, mod.mod_string, bm->bm_name,
		    sizeof(bm->bm_name));
	}
}

/*
 * Sections that are not part of the image (symbols and their names) the
 * loader has put where it liked, and sh_addr is where.
 */
static void
take_section(const struct parser *p, const struct section *sh)
{
	struct bootinfo *bi = p->p_bi;

	if ((sh->sh_flags & SHF_ALLOC) != 0 || sh->sh_type == SHT_NOBITS ||
	    sh->sh_addr == 0 || sh->sh_size == 0)
		return;
	if (sh->sh_size > BYTES_4G - sh->sh_addr) {
		bi->bi_bad++;
		return;
	}
	bootmem_take(p->p_bm, sh->sh_addr, sh->sh_size);
	if (bi->bi_nsyms < BOOTINFO_MAXSYMS) {
		bi->bi_syms[bi->bi_nsyms].bi_start = sh->sh_addr;
		bi->bi_syms[bi->bi_nsyms].bi_end =
		    (uint64_t)sh->sh_addr + sh->sh_size;
		bi->bi_nsyms++;
	}
}

static void
take_sections(const struct parser *p)
{
	const struct multiboot_info *mbi = &p->p_mbi;
	uint64_t pa = mbi->mbi_elf_addr;
	struct section sh;
	uint32_t i;

	if (mbi->mbi_elf_size < SH_ENTSIZE) {
		p->p_bi->bi_bad++;
		return;
	}
	for (i = 0; i < mbi->mbi_elf_num; i++) {
		if (i == MAX_SECTIONS || !get(p, pa, &sh, sizeof(sh))) {
			p->p_bi->bi_bad++;
			break;
		}
		bootmem_take(p->p_bm, pa, SH_ENTSIZE);
		take_section(p, &sh);
		pa += mbi->mbi_elf_size;
	}
}

/* Take, and copy, what the loader placed. */
static void
take_all(struct parser *p, uint64_t mbi_pa)
{
	const struct multiboot_info *mbi = &p->p_mbi;
	struct bootinfo *bi = p->p_bi;

	bootmem_take(p->p_bm, mbi_pa, sizeof(*mbi));
	if ((mbi->mbi_flags & MBI_CMDLINE) != 0 && get_string(p,
	    mbi->mbi_cmdline, bi->bi_cmdline, sizeof(bi->bi_cmdline)))
		bi->bi_flags |= MBI_CMDLINE;
	if ((mbi->mbi_flags & MBI_LOADER) != 0 && get_string(p,
	    mbi->mbi_loader_name, bi->bi_loader, sizeof(bi->bi_loader)))
		bi->bi_flags |= MBI_LOADER;
	if ((mbi->mbi_flags & MBI_MODS) != 0) {
		take_mods(p);
		bi->bi_flags |= MBI_MODS;
	}
	if ((mbi->mbi_flags & MBI_ELF) != 0) {
		take_sections(p);
		bi->bi_flags |= MBI_ELF;
	}
}

/* Is any of what is left at or above 1 MiB? */
static bool
room_above_1m(const struct bootmem *bm)
{
	struct bootmem_range r;
	unsigned i;

	for (i = 0; bootmem_free_range(bm, i, &r); i++)
		if (r.br_end > BYTES_1M >> PAGE_SHIFT)
			return true;
	return false;
}

static int
give_up(struct bootinfo *bi, int error, const char *why)
{
	bi->bi_error = why;
	return error;
}

int
multiboot_parse(uint32_t magic, uint64_t mbi_pa, multiboot_read_t *readfn,
    void *arg, struct bootmem *bm, struct bootinfo *bi)
{
	struct parser p = {
		.p_read = readfn, .p_arg = arg, .p_bm = bm, .p_bi = bi,
	};
	bool room;
	int error;

	memset(bi, 0, sizeof(*bi));
	bootmem_init(bm);
	if (magic != MULTIBOOT_MAGIC)
		return give_up(bi, EINVAL,
		    "not started by a Multiboot loader (wrong magic in EAX)");
	if (mbi_pa == 0 || !get(&p, mbi_pa, &p.p_mbi, sizeof(p.p_mbi)))
		return give_up(bi, EFAULT,
		    "the boot information is unreadable");
	if ((p.p_mbi.mbi_flags & MBI_MEMORY) != 0) {
		bi->bi_flags |= MBI_MEMORY;
		bi->bi_mem_lower = p.p_mbi.mbi_mem_lower;
		bi->bi_mem_upper = p.p_mbi.mbi_mem_upper;
	}
	error = ram_by_map(&p);
	if (error == EFAULT)
		return give_up(bi, EFAULT,
		    "the memory map cannot be read twice");
	if (error != 0 && ram_by_size(&p) != 0)
		return give_up(bi, ENOENT,
		    "the loader gave neither a memory map nor a memory size");
	bootmem_reserve(bm, 0, PAGE_SIZE);
	bootmem_reserve(bm, PC_HOLE, BYTES_1M - PC_HOLE);
	room = room_above_1m(bm);
	take_all(&p, mbi_pa);
	if (!room_above_1m(bm))
		return give_up(bi, ENOMEM, room ?
		    "what the loader says it placed fills all RAM above 1 MiB" :
		    "there is no usable RAM at or above 1 MiB");
	return 0;
}
