/*
 * What the Check programs of vm_map share: a machine for each test, the
 * twins' failures made Check's, and maps laid out from a list of holes.
 */
#ifndef TEST_MAP_TEST_H
#define TEST_MAP_TEST_H

#include <check.h>

#include "must.h"
#include "twin.h"

#define KB4(n)		((vsize_t)(n) * PAGE_SIZE)	/* n pages, in bytes */

/* Where small test maps lie: low, in the middle, and as high as can be. */
#define MAP_LOW		((vaddr_t)PAGE_SIZE)
#define MAP_MID		(((vaddr_t)1 << (VM_MAP_PAGE_BITS + 11)) - KB4(64))
#define MAP_TOP		(-(vaddr_t)PAGE_SIZE)		/* the highest end */
#define MAP_ROUND	((vaddr_t)0x40000000)		/* well aligned */

/*
 * A kernel map with the given holes, each followed by a region of one page,
 * from base upwards.
 * => hole[i] is where the i-th begins
 */
#define MAXHOLES	256
struct layout {
	struct twin	lo_twin;
	unsigned	lo_nholes;
	vaddr_t		lo_hole[MAXHOLES];
};
void	layout_init(struct layout *, const char *title, vaddr_t base,
	    const unsigned *npages, unsigned nholes);
void	layout_fini(struct layout *);

/* Ask the layout's map for npages, and want the address. */
void	layout_expect(struct layout *, unsigned npages, vaddr_t);

/* Run one suite of one case with a booted machine for each test. */
typedef void	map_tests_t(TCase *);
int	map_test_main(const char *name, map_tests_t *add);

#endif
