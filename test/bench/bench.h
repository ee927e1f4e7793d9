/*
 * What all benchmarks share: numbers drawn from a seed, medians, and figures
 * for scripts.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <libkern/libkern.h>

struct rng {
	uint64_t	r_state;	/* not 0 */
};
uint32_t rng_below(struct rng *, uint32_t n);

void	bench_die(const char *fmt, ...) __printflike(1, 2) __dead2;

/* Median; sorts. */
double	bench_median(double *, size_t n);

/*
 * One figure a line for scripts, "bench GROUP.NAME ours=V peer=V ratio=R
 * UNIT"; kept back and printed after the tables.
 * => path NULL: nobody wants the file
 * => peer 0: there is none
 */
void	bench_figures_to(const char *path, const char *group);
void	bench_figure(const char *unit, double ours, double peer,
	    const char *name, ...) __printflike(4, 5);
void	bench_figures_print(void);

#endif
