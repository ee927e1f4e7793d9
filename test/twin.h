/*
 * A twin is a vm_map and its oracle.  The functions here do one operation on
 * both and fail the test, with the last operations printed, when the map
 * does anything that the oracle does not allow.  What the map answered is
 * returned, so that a test may ask for more.
 */
#ifndef TEST_TWIN_H
#define TEST_TWIN_H

#include "oracle.h"

enum twin_what {
	TWIN_ALLOC, TWIN_INSERT, TWIN_FREE, TWIN_REMOVE, TWIN_PROTECT,
	TWIN_WIRE, TWIN_UNWIRE, TWIN_LOOKUP, TWIN_NEXT, TWIN_EXPLAIN,
	TWIN_NWHAT
};

struct twin_op {
	enum twin_what	to_what;
	vaddr_t		to_a, to_b;	/* start and end, or addr and size */
	struct vm_map_request to_req;	/* of TWIN_ALLOC, TWIN_EXPLAIN */
	int		to_error;	/* what the map said */
	vaddr_t		to_addr;
};

#define TWIN_HISTORY	32

struct twin {
	struct vm_map	 t_map;
	struct oracle	 t_oracle;
	const char	*t_title;	/* printed when it fails */
	uint64_t	 t_seed;	/* this too */
	bool		 t_starved;	/* operations may run out of entries */
	bool		 t_lazy;	/* no whole comparison after each op */
	unsigned long	 t_nops;
	unsigned long	 t_aligned;	/* aligned requests served, */
	unsigned long	 t_tight;	/* of those, from a smallest fit */
	unsigned long	 t_errors[32];	/* how often each result */
	struct twin_op	 t_history[TWIN_HISTORY];
};

/* Called with the whole story; must not return. */
extern void (*twin_fail_hook)(const char *);

void	twin_init(struct twin *, const char *title, vaddr_t min, vaddr_t max,
	    unsigned flags);
void	twin_fini(struct twin *);
void	twin_fail(struct twin *, const char *fmt, ...) __printflike(2, 3)
	    __dead2;

int	twin_alloc(struct twin *, const struct vm_map_request *, vaddr_t *);
int	twin_insert(struct twin *, vaddr_t, vaddr_t, vm_prot_t, const char *);
int	twin_free(struct twin *, vaddr_t, vsize_t);
int	twin_remove(struct twin *, vaddr_t, vaddr_t);
int	twin_protect(struct twin *, vaddr_t, vaddr_t, vm_prot_t);
int	twin_wire(struct twin *, vaddr_t, vaddr_t);
int	twin_unwire(struct twin *, vaddr_t, vaddr_t);
int	twin_lookup(struct twin *, vaddr_t);
int	twin_next(struct twin *, vaddr_t);
int	twin_explain(struct twin *, const struct vm_map_request *);

/*
 * One operation, drawn from numbers: the random tests and the fuzzer differ
 * only in where the numbers come from.  draw(arg, n) is below n.
 */
struct twin_source {
	unsigned	(*ts_draw)(void *arg, unsigned n);
	void		*ts_arg;
};
void	twin_step(struct twin *, const struct twin_source *);

/* Numbers from k_random(); the argument is the state. */
unsigned twin_random(void *state, unsigned n);

/* vm_map_check, and every region, hole and figure against the oracle. */
void	twin_compare(struct twin *);

#endif
