/*
 * The debugger's own: how its files see each other.
 */
#ifndef KERN_DDB_H
#define KERN_DDB_H

#include <kern/kern.h>

#define DDB_LINE	80	/* of input; the rest is refused with a beep */
#define DDB_MAXARGS	6	/* words after the command's name */

struct ddb_args {
	unsigned	 da_argc;
	const char	*da_argv[DDB_MAXARGS];
	const char	*da_format;	/* what stood after a '/', or "" */
	const struct trapframe *da_frame;	/* where we stopped, or NULL */
};

/*
 * A command.  It may be typed as any beginning of its name that no other
 * command shares.
 */
struct ddb_command {
	const char	*dc_name;
	const char	*dc_args;	/* for people */
	const char	*dc_help;
	unsigned	 dc_min, dc_max;	/* number of arguments */
	void		(*dc_fn)(const struct ddb_args *);
	bool		 dc_strict;	/* works on the kernel as everybody
					   does: locks count */
};

/* ddb_cmd.c: run a line.  => true: leave the debugger */
bool	ddb_command(char *line, const struct trapframe *);

/* ddb_input.c: read a line, without its end, after the prompt. */
void	ddb_readline(char line[DDB_LINE]);

/* ddb_expr.c: each prints what is wrong and returns false. */
bool	ddb_addr(const char *s, vaddr_t *);	/* number, symbol, sym+off */
bool	ddb_number(const char *s, uint64_t max, uint64_t *);
void	ddb_set_dot(vaddr_t);			/* what "." stands for */
vaddr_t	ddb_dot(void);

void	ddb_bench(const struct ddb_args *);	/* ddb_bench.c */
void	ddb_bench_slab(void);			/* ddb_bench_slab.c */
/*
 * The least count, of the processor's time stamp, of several calls of fn.
 * => false: it could not be done
 */
bool	ddb_count(bool (*fn)(void *), void *arg, uint64_t *least);
void	ddb_x(const struct ddb_args *);		/* ddb_x.c */
void	ddb_show_map(const struct ddb_args *);	/* ddb_map.c */
void	ddb_explain(const struct ddb_args *);
void	ddb_show_page(const struct ddb_args *);	/* ddb_show.c */
void	ddb_show_malloc(const struct ddb_args *);
void	ddb_show_slab(const struct ddb_args *);
void	ddb_show_range(const struct ddb_args *);
void	ddb_show_cache(const char *name);	/* ddb_kmem.c */
void	ddb_show_leaks(const struct ddb_args *);
void	ddb_whatis(const struct ddb_args *);

#endif
