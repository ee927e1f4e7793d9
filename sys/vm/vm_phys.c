/*
 * Physical pages: which frames are free.
 *
 * 1. What it is
 *
 * A frame is 4 KiB of RAM at a physical address, and its number, the pfn, is
 * that address in pages.  For the frames [0, npfn) there are, in memory that
 * the caller brings:
 *
 *	a bitmap	bit set: the frame is free.  Three levels of summaries
 *			above it (libkern/bitmap.c) lead to the lowest free
 *			frame of a zone in at most four bit-scans; a hint, to
 *			the same word as the last time in one.
 *	a hand		for each zone: its lowest free frames, as far as they
 *			lie in one word, taken out of the bitmap.
 *	struct vm_page	one a frame: owner, references, and two words for
 *			whoever has it.
 *	a state		two bits a frame: that it is out, to kmem or to the
 *			user, and that nobody has looked at its vm_page yet.
 *
 * Most frames are taken and given back with nobody ever asking for their
 * vm_page.  Those are plain: what their vm_page would say stands in the state,
 * and it is written when it is first asked for (vm_phys_page).  The states of
 * 4 GB take 256 KB, and stay in a cache that a million structures do not fit
 * in: of the two misses that a random free and the next allocation had, none
 * is left.
 *
 * Lowest first packs what is in use below and what is free above.  So a frame
 * that is given back mostly lies below all that are free in its zone, and is
 * the next one to go: it stays at hand, and bitmap and summaries never hear of
 * it.  Calls that look for more than the next frame settle first: what is at
 * hand goes back to the bitmap.
 *
 * A frame's life: RESERVED (absent, the firmware's, the image's) until it is
 * handed over by vm_phys_add; FREE; another owner's, from an alloc until its
 * free; and so on.  There is no way back to RESERVED.
 *
 * 2. Zones
 *
 * The frames below 1 MiB and below 16 MiB are the only ones that real mode
 * and ISA DMA can reach, and cannot be had again while an ordinary request
 * sits on them.  So vm_phys_alloc goes from the highest zone down, lowest
 * address first inside each; who needs reach asks vm_phys_alloc_run with a
 * limit, and that takes the lowest run there is.
 *
 * 3. Invariants (vm_phys_check)
 *
 *  P1	A frame's bit is set, or the frame is at hand, never both, exactly
 *	when its owner is VM_PAGE_FREE.
 *  P2	The vm_page of a frame that is free or reserved is blank but for its
 *	owner; any other's has at least one reference.  That of a plain one is
 *	still as it was when the frame was free.
 *  P3	The counters by owner are exact.
 *  P4	The counters by zone are exact: free frames, and those ever added,
 *	which are the ones that are not reserved.  (Frames taken so far are
 *	those given back and those that are out: they need no counter.)
 *  P5	ps_low is true when fewer than ps_mark_low frames are free, false when
 *	at least ps_mark_high are, and what it was before in between.
 *  P6	No bit of a zone is set below the zone's hint.
 *  P7	What is at hand for a zone is of that zone, and below its hint.
 *
 * 4. Locking
 *
 * One mutex, the innermost of all (vm.h), over everything here: the work
 * under it is a few words for a frame.  The two words of an allocated frame
 * that vm_phys.h gives to its owner are the owner's to write.
 *
 * 5. Watermarks
 *
 * Two of them, so that a number of free frames that goes up and down around
 * one does not call each time.  Every call that takes or gives looks, before
 * it drops the lock, whether ps_low has to change, and tells afterwards.
 *
 * 6. Misuse
 *
 * Freeing what is not allocated, or is still shared, is looked for over the
 * whole range before anything is changed.  The panic names the call with its
 * arguments, the first frame at fault and what that is; the lock is dropped
 * first, so that the debugger can look.
 *
 * 7. What it does not do
 *
 * It does not sleep, wait, map or zero.  It does not ask vm_fail: its callers
 * do, since they know what a frame is for.
 */
#include <libkern/errno.h>
#include <libkern/libkern.h>
#include <vm/vm_phys_impl.h>

#define NONE		PFN_MAX		/* no frame */
#define PAGES_ALIGN	8u	/* of the page array, behind the states */

static const char *const owner_names[VM_PAGE_NOWNERS] = {
	[VM_PAGE_RESERVED] = "reserved",
	[VM_PAGE_FREE] = "free",
	[VM_PAGE_KMEM] = "kmem",
	[VM_PAGE_PTP] = "page table",
	[VM_PAGE_ENTRY] = "map entries",
	[VM_PAGE_USER] = "user",
};

struct vm_phys vm_phys_self;
struct vm_frames vm_frames;

static struct vm_phys *const vp = &vm_phys_self;

/* Of which owners a frame can be plain. */
static const uint8_t plain_state[VM_PAGE_NOWNERS] = {
	[VM_PAGE_KMEM] = STATE_KMEM,
	[VM_PAGE_USER] = STATE_USER,
};

/* Atomic: vm_phys_page looks without the lock. */
static inline void
state_set_locked(pfn_t pfn, enum vm_phys_state state)
{
	uint8_t *byte = &vm_frames.vf_state[pfn / STATE_BYTE];
	unsigned shift = pfn % STATE_BYTE * STATE_BITS;
	unsigned was = *byte & ~(STATE_MASK << shift);

	__atomic_store_n(byte, (uint8_t)(was | state << shift),
	    __ATOMIC_RELEASE);
}

/* The same for n frames. */
static void
state_fill_locked(pfn_t pfn, pfn_t n, enum vm_phys_state state)
{
	const uint8_t all = (uint8_t)(state * 0x55u);

	while (n > 0) {
		if (pfn % STATE_BYTE != 0 || n < STATE_BYTE) {
			state_set_locked(pfn++, state);
			n--;
			continue;
		}
		__atomic_store_n(&vm_frames.vf_state[pfn / STATE_BYTE], all,
		    __ATOMIC_RELEASE);
		pfn += STATE_BYTE;
		n -= STATE_BYTE;
	}
}

/* What an allocated frame's vm_page says at first. */
static void
page_write_locked(pfn_t pfn, unsigned owner)
{
	vm_frames.vf_page[pfn] = (struct vm_page){
		.pg_owner = (uint8_t)owner, .pg_refs = 1, .pg_npages = 1
	};
}

/* The vm_page of an allocated frame; a plain one is so no more. */
static struct vm_page *
page_locked(pfn_t pfn)
{
	if (state_of(pfn) != STATE_PAGE) {
		page_write_locked(pfn, owner_locked(pfn));
		state_set_locked(pfn, STATE_PAGE);
	}
	return &vm_frames.vf_page[pfn];
}

static size_t
states_size(pfn_t npfn)
{
	return howmany(npfn, STATE_BYTE);
}

size_t
vm_phys_size(pfn_t npfn)
{
	return roundup2(bitmap_size(npfn) + states_size(npfn), PAGES_ALIGN) +
	    npfn * sizeof(struct vm_page);
}

void
vm_phys_init(void *mem, pfn_t npfn)
{
	size_t front = roundup2(bitmap_size(npfn) + states_size(npfn),
	    PAGES_ALIGN);

	if (npfn > PFN_MAX || (uintptr_t)mem % PAGES_ALIGN != 0)
		vm_host_panic("vm_phys_init: mem %p, npfn %u", mem, npfn);
	vm_mtx_init(&vp->vp_mtx, "vm_phys");
	bitmap_init(&vp->vp_free, mem, npfn);
	vm_frames.vf_state = (uint8_t *)mem + bitmap_size(npfn);
	memset(vm_frames.vf_state, 0, states_size(npfn));
	vm_frames.vf_page = (struct vm_page *)(void *)((char *)mem + front);
	memset(vm_frames.vf_page, 0, npfn * sizeof(struct vm_page));
	memset(&vp->vp_stats, 0, sizeof(vp->vp_stats));
	vp->vp_watcher = NULL;
	vp->vp_calm_min = 0;
	vp->vp_calm_max = PFN_MAX;
	for (unsigned z = 0; z < VM_NZONES; z++)
		vp->vp_next[z] = (struct vm_phys_next){
			.vn_hint = zones[z].z_end
		};
	vm_frames.vf_npfn = npfn;
	vp->vp_stats.ps_owner[VM_PAGE_RESERVED] = npfn;
}

/*
 * So many free frames at least, and at most, are no news: one comparison for
 * each call.  (ps_low implies that ps_mark_high is not 0.)
 */
static void
calm_set_locked(void)
{
	const struct vm_phys_stats *ps = &vp->vp_stats;

	vp->vp_calm_min = ps->ps_low ? 0 : ps->ps_mark_low;
	vp->vp_calm_max = ps->ps_low ? ps->ps_mark_high - 1 : PFN_MAX;
}

/* A watermark is crossed.  => drops the lock */
static void
phys_exit_crossed(void)
{
	struct vm_phys_stats *ps = &vp->vp_stats;
	bool low = !ps->ps_low;
	void (*fn)(bool) = vp->vp_watcher;

	ps->ps_low = low;
	ps->ps_crossed++;
	calm_set_locked();
	vm_mtx_exit(&vp->vp_mtx);
	if (fn != NULL)
		fn(low);
}

/*
 * Drop the lock after frames were taken or given, and tell who watches.
 */
static void
phys_exit(void)
{
	pfn_t n = nfree_locked(vp);

	if (n < vp->vp_calm_min || n > vp->vp_calm_max)
		phys_exit_crossed();
	else
		vm_mtx_exit(&vp->vp_mtx);
}

void
vm_phys_watch(pfn_t low, pfn_t high, void (*fn)(bool))
{
	if (low > high)
		vm_host_panic("vm_phys_watch: low %u, high %u", low, high);
	vm_mtx_enter(&vp->vp_mtx);
	vp->vp_stats.ps_mark_low = low;
	vp->vp_stats.ps_mark_high = high;
	vp->vp_stats.ps_low = false;
	vp->vp_watcher = fn;
	calm_set_locked();
	phys_exit();
}

/*
 * A frame goes out, plain where it can, or comes back: its state, and the
 * counters.  The bitmap is the caller's, who may have many bits to change.
 */
static inline void
page_out_locked(pfn_t pfn, enum vm_page_owner owner)
{
	if (plain_state[owner] != STATE_PAGE)
		state_set_locked(pfn, plain_state[owner]);
	else
		page_write_locked(pfn, owner);
}

static void
page_take_locked(pfn_t pfn, enum vm_page_owner owner)
{
	vp->vp_stats.ps_free[zone_of(pfn)]--;
	vp->vp_stats.ps_owner[owner]++;
	page_out_locked(pfn, owner);
}

/* Its owner's no more. */
static inline void
page_blank_locked(pfn_t pfn)
{
	enum vm_phys_state state = state_of(pfn);

	vp->vp_stats.ps_owner[state_owner(state, pfn)]--;
	if (state != STATE_PAGE)
		state_set_locked(pfn, STATE_PAGE);
	else
		vm_frames.vf_page[pfn] =
		    (struct vm_page){ .pg_owner = VM_PAGE_FREE };
}

static inline void
page_give_locked(enum vm_zone z, pfn_t pfn)
{
	vp->vp_stats.ps_free[z]++;
	vp->vp_stats.ps_given[z]++;
	page_blank_locked(pfn);
}

/* What is at hand for a zone goes back to the bitmap. */
static void
hand_settle_locked(struct vm_phys_next *vn)
{
	if (vn->vn_hand == 0)
		return;
	bitmap_put_word(&vp->vp_free, vn->vn_first, vn->vn_hand);
	vn->vn_hint = vn->vn_first + bit_lowest32(vn->vn_hand);
	vn->vn_hand = 0;
}

static void
settle_locked(void)
{
	for (unsigned z = 0; z < VM_NZONES; z++)
		hand_settle_locked(&vp->vp_next[z]);
}

/*
 * Frames of one word are free: into the hand with them, or their bits are set.
 * What is at hand has to stay below all that is in the bitmap.
 */
static void
word_put_locked(enum vm_zone z, pfn_t first, uint32_t bits)
{
	struct vm_phys_next *vn = &vp->vp_next[z];
	pfn_t low = first + bit_lowest32(bits);
	bool below = first + bit_highest32(bits) < vn->vn_hint;

	if (first < vn->vn_first || (first == vn->vn_first && !below))
		hand_settle_locked(vn);
	if (below && (vn->vn_hand == 0 || first == vn->vn_first)) {
		vn->vn_first = first;
		vn->vn_hand |= bits;
		return;
	}
	bitmap_put_word(&vp->vp_free, first, bits);
	if (low < vn->vn_hint)
		vn->vn_hint = low;
}

/* One frame is free: mostly it belongs to what is at hand. */
static inline void
frame_put_locked(enum vm_zone z, pfn_t pfn)
{
	struct vm_phys_next *vn = &vp->vp_next[z];
	pfn_t first = rounddown2(pfn, 32u);

	if (pfn < vn->vn_hint && (vn->vn_hand == 0 || first == vn->vn_first)) {
		vn->vn_first = first;
		vn->vn_hand |= 1u << (pfn % 32);
	} else
		word_put_locked(z, first, 1u << (pfn % 32));
}

/* Of a zone that has free frames none is at hand: fetch some. */
static void __attribute__((__noinline__))
hand_fill_locked(struct vm_phys_next *vn)
{
	pfn_t pfn = bitmap_next_set(&vp->vp_free, vn->vn_hint);

	vn->vn_first = rounddown2(pfn, 32u);
	vn->vn_hand = bitmap_take_word(&vp->vp_free, pfn);
	vn->vn_hint = vn->vn_first + 32;
}

/* The next frame of a zone that has a free one. */
static inline pfn_t
frame_next_locked(enum vm_zone z)
{
	struct vm_phys_next *vn = &vp->vp_next[z];

	if (vn->vn_hand == 0)
		hand_fill_locked(vn);
	return vn->vn_first + bit_lowest32(vn->vn_hand);
}

/* It goes out. */
static inline void
frame_take_locked(enum vm_zone z, pfn_t pfn, enum vm_page_owner owner)
{
	vp->vp_next[z].vn_hand &= vp->vp_next[z].vn_hand - 1;
	vp->vp_stats.ps_free[z]--;
	vp->vp_stats.ps_owner[owner]++;
	page_out_locked(pfn, owner);
}

/*
 * Take the next frames of a zone that has a free one: as far as one hand
 * goes, at most n.
 * => how many
 */
static unsigned
hand_take_locked(enum vm_zone z, unsigned n, enum vm_page_owner owner,
    paddr_t *pa)
{
	struct vm_phys_next *vn = &vp->vp_next[z];
	pfn_t pfn = frame_next_locked(z);
	uint32_t bits = vn->vn_hand;
	unsigned i = 0;

	for (;;) {
		page_out_locked(pfn, owner);
		pa[i++] = ptoa(pfn);
		bits &= bits - 1;
		if (i == n || bits == 0)
			break;
		pfn = vn->vn_first + bit_lowest32(bits);
	}
	vn->vn_hand = bits;
	vp->vp_stats.ps_free[z] -= i;
	vp->vp_stats.ps_owner[owner] += i;
	return i;
}

/* A reserved frame is a free one from now on. */
static void
page_add_locked(pfn_t pfn)
{
	enum vm_zone z = zone_of(pfn);

	vp->vp_stats.ps_total[z]++;
	vp->vp_stats.ps_free[z]++;
	vp->vp_stats.ps_owner[VM_PAGE_RESERVED]--;
	vm_frames.vf_page[pfn].pg_owner = VM_PAGE_FREE;
	if (pfn < vp->vp_next[z].vn_hint)
		vp->vp_next[z].vn_hint = pfn;
}

void
vm_phys_add(pfn_t start, pfn_t end)
{
	pfn_t hi, pfn;
	unsigned owner;

	if (start > end)
		vm_host_panic("vm_phys_add: start pfn 0x%x, end pfn 0x%x",
		    start, end);
	vm_mtx_enter(&vp->vp_mtx);
	settle_locked();
	hi = end < vm_frames.vf_npfn ? end : vm_frames.vf_npfn;
	for (pfn = start; pfn < hi; pfn++)
		if (owner_locked(pfn) != VM_PAGE_RESERVED)
			break;
	if (pfn < hi) {
		owner = owner_locked(pfn);
		vm_mtx_exit(&vp->vp_mtx);
		vm_host_panic("vm_phys_add: start pfn 0x%x, end pfn 0x%x: "
		    "pfn 0x%x was added before (%s)", start, end, pfn,
		    owner_names[owner]);
	}
	for (pfn = start; pfn < hi; pfn++)
		page_add_locked(pfn);
	bitmap_set_range(&vp->vp_free, start, hi);
	phys_exit();
}

/* An allocation that finds nothing.  => drops the lock */
static int
alloc_fails(int error)
{
	vp->vp_stats.ps_fails++;
	vm_mtx_exit(&vp->vp_mtx);
	return error;
}

int
vm_phys_alloc_many(unsigned n, enum vm_page_owner owner, paddr_t *pa)
{
	unsigned i, z = VM_ZONE_HIGH;

	KASSERT(owner_allocated(owner));
	vm_mtx_enter(&vp->vp_mtx);
	if (n > nfree_locked(vp))
		return alloc_fails(ENOMEM);
	for (i = 0; i < n;) {
		while (vp->vp_stats.ps_free[z] == 0)
			z--;
		i += hand_take_locked(z, n - i, owner, pa + i);
	}
	vp->vp_stats.ps_allocs++;
	phys_exit();
	return 0;
}

int
vm_phys_alloc(enum vm_page_owner owner, paddr_t *pa)
{
	unsigned z = VM_NZONES;
	pfn_t pfn;

	KASSERT(owner_allocated(owner));
	vm_mtx_enter(&vp->vp_mtx);
	do
		if (z-- == 0)
			return alloc_fails(ENOMEM);
	while (vp->vp_stats.ps_free[z] == 0);
	pfn = frame_next_locked(z);
	frame_take_locked(z, pfn, owner);
	vp->vp_stats.ps_allocs++;
	phys_exit();
	*pa = ptoa(pfn);
	return 0;
}

int
vm_phys_alloc_at(paddr_t pa, enum vm_page_owner owner)
{
	pfn_t pfn = (pfn_t)(pa >> PAGE_SHIFT);

	KASSERT(owner_allocated(owner));
	if (!page_aligned(pa) || pa >> PAGE_SHIFT >= vm_frames.vf_npfn)
		return EINVAL;
	vm_mtx_enter(&vp->vp_mtx);
	if (owner_locked(pfn) != VM_PAGE_FREE)
		return alloc_fails(EBUSY);
	settle_locked();
	bitmap_clear(&vp->vp_free, pfn);
	page_take_locked(pfn, owner);
	vp->vp_stats.ps_allocs++;
	phys_exit();
	return 0;
}

/*
 * The lowest run inside [lo, hi) that does not cross a multiple of boundary.
 * Where the lowest run of all crosses one, so does each that begins between
 * there and the multiple: the search goes on at the multiple.
 * => hi: there is none
 */
static pfn_t
find_run_locked(pfn_t n, pfn_t align, pfn_t boundary, pfn_t lo, pfn_t hi)
{
	pfn_t pfn, last;

	for (;;) {
		pfn = bitmap_find_run(&vp->vp_free, n, align, lo, hi);
		last = pfn + n - 1;
		if (pfn == hi || boundary == 0 ||
		    rounddown2(pfn, boundary) == rounddown2(last, boundary))
			return pfn;
		lo = rounddown2(last, boundary);
	}
}

/* Where to look for a bit at or above lo: none is set before. */
static pfn_t
skip_locked(pfn_t lo)
{
	unsigned z;

	for (z = 0; z < VM_NZONES; z++)
		if (lo >= zones[z].z_start && lo < vp->vp_next[z].vn_hint)
			lo = vp->vp_next[z].vn_hint;
	return lo;
}

/* How many of n frames from pfn on are in zone z or above. */
static pfn_t
zone_part(unsigned z, pfn_t pfn, pfn_t n)
{
	pfn_t start = zones[z].z_start;

	if (pfn >= start)
		return n;
	return pfn + n > start ? pfn + n - start : 0;
}

/* As n page_take_locked, and the bitmap; the first frame knows n. */
static void
take_run_locked(pfn_t pfn, pfn_t n, enum vm_page_owner owner)
{
	pfn_t left, part;
	unsigned z = VM_NZONES;

	bitmap_clear_range(&vp->vp_free, pfn, pfn + n);
	for (left = n; left > 0; left -= part) {
		part = zone_part(--z, pfn, left);
		vp->vp_stats.ps_free[z] -= part;
	}
	vp->vp_stats.ps_owner[owner] += n;
	if (plain_state[owner] != STATE_PAGE)
		state_fill_locked(pfn, n, plain_state[owner]);
	else
		for (left = 0; left < n; left++)
			page_write_locked(pfn + left, owner);
	page_locked(pfn)->pg_npages = n;
}

/*
 * A run of one: the lowest free frame in [lo, hi).
 * => ENOMEM: there is none
 */
static int
take_one_locked(pfn_t lo, pfn_t hi, enum vm_page_owner owner, paddr_t *pa)
{
	unsigned z = 0;
	pfn_t pfn;

	while (vp->vp_stats.ps_free[z] == 0 || lo >= zones[z].z_end)
		if (++z == VM_NZONES)
			return ENOMEM;
	pfn = frame_next_locked(z);
	if (pfn >= hi)
		return ENOMEM;
	if (pfn >= lo)
		frame_take_locked(z, pfn, owner);
	else {
		settle_locked();
		pfn = bitmap_next_set(&vp->vp_free, lo);
		if (pfn >= hi || pfn >= vm_frames.vf_npfn)
			return ENOMEM;
		bitmap_clear(&vp->vp_free, pfn);
		page_take_locked(pfn, owner);
	}
	*pa = ptoa(pfn);
	return 0;
}

/* A run of one, the short way: where it begins is its only alignment. */
static int
alloc_run_one(pfn_t lo, pfn_t hi, enum vm_page_owner owner, paddr_t *pa)
{
	vm_mtx_enter(&vp->vp_mtx);
	if (take_one_locked(lo, hi, owner, pa) != 0)
		return alloc_fails(ENOMEM);
	vp->vp_stats.ps_allocs++;
	phys_exit();
	return 0;
}

/* A function of its own, so that the short way does not save its registers. */
static int __attribute__((__noinline__))
alloc_run_long(pfn_t n, pfn_t align, pfn_t boundary, pfn_t lo, pfn_t hi,
    enum vm_page_owner owner, paddr_t *pa)
{
	pfn_t pfn;

	vm_mtx_enter(&vp->vp_mtx);
	settle_locked();
	pfn = find_run_locked(n, align, boundary, skip_locked(lo), hi);
	if (pfn == hi)
		return alloc_fails(ENOMEM);
	take_run_locked(pfn, n, owner);
	vp->vp_stats.ps_allocs++;
	phys_exit();
	*pa = ptoa(pfn);
	return 0;
}

int
vm_phys_alloc_run(pfn_t n, pfn_t align, pfn_t boundary, pfn_t lo, pfn_t hi,
    enum vm_page_owner owner, paddr_t *pa)
{
	KASSERT(owner_allocated(owner));
	if (n == 1 && align == 1 && boundary == 0)
		return alloc_run_one(lo, hi, owner, pa);
	if (n == 0 || !powerof2(align))
		return EINVAL;
	if (boundary != 0 && (!powerof2(boundary) || n > boundary))
		return EINVAL;
	return alloc_run_long(n, align, boundary, lo, hi, owner, pa);
}

/* Why this frame is not an allocated one, or NULL. */
static const char *
page_fault_locked(pfn_t pfn)
{
	const struct vm_page *pg;

	if (pfn >= vm_frames.vf_npfn)
		return "absent";
	if (state_of(pfn) != STATE_PAGE)
		return NULL;
	pg = &vm_frames.vf_page[pfn];
	if (pg->pg_owner == VM_PAGE_FREE)
		return "free already";
	if (pg->pg_owner == VM_PAGE_RESERVED)
		return "reserved";
	return pg->pg_refs == 0 ? "without a reference" : NULL;
}

/* Plain, and so nothing is to be said against freeing it. */
static bool
is_plain_locked(pfn_t pfn)
{
	return pfn < vm_frames.vf_npfn && state_of(pfn) != STATE_PAGE;
}

/* Why a frame that is not plain cannot be freed, or NULL. */
static const char *
free_fault_locked(pfn_t pfn)
{
	const char *why = page_fault_locked(pfn);

	if (why == NULL && vm_frames.vf_page[pfn].pg_refs > 1)
		why = "still referenced";
	return why;
}

/* => without the lock, so that the debugger can look */
static __dead2 void
page_panic(const char *func, paddr_t pa, pfn_t n, pfn_t bad, const char *why)
{
	const struct vm_page *pg = vm_phys_page(ptoa(bad));
	bool named = pg != NULL && pg->pg_owner == VM_PAGE_KMEM &&
	    (pg->pg_flags & VM_PAGE_NAMELESS) == 0 &&
	    pg->pg_name != NULL;

	vm_host_panic("%s: pa 0x%lx, %u frames: pfn 0x%x is %s "
	    "(owner %s, %u references, name %s)", func, pa, n, bad, why,
	    pg == NULL ? "-" : owner_names[pg->pg_owner],
	    pg == NULL ? 0 : pg->pg_refs, named ? pg->pg_name : "-");
}

/* [pa, pa + n frames) is a range below 4 GiB, or else we panic. */
static void
check_range(const char *func, paddr_t pa, pfn_t n)
{
	if (!page_aligned(pa) || n == 0 || pa >> PAGE_SHIFT >= PFN_MAX ||
	    n > PFN_MAX - (pfn_t)(pa >> PAGE_SHIFT))
		vm_host_panic("%s: pa 0x%lx, %u frames: no such range", func,
		    pa, n);
}

/* As n page_give_locked, and the bitmap. */
static void
give_run_locked(pfn_t pfn, pfn_t n)
{
	unsigned z = VM_NZONES;
	pfn_t i, left, part;

	for (i = pfn; i < pfn + n; i++)
		page_blank_locked(i);
	settle_locked();
	for (left = n; left > 0; left -= part) {
		part = zone_part(--z, pfn, left);
		vp->vp_stats.ps_free[z] += part;
		vp->vp_stats.ps_given[z] += part;
		i = pfn + left - part;
		if (part != 0 && i < vp->vp_next[z].vn_hint)
			vp->vp_next[z].vn_hint = i;
	}
	bitmap_set_range(&vp->vp_free, pfn, pfn + n);
}

/* A frame that can be freed is. */
static inline void
give_one_locked(pfn_t pfn)
{
	enum vm_zone z = zone_of(pfn);

	page_give_locked(z, pfn);
	frame_put_locked(z, pfn);
	vp->vp_stats.ps_frees++;
}

/* One frame, for the function of that name. */
static void
free_one(const char *func, paddr_t pa)
{
	pfn_t pfn = (pfn_t)(pa >> PAGE_SHIFT);
	const char *why = NULL;

	check_range(func, pa, 1);
	vm_mtx_enter(&vp->vp_mtx);
	if (!is_plain_locked(pfn))
		why = free_fault_locked(pfn);
	if (why != NULL) {
		vm_mtx_exit(&vp->vp_mtx);
		page_panic(func, pa, 1, pfn, why);
	}
	give_one_locked(pfn);
	phys_exit();
}

void
vm_phys_free(paddr_t pa)
{
	free_one(__func__, pa);
}

/* As alloc_run_long. */
static void __attribute__((__noinline__))
free_run_long(const char *func, paddr_t pa, pfn_t n)
{
	pfn_t start = (pfn_t)(pa >> PAGE_SHIFT), pfn;
	const char *why = NULL;

	check_range(func, pa, n);
	vm_mtx_enter(&vp->vp_mtx);
	for (pfn = start; pfn < start + n && why == NULL; pfn++)
		if (!is_plain_locked(pfn))
			why = free_fault_locked(pfn);
	if (why != NULL) {
		vm_mtx_exit(&vp->vp_mtx);
		page_panic(func, pa, n, pfn - 1, why);
	}
	give_run_locked(start, n);
	vp->vp_stats.ps_frees++;
	phys_exit();
}

void
vm_phys_free_run(paddr_t pa, pfn_t n)
{
	if (n == 1)
		free_one(__func__, pa);
	else
		free_run_long(__func__, pa, n);
}

/* The free ones of the word that begins with a frame. */
static uint32_t
word_locked(pfn_t first)
{
	const struct vm_phys_next *vn = &vp->vp_next[zone_of(first)];
	uint32_t bits = bitmap_word(&vp->vp_free, first);

	return first == vn->vn_first ? bits | vn->vn_hand : bits;
}

/*
 * Set the bits of the first of pa[0 .. n), n > 0: as many as lie in one word,
 * and can be freed.
 * => how many; with *why one of them cannot, and is the next
 */
static unsigned
put_word_locked(const paddr_t *pa, unsigned n, const char **why)
{
	pfn_t first = rounddown2((pfn_t)(pa[0] >> PAGE_SHIFT), 32u), pfn;
	uint32_t bits = 0, bit, have;
	unsigned i;

	*why = NULL;
	have = first < vm_frames.vf_npfn ? word_locked(first) : 0;
	for (i = 0; i < n; i++) {
		pfn = (pfn_t)(pa[i] >> PAGE_SHIFT);
		if (pfn - first >= 32)
			break;
		bit = 1u << (pfn % 32);
		if (!is_plain_locked(pfn))
			*why = free_fault_locked(pfn);
		if (*why == NULL && ((have | bits) & bit) != 0)
			*why = "named twice";
		if (*why != NULL)
			break;
		bits |= bit;
	}
	if (bits != 0)
		word_put_locked(zone_of(first), first, bits);
	return i;
}

/*
 * Set the bits of all of pa[0 .. n), if all can be freed: by its bit one that
 * comes again is found.
 * => n, or the first that cannot, with *why; then none is set
 */
static unsigned
put_many_locked(const paddr_t *pa, unsigned n, const char **why)
{
	unsigned done = 0, i;

	*why = NULL;
	while (done < n && *why == NULL)
		done += put_word_locked(pa + done, n - done, why);
	if (*why == NULL)
		return n;
	settle_locked();
	for (i = 0; i < done; i++)
		bitmap_clear(&vp->vp_free, (pfn_t)(pa[i] >> PAGE_SHIFT));
	return done;
}

void
vm_phys_free_many(const paddr_t *pa, unsigned n)
{
	const char *why;
	unsigned i;
	pfn_t pfn;

	if (n == 1) {
		free_one(__func__, pa[0]);
		return;
	}
	for (i = 0; i < n; i++)
		check_range(__func__, pa[i], 1);
	vm_mtx_enter(&vp->vp_mtx);
	i = put_many_locked(pa, n, &why);
	if (i < n) {
		vm_mtx_exit(&vp->vp_mtx);
		page_panic(__func__, pa[i], n, (pfn_t)(pa[i] >> PAGE_SHIFT),
		    why);
	}
	for (i = 0; i < n; i++) {
		pfn = (pfn_t)(pa[i] >> PAGE_SHIFT);
		page_give_locked(zone_of(pfn), pfn);
	}
	vp->vp_stats.ps_frees++;
	phys_exit();
}

void
vm_phys_ref(paddr_t pa)
{
	pfn_t pfn = (pfn_t)(pa >> PAGE_SHIFT);
	const char *why;

	check_range(__func__, pa, 1);
	vm_mtx_enter(&vp->vp_mtx);
	why = page_fault_locked(pfn);
	if (why == NULL && page_locked(pfn)->pg_refs == VM_PAGE_MAXREFS)
		why = "referenced too often";
	if (why == NULL)
		vm_frames.vf_page[pfn].pg_refs++;
	vm_mtx_exit(&vp->vp_mtx);
	if (why != NULL)
		page_panic(__func__, pa, 1, pfn, why);
}

bool
vm_phys_unref(paddr_t pa)
{
	pfn_t pfn = (pfn_t)(pa >> PAGE_SHIFT);
	const char *why;
	bool last;

	check_range(__func__, pa, 1);
	vm_mtx_enter(&vp->vp_mtx);
	why = page_fault_locked(pfn);
	if (why != NULL) {
		vm_mtx_exit(&vp->vp_mtx);
		page_panic(__func__, pa, 1, pfn, why);
	}
	last = --page_locked(pfn)->pg_refs == 0;
	if (last)
		give_one_locked(pfn);
	phys_exit();
	return last;
}

/* vm_phys_page, for a plain frame. */
void
vm_phys_page_fill(pfn_t pfn)
{
	vm_mtx_enter(&vp->vp_mtx);
	page_locked(pfn);
	vm_mtx_exit(&vp->vp_mtx);
}

paddr_t
vm_phys_page_pa(const struct vm_page *pg)
{
	const struct vm_page *first = vm_frames.vf_page;

	KASSERT(pg >= first && pg < first + vm_frames.vf_npfn);
	return ptoa(pg - first);
}

pfn_t
vm_phys_nfree(void)
{
	pfn_t n;

	vm_mtx_enter(&vp->vp_mtx);
	n = nfree_locked(vp);
	vm_mtx_exit(&vp->vp_mtx);
	return n;
}
