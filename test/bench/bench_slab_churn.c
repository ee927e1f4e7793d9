/*
 * Does memory come back?  200,000 objects of 32 to 512 bytes; a random 90 %
 * of them are freed; refilled to half, freed to 10 % again, five rounds; and
 * then everybody gives back what he can.  "spike" gives back after the first
 * time already.
 *
 * Each party has a process of its own, and they are drawn from one seed: all
 * are asked for the same sizes, and free the same.
 *
 * "packed" is nobody's: whenever all are in, the objects are moved together,
 * by size and without a gap, and after the freeing the pages are counted that
 * still have one.  Fuller pages, and larger objects among themselves, leave
 * the fewest: who can neither move objects nor foretell which are freed
 * expects to hold more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_slab.h"

#define OBJECTS		200000u
#define REFILLED	(OBJECTS / 2)
#define LEFT		(OBJECTS / 10)
#define ROUNDS		5u
#define SMALLEST	32u
#define LARGEST		512u
#define SAMPLE_EVERY	10000u		/* operations */

/* full, first free, refill and free by rounds, trimmed, spike trimmed */
#define STEPS		(2 + 2 * ROUNDS + 2)
#define TRIMMED		(STEPS - 2)
#define SPIKE		(STEPS - 1)

struct result {
	bool		 r_there;
	long		 r_pages[STEPS];
	double		 r_live[STEPS];	/* pages */
	double		 r_ns;		/* an operation */
};
static struct result *results;		/* by party, shared */

struct object {
	void		*o_at;
	uint32_t	 o_size;
	uint32_t	 o_page;	/* (packed) */
};

/* What is live stands in front. */
static struct churn {
	struct object	*c_obj;
	unsigned	 c_nlive;
	size_t		 c_live;	/* bytes */
	struct rng	 c_rng;
	size_t		 c_ops;
	long		 c_origin;
	double		 c_ns;
	FILE		*c_file;
} c;

static void
sample(const struct party *p)
{
	if (c.c_file != NULL)
		fprintf(c.c_file, "%zu %ld %.0f\n", c.c_ops,
		    party_pages(p) - c.c_origin, (double)c.c_live / PAGE_SIZE);
}

static ALWAYS_INLINE void
fill_some(const struct party *p, enum kind k, unsigned n)
{
	struct object *o;

	while (n-- > 0) {
		o = &c.c_obj[c.c_nlive++];
		o->o_size = SMALLEST + rng_below(&c.c_rng,
		    LARGEST - SMALLEST + 1);
		o->o_at = take(p, k, NULL, o->o_size);
		if (o->o_at == NULL)
			bench_die("churn: out of memory");
		*(volatile char *)o->o_at = 1;
		*((volatile char *)o->o_at + o->o_size - 1) = 1;
		c.c_live += o->o_size;
	}
}

static ALWAYS_INLINE void
free_some(const struct party *p, enum kind k, unsigned n)
{
	struct object *o;

	while (n-- > 0) {
		o = &c.c_obj[rng_below(&c.c_rng, c.c_nlive)];
		give(p, k, NULL, o->o_size, o->o_at);
		c.c_live -= o->o_size;
		*o = c.c_obj[--c.c_nlive];
	}
}

/* Until so many are live. */
static void
go_to(const struct party *p, unsigned target)
{
	unsigned n, some;
	double t;

	while (c.c_nlive != target) {
		n = c.c_nlive < target ? target - c.c_nlive :
		    c.c_nlive - target;
		some = n < SAMPLE_EVERY ? n : SAMPLE_EVERY;
		t = cpu_ns();
		if (c.c_nlive < target)
			BY_KIND(p, fill_some, some);
		else
			BY_KIND(p, free_some, some);
		c.c_ns += cpu_ns() - t;
		c.c_ops += some;
		sample(p);
	}
}

static void
record(struct result *r, const struct party *p, unsigned step)
{
	r->r_pages[step] = party_pages(p) - c.c_origin;
	r->r_live[step] = (double)c.c_live / PAGE_SIZE;
}

static void
churn(const struct party *p, struct result *r, bool spike)
{
	unsigned round, step = 0;

	go_to(p, OBJECTS);
	record(r, p, step++);
	go_to(p, LEFT);
	record(r, p, step++);
	for (round = 0; round < ROUNDS && !spike; round++) {
		go_to(p, REFILLED);
		record(r, p, step++);
		go_to(p, LEFT);
		record(r, p, step++);
	}
	party_trim(p);
	record(r, p, spike ? SPIKE : TRIMMED);
	c.c_ops += 1;
	sample(p);
	if (!spike)
		r->r_ns = c.c_ns / (double)c.c_ops;
}

/* arg: the party, and NPARTIES more for the spike. */
static void
one_party(void *arg)
{
	const unsigned i = *(unsigned *)arg % NPARTIES;
	const bool spike = *(unsigned *)arg >= NPARTIES;
	const struct party *p = &parties[i];
	char path[512];

	parties_load(1u << i, FRUGAL);
	if (!party_there(p))
		return;
	results[i].r_there = true;
	c.c_obj = harness_memory(OBJECTS * sizeof(*c.c_obj));
	c.c_rng.r_state = opt.o_seed;
	if (!spike && opt.o_dir != NULL) {
		snprintf(path, sizeof(path), "%s/%schurn-%s.dat", opt.o_dir,
		    opt.o_prefix, p->pa_name);
		c.c_file = fopen(path, "w");
		if (c.c_file == NULL)
			bench_die("%s cannot be written", path);
		setvbuf(c.c_file, harness_memory(BUFSIZ), _IOFBF, BUFSIZ);
	}
	c.c_origin = party_pages(p);
	churn(p, &results[i], spike);
	if (c.c_file != NULL)
		fclose(c.c_file);
}

/*
 * Packed.
 */
static long packed[STEPS];

static void *
dry_alloc(size_t size)
{
	static char any[LARGEST];

	return any;
}

static void
dry_free(void *obj)
{
}

static const struct party dry = { .pa_name = "packed", .pa_kind = MALLOC,
    .pa_malloc = dry_alloc, .pa_free = dry_free };

static int
by_size(const void *a, const void *b)
{
	const struct object *const *x = a, *const *y = b;

	return ((*x)->o_size < (*y)->o_size) - ((*x)->o_size > (*y)->o_size);
}

/* => the pages that are needed */
static long
pack(void)
{
	struct object **sorted = calloc(c.c_nlive, sizeof(struct object *));
	unsigned i, used = 0;
	uint32_t page = 0;

	if (sorted == NULL)
		bench_die("no memory");
	for (i = 0; i < c.c_nlive; i++)
		sorted[i] = &c.c_obj[i];
	qsort(sorted, c.c_nlive, sizeof(struct object *), by_size);
	for (i = 0; i < c.c_nlive; i++) {
		if (used + sorted[i]->o_size > PAGE_SIZE) {
			page++;
			used = 0;
		}
		sorted[i]->o_page = page;
		used += sorted[i]->o_size;
	}
	free(sorted);
	return (long)page + 1;
}

/* Of so many pages, those that still have an object. */
static long
occupied(long pages)
{
	char *seen = calloc((size_t)pages, 1);
	unsigned i;
	long n = 0;

	if (seen == NULL)
		bench_die("no memory");
	for (i = 0; i < c.c_nlive; i++)
		if (!seen[c.c_obj[i].o_page]) {
			seen[c.c_obj[i].o_page] = 1;
			n++;
		}
	free(seen);
	return n;
}

static void
all_packed(void)
{
	unsigned step;

	memset(&c, 0, sizeof(c));
	c.c_rng.r_state = opt.o_seed;
	c.c_obj = harness_memory(OBJECTS * sizeof(*c.c_obj));
	for (step = 0; step < TRIMMED; step += 2) {
		go_to(&dry, step == 0 ? OBJECTS : REFILLED);
		packed[step] = pack();
		go_to(&dry, LEFT);
		packed[step + 1] = occupied(packed[step]);
	}
	packed[TRIMMED] = packed[TRIMMED - 1];
	packed[SPIKE] = packed[1];
}

static void
report(const char *what, unsigned step, double target)
{
	const long ours = results[KMALLOC].r_pages[step];
	long best = 0;
	unsigned i;

	printf("%-16s%9.0f ", what, results[KMALLOC].r_live[step]);
	for (i = KMALLOC; i < NPARTIES; i++) {
		if (!results[i].r_there) {
			printf(" %8s", "-");
			continue;
		}
		printf(" %8ld", results[i].r_pages[step]);
		if (i >= FIRST_PEER &&
		    (best == 0 || results[i].r_pages[step] < best))
			best = results[i].r_pages[step];
	}
	printf(" %8ld %7.3f", packed[step], (double)ours / (double)best);
	if (target == 0) {
		printf("\n");
		return;
	}
	printf("  %.2f %s\n", target, (double)ours <= target * (double)best ?
	    "met" : "NOT MET");
	for (i = FIRST_PEER; i < NPARTIES; i++)
		if (results[i].r_there)
			bench_figure("pages", (double)ours,
			    (double)results[i].r_pages[step],
			    "%schurn.%s.%s", opt.o_prefix, what,
			    parties[i].pa_name);
	bench_figure("pages", (double)ours, (double)best, "%schurn.%s",
	    opt.o_prefix, what);
	bench_figure("pages", (double)ours, (double)packed[step],
	    "%schurn.%s.packed", opt.o_prefix, what);
	bench_figure("pages held/live", (double)ours /
	    results[KMALLOC].r_live[step], 0, "%schurn.%s.per-live",
	    opt.o_prefix, what);
}

static void
report_time(void)
{
	unsigned i;

	printf("%-25s ", "ns an operation");
	for (i = KMALLOC; i < NPARTIES; i++)
		if (results[i].r_there)
			printf(" %8.1f", results[i].r_ns);
		else
			printf(" %8s", "-");
	printf("\n\n");
}

void
bench_slab_churn(void)
{
	char what[32];
	unsigned i, round;

	results = harness_memory(NPARTIES * sizeof(*results));
	for (i = KMALLOC; i < NPARTIES; i++)
		bench_apart(one_party, &i, parties[i].pa_name);
	for (i = NPARTIES + KMALLOC; i < 2 * NPARTIES; i++)
		bench_apart(one_party, &i, NULL);
	all_packed();
	printf("4 KB pages held: %u objects of %u-%u bytes, a random 90 %% "
	    "freed, refilled to %u\nand freed to %u five times; then each "
	    "gives back what it can (\"reaped\"); \"spike\" is\nthat after "
	    "the first time already.  \"packed\": who moved all objects "
	    "together, by size,\nbefore each freeing.\n\n%-16s%9s ",
	    OBJECTS, SMALLEST, LARGEST, REFILLED, LEFT, "", "live");
	for (i = KMALLOC; i < NPARTIES; i++)
		printf(" %8s", parties[i].pa_name);
	printf(" %8s   ratio target\n", dry.pa_name);
	report("filled", 0, 0);
	report("freed", 1, 0);
	for (round = 0; round < ROUNDS; round++) {
		snprintf(what, sizeof(what), "refilled %u", round + 1);
		report(what, 2 + 2 * round, 0);
		snprintf(what, sizeof(what), "freed %u", round + 1);
		report(what, 3 + 2 * round, 0);
	}
	report("reaped", TRIMMED, 0.8);
	report("spike", SPIKE, 0.8);
	report_time();
}
