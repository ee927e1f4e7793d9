/*
 * One operation on a map and on its oracle, and a comparison of the two.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "twin.h"

static void
fail_abort(const char *story)
{
	fputs(story, stderr);
	abort();
}

void (*twin_fail_hook)(const char *) = fail_abort;

static const char *const what_name[TWIN_NWHAT] = {
	"alloc", "insert", "free", "remove", "protect", "wire", "unwire",
	"lookup", "next", "explain"
};

/* Addresses are told in pages from the map's begin, where they are such. */
static int
tell_op(const struct twin *t, const struct twin_op *op, char *buf, size_t size)
{
	const struct vm_map_request *r = &op->to_req;
	vaddr_t min = t->t_oracle.o_min;

	if (op->to_what != TWIN_ALLOC && op->to_what != TWIN_EXPLAIN)
		return snprintf(buf, size, "  %s %#lx %#lx prot %u (pages "
		    "%ld %ld) = %d\n", what_name[op->to_what], op->to_a,
		    op->to_b, r->vr_prot, (long)(op->to_a - min) / 4096,
		    (long)(op->to_b - min) / 4096, op->to_error);
	return snprintf(buf, size, "  %s size %#lx align %#lx window [%#lx, "
	    "%#lx) guards %u %u policy %d prot %u = %d at %#lx (page %ld)\n",
	    what_name[op->to_what], r->vr_size, r->vr_align, r->vr_min,
	    r->vr_max, r->vr_guard_lo, r->vr_guard_hi, (int)r->vr_policy,
	    r->vr_prot, op->to_error, op->to_addr,
	    (long)(op->to_addr - min) / 4096);
}

void
twin_fail(struct twin *t, const char *fmt, ...)
{
	static char story[TWIN_HISTORY * 256 + 2048];
	size_t n, i, nops;
	va_list ap;

	n = (size_t)snprintf(story, sizeof(story), "%s: seed %llu, op %lu, "
	    "map [%#lx, %#lx) %s: ", t->t_title,
	    (unsigned long long)t->t_seed, t->t_nops, t->t_oracle.o_min,
	    t->t_oracle.o_max, t->t_oracle.o_flags == VM_MAP_USER ? "user" :
	    "kernel");
	va_start(ap, fmt);
	n += (size_t)vsnprintf(story + n, 1024, fmt, ap);
	va_end(ap);
	n += (size_t)snprintf(story + n, 64, "\nthe last operations:\n");
	nops = t->t_nops < TWIN_HISTORY ? t->t_nops : TWIN_HISTORY;
	for (i = t->t_nops - nops; i < t->t_nops; i++)
		n += (size_t)tell_op(t, &t->t_history[i % TWIN_HISTORY],
		    story + n, 256);
	twin_fail_hook(story);
	abort();
}

void
twin_init(struct twin *t, const char *title, vaddr_t min, vaddr_t max,
    unsigned flags)
{
	int error;

	memset(t, 0, sizeof(*t));
	t->t_title = title;
	oracle_init(&t->t_oracle, min, max, flags);
	error = vm_map_init(&t->t_map, title, min, max, flags, NULL);
	if (error != 0)
		twin_fail(t, "vm_map_init: error %d", error);
	twin_compare(t);
}

void
twin_fini(struct twin *t)
{
	struct vm_map_stats st;
	unsigned long n;

	twin_compare(t);
	vm_map_stats(&t->t_map, &st);
	n = vm_map_destroy(&t->t_map);
	if (n != st.vms_entries)
		twin_fail(t, "vm_map_destroy: %lu regions dropped, not %lu",
		    n, st.vms_entries);
	oracle_fini(&t->t_oracle);
}

/*
 * Is what vm_map_next said about a region what the array says about its
 * pages?
 */
static void
compare_region(struct twin *t, const struct vm_map_info *vi)
{
	const struct oracle *o = &t->t_oracle;
	size_t first = oracle_pgno(o, vi->vi_start), p;
	size_t end = oracle_pgno(o, vi->vi_end);

	for (p = first; p < end; p++) {
		const struct opage *pg = &o->o_page[p];

		if (pg->op_id == 0)
			twin_fail(t, "page %zu is free, not in a region", p);
		if (pg->op_prot != vi->vi_prot ||
		    pg->op_wired != vi->vi_wired ||
		    pg->op_owner != vi->vi_owner)
			twin_fail(t, "page %zu: prot %u wired %u owner %s, "
			    "region [%zu, %zu): %u %u %s", p, pg->op_prot,
			    pg->op_wired, pg->op_owner, first, end,
			    vi->vi_prot, vi->vi_wired, vi->vi_owner);
		if (pg->op_guard_lo != (p < first + vi->vi_guard_lo) ||
		    pg->op_guard_hi != (p + vi->vi_guard_hi >= end))
			twin_fail(t, "page %zu: guard %d %d, region [%zu, "
			    "%zu) has %u %u", p, pg->op_guard_lo,
			    pg->op_guard_hi, first, end, vi->vi_guard_lo,
			    vi->vi_guard_hi);
		if (o->o_flags == VM_MAP_KERNEL &&
		    pg->op_id != o->o_page[first].op_id)
			twin_fail(t, "pages %zu and %zu are two regions, "
			    "not one", first, p);
	}
}

/* What may not stand side by side: halves in a kernel map, equals else. */
static void
compare_border(struct twin *t, const struct vm_map_info *a,
    const struct vm_map_info *b)
{
	const struct oracle *o = &t->t_oracle;
	size_t p = oracle_pgno(o, b->vi_start);

	if (a->vi_end != b->vi_start)
		return;
	if (o->o_flags == VM_MAP_KERNEL) {
		if (o->o_page[p - 1].op_id == o->o_page[p].op_id)
			twin_fail(t, "one region was cut at page %zu", p);
		return;
	}
	if (a->vi_guard_lo + a->vi_guard_hi + b->vi_guard_lo +
	    b->vi_guard_hi == 0 && a->vi_prot == b->vi_prot &&
	    a->vi_wired == b->vi_wired && a->vi_owner == b->vi_owner)
		twin_fail(t, "equal neighbours at page %zu were not joined",
		    p);
}

void
twin_compare(struct twin *t)
{
	const struct oracle *o = &t->t_oracle;
	struct vm_map_info vi, last = { .vi_end = o->o_min };
	struct vm_map_stats st;
	const char *why = vm_map_check(&t->t_map);
	size_t p = 0, q, nregions = 0;
	vsize_t gap;

	if (why != NULL)
		twin_fail(t, "vm_map_check: %s", why);
	while (vm_map_next(&t->t_map, last.vi_end, &vi) == 0) {
		if (vi.vi_start < last.vi_end || vi.vi_end <= vi.vi_start ||
		    vi.vi_end > o->o_max)
			twin_fail(t, "region [%#lx, %#lx) behind %#lx",
			    vi.vi_start, vi.vi_end, last.vi_end);
		for (; p < oracle_pgno(o, vi.vi_start); p++)
			if (o->o_page[p].op_id != 0)
				twin_fail(t, "page %zu is in no region", p);
		compare_region(t, &vi);
		if (nregions++ != 0)
			compare_border(t, &last, &vi);
		p = oracle_pgno(o, vi.vi_end);
		for (q = p; q < o->o_npages && o->o_page[q].op_id == 0; q++)
			continue;
		gap = (q - p) * PAGE_SIZE;
		if (vi.vi_gap != gap)
			twin_fail(t, "gap %#lx behind page %zu, not %#lx",
			    vi.vi_gap, p, gap);
		last = vi;
	}
	for (; p < o->o_npages; p++)
		if (o->o_page[p].op_id != 0)
			twin_fail(t, "page %zu is in no region", p);
	vm_map_stats(&t->t_map, &st);
	if (st.vms_entries != nregions)
		twin_fail(t, "vms_entries %lu, not %zu", st.vms_entries,
		    nregions);
	if (st.vms_used != o->o_used * PAGE_SIZE)
		twin_fail(t, "vms_used %#lx, not %#lx", st.vms_used,
		    o->o_used * PAGE_SIZE);
}

/* Write an operation down before it is tried. */
static struct twin_op *
begin(struct twin *t, enum twin_what what, vaddr_t a, vaddr_t b,
    const struct vm_map_request *r)
{
	struct twin_op *op = &t->t_history[t->t_nops++ % TWIN_HISTORY];

	memset(op, 0, sizeof(*op));
	op->to_what = what;
	op->to_a = a;
	op->to_b = b;
	op->to_error = -1;
	if (r != NULL)
		op->to_req = *r;
	return op;
}

/* The map has said error: is that right? */
static bool
answer(struct twin *t, struct twin_op *op, int error, unsigned right)
{
	op->to_error = error;
	if (error < 0 || error > 31 || (right & RES(error)) == 0)
		twin_fail(t, "%s: error %d, right ones are %#x",
		    what_name[op->to_what], error, right);
	t->t_errors[error]++;
	return error == 0;
}

static int
end(struct twin *t, struct twin_op *op)
{
	if (!t->t_lazy)
		twin_compare(t);
	return op->to_error;
}

/*
 * Entries are taken in hand before anything is looked at, so wanting one may
 * come before any other error.  What takes away needs none, nor do kernel
 * maps once a region is there.
 */
static unsigned
or_starved(const struct twin *t, unsigned right)
{
	return t->t_starved ? right | RES(ENOMEM) : right;
}

static unsigned
or_starved_clip(const struct twin *t, unsigned right)
{
	return t->t_oracle.o_flags == VM_MAP_USER ? or_starved(t, right) :
	    right;
}

static void
alloc_stats(struct twin *t, const struct vm_map_request *r,
    const struct vm_map_stats *a, int error)
{
	struct vm_map_stats b;

	vm_map_stats(&t->t_map, &b);
	if (error != EINVAL && !t->t_starved &&
	    b.vms_finds != a->vms_finds + 1)
		twin_fail(t, "alloc: vms_finds was not counted up by 1");
	if (!t->t_starved && b.vms_fails != a->vms_fails + (error == ENOMEM))
		twin_fail(t, "alloc: vms_fails went up by %llu",
		    (unsigned long long)(b.vms_fails - a->vms_fails));
	if (r->vr_align <= PAGE_SIZE &&
	    (b.vms_last_resort != a->vms_last_resort ||
	    b.vms_last_visits != a->vms_last_visits))
		twin_fail(t, "alloc: a last resort without alignment");
}

static void
alloc_place(struct twin *t, const struct vm_map_request *r,
    const struct oracle_found *f, vaddr_t addr)
{
	bool lowest = false;
	size_t len = 0;

	if (f->of_exact && addr != f->of_addr)
		twin_fail(t, "alloc: %#lx (page %zu), %#lx (page %zu) would "
		    "be right", addr, oracle_pgno(&t->t_oracle, addr),
		    f->of_addr, oracle_pgno(&t->t_oracle, f->of_addr));
	if (!oracle_fits(&t->t_oracle, r, addr, &len, &lowest))
		twin_fail(t, "alloc: %#lx does not fit", addr);
	if (r->vr_policy != VM_FIT_TOPDOWN && !lowest)
		twin_fail(t, "alloc: %#lx is not the lowest place in its "
		    "hole", addr);
	if (!f->of_exact) {
		t->t_aligned++;
		t->t_tight += len == f->of_smallest;
	}
}

int
twin_alloc(struct twin *t, const struct vm_map_request *r, vaddr_t *addr)
{
	struct twin_op *op = begin(t, TWIN_ALLOC, 0, 0, r);
	struct oracle_found f;
	struct vm_map_stats st;
	unsigned right = oracle_find(&t->t_oracle, r, &f);
	vaddr_t va = 1;
	int error;

	vm_map_stats(&t->t_map, &st);
	error = vm_map_alloc(&t->t_map, r, &va);
	op->to_addr = va;
	if (answer(t, op, error, or_starved(t, right))) {
		alloc_place(t, r, &f, va);
		oracle_take(&t->t_oracle,
		    va - r->vr_guard_lo * PAGE_SIZE,
		    va + r->vr_size + r->vr_guard_hi * PAGE_SIZE, r);
		*addr = va;
	} else if (va != 1) {
		twin_fail(t, "alloc: *addr was written in spite of error %d",
		    error);
	}
	alloc_stats(t, r, &st, error);
	return end(t, op);
}

int
twin_insert(struct twin *t, vaddr_t a, vaddr_t b, vm_prot_t prot,
    const char *owner)
{
	struct vm_map_request r = { .vr_prot = prot, .vr_owner = owner };
	struct twin_op *op = begin(t, TWIN_INSERT, a, b, &r);
	unsigned right = or_starved(t, oracle_insert(&t->t_oracle, a, b));

	if (answer(t, op, vm_map_insert(&t->t_map, a, b, prot, owner), right))
		oracle_take(&t->t_oracle, a, b, &r);
	return end(t, op);
}

int
twin_free(struct twin *t, vaddr_t addr, vsize_t size)
{
	struct twin_op *op = begin(t, TWIN_FREE, addr, size, NULL);
	unsigned right = oracle_free(&t->t_oracle, addr, size);
	vaddr_t a, b;

	if (answer(t, op, vm_map_free(&t->t_map, addr, size), right)) {
		oracle_region(&t->t_oracle, addr, &a, &b);
		oracle_release(&t->t_oracle, a, b);
	}
	return end(t, op);
}

int
twin_remove(struct twin *t, vaddr_t a, vaddr_t b)
{
	struct twin_op *op = begin(t, TWIN_REMOVE, a, b, NULL);
	unsigned right = oracle_remove(&t->t_oracle, a, b, t->t_starved);

	if (answer(t, op, vm_map_remove(&t->t_map, a, b), right))
		oracle_release(&t->t_oracle, a, b);
	return end(t, op);
}

int
twin_protect(struct twin *t, vaddr_t a, vaddr_t b, vm_prot_t prot)
{
	struct vm_map_request r = { .vr_prot = prot };
	struct twin_op *op = begin(t, TWIN_PROTECT, a, b, &r);
	unsigned right = oracle_protect(&t->t_oracle, a, b);

	right = or_starved_clip(t, right);
	if (answer(t, op, vm_map_protect(&t->t_map, a, b, prot), right))
		oracle_set_prot(&t->t_oracle, a, b, prot);
	return end(t, op);
}

int
twin_wire(struct twin *t, vaddr_t a, vaddr_t b)
{
	struct twin_op *op = begin(t, TWIN_WIRE, a, b, NULL);
	unsigned right = oracle_wire(&t->t_oracle, a, b, true);

	right = or_starved_clip(t, right);
	if (answer(t, op, vm_map_wire(&t->t_map, a, b), right))
		oracle_add_wired(&t->t_oracle, a, b, 1);
	return end(t, op);
}

int
twin_unwire(struct twin *t, vaddr_t a, vaddr_t b)
{
	struct twin_op *op = begin(t, TWIN_UNWIRE, a, b, NULL);
	unsigned right = oracle_wire(&t->t_oracle, a, b, false);

	right = or_starved_clip(t, right);
	if (answer(t, op, vm_map_unwire(&t->t_map, a, b), right))
		oracle_add_wired(&t->t_oracle, a, b, -1);
	return end(t, op);
}

int
twin_lookup(struct twin *t, vaddr_t addr)
{
	struct twin_op *op = begin(t, TWIN_LOOKUP, addr, 0, NULL);
	const struct oracle *o = &t->t_oracle;
	struct vm_map_info vi;
	bool taken = addr >= o->o_min && addr < o->o_max &&
	    o->o_page[oracle_pgno(o, addr)].op_id != 0;

	if (answer(t, op, vm_map_lookup(&t->t_map, addr, &vi),
	    taken ? RES(0) : RES(EFAULT))) {
		if (addr < vi.vi_start || addr >= vi.vi_end)
			twin_fail(t, "lookup: %#lx is not in [%#lx, %#lx)",
			    addr, vi.vi_start, vi.vi_end);
		compare_region(t, &vi);
	}
	return op->to_error;
}

int
twin_next(struct twin *t, vaddr_t addr)
{
	struct twin_op *op = begin(t, TWIN_NEXT, addr, 0, NULL);
	const struct oracle *o = &t->t_oracle;
	struct vm_map_info vi;
	size_t p = 0;

	if (addr > o->o_min)
		p = addr >= o->o_max ? o->o_npages : oracle_pgno(o, addr);
	while (p < o->o_npages && o->o_page[p].op_id == 0)
		p++;
	if (answer(t, op, vm_map_next(&t->t_map, addr, &vi),
	    p < o->o_npages ? RES(0) : RES(ENOENT))) {
		if (oracle_va(o, p) < vi.vi_start ||
		    oracle_va(o, p) >= vi.vi_end)
			twin_fail(t, "next: page %zu is not in [%#lx, %#lx)",
			    p, vi.vi_start, vi.vi_end);
		compare_region(t, &vi);
	}
	return op->to_error;
}

int
twin_explain(struct twin *t, const struct vm_map_request *r)
{
	struct twin_op *op = begin(t, TWIN_EXPLAIN, 0, 0, r);
	struct vm_map_explain x;
	struct oracle_found f;
	unsigned right = oracle_find(&t->t_oracle, r, &f);
	const char *wrong;

	if (right != RES_INVAL)		/* no space is not this one's error */
		right = (right & ~RES(ENOMEM)) | RES(0);
	memset(&x, 0x55, sizeof(x));
	if (answer(t, op, vm_map_explain(&t->t_map, r, &x), right)) {
		wrong = oracle_explained(&t->t_oracle, r, &x);
		if (wrong != NULL)
			twin_fail(t, "explain: %s is wrong", wrong);
	}
	return end(t, op);
}
