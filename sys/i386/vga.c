/*
 * The screen: VGA's text mode, 80 by 25, as the BIOS left it; with the
 * keyboard it is one console.
 */
#include <i386/machdep.h>
#include <i386/memlayout.h>
#include <kern/kern.h>
#include <kern/md.h>
#include <machine/cpufunc.h>

#define VGA_COLS	80u
#define VGA_ROWS	25u
#define VGA_CELLS	(VGA_COLS * VGA_ROWS)
#define VGA_BLANK	(0x0700 | ' ')	/* light grey on black */

#define CRTC_INDEX	0x3D4
#define CRTC_DATA	0x3D5
#define CRTC_CURSOR	0x0A		/* its first line; bit 5 hides it */
#define CRTC_START_HI	0x0C		/* the cell shown first */
#define CRTC_START_LO	0x0D
#define CRTC_POS_HI	0x0E
#define CRTC_POS_LO	0x0F

static volatile uint16_t *const vga_text = (void *)PTOKV(VGA_PA);
static unsigned vga_pos;		/* of the cursor: a cell */

static void
crtc_write(uint8_t reg, uint8_t v)
{
	outb(CRTC_INDEX, reg);
	outb(CRTC_DATA, v);
}

static uint8_t
crtc_read(uint8_t reg)
{
	outb(CRTC_INDEX, reg);
	return inb(CRTC_DATA);
}

static void
vga_scroll(void)
{
	for (unsigned i = 0; i < VGA_CELLS - VGA_COLS; i++)
		vga_text[i] = vga_text[i + VGA_COLS];
	for (unsigned i = VGA_CELLS - VGA_COLS; i < VGA_CELLS; i++)
		vga_text[i] = VGA_BLANK;
	vga_pos -= VGA_COLS;
}

void
vga_putc(int c)
{
	switch (c) {
	case '\r':
		vga_pos -= vga_pos % VGA_COLS;
		break;
	case '\n':
		vga_pos += VGA_COLS;
		break;
	case '\b':
		if (vga_pos % VGA_COLS != 0)
			vga_pos--;
		break;
	case '\t':
		vga_pos = (vga_pos | 7) + 1;
		break;
	case '\a':
		break;
	default:
		vga_text[vga_pos++] = 0x0700 | (uint8_t)c;
		break;
	}
	if (vga_pos >= VGA_CELLS)
		vga_scroll();
	crtc_write(CRTC_POS_HI, (uint8_t)(vga_pos >> 8));
	crtc_write(CRTC_POS_LO, (uint8_t)vga_pos);
}

static struct consdev vga_cons = {
	.cd_name = "vga", .cd_putc = vga_putc, .cd_getc = kbd_getc,
};

/* Go on below what the loader wrote. */
void
vga_init(void)
{
	crtc_write(CRTC_START_HI, 0);
	crtc_write(CRTC_START_LO, 0);
	crtc_write(CRTC_CURSOR, crtc_read(CRTC_CURSOR) & 0x1F);
	vga_pos = (unsigned)crtc_read(CRTC_POS_HI) << 8 |
	    crtc_read(CRTC_POS_LO);
	if (vga_pos >= VGA_CELLS)
		vga_pos = VGA_CELLS - VGA_COLS;
	vga_pos -= vga_pos % VGA_COLS;
	cons_add(&vga_cons);
}
