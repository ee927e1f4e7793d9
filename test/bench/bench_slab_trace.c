/*
 * What a real kernel asked for: the recording of a Linux build (its format
 * is told in test_trace.c), read once, and replayed by each party.
 *
 * Ours serves it as a kernel would: objects from caches, the heap's pieces
 * from kmalloc, areas from kmem_alloc with their guard page.  The peers serve
 * all from their malloc, areas aligned and without a guard.  Whoever gets
 * memory writes to each page of it, as its owner would.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench_slab.h"
#include "host.h"

#define TRACE		"test/data/linux-build.trace.xz"
#define MAX_CACHES	256u
#define SAMPLES		200u		/* of the pages held */
#define MAX_ROUNDS	15u

struct op {
	char		 o_op;		/* a m f v u */
	uint8_t		 o_align;	/* (v) log2 of it */
	uint16_t	 o_cache;	/* (a) */
	uint32_t	 o_size;	/* (a m v) */
	uint32_t	 o_id;		/* of an area: behind the others */
};

struct piece {
	void		*p_at;
	uint32_t	 p_size;
	uint16_t	 p_cache;	/* or HEAP_PIECE, AREA_PIECE */
};
#define HEAP_PIECE	(MAX_CACHES + 0)
#define AREA_PIECE	(MAX_CACHES + 1)

static struct {
	struct op	*op;
	size_t		 nops, room;
	unsigned	 npieces;	/* IDs of a and m */
	unsigned	 nareas;
	struct {
		uint32_t size;
		char	 name[32];
	}		 cache[MAX_CACHES];
	unsigned	 ncaches;
} trace;

/* What a party has of it. */
struct replay {
	struct piece	*re_piece;
	struct kmem_cache *re_cache[MAX_CACHES];
	size_t		 re_live;	/* bytes asked for */
};

/*
 * Reading.
 */
static struct op *
new_op(void)
{
	if (trace.nops == trace.room) {
		trace.room = trace.room * 2 + 1024;
		trace.op = realloc(trace.op, trace.room * sizeof(*trace.op));
		if (trace.op == NULL)
			bench_die("no memory for the recording");
	}
	return &trace.op[trace.nops++];
}

static void
read_cache(const char *line)
{
	unsigned num, size;
	int at;

	if (sscanf(line, "c %u %u %n", &num, &size, &at) != 2 ||
	    num >= MAX_CACHES)
		bench_die("trace: %s", line);
	trace.cache[num].size = size;
	k_strlcpy(trace.cache[num].name, line + at,
	    sizeof(trace.cache[num].name));
	if (num >= trace.ncaches)
		trace.ncaches = num + 1;
}

static void
read_line(const char *line)
{
	struct op *o;
	unsigned long n[3] = { 0, 0, 1 };
	int got = sscanf(line + 1, "%lu %lu %lu", &n[0], &n[1], &n[2]);

	if (*line == 'c') {
		read_cache(line);
		return;
	}
	if (got < 1 || strchr("amfvu", *line) == NULL)
		bench_die("trace: %s", line);
	o = new_op();
	*o = (struct op){ .o_op = *line, .o_id = (uint32_t)n[0],
	    .o_size = (uint32_t)n[1] };
	if (*line == 'a') {
		o->o_cache = (uint16_t)n[1];
		o->o_size = trace.cache[n[1]].size;
	}
	while (1ul << o->o_align < n[2])
		o->o_align++;
	if (*line == 'v' || *line == 'u')
		trace.nareas = n[0] >= trace.nareas ? (unsigned)n[0] + 1 :
		    trace.nareas;
	else
		trace.npieces = n[0] >= trace.npieces ? (unsigned)n[0] + 1 :
		    trace.npieces;
}

static void
read_trace(void)
{
	FILE *f = popen("xz -dc " TRACE, "r");
	char line[256];
	size_t i;

	if (f == NULL)
		bench_die("xz cannot be run");
	while (fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (*line != '\0' && *line != '#')
			read_line(line);
	}
	if (pclose(f) != 0 || trace.nops == 0)
		bench_die("%s cannot be read", TRACE);
	for (i = 0; i < trace.nops; i++)
		if (trace.op[i].o_op == 'v' || trace.op[i].o_op == 'u')
			trace.op[i].o_id += trace.npieces;
}

/*
 * Replaying.
 */
static ALWAYS_INLINE void
touch(void *at, size_t size)
{
	size_t off;

	if (at == NULL)
		bench_die("trace: out of memory");
	for (off = 0; off < size; off += PAGE_SIZE)
		*((volatile char *)at + off) = 1;
}

/* An area: the recording counts the guard page behind it. */
static void
take_area(const struct party *p, struct piece *pc, const struct op *o)
{
	size_t size = o->o_size > PAGE_SIZE ? o->o_size - PAGE_SIZE :
	    o->o_size;
	struct vm_map_request rq = { .vr_size = round_page(size),
	    .vr_align = o->o_align <= PAGE_SHIFT ? 0 : 1ul << o->o_align,
	    .vr_min = VM_MISC_MIN, .vr_max = VM_MISC_MAX,
	    .vr_guard_hi = o->o_size > PAGE_SIZE, .vr_owner = "area" };
	vaddr_t addr;

	pc->p_size = (uint32_t)round_page(size);
	if (p->pa_kind != CACHE)
		pc->p_at = p->pa_memalign(o->o_align <= PAGE_SHIFT ?
		    PAGE_SIZE : 1ul << o->o_align, pc->p_size);
	else if (kmem_alloc_request(kernel_map, &rq, KM_SLEEP, &addr) == 0)
		pc->p_at = (void *)addr;
}

static void
give_area(const struct party *p, const struct piece *pc)
{
	if (p->pa_kind == CACHE)
		kmem_free(kernel_map, (vaddr_t)pc->p_at, pc->p_size);
	else
		p->pa_memalign_free(pc->p_at);
}

static ALWAYS_INLINE void
take_piece(const struct party *p, enum kind k, struct replay *re,
    const struct op *o)
{
	struct piece *pc = &re->re_piece[o->o_id];

	pc->p_size = o->o_size;
	pc->p_cache = o->o_cache;
	if (o->o_op == 'a')
		pc->p_at = take(p, k, re->re_cache[o->o_cache], o->o_size);
	else if (o->o_op == 'm') {
		pc->p_cache = HEAP_PIECE;
		pc->p_at = k == CACHE ? take(&parties[KMALLOC], HEAP, NULL,
		    o->o_size) : take(p, k, NULL, o->o_size);
	} else {
		pc->p_cache = AREA_PIECE;
		take_area(p, pc, o);
	}
	touch(pc->p_at, pc->p_size);
	re->re_live += pc->p_size;
}

static ALWAYS_INLINE void
give_piece(const struct party *p, enum kind k, struct replay *re, uint32_t id)
{
	struct piece *pc = &re->re_piece[id];

	re->re_live -= pc->p_size;
	if (pc->p_cache == AREA_PIECE)
		give_area(p, pc);
	else if (k == CACHE && pc->p_cache == HEAP_PIECE)
		give(&parties[KMALLOC], HEAP, NULL, 0, pc->p_at);
	else
		give(p, k, re->re_cache[pc->p_cache % MAX_CACHES], pc->p_size,
		    pc->p_at);
	pc->p_at = NULL;
}

static ALWAYS_INLINE void
replay_ops(const struct party *p, enum kind k, struct replay *re,
    const struct op *o, const struct op *end)
{
	for (; o < end; o++)
		if (o->o_op == 'f' || o->o_op == 'u')
			give_piece(p, k, re, o->o_id);
		else
			take_piece(p, k, re, o);
}

static ALWAYS_INLINE void
replay_rest(const struct party *p, enum kind k, struct replay *re)
{
	unsigned id;

	for (id = 0; id < trace.npieces + trace.nareas; id++)
		if (re->re_piece[id].p_at != NULL)
			give_piece(p, k, re, id);
}

static void
replay_init(struct replay *re)
{
	re->re_piece = harness_memory((trace.npieces + trace.nareas) *
	    sizeof(struct piece));
	re->re_live = 0;
}

/* The recording's caches; only ours has such. */
static void
replay_caches(struct replay *re)
{
	struct kmem_cache_args ca = { .ca_align = 0 };
	unsigned i;

	for (i = 0; i < trace.ncaches; i++) {
		if (trace.cache[i].size == 0)
			continue;
		ca.ca_name = trace.cache[i].name;
		ca.ca_size = trace.cache[i].size;
		re->re_cache[i] = kmem_cache_create(&ca);
		if (re->re_cache[i] == NULL)
			bench_die("no cache %s", ca.ca_name);
	}
}

/*
 * The parties: ours (objects from caches, the rest from the heap) and the
 * peers; kmalloc by itself takes no part.
 */
static bool
takes_part(unsigned i)
{
	return i != KMALLOC && party_there(&parties[i]);
}

/*
 * Time.
 */
struct times {
	double		t_ns[NPARTIES][MAX_ROUNDS];
	double		t_median[NPARTIES];
	uint64_t	t_syscalls;	/* of our machine's, a round */
};
static struct times *warm, *cold;	/* shared with the children */

static double
replay_timed(struct times *ts, unsigned i, struct replay *re)
{
	const struct party *p = &parties[i];
	uint64_t calls = host_syscalls();
	double t = cpu_ns();

	BY_KIND(p, replay_ops, re, trace.op, trace.op + trace.nops);
	t = cpu_ns() - t;
	if (i == SLAB)
		ts->t_syscalls = host_syscalls() - calls;
	BY_KIND(p, replay_rest, re);
	return t;
}

/* In one process, in turn; the first round, which warms up, does not count. */
static void
time_warm(void *arg)
{
	struct replay re[NPARTIES];
	unsigned round, i, k, rounds = *(unsigned *)arg;
	double t;

	parties_load(ALL_PARTIES, 0);
	for (i = 0; i < NPARTIES; i++)
		replay_init(&re[i]);
	replay_caches(&re[SLAB]);
	for (round = 0; round <= rounds; round++) {
		for (k = 0; k < NPARTIES; k++) {
			i = (round + k) % NPARTIES;
			if (!takes_part(i))
				continue;
			t = replay_timed(warm, i, &re[i]);
			if (round > 0)
				warm->t_ns[i][round - 1] = t;
		}
	}
	for (i = 0; i < NPARTIES; i++)
		if (takes_part(i))
			warm->t_median[i] = bench_median(warm->t_ns[i],
			    rounds);
}

/* Once, in a new process: all memory is got from the system. */
static void
time_cold(void *arg)
{
	unsigned i = *(unsigned *)arg % NPARTIES;
	unsigned round = *(unsigned *)arg / NPARTIES;
	struct replay re;

	parties_load(1u << i, 0);
	if (!takes_part(i))
		return;
	replay_init(&re);
	if (i == SLAB)
		replay_caches(&re);
	cold->t_ns[i][round] = replay_timed(cold, i, &re);
}

static void
report_times(const char *what, const struct times *t)
{
	unsigned i, best = 0;

	printf("%-24s", what);
	for (i = 0; i < NPARTIES; i++)
		if (t->t_median[i] != 0)
			printf(" %8.1f", t->t_median[i] / 1e6);
		else
			printf(" %8s", "-");
	for (i = FIRST_PEER; i < NPARTIES; i++)
		if (t->t_median[i] != 0 &&
		    (best == 0 || t->t_median[i] < t->t_median[best]))
			best = i;
	printf(" %7.3f  1.00 %s\n", t->t_median[SLAB] /
	    t->t_median[best], t->t_median[SLAB] <= t->t_median[best] ?
	    "met" : "NOT MET");
	for (i = FIRST_PEER; i < NPARTIES; i++)
		if (t->t_median[i] != 0)
			bench_figure("ms", t->t_median[SLAB] / 1e6,
			    t->t_median[i] / 1e6, "%strace.%s.%s",
			    opt.o_prefix, what, parties[i].pa_name);
	bench_figure("ms", t->t_median[SLAB] / 1e6, t->t_median[best] / 1e6,
	    "%strace.%s", opt.o_prefix, what);
}

static void
times(void)
{
	unsigned rounds = opt.o_quick ? 3 : 9, arg, i;
	struct times *t = harness_memory(2 * sizeof(*t));

	warm = &t[0];
	cold = &t[1];
	bench_apart(time_warm, &rounds, "trace, warm");
	for (arg = 0; arg < rounds * NPARTIES; arg++)
		bench_apart(time_cold, &arg, arg == 0 ? "trace, cold" : NULL);
	for (i = 0; i < NPARTIES; i++)
		if (cold->t_ns[i][0] != 0)
			cold->t_median[i] = bench_median(cold->t_ns[i],
			    rounds);
	printf("Milliseconds for the %zu operations of the recording; medians "
	    "of %u.\nWarm: in one process, in turn, all having done it before; "
	    "cold: in a new process.\nOf the host, our machine asks "
	    "%llu system calls warm, %llu cold.\n\n%-24s", trace.nops, rounds,
	    (unsigned long long)warm->t_syscalls,
	    (unsigned long long)cold->t_syscalls, "");
	for (i = 0; i < NPARTIES; i++)
		printf(" %8s", parties[i].pa_name);
	printf("   ratio target\n");
	report_times("warm", warm);
	report_times("cold", cold);
	printf("\n");
}

/*
 * Memory.
 */
struct held {
	bool		h_there;
	long		h_peak, h_final, h_trimmed;
	long		h_live_peak, h_live_final;
	long		h_touched_peak, h_touched;	/* see below */
};
static struct held *held;		/* by party, shared */

/*
 * Ours holds frames.  The host's memory behind the addresses of our machine
 * is another figure: it stays for a while where a frame was.
 */
static void
sample_touched(struct held *h)
{
	h->h_touched = (long)host_touched();
	if (h->h_touched > h->h_touched_peak)
		h->h_touched_peak = h->h_touched;
}

static FILE *
samples_file(const char *name)
{
	char path[512];
	FILE *f;

	if (opt.o_dir == NULL)
		return NULL;
	snprintf(path, sizeof(path), "%s/%strace-%s.dat", opt.o_dir,
	    opt.o_prefix, name);
	f = fopen(path, "w");
	if (f == NULL)
		bench_die("%s cannot be written", path);
	return f;
}

static void
memory(void *arg)
{
	const unsigned i = *(unsigned *)arg;
	const struct party *p = &parties[i];
	struct held *h = &held[i];
	FILE *f = samples_file(p->pa_name);
	struct replay re;
	long origin, live;
	size_t at, next;

	parties_load(1u << i, FRUGAL);
	if (!party_there(p))
		return;
	h->h_there = true;
	replay_init(&re);
	origin = party_pages(p);
	if (i == SLAB)
		replay_caches(&re);
	for (at = 0; at < trace.nops; at = next) {
		next = at + trace.nops / SAMPLES < trace.nops ?
		    at + trace.nops / SAMPLES : trace.nops;
		BY_KIND(p, replay_ops, &re, trace.op + at, trace.op + next);
		h->h_final = party_pages(p) - origin;
		live = (long)(re.re_live / PAGE_SIZE);
		h->h_peak = h->h_final > h->h_peak ? h->h_final : h->h_peak;
		h->h_live_peak = live > h->h_live_peak ? live : h->h_live_peak;
		h->h_live_final = live;
		sample_touched(h);
		if (f != NULL)
			fprintf(f, "%zu %ld %ld\n", next, h->h_final, live);
	}
	party_trim(p);
	h->h_trimmed = party_pages(p) - origin;
	if (f != NULL)
		fclose(f);
}

static void
report_memory(const char *what, size_t offset, long live)
{
	long v[NPARTIES], best = 0;
	unsigned i;

	printf("%-12s%11ld ", what, live);
	for (i = 0; i < NPARTIES; i++) {
		v[i] = *(const long *)((const char *)&held[i] + offset);
		if (!held[i].h_there) {
			printf(" %8s", "-");
			continue;
		}
		printf(" %8ld", v[i]);
		if (i >= FIRST_PEER && (best == 0 || v[i] < best))
			best = v[i];
	}
	printf(" %7.3f  <1   %s\n", (double)v[SLAB] / (double)best,
	    v[SLAB] < best ? "met" : "NOT MET");
	for (i = FIRST_PEER; i < NPARTIES; i++)
		if (held[i].h_there)
			bench_figure("pages", (double)v[SLAB], (double)v[i],
			    "%strace.%s.%s", opt.o_prefix, what,
			    parties[i].pa_name);
	bench_figure("pages", (double)v[SLAB], (double)best, "%strace.%s",
	    opt.o_prefix, what);
}

void
bench_slab_trace(void)
{
	unsigned i;

	read_trace();
	times();
	held = harness_memory(NPARTIES * sizeof(*held));
	for (i = 0; i < NPARTIES; i++)
		if (i != KMALLOC)
			bench_apart(memory, &i, i == 0 ? "trace, memory" :
			    NULL);
	printf("4 KB pages held for it, each party in a process of its own: "
	    "at the highest of %u\nsamples, at the end, and after it gave "
	    "back what it could.\n\n%-12s%11s ", SAMPLES, "", "live");
	for (i = 0; i < NPARTIES; i++)
		printf(" %8s", parties[i].pa_name);
	printf("   ratio target\n");
	report_memory("peak", offsetof(struct held, h_peak),
	    held[SLAB].h_live_peak);
	report_memory("final", offsetof(struct held, h_final),
	    held[SLAB].h_live_final);
	report_memory("trimmed", offsetof(struct held, h_trimmed),
	    held[SLAB].h_live_final);
	printf("(Of the host's memory, ours had touched %ld pages by its peak, "
	    "%ld at its end.)\n\n", held[SLAB].h_touched_peak,
	    held[SLAB].h_touched);
	bench_figure("pages", (double)held[SLAB].h_touched_peak, 0,
	    "%strace.touched", opt.o_prefix);
}
