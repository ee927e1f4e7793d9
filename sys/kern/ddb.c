/*
 * The debugger: where the kernel ends up when it does not know better, and
 * what a person looks at it with.
 *
 * It runs on whatever stack it was entered on, reads its consoles polled and
 * allocates nothing.  Whatever a command runs into, a fault or a panic, ends
 * that command and no more (panic_catch), so that a broken kernel can still
 * be looked at.
 */
#include <kern/ddb.h>
#include <kern/md.h>

void
ddb_enter(const struct trapframe *tf, const char *why)
{
	char line[DDB_LINE];
	/* Who was interrupted may be in the middle of anything. */
	cons_wait_t *was = tf != NULL ? cons_on_wait(NULL) : NULL;

	if (tf != NULL)
		backtrace(tf);		/* whoever trapped has told the rest */
	else
		printf("%s\n", why);
	/* `halt` says that nobody sits here, and a script waits. */
	if (bootopt("halt"))
		md_halt(2);
	do
		ddb_readline(line);
	while (!ddb_command(line, tf));
	if (tf != NULL)
		cons_on_wait(was);
}
