/*
 * soak_vm_map [N [SEED]]: N random operations on vm_maps against a plain
 * model.  `make soak` runs 10^8 of them in 64 and in 32 bits.
 */
#include <stdlib.h>

#include "host.h"
#include "soak.h"

int
main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 0) : 1000000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;

	host_boot(16384);
	soak_run(n, seed, true);
	return 0;
}
