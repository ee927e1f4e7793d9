/*
 * What panic and the debugger ask of the locks in vm_host.c.
 */
#ifndef KERN_LOCKS_H
#define KERN_LOCKS_H

#include <stdbool.h>

/* The number of locks held, and: let go of all taken since. */
unsigned locks_mark(void);
void	locks_unwind(unsigned mark);

/*
 * While on, entering and leaving a lock does nothing and every lock counts
 * as held: for the debugger, which must be able to look at what a panic left
 * locked, and has the machine to itself.  The value before is returned.
 */
bool	locks_bypass(bool on);

void	locks_print(void);	/* one line for each; none: nothing */

#endif
