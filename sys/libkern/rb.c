/*
 * Red-black trees
 *
 * 1. What it is
 *
 * A binary tree in which every node is red or black, after Bayer (1972) and
 * Guibas and Sedgewick (1978); the cases are those of Cormen et al., drawn
 * where they are handled.  Five properties hold between any two calls:
 *
 *	P1  the root is black;
 *	P2  no red node has a red child;
 *	P3  every path from a node down to a missing child passes the same
 *	    number of black nodes;
 *	P4  each child's parent pointer leads back;
 *	P5  the order of the nodes is the order in which they were hung.
 *
 * By P2 and P3 no path is more than twice as long as another, so the height
 * is at most 2 log2(n + 1).
 *
 * 2. Augmentation
 *
 * Owners keep a summary of each subtree beside its node (vm_map: the largest
 * hole).  A summary that is a function of the node and its children's
 * summaries can be kept up in O(log n), and the work falls in two parts:
 *
 *	- the path from the lowest changed node to the root.  Only the owner
 *	  knows when it may stop early, so the owner walks it, after rb_link or
 *	  rb_unlink have changed the shape and before the fixup;
 *	- rotations, which move two nodes and leave the set below the upper
 *	  place as it was.  For those we call back.
 *
 * Recolouring changes no summary.
 *
 * 3. Notes
 *
 * The colour lives in bit 0 of the parent pointer: nodes are aligned, and a
 * node is three words.  A root's parent is NULL.  In the drawings capitals
 * are black nodes, small letters red ones, and a letter in parentheses may be
 * either.  Nothing recurses: the fixups climb.
 */

#include <libkern/rb.h>

static inline bool
is_red(const struct rb_node *n)
{
	return n != NULL && rb_color(n) == RB_RED;
}

static inline void
set_parent(struct rb_node *n, struct rb_node *parent)
{
	n->rb_up = (uintptr_t)parent | rb_color(n);
}

static inline void
set_color(struct rb_node *n, unsigned color)
{
	n->rb_up = (n->rb_up & ~(uintptr_t)1) | color;
}

/* Whatever pointed from parent (or the root) to old points to new. */
static inline void
replace_child(struct rb_tree *t, struct rb_node *parent, struct rb_node *old,
    struct rb_node *new)
{
	if (parent == NULL)
		t->rb_root = new;
	else
		parent->rb_kid[parent->rb_right == old] = new;
}

/*
 *	    x                y
 *	   / \              / \
 *	  1   y     ->     x   3
 *	     / \          / \
 *	    2   3        1   2
 */
static void
rotate_left(struct rb_tree *t, struct rb_node *x)
{
	struct rb_node *y = x->rb_right, *parent = rb_parent(x);

	x->rb_right = y->rb_left;
	if (y->rb_left != NULL)
		set_parent(y->rb_left, x);
	y->rb_left = x;
	set_parent(y, parent);
	set_parent(x, y);
	replace_child(t, parent, x, y);
	if (t->rb_rotate != NULL)
		t->rb_rotate(x, y);
}

/* The mirror image: x's left child comes up. */
static void
rotate_right(struct rb_tree *t, struct rb_node *x)
{
	struct rb_node *y = x->rb_left, *parent = rb_parent(x);

	x->rb_left = y->rb_right;
	if (y->rb_right != NULL)
		set_parent(y->rb_right, x);
	y->rb_right = x;
	set_parent(y, parent);
	set_parent(x, y);
	replace_child(t, parent, x, y);
	if (t->rb_rotate != NULL)
		t->rb_rotate(x, y);
}

/*
 * n is red and may have a red parent p: then P2 is broken, there and nowhere
 * else, and the grandparent G is black.
 */
void
rb_link_fixup(struct rb_tree *t, struct rb_node *n)
{
	struct rb_node *p, *g, *uncle;

	while ((p = rb_parent(n)) != NULL && rb_color(p) == RB_RED) {
		g = rb_parent(p);
		uncle = p == g->rb_left ? g->rb_right : g->rb_left;
		if (is_red(uncle)) {
			/*
			 *	    G              g
			 *	   / \            / \
			 *	  p   u    ->    P   U	and the same question
			 *	  |              |	two levels up, for g
			 *	  n              n
			 */
			set_color(p, RB_BLACK);
			set_color(uncle, RB_BLACK);
			set_color(g, RB_RED);
			n = g;
			continue;
		}
		/*
		 *	    G            G             P
		 *	   / \          / \           / \
		 *	  p   U   ->   n   U   ->    n   g	done
		 *	   \          /                   \
		 *	    n        p                     U
		 *
		 * (the first step only when n is an inner grandchild, and p
		 * and n then change names)
		 */
		if (p == g->rb_left) {
			if (n == p->rb_right) {
				rotate_left(t, p);
				p = n;
			}
			rotate_right(t, g);
		} else {
			if (n == p->rb_left) {
				rotate_right(t, p);
				p = n;
			}
			rotate_left(t, g);
		}
		set_color(p, RB_BLACK);
		set_color(g, RB_RED);
		break;
	}
	set_color(t->rb_root, RB_BLACK);
}

/*
 * n has at most one child, on its right: that child, or nothing, takes its
 * place.  By P2 and P3 an only child is red and a leaf.
 */
static void
unlink_leftless(struct rb_tree *t, struct rb_node *n, struct rb_mend *m)
{
	struct rb_node *child = n->rb_right, *parent = rb_parent(n);

	m->rm_parent = parent;
	m->rm_left = parent != NULL && parent->rb_left == n;
	m->rm_black = rb_color(n) == RB_BLACK;
	replace_child(t, parent, n, child);
	if (child != NULL) {
		child->rb_up = n->rb_up;	/* its place and its colour */
		m->rm_black = false;
	}
}

/*
 *	      n                  p
 *	     / \                / \
 *	    1   2      ->      1'  2
 *	     \                  \
 *	      (p)                (c)	c: p's left child, or nothing
 */
static void
unlink_by_predecessor(struct rb_tree *t, struct rb_node *n, struct rb_node *p,
    struct rb_mend *m)
{
	struct rb_node *c = p->rb_left, *pp = rb_parent(p);

	m->rm_black = c == NULL && rb_color(p) == RB_BLACK;
	m->rm_left = pp == n;
	m->rm_parent = pp == n ? p : pp;
	if (pp != n) {
		pp->rb_right = c;
		p->rb_left = n->rb_left;
		set_parent(p->rb_left, p);
	}
	if (c != NULL)		/* red by P3, and black in p's place */
		c->rb_up = (uintptr_t)m->rm_parent | RB_BLACK;
	p->rb_right = n->rb_right;
	if (p->rb_right != NULL)
		set_parent(p->rb_right, p);
	p->rb_up = n->rb_up;
	replace_child(t, rb_parent(n), n, p);
}

void
rb_unlink(struct rb_tree *t, struct rb_node *n, struct rb_node *pred,
    struct rb_mend *m)
{
	if (n->rb_left == NULL)
		unlink_leftless(t, n, m);
	else
		unlink_by_predecessor(t, n, pred, m);
}

/*
 * The sibling s of a place x that misses a black node, made black if it was
 * red, so that the cases below are about a black one:
 *
 *	    P                 S
 *	   / \               / \
 *	 (x)  s      ->     p   2	(drawn for x on the left)
 *	     / \           / \
 *	    1   2        (x)  1		1 is the new sibling
 */
static struct rb_node *
black_sibling(struct rb_tree *t, struct rb_node *p, bool left)
{
	struct rb_node *s = left ? p->rb_right : p->rb_left;

	if (rb_color(s) == RB_BLACK)
		return s;
	set_color(s, RB_BLACK);
	set_color(p, RB_RED);
	if (left) {
		rotate_left(t, p);
		return p->rb_right;
	}
	rotate_right(t, p);
	return p->rb_left;
}

/*
 * The sibling has a red child: one or two rotations pay the debt.
 *
 *	   (p)              (p)               (c)
 *	   / \              / \               / \
 *	 (x)  S      ->   (x)  C       ->    P   S
 *	     / \              / \           / \
 *	    c   N            1   s        (x)  1
 *
 * (the first step only when the far nephew N is black; a red one n stays
 * where it is, turns black, and S comes up with p's colour)
 */
static void
pay_from_sibling(struct rb_tree *t, struct rb_node *p, struct rb_node *s,
    bool left)
{
	struct rb_node *far = left ? s->rb_right : s->rb_left;

	if (!is_red(far)) {
		far = s;
		if (left) {
			s = s->rb_left;
			rotate_right(t, far);
		} else {
			s = s->rb_right;
			rotate_left(t, far);
		}
	}
	set_color(s, rb_color(p));
	set_color(p, RB_BLACK);
	set_color(far, RB_BLACK);
	if (left)
		rotate_left(t, p);
	else
		rotate_right(t, p);
}

/*
 * Paths through p's child on one side miss one black node; all else holds.
 */
void
rb_unlink_fixup(struct rb_tree *t, const struct rb_mend *m)
{
	struct rb_node *p = m->rm_parent, *s;
	bool left = m->rm_left;

	if (!m->rm_black)
		return;
	while (p != NULL) {
		s = black_sibling(t, p, left);
		if (is_red(s->rb_left) || is_red(s->rb_right)) {
			pay_from_sibling(t, p, s, left);
			return;
		}
		/* Let the sibling's side miss one too: p's subtree is even. */
		set_color(s, RB_RED);
		if (rb_color(p) == RB_RED) {
			set_color(p, RB_BLACK);
			return;
		}
		s = p;
		p = rb_parent(s);
		left = p != NULL && p->rb_left == s;
	}
}

struct rb_node *
rb_min(const struct rb_tree *t)
{
	struct rb_node *n = t->rb_root;

	while (n != NULL && n->rb_left != NULL)
		n = n->rb_left;
	return n;
}

struct rb_node *
rb_max(const struct rb_tree *t)
{
	struct rb_node *n = t->rb_root;

	while (n != NULL && n->rb_right != NULL)
		n = n->rb_right;
	return n;
}

struct rb_node *
rb_succ(const struct rb_node *n)
{
	struct rb_node *p;

	if (n->rb_right != NULL) {
		for (p = n->rb_right; p->rb_left != NULL; p = p->rb_left)
			continue;
		return p;
	}
	for (p = rb_parent(n); p != NULL && p->rb_right == n; p = rb_parent(p))
		n = p;
	return p;
}

struct rb_node *
rb_pred(const struct rb_node *n)
{
	struct rb_node *p;

	if (n->rb_left != NULL) {
		for (p = n->rb_left; p->rb_right != NULL; p = p->rb_right)
			continue;
		return p;
	}
	for (p = rb_parent(n); p != NULL && p->rb_left == n; p = rb_parent(p))
		n = p;
	return p;
}

/*
 * Black nodes from n (included) up to the root: equal for every node that
 * misses a child, if P3 holds.
 */
static size_t
black_above(const struct rb_node *n)
{
	size_t black = 0;

	for (; n != NULL; n = rb_parent(n))
		black += rb_color(n) == RB_BLACK;
	return black;
}

static const char *
check_node(const struct rb_node *n, size_t black)
{
	const struct rb_node *l = n->rb_left, *r = n->rb_right;

	if ((l != NULL && rb_parent(l) != n) ||
	    (r != NULL && rb_parent(r) != n))
		return "rb P4: a child's parent is another";
	if (rb_color(n) == RB_RED && (is_red(l) || is_red(r)))
		return "rb P2: a red node has a red child";
	if ((l == NULL || r == NULL) && black_above(n) != black)
		return "rb P3: paths differ in black nodes";
	return NULL;
}

const char *
rb_check(const struct rb_tree *t, size_t *count)
{
	const struct rb_node *n = rb_min(t);
	const char *why;
	size_t black, seen = 0;

	*count = 0;
	if (n == NULL)
		return NULL;
	if (rb_parent(t->rb_root) != NULL)
		return "rb P4: the root has a parent";
	if (rb_color(t->rb_root) != RB_BLACK)
		return "rb P1: the root is red";
	for (black = black_above(n); n != NULL; n = rb_succ(n), seen++)
		if ((why = check_node(n, black)) != NULL)
			return why;
	*count = seen;
	return NULL;
}
