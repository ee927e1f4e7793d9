/*
 * What the debugging of caches asks of the kernel around it, as the host
 * test machine answers it: the call chain, the roots, random numbers, the
 * log's last lines.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <vm/vm_host.h>

#include "host.h"
#include "must.h"

#define DEPTH	4u

static vaddr_t chain[16];
static unsigned nchain;

/* What it returns is used, so that no call becomes a jump. */
static int __attribute__((__noinline__))
innermost(unsigned n)
{
	nchain = vm_host_backtrace(chain, n);
	return nchain > 0;
}

static int __attribute__((__noinline__))
middle(unsigned n)
{
	return innermost(n) + 1;
}

static int __attribute__((__noinline__))
outer(unsigned n)
{
	return middle(n) + 1;
}

/* Is pc within the few instructions of that function? */
static bool
within(vaddr_t pc, int (*fn)(unsigned))
{
	return pc > (vaddr_t)(uintptr_t)fn && pc - (vaddr_t)(uintptr_t)fn < 256;
}

START_TEST(call_chain)
{
	char name[40], want[40];

	must(outer(nitems(chain)) == 3);
	must(nchain >= DEPTH && nchain <= nitems(chain));
	must(within(chain[0], middle));
	must(within(chain[1], outer));
	chain[1] = 0;
	must(outer(1) == 3);
	must(nchain == 1 && within(chain[0], middle) && chain[1] == 0);
	must(outer(0) == 2 && nchain == 0);
	vm_host_symbol(0x1234, name, sizeof(name));
	k_snprintf(want, sizeof(want), "%#lx", 0x1234UL);
	must(strcmp(name, want) == 0);
}
END_TEST

struct seek {
	vaddr_t		 s_addr;
	unsigned	 s_found, s_ranges;
};

static void
seek(vaddr_t start, vaddr_t end, void *arg)
{
	struct seek *s = arg;

	must(start < end);
	must(start % sizeof(void *) == 0 && end % sizeof(void *) == 0);
	s->s_ranges++;
	s->s_found += s->s_addr >= start && s->s_addr < end;
}

static unsigned
found(const void *addr, unsigned ranges)
{
	struct seek s = { (vaddr_t)addr, 0, 0 };

	vm_host_roots(seek, &s);
	must(s.s_ranges == ranges);
	return s.s_found;
}

static void *in_bss[4];
static void *in_data[4] = { in_data };

START_TEST(roots)
{
	void *volatile on_stack[4] = { NULL };
	void *allocated = malloc(8);

	must(found(in_bss, 2) == 1 && found(in_data, 2) == 1);
	must(found((const void *)(uintptr_t)on_stack, 2) == 1);
	must(found(allocated, 2) == 0);
	host_set_roots(in_bss, in_bss + nitems(in_bss));
	must(found(in_bss, 1) == 1 && found(in_data, 1) == 0);
	host_set_roots(NULL, NULL);
	must(found(in_data, 2) == 1);
	free(allocated);
}
END_TEST

START_TEST(random_numbers)
{
	unsigned long a = vm_host_random();

	must(a != vm_host_random() || a != vm_host_random());
}
END_TEST

START_TEST(log_lines)
{
	char want[16];
	unsigned i;

	for (i = 0; i < 2 * HOST_NLOGS; i++)
		vm_host_log("line %u", i);
	for (i = 0; i < HOST_NLOGS; i++) {
		k_snprintf(want, sizeof(want), "line %u",
		    2 * HOST_NLOGS - 1 - i);
		must(strcmp(host_log_line(i), want) == 0);
	}
	must(host_log_line(HOST_NLOGS)[0] == '\0');
	must(host_log_last() == host_log_line(0));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("host, debugging");
	TCase *tc = tcase_create("host");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_test(tc, call_chain);
	tcase_add_test(tc, roots);
	tcase_add_test(tc, random_numbers);
	tcase_add_test(tc, log_lines);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
