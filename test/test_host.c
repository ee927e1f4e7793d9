/*
 * The host test machine is what the other tests believe: that its memory is
 * real, that its locks exclude, and that it sees the mistakes it promises to.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include <vm/pmap.h>
#include <vm/vm_fail.h>
#include <vm/vm_host.h>
#include <vm/vm_phys.h>

#include "host.h"

#define NFRAMES		1024
#define VA		VM_SLAB_MIN
#define NTHREADS	4
#define NROUNDS		20000

static void
boot(void)
{
	void *mem = calloc(1, vm_phys_size(NFRAMES));

	ck_assert_ptr_nonnull(mem);
	host_pmap_bootstrap(NFRAMES);
	vm_phys_init(mem, NFRAMES);
	vm_phys_add(1, NFRAMES);
}

static paddr_t
frame(void)
{
	paddr_t pa;

	ck_assert_int_eq(vm_phys_alloc(VM_PAGE_KMEM, &pa), 0);
	return pa;
}

static void
enter(vaddr_t va, paddr_t pa)
{
	ck_assert_int_eq(pmap_enter(kernel_pmap, va, pa, VM_PROT_RW), 0);
}

/* May this process read, or write, the byte at va?  The kernel is asked. */
static bool
may(vaddr_t va, bool write_it)
{
	int fd[2];
	ssize_t n;
	char c = 1;

	ck_assert_int_eq(pipe(fd), 0);
	if (write_it) {
		ck_assert_int_eq(write(fd[1], &c, 1), 1);
		n = read(fd[0], (void *)va, 1);
	} else
		n = write(fd[1], (const void *)va, 1);
	ck_assert(n == 1 || errno == EFAULT);
	close(fd[0]);
	close(fd[1]);
	return n == 1;
}

START_TEST(memory_is_real)
{
	paddr_t pa = frame(), pb = frame(), got = 0, got2 = 0;

	ck_assert(!may(VA, false));
	enter(VA, pa);
	enter(VA + PAGE_SIZE, pb);
	memset((void *)VA, 'x', PAGE_SIZE);
	ck_assert_int_eq(((char *)host_phys(pa))[PAGE_SIZE - 1], 'x');
	ck_assert_int_eq(*(char *)host_phys(pb), 0);
	ck_assert(pmap_extract(kernel_pmap, VA + 5, &got));
	ck_assert(pmap_kextract(VA + 5, &got2) && got2 == got);
	ck_assert_uint_eq(got, pa + 5);

	pmap_protect(kernel_pmap, VA, VA + PAGE_SIZE, VM_PROT_READ);
	ck_assert(may(VA, false) && !may(VA, true));
	ck_assert(may(VA + PAGE_SIZE, true));
	pmap_protect(kernel_pmap, VA, VA + PAGE_SIZE, VM_PROT_NONE);
	ck_assert(!may(VA, false));
	ck_assert(pmap_extract(kernel_pmap, VA, &got));

	pmap_remove(kernel_pmap, VA, VA + 8 * PAGE_SIZE);
	ck_assert(!may(VA, false) && !may(VA + PAGE_SIZE, false));
	ck_assert(!pmap_extract(kernel_pmap, VA, &got));
	ck_assert(!pmap_kextract(VA, &got));
	ck_assert(!pmap_kextract(VM_MIN_ADDRESS, &got));
	ck_assert_uint_eq(host_pmap_resident(kernel_pmap), 0);
	ck_assert_ptr_null(host_pmap_check(kernel_pmap));
}
END_TEST

START_TEST(a_range_is_one_call)
{
	uint64_t before;

	for (unsigned i = 0; i < 100; i++)
		enter(VA + ptoa(i), frame());
	before = host_syscalls();
	pmap_remove(kernel_pmap, VA, VA + ptoa(100));
	ck_assert_uint_eq(host_syscalls() - before, 1);

	/* Frames that are adjacent are entered by one, here two and three. */
	paddr_t pa[5], run;
	ck_assert_int_eq(vm_phys_alloc_run(7, 1, 0, 0, PFN_MAX, VM_PAGE_USER,
	    &run), 0);
	for (unsigned i = 0; i < 5; i++)
		pa[i] = run + ptoa(i < 2 ? i + 4 : i - 2);
	before = host_syscalls();
	ck_assert_int_eq(pmap_kenter(VA, pa, 5, VM_PROT_RW), 0);
	ck_assert_uint_eq(host_syscalls() - before, 2);
	for (unsigned i = 0; i < 5; i++) {
		*(volatile unsigned *)(VA + ptoa(i)) = i + 1;
		ck_assert_uint_eq(*(unsigned *)host_phys(pa[i]), i + 1);
	}
}
END_TEST

START_TEST(page_tables_cost_frames)
{
	pfn_t before = vm_phys_nfree();
	paddr_t pa = frame();
	struct pmap *pm;

	enter(VA, pa);
	ck_assert_uint_eq(vm_phys_nfree(), before - 2);
	pmap_remove(kernel_pmap, VA, VA + PAGE_SIZE);
	ck_assert_uint_eq(vm_phys_nfree(), before - 2);	/* kept for ever */

	pm = pmap_create();
	ck_assert_ptr_nonnull(pm);
	ck_assert_int_eq(pmap_enter(pm, PAGE_SIZE, pa, VM_PROT_READ), 0);
	ck_assert_uint_eq(vm_phys_nfree(), before - 4);
	pmap_remove(pm, PAGE_SIZE, 2 * PAGE_SIZE);
	ck_assert_uint_eq(vm_phys_nfree(), before - 3);	/* freed when empty */
	ck_assert_int_eq(pmap_enter(pm, PAGE_SIZE, pa, VM_PROT_READ), 0);
	pmap_destroy(pm);
	ck_assert_uint_eq(vm_phys_nfree(), before - 2);
}
END_TEST

START_TEST(no_frame_for_a_page_table)
{
	paddr_t pa = frame();

	vm_fail_set(VM_FAIL_PTP, 1, true);
	ck_assert_int_eq(pmap_enter(kernel_pmap, VA, pa, VM_PROT_RW), ENOMEM);
	ck_assert_ptr_null(pmap_create());
	vm_fail_set(VM_FAIL_PTP, 0, false);
	ck_assert(!may(VA, false));
	enter(VA, pa);
}
END_TEST

/*
 * Mistakes, by number: each has to panic, and say so with its word.
 */
static struct vm_mtx mtx;
static struct vm_rwlock rw;

static void
free_then_remove(void)
{
	paddr_t pa = frame();

	enter(VA, pa);
	vm_phys_free(pa);
	pmap_remove(kernel_pmap, VA, VA + PAGE_SIZE);
}

static void
enter_free(void)
{
	paddr_t pa = frame();

	vm_phys_free(pa);
	enter(VA, pa);
}

static void
zero_shown(void)
{
	paddr_t pa = frame();

	enter(VA, pa);
	pmap_zero_page(pa);
}

static void
enter_user_address(void)
{
	pmap_enter(kernel_pmap, PAGE_SIZE, frame(), VM_PROT_RW);
}

static void
mtx_twice(void)
{
	vm_mtx_enter(&mtx);
	vm_mtx_enter(&mtx);
}

static void
rw_upgrade(void)
{
	vm_rw_enter_read(&rw);
	vm_rw_enter_write(&rw);
}

static void
wrong_exit(void)
{
	vm_rw_enter_read(&rw);
	vm_rw_exit_write(&rw);
}

static void
sleep_locked(void)
{
	vm_mtx_enter(&mtx);
	vm_host_sleep(&mtx);
}

static void
no_lock(void)
{
	static struct vm_mtx none;

	vm_mtx_enter(&none);
}

static const struct mistake {
	void		(*m_fn)(void);
	const char	*m_word;
	unsigned	 m_locks;
} mistakes[] = {
	{ free_then_remove, "a free one", 1 },
	{ enter_free, "a free one", 0 },
	{ zero_shown, "still shown", 0 },
	{ enter_user_address, "[0x1000, 0x2000)", 0 },
	{ mtx_twice, "taken twice", 1 },
	{ rw_upgrade, "taken twice", 1 },
	{ wrong_exit, "not held so", 1 },
	{ sleep_locked, "1 locks held", 1 },
	{ no_lock, "never initialised", 0 },
};

static void
make_mistake(void *arg)
{
	const struct mistake *m = arg;

	m->m_fn();
}

START_TEST(mistakes_are_seen)
{
	struct mistake m = mistakes[_i];
	const char *said;
	unsigned nlocks;

	vm_mtx_init(&mtx, "mutex");
	vm_rw_init(&rw, "rwlock");
	said = host_panic_of(make_mistake, &m, &nlocks);
	ck_assert_ptr_nonnull(said);
	ck_assert_msg(strstr(said, m.m_word) != NULL, "%s", said);
	ck_assert_uint_eq(nlocks, m.m_locks);
	ck_assert_uint_eq(host_locks()->hl_held, 0);
	vm_mtx_enter(&mtx);		/* it was dropped */
	ck_assert(vm_mtx_held(&mtx));
	vm_mtx_exit(&mtx);
}
END_TEST

/* A sum that only exclusion keeps right; readers must never see it odd. */
static unsigned long sum;

static void *
contend(void *arg)
{
	unsigned long odd = 0;

	for (unsigned i = 0; i < NROUNDS; i++) {
		vm_mtx_enter(&mtx);
		sum += 2;
		vm_mtx_exit(&mtx);
		vm_rw_enter_read(&rw);
		odd += *(unsigned long *)arg & 1;
		vm_rw_exit_read(&rw);
		vm_rw_enter_write(&rw);
		*(unsigned long *)arg += 1;
		*(unsigned long *)arg += 1;
		vm_rw_exit_write(&rw);
	}
	return (void *)odd;
}

START_TEST(locks_exclude)
{
	unsigned long guarded = 0;
	pthread_t t[NTHREADS];
	void *odd;

	vm_mtx_init(&mtx, "mutex");
	vm_rw_init(&rw, "rwlock");
	for (unsigned i = 0; i < NTHREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, contend,
		    &guarded), 0);
	for (unsigned i = 0; i < NTHREADS; i++) {
		pthread_join(t[i], &odd);
		ck_assert_ptr_null(odd);
	}
	ck_assert_uint_eq(sum, 2UL * NTHREADS * NROUNDS);
	ck_assert_uint_eq(guarded, 2UL * NTHREADS * NROUNDS);
}
END_TEST

/* 512 MB leave room for the kernel's windows, in 32 bits too. */
START_TEST(a_large_machine)
{
	const pfn_t n = 131072;
	const paddr_t last = ptoa((paddr_t)n - 1);
	struct vm_phys_stats ps;

	host_boot(n);
	*(char *)host_phys(last) = 'x';
	ck_assert_int_eq(*(char *)host_phys(last), 'x');
	vm_phys_stats(&ps);
	ck_assert_uint_eq(ps.ps_owner[VM_PAGE_RESERVED], 1);
	ck_assert_uint_gt(vm_phys_nfree(), n - n / 1024);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("host");
	TCase *tc = tcase_create("host"), *large = tcase_create("large");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(tc, boot, NULL);
	tcase_add_test(tc, memory_is_real);
	tcase_add_test(tc, a_range_is_one_call);
	tcase_add_test(tc, page_tables_cost_frames);
	tcase_add_test(tc, no_frame_for_a_page_table);
	tcase_add_loop_test(tc, mistakes_are_seen, 0, nitems(mistakes));
	tcase_add_test(tc, locks_exclude);
	suite_add_tcase(s, large);
	tcase_add_test(large, a_large_machine);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
