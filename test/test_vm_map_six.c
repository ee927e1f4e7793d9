/*
 * Every sequence of operations on a map of six pages, by state.
 *
 * A state is what the pages are: free, or in a region that begins here or
 * goes on, with one of two owners/protections, wired once or not.  From the
 * empty map on, every operation with every argument is applied to every
 * state that turns up, until none is new: what any sequence of operations
 * can lead to has been seen then.  Between two operations the map is built
 * anew from the state, unless the operation failed, and with it must have
 * changed nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "map_test.h"

#define NP	6
#define BASE	MAP_ROUND

/* A page in a state: three bits, six pages, 18 bits. */
#define PG_FREE		0u
#define PG_KIND(k)	(1u + (k))	/* kinds 0, 1: two colours; */
#define PG_WIRED	2u		/* add: wired once */
#define NKINDS		2
#define PG_GOES_ON	5u		/* the same region as to the left */
#define NSTATES		(1u << (3 * NP))

static const struct {
	vm_prot_t	prot;
	const char	*owner;
} kind[NKINDS] = {
	{ VM_PROT_READ, "ann" },
	{ VM_PROT_RW, "ann" },
};

static struct twin t;
static uint8_t seen[NSTATES];
static unsigned queue[NSTATES], nqueue;
static unsigned long ntransitions;

static vaddr_t
at(unsigned page)
{
	return BASE + KB4(page);
}

static unsigned
page_code(unsigned p)
{
	const struct oracle *o = &t.t_oracle;
	const struct opage *pg = &o->o_page[p];

	if (pg->op_id == 0)
		return PG_FREE;
	if (o->o_flags == VM_MAP_KERNEL && p > 0 &&
	    o->o_page[p - 1].op_id == pg->op_id)
		return PG_GOES_ON;
	return PG_KIND(pg->op_prot == kind[1].prot) +
	    (pg->op_wired != 0 ? PG_WIRED : 0);
}

static unsigned
encode(void)
{
	unsigned state = 0, p;

	for (p = 0; p < NP; p++)
		state |= page_code(p) << (3 * p);
	return state;
}

static unsigned
code_of(unsigned state, unsigned p)
{
	return state >> (3 * p) & 7;
}

/* Build one region, or, in a user map, one page, from a state. */
static unsigned
build(unsigned state, unsigned p)
{
	unsigned code = code_of(state, p), q = p + 1, k;

	if (code == PG_FREE)
		return q;
	while (q < NP && (code_of(state, q) == PG_GOES_ON))
		q++;
	k = (code - 1) % NKINDS;
	must(twin_insert(&t, at(p), at(q), kind[k].prot,
	    kind[k].owner) == 0);
	if (code > NKINDS)
		must(twin_wire(&t, at(p), at(q)) == 0);
	return q;
}

/* The regions in one of several orders, so that trees of many shapes arise. */
static void
decode(unsigned state, unsigned flags)
{
	unsigned p, order = (unsigned)(ntransitions % 3), begin[NP], n = 0, i;

	twin_init(&t, "six pages", at(0), at(NP), flags);
	t.t_lazy = true;
	for (p = 0; p < NP; p++)
		if (code_of(state, p) != PG_GOES_ON)
			begin[n++] = p;
	for (i = 0; i < n; i++)
		build(state, begin[order == 0 ? i : order == 1 ? n - 1 - i :
		    (i % 2 ? n - 1 - i / 2 : i / 2)]);
	if (encode() != state)
		ck_abort_msg("state %#x was built as %#x", state, encode());
	t.t_lazy = false;
}

static void
undecode(void)
{
	vm_map_destroy(&t.t_map);
	oracle_fini(&t.t_oracle);
}

/* An operation was done with this result; stay in the state. */
static void
done(unsigned state, unsigned flags, int error)
{
	unsigned next = encode();

	ntransitions++;
	if (error != 0) {
		must(next == state);
		return;
	}
	if (!seen[next]) {
		seen[next] = 1;
		queue[nqueue++] = next;
	}
	undecode();
	decode(state, flags);
}

/* Space depends on what is free, not on how what is taken looks like. */
static bool
plain(unsigned state)
{
	unsigned p, c;

	for (p = 0; p < NP; p++) {
		c = code_of(state, p);
		if (c != PG_FREE && c != PG_KIND(0) && c != PG_GOES_ON)
			return false;
	}
	return true;
}

/* Ranges, and of the senseless ones in plain states only. */
static void
every_range(unsigned state, unsigned flags)
{
	unsigned a, b, k;

	for (a = 0; a <= NP; a++) {
		for (b = plain(state) ? 0 : a + 1; b <= NP; b++) {
			for (k = 0; k < NKINDS; k++) {
				done(state, flags, twin_insert(&t, at(a),
				    at(b), kind[k].prot, kind[k].owner));
				done(state, flags, twin_protect(&t, at(a),
				    at(b), kind[k].prot));
			}
			done(state, flags, twin_remove(&t, at(a), at(b)));
			done(state, flags, twin_free(&t, at(a), KB4(b - a)));
			done(state, flags, twin_unwire(&t, at(a), at(b)));
		}
		twin_lookup(&t, at(a));
		twin_next(&t, at(a));
	}
}

/* Wire no page twice: the states would have no end. */
static void
every_wiring(unsigned state, unsigned flags)
{
	unsigned a, b, p;
	bool twice;

	for (a = 0; a < NP; a++) {
		for (b = a + 1; b <= NP; b++) {
			twice = false;
			for (p = a; p < b; p++)
				twice |= t.t_oracle.o_page[p].op_wired != 0;
			if (!twice)
				done(state, flags, twin_wire(&t, at(a),
				    at(b)));
		}
	}
}

static void
every_window(unsigned state, unsigned flags, struct vm_map_request *r)
{
	unsigned a, b;
	vaddr_t addr;

	for (a = 0; a < NP; a++) {
		for (b = a + 1; b <= NP; b++) {
			r->vr_min = at(a);
			r->vr_max = at(b);
			done(state, flags, twin_alloc(&t, r, &addr));
		}
	}
}

/* Guards make states that the code has no room for: they are put back. */
static void
every_guard(struct vm_map_request *r)
{
	vaddr_t addr, all = r->vr_size;
	unsigned g;

	for (g = 1; g < 9; g++) {
		r->vr_guard_lo = g % 3;
		r->vr_guard_hi = g / 3;
		ntransitions++;
		if (twin_alloc(&t, r, &addr) == 0)
			must(twin_remove(&t, addr - KB4(r->vr_guard_lo),
			    addr + all + KB4(r->vr_guard_hi)) == 0);
	}
	r->vr_guard_lo = r->vr_guard_hi = 0;
}

static void
every_request(unsigned state, unsigned flags)
{
	struct vm_map_request r = {
		.vr_prot = kind[0].prot, .vr_owner = kind[0].owner,
	};
	unsigned n, align, policy;
	vaddr_t addr;

	for (n = 1; n <= NP + 1; n++) {
		for (align = 0; align < 4; align++) {
			for (policy = 0; policy < 3; policy++) {
				r.vr_size = KB4(n);
				r.vr_align = align == 0 ? 0 :
				    PAGE_SIZE << (align - 1);
				r.vr_policy = policy;
				r.vr_min = r.vr_max = 0;
				done(state, flags, twin_alloc(&t, &r, &addr));
				if (align == 1)
					continue;
				if (flags == VM_MAP_KERNEL)
					every_guard(&r);
				every_window(state, flags, &r);
			}
		}
	}
}

static void
explore(unsigned flags)
{
	unsigned i;

	t.t_title = "six pages";
	queue[nqueue++] = 0;
	seen[0] = 1;
	for (i = 0; i < nqueue; i++) {
		decode(queue[i], flags);
		every_range(queue[i], flags);
		every_wiring(queue[i], flags);
		if (plain(queue[i]))
			every_request(queue[i], flags);
		undecode();
	}
	printf("vm_map: six pages, %s: %u states, %lu transitions\n",
	    flags == VM_MAP_USER ? "user" : "kernel", nqueue, ntransitions);
}

/* Every page is free or of four looks: 5^6. */
START_TEST(six_pages_user)
{
	explore(VM_MAP_USER);
	must(nqueue == 15625);
}
END_TEST

/*
 * And in a kernel map regions that touch stay two.  With f(n) states of n
 * pages, f(n) = f(n-1) + 4 (f(n-1) + … + f(0)): 1, 5, 29, …, f(6) = 33461.
 */
START_TEST(six_pages_kernel)
{
	explore(VM_MAP_KERNEL);
	must(nqueue == 33461);
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_test(tc, six_pages_user);
	tcase_add_test(tc, six_pages_kernel);
}

int
main(void)
{
	return map_test_main("vm_map six pages", add);
}
