/*
 * Fail the nth.
 */
#include <check.h>
#include <stdlib.h>

#include <libkern/libkern.h>
#include <vm/vm_fail.h>

#include "host.h"

/* The first 12 requests at a site, as bits: bit 0 is the first. */
static unsigned
ask(enum vm_fail_site site)
{
	unsigned i, bits = 0;

	for (i = 0; i < 12; i++)
		bits |= (unsigned)vm_fail(site) << i;
	return bits;
}

START_TEST(nothing_fails_unasked)
{
	unsigned s;

	for (s = 0; s < VM_FAIL_NSITES; s++) {
		ck_assert_uint_eq(ask((enum vm_fail_site)s), 0);
		ck_assert_uint_eq(vm_fail_count((enum vm_fail_site)s), 0);
	}
	ck_assert_uint_eq(vm_fail_armed, 0);
}
END_TEST

START_TEST(nth_and_after)
{
	enum vm_fail_site site = (enum vm_fail_site)_i;
	unsigned n, other = (unsigned)(_i + 1) % VM_FAIL_NSITES;

	for (n = 1; n <= 13; n++) {
		vm_fail_set(site, n, false);
		ck_assert_uint_eq(vm_fail_armed, 1);
		ck_assert_uint_eq(ask(site), (1u << (n - 1)) & 0xFFF);
		ck_assert_uint_eq(vm_fail_count(site), 12);
		vm_fail_set(site, n, true);
		ck_assert_uint_eq(ask(site), ~0u << (n - 1) & 0xFFF);
		/* The others do not fail meanwhile. */
		ck_assert_uint_eq(ask((enum vm_fail_site)other), 0);
		ck_assert_uint_eq(vm_fail_count(site), 12);
	}
	vm_fail_set((enum vm_fail_site)other, 2, false);
	ck_assert_uint_eq(vm_fail_armed, 2);
	ck_assert_uint_eq(ask((enum vm_fail_site)other), 2);
	vm_fail_set((enum vm_fail_site)other, 0, false);
	vm_fail_set(site, 0, true);
	vm_fail_set(site, 0, true);
	ck_assert_uint_eq(vm_fail_armed, 0);
	ck_assert_uint_eq(ask(site), 0);
}
END_TEST

static void
no_site(void *what)
{
	enum vm_fail_site site = (enum vm_fail_site)VM_FAIL_NSITES;

	switch ((uintptr_t)what) {
	case 0:
		vm_fail_set(site, 1, false);
		break;
	case 1:
		vm_fail_count(site);
		break;
	default:
		vm_fail_slow(site);
	}
}

START_TEST(no_such_site)
{
	ck_assert(host_panic_of(no_site, (void *)(uintptr_t)_i, NULL) != NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("vm_fail");
	TCase *tc = tcase_create("vm_fail");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_test(tc, nothing_fails_unasked);
	tcase_add_loop_test(tc, nth_and_after, 0, VM_FAIL_NSITES);
	tcase_add_loop_test(tc, no_such_site, 0, 3);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
