/*
 * Traps: interrupts go to their handler; everything else is named, shown
 * whole, and ends in the debugger.
 */
#include <i386/machdep.h>
#include <i386/memlayout.h>
#include <i386/trapframe.h>
#include <kern/kern.h>
#include <kern/md.h>
#include <machine/cpufunc.h>
#include <vm/kmem_debug.h>

/* Room for what happened, in words: two hundred of them an object's. */
#define TRAP_WHY	400

/* Faults within the debugger within a fault: beyond this, give up. */
#define TRAP_MAXDEPTH	4

static const char *const trap_names[T_NEXCEPTIONS] = {
	[T_DIVIDE] = "divide error",
	[T_DEBUG] = "debug exception",
	[T_NMI] = "non-maskable interrupt",
	[T_BREAKPOINT] = "breakpoint",
	[T_OVERFLOW] = "overflow",
	[T_BOUND] = "bound range exceeded",
	[T_OPCODE] = "invalid opcode",
	[T_NODEVICE] = "no floating point",
	[T_DOUBLE] = "double fault",
	[T_COPROC] = "coprocessor segment overrun",
	[T_TSS] = "invalid TSS",
	[T_SEGMENT] = "segment not present",
	[T_STACK] = "stack segment fault",
	[T_PROTECTION] = "general protection fault",
	[T_PAGE] = "page fault",
	[T_15] = "reserved exception 15",
	[T_FPU] = "floating point error",
	[T_ALIGN] = "alignment check",
	[T_MACHINE] = "machine check",
	[T_SIMD] = "SIMD floating point error",
	[20] = "virtualization exception",
	[21] = "control protection exception",
	[22] = "reserved exception 22", [23] = "reserved exception 23",
	[24] = "reserved exception 24", [25] = "reserved exception 25",
	[26] = "reserved exception 26", [27] = "reserved exception 27",
	[28] = "hypervisor injection exception",
	[29] = "VMM communication exception",
	[30] = "security exception",
	[31] = "reserved exception 31",
};

static unsigned trap_depth;

static const char *
trap_name(uint32_t no)
{
	return no < T_NEXCEPTIONS ? trap_names[no] : "unexpected interrupt";
}

/* " (…)", when va lies where nothing may ever be. */
static const char *
forbidden_place(vaddr_t va)
{
	static const struct {
		vaddr_t		 start;
		const char	*what;
	} places[] = {
		{ 0, " (a null pointer?)" },
		{ VM_HEAP_MIN - PAGE_SIZE, " (the image's guard page)" },
		{ VM_HEAP_MAX - PAGE_SIZE, " (the heap's guard page)" },
		{ VM_SLAB_MAX - PAGE_SIZE,
		    " (the guard page below the boot stack)" },
		{ STACK_GUARD, " (the guard page above the boot stack)" },
		{ (vaddr_t)fault_stack - PAGE_SIZE,
		    " (the guard page below the double fault's stack)" },
	};

	for (unsigned i = 0; i < nitems(places); i++) {
		if (trunc_page(va) == places[i].start)
			return places[i].what;
	}
	return "";
}

/* "write to read-only kernel page 0xc0100000" */
static void
describe_page_fault(const struct trapframe *tf, vaddr_t va, char *buf,
    size_t size)
{
	const char *op = tf->tf_err & PGEX_W ? "write to" :
	    va == tf->tf_eip ? "execution of" : "read of";
	const char *state = tf->tf_err & PGEX_RSVD ? "badly mapped " :
	    !(tf->tf_err & PGEX_P) ? "" :
	    tf->tf_err & PGEX_W ? "read-only " : "protected ";

	vaddr_t off;
	const char *sym = ksym_find(va, &off);
	char where[192] = "", what[160];

	if (sym != NULL)
		k_snprintf(where, sizeof(where), " (%s+%#lx)", sym, off);
	else if (kmem_debug_fault_what(va, what, sizeof(what)))
		k_snprintf(where, sizeof(where), " (%s)", what);
	k_snprintf(buf, size, "%s %s%s page %#lx%s%s%s%s", op, state,
	    va >= KERNBASE ? "kernel" : "user", va, where,
	    tf->tf_err & PGEX_P ? "" : ", not present",
	    tf->tf_err & PGEX_U ? ", from user mode" : "",
	    forbidden_place(va));
}

/* What happened and why, in one line. */
static void
describe(const struct trapframe *tf, vaddr_t cr2, char *buf, size_t size)
{
	const char *name = trap_name(tf->tf_trapno);
	char why[TRAP_WHY];

	if (tf->tf_trapno == T_PAGE) {
		describe_page_fault(tf, cr2, why, sizeof(why));
		k_snprintf(buf, size, "%s: %s", name, why);
	} else if (tf->tf_trapno >= T_NEXCEPTIONS)
		k_snprintf(buf, size, "%s %u", name,
		    (unsigned)tf->tf_trapno);
	else if (tf->tf_err != 0)
		k_snprintf(buf, size, "%s, error code %#x", name,
		    (unsigned)tf->tf_err);
	else
		k_snprintf(buf, size, "%s", name);
}

static void
print_trap(const struct trapframe *tf, const char *why)
{
	vaddr_t off;
	const char *sym = ksym_find(tf->tf_eip, &off);

	printf("\ntrap %u: %s\n", (unsigned)tf->tf_trapno, why);
	if (tf->tf_trapno == T_PAGE)
		kmem_debug_fault(rcr2());
	if (sym != NULL)
		printf("at %#x (%s+%#lx)\n", (unsigned)tf->tf_eip, sym, off);
	else
		printf("at %#x (not in the kernel)\n", (unsigned)tf->tf_eip);
	md_print_frame(tf);
}

/* To the debugger; whoever types `continue` there has the trap retried. */
static void
trap_debug(struct trapframe *tf)
{
	char why[TRAP_WHY];

	describe(tf, rcr2(), why, sizeof(why));
	panic_fault("%s at %#x", why, (unsigned)tf->tf_eip);
	if (++trap_depth > TRAP_MAXDEPTH) {
		printf("\ntrap: %s at %#x, in a fault in a fault: halting\n",
		    why, (unsigned)tf->tf_eip);
		md_halt(1);
	}
	print_trap(tf, why);
	ddb_enter(tf, why);
	trap_depth--;
}

/* Whose turn it is behind each instruction; NULL: nobody's. */
static void (*trap_each)(void);

void
md_interrupt_each(void (*fn)(void *), void *arg, void (*handler)(void))
{
	trap_each = handler;
	write_eflags(read_eflags() | EFLAGS_TF);
	fn(arg);
	write_eflags(read_eflags() & ~EFLAGS_TF);
	trap_each = NULL;
}

/*
 * From vectors.asm.
 * => interrupts are off
 */
void
trap(struct trapframe *tf)
{
	tf->tf_sp = SEL_RPL(tf->tf_cs) != 0 ? tf->tf_esp :
	    (uint32_t)(uintptr_t)&tf->tf_esp;
	if (tf->tf_trapno >= T_IRQ0 && tf->tf_trapno < T_IRQ0 + T_NIRQS)
		intr_dispatch(tf->tf_trapno - T_IRQ0);
	else if (tf->tf_trapno == T_DEBUG && trap_each != NULL) {
		if (tf->tf_eflags & EFLAGS_IF)
			intr_run(trap_each);
	} else
		trap_debug(tf);
}

/* Has the stack run into what lies unmapped below it? */
static bool
stack_overflowed(const struct trapframe *tf, vaddr_t cr2)
{
	return cr2 - (tf->tf_sp - PAGE_SIZE) <= PAGE_SIZE &&
	    !(pmap_live_pte(cr2) & PG_V);
}

/* From vectors.asm, on a stack of its own. */
void
trap_double_fault(void)
{
	struct trapframe tf;
	vaddr_t cr2 = rcr2();
	char why[TRAP_WHY];

	segments_leave_double_fault();
	pmap_reload();
	segments_fault_frame(&tf);
	if (stack_overflowed(&tf, cr2))
		k_snprintf(why, sizeof(why), "double fault: kernel stack "
		    "overflow, esp %#x, write to %#lx%s", (unsigned)tf.tf_sp,
		    cr2, forbidden_place(cr2));
	else
		k_snprintf(why, sizeof(why), "double fault, last page fault "
		    "at %#lx", cr2);
	panic_fault("%s at %#x", why, (unsigned)tf.tf_eip);
	print_trap(&tf, why);
	panic("%s", why);
}
