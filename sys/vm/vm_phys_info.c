/*
 * vm_phys for people: its figures, and whether it holds what vm_phys.c says
 * of it (section 3 there).
 */
#include <vm/vm_phys_impl.h>

static struct vm_phys *const vp = &vm_phys_self;

void
vm_phys_stats(struct vm_phys_stats *st)
{
	vm_mtx_enter(&vp->vp_mtx);
	*st = vp->vp_stats;
	st->ps_owner[VM_PAGE_FREE] = nfree_locked(vp);
	for (unsigned z = 0; z < VM_NZONES; z++)
		st->ps_taken[z] = st->ps_given[z] +
		    (st->ps_total[z] - st->ps_free[z]);
	vm_mtx_exit(&vp->vp_mtx);
}

/* P2 for a frame that is not plain. */
static const char *
check_fields_locked(const struct vm_page *pg)
{
	if (owner_allocated(pg->pg_owner))
		return pg->pg_refs == 0 ?
		    "P2: an allocated frame has no reference" : NULL;
	if (pg->pg_refs != 0 || pg->pg_npages != 0 || pg->pg_slab != NULL ||
	    pg->pg_flags != 0)
		return "P2: a frame that is nobody's is not blank";
	return NULL;
}

/* P1 and P2 for one frame; it is counted in st. */
static const char *
check_page_locked(pfn_t pfn, struct vm_phys_stats *st)
{
	const struct vm_page *pg = &vm_frames.vf_page[pfn];
	unsigned owner = owner_locked(pfn);
	enum vm_zone z = zone_of(pfn);

	if (owner >= VM_PAGE_NOWNERS)
		return "a frame's owner is none of ours";
	if (bitmap_test(&vp->vp_free, pfn) + hand_test_locked(vp, pfn) !=
	    (owner == VM_PAGE_FREE))
		return "P1: a frame's bit and its owner disagree";
	if (state_of(pfn) != STATE_PAGE && pg->pg_owner != VM_PAGE_FREE)
		return "P2: a plain frame's vm_page was written";
	st->ps_owner[owner]++;
	st->ps_total[z] += owner != VM_PAGE_RESERVED;
	st->ps_free[z] += owner == VM_PAGE_FREE;
	return check_fields_locked(pg);
}

/* The rest of P4, P5 and P6. */
static const char *
check_flow_locked(void)
{
	const struct vm_phys_stats *ps = &vp->vp_stats;
	pfn_t nfree = nfree_locked(vp), pfn;
	const struct vm_phys_next *vn;
	unsigned z;

	if (ps->ps_low ? nfree >= ps->ps_mark_high : nfree < ps->ps_mark_low)
		return "P5: on the wrong side of a watermark";
	for (z = 0; z < VM_NZONES; z++) {
		vn = &vp->vp_next[z];
		pfn = bitmap_next_set(&vp->vp_free, zones[z].z_start);
		if (pfn < vm_frames.vf_npfn && pfn < vn->vn_hint)
			return "P6: a bit is set below its zone's hint";
		if (vn->vn_hand != 0 && (zone_of(vn->vn_first) != z ||
		    vn->vn_first + bit_highest32(vn->vn_hand) >= vn->vn_hint))
			return "P7: a frame at hand is not below the hint";
	}
	return NULL;
}

static const char *
check_locked(void)
{
	const struct vm_phys_stats *ps = &vp->vp_stats;
	struct vm_phys_stats st;
	const char *why;
	pfn_t pfn;

	memset(&st, 0, sizeof(st));
	why = bitmap_check(&vp->vp_free);
	for (pfn = 0; pfn < vm_frames.vf_npfn && why == NULL; pfn++)
		why = check_page_locked(pfn, &st);
	if (why != NULL)
		return why;
	st.ps_owner[VM_PAGE_FREE] = 0;
	if (memcmp(st.ps_owner, ps->ps_owner, sizeof(st.ps_owner)) != 0)
		return "P3: the counters by owner are wrong";
	if (memcmp(st.ps_total, ps->ps_total, sizeof(st.ps_total)) != 0 ||
	    memcmp(st.ps_free, ps->ps_free, sizeof(st.ps_free)) != 0)
		return "P4: the counters by zone are wrong";
	return check_flow_locked();
}

const char *
vm_phys_check(void)
{
	const char *why;

	vm_mtx_enter(&vp->vp_mtx);
	why = check_locked();
	vm_mtx_exit(&vp->vp_mtx);
	return why;
}
