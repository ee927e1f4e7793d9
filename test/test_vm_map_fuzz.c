/*
 * What the fuzzer of vm_map found worth keeping, replayed.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/fuzz_vm_map.c"
#include "map_test.h"

#define CORPUS	"test/fuzz/corpus/vm_map"

static unsigned
replay(const char *name)
{
	static uint8_t bytes[1 << 16];
	char path[512];
	size_t size;
	FILE *fp;

	snprintf(path, sizeof(path), "%s/%s", CORPUS, name);
	fp = fopen(path, "rb");
	if (fp == NULL)
		ck_abort_msg("%s: cannot be opened", path);
	size = fread(bytes, 1, sizeof(bytes), fp);
	fclose(fp);
	LLVMFuzzerTestOneInput(bytes, size);
	return 1;
}

static void
fail_check(const char *story)
{
	ck_abort_msg("%s", story);
}

START_TEST(corpus)
{
	struct dirent *de;
	unsigned n = 0;
	DIR *dir;

	twin_fail_hook = fail_check;
	dir = opendir(CORPUS);
	if (dir == NULL)
		ck_abort_msg("%s: cannot be opened", CORPUS);
	while ((de = readdir(dir)) != NULL)
		if (de->d_name[0] != '.')
			n += replay(de->d_name);
	closedir(dir);
	must(n > 20);
	printf("vm_map: %u inputs of the fuzzer's\n", n);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("vm_map fuzz");
	TCase *tc = tcase_create("corpus");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, corpus);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
