/*
 * The slab question, asked and answered.
 *
 *	"A slab allocator grows and shrinks all the time.  When the second of
 *	 three slabs (4, 4 and 5 pages) is destroyed, what remembers that
 *	 those 4 pages of address space are free, so that the next slab of 4
 *	 pages or fewer goes there and one of 5 goes behind?"
 *
 * kernel_map does.  Here the slabs are made and destroyed as the slab layer
 * does it, kmem_alloc(kernel_map, ..., KM_SLAB), and nothing is scripted:
 * before each step a flat walk over the window says where best fit has to
 * put the slab, the strip is drawn from the live tree after it, and what is
 * written into each slab must still be there in the end.  The range cache,
 * which would keep what is freed here from the map, is off meanwhile.
 *
 * In a window that has been in use, small holes elsewhere would rightly take
 * the slabs, and there would be nothing to see.  So all holes but the largest
 * are plugged for the time of the story: regions without memory, which go
 * again after it.
 */
#include <kern/kern.h>
#include <kern/mapwalk.h>
#include <vm/kmem_range.h>
#include <vm/vm_kmem.h>

#define NSLABS		7		/* A to G */
#define STRIP		30		/* pages drawn; the story needs 18 */
#define ROOM		18		/* 4 + 4 + 5 + 5 */
#define EXACT		32		/* pages up to which fit is exact */

struct slab {
	vaddr_t		 s_addr;	/* 0: there is none (yet, any more) */
	vsize_t		 s_pages;
};

struct story {
	struct slab	 st_slab[NSLABS];
	vaddr_t		 st_from;	/* where the strip begins */
	const char	*st_failed;	/* the first thing that went wrong */
	bool		 st_show;
};

static const char plug_owner[] = "slabs: plug";

static void
say(const struct story *st, const char *fmt, ...) __printflike(2, 3);

/* To whoever watches, as long as all goes well. */
static void
say(const struct story *st, const char *fmt, ...)
{
	va_list ap;

	if (!st->st_show || st->st_failed != NULL)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
}

static void
failed(struct story *st, const char *why)
{
	if (st->st_failed == NULL)
		st->st_failed = why;
}

/*
 * The order in which best fit prefers holes that are large enough: by size
 * up to 32 pages, then by size class, whose borders lie half an octave apart
 * (33, 48, 64, 96, ...).  Written from the policy, not from its code.
 */
static vsize_t
rank(vsize_t pages)
{
	vsize_t octave = EXACT;

	if (pages <= EXACT)
		return pages;
	while (pages / 2 >= octave)
		octave *= 2;
	if (pages >= octave + octave / 2)
		return octave + octave / 2;
	return octave == EXACT ? EXACT + 1 : octave;
}

/* Where best fit has to put a slab of at most 32 pages; 0: nowhere. */
static vaddr_t
predict(vsize_t pages)
{
	vaddr_t best = 0;
	vsize_t best_rank = 0;
	struct piece p;

	for (vaddr_t at = VM_SLAB_MIN;
	    piece_next(kernel_map, at, VM_SLAB_MAX, &p); at = p.p_end) {
		vsize_t n = piece_pages(&p);

		if (!p.p_hole || n < pages)
			continue;
		if (best == 0 || rank(n) < best_rank) {
			best = at;
			best_rank = rank(n);
		}
	}
	return best;
}

/* What stands in a page of an allocation: an answer to which and where. */
static uint32_t
stamp(vaddr_t addr, vaddr_t page)
{
	return (uint32_t)(addr ^ page * 2654435761u ^ 0x484f4c4d);
}

static void
stamp_write(vaddr_t addr, vsize_t pages)
{
	for (vaddr_t va = addr; va < addr + ptoa(pages); va += PAGE_SIZE) {
		((uint32_t *)va)[0] = stamp(addr, va);
		((uint32_t *)(va + PAGE_SIZE))[-1] = ~stamp(addr, va);
	}
}

static bool
stamp_holds(vaddr_t addr, vsize_t pages)
{
	for (vaddr_t va = addr; va < addr + ptoa(pages); va += PAGE_SIZE)
		if (((uint32_t *)va)[0] != stamp(addr, va) ||
		    ((uint32_t *)(va + PAGE_SIZE))[-1] != ~stamp(addr, va))
			return false;
	return true;
}

/* Which of ours is the region, going by its place; '#': somebody else's. */
static char
letter(const struct story *st, const struct vm_map_info *vi)
{
	for (unsigned i = 0; i < NSLABS; i++)
		if (st->st_slab[i].s_addr == vi->vi_start &&
		    ptoa(st->st_slab[i].s_pages) == vi->vi_end - vi->vi_start)
			return (char)('A' + i);
	return '#';
}

/* The strip, a character a page, from the tree as it is. */
static void
draw(const struct story *st)
{
	vaddr_t to = st->st_from + ptoa(STRIP);
	struct piece p;

	if (to > VM_SLAB_MAX)
		to = VM_SLAB_MAX;
	say(st, "      0x%08lx ", st->st_from);
	for (vaddr_t at = st->st_from; piece_next(kernel_map, at, to, &p);
	    at = p.p_end) {
		bool first = p.p_hole || p.p_info.vi_start == at;
		char c = p.p_hole ? '.' : letter(st, &p.p_info);

		if (first)
			say(st, "|");
		for (vsize_t n = piece_pages(&p); n > 0; n--)
			say(st, "%c", c);
	}
	say(st, "\n");
}

static void
create(struct story *st, char name, vsize_t pages)
{
	struct slab *s = &st->st_slab[name - 'A'];
	vaddr_t want = predict(pages);

	if (st->st_failed != NULL)
		return;
	s->s_pages = pages;
	s->s_addr = kmem_alloc(kernel_map, ptoa(pages), KM_SLAB);
	if (s->s_addr == 0) {
		failed(st, "out of memory");
		return;
	}
	stamp_write(s->s_addr, pages);
	say(st, "      %c = 0x%08lx, %lu page%s", name, s->s_addr, pages,
	    pages == 1 ? "" : "s");
	if (s->s_addr == want) {
		say(st, "\n");
		return;
	}
	say(st, ": WRONG, best fit is 0x%08lx\n", want);
	draw(st);
	failed(st, "a slab is not where best fit has to put it");
}

static void
destroy(struct story *st, char name)
{
	struct slab *s = &st->st_slab[name - 'A'];

	if (s->s_addr == 0)
		return;
	if (!stamp_holds(s->s_addr, s->s_pages))
		failed(st, "a slab's contents have changed");
	kmem_free(kernel_map, s->s_addr, ptoa(s->s_pages));
	s->s_addr = 0;
}

/* a lies right behind b, or the story is no story. */
static void
behind(struct story *st, char a, char b)
{
	const struct slab *sa = &st->st_slab[a - 'A'];
	const struct slab *sb = &st->st_slab[b - 'A'];

	if (sa->s_addr != sb->s_addr + ptoa(sb->s_pages))
		failed(st, "a slab does not lie where the story wants it");
}

static void
tell(struct story *st)
{
	vaddr_t hole;

	say(st, "   1. Create slabs of 4, 4 and 5 pages.\n");
	create(st, 'A', 4);
	create(st, 'B', 4);
	create(st, 'C', 5);
	behind(st, 'B', 'A');
	behind(st, 'C', 'B');
	draw(st);

	say(st, "   2. Destroy the second.  The map has a hole of 4 pages.\n");
	hole = st->st_slab['B' - 'A'].s_addr;
	destroy(st, 'B');
	draw(st);

	say(st, "   3. Create one of 5: too large for the hole, so it goes "
	    "behind the third.\n");
	create(st, 'D', 5);
	behind(st, 'D', 'C');
	draw(st);

	say(st, "   4. Create one of 4: the hole is taken.\n");
	create(st, 'E', 4);
	behind(st, 'E', 'A');
	draw(st);

	say(st, "   5. Destroy that one, and put slabs of 3 and 1 in the "
	    "hole.\n");
	destroy(st, 'E');
	draw(st);
	create(st, 'F', 3);
	draw(st);
	create(st, 'G', 1);
	behind(st, 'G', 'F');
	if (st->st_slab['F' - 'A'].s_addr != hole)
		failed(st, "the hole of 4 pages was not used again");
	draw(st);
}

/* Take all holes of the window but one, so that nothing else answers. */
static int
plug(const struct hole_sum *hs)
{
	struct piece p;
	int error;

	for (vaddr_t at = VM_SLAB_MIN;
	    piece_next(kernel_map, at, VM_SLAB_MAX, &p); at = p.p_end) {
		if (!p.p_hole || at == hs->hs_largest_at)
			continue;
		error = vm_map_insert(kernel_map, at, p.p_end, VM_PROT_NONE,
		    plug_owner);
		if (error != 0)
			return error;
	}
	return 0;
}

static void
unplug(void)
{
	struct piece p;

	for (vaddr_t at = VM_SLAB_MIN;
	    piece_next(kernel_map, at, VM_SLAB_MAX, &p); at = p.p_end)
		if (!p.p_hole && p.p_info.vi_owner == plug_owner)
			vm_map_free(kernel_map, at, p.p_end - at);
}

static void
prepare(struct story *st, const struct hole_sum *hs)
{
	say(st, "slabs: the slab window [0x%08lx, 0x%08lx) has %lu page%s in "
	    "%lu hole%s\n", VM_SLAB_MIN, VM_SLAB_MAX, hs->hs_free,
	    hs->hs_free == 1 ? "" : "s", hs->hs_holes,
	    hs->hs_holes == 1 ? "" : "s");
	say(st, "   (below, a character is a page: letters are the slabs, "
	    "`.` free, `#` others')\n");
	if (hs->hs_largest <= ROOM) {
		failed(st, "the largest hole is too small for the story");
		return;
	}
	if (hs->hs_holes > 1)
		say(st, "   0. Plug all but the largest, at 0x%08lx, so that "
		    "it shows what happens.\n", hs->hs_largest_at);
	if (plug(hs) != 0)
		failed(st, "no map entry for a plug");
	/* Two pages of what lies before, where something does. */
	st->st_from = hs->hs_largest_at;
	if (st->st_from - VM_SLAB_MIN >= 2 * PAGE_SIZE)
		st->st_from -= 2 * PAGE_SIZE;
}

bool
slabs_demo(bool show)
{
	struct story st = { .st_show = show };
	bool range = kmem_range_enable(false);
	unsigned long before = frames_free(), after;
	struct hole_sum was, is;

	hole_sum(kernel_map, VM_SLAB_MIN, VM_SLAB_MAX, &was);
	prepare(&st, &was);
	if (st.st_failed == NULL)
		tell(&st);
	for (unsigned i = 0; i < NSLABS; i++)
		destroy(&st, (char)('A' + i));
	unplug();
	after = frames_free();
	kmem_range_enable(range);
	hole_sum(kernel_map, VM_SLAB_MIN, VM_SLAB_MAX, &is);
	say(&st, "   6. Destroy all.  Frames free before: %lu, after: %lu, "
	    "difference %ld.\n", before, after, (long)(after - before));
	if (after != before)
		failed(&st, "frames were lost");
	if (is.hs_holes != was.hs_holes || is.hs_free != was.hs_free)
		failed(&st, "the window is not as it was");
	if (st.st_failed != NULL)
		printf("slabs: FAILED: %s\n", st.st_failed);
	else
		say(&st, "slabs: ok\n");
	return st.st_failed == NULL;
}

/*
 * Churn: what a kernel's slabs do to the window over time, in seconds.
 */
#define NLIVE		256
#define MAXPAGES	16
#define CHECK_EVERY	16		/* operations: a flat walk takes long */

/* What `churn` leaves stays, and is not the self-test's to free. */
static struct churn {
	struct slab	 c_live[NLIVE];
	unsigned	 c_nlive;
	vsize_t		 c_pages;	/* in those */
	unsigned	 c_checked;	/* places, this time */
} by_command, by_test;

static bool
churn_free(struct churn *c, unsigned i)
{
	struct slab s = c->c_live[i];
	bool ok = stamp_holds(s.s_addr, s.s_pages);

	c->c_live[i] = c->c_live[--c->c_nlive];
	c->c_pages -= s.s_pages;
	kmem_free(kernel_map, s.s_addr, ptoa(s.s_pages));
	if (!ok)
		printf("churn: 0x%08lx, %lu pages: contents have changed\n",
		    s.s_addr, s.s_pages);
	return ok;
}

static bool
churn_alloc(struct churn *c, vsize_t pages, bool check)
{
	vaddr_t want = check ? predict(pages) : 0;
	vaddr_t addr = kmem_alloc(kernel_map, ptoa(pages),
	    KM_SLAB | KM_NOSLEEP);

	if (addr == 0)
		return true;	/* short of memory: an answer, too */
	stamp_write(addr, pages);
	c->c_live[c->c_nlive++] = (struct slab){ addr, pages };
	c->c_pages += pages;
	c->c_checked += check;
	if (!check || addr == want)
		return true;
	printf("churn: %lu pages at 0x%08lx, best fit is 0x%08lx\n", pages,
	    addr, want);
	return false;
}

static bool
churn(struct churn *c, unsigned n, uint64_t seed)
{
	/* A quarter of the memory, so that there is some left to work with. */
	vsize_t most = frames_free() / 4 + c->c_pages;
	uint64_t state = seed != 0 ? seed : 1;
	bool ok = true;

	c->c_checked = 0;
	for (unsigned i = 0; i < n && ok; i++) {
		uint32_t r = k_random(&state);
		vsize_t pages = 1 + (r >> 8) % MAXPAGES;

		/* Mostly growing at first, then as much as it shrinks. */
		if (c->c_nlive == NLIVE || c->c_pages + pages > most ||
		    (c->c_nlive > 0 &&
		    r % 8 < (c->c_nlive < NLIVE / 2 ? 3 : 4)))
			ok = c->c_nlive == 0 ||
			    churn_free(c, (r >> 16) % c->c_nlive);
		else
			ok = churn_alloc(c, pages, i % CHECK_EVERY == 0);
	}
	while (n == 0 && c->c_nlive > 0)
		ok = churn_free(c, c->c_nlive - 1) && ok;
	return ok;
}

static void
churn_report(const struct churn *c, unsigned n, uint64_t seed)
{
	struct hole_sum hs;

	hole_sum(kernel_map, VM_SLAB_MIN, VM_SLAB_MAX, &hs);
	if (n != 0)
		printf("churn: %u operations, seed %llu; %u places checked, "
		    "all as best fit says\n", n, (unsigned long long)seed,
		    c->c_checked);
	printf("churn: %u slabs live, %lu pages; %lu hole%s, the largest of "
	    "%lu pages\n", c->c_nlive, c->c_pages, hs.hs_holes,
	    hs.hs_holes == 1 ? "" : "s", hs.hs_largest);
}

bool
slabs_churn(unsigned n, uint64_t seed, bool show)
{
	struct churn *c = show ? &by_command : &by_test;
	bool range = kmem_range_enable(false);
	bool ok = churn(c, n, seed);
	const char *wrong = vm_map_check(kernel_map);

	kmem_range_enable(range);
	if (wrong != NULL)
		printf("churn: %s\n", wrong);
	ok = ok && wrong == NULL;
	if (show && ok)
		churn_report(c, n, seed);
	return ok;
}
