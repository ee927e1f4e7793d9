/*
 * A small run of the soak; `make soak` makes the long one.
 */
#include "map_test.h"
#include "soak.h"

START_TEST(short_soak)
{
	soak_run(300000, 1 + (uint64_t)_i, false);
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_loop_test(tc, short_soak, 0, 3);
}

int
main(void)
{
	return map_test_main("vm_map soak", add);
}
