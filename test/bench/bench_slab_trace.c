/*
 * What a real kernel asked for: the recording of a Linux build (its format
 * is told in test_trace.c), read once, and replayed by each party.
 *
 * Ours serves it as a kernel would: objects from caches, the heap's pieces
 * from kmalloc, areas from kmem_alloc with their guard page.  The peers serve
 * all from their malloc, areas aligned and without a guard.  Whoever gets
 * memory writes to each page of it, as its owner would.
 */
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_slab.h"
#include "host.h"

#define TRACE		"test/data/linux-build.trace.xz"
#define MAX_CACHES	256u
#define SAMPLES		200u		/* of the pages held */
#define MAX_ROUNDS	15u

/*
 * An operation knows what a kernel knows where it calls: a free has the cache
 * and the size of what goes.
 */
enum opcode { OBJECT, FREE_OBJECT, HEAP_PIECE, FREE_HEAP_PIECE, AREA,
	FREE_AREA };

struct op {
	uint8_t		 o_code;
	uint8_t		 o_align;	/* of an area: log2 of it */
	uint16_t	 o_cache;	/* of an object */
	uint32_t	 o_size;
	uint32_t	 o_id;		/* of an area: behind the others */
};

static struct {
	struct op	*op;
	size_t		 nops, room;
	size_t		 nrest;		/* behind them: frees of all that is
					   left */
	unsigned	 npieces;	/* IDs of objects and of the heap's */
	unsigned	 nareas;
	struct {
		uint32_t size;
		char	 name[32];
	}		 cache[MAX_CACHES];
	unsigned	 ncaches;
} trace;

/* What a party has of it. */
struct replay {
	void		**re_at;	/* by ID */
	struct kmem_cache *re_cache[MAX_CACHES];
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
	static const char letters[] = "afm.vu";
	const char *letter = strchr(letters, *line);
	struct op *o;
	unsigned long n[3] = { 0, 0, 1 };
	int got = sscanf(line + 1, "%lu %lu %lu", &n[0], &n[1], &n[2]);

	if (*line == 'c') {
		read_cache(line);
		return;
	}
	if (got < 1 || letter == NULL)
		bench_die("trace: %s", line);
	o = new_op();
	*o = (struct op){ .o_code = (uint8_t)(letter - letters),
	    .o_id = (uint32_t)n[0], .o_size = (uint32_t)n[1] };
	if (o->o_code == OBJECT) {
		o->o_cache = (uint16_t)n[1];
		o->o_size = trace.cache[n[1]].size;
	}
	while (1ul << o->o_align < n[2])
		o->o_align++;
	if (o->o_code >= AREA)
		trace.nareas = n[0] >= trace.nareas ? (unsigned)n[0] + 1 :
		    trace.nareas;
	else
		trace.npieces = n[0] >= trace.npieces ? (unsigned)n[0] + 1 :
		    trace.npieces;
}

/* What frees what o made. */
static struct op
free_of(const struct op *o)
{
	struct op f = *o;

	f.o_code++;
	return f;
}

/* Tell each free what it frees, and free at the end what is left. */
static void
resolve(void)
{
	const size_t nops = trace.nops;
	size_t *born = calloc(trace.npieces + trace.nareas, sizeof(*born)), i;
	unsigned id;

	if (born == NULL)
		bench_die("no memory for the recording");
	for (i = 0; i < nops; i++) {
		if (trace.op[i].o_code >= AREA)
			trace.op[i].o_id += trace.npieces;
		id = trace.op[i].o_id;
		if (trace.op[i].o_code % 2 == 0)
			born[id] = i + 1;
		else if (born[id] == 0)
			bench_die("trace: %u is freed, but was not there", id);
		else {
			trace.op[i] = free_of(&trace.op[born[id] - 1]);
			born[id] = 0;
		}
	}
	for (id = 0; id < trace.npieces + trace.nareas; id++)
		if (born[id] != 0)
			*new_op() = free_of(&trace.op[born[id] - 1]);
	trace.nrest = trace.nops - nops;
	trace.nops = nops;
	free(born);
}

static void
read_trace(void)
{
	FILE *f = popen("xz -dc " TRACE, "r");
	char line[256];

	if (f == NULL)
		bench_die("xz cannot be run");
	while (fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (*line != '\0' && *line != '#')
			read_line(line);
	}
	if (pclose(f) != 0 || trace.nops == 0)
		bench_die("%s cannot be read", TRACE);
	resolve();
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

/* The recording counts the guard page behind an area. */
static size_t
area_size(const struct op *o)
{
	return round_page(o->o_size > PAGE_SIZE ? o->o_size - PAGE_SIZE :
	    o->o_size);
}

static void *
take_area(const struct party *p, const struct op *o)
{
	struct vm_map_request rq = { .vr_size = area_size(o),
	    .vr_align = o->o_align <= PAGE_SHIFT ? 0 : 1ul << o->o_align,
	    .vr_min = VM_MISC_MIN, .vr_max = VM_MISC_MAX,
	    .vr_guard_hi = o->o_size > PAGE_SIZE, .vr_owner = "area" };
	vaddr_t addr;

	if (p->pa_kind != CACHE)
		return p->pa_memalign(o->o_align <= PAGE_SHIFT ? PAGE_SIZE :
		    1ul << o->o_align, rq.vr_size);
	return kmem_alloc_request(kernel_map, &rq, KM_SLEEP, &addr) == 0 ?
	    (void *)addr : NULL;
}

static void
give_area(const struct party *p, const struct op *o, void *at)
{
	if (p->pa_kind == CACHE)
		kmem_free(kernel_map, (vaddr_t)at, area_size(o));
	else
		p->pa_memalign_free(at);
}

/* The heap's pieces are kmalloc's where objects are from caches. */
static ALWAYS_INLINE void
replay_op(const struct party *p, enum kind k, struct replay *re,
    const struct op *o)
{
	const struct party *heap = k == CACHE ? &parties[KMALLOC] : p;
	const enum kind hk = k == CACHE ? HEAP : k;
	void **at = &re->re_at[o->o_id];

	switch ((enum opcode)o->o_code) {
	case OBJECT:
		*at = take(p, k, re->re_cache[o->o_cache], o->o_size);
		touch(*at, o->o_size);
		break;
	case HEAP_PIECE:
		*at = take(heap, hk, NULL, o->o_size);
		touch(*at, o->o_size);
		break;
	case AREA:
		*at = take_area(p, o);
		touch(*at, area_size(o));
		break;
	case FREE_OBJECT:
		give(p, k, re->re_cache[o->o_cache], o->o_size, *at);
		break;
	case FREE_HEAP_PIECE:
		give(heap, hk, NULL, o->o_size, *at);
		break;
	case FREE_AREA:
		give_area(p, o, *at);
		break;
	}
}

static ALWAYS_INLINE void
replay_ops(const struct party *p, enum kind k, struct replay *re,
    const struct op *o, const struct op *end)
{
	for (; o < end; o++)
		replay_op(p, k, re, o);
}

static void __attribute__((__noinline__))
replay(const struct party *p, struct replay *re, const struct op *o,
    const struct op *end)
{
	BY_KIND(p, replay_ops, re, o, end);
}

static void
replay_init(struct replay *re)
{
	re->re_at = harness_memory((trace.npieces + trace.nareas) *
	    sizeof(*re->re_at));
}

/* Bytes that are there after these operations, of `live` before. */
static size_t
live_after(size_t live, const struct op *o, const struct op *end)
{
	size_t size;

	for (; o < end; o++) {
		size = o->o_code >= AREA ? area_size(o) : o->o_size;
		live = o->o_code % 2 == 0 ? live + size : live - size;
	}
	return live;
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
	long		t_faults[NPARTIES];	/* the host's, in the last */
	uint64_t	t_syscalls;	/* of our machine's, a round */
};
static struct times *warm, *cold;	/* shared with the children */

/* Pages that the host had to give so far, to whoever touched them. */
static long
page_faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt;
}

/* What one costs, in nanoseconds: of as many as a replay takes. */
static double
page_ns(void)
{
	const size_t size = 2000 * PAGE_SIZE;
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS, -1, 0);
	double t;

	if (mem == MAP_FAILED)
		bench_die("no memory");
	madvise(mem, size, MADV_NOHUGEPAGE);
	t = cpu_ns();
	touch(mem, size);
	t = cpu_ns() - t;
	munmap(mem, size);
	return t * PAGE_SIZE / (double)size;
}

static double
replay_timed(struct times *ts, unsigned i, struct replay *re)
{
	const struct party *p = &parties[i];
	const struct op *end = trace.op + trace.nops;
	uint64_t calls = host_syscalls();
	long faults = page_faults();
	double t = cpu_ns();

	replay(p, re, trace.op, end);
	t = cpu_ns() - t;
	ts->t_faults[i] = page_faults() - faults;
	if (i == SLAB)
		ts->t_syscalls = host_syscalls() - calls;
	replay(p, re, end, end + trace.nrest);
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
	/* In the last round. */
	printf("%-24s", "  pages given by the host");
	for (i = 0; i < NPARTIES; i++)
		if (cold->t_median[i] != 0)
			printf(" %8ld", cold->t_faults[i]);
		else
			printf(" %8s", "-");
	printf("\n  (one costs %.0f ns)\n", page_ns());
	for (i = FIRST_PEER; i < NPARTIES; i++)
		if (cold->t_median[i] != 0)
			bench_figure("pages", (double)cold->t_faults[SLAB],
			    (double)cold->t_faults[i],
			    "%strace.cold.faults.%s", opt.o_prefix,
			    parties[i].pa_name);
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
	size_t at, next, bytes = 0;

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
		replay(p, &re, trace.op + at, trace.op + next);
		h->h_final = party_pages(p) - origin;
		bytes = live_after(bytes, trace.op + at, trace.op + next);
		live = (long)(bytes / PAGE_SIZE);
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
