/*
 * The allocators that are compared: ours, and what Debian has.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vm/vm_phys.h>

#include "bench_slab.h"
#include "host.h"

/* 512 MB; in 32 bits what is left beside the windows and the peers. */
#define FRAMES		((sizeof(void *) == 8 ? 512u : 192u) << 8)

KMALLOC_DEFINE(M_BENCH, "bench", "what the benchmarks ask for");

struct party parties[NPARTIES] = {
	[SLAB] = { .pa_name = "slab", .pa_kind = CACHE },
	[KMALLOC] = { .pa_name = "kmalloc", .pa_kind = HEAP },
	[GLIBC] = { .pa_name = "glibc", .pa_kind = MALLOC },
	[JEMALLOC] = { .pa_name = "jemalloc", .pa_kind = MALLOC },
	[MIMALLOC] = { .pa_name = "mimalloc", .pa_kind = MALLOC },
	[TCMALLOC] = { .pa_name = "tcmalloc", .pa_kind = MALLOC },
	[GSLICE] = { .pa_name = "gslice", .pa_kind = SLICE },
};

static const struct library {
	const char	*l_file;
	const char	*l_alloc, *l_free, *l_memalign, *l_memalign_free;
} libraries[NPARTIES] = {
	[GLIBC] = { "libc.so.6", "malloc", "free", "memalign", "free" },
	[JEMALLOC] = { "libjemalloc.so.2", "malloc", "free", "memalign",
	    "free" },
	[MIMALLOC] = { "libmimalloc.so.2.0", "mi_malloc", "mi_free",
	    "mi_memalign", "mi_free" },
	[TCMALLOC] = { "libtcmalloc_minimal.so.4", "tc_malloc", "tc_free",
	    "tc_memalign", "tc_free" },
	/* For aligned memory GSlice itself goes to the C library. */
	[GSLICE] = { "libglib-2.0.so.0", "g_slice_alloc", "g_slice_free1",
	    NULL, NULL },
};
static void *handle[NPARTIES];
static char missing[NPARTIES][256];

/* What frees unused memory, in the peers that can. */
static struct {
	int	(*glibc)(size_t);
	int	(*jemalloc)(const char *, void *, size_t *, void *, size_t);
	void	(*mimalloc)(bool);
	void	(*tcmalloc)(void), (*tcmalloc_idle)(void);
} trim;

/* The address of a function, as a pointer to a function. */
static bool
symbol(unsigned i, const char *name, void *fn)
{
	void *sym = dlsym(handle[i], name);

	if (sym == NULL)
		return false;
	memcpy(fn, &sym, sizeof(sym));
	return true;
}

static bool
symbols(unsigned i)
{
	const struct library *l = &libraries[i];
	struct party *p = &parties[i];

	if (p->pa_kind == SLICE) {
		p->pa_memalign = memalign;
		p->pa_memalign_free = free;
		trim.glibc = malloc_trim;
		return symbol(i, l->l_alloc, &p->pa_slice_alloc) &&
		    symbol(i, l->l_free, &p->pa_slice_free);
	}
	if (i == GLIBC && !symbol(i, "malloc_trim", &trim.glibc))
		return false;
	if (i == JEMALLOC && !symbol(i, "mallctl", &trim.jemalloc))
		return false;
	if (i == MIMALLOC && !symbol(i, "mi_collect", &trim.mimalloc))
		return false;
	if (i == TCMALLOC && (!symbol(i, "MallocExtension_ReleaseFreeMemory",
	    &trim.tcmalloc) || !symbol(i, "MallocExtension_MarkThreadIdle",
	    &trim.tcmalloc_idle)))
		return false;
	return symbol(i, l->l_alloc, &p->pa_malloc) &&
	    symbol(i, l->l_free, &p->pa_free) &&
	    symbol(i, l->l_memalign, &p->pa_memalign) &&
	    symbol(i, l->l_memalign_free, &p->pa_memalign_free);
}

/* Load a peer, and have it set itself up. */
static void
load(unsigned i)
{
	const struct party *p = &parties[i];

	handle[i] = dlopen(libraries[i].l_file, RTLD_NOW | RTLD_LOCAL |
	    RTLD_DEEPBIND);
	if (handle[i] == NULL || !symbols(i)) {
		snprintf(missing[i], sizeof(missing[i]), "%s", dlerror());
		parties[i].pa_malloc = NULL;
		parties[i].pa_slice_alloc = NULL;
		return;
	}
	if (p->pa_kind == SLICE)
		p->pa_slice_free(64, p->pa_slice_alloc(64));
	else
		p->pa_free(p->pa_malloc(64));
}

void
parties_load(unsigned who, unsigned flags)
{
	unsigned i;

	if (flags & FRUGAL)
		setenv("MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0", 1);
	kmem_debug_set(flags & CHECKED ? KMD_CHECK : 0);
	host_set_flat(true);
	host_boot(FRAMES);
	host_set_sleep(true, NULL);
	parties[SLAB].pa_cache_alloc = kmem_cache_alloc;
	parties[SLAB].pa_cache_free = kmem_cache_free;
	parties[KMALLOC].pa_kmalloc = kmalloc;
	parties[KMALLOC].pa_kfree = kfree;
	kfree(kmalloc(64, M_BENCH, KM_SLEEP), M_BENCH);
	for (i = FIRST_PEER; i < NPARTIES; i++)
		if (who & 1u << i)
			load(i);
}

bool
party_there(const struct party *p)
{
	return p->pa_cache_alloc != NULL || p->pa_kmalloc != NULL ||
	    p->pa_malloc != NULL || p->pa_slice_alloc != NULL;
}

const char *
party_missing(const struct party *p)
{
	const char *why = missing[p - parties];

	return *why == '\0' ? NULL : why;
}

void
party_trim(const struct party *p)
{
	char all[64];

	switch (p - parties) {
	case SLAB:
	case KMALLOC:
		kmem_reclaim(ULONG_MAX);
		break;
	case JEMALLOC:
		trim.jemalloc("thread.tcache.flush", NULL, NULL, NULL, 0);
		/* 4096 stands for all arenas (MALLCTL_ARENAS_ALL). */
		snprintf(all, sizeof(all), "arena.4096.purge");
		trim.jemalloc(all, NULL, NULL, NULL, 0);
		break;
	case MIMALLOC:
		trim.mimalloc(true);
		break;
	case TCMALLOC:
		trim.tcmalloc_idle();
		trim.tcmalloc();
		break;
	default:
		trim.glibc(0);
	}
}

/*
 * Pages held.
 */

/* A line "Name:   N kB" of text. */
static long
kilobytes(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	if (at == NULL)
		bench_die("no \"%s\" in /proc/self/smaps_rollup", name);
	return strtol(at + strlen(name), NULL, 10);
}

static long
anonymous_pages(void)
{
	char text[4096];
	int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd == -1 || (n = read(fd, text, sizeof(text) - 1)) <= 0)
		bench_die("/proc/self/smaps_rollup cannot be read");
	close(fd);
	text[n] = '\0';
	return (kilobytes(text, "\nAnonymous:") -
	    kilobytes(text, "\nLazyFree:")) / 4;
}

long
party_pages(const struct party *p)
{
	struct vm_phys_stats ps;
	long n = 0;
	unsigned i;

	if (p->pa_kind != CACHE && p->pa_kind != HEAP)
		return anonymous_pages();
	vm_phys_stats(&ps);
	for (i = 0; i < VM_PAGE_NOWNERS; i++)
		if (i != VM_PAGE_FREE && i != VM_PAGE_PTP &&
		    i != VM_PAGE_RESERVED)
			n += (long)ps.ps_owner[i];
	return n;
}
