/*
 * Boot memory: tables by hand, and random maps against two arrays of bools,
 * one element a frame.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libkern/errno.h>
#include <libkern/libkern.h>
#include <vm/bootmem.h>

#include "host.h"
#include "must.h"

#define G4	0x100000000ULL
#define K	1024ULL
#define M	(1024 * K)

static struct bootmem bm;

/* The free ranges, as text: "[start,end) ..." in hexadecimal frames. */
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
	must(bootmem_check(&bm) == NULL);
	return buf;
}

/*
 * By hand: steps, and the free ranges after them.
 */
enum step_kind { END, ADD, RESERVE, TAKE };

struct step {
	enum step_kind	s_kind;
	uint64_t	s_start, s_len;
};

static const struct table {
	struct step	t_step[10];
	const char	*t_free;
	uint64_t	t_above4g, t_lost;
	unsigned	t_bad;
} tables[] = {
	{ { { END, 0, 0 } }, "", 0, 0, 0 },
	/* A PC of 64 MiB. */
	{ { { ADD, 0, 0x9FC00 }, { ADD, M, 63 * M },
	    { RESERVE, 0x9FC00, 0x400 }, { RESERVE, 0, 4096 },
	    { TAKE, M, 0x12345 } },
	    "[1,9f)[113,4000)", 0, 0xC00, 0 },
	/* Unsorted, touching, overlapping, one within another. */
	{ { { ADD, 0x8000, 0x2000 }, { ADD, 0x1000, 0x1000 },
	    { ADD, 0x2000, 0x3000 }, { ADD, 0x4000, 0x2000 },
	    { ADD, 0x9000, 0x1000 } }, "[1,6)[8,a)", 0, 0, 0 },
	/* One that joins many. */
	{ { { ADD, 0x1000, 0x1000 }, { ADD, 0x3000, 0x1000 },
	    { ADD, 0x5000, 0x1000 }, { ADD, 0x7000, 0x1000 },
	    { ADD, 0x2000, 0x4000 } }, "[1,6)[7,8)", 0, 0, 0 },
	/* Less than a page, and less than a page on either side. */
	{ { { ADD, 0x1800, 0x1000 }, { ADD, 0x4001, 0x1FFF },
	    { ADD, 0x7000, 0x1FFF }, { ADD, 0x9FFF, 0x1002 } },
	    "[5,6)[7,8)[a,b)", 0, 0x1000 + 0xFFF + 0xFFF + 2, 0 },
	{ { { ADD, 0x1000, 0 }, { ADD, 0, 1 }, { ADD, 0xFFF, 1 } },
	    "", 0, 2, 0 },
	/* Up to 4 GiB, across it, above it, and to where numbers end. */
	{ { { ADD, G4 - 0x2000, 0x2000 } }, "[ffffe,100000)", 0, 0, 0 },
	{ { { ADD, G4 - 0x2000, 0x5000 }, { ADD, G4 + M, M } },
	    "[ffffe,100000)", 0x3000 + M, 0, 0 },
	{ { { ADD, 0, UINT64_MAX } }, "[0,100000)", UINT64_MAX - G4, 0, 0 },
	{ { { ADD, UINT64_MAX, 1 }, { ADD, UINT64_MAX, UINT64_MAX },
	    { ADD, 1, UINT64_MAX }, { ADD, 0x1000, 0 - 0x1000ULL } },
	    "", 0, 0, 4 },
	{ { { ADD, UINT64_MAX, 0 }, { ADD, UINT64_MAX - 1, 1 } },
	    "", 1, 0, 0 },
	/* Not RAM: outwards to pages, across several, wrapping, all. */
	{ { { ADD, 0, M }, { RESERVE, 0x2FFF, 2 }, { RESERVE, 0x8000, 0 },
	    { RESERVE, 0xA000, 1 } }, "[0,2)[4,a)[b,100)", 0, 0, 0 },
	{ { { ADD, 0x1000, 0x2000 }, { ADD, 0x4000, 0x2000 },
	    { ADD, 0x7000, 0x2000 }, { RESERVE, 0x2000, 0x6000 } },
	    "[1,2)[8,9)", 0, 0, 0 },
	{ { { ADD, 0x1000, 0x2000 }, { ADD, 0x4000, 0x2000 },
	    { RESERVE, 0x1000, 0x2000 }, { RESERVE, 0x5FFF, UINT64_MAX } },
	    "[4,5)", 0, 0, 0 },
	{ { { ADD, 0, G4 }, { RESERVE, 0, UINT64_MAX } }, "", 0, 0, 0 },
	{ { { ADD, G4 - 0x2000, 0x2000 }, { RESERVE, G4 - 1, 5 },
	    { RESERVE, G4, 0x1000 } }, "[ffffe,fffff)", 0, 0, 0 },
	/* Taken: in RAM, outside, before RAM is known, again. */
	{ { { TAKE, 0x3000, 0x1000 }, { ADD, 0, 0x8000 },
	    { TAKE, 0x3800, 0x1000 }, { TAKE, 0x7000, 0x9000 },
	    { TAKE, M, M }, { TAKE, 0, 0 } }, "[0,3)[5,7)", 0, 0, 0 },
	{ { { ADD, 0, 0x3000 }, { ADD, 0x4000, 0x4000 },
	    { TAKE, 0x2FFF, 0x1002 } }, "[0,2)[5,8)", 0, 0, 0 },
	{ { { ADD, 0x1000, 0x4000 }, { TAKE, 0x1000, 0x1000 },
	    { TAKE, 0x4000, 0x1000 }, { TAKE, 0x2000, 0x2000 } },
	    "", 0, 0, 0 },
	{ { { ADD, 0, G4 }, { TAKE, UINT64_MAX, UINT64_MAX },
	    { TAKE, G4 - 1, UINT64_MAX }, { TAKE, 0x1000, UINT64_MAX } },
	    "[0,1)", 0, 0, 0 },
};

START_TEST(by_hand)
{
	const struct table *t = &tables[_i];
	const struct step *s;

	bootmem_init(&bm);
	for (s = t->t_step; s < t->t_step + nitems(t->t_step); s++)
		switch (s->s_kind) {
		case ADD:
			bootmem_add(&bm, s->s_start, s->s_len);
			break;
		case RESERVE:
			bootmem_reserve(&bm, s->s_start, s->s_len);
			break;
		case TAKE:
			bootmem_take(&bm, s->s_start, s->s_len);
			break;
		case END:
			break;
		}
	ck_assert_str_eq(free_text(), t->t_free);
	ck_assert_uint_eq(bm.bm_above4g, t->t_above4g);
	ck_assert_uint_eq(bm.bm_lost, t->t_lost);
	ck_assert_uint_eq(bm.bm_bad, t->t_bad);
}
END_TEST

START_TEST(placing)
{
	paddr_t pa = 0x77;

	bootmem_init(&bm);
	ck_assert_int_eq(bootmem_alloc(&bm, 1, 0, PFN_MAX, &pa), ENOMEM);
	ck_assert_uint_eq(bootmem_npfn(&bm), 0);
	bootmem_add(&bm, 0x1000, 0x4000);
	bootmem_add(&bm, 0x10000, 0x10000);
	bootmem_take(&bm, 0x2000, 0x1000);
	ck_assert_uint_eq(bootmem_npfn(&bm), 0x20);
	ck_assert_int_eq(bootmem_alloc(&bm, 0, 0, PFN_MAX, &pa), EINVAL);
	ck_assert_int_eq(bootmem_alloc(&bm, UINT64_MAX, 0, PFN_MAX, &pa),
	    ENOMEM);
	ck_assert_int_eq(bootmem_alloc(&bm, G4 * 4096, 0, PFN_MAX, &pa),
	    ENOMEM);
	ck_assert_int_eq(bootmem_alloc(&bm, 0x10001, 0, PFN_MAX, &pa),
	    ENOMEM);
	ck_assert_int_eq(bootmem_alloc(&bm, 1, 5, 0x10, &pa), ENOMEM);
	ck_assert_int_eq(bootmem_alloc(&bm, 1, 0x20, PFN_MAX, &pa), ENOMEM);
	ck_assert_int_eq(bootmem_alloc(&bm, 1, 0x18, 0x18, &pa), ENOMEM);
	ck_assert_int_eq(bootmem_alloc(&bm, 1, 0x18, 0x10, &pa), ENOMEM);
	ck_assert_int_eq(bootmem_alloc(&bm, 0x2001, 0, 0x12, &pa), ENOMEM);
	ck_assert_uint_eq(pa, 0x77);
	ck_assert_str_eq(free_text(), "[1,2)[3,5)[10,20)");

	ck_assert_int_eq(bootmem_alloc(&bm, 0x1001, 0, PFN_MAX, &pa), 0);
	ck_assert_uint_eq(pa, 0x3000);
	ck_assert_int_eq(bootmem_alloc(&bm, 0x2001, 0, PFN_MAX, &pa), 0);
	ck_assert_uint_eq(pa, 0x10000);
	ck_assert_int_eq(bootmem_alloc(&bm, 1, 0, PFN_MAX, &pa), 0);
	ck_assert_uint_eq(pa, 0x1000);
	ck_assert_int_eq(bootmem_alloc(&bm, 0x3000, 0x15, 0x18, &pa), 0);
	ck_assert_uint_eq(pa, 0x15000);
	ck_assert_str_eq(free_text(), "[13,15)[18,20)");
	ck_assert_int_eq(bootmem_alloc(&bm, 0x8000, 0, UINT32_MAX, &pa), 0);
	ck_assert_int_eq(bootmem_alloc(&bm, 0x2000, 0, UINT32_MAX, &pa), 0);
	ck_assert_int_eq(bootmem_alloc(&bm, 1, 0, PFN_MAX, &pa), ENOMEM);
	ck_assert_uint_eq(bootmem_npfn(&bm), 0x20);
}
END_TEST

static void
late(void *what)
{
	paddr_t pa;

	switch ((uintptr_t)what) {
	case 0:
		bootmem_alloc(&bm, 0x123, 7, 9, &pa);
		break;
	case 1:
		bootmem_add(&bm, 0x123, 7);
		break;
	case 2:
		bootmem_reserve(&bm, 0x123, 7);
		break;
	case 3:
		bootmem_take(&bm, 0x123, 7);
		break;
	case 4:
		bootmem_keep(&bm, 0x123, 7);
		break;
	case 5:
		bootmem_close(&bm);
		break;
	}
}

static void
early(void *arg)
{
	bootmem_release(&bm);
}

START_TEST(closing)
{
	static const char *const names[] = { "bootmem_alloc: 0x123, 0x7",
	    "bootmem_add: 0x123, 0x7", "bootmem_reserve: 0x123, 0x7",
	    "bootmem_take: 0x123, 0x7", "bootmem_keep: 0x123, 0x7",
	    "bootmem_close: " };
	struct vm_phys_stats st;
	const char *said;
	paddr_t where;
	uintptr_t i;
	void *mem;

	bootmem_init(&bm);
	bootmem_add(&bm, 0x1000, 0x9E000);
	bootmem_add(&bm, M, 31 * M);
	bootmem_take(&bm, M, M);
	ck_assert_int_eq(bootmem_alloc(&bm, 0x5000, 0x100, PFN_MAX, &where),
	    0);
	said = host_panic_of(early, NULL, NULL);
	ck_assert(said != NULL && strstr(said, "bootmem_release: 1 ranges: "
	    "boot memory is still open") != NULL);
	mem = malloc(vm_phys_size(bootmem_npfn(&bm)));
	ck_assert(mem != NULL);
	vm_phys_init(mem, bootmem_npfn(&bm));
	bootmem_close(&bm);
	ck_assert(bm.bm_closed);
	ck_assert(vm_phys_check() == NULL);
	vm_phys_stats(&st);
	ck_assert_uint_eq(st.ps_free[VM_ZONE_LOW], 0x9E);
	ck_assert_uint_eq(st.ps_free[VM_ZONE_DMA], 0x1000 - 0x200 - 5);
	ck_assert_uint_eq(st.ps_free[VM_ZONE_HIGH], 0x1000);
	ck_assert_uint_eq(vm_phys_page(where)->pg_owner, VM_PAGE_RESERVED);
	ck_assert_uint_eq(vm_phys_page(0x1000)->pg_owner, VM_PAGE_FREE);
	ck_assert_uint_eq(vm_phys_page(0)->pg_owner, VM_PAGE_RESERVED);
	for (i = 0; i < nitems(names); i++) {
		said = host_panic_of(late, (void *)i, NULL);
		ck_assert(said != NULL);
		ck_assert_msg(strstr(said, names[i]) == said, "%s", said);
		ck_assert(strstr(said, "is closed") != NULL);
	}
	/* The tables can be read for ever. */
	ck_assert_str_eq(free_text(), "[1,9f)[205,2000)");
	/* What was only taken is handed over, what was placed is not. */
	ck_assert_uint_eq(bootmem_release(&bm), 0x100);
	vm_phys_stats(&st);
	ck_assert_uint_eq(st.ps_free[VM_ZONE_DMA], 0x1000 - 0x100 - 5);
	ck_assert_str_eq(free_text(), "[1,9f)[100,200)[205,2000)");
	free(mem);
}
END_TEST

/*
 * Full tables.
 */
START_TEST(full_of_ram)
{
	uint64_t i;

	/* 256 ranges of 2 pages, every 4 pages. */
	bootmem_init(&bm);
	for (i = 0; i < BOOTMEM_MAXRANGES; i++)
		bootmem_add(&bm, i * 0x4000, 0x2000);
	ck_assert_uint_eq(bm.bm_nram, BOOTMEM_MAXRANGES);
	ck_assert_uint_eq(bm.bm_lost, 0);
	/* One of one page is the smallest itself. */
	bootmem_add(&bm, 512 * M, 0x1000);
	ck_assert_uint_eq(bm.bm_lost, 0x1000);
	ck_assert_uint_eq(bootmem_npfn(&bm), 255 * 4 + 2);
	/* One of three drives a smaller one out. */
	bootmem_add(&bm, 512 * M, 0x3000);
	ck_assert_uint_eq(bm.bm_lost, 0x3000);
	ck_assert_uint_eq(bm.bm_nram, BOOTMEM_MAXRANGES);
	ck_assert_uint_eq(bootmem_npfn(&bm), (512 * M >> 12) + 3);
	ck_assert_uint_eq(bm.bm_ram[0].br_start, 4);
	/* One that touches needs no room. */
	bootmem_add(&bm, 255 * 0x4000 + 0x2000, 0x2000);
	ck_assert_uint_eq(bm.bm_lost, 0x3000);
	/* Cut in two: a piece is dropped, never the reservation. */
	bootmem_reserve(&bm, 512 * M + 0x1000, 1);
	ck_assert_uint_eq(bm.bm_lost, 0x4000);
	ck_assert_uint_eq(bm.bm_nram, BOOTMEM_MAXRANGES);
	ck_assert(bootmem_check(&bm) == NULL);
	ck_assert_uint_eq(bootmem_npfn(&bm), (512 * M >> 12) + 3);
	ck_assert_uint_eq(bm.bm_ram[255].br_start, (512 * M >> 12) + 2);
	ck_assert_uint_eq(bm.bm_ram[254].br_end, 256 * 4);
	/* A large one cut in the middle drives a small one out. */
	bootmem_add(&bm, 1024 * M, 64 * M);
	ck_assert_uint_eq(bm.bm_lost, 0x5000);
	ck_assert_uint_eq(bm.bm_ram[255].br_start, 1024 * M >> 12);
	bootmem_reserve(&bm, 1030 * M, M);
	ck_assert_uint_eq(bm.bm_lost, 0x7000);
	ck_assert_uint_eq(bm.bm_ram[0].br_start, 8);
	ck_assert_uint_eq(bm.bm_ram[254].br_end, 1030 * M >> 12);
	ck_assert_uint_eq(bm.bm_ram[255].br_start, 1031 * M >> 12);
	ck_assert(bootmem_check(&bm) == NULL);
}
END_TEST

/* The one that is dropped lies above the one that needs its place. */
START_TEST(full_of_ram_above)
{
	uint64_t i;

	bootmem_init(&bm);
	for (i = 0; i < BOOTMEM_MAXRANGES; i++)
		bootmem_add(&bm, 16 * M + i * 0x4000, 0x2000);
	bootmem_add(&bm, M, 0x3000);
	ck_assert_uint_eq(bm.bm_lost, 0x2000);
	ck_assert_uint_eq(bm.bm_nram, BOOTMEM_MAXRANGES);
	ck_assert_uint_eq(bm.bm_ram[0].br_start, 0x100);
	ck_assert_uint_eq(bm.bm_ram[1].br_start, 0x1004);
	ck_assert(bootmem_check(&bm) == NULL);
}
END_TEST

START_TEST(full_of_taken)
{
	uint64_t i;
	paddr_t pa;

	bootmem_init(&bm);
	bootmem_add(&bm, 0, 256 * M);
	bootmem_reserve(&bm, M + 0x2000, 0x2000);
	for (i = 0; i < BOOTMEM_MAXRANGES; i++)
		bootmem_take(&bm, M + i * 0x10000, 0x1000);
	ck_assert_uint_eq(bm.bm_ntaken, BOOTMEM_MAXRANGES);
	/* Nearer to the one before; to the one behind; first; last. */
	bootmem_take(&bm, M + 0x5000, 1);
	ck_assert_uint_eq(bm.bm_taken[0].br_end, 0x106);
	ck_assert_uint_eq(bm.bm_lost, 0x2000);
	bootmem_take(&bm, M + 0x3C000, 0x2000);
	ck_assert_uint_eq(bm.bm_taken[4].br_start, 0x13C);
	ck_assert_uint_eq(bm.bm_lost, 0x2000 + 0x2000);
	bootmem_take(&bm, 0xFE000, 0x1000);
	ck_assert_uint_eq(bm.bm_taken[0].br_start, 0xFE);
	ck_assert_uint_eq(bm.bm_lost, 0x2000 + 0x2000 + 0x1000);
	bootmem_take(&bm, 256 * M, 0x1000);
	ck_assert_uint_eq(bm.bm_taken[255].br_end, 0x10001);
	ck_assert_uint_eq(bm.bm_lost, 0x5000 + 256 * M - (M + 0xFF1000));
	ck_assert(bootmem_check(&bm) == NULL);
	/* Placing goes on. */
	ck_assert_int_eq(bootmem_alloc(&bm, 0x9000, 0x101, PFN_MAX, &pa), 0);
	ck_assert_uint_eq(pa, M + 0x6000);
	ck_assert_int_eq(bootmem_alloc(&bm, 0x4000, 0, 0xF0, &pa), 0);
	ck_assert_uint_eq(pa, 0);
	ck_assert_uint_eq(bm.bm_taken[0].br_start, 0);
	ck_assert_uint_eq(bm.bm_nkept, 2);
	ck_assert_uint_eq(bm.bm_lost, 0x5000 + 256 * M - (M + 0xFF1000) +
	    0xFA000);
	ck_assert(bootmem_check(&bm) == NULL);
}
END_TEST

/* A full table ends where it ends, whatever stands behind it. */
START_TEST(full_of_kept)
{
	static struct {
		struct bootmem		bm;
		struct bootmem_range	room;
	} m;
	struct bootmem_range behind = { 0x2000, 0x2001 }, *where;
	uint64_t i;

	bootmem_init(&m.bm);
	bootmem_add(&m.bm, 0, 256 * M);
	for (i = 0; i < BOOTMEM_MAXRANGES; i++)
		bootmem_keep(&m.bm, M + i * 0x10000, 0x1000);
	/* Fewer are taken: what lies between some is, too. */
	bootmem_take(&m.bm, M, M);
	ck_assert_uint_eq(m.bm.bm_nkept, BOOTMEM_MAXRANGES);
	ck_assert_uint_eq(m.bm.bm_ntaken, BOOTMEM_MAXRANGES - 16);
	/* One behind all others: the gap is kept with it, and so taken. */
	where = (void *)((char *)&m + offsetof(struct bootmem, bm_kept) +
	    sizeof(m.bm.bm_kept));
	memcpy(where, &behind, sizeof(behind));
	bootmem_keep(&m.bm, 0x1FFE000, 0x1000);
	ck_assert_uint_eq(m.bm.bm_kept[255].br_end, 0x1FFF);
	ck_assert(memcmp(where, &behind, sizeof(behind)) == 0);
	ck_assert_uint_eq(m.bm.bm_ntaken, BOOTMEM_MAXRANGES - 16);
	ck_assert_uint_eq(m.bm.bm_taken[239].br_end, 0x1FFF);
	ck_assert_uint_eq(m.bm.bm_lost, (0x1FFE - 0x10F1) * 0x1000);
	ck_assert(bootmem_check(&m.bm) == NULL);
}
END_TEST

/* What is nowhere changes nothing, not even what stood there before. */
START_TEST(nowhere)
{
	bootmem_init(&bm);
	bootmem_reserve(&bm, 0x3000, 0x1000);
	/* (As bootmem_add would, that leaves the stack as it is.) */
	bm.bm_ram[bm.bm_nram++] = (struct bootmem_range){ 3, 4 };
	bootmem_reserve(&bm, 0x3000, 0);
	ck_assert_str_eq(free_text(), "[3,4)");
	bootmem_reserve(&bm, G4, 0x1000);
	ck_assert_str_eq(free_text(), "[3,4)");
	bootmem_keep(&bm, 0x3000, 0);
	bootmem_take(&bm, 0x3000, 0);
	bootmem_keep(&bm, G4 + 0x3000, 0x1000);
	bootmem_take(&bm, G4 + 0x3000, 0x1000);
	ck_assert_str_eq(free_text(), "[3,4)");
	ck_assert_uint_eq(bm.bm_ntaken + bm.bm_nkept, 0);
}
END_TEST

START_TEST(check_sees_faults)
{
	uint64_t i;

	bootmem_init(&bm);
	bootmem_add(&bm, 0, 0x2000);
	bootmem_add(&bm, 0x4000, 0x2000);
	bootmem_take(&bm, 0, 0x1000);
	ck_assert(bootmem_check(&bm) == NULL);
	bm.bm_ram[0].br_end = 4;
	ck_assert(bootmem_check(&bm) != NULL);
	bm.bm_ram[0].br_end = 0;
	ck_assert(bootmem_check(&bm) != NULL);
	bm.bm_ram[0].br_end = 2;
	bm.bm_ram[1].br_end = PFN_MAX + 1;
	ck_assert(bootmem_check(&bm) != NULL);
	bm.bm_ram[1].br_end = 6;
	ck_assert(bootmem_check(&bm) == NULL);
	bm.bm_taken[0].br_end = 0;
	ck_assert(bootmem_check(&bm) != NULL);
	bm.bm_taken[0].br_end = 1;
	bm.bm_nkept = 1;
	ck_assert(bootmem_check(&bm) != NULL);
	bm.bm_nkept = 0;
	bm.bm_nram = BOOTMEM_MAXRANGES + 1;
	ck_assert(bootmem_check(&bm) != NULL);
	/* One too many is one too many where it would fit, too. */
	bootmem_init(&bm);
	for (i = 0; i < BOOTMEM_MAXRANGES; i++)
		bootmem_add(&bm, i * 0x4000, 0x2000);
	bootmem_take(&bm, 512 * M, 0x1000);
	ck_assert(bootmem_check(&bm) == NULL);
	bm.bm_nram++;
	ck_assert_str_eq(bootmem_check(&bm), "a table holds more than it can");
}
END_TEST

/*
 * Random maps.  The model is a flat array of the first frames, in bytes of
 * 256: sub-page ranges need no special case in it.
 */
#define GRAIN	256u
#define PAGES	400u
#define GRAINS	(PAGES * PAGE_SIZE / GRAIN)

static uint8_t is_ram[PAGES], not_ram[PAGES], is_taken[PAGES], is_kept[PAGES];

/* Which pages does [start, start + len) cover whole, or touch? */
static void
paint(uint8_t *pages, uint64_t start, uint64_t len, bool whole)
{
	uint64_t a, b, i;

	for (i = 0; i < PAGES; i++) {
		a = i * PAGE_SIZE;
		b = a + PAGE_SIZE;
		if (whole ? start <= a && b <= start + len :
		    start < b && a < start + len && len != 0)
			pages[i] = 1;
	}
}

static bool
page_free(pfn_t i)
{
	return i < PAGES && is_ram[i] && !not_ram[i] && !is_taken[i];
}

static void
random_range(uint64_t *rnd, uint64_t *start, uint64_t *len)
{
	*start = k_random(rnd) % GRAINS * GRAIN;
	*len = k_random(rnd) % (k_random(rnd) % 4 == 0 ? GRAINS / 3 : 200) *
	    GRAIN;
	if (k_random(rnd) % 2 == 0) {
		*start = rounddown2(*start, (uint64_t)PAGE_SIZE);
		*len = rounddown2(*len, (uint64_t)PAGE_SIZE);
	}
	if (*start + *len > GRAINS * GRAIN)
		*len = GRAINS * GRAIN - *start;
}

/* Free exactly where the model is. */
static void
same(void)
{
	struct bootmem_range r;
	pfn_t at = 0, last = 0;
	unsigned i;

	must(bootmem_check(&bm) == NULL);
	for (i = 0; bootmem_free_range(&bm, i, &r); i++) {
		must(r.br_start >= at && r.br_start < r.br_end);
		for (; at < r.br_start; at++)
			must(!page_free(at));
		for (; at < r.br_end; at++)
			must(page_free(at));
	}
	for (; at < PAGES; at++)
		must(!page_free(at));
	for (at = 0; at < PAGES; at++)
		if (is_ram[at] && !not_ram[at])
			last = at + 1;
	must(bootmem_npfn(&bm) == last);
}

static void
random_place(uint64_t *rnd)
{
	pfn_t lo = k_random(rnd) % PAGES, hi = lo + k_random(rnd) % PAGES, s;
	uint64_t size = 1 + k_random(rnd) % 0x8000;
	pfn_t n = (pfn_t)howmany(size, PAGE_SIZE), i;
	paddr_t pa;
	int error;

	for (s = lo; s + n <= hi; s++) {
		for (i = s; i < s + n && page_free(i); i++)
			;
		if (i == s + n)
			break;
	}
	error = bootmem_alloc(&bm, size, lo, hi, &pa);
	must(error == (s + n <= hi ? 0 : ENOMEM));
	if (error != 0)
		return;
	must(pa == ptoa(s));
	memset(&is_taken[s], 1, n);
	memset(&is_kept[s], 1, n);
}

/* The end of boot: what is RAM and not kept is vm_phys's, and no more. */
static void
release(void)
{
	pfn_t npfn = bootmem_npfn(&bm), free_was, ram, kept, i;
	void *mem = malloc(vm_phys_size(npfn) + 1);

	must(mem != NULL);
	vm_phys_init(mem, npfn);
	bootmem_close(&bm);
	free_was = vm_phys_nfree();
	for (i = 0; i < npfn; i++)
		must((vm_phys_page(ptoa(i))->pg_owner == VM_PAGE_FREE) ==
		    page_free(i));
	must(bootmem_release(&bm) == vm_phys_nfree() - free_was);
	bootmem_count(&bm, &ram, &kept);
	must(ram == vm_phys_nfree() + kept);
	for (i = 0; i < npfn; i++)
		must((vm_phys_page(ptoa(i))->pg_owner == VM_PAGE_FREE) ==
		    (is_ram[i] && !not_ram[i] && !is_kept[i]));
	must(vm_phys_check() == NULL && bootmem_check(&bm) == NULL);
	must(bootmem_release(&bm) == 0);
	free(mem);
}

START_TEST(random_maps)
{
	uint64_t rnd = 0xB0070000u + (unsigned)_i, start, len;
	unsigned i, round;

	for (round = 0; round < 150; round++) {
		bootmem_init(&bm);
		memset(is_ram, 0, PAGES);
		memset(not_ram, 0, PAGES);
		memset(is_taken, 0, PAGES);
		memset(is_kept, 0, PAGES);
		for (i = k_random(&rnd) % 30; i > 0; i--) {
			random_range(&rnd, &start, &len);
			bootmem_add(&bm, start, len);
			paint(is_ram, start, len, true);
			same();
		}
		for (i = k_random(&rnd) % 10; i > 0; i--) {
			random_range(&rnd, &start, &len);
			bootmem_reserve(&bm, start, len);
			paint(not_ram, start, len, false);
			same();
		}
		for (i = k_random(&rnd) % 20; i > 0; i--) {
			random_range(&rnd, &start, &len);
			bootmem_take(&bm, start, len % 0x8000);
			paint(is_taken, start, len % 0x8000, false);
			same();
			random_place(&rnd);
			same();
			random_range(&rnd, &start, &len);
			bootmem_keep(&bm, start, len % 0x3000);
			paint(is_taken, start, len % 0x3000, false);
			paint(is_kept, start, len % 0x3000, false);
			same();
		}
		must(bm.bm_bad == 0 && bm.bm_above4g == 0);
		release();
	}
}
END_TEST

/* More ranges than the tables hold: never a frame that must not be. */
START_TEST(random_overflow)
{
	uint64_t rnd = 0x0F10u + (unsigned)_i, page, lost;
	struct bootmem_range r;
	unsigned i, n, free_model, free_real;
	static uint8_t ram[2000], bad[2000];
	pfn_t at;

	memset(ram, 0, sizeof(ram));
	memset(bad, 0, sizeof(bad));
	bootmem_init(&bm);
	for (i = 0; i < 900; i++) {
		page = k_random(&rnd) % nitems(ram);
		bootmem_add(&bm, page * PAGE_SIZE, PAGE_SIZE);
		ram[page] = 1;
		must(bootmem_check(&bm) == NULL);
	}
	must(bm.bm_nram == BOOTMEM_MAXRANGES && bm.bm_lost > 0);
	n = _i % 2 == 0 ? 1200 : 300;
	for (i = 0; i < n; i++) {
		page = k_random(&rnd) % nitems(ram);
		if (i % 2 == 0 && i < 200)
			bootmem_reserve(&bm, page * PAGE_SIZE, 1);
		else
			bootmem_take(&bm, page * PAGE_SIZE, 1);
		bad[page] = 1;
		must(bootmem_check(&bm) == NULL);
	}
	free_model = free_real = 0;
	for (at = 0; at < nitems(ram); at++)
		free_model += ram[at] && !bad[at];
	for (i = 0; bootmem_free_range(&bm, i, &r); i++)
		for (at = r.br_start; at < r.br_end; at++) {
			must(ram[at] && !bad[at]);
			free_real++;
		}
	/* What is missing was counted. */
	lost = bm.bm_lost / PAGE_SIZE;
	must(free_real <= free_model && free_model - free_real <= lost);
	must(free_real > 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("bootmem");
	TCase *tc = tcase_create("bootmem");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, by_hand, 0, nitems(tables));
	tcase_add_test(tc, placing);
	tcase_add_test(tc, closing);
	tcase_add_test(tc, full_of_ram);
	tcase_add_test(tc, full_of_ram_above);
	tcase_add_test(tc, full_of_taken);
	tcase_add_test(tc, full_of_kept);
	tcase_add_test(tc, nowhere);
	tcase_add_test(tc, check_sees_faults);
	tcase_add_loop_test(tc, random_maps, 0, 4);
	tcase_add_loop_test(tc, random_overflow, 0, 20);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
