/*
 * Physical pages, through vm_phys.h alone, against an array that says for
 * each frame who owns it.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libkern/bitmap.h>
#include <libkern/errno.h>
#include <libkern/libkern.h>
#include <vm/vm_phys_impl.h>

#include "host.h"
#include "must.h"
#include "phys_test.h"

#define LOW_END		256u	/* 1 MiB */
#define DMA_END		4096u	/* 16 MiB */
#define MODEL_MAX	6000u

static uint8_t model[MODEL_MAX];	/* enum vm_page_owner */
static pfn_t npfn;
static void *mem;

/* A machine of n frames, all reserved. */
static void
make(pfn_t n)
{
	size_t size = vm_phys_size(n);

	free(mem);
	mem = malloc(size + 1);
	ck_assert(mem != NULL);
	memset(mem, 0xA5, size);
	vm_phys_init(mem, n);
	npfn = n;
	memset(model, VM_PAGE_RESERVED, sizeof(model));
}

static void
add(pfn_t start, pfn_t end)
{
	vm_phys_add(start, end);
	for (; start < end && start < npfn; start++)
		model[start] = VM_PAGE_FREE;
}

static pfn_t
alloc(void)
{
	paddr_t pa;

	return vm_phys_alloc(VM_PAGE_KMEM, &pa) == 0 ? (pfn_t)atop(pa) :
	    PFN_MAX;
}

/* Everything that can be seen is as the model has it. */
static void
same(void)
{
	struct vm_phys_stats st, want;
	pfn_t i;
	unsigned z;

	memset(&want, 0, sizeof(want));
	for (i = 0; i < npfn; i++) {
		const struct vm_page *pg = vm_phys_page(ptoa(i));

		z = i < LOW_END ? VM_ZONE_LOW :
		    i < DMA_END ? VM_ZONE_DMA : VM_ZONE_HIGH;
		must(pg->pg_owner == model[i]);
		must(vm_phys_page_pa(pg) == ptoa(i));
		want.ps_owner[model[i]]++;
		want.ps_total[z] += model[i] != VM_PAGE_RESERVED;
		want.ps_free[z] += model[i] == VM_PAGE_FREE;
	}
	vm_phys_stats(&st);
	must(memcmp(st.ps_owner, want.ps_owner, sizeof(st.ps_owner)) == 0);
	must(memcmp(st.ps_total, want.ps_total, sizeof(st.ps_total)) == 0);
	must(memcmp(st.ps_free, want.ps_free, sizeof(st.ps_free)) == 0);
	must(vm_phys_nfree() == want.ps_owner[VM_PAGE_FREE]);
	must(vm_phys_check() == NULL);
	must(host_locks()->hl_held == 0);
}

/*
 * The model's answers.
 */
static pfn_t
slow_alloc(void)
{
	static const pfn_t zone[][2] = {
		{ DMA_END, MODEL_MAX }, { LOW_END, DMA_END }, { 0, LOW_END },
	};
	unsigned z;
	pfn_t i;

	for (z = 0; z < nitems(zone); z++)
		for (i = zone[z][0]; i < zone[z][1] && i < npfn; i++)
			if (model[i] == VM_PAGE_FREE)
				return i;
	return PFN_MAX;
}

static pfn_t
slow_run(pfn_t n, pfn_t align, pfn_t boundary, pfn_t lo, pfn_t hi)
{
	pfn_t s, i;

	for (s = lo; (uint64_t)s + n <= hi && s + n <= npfn; s++) {
		if (s % align != 0)
			continue;
		if (boundary != 0 && s / boundary != (s + n - 1) / boundary)
			continue;
		for (i = s; i < s + n && model[i] == VM_PAGE_FREE; i++)
			;
		if (i == s + n)
			return s;
	}
	return PFN_MAX;
}

/*
 * Calls that panic.
 */
struct call {
	enum { FREE, FREE_RUN, ADD, INIT, FREE_MANY, REF, UNREF, WATCH } c_what;
	paddr_t	c_pa;
	pfn_t	c_n, c_end;
	void	*c_mem;
	paddr_t	*c_many;
};

static void
call(void *arg)
{
	struct call *c = arg;

	switch (c->c_what) {
	case FREE:
		vm_phys_free(c->c_pa);
		break;
	case FREE_RUN:
		vm_phys_free_run(c->c_pa, c->c_n);
		break;
	case ADD:
		vm_phys_add(c->c_n, c->c_end);
		break;
	case INIT:
		vm_phys_init(c->c_mem, c->c_n);
		break;
	case FREE_MANY:
		vm_phys_free_many(c->c_many, c->c_n);
		break;
	case REF:
		vm_phys_ref(c->c_pa);
		break;
	case UNREF:
		vm_phys_unref(c->c_pa);
		break;
	case WATCH:
		vm_phys_watch(c->c_n, c->c_end, NULL);
		break;
	}
}

/* The call panics (phys_test.h). */
static void
must_refuse(struct call c, const char *w1, const char *w2, const char *w3)
{
	must_panic(call, &c, w1, w2, w3);
}

START_TEST(nothing_at_all)
{
	paddr_t pa = 0x1234;

	ck_assert(vm_phys_page(0) == NULL);	/* before vm_phys_init */
	make(0);
	add(0, 0);
	add(0, PFN_MAX);
	ck_assert_int_eq(vm_phys_alloc(VM_PAGE_KMEM, &pa), ENOMEM);
	ck_assert_int_eq(vm_phys_alloc_run(1, 1, 0, 0, PFN_MAX, VM_PAGE_KMEM,
	    &pa), ENOMEM);
	ck_assert_uint_eq(pa, 0x1234);
	ck_assert(vm_phys_page(0) == NULL);
	same();
}
END_TEST

START_TEST(zones_in_order)
{
	pfn_t i;

	make(MODEL_MAX);
	add(1, 160);
	add(LOW_END, MODEL_MAX);
	for (i = DMA_END; i < MODEL_MAX; i++)
		must(alloc() == i);
	for (i = LOW_END; i < DMA_END; i++)
		must(alloc() == i);
	/* One given back above is preferred to all below. */
	vm_phys_free(ptoa(5000));
	vm_phys_free(ptoa(300));
	ck_assert_uint_eq(alloc(), 5000);
	ck_assert_uint_eq(alloc(), 300);
	for (i = 1; i < 160; i++)
		must(alloc() == i);
	ck_assert_uint_eq(alloc(), PFN_MAX);
	for (i = 0; i < MODEL_MAX; i++)
		if (i != 0 && (i < 160 || i >= LOW_END))
			model[i] = VM_PAGE_KMEM;
	same();
}
END_TEST

/* Machines that end inside a zone, or between two. */
START_TEST(small_machines)
{
	static const pfn_t sizes[] = { 1, 2, 31, 33, 255, 256, 257, 1024,
	    4095, 4096, 4097 };
	pfn_t i, n = sizes[_i];

	make(n);
	add(0, n + 10);
	same();
	for (i = 0; i < n; i++) {
		pfn_t want = slow_alloc();

		must(alloc() == want);
		model[want] = VM_PAGE_KMEM;
	}
	ck_assert_uint_eq(alloc(), PFN_MAX);
	same();
	vm_phys_free_run(0, n);
	memset(model, VM_PAGE_FREE, n);
	same();
}
END_TEST

/* All of 4 GiB, to the last frame. */
START_TEST(four_gigabytes)
{
	struct vm_phys_stats st;
	paddr_t pa;
	pfn_t i;

	ck_assert_uint_eq(vm_phys_size(PFN_MAX),
	    roundup2(135300u + PFN_MAX / 4, 8u) +
	    PFN_MAX * sizeof(struct vm_page));
	make(PFN_MAX);
	vm_phys_add(0, PFN_MAX);
	for (i = 0; i < PFN_MAX; i++)
		must(vm_phys_alloc(VM_PAGE_USER, &pa) == 0);
	ck_assert_uint_eq(alloc(), PFN_MAX);
	vm_phys_stats(&st);
	ck_assert_uint_eq(st.ps_owner[VM_PAGE_USER], PFN_MAX);
	ck_assert_uint_eq(st.ps_allocs, PFN_MAX);
	ck_assert_uint_eq(st.ps_frees, 0);
	ck_assert_uint_eq(st.ps_fails, 1);
	vm_phys_free(0xFFFFF000UL);
	ck_assert_uint_eq(alloc(), PFN_MAX - 1);
	vm_phys_free_run(0xFFF00000UL, 256);
	ck_assert_int_eq(vm_phys_alloc_run(256, 256, 256, 0, PFN_MAX,
	    VM_PAGE_KMEM, &pa), 0);
	ck_assert_uint_eq(pa, 0xFFF00000UL);
	ck_assert(vm_phys_page(pa) != NULL);
	vm_phys_stats(&st);
	ck_assert_uint_eq(st.ps_allocs, PFN_MAX + 2);
	ck_assert_uint_eq(st.ps_frees, 2);
	must_refuse((struct call){ .c_what = FREE_RUN, .c_pa = 0xFFF00000UL,
	    .c_n = 257 }, "vm_phys_free_run: ", "0xfff00000", "257 frames");
	must_refuse((struct call){ .c_what = FREE_RUN, .c_pa = 0xFFFFF000UL,
	    .c_n = UINT32_MAX }, "vm_phys_free_run: ", "0xfffff000",
	    "no such range");
	ck_assert(vm_phys_check() == NULL);

	/* Another machine begins with nothing. */
	make(10);
	same();
	vm_phys_stats(&st);
	ck_assert_uint_eq(st.ps_allocs + st.ps_frees + st.ps_fails, 0);
}
END_TEST

START_TEST(runs)
{
	paddr_t pa = 0x77;
	const enum vm_page_owner who = VM_PAGE_PTP;
	pfn_t i;

	make(MODEL_MAX);
	add(10, 20);
	add(30, 64);
	add(300, 6000);
#define RUN(n, a, b, lo, hi) vm_phys_alloc_run(n, a, b, lo, hi, who, &pa)
	ck_assert_int_eq(RUN(0, 1, 0, 0, 6000), EINVAL);
	ck_assert_int_eq(RUN(1, 0, 0, 0, 6000), EINVAL);
	ck_assert_int_eq(RUN(1, 3, 0, 0, 6000), EINVAL);
	ck_assert_int_eq(RUN(1, 1, 3, 0, 6000), EINVAL);
	ck_assert_int_eq(RUN(5, 1, 4, 0, 6000), EINVAL);
	ck_assert_int_eq(RUN(1, 1, 0, 20, 30), ENOMEM);
	ck_assert_int_eq(RUN(1, 1, 0, 30, 30), ENOMEM);
	ck_assert_int_eq(RUN(1, 1, 0, 40, 30), ENOMEM);
	ck_assert_int_eq(RUN(1, 1, 0, 6000, PFN_MAX), ENOMEM);
	ck_assert_int_eq(RUN(UINT32_MAX, 1, 0, 0, UINT32_MAX), ENOMEM);
	ck_assert_int_eq(RUN(1, 1u << 31, 0, 1, UINT32_MAX), ENOMEM);
	ck_assert_int_eq(RUN(33, 32, 0, 0, 64), ENOMEM);
	ck_assert_uint_eq(pa, 0x77);
	same();
	/* [10, 20) has no 8 that begin at 8k; [30, 64) has from 32. */
	ck_assert_int_eq(RUN(8, 8, 0, 0, 6000), 0);
	ck_assert_uint_eq(pa, ptoa(32));
	/* 10 cross 16 in [10, 20), and 64 from 55 on; [40, 64) has 48. */
	ck_assert_int_eq(RUN(10, 1, 16, 0, 6000), 0);
	ck_assert_uint_eq(pa, ptoa(48));
	ck_assert_uint_eq(vm_phys_page(pa)->pg_npages, 10);
	for (i = 0; i < 8; i++)
		model[32 + i] = who;
	for (i = 0; i < 10; i++)
		model[48 + i] = who;
	same();
	/* Given back in pieces, as single frames and as a run. */
	for (i = 0; i < 8; i++) {
		vm_phys_free(ptoa(32 + i));
		model[32 + i] = VM_PAGE_FREE;
	}
	vm_phys_free_run(ptoa(50), 8);
	memset(&model[50], VM_PAGE_FREE, 8);
	same();
	/* A given frame. */
	ck_assert_int_eq(RUN(1, 1, 0, 50, 51), 0);
	ck_assert_uint_eq(pa, ptoa(50));
	ck_assert_int_eq(RUN(1, 1, 0, 50, 51), ENOMEM);
}
END_TEST

START_TEST(misuse)
{
	struct call once;
	const char *said;
	paddr_t pa, run;

	make(MODEL_MAX);
	add(4100, 5000);
	ck_assert_int_eq(vm_phys_alloc(VM_PAGE_KMEM, &pa), 0);
	ck_assert_uint_eq(pa, 0x1004000);
	vm_phys_page(pa)->pg_name = "somebody";
	vm_phys_page(pa)->pg_refs = 2;
	must_refuse((struct call){ .c_what = FREE, .c_pa = pa },
	    "vm_phys_free: pa 0x1004000, 1 frames: pfn 0x1004 is still "
	    "referenced", "owner kmem", "2 references, name somebody");
	vm_phys_page(pa)->pg_refs = 0;
	once = (struct call){ .c_what = FREE, .c_pa = pa };
	said = host_panic_of(call, &once, NULL);
	ck_assert(said != NULL);
	ck_assert(strstr(said, "is without a reference") != NULL);
	vm_phys_page(pa)->pg_refs = 1;
	must_refuse((struct call){ .c_what = FREE, .c_pa = pa + 1 },
	    "vm_phys_free: ", "0x1004001, 1 frames", "no such range");
	vm_phys_free(pa);
	ck_assert(vm_phys_page(pa)->pg_name == NULL);
	must_refuse((struct call){ .c_what = FREE, .c_pa = pa },
	    "vm_phys_free: ", "0x1004000", "is free already (owner free");
	must_refuse((struct call){ .c_what = FREE, .c_pa = 0x1000 },
	    "vm_phys_free: ", "0x1000", "is reserved");
	must_refuse((struct call){ .c_what = FREE, .c_pa = ptoa(MODEL_MAX) },
	    "vm_phys_free: ", "0x1770000", "is absent");
	must_refuse((struct call){ .c_what = FREE_RUN, .c_pa = pa, .c_n = 0 },
	    "vm_phys_free_run: ", "0x1004000, 0 frames", "no such range");
	if (sizeof(paddr_t) > 4)
		must_refuse((struct call){ .c_what = FREE,
		    .c_pa = (paddr_t)0xFFFFFFFF + 1 }, "vm_phys_free: ",
		    "0x100000000", "no such range");

	/* A run with one bad frame anywhere in it is not freed at all. */
	ck_assert_int_eq(vm_phys_alloc_run(8, 1, 0, 0, PFN_MAX, VM_PAGE_KMEM,
	    &run), 0);
	must_refuse((struct call){ .c_what = FREE_RUN, .c_pa = run,
	    .c_n = 9 }, "vm_phys_free_run: ", "0x1004000, 9 frames",
	    "pfn 0x100c is free already");
	must_refuse((struct call){ .c_what = FREE_RUN,
	    .c_pa = run - PAGE_SIZE, .c_n = 9 }, "vm_phys_free_run: ",
	    "0x1003000, 9 frames", "pfn 0x1003 is reserved");
	vm_phys_free(run + 3 * PAGE_SIZE);
	must_refuse((struct call){ .c_what = FREE_RUN, .c_pa = run,
	    .c_n = 8 }, "vm_phys_free_run: ", "0x1004000, 8 frames",
	    "pfn 0x1007 is free already");

	/* Handing over. */
	must_refuse((struct call){ .c_what = ADD, .c_n = 4000, .c_end = 4200 },
	    "vm_phys_add: start pfn 0xfa0, end pfn 0x1068",
	    "pfn 0x1004 was added before", "(kmem)");
	must_refuse((struct call){ .c_what = ADD, .c_n = 4990, .c_end = 6000 },
	    "vm_phys_add: ", "pfn 0x137e was added before", "(free)");
	must_refuse((struct call){ .c_what = ADD, .c_n = 7, .c_end = 6 },
	    "vm_phys_add: ", "0x7", "0x6");
	must_refuse((struct call){ .c_what = INIT, .c_mem = mem,
	    .c_n = PFN_MAX + 1 }, "vm_phys_init: ", "npfn 1048577", "mem ");
	must_refuse((struct call){ .c_what = INIT, .c_mem = (char *)mem + 4,
	    .c_n = 10 }, "vm_phys_init: ", "npfn 10", "mem ");
}
END_TEST

static void
alloc_for_nobody(void *owner)
{
	paddr_t pa;

	vm_phys_alloc((enum vm_page_owner)(uintptr_t)owner, &pa);
}

static void
run_for_nobody(void *owner)
{
	paddr_t pa;

	vm_phys_alloc_run(1, 1, 0, 0, PFN_MAX,
	    (enum vm_page_owner)(uintptr_t)owner, &pa);
}

START_TEST(owners)
{
	static const uintptr_t none[] = { VM_PAGE_RESERVED, VM_PAGE_FREE,
	    VM_PAGE_NOWNERS, 1000 };
	unsigned i, locks;
	paddr_t pa;

	make(MODEL_MAX);
	add(0, MODEL_MAX);
	for (i = 0; i < nitems(none); i++) {
		ck_assert(host_panic_of(alloc_for_nobody, (void *)none[i],
		    &locks) != NULL && locks == 0);
		ck_assert(host_panic_of(run_for_nobody, (void *)none[i],
		    &locks) != NULL && locks == 0);
	}
	same();
	for (i = VM_PAGE_KMEM; i < VM_PAGE_NOWNERS; i++) {
		ck_assert_int_eq(vm_phys_alloc((enum vm_page_owner)i, &pa),
		    0);
		ck_assert_uint_eq(vm_phys_page(pa)->pg_owner, i);
		ck_assert_uint_eq(vm_phys_page(pa)->pg_refs, 1);
		ck_assert_uint_eq(vm_phys_page(pa)->pg_npages, 1);
		model[atop(pa)] = (uint8_t)i;
	}
	same();
}
END_TEST

/* All that is free has its bit set: nothing is left at hand. */
static void
settle(void)
{
	paddr_t pa;

	ck_assert_int_eq(vm_phys_alloc_run(2, 1, 0, 0, PFN_MAX, VM_PAGE_USER,
	    &pa), 0);
	vm_phys_free_run(pa, 2);
}

/* Each thing that vm_phys_check promises to see. */
START_TEST(check_sees_faults)
{
	struct vm_page *pg, *none, was;
	uint32_t *bits;
	uint8_t *state, all;
	unsigned shift;
	paddr_t pa, plain;

	make(MODEL_MAX);
	add(LOW_END, MODEL_MAX);
	ck_assert_int_eq(vm_phys_alloc(VM_PAGE_KMEM, &pa), 0);
	settle();
	bits = (uint32_t *)mem;
	pg = vm_phys_page(pa);
	none = vm_phys_page(ptoa(LOW_END));
#define SEEN(undo, what) do { \
		const char *why = vm_phys_check(); \
		ck_assert(why != NULL && strstr(why, what) != NULL); \
		undo; \
		ck_assert(vm_phys_check() == NULL); \
	} while (0)
	was = *pg;
	pg->pg_owner = VM_PAGE_FREE;
	SEEN(*pg = was, "P1");
	pg->pg_owner = VM_PAGE_NOWNERS;
	SEEN(*pg = was, "owner");
	pg->pg_owner = VM_PAGE_USER;
	SEEN(*pg = was, "P3");
	pg->pg_refs = 0;
	SEEN(*pg = was, "P2");
	none->pg_refs = 1;
	SEEN(none->pg_refs = 0, "P2");
	none->pg_npages = 1;
	SEEN(none->pg_npages = 0, "P2");
	none->pg_flags = 1;
	SEEN(none->pg_flags = 0, "P2");
	none->pg_name = "x";
	SEEN(none->pg_name = NULL, "P2");
	none->pg_slab = none;
	SEEN(none->pg_slab = NULL, "P2");
	none->pg_owner = VM_PAGE_RESERVED;
	SEEN(none->pg_owner = VM_PAGE_FREE, "P1");
	bits[atop(pa) / 32] |= 1u << (atop(pa) % 32);
	SEEN(bits[atop(pa) / 32] &= ~(1u << (atop(pa) % 32)), "P1");
	bits[0] |= 1;
	SEEN(bits[0] &= ~1u, "summary");
	ck_assert_int_eq(vm_phys_alloc(VM_PAGE_KMEM, &plain), 0);
	state = &vm_frames.vf_state[atop(plain) / 4];
	shift = atop(plain) % 4 * 2;
	all = *state;
	ck_assert_uint_eq(all >> shift & 3, STATE_KMEM);
	ck_assert(vm_phys_check() == NULL);
	*state ^= (uint8_t)((STATE_KMEM ^ STATE_USER) << shift);
	SEEN(*state = all, "P3");
	*state |= (uint8_t)(STATE_NONE << shift);
	SEEN(*state = all, "owner");
	*state ^= (uint8_t)(STATE_KMEM << shift);
	SEEN(*state = all, "P1");
	vm_phys_page(plain)->pg_npages = 3;
	ck_assert_uint_eq(*state >> shift & 3, STATE_PAGE);
	*state = all;
	SEEN(*state ^= (uint8_t)(STATE_KMEM << shift), "P2: a plain");
	/* One that is at hand must not be in the bitmap, too. */
	vm_phys_free(plain);
	bits[atop(plain) / 32] |= 1u << (atop(plain) % 32);
	SEEN(bits[atop(plain) / 32] &= ~(1u << (atop(plain) % 32)), "");
	settle();
	/* A reserved frame for one in use: the sums by owner stay. */
	was = *pg;
	*pg = *vm_phys_page(0);
	*vm_phys_page(0) = was;
	SEEN((*vm_phys_page(0) = *pg, *pg = was), "P4");
	/* Two frames that swap zones: the owners still add up. */
	was = *none;
	*none = *pg;
	*pg = was;
	bits[atop(pa) / 32] |= 1u << (atop(pa) % 32);
	bits[LOW_END / 32] &= ~(1u << (LOW_END % 32));
	SEEN((*pg = *none, *none = was,
	    bits[atop(pa) / 32] &= ~(1u << (atop(pa) % 32)),
	    bits[LOW_END / 32] |= 1u << (LOW_END % 32)), "P4");
}
END_TEST

static void
random_add(uint64_t *rnd)
{
	pfn_t lo = k_random(rnd) % (npfn + 50), hi, i;
	struct call c;

	hi = lo + k_random(rnd) % 200;
	c = (struct call){ .c_what = ADD, .c_n = lo, .c_end = hi };
	for (i = lo; i < hi && i < npfn; i++)
		if (model[i] != VM_PAGE_RESERVED) {
			must_refuse(c, "vm_phys_add: ", "was added before",
			    "pfn");
			return;
		}
	add(lo, hi);
}

static void
random_alloc(uint64_t *rnd)
{
	enum vm_page_owner who = VM_PAGE_KMEM +
	    k_random(rnd) % (VM_PAGE_NOWNERS - VM_PAGE_KMEM);
	pfn_t want = slow_alloc();
	paddr_t pa;
	int error = vm_phys_alloc(who, &pa);

	must(error == (want == PFN_MAX ? ENOMEM : 0));
	if (error != 0)
		return;
	must(pa == ptoa(want));
	model[want] = (uint8_t)who;
}

static void
random_run(uint64_t *rnd)
{
	pfn_t n = 1 + k_random(rnd) % 80, align, boundary, lo, hi, want;
	paddr_t pa;
	int error;

	align = 1u << (k_random(rnd) % 2 ? 0 : k_random(rnd) % 9);
	boundary = k_random(rnd) % 2 ? 0 : 1u << (k_random(rnd) % 9);
	lo = k_random(rnd) % 2 ? 0 : k_random(rnd) % npfn;
	hi = k_random(rnd) % 2 ? PFN_MAX : lo + k_random(rnd) % 300;
	error = vm_phys_alloc_run(n, align, boundary, lo, hi, VM_PAGE_USER,
	    &pa);
	if (boundary != 0 && n > boundary) {
		must(error == EINVAL);
		return;
	}
	want = slow_run(n, align, boundary, lo, hi);
	must(error == (want == PFN_MAX ? ENOMEM : 0));
	if (error != 0)
		return;
	must(pa == ptoa(want));
	must(vm_phys_page(pa)->pg_npages == n);
	memset(&model[want], VM_PAGE_USER, n);
}

static void
random_free(uint64_t *rnd)
{
	pfn_t lo = k_random(rnd) % (npfn + 5), n, i;
	struct call c;

	n = k_random(rnd) % 2 ? 1 : 1 + k_random(rnd) % 40;
	c = (struct call){ .c_what = n == 1 ? FREE : FREE_RUN,
	    .c_pa = ptoa(lo), .c_n = n };
	for (i = lo; i < lo + n; i++)
		if (i >= npfn || model[i] <= VM_PAGE_FREE) {
			must_refuse(c, i >= npfn ? "absent" :
			    model[i] == VM_PAGE_FREE ? "free already" :
			    "reserved", "vm_phys_free", "pfn");
			return;
		}
	call(&c);
	memset(&model[lo], VM_PAGE_FREE, n);
}

#define MANY	90

static void
random_many(uint64_t *rnd)
{
	unsigned n = k_random(rnd) % MANY, i;
	pfn_t have = vm_phys_nfree(), want;
	paddr_t pa[MANY];
	int error = vm_phys_alloc_many(n, VM_PAGE_ENTRY, pa);

	must(error == (n > have ? ENOMEM : 0));
	for (i = 0; i < n && error == 0; i++) {
		want = slow_alloc();
		must(pa[i] == ptoa(want));
		if (n % 2 != 0)		/* and some that nobody looks at */
			must(vm_phys_page(pa[i])->pg_npages == 1);
		model[want] = VM_PAGE_ENTRY;
	}
}

static void
random_at(uint64_t *rnd)
{
	pfn_t pfn = k_random(rnd) % (npfn + 5);
	paddr_t off = k_random(rnd) % 8 ? 0 : 1 + k_random(rnd) % PAGE_MASK;
	int error = vm_phys_alloc_at(ptoa(pfn) + off, VM_PAGE_PTP);

	if (off != 0 || pfn >= npfn) {
		must(error == EINVAL);
		return;
	}
	must(error == (model[pfn] == VM_PAGE_FREE ? 0 : EBUSY));
	if (error == 0)
		model[pfn] = VM_PAGE_PTP;
}

/* Any frames; where one is not allocated, or is there twice, none goes. */
static void
random_free_many(uint64_t *rnd)
{
	unsigned n = 1 + k_random(rnd) % 4, i, j;
	const char *why = NULL;
	paddr_t pa[4];

	for (i = 0; i < n && why == NULL; i++) {
		pfn_t pfn = k_random(rnd) % (npfn + 1);

		pa[i] = ptoa(pfn);
		if (pfn >= npfn || model[pfn] <= VM_PAGE_FREE)
			why = pfn >= npfn ? "absent" :
			    model[pfn] == VM_PAGE_FREE ? "free already" :
			    "reserved";
		for (j = 0; j < i; j++)
			if (pa[j] == pa[i])
				why = "named twice";
	}
	if (why != NULL) {
		must_refuse((struct call){ .c_what = FREE_MANY, .c_many = pa,
		    .c_n = i }, "vm_phys_free_many: ", why, "pfn");
		return;
	}
	vm_phys_free_many(pa, n);
	for (i = 0; i < n; i++)
		model[atop(pa[i])] = VM_PAGE_FREE;
}

/* Up by some, and down again; the last one frees. */
static void
random_refs(uint64_t *rnd)
{
	pfn_t pfn = k_random(rnd) % npfn;
	unsigned n = k_random(rnd) % 5, i;
	struct call c = { .c_pa = ptoa(pfn) };

	if (model[pfn] <= VM_PAGE_FREE) {
		c.c_what = n % 2 ? REF : UNREF;
		must_refuse(c, n % 2 ? "vm_phys_ref: " : "vm_phys_unref: ",
		    model[pfn] == VM_PAGE_FREE ? "free already" : "reserved",
		    "pfn");
		return;
	}
	for (i = 0; i < n; i++)
		vm_phys_ref(c.c_pa);
	must(vm_phys_page(c.c_pa)->pg_refs == 1 + n);
	if (n > 0) {
		c.c_what = FREE;
		must_refuse(c, "vm_phys_free: ", "still referenced", "pfn");
	}
	for (i = 0; i < n; i++)
		must(!vm_phys_unref(c.c_pa));
	must(vm_phys_unref(c.c_pa));
	model[pfn] = VM_PAGE_FREE;
}

/* Who watches: what it was told last must be so, and each time new. */
static bool told_low;
static unsigned ntold;

static void
watcher(bool low)
{
	must(low != told_low);
	must(host_locks()->hl_held == 0);
	told_low = low;
	ntold++;
}

static void
watch(pfn_t low, pfn_t high)
{
	told_low = false;
	vm_phys_watch(low, high, watcher);
}

static void
told_right(void)
{
	struct vm_phys_stats st;

	vm_phys_stats(&st);
	must(st.ps_low == told_low);
	must(st.ps_crossed == ntold);
	must(!told_low || vm_phys_nfree() < st.ps_mark_high);
	must(told_low || vm_phys_nfree() >= st.ps_mark_low);
}

START_TEST(watermarks)
{
	struct call bad = { .c_what = WATCH, .c_n = 5, .c_end = 4 };
	paddr_t pa[100];
	unsigned i;

	make(100);
	add(0, 100);
	watch(10, 20);
	ck_assert_uint_eq(ntold, 0);
	ck_assert_int_eq(vm_phys_alloc_many(90, VM_PAGE_KMEM, pa), 0);
	ck_assert_uint_eq(ntold, 0);		/* 10 are left */
	ck_assert_int_eq(vm_phys_alloc(VM_PAGE_KMEM, &pa[90]), 0);
	ck_assert(told_low && ntold == 1);
	for (i = 0; i < 10; i++)		/* up to 19: still low */
		vm_phys_free(pa[i]);
	ck_assert(told_low && ntold == 1);
	ck_assert(vm_phys_unref(pa[10]));
	ck_assert(!told_low && ntold == 2);
	ck_assert_int_eq(vm_phys_alloc_run(5, 1, 0, 0, 100, VM_PAGE_KMEM,
	    &pa[0]), 0);
	ck_assert_uint_eq(ntold, 2);		/* 15: between the two */
	vm_phys_free_run(pa[0], 5);
	ck_assert_uint_eq(ntold, 2);
	ck_assert_int_eq(vm_phys_alloc_at(0, VM_PAGE_KMEM), 0);
	told_right();
	watch(30, 30);				/* crossed already */
	ck_assert(told_low && ntold == 3);
	vm_phys_free_many(&pa[11], 20);
	ck_assert(!told_low && ntold == 4);
	told_right();
	must_refuse(bad, "vm_phys_watch: ", "low 5", "high 4");
	vm_phys_watch(0, 0, NULL);
	while (alloc() != PFN_MAX)
		;
	ck_assert_uint_eq(ntold, 4);
	ck_assert_ptr_null(vm_phys_check());
}
END_TEST

START_TEST(references)
{
	struct call c = { .c_what = REF };
	struct vm_page *pg;
	unsigned i;

	make(MODEL_MAX);
	add(0, MODEL_MAX);
	ck_assert_int_eq(vm_phys_alloc(VM_PAGE_USER, &c.c_pa), 0);
	pg = vm_phys_page(c.c_pa);
	for (i = 1; i < VM_PAGE_MAXREFS; i++)
		vm_phys_ref(c.c_pa);
	must_refuse(c, "vm_phys_ref: pa 0x1000000, 1 frames: pfn 0x1000 is "
	    "referenced too often", "owner user", "65535 references");
	ck_assert_uint_eq(pg->pg_refs, VM_PAGE_MAXREFS);
	for (i = 1; i < VM_PAGE_MAXREFS; i++)
		ck_assert(!vm_phys_unref(c.c_pa));
	pg->pg_refs = 0;
	ck_assert(strstr(host_panic_of(call, &c, NULL),
	    "without a reference") != NULL);
	pg->pg_refs = 1;
	ck_assert(vm_phys_unref(c.c_pa));
	c.c_what = UNREF;
	must_refuse(c, "vm_phys_unref: ", "0x1000000", "free already");
	c.c_pa = 1;
	must_refuse(c, "vm_phys_unref: ", "0x1", "no such range");
	c.c_pa = ptoa(MODEL_MAX);
	must_refuse(c, "vm_phys_unref: ", "0x1770000", "absent");
	same();
}
END_TEST

START_TEST(random_operations)
{
	static const pfn_t sizes[] = { 40, 700, 4096, MODEL_MAX };
	uint64_t rnd = 0xF4A3E000u + (unsigned)_i;
	unsigned i;

	make(sizes[_i % 4]);
	watch(npfn / 8, npfn / 4);
	for (i = 0; i < 12000; i++) {
		switch (k_random(&rnd) % 12) {
		case 0:
			random_add(&rnd);
			break;
		case 1: case 2: case 3:
			random_alloc(&rnd);
			break;
		case 4:
			random_run(&rnd);
			break;
		case 5:
			random_many(&rnd);
			break;
		case 6:
			random_at(&rnd);
			break;
		case 7:
			random_free_many(&rnd);
			break;
		case 8:
			random_refs(&rnd);
			break;
		default:
			random_free(&rnd);
		}
		told_right();
		/* same() looks at every vm_page: none is plain after it. */
		if (i % 16 == 0)
			same();
		else if (npfn < 1000)
			must(vm_phys_check() == NULL);
	}
	same();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("vm_phys");
	TCase *tc = tcase_create("vm_phys");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, nothing_at_all);
	tcase_add_test(tc, zones_in_order);
	tcase_add_loop_test(tc, small_machines, 0, 11);
	tcase_add_test(tc, runs);
	tcase_add_test(tc, misuse);
	tcase_add_test(tc, owners);
	tcase_add_test(tc, check_sees_faults);
	tcase_add_test(tc, watermarks);
	tcase_add_test(tc, references);
	tcase_add_loop_test(tc, random_operations, 0, 8);
	tcase_add_test(tc, four_gigabytes);	/* the slowest */
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
