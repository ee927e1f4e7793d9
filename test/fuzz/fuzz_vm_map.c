/*
 * vm_map against its oracle, under libFuzzer:
 *
 *	clang-14 -g -O1 -fsanitize=fuzzer,address,undefined -Isys \
 *	    -Itest/host/include -Itest/host -Itest test/fuzz/fuzz_vm_map.c \
 *	    test/oracle.c test/twin.c test/twin_step.c test/host/host*.c \
 *	    sys/vm/[bkv]*.c sys/libkern/[bmpr]*.c -o build/fuzz_vm_map
 *	build/fuzz_vm_map -max_len=2000 test/fuzz/corpus/vm_map
 *
 * test_vm_map_fuzz.c includes this file and replays the corpus.
 *
 * An input is what kind of map to make, how large, and where; and after that
 * the numbers from which twin_step() draws its operations, each a byte, or
 * two where 256 are not enough.  The whole map is compared after each.
 */
#include <stdlib.h>

#include <vm/vm_fail.h>

#include "host.h"
#include "twin.h"

#define FUZZ_PAGES	600	/* of a map, at most */
#define FUZZ_OPS	1000	/* on it, at most */

int	LLVMFuzzerTestOneInput(const uint8_t *, size_t);

struct fuzz_bytes {
	const uint8_t	*fb_byte;
	size_t		 fb_left;
};

static unsigned
fuzz_byte(struct fuzz_bytes *fb)
{
	if (fb->fb_left == 0)
		return 0;
	fb->fb_left--;
	return *fb->fb_byte++;
}

static unsigned
fuzz_draw(void *arg, unsigned n)
{
	struct fuzz_bytes *fb = arg;
	unsigned x = fuzz_byte(fb);

	if (n > 256)
		x = x << 8 | fuzz_byte(fb);
	return x % n;
}

/* Entries run out now and then. */
static void
fuzz_starve(struct twin *t, const struct twin_source *from)
{
	bool fail = fuzz_draw(from->ts_arg, 4) == 0;

	t->t_starved = fail;
	vm_fail_set(VM_FAIL_ENTRY, fail ? 1 + fuzz_draw(from->ts_arg, 3) : 0,
	    fuzz_draw(from->ts_arg, 2));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const vaddr_t base[4] = {
		PAGE_SIZE, 0x40000000, 0x7FFE5000, 0
	};
	struct fuzz_bytes fb = { bytes, size };
	struct twin_source from = { fuzz_draw, &fb };
	unsigned what = fuzz_byte(&fb), i;
	vsize_t len = (1 + fuzz_draw(&fb, FUZZ_PAGES)) * PAGE_SIZE;
	vaddr_t min = base[what >> 1 & 3];
	static struct twin t;
	static bool booted;

	if (!booted)
		host_boot(16384);
	booted = true;
	if (min == 0)
		min = -(vaddr_t)PAGE_SIZE - len;
	twin_init(&t, "fuzz", min, min + len,
	    what & 1 ? VM_MAP_USER : VM_MAP_KERNEL);
	for (i = 0; i < FUZZ_OPS && fb.fb_left > 0; i++) {
		if (what & 8)
			fuzz_starve(&t, &from);
		twin_step(&t, &from);
	}
	vm_fail_set(VM_FAIL_ENTRY, 0, false);
	twin_fini(&t);
	return 0;
}
