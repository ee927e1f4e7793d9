/*
 * The console: every device that can print gets everything, and whichever
 * has a character first is read.  So a person at the screen and a script on
 * the serial line see, and may type, the same.
 */
#include <kern/kern.h>
#include <kern/md.h>

static struct consdev *consoles;	/* in the order they were added */

void
cons_add(struct consdev *cd)
{
	struct consdev **p = &consoles;

	while (*p != NULL) {
		if (*p == cd)
			return;
		p = &(*p)->cd_next;
	}
	cd->cd_next = NULL;
	*p = cd;
}

void
cons_putc(int c)
{
	if (c == '\n')
		cons_putc('\r');
	for (struct consdev *cd = consoles; cd != NULL; cd = cd->cd_next)
		cd->cd_putc(c);
}

int
cons_poll(void)
{
	int c;

	for (struct consdev *cd = consoles; cd != NULL; cd = cd->cd_next)
		if (cd->cd_getc != NULL && (c = cd->cd_getc()) >= 0)
			return c;
	return -1;
}

static cons_wait_t *on_wait;

/*
 * => with interrupts on the processor sleeps meanwhile: the device's own or
 *    the timer's interrupt ends that
 */
int
cons_getc(void)
{
	int c;

	while ((c = cons_poll()) < 0) {
		if (on_wait != NULL)
			on_wait();
		if (md_intr_enabled())
			md_idle();
	}
	return c;
}

cons_wait_t *
cons_on_wait(cons_wait_t *fn)
{
	cons_wait_t *was = on_wait;

	on_wait = fn;
	return was;
}

static void
printf_putc(int c, void *arg)
{
	cons_putc(c);
}

int
vprintf(const char *fmt, va_list ap)
{
	return k_vprintf(printf_putc, NULL, fmt, ap);
}

int
printf(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vprintf(fmt, ap);
	va_end(ap);
	return n;
}
