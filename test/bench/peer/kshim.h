/*
 * What Linux's lib/rbtree.c and drivers/gpu/drm/drm_mm.c ask of the kernel
 * around them, so that both build unchanged in a user program.  Lists are as
 * Linux has them without its debugging; assertions stay on where drm_mm has
 * them on (BUG_ON), DRM_MM_BUG_ON is off as in any distributor's kernel.
 */
#ifndef BENCH_PEER_KSHIM_H
#define BENCH_PEER_KSHIM_H

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <errno.h>
#include <stdlib.h>

typedef uint64_t u64;
typedef int64_t s64;
typedef uint32_t u32;
typedef int32_t s32;
typedef uint8_t u8;

#define __always_inline inline __attribute__((always_inline))
#define __maybe_unused __attribute__((unused))
#define unlikely(x) __builtin_expect(!!(x), 0)
#define likely(x) __builtin_expect(!!(x), 1)
#define barrier() __asm__ volatile("" ::: "memory")
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define smp_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define rcu_assign_pointer(p, v) smp_store_release(&(p), v)
#define rcu_dereference_raw(p) READ_ONCE(p)
#define RCU_INIT_POINTER(p, v) ((p) = (v))
#define __rcu
#define EXPORT_SYMBOL(x)
#define EXPORT_SYMBOL_GPL(x)
#define BUG_ON(x) assert(!(x))
#define BUILD_BUG_ON_INVALID(x) ((void)sizeof(!!(x)))
#define WARN(c, ...) (!!(c))
#define WARN_ON(c) (!!(c))
#define BIT(n) (1u << (n))
#define U64_MAX UINT64_MAX
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))
#define fallthrough __attribute__((fallthrough))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))

static inline bool
is_power_of_2(u64 n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static inline u64
div64_u64_rem(u64 n, u64 d, u64 *rem)
{
	*rem = n % d;
	return n / d;
}

#define test_bit(n, p) ((*(p) >> (n)) & 1UL)
#define __set_bit(n, p) (*(p) |= 1UL << (n))
#define __clear_bit(n, p) (*(p) &= ~(1UL << (n)))
#define clear_bit_unlock(n, p) \
	__atomic_and_fetch(p, ~(1UL << (n)), __ATOMIC_RELEASE)

struct list_head {
	struct list_head *next, *prev;
};

static inline void
INIT_LIST_HEAD(struct list_head *l)
{
	l->next = l->prev = l;
}
static inline void
list_add(struct list_head *n, struct list_head *h)
{
	n->next = h->next;
	n->prev = h;
	h->next->prev = n;
	h->next = n;
}
static inline void
list_add_tail(struct list_head *n, struct list_head *h)
{
	list_add(n, h->prev);
}
static inline void
list_del(struct list_head *n)
{
	n->next->prev = n->prev;
	n->prev->next = n->next;
}
static inline void
__list_del_entry(struct list_head *n)
{
	list_del(n);
}
static inline void
list_replace(struct list_head *o, struct list_head *n)
{
	n->next = o->next;
	n->next->prev = n;
	n->prev = o->prev;
	n->prev->next = n;
}
static inline bool
list_empty(const struct list_head *h)
{
	return h->next == h;
}
#define list_entry(p, t, m) container_of(p, t, m)
#define list_first_entry(h, t, m) list_entry((h)->next, t, m)
#define list_first_entry_or_null(h, t, m) \
	(list_empty(h) ? NULL : list_first_entry(h, t, m))
#define list_last_entry(h, t, m) list_entry((h)->prev, t, m)
#define list_next_entry(p, m) list_entry((p)->m.next, __typeof__(*(p)), m)
#define list_prev_entry(p, m) list_entry((p)->m.prev, __typeof__(*(p)), m)
#define list_entry_is_head(p, h, m) (&(p)->m == (h))
#define list_for_each_entry(p, h, m)                              \
	for (p = list_first_entry(h, __typeof__(*p), m);           \
	    !list_entry_is_head(p, h, m); p = list_next_entry(p, m))
#define list_for_each_entry_safe(p, n, h, m)                      \
	for (p = list_first_entry(h, __typeof__(*p), m),           \
	    n = list_next_entry(p, m); !list_entry_is_head(p, h, m); \
	    p = n, n = list_next_entry(n, m))

struct drm_printer {
	int unused;
};
#define drm_printf(p, ...) ((void)(p))
#define DRM_ERROR(...) fprintf(stderr, __VA_ARGS__)

#endif
