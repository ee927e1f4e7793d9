#include <string.h>

#include "host.h"
#include "must.h"
#include "phys_test.h"

void
must_panic(void (*fn)(void *), void *arg, const char *w1, const char *w2,
    const char *w3)
{
	struct vm_phys_stats before, after;
	unsigned locks = 99;
	const char *said;

	vm_phys_stats(&before);
	said = host_panic_of(fn, arg, &locks);
	if (said == NULL)
		ck_abort_msg("no panic, where \"%s\" was to be", w1);
	if (strstr(said, w1) == NULL || strstr(said, w2) == NULL ||
	    strstr(said, w3) == NULL)
		ck_abort_msg("\"%s\" lacks \"%s\", \"%s\" or \"%s\"", said,
		    w1, w2, w3);
	must(locks == 0);
	vm_phys_stats(&after);
	must(memcmp(&before, &after, sizeof(before)) == 0);
	must(vm_phys_check() == NULL);
}
