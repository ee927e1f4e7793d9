/*
 * The boot, as a table of contents.
 *
 * Each stage may use what stands above it and says in a line what it found
 * or did.  `magic=NAME` stops Bochs's debugger before the stage of that name,
 * `ddb=NAME` Holm's own; not before `console`, which reads the command line.
 */
#include <kern/kern.h>
#include <kern/mapwalk.h>
#include <kern/md.h>
#include <vm/kmalloc.h>
#include <vm/kmem_debug.h>
#include <vm/kmem_range.h>
#include <vm/vm_phys.h>

static void	banner(void);
static void	map_init(void);
static void	slab_init(void);
static void	heap_init(void);
static void	summary(void);
static void	demo(void);
static void	tests(void);
static void	debugger(void);

static const struct stage {
	const char	*s_name;
	void		(*s_fn)(void);
} boot[] = {
	{ "console", md_console_init },		/* screen, serial, keyboard */
	{ "banner", banner },
	{ "cpu", md_cpu_init },			/* segments, traps */
	{ "memory", md_memory_init },		/* frames, page tables */
	{ "map", map_init },			/* addresses: kernel_map */
	{ "slab", slab_init },			/* objects: kmem_cache */
	{ "heap", heap_init },			/* bytes: kmalloc */
	{ "intr", md_intr_init },		/* clock, input */
	{ "release", md_boot_release },		/* what only boot needed */
	{ "summary", summary },
	{ "slabs", demo },			/* what it is all about */
	{ "tests", tests },			/* if asked for */
	{ "ddb", debugger },
};

static unsigned failures;

static void
banner(void)
{
	printf("\nHolm: a kernel that knows its holes\n");
}

static void
map_init(void)
{
	vm_map_bootstrap();
	md_map_init();
	printf("map: %s covers [0x%08lx, 0x%08lx), best fit by size class\n",
	    kernel_map->vm_name, kernel_map->vm_min, kernel_map->vm_max);
}

static void
slab_init(void)
{
	char size[SIZESTR], modes[KMD_NAMES];
	char option[64];

	for (unsigned i = 0; bootopt_nth("kmem", i, option, sizeof(option));
	    i++) {
		kmem_debug_option(option);
		printf("slab: kmem=%s\n", option);
	}
	kmem_cache_bootstrap();
	if (bootopt("norange"))
		kmem_range_enable(false);
	printf("slab: caches in [0x%08lx, 0x%08lx), %s\n", VM_SLAB_MIN,
	    VM_SLAB_MAX, size_str(size, VM_SLAB_MAX - VM_SLAB_MIN));
	printf("slab: watched for: %s\n", kmem_debug_names(modes,
	    kmem_debug_modes("")));
}

static void
heap_init(void)
{
	char size[SIZESTR];

	kmalloc_bootstrap();
	printf("heap: kmalloc in [0x%08lx, 0x%08lx), %s\n", VM_HEAP_MIN,
	    VM_HEAP_MAX, size_str(size, VM_HEAP_MAX - VM_HEAP_MIN));
}

static void
summary(void)
{
	char free[SIZESTR], total[SIZESTR];
	struct vm_phys_stats ps;
	struct hole_sum hs;
	vsize_t frames = 0;

	vm_phys_stats(&ps);
	for (unsigned z = 0; z < VM_NZONES; z++)
		frames += ps.ps_total[z];
	printf("frames: %u of %lu free, %s of %s\n",
	    ps.ps_owner[VM_PAGE_FREE], frames,
	    size_str(free, ptoa(ps.ps_owner[VM_PAGE_FREE])),
	    size_str(total, ptoa(frames)));
	hole_sum(kernel_map, kernel_map->vm_min, kernel_map->vm_max, &hs);
	printf("addresses: %lu regions, %lu holes, the largest of %lu pages at "
	    "0x%08lx\n", hs.hs_regions, hs.hs_holes, hs.hs_largest,
	    hs.hs_largest_at);
}

static void
demo(void)
{
	printf("\n");
	if (!slabs_demo(true))
		failures++;
	printf("\n");
}

static void
tests(void)
{
	if (bootopt("selftest"))
		failures += selftest_run();
}

/* There is time now to look what memory nobody needed lately. */
static void
idle(void)
{
	kmem_reap_tick();
}

static void
debugger(void)
{
	if (bootopt("halt")) {
		printf("halted, %u failed\n", failures);
		md_halt(failures != 0);
	}
	cons_on_wait(idle);
	ddb_enter(NULL, "The debugger; `help` lists its commands.");
	for (;;)
		ddb_enter(NULL, "Nothing else runs here yet.");
}

void
kern_main(void)
{
	char at[16];

	for (unsigned i = 0; i < nitems(boot); i++) {
		const struct stage *s = &boot[i];

		if (bootopt_value("magic", at, sizeof(at)) &&
		    strcmp(at, s->s_name) == 0)
			md_magic();
		if (bootopt_value("ddb", at, sizeof(at)) &&
		    strcmp(at, s->s_name) == 0)
			ddb_enter(NULL, s->s_name);
		s->s_fn();
	}
	panic("kern_main: the debugger has returned");
}
