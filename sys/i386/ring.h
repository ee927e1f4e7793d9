/*
 * Characters that came in by interrupt and wait to be read by polling.  One
 * that finds the ring full is lost, as on any terminal.
 * => interrupts are off in both
 */
#ifndef I386_RING_H
#define I386_RING_H

#include <stdint.h>

#define RING_SIZE	256u	/* a power of two; a few lines of text */

struct ring {
	unsigned	r_head, r_tail;	/* put, taken: counts */
	uint8_t		r_buf[RING_SIZE];
};

static inline void
ring_put(struct ring *r, uint8_t c)
{
	if (r->r_head - r->r_tail < RING_SIZE)
		r->r_buf[r->r_head++ % RING_SIZE] = c;
}

static inline int
ring_get(struct ring *r)
{
	if (r->r_head == r->r_tail)
		return -1;
	return r->r_buf[r->r_tail++ % RING_SIZE];
}

#endif
