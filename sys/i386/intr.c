/*
 * Interrupts: the two 8259s, and the 8253 that ticks 100 times a second.
 */
#include <i386/machdep.h>
#include <i386/trapframe.h>
#include <kern/kern.h>
#include <kern/md.h>
#include <machine/cpufunc.h>

#define PIC1		0x20
#define PIC2		0xA0
#define PIC_CASCADE	2		/* PIC2 hangs on PIC1's line 2 */
#define ICW1_INIT	0x11		/* edge, cascaded, ICW4 follows */
#define ICW4_8086	0x01
#define OCW2_EOI	0x20
#define OCW3_ISR	0x0B		/* the next read: what is in service */

#define PIT_COUNTER0	0x40
#define PIT_CONTROL	0x43
#define PIT_RATE	0x34		/* counter 0, both bytes, mode 2 */
#define PIT_HZ		1193182		/* 14.31818 MHz / 12 */
#define HZ		100
#define IRQ_CLOCK	0

static void (*intr_handlers[T_NIRQS])(void);
static uint16_t intr_mask = 0xFFFF;	/* a bit set: the line is off */
static unsigned intr_depth;
static unsigned long intr_spurious, intr_stray;
static bool intr_ready;
static volatile unsigned long ticks;

static void
pic_set_mask(void)
{
	outb(PIC1 + 1, intr_mask & 0xFF);
	outb(PIC2 + 1, intr_mask >> 8);
}

static void
pic_init(uint16_t port, uint8_t vector, uint8_t icw3)
{
	outb(port, ICW1_INIT);
	outb(port + 1, vector);
	outb(port + 1, icw3);
	outb(port + 1, ICW4_8086);
}

/* Both move to T_IRQ0: at reset their vectors are those of exceptions. */
void
intr_init(void)
{
	pic_init(PIC1, T_IRQ0, 1 << PIC_CASCADE);
	pic_init(PIC2, T_IRQ0 + 8, PIC_CASCADE);
	intr_mask = (uint16_t)~(1u << PIC_CASCADE);
	pic_set_mask();
}

void
intr_establish(unsigned irq, void (*handler)(void))
{
	if (irq >= T_NIRQS || intr_handlers[irq] != NULL)
		panic("intr_establish(%u, %p): no such line, or taken", irq,
		    (void *)(uintptr_t)handler);
	intr_handlers[irq] = handler;
	intr_mask &= (uint16_t)~(1u << irq);
	pic_set_mask();
}

/* A line that fell before we looked shows as 7 or 15, not in service. */
static bool
intr_is_spurious(unsigned irq)
{
	uint16_t port = irq < 8 ? PIC1 : PIC2;

	if (irq != 7 && irq != 15)
		return false;
	outb(port, OCW3_ISR);
	if (inb(port) & 0x80)
		return false;
	if (irq == 15)
		outb(PIC1, OCW2_EOI);	/* that one did see the cascade */
	return true;
}

void
intr_dispatch(unsigned irq)
{
	if (intr_is_spurious(irq)) {
		intr_spurious++;
		return;
	}
	if (irq >= 8)
		outb(PIC2, OCW2_EOI);
	outb(PIC1, OCW2_EOI);
	if (intr_handlers[irq] != NULL)
		intr_run(intr_handlers[irq]);
	else
		intr_stray++;
}

void
intr_run(void (*handler)(void))
{
	intr_depth++;
	handler();
	intr_depth--;
}

static void
clock_intr(void)
{
	ticks++;
}

void
clock_init(void)
{
	const unsigned divisor = (PIT_HZ + HZ / 2) / HZ;

	outb(PIT_CONTROL, PIT_RATE);
	outb(PIT_COUNTER0, divisor & 0xFF);
	outb(PIT_COUNTER0, divisor >> 8);
	intr_establish(IRQ_CLOCK, clock_intr);
}

void
md_intr_init(void)
{
	intr_init();
	clock_init();
	kbd_intr_init();
	com_intr_init();
	intr_ready = true;
	printf("interrupts: two 8259s at vector %u; clock at %u Hz\n",
	    T_IRQ0, HZ);
	sti();
}

bool
md_in_intr(void)
{
	return intr_depth > 0;
}

unsigned long
md_ticks(void)
{
	return ticks;
}

/* => returns with interrupts as they were; before they work, at once */
void
md_idle(void)
{
	uintptr_t was;

	if (!intr_ready)
		return;
	was = md_intr_disable();
	sti_hlt();
	md_intr_restore(was);
}
