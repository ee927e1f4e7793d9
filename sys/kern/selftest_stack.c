/*
 * Self-tests of what ends a stack: who overflows one runs into a guard page
 * and is told so, and the kernel lives on.
 *
 * The page fault finds no room for its frame, the CPU makes a double fault of
 * it, and that has a stack of its own.  When that one overflows, too, the
 * same comes of it: a double fault, once more from the top of its stack.
 */
#include <kern/md.h>
#include <kern/selftest.h>

#define DEPTH	10000		/* at 64 bytes each: more than any stack */

/* The one function here that calls itself: that is what it is for. */
static unsigned __attribute__((__noinline__))
dig(unsigned depth)
{
	volatile unsigned char room[64];

	room[0] = (unsigned char)depth;
	return depth == 0 ? 0 : dig(depth - 1) + room[0];
}

static void
overflow(void *arg)
{
	md_intr_disable();	/* a panic in an interrupt is not caught */
	dig(DEPTH);
}

static void
overflow_elsewhere(void *arg)
{
	md_on_fault_stack(overflow, arg);
}

static void
step(void *arg)
{
	++*(unsigned *)arg;
}

const char *
test_stacks(void)
{
	unsigned steps = 0;
	const char *wrong;

	md_on_fault_stack(step, &steps);
	if (steps != 1)
		return "nothing was done on the double fault's stack";
	for (unsigned i = 0; i < 2; i++) {
		wrong = test_panics(overflow, NULL, "kernel stack overflow",
		    "the guard page below the boot stack");
		if (wrong == NULL)
			wrong = test_panics(overflow_elsewhere, NULL,
			    "kernel stack overflow",
			    "the guard page below the double fault's stack");
		if (wrong != NULL)
			return wrong;
	}
	return NULL;
}
