/*
 * The PS/2 keyboard: scan codes of set 1 (the 8042 translates) on a US
 * layout, by interrupt and by polling into one ring.
 */
#include <i386/machdep.h>
#include <i386/ring.h>
#include <kern/kern.h>
#include <kern/md.h>
#include <machine/cpufunc.h>

#define KBD_DATA	0x60
#define KBD_STATUS	0x64		/* read */
#define KBD_COMMAND	0x64		/* written */
#define KBS_OUT_FULL	0x01		/* there is a byte for us */
#define KBS_IN_FULL	0x02		/* it has not taken our last one yet */
#define KBS_AUX		0x20		/* the byte is the mouse's */
#define KBC_READ_MODE	0x20
#define KBC_WRITE_MODE	0x60
#define KBM_INTR	0x01
#define KBM_DISABLE	0x10
#define KBM_TRANSLATE	0x40
#define IRQ_KBD		1

#define KBD_PATIENCE	100000		/* port reads, about a microsecond */
#define KBD_NO_DEVICE	0xFF		/* what an empty bus reads as */

#define SC_RELEASE	0x80
#define SC_EXTENDED	0xE0
#define SC_CTRL		0x1D
#define SC_LSHIFT	0x2A
#define SC_RSHIFT	0x36
#define SC_CAPS		0x3A

/* By scan code: 0x00 to 0x39, without and with shift. */
static const char kbd_plain[] =
    "\0\033" "1234567890-=\b\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*"
    "\0 ";
static const char kbd_shifted[] =
    "\0\033" "!@#$%^&*()_+\b\tQWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*"
    "\0 ";
_Static_assert(sizeof(kbd_plain) == 0x3B, "kbd_plain");
_Static_assert(sizeof(kbd_shifted) == 0x3B, "kbd_shifted");

static struct ring kbd_ring;
static bool kbd_shift, kbd_ctrl, kbd_caps, kbd_extended;

/* Keys after an 0xE0: those that a line editor may want, as ANSI has them. */
static void
kbd_extended_key(uint8_t sc)
{
	static const struct {
		uint8_t	sc;
		char	text[5];
	} keys[] = {
		{ 0x1C, "\r" }, { 0x35, "/" },			/* keypad */
		{ 0x48, "\033[A" }, { 0x50, "\033[B" },	/* up, down */
		{ 0x4D, "\033[C" }, { 0x4B, "\033[D" },	/* right, left */
		{ 0x47, "\033[H" }, { 0x4F, "\033[F" },	/* home, end */
		{ 0x53, "\033[3~" },				/* delete */
	};

	for (unsigned i = 0; i < nitems(keys); i++) {
		if (keys[i].sc != sc)
			continue;
		for (const char *p = keys[i].text; *p != '\0'; p++)
			ring_put(&kbd_ring, (uint8_t)*p);
	}
}

static void
kbd_key(uint8_t sc)
{
	char c;

	if (sc >= sizeof(kbd_plain) - 1)
		return;
	c = kbd_shift ? kbd_shifted[sc] : kbd_plain[sc];
	if (kbd_caps && kbd_plain[sc] >= 'a' && kbd_plain[sc] <= 'z')
		c ^= 'a' ^ 'A';
	if (kbd_ctrl && c >= '@')
		c &= 0x1F;
	if (c != '\0')
		ring_put(&kbd_ring, (uint8_t)c);
}

static void
kbd_scancode(uint8_t sc)
{
	bool down = !(sc & SC_RELEASE), extended = kbd_extended;

	kbd_extended = sc == SC_EXTENDED;
	if (kbd_extended)
		return;
	sc &= ~SC_RELEASE;
	if (sc == SC_CTRL)
		kbd_ctrl = down;
	else if ((sc == SC_LSHIFT || sc == SC_RSHIFT) && !extended)
		kbd_shift = down;
	else if (sc == SC_CAPS && down)
		kbd_caps = !kbd_caps;
	else if (down && extended)
		kbd_extended_key(sc);
	else if (down)
		kbd_key(sc);
}

/* Take what the controller holds.  => interrupts are off */
static void
kbd_receive(void)
{
	for (unsigned i = 0; i < RING_SIZE; i++) {
		uint8_t status = inb(KBD_STATUS), data;

		if (status == KBD_NO_DEVICE || !(status & KBS_OUT_FULL))
			break;
		data = inb(KBD_DATA);
		if (!(status & KBS_AUX))
			kbd_scancode(data);
	}
}

int
kbd_getc(void)
{
	uintptr_t was = md_intr_disable();
	int c;

	kbd_receive();
	c = ring_get(&kbd_ring);
	md_intr_restore(was);
	return c;
}

static void
kbd_intr(void)
{
	kbd_receive();
}

static bool
kbd_wait(uint8_t mask, uint8_t value)
{
	for (unsigned i = 0; i < KBD_PATIENCE; i++) {
		if ((inb(KBD_STATUS) & mask) == value)
			return true;
	}
	return false;
}

static bool
kbd_command(uint8_t command)
{
	if (!kbd_wait(KBS_IN_FULL, 0))
		return false;
	outb(KBD_COMMAND, command);
	return true;
}

/* Translation and the interrupt on; the BIOS mostly left it so. */
void
kbd_init(void)
{
	uint8_t mode;

	kbd_receive();
	kbd_ring = (struct ring) { 0 };	/* typed at the loader, not at us */
	if (inb(KBD_STATUS) == KBD_NO_DEVICE || !kbd_command(KBC_READ_MODE) ||
	    !kbd_wait(KBS_OUT_FULL, KBS_OUT_FULL))
		return;
	mode = inb(KBD_DATA);
	mode |= KBM_INTR | KBM_TRANSLATE;
	mode &= (uint8_t)~KBM_DISABLE;
	if (kbd_command(KBC_WRITE_MODE) && kbd_wait(KBS_IN_FULL, 0))
		outb(KBD_DATA, mode);
}

void
kbd_intr_init(void)
{
	intr_establish(IRQ_KBD, kbd_intr);
}
