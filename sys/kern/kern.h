/*
 * The kernel around sys/vm: printing, panic, boot options, symbols, the
 * debugger's door.
 */
#ifndef KERN_KERN_H
#define KERN_KERN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include <libkern/libkern.h>
#include <vm/vm.h>

struct trapframe;

/*
 * To every console at once.
 */
int	printf(const char *fmt, ...) __printflike(1, 2);
int	vprintf(const char *fmt, va_list) __printflike(1, 0);
/*
 * Say why, print the stack, enter the debugger; from within a panic, halt.
 */
void	panic(const char *fmt, ...) __printflike(1, 2) __dead2;
void	vpanic(const char *fmt, va_list) __printflike(1, 0) __dead2;
extern const char *panicstr;	/* NULL until the first panic */

/* A device that can print and, polled, be read.  console.c */
struct consdev {
	const char	*cd_name;
	void		(*cd_putc)(int);
	int		(*cd_getc)(void);	/* -1: nothing there */
	struct consdev	*cd_next;
};
void	cons_add(struct consdev *);
void	cons_putc(int);		/* '\n' becomes "\r\n" where needed */
int	cons_getc(void);	/* waits; any console */
int	cons_poll(void);	/* -1: nothing there */

/* Boot options: words of the command line, "name" or "name=value". */
bool	bootopt(const char *name);
bool	bootopt_value(const char *name, char *buf, size_t size);

/*
 * Symbols, from a table of our own in the image (sorted by address).
 * => the name of the function or object at or below addr, with the distance
 *    in *off; NULL when addr lies outside of the image
 */
const char *ksym_find(vaddr_t addr, vaddr_t *off);
bool	ksym_value(const char *name, vaddr_t *addr);

/*
 * Enter the debugger: from a trap (with its frame) or by ourselves (NULL).
 * => returns when the person types `continue`
 */
void	ddb_enter(const struct trapframe *, const char *why);

/* The slab question (slabs.c): true when every step came out right. */
bool	slabs_demo(void);
bool	slabs_churn(unsigned n, uint64_t seed);

/* The self-tests (selftest.c): the number that failed. */
unsigned selftest_run(void);

/* The order in which the kernel comes up (main.c). */
void	kern_main(void) __dead2;

#endif
