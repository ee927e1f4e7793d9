/*
 * Self-tests of the kernel around sys/vm, and of the machine's promises.
 */
#include <kern/md.h>
#include <kern/selftest.h>
#include <vm/vm_host.h>

/* One format, what it must give, and its length. */
static const char *
expect(const char *want, const char *fmt, ...) __printflike(2, 3);

static const char *
expect(const char *want, const char *fmt, ...)
{
	char buf[64];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = k_vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (strcmp(buf, want) != 0 || n != (int)strlen(want))
		return test_failed("\"%s\" (%d), not \"%s\"", buf, n, want);
	return NULL;
}

const char *
test_printf(void)
{
	const char *bad[] = {
		expect("-2147483648", "%d", (int)-2147483647 - 1),
		expect("18446744073709551615", "%llu", ~0ull),
		expect("-9223372036854775808", "%lld", (long long)
		    (1ull << 63)),
		expect("0xc0100000", "%#lx", 0xc0100000ul),
		expect("  42|42  |0042", "%4d|%-4d|%04d", 42, 42, 42),
		expect("0000beef DEAD", "%08x %X", 0xbeefu, 0xdeadu),
		expect("ab   |  c", "%-5.2s|%3c", "abc", 'c'),
		expect("0x0 100%", "%p %d%%", (void *)NULL, 100),
		expect("    7", "%*u", 5, 7u),
	};
	char tiny[4];

	for (unsigned i = 0; i < nitems(bad); i++)
		if (bad[i] != NULL)
			return bad[i];
	if (k_snprintf(tiny, sizeof(tiny), "%s", "abcdef") != 6 ||
	    strcmp(tiny, "abc") != 0)
		return "a short buffer is not cut as it should be";
	return NULL;
}

const char *
test_symbols(void)
{
	vaddr_t addr, off;
	const char *name;

	if (!ksym_value("kern_main", &addr) || addr != (vaddr_t)kern_main)
		return "kern_main is not known, or elsewhere";
	name = ksym_find(addr + 1, &off);
	if (name == NULL || strcmp(name, "kern_main") != 0 || off != 1)
		return test_failed("kern_main+1 is called %s+%#lx",
		    name == NULL ? "nothing" : name, off);
	if (ksym_find(0, &off) != NULL || ksym_find(VM_SLAB_MIN, &off) != NULL)
		return "an address outside of the image has a name";
	if (ksym_value("no such symbol", &addr))
		return "a symbol that there is not has a value";
	return NULL;
}

/* Are test_trace and selftest_run on the stack, in this order? */
static bool
trace_step(vaddr_t pc, vaddr_t frame, void *arg)
{
	static const char *const want[] = { "test_trace", "selftest_run" };
	unsigned *seen = arg;
	vaddr_t off;
	const char *name = ksym_find(pc - 1, &off);

	if (name != NULL && *seen < nitems(want) &&
	    strcmp(name, want[*seen]) == 0)
		++*seen;
	return *seen < nitems(want);
}

const char *
test_trace(void)
{
	unsigned seen = 0;

	md_backtrace(NULL, trace_step, &seen);
	return seen == 2 ? NULL : test_failed("%u of 2 callers seen", seen);
}

/* Is arg in [start, end)?  Then it is NULL from now on. */
static void
root_step(vaddr_t start, vaddr_t end, void *arg)
{
	vaddr_t *seek = arg;

	if (*seek >= start && *seek < end)
		*seek = 0;
}

static bool
is_root(const void *p)
{
	vaddr_t seek = (vaddr_t)p;

	vm_host_roots(root_step, &seek);
	return seek == 0;
}

/* What sys/vm's leak scan and its audit trail see of the kernel. */
const char *
test_roots(void)
{
	static void *in_bss;
	static void *in_data = &in_data;
	void *volatile on_stack = NULL;
	char name[40];
	vaddr_t pc[2];

	if (!is_root(&in_bss) || !is_root(&in_data) ||
	    !is_root((const void *)(uintptr_t)&on_stack))
		return "a variable is no root";
	if (is_root((void *)VM_HEAP_MIN) || is_root((void *)VM_SLAB_MIN))
		return "the windows are roots";
	if (vm_host_backtrace(pc, 2) != 2)
		return "no call chain";
	vm_host_symbol(pc[1], name, sizeof(name));
	if (strncmp(name, "run_", 4) != 0 && strncmp(name, "panic_", 6) != 0)
		return test_failed("the caller's caller is %s", name);
	if (vm_host_random() == vm_host_random())
		return "a random number comes twice";
	return NULL;
}

static struct vm_mtx mtx_a, mtx_b;
static struct vm_rwlock rw;

static void
mtx_twice(void *arg)
{
	vm_mtx_enter(&mtx_a);
	vm_mtx_enter(&mtx_a);
}

static void
mtx_not_held(void *arg)
{
	vm_mtx_exit(&mtx_a);
}

static void
mtx_no_lock(void *arg)
{
	struct vm_mtx none = { .mtx_name = NULL };

	vm_mtx_enter(&none);
}

static void
rw_read_twice(void *arg)
{
	vm_rw_enter_read(&rw);
	vm_rw_enter_read(&rw);
}

static void
rw_read_exit_write(void *arg)
{
	vm_rw_enter_read(&rw);
	vm_rw_exit_write(&rw);
}

/* Interrupts come back when the last mutex goes, in whatever order. */
static const char *
locks_intr(void)
{
	bool was = md_intr_enabled();

	vm_mtx_enter(&mtx_a);
	if (md_intr_enabled())
		return "a mutex does not mask interrupts";
	vm_mtx_enter(&mtx_b);
	vm_mtx_exit(&mtx_a);
	if (md_intr_enabled())
		return "interrupts are on while a mutex is held";
	vm_mtx_exit(&mtx_b);
	if (md_intr_enabled() != was)
		return "interrupts did not come back as they were";
	return NULL;
}

const char *
test_locks(void)
{
	static const struct {
		void (*fn)(void *);
		const char *word, *word2;
	} misuse[] = {
		{ mtx_twice, "vm_mtx_enter", "\"a test's\" is held already" },
		{ mtx_not_held, "vm_mtx_exit", "\"a test's\" is not held" },
		{ mtx_no_lock, "vm_mtx_enter", "never initialized" },
		{ rw_read_twice, "vm_rw_enter_read", "held already (read)" },
		{ rw_read_exit_write, "vm_rw_exit_write", "not held so (read" },
	};
	const char *wrong;

	vm_mtx_init(&mtx_a, "a test's");
	vm_mtx_init(&mtx_b, "a test's, too");
	vm_rw_init(&rw, "a test's");
	for (unsigned i = 0; i < nitems(misuse); i++) {
		wrong = test_panics(misuse[i].fn, NULL, misuse[i].word,
		    misuse[i].word2);
		if (wrong != NULL)
			return wrong;
		if (vm_mtx_held(&mtx_a) || vm_rw_held(&rw))
			return "a caught panic has left a lock held";
	}
	return locks_intr();
}

static void
do_panic(void *arg)
{
	panic("a test's panic, %d", 42);
}

static void
do_assert(void *arg)
{
	KASSERT(arg != NULL);
}

static void
do_read(void *arg)
{
	(void)*(volatile char *)arg;
}

static void
do_write(void *arg)
{
	volatile char *p = arg;

	*p = *p;
}

static void
do_call(void *arg)
{
	((void (*)(void))arg)();
}

const char *
test_panic(void)
{
	bool was = md_intr_enabled();
	const char *wrong;

	if ((wrong = test_panics(do_panic, NULL, "a test's panic", "42")) !=
	    NULL)
		return wrong;
	if ((wrong = test_panics(do_assert, NULL, "arg != NULL",
	    "do_assert")) != NULL)
		return wrong;
	if (panicstr != NULL)
		return "a caught panic counts as one";
	if (md_intr_enabled() != was)
		return "interrupts are not as they were before it";
	return NULL;
}

/*
 * A second's worth of tries at least: a tick takes 10 ms.  Where the
 * debugger was entered by a trap interrupts are off, and no tick can come.
 */
const char *
test_clock(void)
{
	unsigned long t = md_ticks();

	if (!md_intr_enabled())
		return NULL;
	for (unsigned i = 0; md_ticks() - t < 3; i++) {
		if (i == 1000)
			return "no tick in 1,000 interrupts";
		md_idle();
	}
	return NULL;
}

/*
 * What may not be touched faults, and is told from the outside as well: page
 * 0, text, read-only data, the address space's last page.
 */
const char *
test_protection(void)
{
	static const char rodata[] = "read-only";
	void *text = (void *)(uintptr_t)kern_main;
	const char *wrong;
	char c = 0;

	if (md_read(0, &c, 1) || md_write(0, &c, 1))
		return "page 0 can be touched";
	if (!md_read((vaddr_t)text, &c, 1) || md_write((vaddr_t)text, &c, 1))
		return "text cannot be read, or can be written";
	if (md_write((vaddr_t)rodata, &c, 1))
		return "read-only data can be written";
	if ((wrong = test_panics(do_read, NULL, "page fault", "")) != NULL)
		return wrong;
	if ((wrong = test_panics(do_call, NULL, "page fault", "")) != NULL)
		return wrong;
	if ((wrong = test_panics(do_write, text, "page fault", "")) != NULL)
		return wrong;
	return test_panics(do_write, (void *)(uintptr_t)rodata, "page fault",
	    "");
}
