/*
 * A real process's address space: every mmap, munmap, mprotect, brk and
 * mremap of a Python 3.11 that imports, allocates and frees, replayed on a
 * user map.  What is mapped in the end must be exactly what Linux showed
 * then, neighbours of equal protection joined.
 *
 * The recording's lines (addresses and lengths in hexadecimal, protections a
 * sum of 1 read, 2 write, 4 execute; lengths are rounded up to pages):
 *
 *	i START END PROT	mapped when the process began
 *	m START LEN PROT FIXED	mapped, replacing what was there
 *	u START LEN		unmapped
 *	p START LEN PROT	protection changed
 *	B ADDR, b ADDR		the first break, and each new one
 *	r OLD OLDLEN NEWLEN NEW	moved and resized, protection kept
 *	e START END PROT [stack] Linux's final map, without the stack
 *
 * HOLM_MM names another recording of this format.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "map_test.h"

#define DEFAULT_MM	"test/data/python.mm"

/* A process of 64 bits does not fit a map of 32. */
#define WIDE		(sizeof(vaddr_t) == 8)

static struct vm_map mm;
static unsigned long line;
static unsigned long long brk_now;

#define up(x)	(((x) + 4095ULL) & ~4095ULL)

static void
wrong(const char *what, unsigned long long a, unsigned long long b, int error)
{
	ck_abort_msg("line %lu: %s [%#llx, %#llx): error %d", line, what, a,
	    b, error);
}

static void
unmap(unsigned long long a, unsigned long long b)
{
	int error;

	if (a >= b)
		return;
	error = vm_map_remove(&mm, (vaddr_t)a, (vaddr_t)b);
	if (error != 0)
		wrong("remove", a, b, error);
}

static void
map(unsigned long long a, unsigned long long b, unsigned long long prot)
{
	int error;

	if (a >= b)
		return;
	unmap(a, b);
	error = vm_map_insert(&mm, (vaddr_t)a, (vaddr_t)b, (vm_prot_t)prot,
	    "mm");
	if (error != 0)
		wrong("insert", a, b, error);
}

static void
protect(unsigned long long a, unsigned long long b, unsigned long long prot)
{
	int error;

	if (a >= b)
		return;
	error = vm_map_protect(&mm, (vaddr_t)a, (vaddr_t)b, (vm_prot_t)prot);
	if (error != 0)
		wrong("protect", a, b, error);
}

static void
set_break(unsigned long long to)
{
	to = up(to);
	if (to > brk_now)
		map(brk_now, to, VM_PROT_RW);
	else
		unmap(to, brk_now);
	brk_now = to;
}

static void
move(unsigned long long old, unsigned long long oldlen,
    unsigned long long newlen, unsigned long long new)
{
	struct vm_map_info vi;
	int error = vm_map_lookup(&mm, (vaddr_t)old, &vi);

	if (error != 0)
		wrong("lookup", old, old + oldlen, error);
	unmap(old, old + up(oldlen));
	map(new, new + up(newlen), vi.vi_prot);
}

/* One line of the recording, before the final map. */
static void
replay(const char *text)
{
	unsigned long long a = 0, b = 0, c = 0, d = 0;
	char op = text[0];
	int n = sscanf(text + 1, "%llx %llx %llx %llx", &a, &b, &c, &d);

	if (op == 'i' && n == 3)
		map(a, up(b), c);
	else if (op == 'm' && n == 4)
		map(a, a + up(b), c);
	else if (op == 'u' && n == 2)
		unmap(a, a + up(b));
	else if (op == 'p' && n == 3)
		protect(a, a + up(b), c);
	else if (op == 'B' && n == 1)
		brk_now = up(a);
	else if (op == 'b' && n == 1)
		set_break(a);
	else if (op == 'r' && n == 4)
		move(a, b, c, d);
	else
		ck_abort_msg("line %lu: not of the format: %s", line, text);
}

/* Linux's regions, joined where only their names or files differ. */
#define MAXFINAL	20000
struct final {
	unsigned long long start, end, prot;
};
static struct final final[MAXFINAL], stack;
static unsigned nfinal;

static void
read_final(const char *text)
{
	struct final f, *last = &final[nfinal - (nfinal > 0)];

	if (sscanf(text + 1, "%llx %llx %llx", &f.start, &f.end,
	    &f.prot) != 3)
		ck_abort_msg("line %lu: not of the format: %s", line, text);
	if (strstr(text, "stack") != NULL) {
		stack = f;
	} else if (nfinal > 0 && last->end == f.start &&
	    last->prot == f.prot) {
		last->end = f.end;
	} else {
		must(nfinal < MAXFINAL);
		final[nfinal++] = f;
	}
}

/* The next region but for the stack, which Linux grows by itself. */
static bool
next_region(struct vm_map_info *vi)
{
	vaddr_t end = vi->vi_end;
	vm_prot_t prot = vi->vi_prot;

	do {
		if (vm_map_next(&mm, vi->vi_end, vi) != 0)
			return false;
	} while (vi->vi_start >= stack.start && vi->vi_end <= stack.end);
	if (vi->vi_start == end && vi->vi_prot == prot)
		ck_abort_msg("[%#lx, %#lx) and the one before are equal",
		    vi->vi_start, vi->vi_end);
	return true;
}

static void
compare(void)
{
	struct vm_map_info vi = { .vi_end = 0 };
	const struct final *f;

	for (f = final; f < &final[nfinal]; f++) {
		if (!next_region(&vi))
			ck_abort_msg("no region where Linux has [%#llx, "
			    "%#llx)", f->start, f->end);
		if (vi.vi_start != f->start || vi.vi_end != f->end ||
		    vi.vi_prot != f->prot)
			ck_abort_msg("[%#lx, %#lx) %u, but Linux has [%#llx, "
			    "%#llx) %llu", vi.vi_start, vi.vi_end, vi.vi_prot,
			    f->start, f->end, f->prot);
	}
	if (next_region(&vi))
		ck_abort_msg("[%#lx, %#lx), where Linux has nothing",
		    vi.vi_start, vi.vi_end);
}

/*
 * The same recording on a machine of 64 bits; where addresses have 32, only
 * that is said.
 */
START_TEST(python_mm)
{
	const char *path = getenv("HOLM_MM"), *why;
	char text[256];
	FILE *fp;
	unsigned n = 0;

	if (!WIDE) {
		printf("vm_map: python.mm has addresses of 47 bits: left out "
		    "in 32\n");
		return;
	}
	path = path != NULL ? path : DEFAULT_MM;
	fp = fopen(path, "r");
	if (fp == NULL)
		ck_abort_msg("%s: cannot be opened", path);
	must(vm_map_init(&mm, "python", VM_MIN_ADDRESS, VM_MAX_ADDRESS,
	    VM_MAP_USER, NULL) == 0);
	for (line = 1; fgets(text, sizeof(text), fp) != NULL; line++) {
		if (text[0] == '#' || text[0] == '\n')
			continue;
		if (text[0] == 'e') {
			read_final(text);
			continue;
		}
		replay(text);
		n++;
		why = vm_map_check(&mm);
		if (why != NULL)
			ck_abort_msg("line %lu: %s", line, why);
	}
	fclose(fp);
	must(n > 0 && nfinal > 0);
	compare();
	printf("vm_map: %s: %u operations, %u regions as Linux has them\n",
	    path, n, nfinal);
	must(vm_map_destroy(&mm) >= nfinal);
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_test(tc, python_mm);
}

int
main(void)
{
	return map_test_main("vm_map python", add);
}
