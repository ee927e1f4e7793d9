/*
 * The CPU: which one it is, interrupts on and off, and the ways out.
 */
#include <i386/machdep.h>
#include <i386/memlayout.h>
#include <kern/kern.h>
#include <kern/md.h>
#include <machine/cpufunc.h>

#define CMOS_INDEX	0x70
#define CMOS_DATA	0x71
#define CMOS_TIME	10		/* registers with time and status */
#define PIT_COUNTER0	0x40
#define PIT_CONTROL	0x43		/* 0: latch counter 0 */

#define RESET_CONTROL	0xCF9		/* Intel's PIIX3 and later */
#define RESET_ALL	0x02		/* not the CPU alone, */
#define RESET_NOW	0x04		/* when this bit comes on */

bool cpu_has_cpuid;

/* Can this flag be changed?  (That is how the CPUs tell their age.) */
static bool
eflags_can(uint32_t flag)
{
	uint32_t old = read_eflags(), new;

	write_eflags(old ^ flag);
	new = read_eflags();
	write_eflags(old);
	return ((old ^ new) & flag) != 0;
}

/* The name that newer CPUs give themselves: 48 characters. */
static bool
cpu_brand(char brand[49])
{
	uint32_t r[4];

	cpuid(0x80000000, r);
	if (r[0] < 0x80000004 || r[0] > 0x8000FFFF)
		return false;
	for (uint32_t i = 0; i < 3; i++) {
		cpuid(0x80000002 + i, r);
		memcpy(brand + 16 * i, r, sizeof(r));
	}
	brand[48] = '\0';
	return true;
}

/* Both fields got too small; the rest is further left. */
static void
cpu_model(uint32_t eax, unsigned *family, unsigned *model)
{
	*family = eax >> 8 & 0xF;
	*model = eax >> 4 & 0xF;
	if (*family == 6 || *family == 15)
		*model |= (eax >> 16 & 0xF) << 4;
	if (*family == 15)
		*family += eax >> 20 & 0xFF;
}

static void
cpu_identify(void)
{
	unsigned family, model;
	uint32_t r[4];
	char vendor[13], brand[49];
	const char *name = brand;

	cpuid(0, r);
	memcpy(vendor, &r[1], 4);
	memcpy(vendor + 4, &r[3], 4);
	memcpy(vendor + 8, &r[2], 4);
	vendor[12] = '\0';
	cpuid(1, r);
	if (!cpu_brand(brand))
		brand[0] = '\0';
	while (*name == ' ')		/* Intel fills up on the left */
		name++;
	cpu_model(r[0], &family, &model);
	printf("cpu: %s, family %u model %u stepping %u%s%s\n", vendor,
	    family, model, (unsigned)(r[0] & 0xF), *name != '\0' ? ", " : "",
	    name);
}

/* From here on one can print, a trap is told, and options are known. */
void
md_console_init(void)
{
	kbd_init();
	vga_init();
	com_init();
	segments_init();
	bootinfo_init();
}

void
md_cpu_init(void)
{
	if (!eflags_can(EFLAGS_AC))
		panic("md_cpu_init: a 386, without invlpg and write "
		    "protection: a 486 is the least");
	cpu_has_cpuid = eflags_can(EFLAGS_ID);
	if (cpu_has_cpuid)
		cpu_identify();
	else
		printf("cpu: a 486 without cpuid\n");
}

bool
md_has_tsc(void)
{
	uint32_t r[4];

	if (!cpu_has_cpuid)
		return false;
	cpuid(1, r);
	return (r[3] & CPUID_TSC) != 0;
}

uint64_t
md_tsc(void)
{
	return rdtsc();
}

/*
 * The time of day to the second, where the timer is between two ticks, and
 * what the CPU has counted since it began.  An emulator that counts its own
 * instructions as time begins the same each time.
 */
unsigned long
md_random(void)
{
	uint64_t x = 0x9E3779B97F4A7C15;	/* 2^64 by the golden ratio */

	for (uint8_t r = 0; r < CMOS_TIME; r++) {
		outb(CMOS_INDEX, r);
		x = x * 31 + inb(CMOS_DATA);
	}
	outb(PIT_CONTROL, 0);
	x = x * 31 + inb(PIT_COUNTER0);
	x = x * 31 + inb(PIT_COUNTER0);
	if (md_has_tsc())
		x ^= md_tsc() << 20;
	k_random(&x);
	return k_random(&x);
}

void
md_tlb_flush(vaddr_t va)
{
	invlpg(va);
}

void
md_tlb_flush_all(void)
{
	pmap_flush_all();
}

uintptr_t
md_intr_disable(void)
{
	uint32_t f = read_eflags();

	cli();
	return f & EFLAGS_IF;
}

void
md_intr_restore(uintptr_t was)
{
	if (was & EFLAGS_IF)
		sti();
	else
		cli();
}

bool
md_intr_enabled(void)
{
	return (read_eflags() & EFLAGS_IF) != 0;
}

void
md_magic(void)
{
	bochs_magic();
}

void
md_breakpoint(void)
{
	breakpoint();
}

void
md_triple_fault(void)
{
	segments_no_idt();
	for (;;)
		breakpoint();
}

/*
 * A chipset with PCI has a register that resets everything; in all PCs the
 * keyboard controller has a line to the CPU's reset.  That one comes second:
 * it leaves the CPU's MSRs alone, and Bochs's BIOS writes one of them again
 * that it has locked, and faults.
 */
void
md_reboot(void)
{
	cli();
	outb(RESET_CONTROL, RESET_ALL);
	outb(RESET_CONTROL, RESET_ALL | RESET_NOW);
	for (unsigned i = 0; i < 100000 && (inb(0x64) & 2) != 0; i++)
		continue;
	outb(0x64, 0xFE);
	for (unsigned i = 0; i < 100000; i++)	/* it takes a moment */
		inb(0x80);
	md_triple_fault();
}

void
md_halt(int code)
{
	cli();
	for (const char *p = "Shutdown"; *p != '\0'; p++)
		outb(0x8900, (uint8_t)*p);	/* Bochs */
	outb(0xF4, (uint8_t)code);		/* QEMU's isa-debug-exit */
	outw(0x604, 0x2000);			/* ACPI, as QEMU's PC has it */
	for (;;)
		hlt();
}
