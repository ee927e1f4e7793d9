/*
 * Operations drawn from numbers.  Most make sense; some do not, and the
 * oracle knows what they must lead to as well.  By turns of TIDE operations
 * more is taken or more is given back, so that a map is seen full, empty,
 * and in pieces.
 */
#include "twin.h"

#define TIDE	300

struct step {
	struct twin		*s_twin;
	const struct oracle	*s_oracle;
	const struct twin_source *s_from;
};

unsigned
twin_random(void *state, unsigned n)
{
	return k_random(state) % n;
}

static unsigned
draw(const struct step *s, size_t n)
{
	return s->s_from->ts_draw(s->s_from->ts_arg, (unsigned)n);
}

static const char *
draw_owner(const struct step *s)
{
	static const char *const owner[] = { "ann", "bob", "cy" };

	return owner[draw(s, nitems(owner))];
}

static size_t
draw_npages(const struct step *s)
{
	static const unsigned most[] = { 4, 8, 32, 90 };
	size_t npages = s->s_oracle->o_npages, max;

	max = draw(s, 8) == 0 ? npages : most[draw(s, nitems(most))];
	return 1 + draw(s, max < npages ? max : npages);
}

/* A range that is in the map, as long as a request or up to a region's. */
static void
draw_range(const struct step *s, vaddr_t *a, vaddr_t *b)
{
	const struct oracle *o = s->s_oracle;
	size_t p = draw(s, o->o_npages), len = draw_npages(s);

	if (len > o->o_npages - p)
		len = o->o_npages - p;
	*a = oracle_va(o, p);
	*b = oracle_va(o, p + len);
}

/* Ranges with a property are found by going on from a page, round. */
static size_t
seek(const struct step *s, bool (*is)(const struct opage *))
{
	const struct oracle *o = s->s_oracle;
	size_t p = draw(s, o->o_npages), n;

	for (n = 0; n < o->o_npages && !is(&o->o_page[p]); n++)
		p = (p + 1) % o->o_npages;
	return p;
}

static bool
is_taken(const struct opage *pg)
{
	return pg->op_id != 0;
}

static bool
is_free(const struct opage *pg)
{
	return pg->op_id == 0;
}

static bool
is_wired(const struct opage *pg)
{
	return pg->op_wired != 0;
}

/*
 * A window: around or inside one hole, or anywhere; now and then one that
 * sticks out of the map, or none at all.
 */
static void
draw_window(const struct step *s, struct vm_map_request *r)
{
	const struct oracle *o = s->s_oracle;
	vaddr_t a, b;

	switch (draw(s, 8)) {
	case 0:
	case 1:
		draw_range(s, &r->vr_min, &r->vr_max);
		break;
	case 2:
		a = oracle_va(o, seek(s, is_free));
		r->vr_min = a;
		r->vr_max = a + draw_npages(s) * PAGE_SIZE;
		break;
	case 3:
		draw_range(s, &a, &b);
		r->vr_min = a;
		r->vr_max = o->o_max;
		break;
	case 4:
		draw_range(s, &a, &b);
		r->vr_min = o->o_min;
		r->vr_max = b;
		break;
	default:
		break;
	}
	if (r->vr_max < r->vr_min)
		r->vr_max = o->o_max;
}

static void
draw_request(const struct step *s, struct vm_map_request *r)
{
	*r = (struct vm_map_request){
		.vr_size = draw_npages(s) * PAGE_SIZE,
		.vr_prot = draw(s, 8),
		.vr_owner = draw_owner(s),
	};
	draw_window(s, r);
	if (draw(s, 4) == 0)
		r->vr_align = PAGE_SIZE << draw(s, 8);
	if (draw(s, 6) == 0) {
		r->vr_guard_lo = draw(s, 3);
		r->vr_guard_hi = draw(s, 3);
	}
	switch (draw(s, 8)) {
	case 0:
		r->vr_policy = VM_FIT_FIRST;
		break;
	case 1:
		r->vr_policy = VM_FIT_TOPDOWN;
		break;
	case 2:
		if (draw(s, 20) == 0)
			r->vr_align++;
		break;
	}
}

static void
step_alloc(const struct step *s)
{
	struct vm_map_request r;
	vaddr_t addr;

	draw_request(s, &r);
	if (twin_alloc(s->s_twin, &r, &addr) == ENOMEM)
		twin_explain(s->s_twin, &r);
}

/* The usable part of some region; false when there is none. */
static bool
draw_region(const struct step *s, vaddr_t *addr, vsize_t *size, vaddr_t *a,
    vaddr_t *b)
{
	const struct oracle *o = s->s_oracle;
	size_t p = seek(s, is_taken), end;

	if (o->o_page[p].op_id == 0)
		return false;
	oracle_region(o, oracle_va(o, p), a, b);
	p = oracle_pgno(o, *a);
	end = oracle_pgno(o, *b);
	while (o->o_page[p].op_guard_lo)
		p++;
	while (o->o_page[end - 1].op_guard_hi)
		end--;
	*addr = oracle_va(o, p);
	*size = (end - p) * PAGE_SIZE;
	return true;
}

static void
step_free(const struct step *s)
{
	vaddr_t addr, a, b;
	vsize_t size;

	if (draw_region(s, &addr, &size, &a, &b))
		twin_free(s->s_twin, addr, size);
}

/* A free that is off by something, or of nothing. */
static void
step_bad_free(const struct step *s)
{
	vaddr_t addr, a, b;
	vsize_t size;

	if (!draw_region(s, &addr, &size, &a, &b))
		return;
	switch (draw(s, 8)) {
	case 0:
		size += PAGE_SIZE;
		break;
	case 1:
		size -= PAGE_SIZE;
		break;
	case 2:
		addr += PAGE_SIZE;
		break;
	case 3:
		addr -= PAGE_SIZE;
		break;
	case 4:
		size = 0 - addr;
		break;
	case 5:
		addr = a;
		size = b - a;
		break;
	case 6:
		addr += draw(s, PAGE_SIZE);
		break;
	default:
		draw_range(s, &addr, &b);
		size = b - addr;
		break;
	}
	twin_free(s->s_twin, addr, size);
}

/* Whole regions: one, or, sometimes, it and what follows. */
static void
step_whole(const struct step *s)
{
	vaddr_t addr, a, b, c, d;
	vsize_t size;

	if (!draw_region(s, &addr, &size, &a, &b))
		return;
	if (draw(s, 4) == 0) {			/* without its guards */
		a = addr;
		b = addr + size;
	} else if (draw(s, 3) == 0 && b < s->s_oracle->o_max) {
		oracle_region(s->s_oracle, b, &c, &d);
		b = d;
	}
	switch (draw(s, 5)) {
	case 0:
		twin_remove(s->s_twin, a, b);
		break;
	case 1:
	case 2:
		twin_protect(s->s_twin, a, b, draw(s, 8));
		break;
	case 3:
		twin_wire(s->s_twin, a, b);
		break;
	default:
		draw_range(s, &c, &d);
		twin_protect(s->s_twin, c, d, draw(s, 8));
		break;
	}
}

static void
step_unwire(const struct step *s)
{
	const struct oracle *o = s->s_oracle;
	size_t p = seek(s, is_wired), end = p;
	vaddr_t a, b;

	if (o->o_page[p].op_wired == 0)
		return;
	if (o->o_flags == VM_MAP_KERNEL) {
		oracle_region(o, oracle_va(o, p), &a, &b);
	} else {
		while (end < o->o_npages && o->o_page[end].op_wired != 0)
			end++;
		a = oracle_va(o, p);
		b = oracle_va(o, draw(s, 4) != 0 ? end :
		    p + 1 + draw(s, end - p));
	}
	twin_unwire(s->s_twin, a, b);
}

static void
step_look(const struct step *s)
{
	struct vm_map_request r;
	vaddr_t a, b;

	draw_range(s, &a, &b);
	twin_lookup(s->s_twin, a + draw(s, PAGE_SIZE));
	twin_next(s->s_twin, a);
	draw_request(s, &r);
	twin_explain(s->s_twin, &r);
}

static void
step_insert(const struct step *s)
{
	const struct oracle *o = s->s_oracle;
	vaddr_t a, b;

	draw_range(s, &a, &b);
	if (draw(s, 3) != 0) {
		a = oracle_va(o, seek(s, is_free));
		b = a + draw_npages(s) * PAGE_SIZE;
	}
	twin_insert(s->s_twin, a, b, draw(s, 8), draw_owner(s));
}

static void
kernel_step(const struct step *s, bool flood)
{
	unsigned what = draw(s, 32);

	if (what < 18)
		(what < (flood ? 13u : 5u) ? step_alloc : step_free)(s);
	else if (what < 22)
		step_insert(s);
	else if (what < 25)
		step_bad_free(s);
	else if (what < 28)
		step_whole(s);
	else if (what < 31)
		step_unwire(s);
	else
		step_look(s);
}

static void
user_step(const struct step *s, bool flood)
{
	unsigned what = draw(s, 32);
	vaddr_t a, b;

	draw_range(s, &a, &b);
	if (what < 15) {
		if (what >= (flood ? 11u : 4u))
			twin_remove(s->s_twin, a, b);
		else
			(what % 2 == 0 ? step_alloc : step_insert)(s);
	} else if (what < 16) {
		a = oracle_va(s->s_oracle, seek(s, is_wired));
		twin_remove(s->s_twin, a, a + PAGE_SIZE);
	} else if (what < 21) {
		twin_protect(s->s_twin, a, b, draw(s, 8));
	} else if (what < 24) {
		b = a + PAGE_SIZE * (1 + draw(s, 4));
		twin_wire(s->s_twin, a, b);
	} else if (what < 29) {
		step_unwire(s);
	} else if (what < 30) {
		twin_unwire(s->s_twin, a, b);
	} else if (what < 31) {
		step_bad_free(s);
	} else {
		step_look(s);
	}
}

void
twin_step(struct twin *t, const struct twin_source *from)
{
	struct step s = { t, &t->t_oracle, from };
	bool flood = t->t_nops / TIDE % 2 == 0;

	if (t->t_oracle.o_flags == VM_MAP_KERNEL)
		kernel_step(&s, flood);
	else
		user_step(&s, flood);
}
