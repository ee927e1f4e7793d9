/*
 * Red-black trees, intrusive and augmented.  rb.c has the theory.
 *
 * A node holds no key: whoever owns the tree descends by itself and hands the
 * place to rb_link().  A summary of the subtree that a node keeps beside it
 * (an augmentation) is the owner's as well: rb.c calls back when a rotation
 * has changed what is below a node, and leaves it to the owner to bring the
 * path to the root up to date, in between the two halves of an insertion
 * (rb_link, rb_link_fixup) or of a removal (rb_unlink, rb_unlink_fixup).
 *
 * Nothing here locks, allocates or recurses.
 */
#ifndef LIBKERN_RB_H
#define LIBKERN_RB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The children have an index besides their names, as in NetBSD's rbtree. */
struct rb_node {
	uintptr_t	 rb_up;		/* parent, and the colour in bit 0 */
	struct rb_node	*rb_kid[2];
};
#define rb_left		rb_kid[0]
#define rb_right	rb_kid[1]

#define RB_RED		0u
#define RB_BLACK	1u

/*
 * A rotation has put `top` where `old` was, `old` being its child now.
 * => top's summary is what old's was; old's is recomputed from its children
 */
typedef void	rb_rotate_t(struct rb_node *old, struct rb_node *top);

struct rb_tree {
	struct rb_node	*rb_root;
	rb_rotate_t	*rb_rotate;	/* NULL: nothing is augmented */
};

/* What is left to mend after rb_unlink. */
struct rb_mend {
	struct rb_node	*rm_parent;	/* lowest node whose subtree changed */
	bool		 rm_black;	/* it misses a black node on rm_left's
					   side */
	bool		 rm_left;
};

static inline struct rb_node *
rb_parent(const struct rb_node *n)
{
	return (struct rb_node *)(n->rb_up & ~(uintptr_t)1);
}

static inline unsigned
rb_color(const struct rb_node *n)
{
	return (unsigned)(n->rb_up & 1);
}

/* Hang n, red, at *link, which is NULL and parent's (or the root). */
static inline void
rb_link(struct rb_node *n, struct rb_node *parent, struct rb_node **link)
{
	n->rb_up = (uintptr_t)parent | RB_RED;
	n->rb_left = n->rb_right = NULL;
	*link = n;
}

/* Balance after rb_link; every summary must be right by now. */
void	rb_link_fixup(struct rb_tree *, struct rb_node *n);

/*
 * Take n out.  Where n has a left child its in-order predecessor pred takes
 * n's place (the textbooks' choice is the successor; the predecessor is what
 * leaves one dirty path instead of two to an owner whose summaries change
 * at the predecessor too).  An owner who keeps a list, too, has pred at hand;
 * others find it by rb_pred(), or give NULL where n has no left child.
 * => m->rm_parent is where the dirty path to the root begins; NULL when the
 *    tree is empty now
 * => the fixup must follow, once every summary is right again
 */
void	rb_unlink(struct rb_tree *, struct rb_node *n, struct rb_node *pred,
	    struct rb_mend *m);
void	rb_unlink_fixup(struct rb_tree *, const struct rb_mend *m);

struct rb_node *rb_min(const struct rb_tree *);
struct rb_node *rb_max(const struct rb_tree *);
struct rb_node *rb_succ(const struct rb_node *);
struct rb_node *rb_pred(const struct rb_node *);

/*
 * => NULL, or which of rb.c's properties is broken (a static string)
 * => *count is the number of nodes
 */
const char *rb_check(const struct rb_tree *, size_t *count);

#endif
