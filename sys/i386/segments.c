/*
 * Segments, tasks, gates: as few as the CPU lets one get away with.
 *
 * Flat segments for the kernel (and for user mode, later); one task for all
 * threads; and a second one only for the double fault.  A kernel stack that
 * has run into its guard page has no room for the page fault's frame, so the
 * CPU turns it into a double fault, and only a task gate brings a stack of
 * its own along.  That one has a guard page, too: who overflows it ends here
 * again, from its top, instead of in other data.
 */
#include <i386/machdep.h>
#include <i386/memlayout.h>
#include <i386/trapframe.h>
#include <kern/md.h>
#include <machine/cpufunc.h>

struct tss {
	uint32_t	tss_link;
	uint32_t	tss_esp0, tss_ss0;
	uint32_t	tss_esp1, tss_ss1, tss_esp2, tss_ss2;
	uint32_t	tss_cr3;
	uint32_t	tss_eip, tss_eflags;
	uint32_t	tss_eax, tss_ecx, tss_edx, tss_ebx;
	uint32_t	tss_esp, tss_ebp, tss_esi, tss_edi;
	uint32_t	tss_es, tss_cs, tss_ss, tss_ds, tss_fs, tss_gs;
	uint32_t	tss_ldt;
	uint16_t	tss_trap, tss_iobase;
};

/* vectors.asm counts on these. */
_Static_assert(offsetof(struct tss, tss_eip) == 32, "tss_eip");
_Static_assert(offsetof(struct tss, tss_ebp) == 60, "tss_ebp");
_Static_assert(sizeof(struct tss) == 104, "tss");

/* Descriptors: a type byte with present bit, privilege and kind. */
#define DT_KCODE	0x9Au
#define DT_KDATA	0x92u
#define DT_UCODE	0xFAu
#define DT_UDATA	0xF2u
#define DT_TSS		0x89u
#define DT_INTR		0x8Eu		/* interrupt gate: IF goes off */
#define DT_INTR_USER	0xEEu		/* the same, user mode may (int3) */
#define DT_TASK		0x85u

#define DT_BUSY		0x02u		/* a TSS that is running, or waits */

extern char trap_stubs[];		/* 16 bytes each */
extern void double_fault_entry(void);
extern void call_on_stack(void (*fn)(void *), void *arg, void *top);
extern struct tss main_tss;

struct tss main_tss;
static struct tss df_tss;
static uint64_t gdt[7];
static uint64_t idt[T_NVECTORS];

static uint64_t
segment(uint32_t base, uint32_t limit, unsigned type, unsigned flags)
{
	return (limit & 0xFFFF) | (uint64_t)(base & 0xFFFFFF) << 16 |
	    (uint64_t)type << 40 | (uint64_t)(limit >> 16 & 0xF) << 48 |
	    (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

static uint64_t
gate(uint16_t sel, uintptr_t off, unsigned type)
{
	return (off & 0xFFFF) | (uint64_t)sel << 16 | (uint64_t)type << 40 |
	    (uint64_t)(off >> 16) << 48;
}

static void
load_segments(void)
{
	__asm__ volatile(
	    "ljmpl	%0, $1f\n"
	    "1:	movl	%1, %%ds\n"
	    "	movl	%1, %%es\n"
	    "	movl	%1, %%fs\n"
	    "	movl	%1, %%gs\n"
	    "	movl	%1, %%ss\n"
	    : : "i" (SEL_KCODE), "r" (SEL_KDATA) : "memory");
}

static void
gdt_init(void)
{
	const struct region_descriptor rd = { sizeof(gdt) - 1,
	    (uintptr_t)gdt };
	const unsigned flat = 0xC;	/* 32 bits, limit in pages */

	gdt[SEL_KCODE / 8] = segment(0, 0xFFFFF, DT_KCODE, flat);
	gdt[SEL_KDATA / 8] = segment(0, 0xFFFFF, DT_KDATA, flat);
	gdt[SEL_UCODE / 8] = segment(0, 0xFFFFF, DT_UCODE, flat);
	gdt[SEL_UDATA / 8] = segment(0, 0xFFFFF, DT_UDATA, flat);
	gdt[SEL_TSS / 8] = segment((uintptr_t)&main_tss,
	    sizeof(main_tss) - 1, DT_TSS, 0);
	gdt[SEL_DFTSS / 8] = segment((uintptr_t)&df_tss,
	    sizeof(df_tss) - 1, DT_TSS, 0);
	lgdt(&rd);
	load_segments();
}

static void
tss_init(void)
{
	main_tss.tss_ss0 = SEL_KDATA;
	main_tss.tss_esp0 = BOOTSTACK_MAX;
	main_tss.tss_iobase = sizeof(main_tss);	/* no ports for user mode */

	df_tss.tss_cr3 = KVTOP(boot_pd);
	df_tss.tss_eip = (uintptr_t)double_fault_entry;
	df_tss.tss_eflags = 2;			/* that bit is always set */
	df_tss.tss_esp = (uintptr_t)image_end;
	df_tss.tss_cs = SEL_KCODE;
	df_tss.tss_ss = df_tss.tss_ds = df_tss.tss_es = SEL_KDATA;
	df_tss.tss_fs = df_tss.tss_gs = SEL_KDATA;
	df_tss.tss_iobase = sizeof(df_tss);
	ltr(SEL_TSS);
}

static void
idt_init(void)
{
	const struct region_descriptor rd = { sizeof(idt) - 1,
	    (uintptr_t)idt };

	for (unsigned n = 0; n < T_NVECTORS; n++)
		idt[n] = gate(SEL_KCODE, (uintptr_t)trap_stubs + 16 * n,
		    n == T_BREAKPOINT || n == T_OVERFLOW ?
		    DT_INTR_USER : DT_INTR);
	idt[T_DOUBLE] = gate(SEL_DFTSS, 0, DT_TASK);
	lidt(&rd);
}

void
segments_init(void)
{
	gdt_init();
	tss_init();
	idt_init();
}

/* The CPU saved the failing task's registers in its TSS, not on a stack. */
void
segments_fault_frame(struct trapframe *tf)
{
	const struct tss *t = &main_tss;

	*tf = (struct trapframe) {
		.tf_gs = t->tss_gs, .tf_fs = t->tss_fs,
		.tf_es = t->tss_es, .tf_ds = t->tss_ds,
		.tf_edi = t->tss_edi, .tf_esi = t->tss_esi,
		.tf_ebp = t->tss_ebp, .tf_sp = t->tss_esp,
		.tf_ebx = t->tss_ebx, .tf_edx = t->tss_edx,
		.tf_ecx = t->tss_ecx, .tf_eax = t->tss_eax,
		.tf_trapno = T_DOUBLE,
		.tf_eip = t->tss_eip, .tf_cs = t->tss_cs,
		.tf_eflags = t->tss_eflags,
		.tf_esp = t->tss_esp, .tf_ss = t->tss_ss,
	};
}

/*
 * In the double fault's task: be the main one again, on the stack of the
 * double fault, so that a panic may be caught, and that the next double
 * fault finds its task free.
 */
void
segments_leave_double_fault(void)
{
	const uint64_t busy = (uint64_t)DT_BUSY << 40;

	gdt[SEL_TSS / 8] &= ~busy;
	gdt[SEL_DFTSS / 8] &= ~busy;
	ltr(SEL_TSS);
	write_eflags(read_eflags() & ~EFLAGS_NT);
}

void
md_on_fault_stack(void (*fn)(void *), void *arg)
{
	call_on_stack(fn, arg, image_end);
}

void
segments_no_idt(void)
{
	const struct region_descriptor rd = { 0, 0 };

	lidt(&rd);
}
