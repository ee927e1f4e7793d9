/*
 * What a real kernel asked of its memory, asked of ours: the recording of a
 * Linux build is replayed whole, through caches, heap and kernel_map.
 *
 *	test_trace [FILE ...]	other recordings, .xz or plain; HOLM_TRACE
 *				in the environment names one too
 *
 * One operation a line:
 *
 *	c CACHE SIZE NAME	CACHE names a cache of SIZE bytes from here on
 *	a ID CACHE		an object of CACHE, called ID
 *	m ID BYTES		BYTES bytes of the heap, called ID
 *	f ID			what a or m called ID is freed
 *	v ID BYTES ALIGN	a virtual area, its guard page included
 *	u ID			the area ID is freed
 *
 * Every byte of every piece is written when it is allocated and checked when
 * it is freed; everything is walked every few thousand operations; and once
 * what is live at the end has been freed, frames and regions are as before.
 *
 * A line that makes no sense (what is it, a number is missing, an ID is taken
 * or is not) is reported with its number and skipped, and fails the test.
 */
#include <sys/wait.h>

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vm/kmalloc_impl.h>

#include "heap_stats.h"
#include "host.h"
#include "ledger.h"
#include "must.h"

#define DEFAULT_TRACE	"test/data/linux-build.trace.xz"
/* 512 MB; in 32 bits what fits above the windows, whose place is given. */
#define FRAMES		((sizeof(void *) == 8 ? 512u : 128u) << 8)
#define MAX_ID		(1u << 24)	/* slot numbers are dense */
#define CHECK_EVERY	5000u		/* operations */
#define MAX_REPORTS	10u

static KMALLOC_DEFINE(M_TRACE, "trace", "the recording's heap");

/* A piece that is live: an object, a piece of the heap, or an area. */
struct piece {
	char		*p_addr;
	size_t		 p_size;	/* bytes that are written */
	struct kmem_cache *p_cache;	/* NULL: of the heap */
	uint32_t	 p_mark;
};

/* A cache's name lives as long as the cache. */
struct name {
	struct name	*n_next;
	char		 n_text[];
};

struct pieces {
	struct piece	*ps_at;		/* by ID */
	unsigned	 ps_n;
};

static struct replay {
	struct pieces	 r_pieces;	/* of a and m */
	struct pieces	 r_areas;	/* of v */
	struct kmem_cache **r_cache;	/* by the recording's number */
	unsigned	 r_ncaches;
	struct name	*r_names;
	unsigned long	 r_line;
	unsigned long	 r_ops;
	unsigned long	 r_bad;		/* lines that made no sense */
	unsigned long	 r_peak;	/* frames behind kmem_alloc */
	uint32_t	 r_mark;
} r;

static const char **paths;		/* NULL ends */

static void __printflike(1, 2)
bad_line(const char *fmt, ...)
{
	va_list ap;

	if (r.r_bad++ >= MAX_REPORTS)
		return;
	printf("trace: line %lu: ", r.r_line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(" (skipped)\n");
}

/*
 * Bytes.
 */
static uint8_t
byte_of(uint32_t mark, size_t i)
{
	return (uint8_t)(mark + i * 3 + (i >> 8));
}

static void
fill(struct piece *p)
{
	size_t i;

	p->p_mark = r.r_mark += 0x9E3779B9u;
	for (i = 0; i < p->p_size; i++)
		p->p_addr[i] = (char)byte_of(p->p_mark, i);
}

static void
verify(const struct piece *p)
{
	size_t i;

	for (i = 0; i < p->p_size; i++)
		if ((uint8_t)p->p_addr[i] != byte_of(p->p_mark, i))
			ck_abort_msg("line %lu: byte %zu of %zu at %p is not "
			    "what was written", r.r_line, i, p->p_size,
			    (void *)p->p_addr);
}

/*
 * Pieces by ID.
 */

/* The place for a new ID; NULL: it is taken, or no slot number. */
static struct piece *
piece_new(struct pieces *ps, uint64_t id)
{
	unsigned n = ps->ps_n;

	if (id >= MAX_ID) {
		bad_line("ID %llu is too large", (unsigned long long)id);
		return NULL;
	}
	if (id >= n) {
		ps->ps_n = n * 2 > id + 1 ? n * 2 : (unsigned)id + 1;
		ps->ps_at = realloc(ps->ps_at, ps->ps_n * sizeof(struct piece));
		must(ps->ps_at != NULL);
		memset(ps->ps_at + n, 0, (ps->ps_n - n) * sizeof(struct piece));
	}
	if (ps->ps_at[id].p_addr != NULL) {
		bad_line("ID %llu is live already", (unsigned long long)id);
		return NULL;
	}
	return &ps->ps_at[id];
}

static struct piece *
piece_live(struct pieces *ps, uint64_t id)
{
	if (id >= ps->ps_n || ps->ps_at[id].p_addr == NULL) {
		bad_line("ID %llu is not live", (unsigned long long)id);
		return NULL;
	}
	return &ps->ps_at[id];
}

/*
 * The operations.
 */
static const char *
keep_name(const char *text)
{
	struct name *n = malloc(sizeof(*n) + strlen(text) + 1);

	must(n != NULL);
	strcpy(n->n_text, text);
	n->n_next = r.r_names;
	r.r_names = n;
	return n->n_text;
}

static void
op_cache(uint64_t num, uint64_t size, const char *name)
{
	struct kmem_cache_args ca = { .ca_size = (size_t)size };

	if (num >= MAX_ID || size > SIZE_MAX) {
		bad_line("cache %llu of %llu bytes", (unsigned long long)num,
		    (unsigned long long)size);
		return;
	}
	if (num >= r.r_ncaches) {
		r.r_cache = realloc(r.r_cache, (num + 1) * sizeof(*r.r_cache));
		must(r.r_cache != NULL);
		memset(r.r_cache + r.r_ncaches, 0,
		    (num + 1 - r.r_ncaches) * sizeof(*r.r_cache));
		r.r_ncaches = (unsigned)num + 1;
	}
	ca.ca_name = keep_name(name);
	r.r_cache[num] = kmem_cache_create(&ca);
	if (r.r_cache[num] == NULL)
		bad_line("%s", host_log_last());
}

static void
op_object(uint64_t id, uint64_t num)
{
	struct piece *p;

	if (num >= r.r_ncaches || r.r_cache[num] == NULL) {
		bad_line("there is no cache %llu", (unsigned long long)num);
		return;
	}
	if ((p = piece_new(&r.r_pieces, id)) == NULL)
		return;
	p->p_cache = r.r_cache[num];
	p->p_size = p->p_cache->kc_size;
	p->p_addr = kmem_cache_alloc(p->p_cache, KM_SLEEP);
	if (p->p_addr == NULL)
		ck_abort_msg("line %lu: no memory for an object of %s",
		    r.r_line, p->p_cache->kc_name);
	fill(p);
}

static void
op_heap(uint64_t id, uint64_t bytes)
{
	struct piece *p;

	if (bytes == 0 || bytes > SIZE_MAX) {
		bad_line("%llu bytes", (unsigned long long)bytes);
		return;
	}
	if ((p = piece_new(&r.r_pieces, id)) == NULL)
		return;
	p->p_cache = NULL;
	p->p_size = (size_t)bytes;
	p->p_addr = kmalloc(p->p_size, M_TRACE, KM_SLEEP);
	if (p->p_addr == NULL)
		ck_abort_msg("line %lu: no memory for %zu bytes", r.r_line,
		    p->p_size);
	fill(p);
}

static void
free_piece(struct piece *p)
{
	verify(p);
	if (p->p_cache != NULL)
		kmem_cache_free(p->p_cache, p->p_addr);
	else
		kfree(p->p_addr, M_TRACE);
	p->p_addr = NULL;
}

static void
op_area(uint64_t id, uint64_t bytes, uint64_t align)
{
	struct vm_map_request req = { .vr_min = VM_MISC_MIN,
	    .vr_max = VM_MISC_MAX, .vr_owner = "trace area" };
	struct piece *p;
	vaddr_t addr;
	int error;

	if (bytes == 0 || bytes > VM_MISC_MAX - VM_MISC_MIN ||
	    align > VM_MISC_MAX - VM_MISC_MIN || (align & (align - 1)) != 0) {
		bad_line("an area of %llu bytes aligned to %llu",
		    (unsigned long long)bytes, (unsigned long long)align);
		return;
	}
	if ((p = piece_new(&r.r_areas, id)) == NULL)
		return;
	p->p_size = round_page((vsize_t)bytes);
	if (p->p_size > PAGE_SIZE) {		/* the last page is a guard */
		p->p_size -= PAGE_SIZE;
		req.vr_guard_hi = 1;
	}
	req.vr_size = p->p_size;
	req.vr_align = align < PAGE_SIZE ? 0 : (vsize_t)align;
	error = kmem_alloc_request(kernel_map, &req, KM_SLEEP, &addr);
	if (error != 0)
		ck_abort_msg("line %lu: no area of %zu bytes: error %d",
		    r.r_line, p->p_size, error);
	must(addr >= VM_MISC_MIN && addr < VM_MISC_MAX);
	must(align == 0 || addr % align == 0);
	p->p_addr = (char *)addr;
	fill(p);
}

static void
free_area(struct piece *p)
{
	verify(p);
	kmem_free(kernel_map, (vaddr_t)p->p_addr, p->p_size);
	p->p_addr = NULL;
}

/*
 * Lines.
 */

/* The next number of a line, behind a space. */
static bool
number(const char **s, uint64_t *out)
{
	const char *end;

	if (**s != ' ' || (*s)[1] < '0' || (*s)[1] > '9')
		return false;
	if (!k_strtoull(*s + 1, &end, 10, out))
		return false;
	*s = end;
	return *end == ' ' || *end == '\0';
}

static void
one_line(const char *line)
{
	const char *s = line + 1;
	uint64_t n[3] = { 0 };
	unsigned want = strchr("cam", line[0]) ? 2 : line[0] == 'v' ? 3 : 1;
	unsigned i;
	struct piece *p;

	if (line[0] == '\0' || strchr("camfvu", line[0]) == NULL) {
		bad_line("\"%.40s\" is no operation", line);
		return;
	}
	for (i = 0; i < want; i++)
		if (!number(&s, &n[i])) {
			bad_line("\"%.40s\" lacks number %u", line, i + 1);
			return;
		}
	if (line[0] != 'c' && *s != '\0') {
		bad_line("\"%.40s\" has too much", line);
		return;
	}
	r.r_ops++;
	if (line[0] == 'c')
		op_cache(n[0], n[1], *s == ' ' ? s + 1 : "nameless");
	else if (line[0] == 'a')
		op_object(n[0], n[1]);
	else if (line[0] == 'm')
		op_heap(n[0], n[1]);
	else if (line[0] == 'v')
		op_area(n[0], n[1], n[2]);
	else if (line[0] == 'f' && (p = piece_live(&r.r_pieces, n[0])) != NULL)
		free_piece(p);
	else if (line[0] == 'u' && (p = piece_live(&r.r_areas, n[0])) != NULL)
		free_area(p);
}

static void
check_all(void)
{
	struct kmem_cache *kc = NULL;
	struct vm_phys_stats ps;
	const char *bad;

	while ((kc = kmem_cache_next(kc)) != NULL)
		if ((bad = kmem_cache_check(kc)) != NULL)
			ck_abort_msg("line %lu: %s: %s", r.r_line, kc->kc_name,
			    bad);
	if ((bad = kmalloc_check()) != NULL)
		ck_abort_msg("line %lu: kmalloc: %s", r.r_line, bad);
	if ((bad = vm_map_check(kernel_map)) != NULL)
		ck_abort_msg("line %lu: kernel_map: %s", r.r_line, bad);
	vm_phys_stats(&ps);
	if (ps.ps_owner[VM_PAGE_KMEM] > r.r_peak)
		r.r_peak = ps.ps_owner[VM_PAGE_KMEM];
}

static void
replay_lines(FILE *f)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	while ((len = getline(&line, &size, f)) > 0) {
		r.r_line++;
		if (line[len - 1] == '\n')
			line[--len] = '\0';
		if (len == 0 || line[0] == '#')
			continue;
		one_line(line);
		if (r.r_line % CHECK_EVERY == 0)
			check_all();
	}
	free(line);
}

/* Free what is live and all caches.  => the number of pieces freed */
static unsigned long
replay_end(void)
{
	struct kmem_cache *kc, *next;
	unsigned long n = 0;
	unsigned i;

	for (i = 0; i < r.r_pieces.ps_n; i++)
		if (r.r_pieces.ps_at[i].p_addr != NULL) {
			free_piece(&r.r_pieces.ps_at[i]);
			n++;
		}
	for (i = 0; i < r.r_areas.ps_n; i++)
		if (r.r_areas.ps_at[i].p_addr != NULL) {
			free_area(&r.r_areas.ps_at[i]);
			n++;
		}
	check_all();
	for (kc = kmem_cache_next(NULL); kc != NULL; kc = next) {
		next = kmem_cache_next(kc);
		if (!(kc->kc_flags & KC_STATIC))
			must(kmem_cache_destroy(kc) == 0);
	}
	kmem_cache_reap_all();
	return n;
}

/*
 * Files.  A .xz goes through xz, without a shell in between.
 */
static FILE *
open_trace(const char *path, pid_t *child)
{
	const size_t len = strlen(path);
	int fd[2];
	FILE *f;

	*child = 0;
	if (access(path, R_OK) != 0)
		ck_abort_msg("%s cannot be read (the tests run from the top "
		    "of the tree)", path);
	if (len < 3 || strcmp(path + len - 3, ".xz") != 0) {
		f = fopen(path, "r");
		must(f != NULL);
		return f;
	}
	must(pipe(fd) == 0);
	*child = fork();
	must(*child >= 0);
	if (*child == 0) {
		dup2(fd[1], STDOUT_FILENO);
		close(fd[0]);
		close(fd[1]);
		execlp("xz", "xz", "-dc", "--", path, (char *)NULL);
		perror("xz");
		_exit(127);
	}
	close(fd[1]);
	f = fdopen(fd[0], "r");
	must(f != NULL);
	return f;
}

static void
close_trace(FILE *f, const char *path, pid_t child)
{
	int status = 0;

	must(!ferror(f));
	fclose(f);
	if (child != 0) {
		must(waitpid(child, &status, 0) == child);
		if (status != 0)
			ck_abort_msg("xz -dc %s: status %#x", path, status);
	}
}

START_TEST(whole_recording)
{
	const char *path = paths[_i], *bad;
	struct vm_phys_stats ps;
	struct ledger before;
	unsigned long live;
	pid_t child;
	FILE *f;

	host_boot(FRAMES);
	ledger_take(&before);
	f = open_trace(path, &child);
	replay_lines(f);
	close_trace(f, path, child);
	check_all();
	vm_phys_stats(&ps);
	live = replay_end();
	printf("trace: %s: %lu operations, at most %lu pages held, %lu at "
	    "the end for %lu live pieces, %lu bad lines\n", path, r.r_ops,
	    r.r_peak, (unsigned long)(ps.ps_owner[VM_PAGE_KMEM] -
	    before.l_kmem), live, r.r_bad);
	bad = ledger_since(&before);
	if (bad != NULL)
		ck_abort_msg("%s: %s", path, bad);
	must(stats_of(M_TRACE).ks_inuse == 0);
	must(stats_of(M_TRACE).ks_bytes == 0);
	must(r.r_ops > 0 && r.r_bad == 0);
}
END_TEST

/* Nonsense is reported and skipped, and what is around it is done. */
START_TEST(nonsense)
{
	static char text[] =
	    "c 0 100 a name of words\n"
	    "# a remark\n"
	    "a 0 0\n"
	    "a 0 0\n"			/* 1: taken */
	    "a 1 7\n"			/* 2: no such cache */
	    "a 1\n"			/* 3: a number is missing */
	    "a 1 x\n"			/* 4: no number */
	    "a 1 0 0\n"			/* 5: one too many */
	    "x 1 1\n"			/* 6: no operation */
	    "f 9\n"			/* 7: not live */
	    "f -1\n"			/* 8 */
	    "m 1 0\n"			/* 9: nothing */
	    "m 1 99999999999999999999\n" /* 10: no such number */
	    "m 99999999999 8\n"		/* 11: no slot number */
	    "m 1 8\n"
	    "c 1 0 empty\n"		/* 12: no such cache can be */
	    "v 0 8192 3\n"		/* 13: no alignment */
	    "v 0 0 16384\n"		/* 14 */
	    "v 0 99999999999 1\n"	/* 15 */
	    "v 0 20480 16384\n"
	    "u 1\n"			/* 16: not live */
	    "\n"
	    "f 1\n"
	    "c 0 200 again\n"		/* the number names another now */
	    "a 1 0\n"
	    "f 0";
	struct ledger before;
	FILE *f;

	host_boot(4096);
	ledger_take(&before);
	f = fmemopen(text, strlen(text), "r");
	replay_lines(f);
	fclose(f);
	must(r.r_bad == 16);
	check_all();
	must(replay_end() == 2);
	must(ledger_since(&before) == NULL);
}
END_TEST

int
main(int argc, char **argv)
{
	static const char *def[] = { NULL, NULL };
	Suite *s = suite_create("trace");
	TCase *tc = tcase_create("trace");
	SRunner *sr;
	int failed, n = 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	def[0] = getenv("HOLM_TRACE");
	if (def[0] == NULL)
		def[0] = DEFAULT_TRACE;
	paths = def;
	if (argc > 1) {
		paths = (const char **)(void *)(argv + 1);
		n = argc - 1;
	}
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, nonsense);
	tcase_add_loop_test(tc, whole_recording, 0, n);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
