/*
 * The flat host machine (host_flat.c): what is in a frame is there wherever
 * the frame is looked at, though it may lie elsewhere each time; no call of
 * the host's is made for what kmem does; and memory that is not in use goes
 * back.  A random run over all operations is compared with a model of what is
 * in each frame.
 */
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <host_flat.c>

#include <vm/kmalloc.h>
#include <vm/kmem_cache.h>
#include <vm/kmem_range.h>
#include <vm/vm_kmem.h>
#include <vm/vm_phys.h>

#include "map_test.h"

#define NFRAMES		4096u
#define A		(VM_MISC_MAX - ptoa(64))	/* nothing is there */
#define B		(A + ptoa(8))

static void
boot(void)
{
	host_set_flat(true);
	host_boot(NFRAMES);
}

static void
sound(void)
{
	const char *why = host_pmap_check(kernel_pmap);

	if (why != NULL)
		ck_abort_msg("%s", why);
}

static paddr_t
frame(void)
{
	paddr_t pa;

	must(vm_phys_alloc(VM_PAGE_USER, &pa) == 0);
	return pa;
}

static void
enter(vaddr_t va, paddr_t pa)
{
	must(pmap_enter(kernel_pmap, va, pa, VM_PROT_RW) == 0);
	sound();
}

static void
leave(vaddr_t va)
{
	pmap_remove(kernel_pmap, va, va + PAGE_SIZE);
	sound();
}

/* Write the page, or want it so. */
static void
fill(void *at, uint32_t tag)
{
	uint32_t *word = at;
	unsigned i;

	for (i = 0; i < PAGE_SIZE / sizeof(*word); i++)
		word[i] = tag + i;
}

static bool
holds(const void *at, uint32_t tag)
{
	const uint32_t *word = at;
	unsigned i;

	for (i = 0; i < PAGE_SIZE / sizeof(*word); i++)
		if (word[i] != (tag == 0 ? 0 : tag + i))
			return false;
	return true;
}

static bool
shows(vaddr_t va, uint32_t tag)
{
	return holds((const void *)va, tag);
}

/* May the page be read, or written?  By the host, which does not fault. */
static bool
may_read(vaddr_t va)
{
	int fd[2];
	bool may;

	must(pipe(fd) == 0);
	may = write(fd[1], (const void *)va, 1) == 1;
	close(fd[0]);
	close(fd[1]);
	return may;
}

static bool
may_write(vaddr_t va)
{
	int fd[2];
	bool may;

	must(pipe(fd) == 0 && write(fd[1], "\1", 1) == 1);
	may = read(fd[0], (void *)va, 1) == 1;
	close(fd[0]);
	close(fd[1]);
	return may;
}

/* What slabs, heap and kmem do all day costs no call. */
START_TEST(no_calls)
{
	enum { N = 50 };
	vaddr_t va[N];
	char *p[N];
	unsigned i, round;
	uint64_t calls;

	kmem_range_enable(_i != 0);
	calls = host_syscalls();
	for (round = 0; round < 5; round++) {
		for (i = 0; i < N; i++) {
			va[i] = kmem_alloc(kernel_map, ptoa(1 + i % 5),
			    i % 2 ? KM_SLAB : KM_HEAP);
			p[i] = kmalloc(500 + i * 20, M_TEMP, KM_SLEEP);
			must(va[i] != 0 && p[i] != NULL);
			fill((void *)(va[i] + ptoa(i % 5)), 9 * i + 1);
			*(unsigned *)p[i] = i;
		}
		sound();
		for (i = 0; i < N; i++) {
			must(shows(va[i] + ptoa(i % 5), 9 * i + 1));
			must(*(unsigned *)p[i] == i);
			kmem_free(kernel_map, va[i], ptoa(1 + i % 5));
			kfree(p[i], M_TEMP);
		}
		sound();
	}
	must(host_syscalls() == calls);
}
END_TEST

/* Zeroes, wherever a frame was zeroed and whatever lay there before. */
START_TEST(zeroes)
{
	paddr_t pa[3] = { frame(), frame(), frame() }, got[3];
	vaddr_t va;

	must(pmap_kenter(A, pa, 3, VM_PROT_RW) == 0);
	fill((void *)A, 1), fill((void *)(A + PAGE_SIZE), 2);
	must(pmap_kremove(A, 3, got) == 3);
	pmap_zero_page(pa[0]);
	must(holds(host_phys(pa[0]), 0));	/* looked at there, */
	pmap_zero_page(pa[1]);			/* and here */
	must(pmap_kenter(A, pa, 2, VM_PROT_RW) == 0);
	sound();
	must(shows(A, 0) && shows(A + PAGE_SIZE, 0));
	fill((void *)A, 3);
	leave(A);
	pmap_zero_page(pa[0]);			/* where it is at home */
	enter(B, pa[0]);
	must(shows(B, 0));
	va = kmem_alloc(kernel_map, ptoa(9), KM_NOSLEEP);
	must(va != 0);
	fill((void *)(va + ptoa(8)), 9);
	kmem_free(kernel_map, va, ptoa(9));
	va = kmem_alloc(kernel_map, ptoa(9), KM_NOSLEEP | KM_ZERO);
	must(va != 0 && shows(va + ptoa(8), 0));
}
END_TEST

/* What pmap_remove takes away keeps what is in it. */
START_TEST(carried)
{
	paddr_t a = frame(), b = frame(), c = frame(), got;

	enter(A, a);
	fill((void *)A, 1);
	leave(A);
	must(holds(host_phys(a), 1));
	enter(A, a);				/* there again */
	must(shows(A, 1));
	leave(A);
	enter(A, b);				/* another one's home now */
	fill((void *)A, 2);
	must(holds(host_phys(a), 1));
	enter(B, a);
	must(shows(B, 1) && shows(A, 2));
	pmap_copy_page(a, c);
	enter(A, c);				/* instead of b */
	must(shows(A, 1) && where[b >> PAGE_SHIFT] == LOST);
	must(pmap_kremove(A, 1, &got) == 1 && got == c);
	enter(A, b);
	fill((void *)A, 2);
	*(char *)host_phys(b) = 'x';
	must(*(char *)A == 'x');
}
END_TEST

/* One frame at two addresses, and the first goes first. */
START_TEST(shown_twice)
{
	paddr_t a = frame(), b = frame(), got;
	const vaddr_t first = _i ? B : A, second = _i ? A : B;

	enter(A, a);
	fill((void *)A, 7);
	enter(B, a);
	must(shows(B, 7));
	fill((void *)B, 8);
	must(shows(A, 8) && holds(host_phys(a), 8));
	must(pmap_kremove(first, 1, &got) == 1 && got == a);
	sound();
	enter(first, b);
	fill((void *)first, 9);
	must(shows(second, 8) && shows(first, 9));
	must(pmap_kremove(second, 1, &got) == 1 && got == a);
	sound();
	must(pmap_kenter(second, &a, 1, VM_PROT_RW) == 0);
	fill((void *)second, 10);
	must(where[a >> PAGE_SHIFT] == page_of(second));
	must(shows(first, 9));
}
END_TEST

START_TEST(protected)
{
	paddr_t a = frame(), b = frame(), got[2];

	enter(A, a);
	enter(A + PAGE_SIZE, b);
	fill((void *)A, 5);
	fill((void *)(A + PAGE_SIZE), 6);
	pmap_protect(kernel_pmap, A, A + PAGE_SIZE, VM_PROT_READ);
	sound();
	must(shows(A, 5) && !may_write(A) && may_write(A + PAGE_SIZE));
	pmap_protect(kernel_pmap, A, A + PAGE_SIZE, VM_PROT_NONE);
	must(!may_read(A));
	pmap_protect(kernel_pmap, A, A + ptoa(2), VM_PROT_RW);
	must(shows(A, 5) && may_write(A));
	must(pmap_kremove(A, 2, got) == 2);
	must(pmap_kenter(A, &a, 1, VM_PROT_READ) == 0);
	sound();
	must(may_read(A) && !may_write(A));
	must(pmap_kremove(A, 1, got) == 1);
	must(pmap_kenter(A, &a, 1, VM_PROT_ALL) == 0);
	must(may_write(A));
	sound();
}
END_TEST

/* A user's pages and tables are records here, too. */
START_TEST(users)
{
	struct pmap *pm = pmap_create();
	paddr_t a = frame(), b = frame(), got;

	enter(A, a);
	fill((void *)A, 3);
	must(pmap_enter(pm, PAGE_SIZE, a, VM_PROT_RW) == 0);
	enter(A, b);				/* the user still shows it */
	must(holds(host_phys(a), 3));
	must(pmap_enter(pm, PAGE_SIZE, b, VM_PROT_RW) == 0);
	must(holds(host_phys(a), 3));
	fill((void *)A, 4);
	must(pmap_kremove(A, 1, &got) == 1);
	sound();
	must(holds(host_phys(b), 4));
	pmap_destroy(pm);
	must(holds(host_phys(a), 3));
	sound();
}
END_TEST

/* Slabs that share frames, as reclaiming leaves them. */
START_TEST(meshed)
{
	enum { N = 4000, SIZE = 200, EACH = 9 };
	struct kmem_cache_args ca = { .ca_name = "sparse", .ca_size = SIZE,
	    .ca_flags = KM_MESH };
	struct kmem_cache *kc = kmem_cache_create(&ca);
	struct kmem_cache_stats cs;
	char *obj[N];
	unsigned i, round, n = 0;

	must(kc != NULL);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < N; i++) {
			obj[i] = kmem_cache_alloc(kc, KM_NOSLEEP);
			must(obj[i] != NULL);
			memset(obj[i], i % 251, SIZE);
		}
		for (i = 0; i < N; i++)
			if (i % EACH != i / EACH % EACH)
				kmem_cache_free(kc, obj[i]);
		kmem_cache_reap_all();
		sound();
		kmem_cache_stats(kc, &cs);
		must(cs.cs_meshed > n);
		n = (unsigned)cs.cs_meshed;
		must(kmem_cache_check(kc) == NULL);
		for (i = 0; i < N; i++) {
			if (i % EACH != i / EACH % EACH)
				continue;
			must(obj[i][0] == (char)(i % 251));
			must(memcmp(obj[i], obj[i] + 1, SIZE - 1) == 0);
			kmem_cache_free(kc, obj[i]);
		}
		kmem_cache_reap_all();
		sound();
	}
	must(kmem_cache_destroy(kc) == 0);
	host_purge();
	must(host_touched() == nguests);
}
END_TEST

/* What is written while a frame moves is not lost. */
static atomic_int stop;

static void * __attribute__((__no_sanitize__("thread")))
count_up(void *arg)
{
	volatile unsigned long *at = arg;
	unsigned long n = 0;

	while (!stop) {
		*at = *at + 1;
		n++;
	}
	return (void *)n;
}

START_TEST(moved_in_use)
{
	unsigned long i, n, moves = nmoved;
	pthread_t writer;
	paddr_t pa;
	void *sum;

	for (i = 0; i < 100; i++) {
		pa = frame();
		enter(A, pa);
		must(where[pa >> PAGE_SHIFT] == page_of(A));
		*(volatile unsigned long *)(A + 8 * i) = 0;
		stop = 0;
		must(pthread_create(&writer, NULL, count_up,
		    (void *)(A + 8 * i)) == 0);
		while (*(volatile unsigned long *)(A + 8 * i) < 100)
			sched_yield();
		enter(B, pa);
		n = *(volatile unsigned long *)(B + 8 * i);
		while (*(volatile unsigned long *)(B + 8 * i) < n + 100)
			sched_yield();
		stop = 1;
		must(pthread_join(writer, &sum) == 0);
		must(*(unsigned long *)(B + 8 * i) == (unsigned long)sum);
		must(pmap_kremove(A, 1, &pa) == 1);
		must(pmap_kremove(B, 1, &pa) == 1);
		sound();
	}
	must(nmoved == moves + 100);
}
END_TEST

static void
exit_seven(int sig)
{
	_exit(7);
}

/* A fault that no move explains is the program's own. */
START_TEST(other_faults)
{
	paddr_t pa = frame();
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, exit_seven);
		enter(A, pa);
		enter(B, pa);
		pmap_protect(kernel_pmap, B, B + PAGE_SIZE, VM_PROT_READ);
		*(volatile char *)A = 1;
		*(volatile char *)(_i ? B : 64) = 1;
		_exit(8);
	}
	must(waitpid(pid, &status, 0) == pid);
	must(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}
END_TEST

/* Unused memory goes back: when asked, by a reclaim, and when it is much. */
START_TEST(given_back)
{
	const vsize_t size = ptoa(100);
	vaddr_t va[NFRAMES / STALE / 100 + 3];
	unsigned long least, n;
	unsigned i;

	kmem_range_enable(false);
	host_purge();
	least = host_touched();
	must(least == nguests);
	va[0] = kmem_alloc(kernel_map, size, KM_NOSLEEP);
	fill((void *)va[0], 1);
	must(host_touched() >= least + 100);
	kmem_free(kernel_map, va[0], size);
	n = host_touched();
	must(n >= least + 100);
	if (_i)
		host_purge();
	else
		kmem_reclaim(ULONG_MAX);
	must(host_touched() == nguests && host_touched() <= least);
	sound();
	must(shows(va[0], 0));
	for (i = 0; i < nitems(va); i++)
		va[i] = kmem_alloc(kernel_map, size, KM_NOSLEEP);
	for (i = 0; i < nitems(va); i++) {
		must(va[i] != 0);
		kmem_free(kernel_map, va[i], size);
		must(host_touched() - nguests <= NFRAMES / STALE);
	}
	sound();
}
END_TEST

static void
set_flat(void *arg)
{
	host_set_flat(arg != NULL);
}

START_TEST(too_late)
{
	const char *said = host_panic_of(set_flat, NULL, NULL);

	must(said != NULL && strstr(said, "made already") != NULL);
	must(host_mem_flat());
}
END_TEST

/* ----------------------------------- a model ----------------------------- */

#define FRAMES		10u
#define PAGES		8u

static struct {
	paddr_t		 m_pa[FRAMES];
	uint32_t	 m_tag[FRAMES];		/* in it: 0 zeroes, or */
	bool		 m_lost[FRAMES];	/* anything */
	unsigned	 m_at[PAGES];		/* frame + 1, by page */
	vm_prot_t	 m_prot[PAGES];
} m;
static uint64_t seed;
static uint32_t next_tag;

static unsigned
draw(unsigned n)
{
	return k_random(&seed) % n;
}

static unsigned
shown_at(unsigned f)
{
	unsigned i, n = 0;

	for (i = 0; i < PAGES; i++)
		n += m.m_at[i] == f + 1;
	return n;
}

static void
model_enter(unsigned page, unsigned f)
{
	const vaddr_t va = A + ptoa(page);
	const vm_prot_t prot = draw(6) == 0 ? VM_PROT_READ : VM_PROT_RW;
	const unsigned old = m.m_at[page];

	if (m.m_at[page] == 0 && draw(2) == 0)
		must(pmap_kenter(va, &m.m_pa[f], 1, prot) == 0);
	else
		must(pmap_enter(kernel_pmap, va, m.m_pa[f], prot) == 0);
	m.m_at[page] = f + 1;
	m.m_prot[page] = prot;
	if (old != 0 && shown_at(old - 1) == 0)
		m.m_lost[old - 1] = true;
}

static void
model_remove(unsigned page)
{
	const vaddr_t va = A + ptoa(page);
	const unsigned f = m.m_at[page] - 1;
	paddr_t pa;

	m.m_at[page] = 0;
	if (draw(2) == 0) {
		pmap_remove(kernel_pmap, va, va + PAGE_SIZE);
		return;
	}
	must(pmap_kremove(va, 1, &pa) == 1 && pa == m.m_pa[f]);
	if (shown_at(f) == 0)
		m.m_lost[f] = true;
}

/* Of a frame that is not shown. */
static void
model_hidden(unsigned f)
{
	unsigned from = draw(FRAMES);

	if (draw(2) == 0) {
		pmap_zero_page(m.m_pa[f]);
		m.m_tag[f] = 0;
		m.m_lost[f] = false;
	} else if (from != f) {
		pmap_copy_page(m.m_pa[from], m.m_pa[f]);
		m.m_tag[f] = m.m_tag[from];
		m.m_lost[f] = m.m_lost[from];
	} else {
		fill(host_phys(m.m_pa[f]), ++next_tag * 5000);
		m.m_tag[f] = next_tag * 5000;
		m.m_lost[f] = false;
	}
}

static void
model_step(void)
{
	const unsigned page = draw(PAGES), f = draw(FRAMES);
	const vaddr_t va = A + ptoa(page);

	if (m.m_at[page] == 0 || draw(6) == 0)
		model_enter(page, f);
	else if (draw(3) == 0)
		model_remove(page);
	else if (m.m_prot[page] == VM_PROT_RW) {
		m.m_lost[m.m_at[page] - 1] = false;
		m.m_tag[m.m_at[page] - 1] = ++next_tag * 5000;
		fill((void *)va, next_tag * 5000);
	} else {
		m.m_prot[page] = VM_PROT_RW;
		pmap_protect(kernel_pmap, va, va + PAGE_SIZE, VM_PROT_RW);
	}
	if (shown_at(f) == 0 && draw(2) == 0)
		model_hidden(f);
	if (draw(50) == 0)
		host_purge();
}

static void
model_compare(void)
{
	unsigned f, i;

	for (i = 0; i < PAGES; i++)
		if (m.m_at[i] != 0 && !m.m_lost[m.m_at[i] - 1])
			must(shows(A + ptoa(i), m.m_tag[m.m_at[i] - 1]));
	f = draw(FRAMES);
	if (!m.m_lost[f] && draw(4) == 0)
		must(holds(host_phys(m.m_pa[f]), m.m_tag[f]));
}

START_TEST(model)
{
	unsigned i;

	seed = (uint64_t)_i + 1;
	for (i = 0; i < FRAMES; i++) {
		m.m_pa[i] = frame();
		m.m_lost[i] = true;
	}
	for (i = 0; i < 4000; i++) {
		model_step();
		model_compare();
		if (i % 10 == 0)
			sound();
	}
	sound();
}
END_TEST

/* --------------------------------- the check ----------------------------- */

static void
finds(const char *what)
{
	const char *said = host_flat_check();

	if (said == NULL || strncmp(said, what, strlen(what)) != 0)
		ck_abort_msg("\"%s\", not \"%s\"",
		    said == NULL ? "nothing" : said, what);
}

#define FINDS(what, word, is) do { __typeof__(word) was = (word);	\
	(word) = (is); finds(what); (word) = was; } while (0)

START_TEST(check_finds)
{
	const paddr_t a = frame(), b = frame(), c = frame();
	const uint32_t v = page_of(A), w = page_of(B);

	enter(A, a);
	enter(B, b);
	enter(B + PAGE_SIZE, b);
	FINDS("F1", where[a >> PAGE_SHIFT], w);
	FINDS("F1", where[c >> PAGE_SHIFT], v);
	FINDS("F1", guest[v], NFRAMES);
	FINDS("F2", memfd_there[v], true);
	FINDS("F2", touched[v], false);
	FINDS("F3", memfd_there[w], false);
	FINDS("F3", where[b >> PAGE_SHIFT], LOST);
	FINDS("F4", ntouched, ntouched + 1);
	FINDS("F4", nguests, nguests - 1);
	sound();
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_loop_test(tc, no_calls, 0, 2);
	tcase_add_test(tc, zeroes);
	tcase_add_test(tc, carried);
	tcase_add_loop_test(tc, shown_twice, 0, 2);
	tcase_add_test(tc, protected);
	tcase_add_test(tc, users);
	tcase_add_test(tc, meshed);
	tcase_add_test(tc, moved_in_use);
	tcase_add_loop_test(tc, other_faults, 0, 2);
	tcase_add_loop_test(tc, given_back, 0, 2);
	tcase_add_test(tc, too_late);
	tcase_add_loop_test(tc, model, 0, 8);
	tcase_add_test(tc, check_finds);
}

int
main(void)
{
	Suite *s = suite_create("host flat");
	TCase *tc = tcase_create("host flat");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, boot, NULL);
	add(tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
