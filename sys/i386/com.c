/*
 * The first serial line: a 16550 (or its ancestors), 115200 8N1.  Output is
 * polled; input comes by interrupt and by polling, whichever sees it first.
 */
#include <i386/machdep.h>
#include <i386/ring.h>
#include <kern/kern.h>
#include <kern/md.h>
#include <machine/cpufunc.h>

#define COM1		0x3F8
#define IRQ_COM1	4

#define COM_DATA	(COM1 + 0)	/* and the divisor, with LCR_DLAB */
#define COM_IER		(COM1 + 1)
#define COM_FCR		(COM1 + 2)
#define COM_LCR		(COM1 + 3)
#define COM_MCR		(COM1 + 4)
#define COM_LSR		(COM1 + 5)
#define COM_MSR		(COM1 + 6)
#define COM_SCRATCH	(COM1 + 7)

#define IER_RX		0x01
#define FCR_ON_RESET	0x07		/* queues on, both emptied */
#define LCR_8N1		0x03
#define LCR_DLAB	0x80
#define MCR_DTR_RTS	0x03
#define MCR_OUT2	0x08		/* lets the interrupt through on a PC */
#define LSR_RX		0x01
#define LSR_TX_EMPTY	0x20

#define COM_DIVISOR	1		/* 115200 / 1 */

/*
 * A character takes 87 us; a read of a port, about 1.  Whoever is not ready
 * after a hundred times that is not there: the character is dropped.
 */
#define COM_PATIENCE	10000

static bool com_present;
static struct ring com_ring;

static void
com_putc(int c)
{
	for (unsigned i = 0; i < COM_PATIENCE; i++) {
		if (inb(COM_LSR) & LSR_TX_EMPTY)
			break;
	}
	outb(COM_DATA, (uint8_t)c);
}

/*
 * Take what the UART holds; bounded, where a bus without a UART reads as
 * ever ready.
 * => interrupts are off
 */
static void
com_receive(void)
{
	for (unsigned i = 0; i < RING_SIZE; i++) {
		if (!(inb(COM_LSR) & LSR_RX))
			break;
		ring_put(&com_ring, inb(COM_DATA));
	}
}

static int
com_getc(void)
{
	uintptr_t was = md_intr_disable();
	int c;

	com_receive();
	c = ring_get(&com_ring);
	md_intr_restore(was);
	return c;
}

static void
com_intr(void)
{
	com_receive();
}

static struct consdev com_cons = {
	.cd_name = "com0", .cd_putc = com_putc, .cd_getc = com_getc,
};

/* The scratch register keeps what it is given; an empty bus does not. */
static bool
com_probe(void)
{
	static const uint8_t patterns[] = { 0x5A, 0xA5, 0x00 };

	for (unsigned i = 0; i < nitems(patterns); i++) {
		outb(COM_SCRATCH, patterns[i]);
		if (inb(COM_SCRATCH) != patterns[i])
			return false;
	}
	return true;
}

void
com_init(void)
{
	com_present = com_probe();
	if (!com_present)
		return;
	outb(COM_IER, 0);
	outb(COM_LCR, LCR_DLAB);
	outb(COM_DATA, COM_DIVISOR & 0xFF);
	outb(COM_IER, COM_DIVISOR >> 8);
	outb(COM_LCR, LCR_8N1);
	outb(COM_FCR, FCR_ON_RESET);
	outb(COM_MCR, MCR_DTR_RTS | MCR_OUT2);
	cons_add(&com_cons);
}

void
com_intr_init(void)
{
	if (!com_present)
		return;
	intr_establish(IRQ_COM1, com_intr);
	outb(COM_IER, IER_RX);
	(void)inb(COM_MSR);		/* what was pending is seen */
}
