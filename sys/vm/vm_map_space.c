/*
 * Holes: finding space in a vm_map, and keeping the tree able to find it
 *
 * 1. What a hole is
 *
 * A map's entries are its regions in use, in one red-black tree by address.
 * Each entry also stands for the hole behind it, [vme_end, vme_end +
 * vme_gap), which may be empty; the map's sentinel, an entry of no length
 * at vm_min, stands for the first one.  So there are as many holes as nodes,
 * in the same order, and no second structure to keep in step:
 *
 *	   sentinel  A        B     C
 *	  |.........|AAAA|...|BBB||CCCCC|..............|
 *	  vm_min    hole  A's hole ^ B's is empty       vm_max
 *	  of the sentinel
 *
 * 2. What a node knows
 *
 * Of its hole and of those below it each node keeps a summary:
 *
 *	vme_class	the size class of its own hole, if it has one;
 *	vme_mask[2]	the classes of all holes in its left and in its right
 *			subtree, as masks: bit k is set when one is of class k;
 *	vme_max_gap	the largest hole of its own subtree, itself included,
 *			or 0 if that is of an exact class.
 *
 * Classes are exact for 1…32 pages and half octaves above (vm_map_impl.h), so
 * of small holes the mask knows the size, and max_gap is about large ones.
 * The masks are the children's because a search then decides from the node
 * that it is at, and an update needs no sibling: one node read per level.
 * vme_class could be had from vme_gap, but is wanted at each of these nodes.
 *
 * Why a mask?  Best fit asks for the *smallest* hole that is large enough.
 * max_gap cannot guide that search: it says that something fits below, and
 * then every subtree must be looked into for a better one, O(n) nodes.  The
 * mask answers at the root which class is the smallest that will do; one
 * descent then reaches the lowest hole of that class, always knowing that it
 * is below.
 *
 * Besides the tree, entries hang in a list by address (vme_prev, vme_next).
 * Each link and unlink asks for neighbours, and in a map that no cache holds
 * every step along the tree to one is a wait for memory: of 100,000 regions
 * the list takes 10 % of the time away, of 1,000 none.
 *
 * 3. A search: 2 pages, in a tree whose holes are (in pages) 4 2 7 2 1 3
 *
 *	             C:7 {2,4|1,2,3}		smallest class >= 2: class 2;
 *	           /     \			the left has 2: go left
 *	  A:4 {|2}        E:1 {2|3}
 *	      \           /   \		A: no 2 on the left, 4 is not 2:
 *	       B:2      D:2    F:3		go right; B: taken
 *
 * 4. Policy: the five promises
 *
 *  P1	It never fails while some hole fits.
 *  P2	If the best hole is of at most 32 pages, exactly that one is taken,
 *	the lowest on ties: classes are exact there.
 *  P3	Otherwise a request of at most 32 pages takes the lowest hole of the
 *	smallest non-empty class.  A larger one looks at the first LARGE_TRIES
 *	holes of its own class and takes the tightest that fits; if none does,
 *	the same in the next non-empty class, all of whose holes fit; and if
 *	there is none, the lowest hole that fits, which max_gap finds.  So it
 *	is exact best fit where a class has few holes.
 *  P4	An alignment asks for a hole of size + alignment - 1 pages to be sure.
 *	Before that, the lowest hole of each of the first few smaller classes
 *	is tried (TIGHT_TRIES).  The last resort looks at every hole that
 *	is large enough, in order: Θ(n) when an adversary arranges it, and
 *	counted (vms_last_resort, vms_last_visits).
 *  P5	First fit and top-down are exact.
 *
 * All hold in a window [min, max) too, where a hole counts with the part of
 * it that lies inside.  The holes wholly inside are O(log n) subtrees and
 * single nodes, whose masks are joined; at most two more are cut by an edge,
 * and are looked at by hand:
 *
 *	       min                                max
 *	  ..|A|.|......|B|...|CC|..|D|...|EE|......|.....|F|
 *	        cut_lo   '---- wholly inside --'    cut_hi
 *	       (behind A)                          (behind E)
 *
 * The cost: one node is read per level, so with a height of at most
 * 2 log2(n + 1) at most 2 log2(n + 1) nodes without a window; with one, three
 * such walks (mask, edge, descent).  A request of more than 32 pages adds one
 * for each hole that it looks at (P3), an aligned one TIGHT_TRIES (P4).
 *
 * An address tree whose nodes know the largest hole below is NetBSD's (uvm_map)
 * and Linux's (vmalloc); the mask in the place of a second tree by size, and
 * with it best fit within a window, we have not seen elsewhere (survey.md).
 *
 * 5. Keeping summaries
 *
 * A change is told upwards as the set of classes that came to or went from a
 * subtree.  At each node that set loses what the node has on its other side
 * or by itself, and when it is empty nobody above need know (tell_mask).
 * max_gap is told only when a large hole is involved (tell_max).
 *
 * A new entry N splits the hole behind its predecessor P, and P is always an
 * ancestor of N (N is hung to the right of P, or below P's right child).
 * Taking N out gives its room to P's hole: if N has no left child, P is an
 * ancestor again, and N's place is left by N's hole; else P is below N, and
 * rb_unlink puts it into N's place, so it is P's place that is left.  Either
 * way two holes change, one above the other (set_gaps), and they do so while
 * the tree still has its old shape: what is then taken out has no hole.
 *
 * 6. Locking
 *
 * None here: the caller holds the map's lock (for reading is enough for
 * space_above, space_before, space_mask and space_fits).
 */

#include <vm/vm_map_impl.h>

/*
 * P4: how many classes below the one that surely fits are tried.  Where 1 to 16
 * pages are asked for at alignments of 1 to 16, three or four leave the fewest
 * holes: 1,880, against 2,405 with none and 2,050 with all; four leave the
 * larger largest one (test/bench/tight.sh).
 */
#ifndef TIGHT_TRIES
#define TIGHT_TRIES	4
#endif

/*
 * P3: how many holes of a class are looked at.  The alternatives were the
 * class alone (round the request up to a class boundary, take the lowest hole
 * of the smallest non-empty class from there) and an index of the large holes
 * by size, which is exact, but no use in a window, and kmem_alloc always names
 * one; and it would take an entry past 64 bytes.  Measured with regions of 1
 * to 100 pages, 95 % of the map taken, over 400,000 operations, with the
 * classes of 32 bits (make bench-map; LARGE_TRIES by OPTIONS=-D…):
 *
 *				requests that	holes	span in a roomy map
 *				found no space		(pages)
 *	class alone		12,286		1,228	261,690
 *	LARGE_TRIES = 4		 4,430		1,171	226,974
 *	LARGE_TRIES = 8		 1,121		1,097	217,098
 *	LARGE_TRIES = 16	   286		  984	217,515
 *	LARGE_TRIES = 32	   272		  955	217,360
 *	by size (drm_mm)	   226		  951	217,725
 *	first fit		 4,530		1,614	222,104
 */
#ifndef LARGE_TRIES
#define LARGE_TRIES	16
#endif

/* Up to here the class of a hole is its size. */
#define LARGE	ptoa(CLASS_EXACT)

#ifdef VM_SPACE_COUNT
unsigned long space_visits;
#endif

/* Searches run from the low end of the map up, or from the high end down. */
enum side { LOW = 0, HIGH = 1 };	/* also the index of children, masks */

static inline struct vm_map_entry *
kid(const struct vm_map_entry *e, enum side side)
{
	return vme_of(e->vme_rb.rb_kid[side]);
}

/* Ask memory for an entry, or for nobody, in one cache line or in two. */
static inline void
fetch(uintptr_t e)
{
	__builtin_prefetch((void *)e);
	__builtin_prefetch((void *)(e + sizeof(struct vm_map_entry) - 1));
}

/*
 * e's child on that side, or with other = 1 on the other.  Which way a descent
 * turns is what no CPU can predict, and each wrong guess costs it as much as
 * two whole steps.  So both children are read while the turn is computed, and
 * it picks one by arithmetic; the asm keeps the compiler from making a branch
 * of that again.
 *
 * Both are asked for ahead, since what one does not go to is an uncle or a
 * sibling of what is linked or unlinked next, and balancing looks at those: of
 * 100,000 regions that is worth a fifth of the time.
 */
static inline struct vm_map_entry *
turn_of(const struct vm_map_entry *e, enum side side, bool other)
{
	uintptr_t near = (uintptr_t)kid(e, side);
	uintptr_t far = (uintptr_t)kid(e, !side);
	uintptr_t pick = -(uintptr_t)other;

	fetch(near);
	fetch(far);
	__asm__("" : "+r" (pick));
	return (struct vm_map_entry *)(near ^ ((near ^ far) & pick));
}

/* ------------------------------ summaries ------------------------------ */

/*
 * The class of a hole as it is kept in a byte: from 1 on, so that it is the
 * number of pages of a small one, and 0 for none.
 */
static inline uint8_t
gap_class(vsize_t gap)
{
	return (uint8_t)(space_class(atop(gap)) + 1);
}

/* That as a mask: by table, since a shift of 64 bits is long on i386. */
#define BIT(k)		((uint64_t)1 << (k))
#define BITS(k)		BIT(k), BIT(k + 1), BIT(k + 2), BIT(k + 3), \
			BIT(k + 4), BIT(k + 5), BIT(k + 6), BIT(k + 7)
static const uint64_t class_bit[1 + CLASS_NONE] = {
	0, BITS(0), BITS(8), BITS(16), BITS(24), BITS(32), BITS(40), BITS(48),
	BITS(56),
};

static inline uint64_t
gap_bit(vsize_t gap)
{
	return class_bit[gap_class(gap)];
}

static inline uint64_t
own_bit(const struct vm_map_entry *e)
{
	return class_bit[e->vme_class];
}

static inline uint64_t
mask_of(const struct vm_map_entry *e)
{
	return own_bit(e) | e->vme_mask[0] | e->vme_mask[1];
}

uint64_t
space_mask(const struct vm_map_entry *e)
{
	return mask_of(e);
}

/*
 * The classes `news` have come to or gone from e's subtree: tell the nodes
 * above it and below `stop` (NULL: to the root).  A class that a node has on
 * its other side or by itself is no news further up.
 */
static void
tell_mask(struct vm_map_entry *e, uint64_t news,
    const struct vm_map_entry *stop)
{
	struct vm_map_entry *up;
	bool right;

	while (news != 0 && (up = vme_parent(e)) != stop) {
		right = vme_right(up) == e;
		up->vme_mask[right] ^= news;
		news &= ~(up->vme_mask[!right] | own_bit(up));
		e = up;
	}
}

static inline vsize_t
max_of(vsize_t a, vsize_t b)
{
	return a > b ? a : b;
}

/* The largest hole on a side of e; one without large holes is not read. */
static inline vsize_t
max_below(const struct vm_map_entry *e, bool right)
{
	return e->vme_mask[right] >> CLASS_EXACT == 0 ? 0 :
	    vme_of(e->vme_rb.rb_kid[right])->vme_max_gap;
}

/* The largest hole of e's subtree, where that of its other side is max. */
static inline vsize_t
max_with(const struct vm_map_entry *e, bool right, vsize_t max)
{
	max = max_of(max, max_below(e, right));
	return e->vme_gap > LARGE ? max_of(max, e->vme_gap) : max;
}

/* A large hole has come or gone at e, and at last on the way to the root. */
static void
tell_max(struct vm_map_entry *e, const struct vm_map_entry *last)
{
	vsize_t max = max_with(e, false, max_below(e, true));
	struct vm_map_entry *up;
	bool passed = e == last;

	while (e->vme_max_gap != max || !passed) {
		e->vme_max_gap = max;
		up = vme_parent(e);
		if (up == NULL)
			break;
		max = max_with(up, vme_left(up) == e, max);
		passed |= up == last;
		e = up;
	}
}

/*
 * A rotation: the subtree between the two nodes changed hands, and old is
 * top's child where that hung.
 */
static void
space_rotate(struct rb_node *old_rb, struct rb_node *top_rb)
{
	struct vm_map_entry *old = vme_of(old_rb), *top = vme_of(top_rb);
	bool right = vme_right(top) == old;

	old->vme_mask[!right] = top->vme_mask[right];
	top->vme_mask[right] = mask_of(old);
	top->vme_max_gap = old->vme_max_gap;
	if (old->vme_max_gap != 0)
		old->vme_max_gap = max_with(old, right,
		    max_below(old, !right));
}

/*
 * The hole behind e changes, and its parent is to hear of it: return the
 * classes that have come to or gone from its subtree.
 */
static inline uint64_t
set_own(struct vm_map_entry *e, vsize_t gap)
{
	uint64_t was = own_bit(e);

	e->vme_gap = gap;
	e->vme_class = gap_class(gap);
	return (was ^ own_bit(e)) & ~(e->vme_mask[0] | e->vme_mask[1]);
}

/*
 * Change the holes of two nodes, of which high is low itself or above it, and
 * tell everybody above.
 */
static void
set_gaps(struct vm_map_entry *low, vsize_t low_gap, struct vm_map_entry *high,
    vsize_t high_gap)
{
	uint64_t was = mask_of(high);
	bool large = (low->vme_gap | low_gap | high->vme_gap | high_gap) >
	    LARGE;

	tell_mask(low, set_own(low, low_gap), vme_parent(high));
	set_own(high, high_gap);
	tell_mask(high, was ^ mask_of(high), NULL);
	if (large)
		tell_max(low, high);
}

void
space_resize(struct vm_map_entry *e, vsize_t gap)
{
	set_gaps(e, gap, e, gap);
}

/* ---------------------------- link and unlink -------------------------- */

void
space_init(struct vm_map *map)
{
	struct vm_map_entry *s = &map->vm_sentinel;

	*s = (struct vm_map_entry){
		.vme_end = map->vm_min,
		.vme_flags = VME_SENTINEL,
	};
	map->vm_tree.rb_root = NULL;
	map->vm_tree.rb_rotate = space_rotate;
	rb_link(&s->vme_rb, NULL, &map->vm_tree.rb_root);
	rb_link_fixup(&map->vm_tree, &s->vme_rb);
	space_resize(s, map->vm_max - map->vm_min);
}

void
space_link(struct vm_map *map, struct vm_map_entry *e, vaddr_t start,
    struct vm_map_entry *pred)
{
	struct vm_map_entry *next = pred->vme_next;
	vaddr_t hole_end = vme_hole_end(pred);

	e->vme_gap = e->vme_max_gap = 0;
	e->vme_class = 0;
	e->vme_mask[0] = e->vme_mask[1] = 0;
	e->vme_prev = pred;
	e->vme_next = next;
	pred->vme_next = e;
	if (next != NULL)
		next->vme_prev = e;
	/*
	 * The place behind pred is its right child's, or, if that is taken,
	 * the left child's of the next entry, which is then free.
	 */
	if (vme_right(pred) == NULL)
		rb_link(&e->vme_rb, &pred->vme_rb, &pred->vme_rb.rb_right);
	else
		rb_link(&e->vme_rb, &next->vme_rb, &next->vme_rb.rb_left);
	set_gaps(e, hole_end - e->vme_end, pred, start - pred->vme_end);
	rb_link_fixup(&map->vm_tree, &e->vme_rb);
}

void
space_unlink(struct vm_map *map, struct vm_map_entry *e)
{
	struct vm_map_entry *pred = e->vme_prev, *next = e->vme_next;
	vsize_t gap = vme_hole_end(e) - pred->vme_end;
	struct rb_mend mend;

	fetch((uintptr_t)vme_parent(e));
	fetch((uintptr_t)vme_left(e));
	fetch((uintptr_t)vme_right(e));
	pred->vme_next = next;
	if (next != NULL)
		next->vme_prev = pred;
	if (vme_left(e) == NULL)
		set_gaps(e, 0, pred, gap);
	else {
		/* pred is below, and will take e's place with all it knows. */
		set_gaps(pred, 0, e, gap);
		pred->vme_gap = gap;
		pred->vme_class = e->vme_class;
		pred->vme_mask[0] = e->vme_mask[0];
		pred->vme_mask[1] = e->vme_mask[1];
		pred->vme_max_gap = e->vme_max_gap;
	}
	rb_unlink(&map->vm_tree, &e->vme_rb, &pred->vme_rb, &mend);
	rb_unlink_fixup(&map->vm_tree, &mend);
}

/*
 * Descend to where an entry that begins at addr would be hung: the last node
 * passed on its left is the next entry above, the last passed on its right
 * the one before.
 */
static inline struct vm_map_entry *
passed(const struct vm_map *map, vaddr_t addr, enum side side)
{
	struct vm_map_entry *last[2] = { NULL, NULL }, *e;
	bool above;

	for (e = vme_of(map->vm_tree.rb_root); e != NULL;
	    e = turn_of(e, HIGH, above)) {
		above = addr < e->vme_end;
		last[above] = e;
	}
	return last[side == LOW];
}

struct vm_map_entry *
space_above(const struct vm_map *map, vaddr_t addr)
{
	return passed(map, addr, LOW);
}

struct vm_map_entry *
space_before(const struct vm_map *map, vaddr_t addr)
{
	return passed(map, addr, HIGH);
}

/* ------------------------------- searches ------------------------------ */

/*
 * What a descent looks for: a hole of one of the classes, and, where those
 * leave it open (w_large not 0), of w_large bytes or more.
 */
struct want {
	uint64_t	w_classes;
	vsize_t		w_large;
};

/* A class and all above it; none from CLASS_NONE on. */
static inline uint64_t
classes_from(unsigned cls)
{
	return cls < CLASS_NONE ? ~(uint64_t)0 << cls : 0;
}

/* The classes all of whose holes have so many pages. */
static inline uint64_t
classes_sure(vsize_t pages)
{
	return classes_from(space_class_up(pages));
}

static inline bool
has_own(const struct vm_map_entry *e, const struct want *w)
{
	return (own_bit(e) & w->w_classes) != 0 && e->vme_gap >= w->w_large;
}

static inline bool
has_below(const struct vm_map_entry *e, const struct want *w, enum side side)
{
	if ((e->vme_mask[side] & w->w_classes) == 0)
		return false;
	if (w->w_large == 0)
		return true;
	SPACE_VISIT(kid(e, side));
	return kid(e, side)->vme_max_gap >= w->w_large;
}

/* The hole nearest to that side in e's subtree, which is known to have one. */
static inline struct vm_map_entry *
descend(struct vm_map_entry *e, const struct want *w, enum side side)
{
	bool below;

	for (;;) {
		SPACE_VISIT(e);
		below = has_below(e, w, side);
		if (has_own(e, w) & !below)
			return e;
		e = turn_of(e, side, !below);
	}
}

/* Does the hole behind e lie wholly on the wrong side of the edge? */
static inline bool
beyond(const struct vm_map_entry *e, vaddr_t edge, enum side side)
{
	return side == LOW ? vme_hole_end(e) <= edge : e->vme_end >= edge;
}

/*
 * The nearest hole from an edge on in e's subtree: LOW finds the lowest one
 * that ends above it, HIGH the highest that begins below it; NULL if there is
 * none.  On the way down to the edge, which ends where no such class is below,
 * each turn towards it leaves a node and a subtree that are wholly on the
 * right side; what the last such turn offered is nearest.
 */
static struct vm_map_entry *
nearest(struct vm_map_entry *e, const struct want *w, vaddr_t edge,
    enum side side)
{
	enum side away = side == LOW ? HIGH : LOW, turn = side;
	struct vm_map_entry *node = NULL, *subtree = NULL;

	for (;; e = kid(e, turn)) {
		SPACE_VISIT(e);
		turn = beyond(e, edge, side) ? away : side;
		if (turn == side && has_own(e, w)) {
			node = e;
			subtree = NULL;
		} else if (turn == side && has_below(e, w, away))
			subtree = kid(e, away);
		if ((e->vme_mask[turn] & w->w_classes) == 0)
			break;
	}
	return subtree != NULL ? descend(subtree, w, side) : node;
}

/* The next hole after e's, going away from that side. */
static struct vm_map_entry *
further(struct vm_map_entry *e, const struct want *w, enum side side)
{
	enum side away = side == LOW ? HIGH : LOW;
	struct vm_map_entry *from;

	do {
		if (has_below(e, w, away))
			return descend(kid(e, away), w, side);
		do {
			from = e;
			e = vme_parent(e);
			SPACE_VISIT(e);
			if (e == NULL)
				return NULL;
		} while (from == kid(e, away));
	} while (!has_own(e, w));
	return e;
}

/* -------------------------------- windows ------------------------------ */

/* What a window holds; classes as masks. */
struct window {
	uint64_t	w_mask;		/* of the holes wholly inside */
	uint64_t	w_lo, w_hi;	/* of the parts inside of those that min
					   and max cut */
	struct vm_map_entry *w_cut_lo;	/* these two */
	struct vm_map_entry *w_cut_hi;
	struct vm_map_entry *w_top;	/* the others are in its subtree, */
	vaddr_t		w_edge;		/* and end above this */
};

/* The part of the hole behind e that lies in [min, max), in bytes. */
static vsize_t
part(const struct vm_map_entry *e, vaddr_t min, vaddr_t max)
{
	vaddr_t lo = e->vme_end > min ? e->vme_end : min;
	vaddr_t hi = vme_hole_end(e) < max ? vme_hole_end(e) : max;

	return hi > lo ? hi - lo : 0;
}

static uint64_t
part_bit(const struct vm_map_entry *e, vaddr_t min, vaddr_t max)
{
	return e != NULL ? gap_bit(part(e, min, max)) : 0;
}

/*
 * Walk down from e to one edge, and join the masks of what lies inside of it:
 * on the way to min, what hangs to the right is inside, on the way to max what
 * hangs to the left.
 * => *cut: the last hole that the edge cut off
 */
static inline uint64_t
scan_edge(struct vm_map_entry *e, vaddr_t edge, enum side side,
    struct vm_map_entry **cut)
{
	uint64_t mask = 0;

	while (e != NULL) {
		SPACE_VISIT(e);
		if (side == LOW ? e->vme_end < edge : vme_hole_end(e) > edge) {
			*cut = e;
			e = kid(e, !side);
		} else {
			mask |= own_bit(e) | e->vme_mask[!side];
			e = kid(e, side);
		}
	}
	return mask;
}

/*
 * The ways to both edges are one until a node whose hole is inside parts them.
 * The last hole that each edge cut off is the one that it may cut.
 */
static void
window_scan(struct vm_map *map, vaddr_t min, vaddr_t max, struct window *w)
{
	struct vm_map_entry *e = vme_of(map->vm_tree.rb_root);

	*w = (struct window){ .w_edge = min };
	while (e != NULL && w->w_top == NULL) {
		SPACE_VISIT(e);
		if (e->vme_end < min) {
			w->w_cut_lo = e;
			e = vme_right(e);
		} else if (vme_hole_end(e) > max) {
			w->w_cut_hi = e;
			e = vme_left(e);
		} else
			w->w_top = e;
	}
	if (e != NULL)
		w->w_mask = own_bit(e) |
		    scan_edge(vme_left(e), min, LOW, &w->w_cut_lo) |
		    scan_edge(vme_right(e), max, HIGH, &w->w_cut_hi);
	if (w->w_cut_lo != NULL && vme_hole_end(w->w_cut_lo) > min)
		w->w_edge = vme_hole_end(w->w_cut_lo);
	w->w_lo = part_bit(w->w_cut_lo, min, max);
	w->w_hi = part_bit(w->w_cut_hi, min, max);
}

/* The whole map needs no walk: its root has the joined mask. */
static void
window_open(struct vm_map *map, const struct space_request *rq,
    struct window *w)
{
	if (rq->sr_min > map->vm_min || rq->sr_max < map->vm_max) {
		window_scan(map, rq->sr_min, rq->sr_max, w);
		return;
	}
	*w = (struct window){
		.w_top = vme_of(map->vm_tree.rb_root),
		.w_mask = mask_of(vme_of(map->vm_tree.rb_root)),
		.w_edge = map->vm_min,
	};
	SPACE_VISIT(w->w_top);
}

/* The smallest of these classes that the window has a hole of, 0 if none. */
static inline uint64_t
window_class(const struct window *w, uint64_t classes)
{
	classes &= w->w_mask | w->w_lo | w->w_hi;
	return classes & -classes;
}

/*
 * The lowest hole of a class that the window has.  The hole cut by min is
 * lower than all others, the one cut by max higher.
 */
static struct vm_map_entry *
window_lowest(struct vm_map *map, const struct window *w, uint64_t cls)
{
	const struct want want = { .w_classes = cls };

	if ((w->w_lo & cls) != 0)
		return w->w_cut_lo;
	if ((w->w_mask & cls) == 0)
		return w->w_cut_hi;
	if (w->w_edge == map->vm_min)
		return descend(w->w_top, &want, LOW);
	return nearest(w->w_top, &want, w->w_edge, LOW);
}

/* The one of two holes whose part in the window holds the request tighter. */
static struct vm_map_entry *
tighter(struct vm_map_entry *a, struct vm_map_entry *b,
    const struct space_request *rq)
{
	vsize_t size = part(b, rq->sr_min, rq->sr_max);

	if (size < rq->sr_need ||
	    (a != NULL && size >= part(a, rq->sr_min, rq->sr_max)))
		return a;
	return b;
}

/* The tightest of the first LARGE_TRIES holes of a class, in the window. */
static struct vm_map_entry *
window_tightest(struct vm_map *map, const struct window *w, uint64_t cls,
    const struct space_request *rq)
{
	const struct want want = { .w_classes = cls };
	struct vm_map_entry *best = NULL, *e = NULL;
	int n = 0;

	if ((w->w_lo & cls) != 0) {
		best = tighter(best, w->w_cut_lo, rq);
		n++;
	}
	if ((w->w_mask & cls) != 0)
		e = nearest(w->w_top, &want, w->w_edge, LOW);
	while (e != NULL && vme_hole_end(e) <= rq->sr_max) {
		best = tighter(best, e, rq);
		if (++n == LARGE_TRIES)
			return best;
		e = further(e, &want, LOW);
	}
	if ((w->w_hi & cls) != 0)
		best = tighter(best, w->w_cut_hi, rq);
	return best;
}

/* -------------------------------- policies ----------------------------- */

bool
space_fits(const struct vm_map_entry *e, const struct space_request *rq,
    vaddr_t *start)
{
	vaddr_t lo = e->vme_end > rq->sr_min ? e->vme_end : rq->sr_min;
	vaddr_t hi = vme_hole_end(e) < rq->sr_max ? vme_hole_end(e) :
	    rq->sr_max;
	vaddr_t at, mask = rq->sr_align - 1;

	if (hi <= lo || hi - lo < rq->sr_need)
		return false;
	if (rq->sr_policy == VM_FIT_TOPDOWN) {
		at = ((hi - rq->sr_need + rq->sr_lead) & ~mask) - rq->sr_lead;
		if (at < lo || at > hi - rq->sr_need)
			return false;
	} else {
		at = ((lo + rq->sr_lead + mask) & ~mask) - rq->sr_lead;
		if (at < lo || at > hi - rq->sr_need)
			return false;
	}
	*start = at;
	return true;
}

/*
 * P5, and the last resort of P1, P3 and P4: every hole that is large enough,
 * from one side on.  Unaligned, all but the two that an edge cuts do fit, and
 * the first or second is taken.
 */
static struct vm_map_entry *
fit_in_order(struct vm_map *map, const struct space_request *rq,
    enum side side, vaddr_t *start)
{
	struct vm_map_entry *e;
	const struct want w = {
		.w_classes = classes_from(space_class(atop(rq->sr_need))),
		.w_large = rq->sr_need > LARGE ? rq->sr_need : 0,
	};

	e = nearest(vme_of(map->vm_tree.rb_root), &w,
	    side == LOW ? rq->sr_min : rq->sr_max, side);
	while (e != NULL && !space_fits(e, rq, start)) {
		if (beyond(e, side == LOW ? rq->sr_max : rq->sr_min,
		    side == LOW ? HIGH : LOW))
			return NULL;
		map->vm_stats.vms_last_visits += rq->sr_align > PAGE_SIZE;
		e = further(e, &w, side);
	}
	return e;
}

/* P4: classes too small to be sure of, and bounded. */
static struct vm_map_entry *
fit_tight(struct vm_map *map, const struct window *w,
    const struct space_request *rq, uint64_t sure, vaddr_t *start)
{
	uint64_t left = classes_sure(atop(rq->sr_need)) & ~sure, cls;
	struct vm_map_entry *e;
	int i;

	for (i = 0; i < TIGHT_TRIES; i++, left &= ~cls) {
		cls = window_class(w, left);
		if (cls == 0)
			break;
		e = window_lowest(map, w, cls);
		if (space_fits(e, rq, start))
			return e;
	}
	return NULL;
}

/*
 * P3: the class that the request is of, whose holes may or may not hold it,
 * and if none does the next one, whose holes all do.
 */
static struct vm_map_entry *
fit_large(struct vm_map *map, const struct window *w,
    const struct space_request *rq)
{
	uint64_t left = classes_from(space_class(atop(rq->sr_need))), cls;
	struct vm_map_entry *e = NULL;
	int i;

	for (i = 0; i < 2 && e == NULL; i++, left &= ~cls) {
		cls = window_class(w, left);
		if (cls == 0)
			break;
		e = window_tightest(map, w, cls, rq);
	}
	return e;
}

static struct vm_map_entry *
fit_best(struct vm_map *map, const struct space_request *rq, vaddr_t *start)
{
	const vsize_t most = atop(rq->sr_need) + atop(rq->sr_align) - 1;
	const uint64_t sure = classes_sure(most);
	struct vm_map_entry *e = NULL;
	struct window w;
	uint64_t cls;

	window_open(map, rq, &w);
	if (rq->sr_align > PAGE_SIZE) {
		e = fit_tight(map, &w, rq, sure, start);
		if (e != NULL)
			return e;
	} else if (rq->sr_need > LARGE) {
		e = fit_large(map, &w, rq);
		return e != NULL && space_fits(e, rq, start) ? e :
		    fit_in_order(map, rq, LOW, start);
	}
	cls = window_class(&w, sure);
	if (cls != 0)
		e = window_lowest(map, &w, cls);
	if (e != NULL && space_fits(e, rq, start))
		return e;
	map->vm_stats.vms_last_resort += rq->sr_align > PAGE_SIZE;
	return fit_in_order(map, rq, LOW, start);
}

struct vm_map_entry *
space_find(struct vm_map *map, const struct space_request *rq, vaddr_t *start)
{
	if (rq->sr_need > rq->sr_max - rq->sr_min)
		return NULL;
	switch (rq->sr_policy) {
	case VM_FIT_FIRST:
		return fit_in_order(map, rq, LOW, start);
	case VM_FIT_TOPDOWN:
		return fit_in_order(map, rq, HIGH, start);
	default:
		return fit_best(map, rq, start);
	}
}
