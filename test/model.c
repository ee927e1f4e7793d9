#include <stdlib.h>
#include <string.h>

#include "model.h"

#define NCLASSES	64

void
model_init(struct model *m, vaddr_t min, vaddr_t max, unsigned flags)
{
	m->m_min = min;
	m->m_max = max;
	m->m_flags = flags;
	m->m_used = 0;
	m->m_n = 0;
}

unsigned
model_above(const struct model *m, vaddr_t addr)
{
	unsigned lo = 0, hi = m->m_n, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (m->m_region[mid].mr_end > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* A free range inside the window, and a request's places in it. */
struct mhole {
	vaddr_t	h_start, h_end;
	vaddr_t	h_low, h_high;
};

static bool
hole_fits(const struct vm_map_request *r, struct mhole *h)
{
	vsize_t lead = r->vr_guard_lo * PAGE_SIZE;
	vsize_t rest = r->vr_size + r->vr_guard_hi * PAGE_SIZE;
	vsize_t mask = r->vr_align > PAGE_SIZE ? r->vr_align - 1 : 0;
	vsize_t len = h->h_end - h->h_start, skip;

	if (len < lead + rest)
		return false;
	h->h_low = h->h_start + lead;
	skip = (0 - h->h_low) & mask;		/* up to the next aligned */
	if (skip > len - lead - rest)
		return false;
	h->h_low += skip;
	h->h_high = (h->h_end - rest) & ~mask;
	return true;
}

/* The hole before region i, in the window; false: there is none. */
static bool
hole_before(const struct model *m, unsigned i, vaddr_t min, vaddr_t max,
    struct mhole *h)
{
	h->h_start = i == 0 ? m->m_min : m->m_region[i - 1].mr_end;
	h->h_end = i == m->m_n ? m->m_max : m->m_region[i].mr_start;
	if (h->h_start < min)
		h->h_start = min;
	if (h->h_end > max)
		h->h_end = max;
	return h->h_start < h->h_end;
}

static void
window(const struct model *m, const struct vm_map_request *r, vaddr_t *min,
    vaddr_t *max)
{
	*min = r->vr_max == 0 ? m->m_min : r->vr_min;
	*max = r->vr_max == 0 ? m->m_max : r->vr_max;
}

/* What best-fit remembers on its way through the holes. */
struct best {
	vsize_t		b_smallest;	/* pages; 0: nothing fits */
	vaddr_t		b_smallest_at;
	vaddr_t		b_first_at;
	vsize_t		b_wanted;	/* pages of the class wanted */
	unsigned	b_class;	/* the smallest so far, */
	vsize_t		b_limit;	/* what is below is of a smaller */
	vaddr_t		b_class_at;
	struct oracle_large b_large;
};

static void
best_begin(const struct vm_map_request *r, struct best *b)
{
	vsize_t need = r->vr_guard_lo + r->vr_guard_hi +
	    r->vr_size / PAGE_SIZE;
	unsigned k = oracle_class_up(need);

	memset(&b->b_large, 0, sizeof(b->b_large));
	b->b_large.ol_need = need;
	b->b_smallest = 0;
	b->b_wanted = k < NCLASSES ? oracle_class_pages(k) : ~(vsize_t)0;
	b->b_class = NCLASSES;
	b->b_limit = ~(vsize_t)0;
}

static void
best_hole(struct best *b, const struct mhole *h)
{
	vsize_t len = (h->h_end - h->h_start) / PAGE_SIZE;

	if (b->b_smallest == 0)
		b->b_first_at = h->h_low;
	if (b->b_smallest == 0 || len < b->b_smallest) {
		b->b_smallest = len;
		b->b_smallest_at = h->h_low;
	}
	if (len >= b->b_wanted && len < b->b_limit) {
		b->b_class = oracle_class_of(len);
		b->b_limit = oracle_class_pages(b->b_class);
		b->b_class_at = h->h_low;
	}
}

static vaddr_t
best_end(const struct best *b, const struct vm_map_request *r)
{
	vaddr_t at;

	if (b->b_smallest <= 32)
		return b->b_smallest_at;
	if (b->b_large.ol_need > 32)
		return oracle_large_best(&b->b_large, &at) ?
		    at + r->vr_guard_lo * PAGE_SIZE : b->b_first_at;
	return b->b_class < NCLASSES ? b->b_class_at : b->b_first_at;
}

int
model_find(const struct model *m, const struct vm_map_request *r,
    vaddr_t *addr, bool *exact)
{
	vaddr_t min, max, found = 0;
	bool any = false;
	struct mhole h;
	struct best b;
	unsigned i;

	window(m, r, &min, &max);
	best_begin(r, &b);
	*exact = r->vr_policy != VM_FIT_BEST || r->vr_align <= PAGE_SIZE;
	for (i = model_above(m, min); i <= m->m_n; i++) {
		if (i > 0 && m->m_region[i - 1].mr_end >= max)
			break;
		if (!hole_before(m, i, min, max, &h))
			continue;
		if (b.b_large.ol_need > 32)
			oracle_large_show(&b.b_large,
			    (h.h_end - h.h_start) / PAGE_SIZE, h.h_start);
		if (!hole_fits(r, &h))
			continue;
		if (r->vr_policy == VM_FIT_BEST)
			best_hole(&b, &h);
		else if (r->vr_policy == VM_FIT_TOPDOWN)
			found = h.h_high;
		else if (!any)
			found = h.h_low;
		any = true;
	}
	if (!any)
		return ENOMEM;
	*addr = r->vr_policy == VM_FIT_BEST ? best_end(&b, r) : found;
	return 0;
}

bool
model_place(const struct model *m, const struct vm_map_request *r,
    vaddr_t addr)
{
	vaddr_t min, max;
	struct mhole h;

	window(m, r, &min, &max);
	return addr >= min && addr < max &&
	    hole_before(m, model_above(m, addr), min, max, &h) &&
	    hole_fits(r, &h) && h.h_low == addr;
}

static void
array_insert(struct model *m, unsigned i, const struct mregion *mr)
{
	if (m->m_n == MODEL_MAX)
		abort();
	memmove(&m->m_region[i + 1], &m->m_region[i],
	    (m->m_n - i) * sizeof(m->m_region[0]));
	m->m_region[i] = *mr;
	m->m_n++;
}

/* Take [i, j) out of the array. */
static void
array_delete(struct model *m, unsigned i, unsigned j)
{
	memmove(&m->m_region[i], &m->m_region[j],
	    (m->m_n - j) * sizeof(m->m_region[0]));
	m->m_n -= j - i;
}

static bool
joinable(const struct mregion *a, const struct mregion *b)
{
	return a->mr_end == b->mr_start && a->mr_prot == b->mr_prot &&
	    a->mr_wired == b->mr_wired && a->mr_owner == b->mr_owner &&
	    a->mr_guard_lo + a->mr_guard_hi + b->mr_guard_lo +
	    b->mr_guard_hi == 0;
}

/* User maps: join what can be joined among regions first … last + 1. */
static void
join(struct model *m, unsigned first, unsigned last)
{
	unsigned i, j;

	if (m->m_flags == VM_MAP_KERNEL)
		return;
	i = first > 0 ? first - 1 : 0;
	while (i + 1 < m->m_n && i <= last) {
		for (j = i + 1; j < m->m_n && joinable(&m->m_region[i],
		    &m->m_region[j]); j++)
			m->m_region[i].mr_end = m->m_region[j].mr_end;
		if (j > i + 1) {
			array_delete(m, i + 1, j);
			last -= last < j - i - 1 ? last : j - i - 1;
		}
		i++;
	}
}

/* Make addr a border, if it is inside a region. */
static void
split(struct model *m, vaddr_t addr)
{
	unsigned i = model_above(m, addr);
	struct mregion right;

	if (i == m->m_n || m->m_region[i].mr_start >= addr)
		return;
	right = m->m_region[i];
	right.mr_start = addr;
	m->m_region[i].mr_end = addr;
	array_insert(m, i + 1, &right);
}

static void
add(struct model *m, const struct mregion *mr)
{
	unsigned i = model_above(m, mr->mr_start);

	array_insert(m, i, mr);
	m->m_used += mr->mr_end - mr->mr_start;
	join(m, i, i);
}

void
model_take(struct model *m, const struct vm_map_request *r, vaddr_t addr)
{
	struct mregion mr = {
		.mr_start = addr - r->vr_guard_lo * PAGE_SIZE,
		.mr_end = addr + r->vr_size + r->vr_guard_hi * PAGE_SIZE,
		.mr_prot = r->vr_prot, .mr_owner = r->vr_owner,
		.mr_guard_lo = r->vr_guard_lo, .mr_guard_hi = r->vr_guard_hi,
	};

	add(m, &mr);
}

int
model_insert(struct model *m, vaddr_t start, vaddr_t end, vm_prot_t prot,
    const char *owner)
{
	struct mregion mr = {
		.mr_start = start, .mr_end = end, .mr_prot = prot,
		.mr_owner = owner,
	};
	unsigned i = model_above(m, start);

	if (i < m->m_n && m->m_region[i].mr_start < end)
		return EEXIST;
	add(m, &mr);
	return 0;
}

int
model_free(struct model *m, vaddr_t addr, vsize_t size)
{
	unsigned i = model_above(m, addr);
	const struct mregion *mr = &m->m_region[i];

	if (i == m->m_n || mr->mr_start > addr)
		return EFAULT;
	if (addr != mr->mr_start + mr->mr_guard_lo * PAGE_SIZE ||
	    size != mr->mr_end - mr->mr_guard_hi * PAGE_SIZE - addr)
		return EINVAL;
	if (mr->mr_wired != 0)
		return EBUSY;
	m->m_used -= mr->mr_end - mr->mr_start;
	array_delete(m, i, i + 1);
	return 0;
}

int
model_remove(struct model *m, vaddr_t start, vaddr_t end)
{
	unsigned i = model_above(m, start), j;

	for (j = i; j < m->m_n && m->m_region[j].mr_start < end; j++)
		if (m->m_region[j].mr_wired != 0)
			return EBUSY;
	split(m, start);
	split(m, end);
	i = model_above(m, start);
	for (j = i; j < m->m_n && m->m_region[j].mr_start < end; j++)
		m->m_used -= m->m_region[j].mr_end - m->m_region[j].mr_start;
	array_delete(m, i, j);
	return 0;
}

/* Is there a hole in [start, end)? */
static bool
has_hole(const struct model *m, vaddr_t start, vaddr_t end)
{
	unsigned i;

	for (i = model_above(m, start); start < end; i++) {
		if (i == m->m_n || m->m_region[i].mr_start > start)
			return true;
		start = m->m_region[i].mr_end;
	}
	return false;
}

int
model_protect(struct model *m, vaddr_t start, vaddr_t end, vm_prot_t prot)
{
	unsigned i, j;

	if (has_hole(m, start, end))
		return EFAULT;
	split(m, start);
	split(m, end);
	i = model_above(m, start);
	for (j = i; j < m->m_n && m->m_region[j].mr_start < end; j++)
		m->m_region[j].mr_prot = prot;
	join(m, i, j);
	return 0;
}

int
model_wire(struct model *m, vaddr_t start, vaddr_t end, bool wire)
{
	unsigned i = model_above(m, start), j;

	if (has_hole(m, start, end))
		return EFAULT;
	for (j = i; j < m->m_n && m->m_region[j].mr_start < end; j++)
		if (m->m_region[j].mr_wired == (wire ? UINT16_MAX : 0))
			return EINVAL;
	split(m, start);
	split(m, end);
	i = model_above(m, start);
	for (j = i; j < m->m_n && m->m_region[j].mr_start < end; j++)
		m->m_region[j].mr_wired += wire ? 1u : ~0u;
	join(m, i, j);
	return 0;
}

const char *
model_compare(const struct model *m, struct vm_map *map)
{
	struct vm_map_info vi = { .vi_end = m->m_min };
	struct vm_map_stats st;
	vaddr_t next;
	unsigned i;

	for (i = 0; i < m->m_n; i++) {
		const struct mregion *mr = &m->m_region[i];

		if (vm_map_next(map, vi.vi_end, &vi) != 0)
			return "a region is missing";
		if (vi.vi_start != mr->mr_start || vi.vi_end != mr->mr_end)
			return "a region lies elsewhere";
		next = i + 1 < m->m_n ? mr[1].mr_start : m->m_max;
		if (vi.vi_gap != next - mr->mr_end)
			return "a gap is wrong";
		if (vi.vi_prot != mr->mr_prot || vi.vi_owner != mr->mr_owner ||
		    vi.vi_wired != mr->mr_wired ||
		    vi.vi_guard_lo != mr->mr_guard_lo ||
		    vi.vi_guard_hi != mr->mr_guard_hi)
			return "a region's attributes are wrong";
	}
	if (vm_map_next(map, vi.vi_end, &vi) != ENOENT)
		return "a region too many";
	vm_map_stats(map, &st);
	if (st.vms_entries != m->m_n || st.vms_used != m->m_used)
		return "the statistics are wrong";
	return vm_map_check(map);
}
