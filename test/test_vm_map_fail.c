/*
 * When things go wrong inside: no entry is to be had, at the n-th request
 * for every n, once and for ever after; and vm_map_check, which must see
 * every field that is not as it should be.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vm/vm_fail.h>
#include <vm/vm_map_impl.h>
#include <vm/vm_phys.h>

#include "map_test.h"

static struct twin t;

#define NPAGES	200

static vaddr_t
at(size_t page)
{
	return oracle_va(&t.t_oracle, page);
}

/* Regions of five pages behind holes of five. */
static void
furnish(unsigned flags)
{
	unsigned i;

	twin_init(&t, "failing", MAP_MID, MAP_MID + KB4(NPAGES), flags);
	t.t_lazy = true;
	for (i = 5; i < NPAGES; i += 10)
		must(twin_insert(&t, at(i), at(i + 5), VM_PROT_RW,
		    "ann") == 0);
	t.t_lazy = false;
	twin_compare(&t);
}

/*
 * The operations that may need an entry, and two that take away and never
 * do.
 */
struct failing {
	const char	*f_name;
	unsigned	 f_flags;	/* the kind of map */
	int		 (*f_op)(void);
	bool		 f_never;	/* it must not even ask */
};

static int
op_alloc(void)
{
	struct vm_map_request r = { .vr_size = KB4(3), .vr_owner = "new" };
	vaddr_t addr;

	return twin_alloc(&t, &r, &addr);
}

static int
op_insert(void)
{
	return twin_insert(&t, at(12), at(14), VM_PROT_READ, "new");
}

static int
op_insert_joined(void)		/* three become one */
{
	return twin_insert(&t, at(10), at(15), VM_PROT_RW, "ann");
}

static int
op_cut_in_two(void)
{
	return twin_remove(&t, at(26), at(28));
}

static int
op_remove_many(void)		/* two ends are cut, but nothing in two */
{
	return twin_remove(&t, at(27), at(58));
}

static int
op_remove_whole(void)
{
	return twin_remove(&t, at(25), at(30));
}

static int
op_free(void)
{
	return twin_free(&t, at(35), KB4(5));
}

static int
op_protect(void)		/* one becomes three */
{
	return twin_protect(&t, at(36), at(38), VM_PROT_READ);
}

static int
op_protect_whole(void)
{
	return twin_protect(&t, at(35), at(40), VM_PROT_READ);
}

static int
op_wire(void)
{
	return twin_wire(&t, at(46), at(48));
}

static int
op_unwire(void)
{
	bool starved = t.t_starved;
	int error;

	if (t.t_oracle.o_page[45].op_wired == 0) {
		t.t_starved = false;	/* to begin with, without failures */
		must(twin_wire(&t, at(45), at(50)) == 0);
		t.t_starved = starved;
		return -1;
	}
	error = twin_unwire(&t, at(46), at(48));
	return error;
}

static const struct failing failing[] = {
	{ "alloc", VM_MAP_KERNEL, op_alloc, false },
	{ "alloc", VM_MAP_USER, op_alloc, false },
	{ "insert", VM_MAP_KERNEL, op_insert, false },
	{ "insert", VM_MAP_USER, op_insert, false },
	{ "insert, joined", VM_MAP_USER, op_insert_joined, false },
	{ "remove, cut in two", VM_MAP_USER, op_cut_in_two, false },
	{ "remove of many", VM_MAP_USER, op_remove_many, true },
	{ "remove of one", VM_MAP_USER, op_remove_whole, true },
	{ "remove of one", VM_MAP_KERNEL, op_remove_whole, true },
	{ "free", VM_MAP_KERNEL, op_free, true },
	{ "protect", VM_MAP_USER, op_protect, false },
	{ "protect, whole", VM_MAP_KERNEL, op_protect_whole, true },
	{ "wire", VM_MAP_USER, op_wire, false },
	{ "unwire", VM_MAP_USER, op_unwire, false },
};

static unsigned
spares(const struct vm_map *map)
{
	return map->vm_spare != NULL;
}

/* Every entry there is lies in the store or in one of the two maps. */
static void
entries_balance(void)
{
	struct vm_map_stats k, m;
	struct entry_stats es;

	entry_stats(&es);
	vm_map_stats(kernel_map, &k);
	vm_map_stats(&t.t_map, &m);
	must(es.es_total - es.es_free == k.vms_entries + m.vms_entries +
	    spares(kernel_map) + spares(&t.t_map));
	must(vm_map_check(kernel_map) == NULL);
}

/*
 * Fail the n-th request for entries, for every n until the operation makes
 * fewer.  The twin sees to it that a failed one has changed nothing.
 */
static unsigned
fail_every(const struct failing *f, enum vm_fail_site site, bool forever)
{
	unsigned long n, asked;
	unsigned failed = 0;
	int error;

	for (n = 1; n < 100; n++) {
		furnish(f->f_flags);
		while (f->f_op == op_unwire && f->f_op() != -1)
			continue;
		t.t_starved = true;
		vm_fail_set(site, n, forever);
		error = f->f_op();
		asked = vm_fail_count(site);
		vm_fail_set(site, 0, false);
		t.t_starved = false;
		entries_balance();
		if (error != 0) {
			must(error == ENOMEM);
			must(asked >= n);
			failed++;
			must(f->f_op() == 0);	/* the retry */
		}
		twin_fini(&t);
		if (asked < n)
			return failed;
	}
	ck_abort_msg("%s: no end to its requests", f->f_name);
}

START_TEST(no_entry)
{
	const struct failing *f = &failing[_i];
	unsigned once = fail_every(f, VM_FAIL_ENTRY, false);
	unsigned ever = fail_every(f, VM_FAIL_ENTRY, true);

	if (f->f_never && once + ever != 0)
		ck_abort_msg("%s failed for want of entries", f->f_name);
	if (!f->f_never && f->f_op != op_insert_joined && ever == 0)
		ck_abort_msg("%s never failed", f->f_name);
}
END_TEST

/* Address space that "runs out" is as good as no hole. */
START_TEST(no_space)
{
	fail_every(&failing[_i], VM_FAIL_SPACE, false);
	fail_every(&failing[_i], VM_FAIL_SPACE, true);
}
END_TEST

/* Random operations while every third request for entries fails. */
START_TEST(random_failures)
{
	uint64_t seed = 3000 + (uint64_t)_i;
	struct twin_source from = { twin_random, &seed };
	unsigned i;

	twin_init(&t, __func__, MAP_LOW, MAP_LOW + KB4(150),
	    _i % 2 == 0 ? VM_MAP_KERNEL : VM_MAP_USER);
	t.t_seed = seed;
	t.t_starved = true;
	for (i = 0; i < 6000; i++) {
		if (i % 3 == 0)
			vm_fail_set(VM_FAIL_ENTRY, 1 + (i / 3) % 3, i % 2);
		twin_step(&t, &from);
		entries_balance();
	}
	vm_fail_set(VM_FAIL_ENTRY, 0, false);
	must(t.t_errors[ENOMEM] > 100);
	twin_fini(&t);
}
END_TEST

/*
 * The store of entries grows while something that it needs fails.  An
 * operation that needs two entries is repeated until the store is empty and
 * cannot grow: it fails then, nothing has changed, no frame is gone, and it
 * succeeds as soon as there is a frame again.
 */
START_TEST(store_cannot_grow)
{
	static const enum vm_fail_site site[] = {
		VM_FAIL_PAGE, VM_FAIL_SPACE, VM_FAIL_PTP
	};
	unsigned failed = 0, i;
	pfn_t nfree;
	int error;

	twin_init(&t, __func__, MAP_MID, MAP_MID + KB4(4 * 600),
	    VM_MAP_USER);
	must(twin_insert(&t, at(0), at(4 * 600), VM_PROT_RW, "ann") == 0);
	t.t_lazy = true;
	for (i = 0; i < 600; i++) {
		nfree = vm_phys_nfree();
		vm_fail_set(site[_i], 1, true);
		t.t_starved = true;
		error = twin_protect(&t, at(4 * i + 1), at(4 * i + 2),
		    VM_PROT_READ);
		t.t_starved = false;
		vm_fail_set(site[_i], 0, false);
		entries_balance();
		if (error == 0)
			continue;
		failed++;
		twin_compare(&t);
		must(vm_phys_nfree() == nfree);
		must(twin_protect(&t, at(4 * i + 1), at(4 * i + 2),
		    VM_PROT_READ) == 0);
		must(vm_phys_nfree() < nfree);
	}
	printf("vm_map: the store of entries could not grow %u times\n",
	    failed);
	if (site[_i] != VM_FAIL_PTP)	/* page tables are seldom needed */
		must(failed > 3);
	twin_fini(&t);
}
END_TEST

/*
 * A word of the map or of an entry, spoilt and restored: vm_map_check must
 * see it, and name the invariant ("" where it depends).
 */
static void
spoil(const char *what, void *word, size_t size, uint64_t new,
    const char *which)
{
	uint64_t old = 0;
	const char *why;

	memcpy(&old, word, size);
	memcpy(word, &new, size);
	why = vm_map_check(&t.t_map);
	if (why == NULL || strstr(why, which) == NULL)
		ck_abort_msg("%s = %#llx: vm_map_check says %s, not %s", what,
		    (unsigned long long)new, why != NULL ? why : "nothing",
		    which);
	memcpy(word, &old, size);
	must(vm_map_check(&t.t_map) == NULL);
}
#define SET(field, new, which) \
	spoil(#field, &(field), sizeof(field), new, which)
#define SPOIL(field, flip, which) SET(field, (field) ^ (flip), which)

static void
spoil_sentinel(struct vm_map_entry *e)
{
	SPOIL(e->vme_end, PAGE_SIZE, "I1: the sentinel");
	SPOIL(e->vme_end, 1, "I1: the sentinel");
	SPOIL(e->vme_flags, VME_SENTINEL, "I1: the sentinel");
	SPOIL(e->vme_flags, VME_SPECIAL, "I1: the sentinel");
}

static void
spoil_region(struct vm_map_entry *e)
{
	const struct vm_map_entry *next = e->vme_next;

	SPOIL(e->vme_end, 1, "I1: a region");
	SET(e->vme_end, vme_start(e), "I1: a region");
	SET(e->vme_end, t.t_map.vm_max + PAGE_SIZE, "I1: a region");
	if (next != NULL)
		SET(e->vme_end, next->vme_end, "I1: a region");
	else
		SPOIL(e->vme_end, PAGE_SIZE, "");
	SPOIL(e->vme_flags, VME_SENTINEL, "I1: a region");
	SPOIL(e->vme_guard_lo, 0xFF, "I6");
	SPOIL(e->vme_guard_hi, 0xFF, "I6");
}

static void
spoil_entry(struct vm_map_entry *e)
{
	unsigned bit;

	SET(e->vme_prev, (uintptr_t)e, "I3");
	SET(e->vme_prev, (uintptr_t)e->vme_next, "I3");
	SET(e->vme_next, (uintptr_t)e, "I3");
	SET(e->vme_next, (uintptr_t)e->vme_prev, "I3");
	SPOIL(e->vme_gap, 1, "");
	SPOIL(e->vme_gap, PAGE_SIZE, "");
	SPOIL(e->vme_gap, KB4(64), "");
	SPOIL(e->vme_max_gap, PAGE_SIZE, "I4");
	SPOIL(e->vme_max_gap, (vsize_t)1 << 30, "I4");
	for (bit = 0; bit < 64; bit++) {
		SPOIL(e->vme_mask[0], (uint64_t)1 << bit, "I4");
		SPOIL(e->vme_mask[1], (uint64_t)1 << bit, "I4");
	}
	for (bit = 0; bit < 8; bit++)
		SPOIL(e->vme_class, 1 << bit, "I4");
	if (e == &t.t_map.vm_sentinel)
		spoil_sentinel(e);
	else
		spoil_region(e);
}

/* Every field of every entry. */
START_TEST(check_sees_every_field)
{
	struct vm_map_entry *e;
	uint64_t seed = 77;
	struct twin_source from = { twin_random, &seed };
	unsigned i, n = 0;

	twin_init(&t, __func__, MAP_LOW, MAP_LOW + KB4(900), VM_MAP_KERNEL);
	for (i = 0; i < 300 && t.t_oracle.o_used < 500; i++)
		twin_step(&t, &from);
	for (e = &t.t_map.vm_sentinel; e != NULL; e = e->vme_next) {
		spoil_entry(e);
		n++;
	}
	must(n > 20);
	SPOIL(t.t_map.vm_stats.vms_entries, 1, "I5");
	SPOIL(t.t_map.vm_stats.vms_used, PAGE_SIZE, "I5");
	SPOIL(t.t_map.vm_max, PAGE_SIZE, "");
	SPOIL(t.t_map.vm_min, KB4(2), "I1: the sentinel");
	twin_fini(&t);
}
END_TEST

/* Equal neighbours in a user map, and colours. */
START_TEST(check_sees_neighbours)
{
	struct vm_map_entry *e;

	furnish(VM_MAP_USER);
	must(twin_insert(&t, at(10), at(12), VM_PROT_READ, "ann") == 0);
	e = space_above(&t.t_map, at(10));
	must(vme_start(e) == at(10));
	SPOIL(e->vme_prot, VM_PROT_READ ^ VM_PROT_RW, "I6");
	for (e = &t.t_map.vm_sentinel; e != NULL; e = e->vme_next)
		SPOIL(e->vme_rb.rb_up, 1, "rb P");
	twin_fini(&t);
}
END_TEST

/* One hole, of which no parent knows the class. */
START_TEST(check_sees_the_only_hole)
{
	twin_init(&t, __func__, MAP_LOW, MAP_LOW + KB4(9), VM_MAP_KERNEL);
	SPOIL(t.t_map.vm_sentinel.vme_gap, PAGE_SIZE, "I2");
	twin_fini(&t);
}
END_TEST

/* A map that was copied still has the other's sentinel in its tree. */
START_TEST(check_sees_a_copy)
{
	static struct vm_map copy;

	furnish(VM_MAP_KERNEL);
	copy = t.t_map;
	must(strstr(vm_map_check(&copy), "I1: the first") != NULL);
	twin_fini(&t);
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_loop_test(tc, no_entry, 0, (int)nitems(failing));
	tcase_add_loop_test(tc, no_space, 0, 2);
	tcase_add_loop_test(tc, random_failures, 0, 4);
	tcase_add_loop_test(tc, store_cannot_grow, 0, 3);
	tcase_add_test(tc, check_sees_every_field);
	tcase_add_test(tc, check_sees_neighbours);
	tcase_add_test(tc, check_sees_the_only_hole);
	tcase_add_test(tc, check_sees_a_copy);
}

int
main(void)
{
	return map_test_main("vm_map failures", add);
}
