/*
 * What the debugger asks of the machine: registers, the stack, memory that
 * may not be there.
 */
#include <i386/machdep.h>
#include <i386/memlayout.h>
#include <i386/trapframe.h>
#include <kern/kern.h>
#include <kern/md.h>
#include <machine/cpufunc.h>

#define BACKTRACE_MAX	64	/* frames; deeper is a loop or a bug */

static bool
page_is(vaddr_t va, pte_t bits)
{
	return (pmap_live_pte(va) & bits) == bits;
}

/* Are all pages of [va, va + len) mapped with these bits? */
static bool
range_is(vaddr_t va, size_t len, pte_t bits)
{
	if (len == 0)
		return true;
	if (va + len - 1 < va)
		return false;
	for (vaddr_t p = trunc_page(va); page_is(p, bits); p += PAGE_SIZE) {
		if (p == trunc_page(va + len - 1))
			return true;
	}
	return false;
}

bool
md_read(vaddr_t va, void *buf, size_t len)
{
	if (!range_is(va, len, PG_V))
		return false;
	memcpy(buf, (const void *)va, len);
	return true;
}

bool
md_write(vaddr_t va, const void *buf, size_t len)
{
	if (!range_is(va, len, PG_V | PG_RW))
		return false;
	memcpy((void *)va, buf, len);
	return true;
}

static void
print_eflags(uint32_t f)
{
	static const struct {
		uint32_t	 bit;
		const char	*name;
	} flags[] = {
		{ 0x001, "CF" }, { 0x004, "PF" }, { 0x010, "AF" },
		{ 0x040, "ZF" }, { 0x080, "SF" }, { 0x100, "TF" },
		{ 0x200, "IF" }, { 0x400, "DF" }, { 0x800, "OF" },
		{ EFLAGS_NT, "NT" }, { 0x10000, "RF" }, { 0x20000, "VM" },
		{ EFLAGS_AC, "AC" }, { EFLAGS_ID, "ID" },
	};

	for (unsigned i = 0; i < nitems(flags); i++) {
		if (f & flags[i].bit)
			printf(" %s", flags[i].name);
	}
	printf(" iopl %u\n", (unsigned)(f >> 12 & 3));
}

void
md_print_frame(const struct trapframe *tf)
{
	bool user = SEL_RPL(tf->tf_cs) != 0;

	if (tf == NULL) {
		printf("no trap, no registers\n");
		return;
	}
	printf("eax %08x  ebx %08x  ecx %08x  edx %08x\n",
	    (unsigned)tf->tf_eax, (unsigned)tf->tf_ebx,
	    (unsigned)tf->tf_ecx, (unsigned)tf->tf_edx);
	printf("esi %08x  edi %08x  ebp %08x  esp %08x\n",
	    (unsigned)tf->tf_esi, (unsigned)tf->tf_edi,
	    (unsigned)tf->tf_ebp, (unsigned)tf->tf_sp);
	printf("eip %08x  err %08x  eflags %08x",
	    (unsigned)tf->tf_eip, (unsigned)tf->tf_err,
	    (unsigned)tf->tf_eflags);
	print_eflags(tf->tf_eflags);
	printf("cs %04x  ss %04x  ds %04x  es %04x  fs %04x  gs %04x\n",
	    (unsigned)tf->tf_cs & 0xFFFF,
	    user ? (unsigned)tf->tf_ss & 0xFFFF : SEL_KDATA,
	    (unsigned)tf->tf_ds & 0xFFFF, (unsigned)tf->tf_es & 0xFFFF,
	    (unsigned)tf->tf_fs & 0xFFFF, (unsigned)tf->tf_gs & 0xFFFF);
	printf("cr0 %08x  cr2 %08lx  cr3 %08lx  cr4 %08x\n",
	    (unsigned)rcr0(), rcr2(), rcr3(),
	    cpu_has_cpuid ? (unsigned)rcr4() : 0);
}

/*
 * A 32-bit word of a stack.  Of the boot stack one knows that it is there:
 * the audit trail of each allocation comes this way.
 */
static bool
stack_word(vaddr_t va, vaddr_t *w)
{
	uint32_t v;

	if (va - BOOTSTACK_MIN <= BOOTSTACK_MAX - BOOTSTACK_MIN - sizeof(v) &&
	    va % sizeof(v) == 0) {
		*w = *(const uint32_t *)va;
		return true;
	}
	if (va < KERNBASE || va % sizeof(v) != 0 ||
	    !md_read(va, &v, sizeof(v)))
		return false;
	*w = v;
	return true;
}

/*
 * Who called the function that trapped, where its own frame is not yet (or
 * no longer) on the chain: at its first instruction, after its push of ebp,
 * or when the call itself went astray.
 */
static bool
frameless_caller(const struct trapframe *tf, vaddr_t *pc)
{
	bool in_text = tf->tf_eip >= (vaddr_t)text_start &&
	    tf->tf_eip < (vaddr_t)text_end;
	vaddr_t off = 0;

	if (in_text && ksym_find(tf->tf_eip, &off) == NULL)
		return false;
	if (off > 1)
		return false;
	return stack_word(tf->tf_sp + off * sizeof(uint32_t), pc);
}

void
md_backtrace(const struct trapframe *tf,
    bool (*step)(vaddr_t pc, vaddr_t frame, void *arg), void *arg)
{
	vaddr_t fp, next, pc;

	fp = (vaddr_t)__builtin_frame_address(0);
	if (tf != NULL) {
		fp = tf->tf_ebp;
		if (!step(tf->tf_eip, fp, arg))
			return;
		if (frameless_caller(tf, &pc) && !step(pc, fp, arg))
			return;
	}
	for (unsigned n = 0; n < BACKTRACE_MAX; n++) {
		if (!stack_word(fp, &next) ||
		    !stack_word(fp + sizeof(uint32_t), &pc) || pc == 0)
			return;
		if (!step(pc, fp, arg) || next <= fp)
			return;
		fp = next;
	}
}

/* A frame below that of md_roots, where the registers are. */
static void __attribute__((__noinline__))
roots_from_here(void (*fn)(vaddr_t start, vaddr_t end, void *arg), void *arg)
{
	vaddr_t sp = (vaddr_t)__builtin_frame_address(0);

	fn((vaddr_t)data_start, (vaddr_t)vm_bss_start, arg);
	fn((vaddr_t)vm_bss_end & ~(sizeof(vaddr_t) - 1), (vaddr_t)data_end,
	    arg);
	/* On another stack: how much of this one is in use is not known. */
	if (sp < BOOTSTACK_MIN || sp >= BOOTSTACK_MAX)
		sp = BOOTSTACK_MIN;
	fn(sp, BOOTSTACK_MAX, arg);
}

void
md_roots(void (*fn)(vaddr_t start, vaddr_t end, void *arg), void *arg)
{
	__builtin_unwind_init();	/* the registers, onto the stack */
	roots_from_here(fn, arg);
}
