/*
 * Self-tests of the slab layer and the heap while interrupts come.
 *
 * An interrupt that comes at an unlucky moment comes once in a blue moon.
 * Here one comes behind each instruction of what is tested, by single
 * stepping, wherever interrupts are on; and each allocates and frees in the
 * very caches that it has interrupted.  What is masked is masked for it, too:
 * a critical section that is open by one instruction lets it in.
 *
 * All objects bear marks over all their bytes from allocation to free, so
 * that one which has two owners is found.
 */
#include <kern/md.h>
#include <kern/selftest.h>
#include <libkern/errno.h>
#include <vm/kmalloc.h>
#include <vm/kmem_debug.h>

#define NMAIN	16u		/* objects of who is interrupted: some slabs */
#define NINTR	6u		/* and of the interrupts */
#define SIZE	400u
#define LARGE	(2 * PAGE_SIZE)	/* what the heap gives as pages */

static KMALLOC_DEFINE(M_INTR, "selftest intr", "while interrupts come");

struct piece {
	unsigned char	*p_mem;
	unsigned	 p_size;
	unsigned	 p_mark;
	bool		 p_heap;	/* kmalloc's, not the cache's */
};

static struct {
	struct kmem_cache *kc;
	struct piece	 held[NINTR];
	struct piece	 gift;		/* for an interrupt to free, */
	volatile bool	 given;		/* from now on */
	uint64_t	 random;
	unsigned	 points;	/* interrupts */
	unsigned	 got, refused;
	const char	*wrong;
} intr;

static void
wrong(const char *why)
{
	if (intr.wrong == NULL)
		intr.wrong = why;
}

static unsigned char
byte(const struct piece *p, unsigned i)
{
	return (unsigned char)(p->p_mark + i * 3);
}

/* => false: there is none */
static bool
piece_get(struct piece *p, unsigned size, bool heap, unsigned mark)
{
	p->p_mem = heap ? kmalloc(size, M_INTR, KM_NOSLEEP) :
	    kmem_cache_alloc(intr.kc, KM_NOSLEEP);
	p->p_size = size;
	p->p_mark = mark;
	p->p_heap = heap;
	/* Whoever is given it as well will write it, too: a few will do. */
	for (unsigned i = 0; p->p_mem != NULL && i < size; i += 36)
		p->p_mem[i] = byte(p, i);
	return p->p_mem != NULL;
}

static void
piece_put(struct piece *p)
{
	if (p->p_mem == NULL)
		return;
	for (unsigned i = 0; i < p->p_size; i += 36)
		if (p->p_mem[i] != byte(p, i))
			wrong("an object has two owners");
	if (p->p_heap)
		kfree(p->p_mem, M_INTR);
	else
		kmem_cache_free(intr.kc, p->p_mem);
	p->p_mem = NULL;
}

/* The interrupt: one object more, or one less. */
static void
interrupt(void)
{
	uint32_t r = k_random(&intr.random);
	struct piece *p = &intr.held[r % NINTR];

	intr.points++;
	if (intr.given && r % 64 == 0)
		piece_put(&intr.gift);
	if (p->p_mem != NULL)
		piece_put(p);
	else if (piece_get(p, SIZE, (r & 1024) != 0, r))
		intr.got++;
	else
		intr.refused++;
}

/* Up over some slabs and down again, one by one, then by many. */
static void
up_and_down(struct piece *p)
{
	void *many[NMAIN];

	for (unsigned i = 0; i < NMAIN; i++)
		if (!piece_get(&p[i], SIZE, i % 4 == 3, i))
			wrong("no memory");
	for (unsigned i = 0; i < NMAIN; i++)
		piece_put(&p[i]);
	if (kmem_cache_alloc_many(intr.kc, NMAIN, many, KM_NOSLEEP) != 0)
		wrong("no memory for many");
	else
		kmem_cache_free_many(intr.kc, NMAIN, many);
}

/* A cache comes and goes. */
static void
come_and_go(void)
{
	const struct kmem_cache_args ca = { .ca_name = "come and go",
	    .ca_size = 100, .ca_reserve = 5 };
	struct kmem_cache *kc = kmem_cache_create(&ca);
	void *obj;

	if (kc == NULL) {
		wrong("no memory for a cache");
		return;
	}
	obj = kmem_cache_alloc(kc, KM_NOSLEEP | KM_RESERVE);
	kmem_cache_free(kc, obj);
	if (obj == NULL || kmem_cache_destroy(kc) != 0)
		wrong("a reserve has nothing, or a cache is busy");
}

/* What is interrupted: each way in, out, and back. */
static void
work(void *arg)
{
	static struct piece p[NMAIN];
	void *q;

	up_and_down(p);
	kmem_cache_reap(intr.kc);
	up_and_down(p);
	kmem_cache_reap(intr.kc);
	intr.given = piece_get(&intr.gift, LARGE, true, 99);
	piece_get(&p[0], LARGE, true, 77);
	piece_put(&p[0]);
	q = krealloc(kmalloc(100, M_INTR, KM_ZERO), 1000, M_INTR, KM_NOSLEEP);
	kfree(q, M_INTR);
	come_and_go();
}

struct caught {
	char		c_msg[160];
	bool		c_panicked;
};

/* A panic shall end the interrupts, not go on with them. */
static void
work_caught(void *arg)
{
	struct caught *c = arg;

	c->c_panicked = panic_catch(work, NULL, c->c_msg, sizeof(c->c_msg));
}

static const char *
interrupted(unsigned kmd)
{
	const struct kmem_cache_args ca = { .ca_name = "interrupted",
	    .ca_size = SIZE };
	static struct caught c;
	const char *bad;

	memset(&intr, 0, sizeof(intr));
	intr.random = 0x494e5452;
	kmem_debug_option(kmd != 0 ? "off,check:interrupted" :
	    "off:interrupted");
	intr.kc = kmem_cache_create(&ca);
	if (intr.kc == NULL)
		return "no cache";
	md_interrupt_each(work_caught, &c, interrupt);
	if (c.c_panicked)
		return test_failed("interrupted, it panicked: %s", c.c_msg);
	for (unsigned i = 0; i < NINTR; i++)
		piece_put(&intr.held[i]);
	piece_put(&intr.gift);
	if ((bad = kmem_cache_check(intr.kc)) == NULL)
		bad = kmalloc_check();
	if (kmem_cache_destroy(intr.kc) != 0)
		wrong("objects were lost");
	return bad != NULL ? bad : intr.wrong;
}

const char *
test_interrupted(void)
{
	const char *bad;

	if (!md_intr_enabled())
		return NULL;
	for (unsigned i = 0; i < 2; i++) {
		bad = interrupted(i == 0 ? KMD_CHECK : 0);
		if (bad != NULL)
			return bad;
		if (intr.points < 10000 || intr.got < 1000)
			return test_failed("only %u interrupts, %u objects",
			    intr.points, intr.got);
	}
	return NULL;
}
