/*
 * Random operations on vm_maps of many kinds, against the plain model.
 */
#ifndef TEST_SOAK_H
#define TEST_SOAK_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Run n operations.  The same n and seed do the same again.
 * => dies with a message when the map does anything else than the model
 */
void	soak_run(uint64_t n, uint64_t seed, bool progress);

#endif
