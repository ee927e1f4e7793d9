/*
 * Red-black trees, through rb.h alone.
 *
 * The tree under test carries three summaries: the number of nodes, the
 * largest value, and a hash of the values in order.  The hash is sensitive
 * to order, so a summary that was merged from the wrong children, or too
 * early, cannot be right by accident.
 *
 * The exhaustive test needs no luck: it begins with the empty tree, applies
 * every insertion and every deletion to every coloured shape that it meets,
 * and ends when no new shape turns up.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libkern/libkern.h>
#include <libkern/rb.h>

#include "must.h"

#define HASH_BASE	0x100000001B3ULL	/* FNV's prime; any odd one */
#define BFS_INSERT	13	/* nodes at most, before an insertion */
#define BFS_NODES	(BFS_INSERT + 1)

struct item {
	struct rb_node	i_rb;		/* first: a node is an item */
	unsigned	i_value;
	unsigned	i_max;		/* of the subtree, and below too */
	size_t		i_count;
	uint64_t	i_power;	/* HASH_BASE ^ i_count */
	uint64_t	i_hash;
};

static struct item *
item(const struct rb_node *n)
{
	return (struct item *)(uintptr_t)n;
}

static size_t
count(const struct rb_node *n)
{
	return n == NULL ? 0 : item(n)->i_count;
}

/* The summary of n from its children's, into *s. */
static void
summarise(const struct rb_node *n, struct item *s)
{
	const struct item *l = item(n->rb_left), *r = item(n->rb_right);

	s->i_max = item(n)->i_value;
	if (l != NULL && l->i_max > s->i_max)
		s->i_max = l->i_max;
	if (r != NULL && r->i_max > s->i_max)
		s->i_max = r->i_max;
	s->i_count = count(n->rb_left) + 1 + count(n->rb_right);
	s->i_power = (l ? l->i_power : 1) * HASH_BASE * (r ? r->i_power : 1);
	s->i_hash = (l ? l->i_hash : 0) * HASH_BASE + item(n)->i_value;
	s->i_hash = s->i_hash * (r ? r->i_power : 1) + (r ? r->i_hash : 0);
}

static void
update(struct rb_node *n)
{
	struct item s;

	summarise(n, &s);
	item(n)->i_max = s.i_max;
	item(n)->i_count = s.i_count;
	item(n)->i_power = s.i_power;
	item(n)->i_hash = s.i_hash;
}

static void
update_path(struct rb_node *n)
{
	for (; n != NULL; n = rb_parent(n))
		update(n);
}

static unsigned long nrotations;

static void
rotated(struct rb_node *old, struct rb_node *top)
{
	nrotations++;
	item(top)->i_max = item(old)->i_max;
	item(top)->i_count = item(old)->i_count;
	item(top)->i_power = item(old)->i_power;
	item(top)->i_hash = item(old)->i_hash;
	update(old);
}

/* Insert so that n is the place-th node, counted from 0. */
static void
insert_at(struct rb_tree *t, struct item *n, size_t place)
{
	struct rb_node **link = &t->rb_root, *parent = NULL;

	while (*link != NULL) {
		parent = *link;
		if (place <= count(parent->rb_left)) {
			link = &parent->rb_left;
		} else {
			place -= count(parent->rb_left) + 1;
			link = &parent->rb_right;
		}
	}
	rb_link(&n->i_rb, parent, link);
	update_path(&n->i_rb);
	rb_link_fixup(t, &n->i_rb);
}

static void
delete(struct rb_tree *t, struct item *n)
{
	struct rb_mend m;

	rb_unlink(t, &n->i_rb, rb_pred(&n->i_rb), &m);
	update_path(m.rm_parent);
	rb_unlink_fixup(t, &m);
}

static struct rb_node *
node_at(const struct rb_tree *t, size_t place)
{
	struct rb_node *n = t->rb_root;

	while (place != count(n->rb_left)) {
		if (place < count(n->rb_left)) {
			n = n->rb_left;
		} else {
			place -= count(n->rb_left) + 1;
			n = n->rb_right;
		}
	}
	return n;
}

/*
 * A checker of our own, that shares nothing with rb_check: it returns the
 * number of black nodes on every way down from n, and stores the values in
 * order.
 */
static unsigned
examine(const struct rb_node *n, const struct rb_node *parent,
    unsigned *values, size_t *nvalues)
{
	struct item s;
	unsigned black;

	if (n == NULL)
		return 1;
	must(rb_parent(n) == parent);
	if (parent == NULL || rb_color(parent) == RB_RED)
		must(rb_color(n) == RB_BLACK);
	black = examine(n->rb_left, n, values, nvalues);
	values[(*nvalues)++] = item(n)->i_value;
	must(examine(n->rb_right, n, values, nvalues) == black);

	summarise(n, &s);
	must(item(n)->i_max == s.i_max);
	must(item(n)->i_count == s.i_count);
	must(item(n)->i_power == s.i_power);
	must(item(n)->i_hash == s.i_hash);
	return black + (rb_color(n) == RB_BLACK);
}

/* The ways along the tree must visit the nodes in the order of values[]. */
static void
examine_order(const struct rb_tree *t, const unsigned *values, size_t n)
{
	const struct rb_node *p, *last = NULL;
	size_t i = 0;

	for (p = rb_min(t); p != NULL; p = rb_succ(p)) {
		must(i < n);
		must(item(p)->i_value == values[i++]);
		must(rb_pred(p) == last);
		last = p;
	}
	must(i == n);
	must(rb_max(t) == last);
}

/* All that can be said about a tree whose values in order are expect[]. */
static void
examine_tree(const struct rb_tree *t, const unsigned *expect, size_t n)
{
	static unsigned values[1 << 16];
	size_t nvalues = 0, counted = ~(size_t)0;
	const char *why = rb_check(t, &counted);

	if (why != NULL)
		ck_abort_msg("rb_check: %s", why);
	must(counted == n);
	must(n <= nitems(values));
	examine(t->rb_root, NULL, values, &nvalues);
	must(nvalues == n);
	must(n == 0 || memcmp(values, expect, n * sizeof(*values)) == 0);
	examine_order(t, expect, n);
}

/*
 * A coloured shape as a number: the nodes in preorder, two bits each, the
 * missing children too, after a leading 1.  14 nodes take 59 bits.
 */
enum { CODE_NIL, CODE_RED, CODE_BLACK };

static uint64_t
encode(const struct rb_node *n, uint64_t code)
{
	if (n == NULL)
		return code << 2 | CODE_NIL;
	code = code << 2 | (rb_color(n) == RB_RED ? CODE_RED : CODE_BLACK);
	code = encode(n->rb_left, code);
	return encode(n->rb_right, code);
}

static struct item pool[BFS_NODES + 1];

static struct rb_node *
decode_bits(uint64_t code, int *bit, struct rb_node *parent, size_t *used)
{
	unsigned what = (unsigned)(code >> *bit) & 3;
	struct rb_node *n;

	*bit -= 2;
	if (what == CODE_NIL)
		return NULL;
	n = &pool[(*used)++].i_rb;
	n->rb_up = (uintptr_t)parent |
	    (what == CODE_RED ? RB_RED : RB_BLACK);
	n->rb_left = decode_bits(code, bit, n, used);
	n->rb_right = decode_bits(code, bit, n, used);
	return n;
}

static void
label(struct rb_node *n, unsigned *values, size_t *nvalues, uint64_t *seed)
{
	if (n == NULL)
		return;
	label(n->rb_left, values, nvalues, seed);
	item(n)->i_value = k_random(seed);
	values[(*nvalues)++] = item(n)->i_value;
	label(n->rb_right, values, nvalues, seed);
	update(n);
}

/* The tree of a code, with random values; their number is returned. */
static size_t
decode(uint64_t code, struct rb_tree *t, unsigned *values, uint64_t *seed)
{
	int bit = (int)bit_highest64(code) - 2;
	size_t used = 0, n = 0;

	t->rb_rotate = rotated;
	t->rb_root = decode_bits(code, &bit, NULL, &used);
	label(t->rb_root, values, &n, seed);
	must(used == n);
	return n;
}

/* The shapes seen: a hash table that refers to a queue. */
#define SHAPE_SLOTS	(1u << 17)
static struct {
	uint64_t	queue[SHAPE_SLOTS / 2];
	size_t		nqueue;
	uint64_t	slot[SHAPE_SLOTS];
} shapes;

static void
shape_add(uint64_t code)
{
	size_t h = (size_t)((code * 0x9E3779B97F4A7C15ULL) >> 40);

	for (h %= SHAPE_SLOTS; shapes.slot[h] != 0; h = (h + 1) % SHAPE_SLOTS)
		if (shapes.slot[h] == code)
			return;
	shapes.slot[h] = code;
	must(shapes.nqueue < nitems(shapes.queue));
	shapes.queue[shapes.nqueue++] = code;
}

static void
try_insert(uint64_t code, size_t place, uint64_t *seed)
{
	unsigned values[BFS_NODES + 1];
	struct rb_tree t;
	size_t n = decode(code, &t, values, seed);
	struct item *new = &pool[BFS_NODES];

	memmove(&values[place + 1], &values[place],
	    (n - place) * sizeof(*values));
	new->i_value = values[place] = k_random(seed);
	insert_at(&t, new, place);
	examine_tree(&t, values, n + 1);
	shape_add(encode(t.rb_root, 1));
}

static void
try_delete(uint64_t code, size_t place, uint64_t *seed)
{
	unsigned values[BFS_NODES + 1];
	struct rb_tree t;
	size_t n = decode(code, &t, values, seed);

	delete(&t, item(node_at(&t, place)));
	memmove(&values[place], &values[place + 1],
	    (n - place - 1) * sizeof(*values));
	examine_tree(&t, values, n - 1);
	shape_add(encode(t.rb_root, 1));
}

/*
 * Every insertion and deletion in every shape of up to BFS_NODES nodes.  The
 * totals are facts about the algorithm (which node takes the place of one
 * that has two children, which of two symmetric cases comes first): other
 * totals mean that rb.c is another algorithm now.
 */
START_TEST(every_shape)
{
	unsigned long inserts = 0, deletes = 0;
	uint64_t seed = 1;
	size_t i, place, n;

	shape_add(1 << 2 | CODE_NIL);
	for (i = 0; i < shapes.nqueue; i++) {
		uint64_t code = shapes.queue[i];

		n = bit_highest64(code) / 4;	/* 2 bits for 2n + 1 */
		for (place = 0; place <= n && n <= BFS_INSERT; place++) {
			try_insert(code, place, &seed);
			inserts++;
		}
		for (place = 0; place < n; place++) {
			try_delete(code, place, &seed);
			deletes++;
		}
	}
	printf("rb: %zu shapes, %lu insertions + %lu deletions = %lu "
	    "transitions, %lu rotations\n", shapes.nqueue, inserts, deletes,
	    inserts + deletes, nrotations);
	must(inserts + deletes == 112743);
}
END_TEST

#define RANDOM_NODES	600
static struct item nodes[RANDOM_NODES];

/* Grow and shrink by turns, at places that a bias draws to one end. */
static void
random_run(uint64_t seed, unsigned bias, unsigned steps, unsigned every)
{
	static unsigned values[RANDOM_NODES];
	static struct item *free_nodes[RANDOM_NODES];
	struct rb_tree t = { NULL, rotated };
	size_t n = 0, place, i;
	unsigned step;

	for (i = 0; i < RANDOM_NODES; i++)
		free_nodes[i] = &nodes[i];
	for (step = 0; step < steps; step++) {
		bool grow = k_random(&seed) % 8 < (step / 500 % 2 ? 3 : 5);

		place = k_random(&seed) % (n + 1);
		place = bias == 1 ? place / 8 : bias == 2 ? n - place / 8 :
		    place;
		if ((grow && n < RANDOM_NODES) || n == 0) {
			memmove(&values[place + 1], &values[place],
			    (n - place) * sizeof(*values));
			free_nodes[n]->i_value = values[place] =
			    k_random(&seed);
			insert_at(&t, free_nodes[n++], place);
		} else {
			place = place == n ? n - 1 : place;
			free_nodes[--n] = item(node_at(&t, place));
			delete(&t, free_nodes[n]);
			memmove(&values[place], &values[place + 1],
			    (n - place) * sizeof(*values));
		}
		if (step % every == 0)
			examine_tree(&t, values, n);
	}
	examine_tree(&t, values, n);
}

START_TEST(random_trees)
{
	random_run(20 + (uint64_t)_i, (unsigned)_i % 3, 20000, 17);
	random_run(40 + (uint64_t)_i, (unsigned)_i % 3, 2000, 1);
}
END_TEST

/*
 * Without a callback the tree is an ordinary one, whichever way it leans:
 * nodes are hung at one end only.
 */
static void
plain_run(bool up)
{
	static unsigned values[RANDOM_NODES];
	struct rb_tree t = { NULL, NULL };
	struct rb_node *parent, **link, *l;
	struct rb_mend m;
	size_t i, n, at;

	for (i = 0; i < RANDOM_NODES; i++) {
		parent = NULL;
		for (link = &t.rb_root; *link != NULL; ) {
			parent = *link;
			link = up ? &parent->rb_right : &parent->rb_left;
		}
		at = up ? i : RANDOM_NODES - 1 - i;
		values[at] = nodes[at].i_value = (unsigned)at;
		rb_link(&nodes[at].i_rb, parent, link);
		rb_link_fixup(&t, &nodes[at].i_rb);
	}
	examine_order(&t, values, RANDOM_NODES);
	for (i = RANDOM_NODES; i-- > 0; ) {
		l = up ? rb_min(&t) : rb_max(&t);
		rb_unlink(&t, l, rb_pred(l), &m);
		rb_unlink_fixup(&t, &m);
		must(rb_check(&t, &n) == NULL);
		must(n == i);
		examine_order(&t, up ? &values[RANDOM_NODES - i] : values, i);
	}
	must(t.rb_root == NULL);
	must(m.rm_parent == NULL);
}

START_TEST(plain_tree)
{
	plain_run(true);
	plain_run(false);
}
END_TEST

START_TEST(empty_tree)
{
	struct rb_tree t = { NULL, NULL };
	size_t n = 1;

	must(rb_min(&t) == NULL);
	must(rb_max(&t) == NULL);
	must(rb_check(&t, &n) == NULL);
	must(n == 0);
}
END_TEST

/* A tree of seven in three black rows, for rb_check to find fault with. */
static void
full_tree(struct rb_tree *t)
{
	static const uint8_t shape[] = {	/* preorder, all black */
	    2, 2, 2, 0, 0, 2, 0, 0, 2, 2, 0, 0, 2, 0, 0
	};
	unsigned values[BFS_NODES];
	uint64_t seed = 7, c = 1;
	size_t i;

	for (i = 0; i < nitems(shape); i++)
		c = c << 2 | shape[i];
	must(decode(c, t, values, &seed) == 7);
	examine_tree(t, values, 7);
}

/*
 * A red node with one child, which is itself red (P2 is broken) or black (P3
 * is): no right tree has such a one.
 */
static void
lone_child(unsigned side, unsigned color, const char *which)
{
	struct rb_node *l, *kid;
	struct rb_tree t;
	size_t n;

	full_tree(&t);
	l = t.rb_root->rb_left;
	kid = side == 0 ? l->rb_left : l->rb_right;
	if (side == 0)
		l->rb_right = NULL;
	else
		l->rb_left = NULL;
	l->rb_up &= ~(uintptr_t)1;
	kid->rb_up = (kid->rb_up & ~(uintptr_t)1) | color;
	must(strstr(rb_check(&t, &n), which) != NULL);
}

START_TEST(check_sees_lone_children)
{
	lone_child(0, RB_RED, "P2");
	lone_child(0, RB_BLACK, "P3");
	lone_child(1, RB_RED, "P2");
	lone_child(1, RB_BLACK, "P3");
}
END_TEST

/* Each property, broken by hand, must be seen. */
START_TEST(check_sees_faults)
{
	struct rb_node *root, *l;
	struct rb_tree t;
	size_t n;

	full_tree(&t);				/* a red root */
	t.rb_root->rb_up &= ~(uintptr_t)1;
	must(rb_check(&t, &n) != NULL);

	full_tree(&t);				/* one way has less black */
	root = t.rb_root;
	root->rb_left->rb_left->rb_up &= ~(uintptr_t)1;
	must(rb_check(&t, &n) != NULL);

	full_tree(&t);				/* red below red */
	root = t.rb_root;
	for (l = rb_min(&t); l != NULL; l = rb_succ(l))
		if (l != root)
			l->rb_up &= ~(uintptr_t)1;
	must(rb_check(&t, &n) != NULL);

	full_tree(&t);				/* the same, on the left */
	l = t.rb_root->rb_left;
	l->rb_up &= ~(uintptr_t)1;
	l->rb_left->rb_up &= ~(uintptr_t)1;
	must(strstr(rb_check(&t, &n), "P2") != NULL);

	full_tree(&t);				/* and on the right */
	l = t.rb_root->rb_left;
	l->rb_up &= ~(uintptr_t)1;
	l->rb_right->rb_up &= ~(uintptr_t)1;
	must(strstr(rb_check(&t, &n), "P2") != NULL);

	full_tree(&t);				/* a wrong parent */
	root = t.rb_root;
	l = root->rb_left->rb_left;
	l->rb_up = (uintptr_t)root | (l->rb_up & 1);
	must(rb_check(&t, &n) != NULL);

	full_tree(&t);				/* a right child's */
	root = t.rb_root;
	l = root->rb_left->rb_right;
	l->rb_up = (uintptr_t)root->rb_right | RB_BLACK;
	must(strstr(rb_check(&t, &n), "P4") != NULL);

	full_tree(&t);				/* two that hide each other */
	root = t.rb_root;
	l = root->rb_left;
	l->rb_left->rb_up = (uintptr_t)root | RB_BLACK;
	l->rb_up = (uintptr_t)l->rb_left | RB_BLACK;
	must(strstr(rb_check(&t, &n), "P4") != NULL);

	full_tree(&t);				/* a root with a parent */
	root = t.rb_root;
	root->rb_up = (uintptr_t)root->rb_left | RB_BLACK;
	must(rb_check(&t, &n) != NULL);

	full_tree(&t);				/* an only child is black */
	t.rb_root->rb_right->rb_left = NULL;
	must(strstr(rb_check(&t, &n), "P3") != NULL);
	full_tree(&t);
	t.rb_root->rb_right->rb_right = NULL;
	must(strstr(rb_check(&t, &n), "P3") != NULL);

	full_tree(&t);				/* a subtree gone */
	t.rb_root->rb_right = NULL;
	must(rb_check(&t, &n) != NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("rb");
	TCase *tc = tcase_create("rb");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, empty_tree);
	tcase_add_test(tc, plain_tree);
	tcase_add_test(tc, check_sees_faults);
	tcase_add_test(tc, check_sees_lone_children);
	tcase_add_loop_test(tc, random_trees, 0, 6);
	tcase_add_test(tc, every_shape);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
