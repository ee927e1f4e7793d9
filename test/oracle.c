/*
 * The flat array of pages.  Everything here is a walk over o_page[]; where a
 * rule could be had faster, the slow and obvious way was taken.
 */
#include <stdlib.h>
#include <string.h>

#include "oracle.h"

#define NCLASSES	64

void
oracle_init(struct oracle *o, vaddr_t min, vaddr_t max, unsigned flags)
{
	memset(o, 0, sizeof(*o));
	o->o_min = min;
	o->o_max = max;
	o->o_flags = flags;
	o->o_npages = (max - min) / PAGE_SIZE;
	o->o_page = calloc(o->o_npages, sizeof(*o->o_page));
	if (o->o_page == NULL)
		abort();
}

void
oracle_fini(struct oracle *o)
{
	free(o->o_page);
	o->o_page = NULL;
}

size_t
oracle_pgno(const struct oracle *o, vaddr_t va)
{
	return (va - o->o_min) / PAGE_SIZE;
}

vaddr_t
oracle_va(const struct oracle *o, size_t pgno)
{
	return o->o_min + pgno * PAGE_SIZE;
}

/*
 * Classes: 1, 2, … 32; 33, 48, 64, 96, 128; from there on half octaves, or
 * whole ones where more than 2^20 pages must be said with 64 classes.
 */
unsigned long
oracle_class_pages(unsigned k)
{
	static unsigned long table[NCLASSES];
	unsigned i;

	if (table[0] == 0) {
		for (i = 0; i < 32; i++)
			table[i] = i + 1;
		table[32] = 33;
		table[33] = 48;
		for (i = 34; i < NCLASSES; i++)
			if (VM_MAP_PAGE_BITS > 20 && table[i - 1] >= 128)
				table[i] = table[i - 1] * 2;
			else if (i % 2 == 0)
				table[i] = table[i - 1] / 3 * 4;
			else
				table[i] = table[i - 1] / 2 * 3;
	}
	return k < NCLASSES ? table[k] : 0;
}

unsigned
oracle_class_of(unsigned long npages)
{
	unsigned k = NCLASSES - 1;

	while (oracle_class_pages(k) > npages)
		k--;
	return k;
}

unsigned
oracle_class_up(unsigned long npages)
{
	unsigned k = 0;

	while (k < NCLASSES && oracle_class_pages(k) < npages)
		k++;
	return k;
}

/*
 * A run of free pages [h_first, h_first + h_len) within a window, with the
 * lowest and the highest address in it that would do.
 */
struct hole {
	size_t	h_first, h_len;
	vaddr_t	h_low, h_high;
};

static size_t
need_pages(const struct vm_map_request *r)
{
	return r->vr_guard_lo + r->vr_size / PAGE_SIZE + r->vr_guard_hi;
}

static bool
hole_fits(const struct oracle *o, const struct vm_map_request *r,
    struct hole *h)
{
	size_t need = need_pages(r), p;
	bool any = false;
	vaddr_t va;

	for (p = h->h_first; p + need <= h->h_first + h->h_len; p++) {
		va = oracle_va(o, p + r->vr_guard_lo);
		if (r->vr_align != 0 && va % r->vr_align != 0)
			continue;
		if (!any)
			h->h_low = va;
		h->h_high = va;
		any = true;
	}
	return any;
}

/* The next hole in the pages [*p, end) that fits; *p is moved behind it. */
static bool
hole_next(const struct oracle *o, const struct vm_map_request *r, size_t *p,
    size_t end, struct hole *h)
{
	while (*p < end) {
		if (o->o_page[*p].op_id != 0) {
			(*p)++;
			continue;
		}
		h->h_first = *p;
		while (*p < end && o->o_page[*p].op_id == 0)
			(*p)++;
		h->h_len = *p - h->h_first;
		if (hole_fits(o, r, h))
			return true;
	}
	return false;
}

/*
 * The pages [*first, *end) of the request's window.  A window that sticks
 * out of the map may be refused or cut.
 */
static unsigned
window(const struct oracle *o, const struct vm_map_request *r, size_t *first,
    size_t *end)
{
	vaddr_t min = r->vr_min, max = r->vr_max;
	unsigned also = 0;

	if (min == 0 && max == 0) {
		min = o->o_min;
		max = o->o_max;
	}
	if (r->vr_align > max - min)
		also = RES_INVAL;
	if (min < o->o_min || max > o->o_max)
		also = RES_INVAL;
	min = min < o->o_min ? o->o_min : min;
	max = max > o->o_max ? o->o_max : max;
	*first = *end = 0;
	if (min < max) {
		*first = oracle_pgno(o, min);
		*end = oracle_pgno(o, max);
	}
	return also;
}

static bool
senseless(const struct vm_map_request *r)
{
	if (r->vr_size == 0 || r->vr_size % PAGE_SIZE != 0)
		return true;
	if ((r->vr_align & (r->vr_align - 1)) != 0)
		return true;
	if (r->vr_guard_lo > 255 || r->vr_guard_hi > 255)
		return true;
	if (r->vr_min % PAGE_SIZE != 0 || r->vr_max % PAGE_SIZE != 0)
		return true;
	if (r->vr_min >= r->vr_max && (r->vr_min != 0 || r->vr_max != 0))
		return true;
	return r->vr_policy != VM_FIT_BEST && r->vr_policy != VM_FIT_FIRST &&
	    r->vr_policy != VM_FIT_TOPDOWN;
}

void
oracle_large_show(struct oracle_large *l, unsigned long npages, vaddr_t at)
{
	unsigned k = oracle_class_of(npages);

	if (++l->ol_seen[k] > ORACLE_LARGE_TRIES || npages < l->ol_need)
		return;
	if (l->ol_len[k] == 0 || npages < l->ol_len[k]) {
		l->ol_len[k] = npages;
		l->ol_at[k] = at;
	}
}

/* The request's own class, then the next one that has a hole. */
bool
oracle_large_best(const struct oracle_large *l, vaddr_t *at)
{
	unsigned k = oracle_class_of(l->ol_need), n;

	for (n = 0; k < 64 && n < 2; k++) {
		if (l->ol_seen[k] == 0)
			continue;
		n++;
		if (l->ol_len[k] != 0) {
			*at = l->ol_at[k];
			return true;
		}
	}
	return false;
}

/* All that the policies ask about the holes that fit. */
struct survey {
	bool		s_any;
	struct hole	s_first, s_last;
	struct hole	s_smallest;	/* the lowest of them */
	unsigned	s_class;	/* smallest, not below the wanted */
	struct hole	s_in_class;	/* the lowest hole of it */
};

static void
survey(const struct oracle *o, const struct vm_map_request *r, size_t first,
    size_t end, struct survey *s)
{
	unsigned wanted = oracle_class_up(need_pages(r)), k;
	struct hole h;

	s->s_any = false;
	s->s_class = NCLASSES;
	while (hole_next(o, r, &first, end, &h)) {
		if (!s->s_any)
			s->s_first = s->s_smallest = h;
		s->s_any = true;
		s->s_last = h;
		if (h.h_len < s->s_smallest.h_len)
			s->s_smallest = h;
		k = oracle_class_of(h.h_len);
		if (k >= wanted && k < s->s_class) {
			s->s_class = k;
			s->s_in_class = h;
		}
	}
}

/* Promises 2 and 3. */
static vaddr_t
best(const struct oracle *o, const struct vm_map_request *r, size_t first,
    size_t end, const struct survey *s)
{
	const struct vm_map_request page = { .vr_size = PAGE_SIZE };
	struct oracle_large large = { .ol_need = need_pages(r) };
	struct hole h;
	vaddr_t at;

	if (s->s_smallest.h_len <= 32)
		return s->s_smallest.h_low;
	if (large.ol_need <= 32)
		return s->s_in_class.h_low;
	while (hole_next(o, &page, &first, end, &h))
		oracle_large_show(&large, h.h_len, h.h_low);
	if (oracle_large_best(&large, &at))
		return at + r->vr_guard_lo * PAGE_SIZE;
	return s->s_first.h_low;
}

unsigned
oracle_find(const struct oracle *o, const struct vm_map_request *r,
    struct oracle_found *f)
{
	size_t first, end;
	unsigned also;
	struct survey s;

	memset(f, 0, sizeof(*f));
	if (senseless(r))
		return RES_INVAL;
	also = window(o, r, &first, &end);
	if (r->vr_size + 2 * 255 * PAGE_SIZE < r->vr_size)
		return RES_INVAL | RES(ENOMEM);
	survey(o, r, first, end, &s);
	if (!s.s_any)
		return also | RES(ENOMEM);
	f->of_smallest = s.s_smallest.h_len;
	if (r->vr_policy == VM_FIT_FIRST) {
		f->of_exact = true;
		f->of_addr = s.s_first.h_low;
	} else if (r->vr_policy == VM_FIT_TOPDOWN) {
		f->of_exact = true;
		f->of_addr = s.s_last.h_high;
	} else {
		f->of_exact = r->vr_align <= PAGE_SIZE;
		f->of_addr = f->of_exact ? best(o, r, first, end, &s) :
		    s.s_smallest.h_low;
	}
	return also | RES(0);
}

bool
oracle_fits(const struct oracle *o, const struct vm_map_request *r,
    vaddr_t addr, size_t *len, bool *lowest)
{
	size_t first, end;
	struct hole h;

	window(o, r, &first, &end);
	while (hole_next(o, r, &first, end, &h)) {
		if (addr < h.h_low || addr > h.h_high)
			continue;
		*len = h.h_len;
		*lowest = addr == h.h_low;
		return r->vr_align == 0 || addr % r->vr_align == 0;
	}
	return false;
}

/* Who owns the page before p (by = -1) or behind it: NULL at the edge. */
static const char *
neighbour(const struct oracle *o, size_t p, int by)
{
	while (p < o->o_npages && o->o_page[p].op_id == 0)
		p += (size_t)by;	/* from 0 down: wraps, and is no page */
	return p < o->o_npages ? o->o_page[p].op_owner : NULL;
}

static bool
same_string(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Is the largest hole said to be at a place where one is? */
static const char *
explained_largest(const struct oracle *o, size_t first, size_t end,
    size_t largest, const struct vm_map_explain *x)
{
	size_t p = oracle_pgno(o, x->vx_largest_at), i;

	if (x->vx_largest != largest * PAGE_SIZE)
		return "vx_largest";
	if (largest == 0)
		return NULL;
	if (p < first || p >= end || largest > end - p)
		return "vx_largest_at";
	for (i = p; i < p + largest; i++)
		if (o->o_page[i].op_id != 0)
			return "vx_largest_at";
	if (!same_string(x->vx_before, neighbour(o, p, -1)))
		return "vx_before";
	if (!same_string(x->vx_after, neighbour(o, p, 1)))
		return "vx_after";
	return NULL;
}

const char *
oracle_explained(const struct oracle *o, const struct vm_map_request *r,
    const struct vm_map_explain *x)
{
	unsigned long nholes[NCLASSES] = { 0 }, total = 0;
	size_t first, end, p, len, nfree = 0, largest = 0;
	struct oracle_found f;

	window(o, r, &first, &end);
	for (p = first; p < end; p += len + 1) {
		for (len = 0; p + len < end &&
		    o->o_page[p + len].op_id == 0; len++)
			continue;
		if (len == 0)
			continue;
		nholes[oracle_class_of(len)]++;
		total++;
		nfree += len;
		largest = len > largest ? len : largest;
	}
	if (x->vx_need != need_pages(r) * PAGE_SIZE)
		return "vx_need";
	if (x->vx_free != nfree * PAGE_SIZE)
		return "vx_free";
	if (x->vx_nholes != total)
		return "vx_nholes";
	if (memcmp(x->vx_holes, nholes, sizeof(nholes)) != 0)
		return "vx_holes";
	if (x->vx_fits != ((oracle_find(o, r, &f) & RES(0)) != 0))
		return "vx_fits";
	return explained_largest(o, first, end, largest, x);
}

static bool
in_map(const struct oracle *o, vaddr_t start, vaddr_t end)
{
	return start % PAGE_SIZE == 0 && end % PAGE_SIZE == 0 &&
	    start < end && start >= o->o_min && end <= o->o_max;
}

static size_t
count_taken(const struct oracle *o, vaddr_t start, vaddr_t end)
{
	size_t p, n = 0;

	for (p = oracle_pgno(o, start); p < oracle_pgno(o, end); p++)
		n += o->o_page[p].op_id != 0;
	return n;
}

static bool
any_wired(const struct oracle *o, vaddr_t start, vaddr_t end)
{
	size_t p;

	for (p = oracle_pgno(o, start); p < oracle_pgno(o, end); p++)
		if (o->o_page[p].op_wired != 0)
			return true;
	return false;
}

/* Does a region end right before page p, or is there none? */
static bool
is_border(const struct oracle *o, size_t p)
{
	return p == 0 || p == o->o_npages ||
	    o->o_page[p - 1].op_id != o->o_page[p].op_id;
}

/*
 * The kernel map's ranges are whole regions: from the begin of one, or of
 * its usable part, to the end of one, or of its usable part.  Makes page
 * numbers of that, guards included.
 */
static bool
whole_regions(const struct oracle *o, vaddr_t start, vaddr_t end, size_t *p,
    size_t *q)
{
	*p = oracle_pgno(o, start);
	*q = oracle_pgno(o, end);
	if (!o->o_page[*p].op_guard_lo)
		while (!is_border(o, *p) && o->o_page[*p - 1].op_guard_lo)
			(*p)--;
	if (!o->o_page[*q - 1].op_guard_hi)
		while (!is_border(o, *q) && o->o_page[*q].op_guard_hi)
			(*q)++;
	return is_border(o, *p) && is_border(o, *q);
}

unsigned
oracle_insert(const struct oracle *o, vaddr_t start, vaddr_t end)
{
	if (!in_map(o, start, end))
		return RES_INVAL;
	return count_taken(o, start, end) == 0 ? RES(0) : RES(EEXIST);
}

void
oracle_region(const struct oracle *o, vaddr_t addr, vaddr_t *start,
    vaddr_t *end)
{
	size_t p = oracle_pgno(o, addr), q = p + 1;

	while (!is_border(o, p))
		p--;
	while (!is_border(o, q))
		q++;
	*start = oracle_va(o, p);
	*end = oracle_va(o, q);
}

/* A region's part between the guards. */
static void
usable(const struct oracle *o, vaddr_t start, vaddr_t end, vaddr_t *use,
    vaddr_t *use_end)
{
	while (o->o_page[oracle_pgno(o, start)].op_guard_lo)
		start += PAGE_SIZE;
	while (o->o_page[oracle_pgno(o, end - PAGE_SIZE)].op_guard_hi)
		end -= PAGE_SIZE;
	*use = start;
	*use_end = end;
}

/* A region, with its guards or without: else what kernel maps say to it. */
static unsigned
one_region(const struct oracle *o, vaddr_t start, vaddr_t end)
{
	vaddr_t a, b, use, use_end;

	if (o->o_page[oracle_pgno(o, start)].op_id == 0)
		return RES(EFAULT);
	oracle_region(o, start, &a, &b);
	usable(o, a, b, &use, &use_end);
	if ((start == a && end == b) || (start == use && end == use_end))
		return 0;
	return RES_INVAL;
}

unsigned
oracle_free(const struct oracle *o, vaddr_t addr, vsize_t size)
{
	vaddr_t start, end, use, use_end;

	if (o->o_flags == VM_MAP_USER)
		return RES_INVAL;
	if (addr < o->o_min || addr >= o->o_max ||
	    o->o_page[oracle_pgno(o, addr)].op_id == 0)
		return in_map(o, addr, addr + size) ? RES(EFAULT) :
		    RES(EFAULT) | RES_INVAL;	/* both are true */
	oracle_region(o, addr, &start, &end);
	usable(o, start, end, &use, &use_end);
	if (addr != use || size != use_end - use)
		return RES_INVAL | (any_wired(o, start, end) ? RES(EBUSY) : 0);
	return any_wired(o, start, end) ? RES(EBUSY) : RES(0);
}

/* Would taking [start, end) away leave two pieces of one region? */
static bool
cuts_in_two(const struct oracle *o, vaddr_t start, vaddr_t end)
{
	size_t p = oracle_pgno(o, start), q = oracle_pgno(o, end), i;

	if (p == 0 || q == o->o_npages)
		return false;
	for (i = p - 1; i < q; i++) {
		const struct opage *a = &o->o_page[i], *b = a + 1;

		if (a->op_id == 0 || b->op_id == 0 ||
		    a->op_prot != b->op_prot || a->op_owner != b->op_owner ||
		    a->op_wired != b->op_wired)
			return false;
	}
	return true;
}

unsigned
oracle_remove(const struct oracle *o, vaddr_t start, vaddr_t end,
    bool starved)
{
	unsigned right = 0;

	if (!in_map(o, start, end))
		return RES_INVAL;
	if (any_wired(o, start, end))
		right |= RES(EBUSY);
	if (o->o_flags == VM_MAP_KERNEL)
		right |= one_region(o, start, end);
	if (right != 0)
		return right;
	if (starved && cuts_in_two(o, start, end))
		right = RES(ENOMEM);
	return right | RES(0);
}

/*
 * What protecting and wiring have in common: all taken and, in a kernel map,
 * whole regions.  A range that sticks out of the map is no range, or has a
 * hole in it.
 */
static unsigned
whole_and_taken(const struct oracle *o, vaddr_t start, vaddr_t end)
{
	unsigned wrong = 0;
	size_t p, q;

	if (start % PAGE_SIZE != 0 || end % PAGE_SIZE != 0 || start >= end)
		return RES_INVAL;
	if (!in_map(o, start, end))
		return RES_INVAL | RES(EFAULT);
	if (count_taken(o, start, end) != (end - start) / PAGE_SIZE)
		wrong |= RES(EFAULT);
	if (o->o_flags == VM_MAP_KERNEL &&
	    !whole_regions(o, start, end, &p, &q))
		wrong |= RES_INVAL;
	return wrong;
}

unsigned
oracle_protect(const struct oracle *o, vaddr_t start, vaddr_t end)
{
	unsigned wrong = whole_and_taken(o, start, end);

	return wrong != 0 ? wrong : RES(0);
}

unsigned
oracle_wire(const struct oracle *o, vaddr_t start, vaddr_t end, bool wire)
{
	unsigned wrong = whole_and_taken(o, start, end);
	size_t p;

	if ((wrong & RES_INVAL) != 0)
		return wrong;
	for (p = oracle_pgno(o, start); p < oracle_pgno(o, end); p++)
		if (o->o_page[p].op_id != 0 &&
		    o->o_page[p].op_wired == (wire ? UINT16_MAX : 0))
			wrong |= RES_INVAL;
	return wrong != 0 ? wrong : RES(0);
}

void
oracle_take(struct oracle *o, vaddr_t start, vaddr_t end,
    const struct vm_map_request *r)
{
	size_t first = oracle_pgno(o, start), last = oracle_pgno(o, end), p;

	o->o_ids++;
	for (p = first; p < last; p++) {
		struct opage *pg = &o->o_page[p];

		pg->op_id = o->o_ids;
		pg->op_prot = r->vr_prot;
		pg->op_owner = r->vr_owner;
		pg->op_wired = 0;
		pg->op_guard_lo = p < first + r->vr_guard_lo;
		pg->op_guard_hi = p >= last - r->vr_guard_hi;
	}
	o->o_used += last - first;
}

/* The pages that an operation on a range is about. */
static void
affected(const struct oracle *o, vaddr_t start, vaddr_t end, size_t *p,
    size_t *q)
{
	if (o->o_flags == VM_MAP_KERNEL) {
		whole_regions(o, start, end, p, q);
	} else {
		*p = oracle_pgno(o, start);
		*q = oracle_pgno(o, end);
	}
}

void
oracle_release(struct oracle *o, vaddr_t start, vaddr_t end)
{
	size_t p, q;

	for (affected(o, start, end, &p, &q); p < q; p++) {
		o->o_used -= o->o_page[p].op_id != 0;
		memset(&o->o_page[p], 0, sizeof(o->o_page[p]));
	}
}

void
oracle_set_prot(struct oracle *o, vaddr_t start, vaddr_t end, vm_prot_t prot)
{
	size_t p, q;

	for (affected(o, start, end, &p, &q); p < q; p++)
		o->o_page[p].op_prot = prot;
}

void
oracle_add_wired(struct oracle *o, vaddr_t start, vaddr_t end, int by)
{
	size_t p, q;

	for (affected(o, start, end, &p, &q); p < q; p++)
		o->o_page[p].op_wired += (unsigned)by;
}
