/*
 * What every part of the kernel may use: strings, formatted output, a few
 * bit helpers.  Nothing here allocates, locks, or knows what a page is.
 *
 * On the host, libc supplies the mem* and str* functions (<string.h> and this
 * header agree about them); the rest is compiled there unchanged.
 */
#ifndef LIBKERN_LIBKERN_H
#define LIBKERN_LIBKERN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define nitems(a)	(sizeof(a) / sizeof((a)[0]))
#define howmany(n, d)	(((n) + (d) - 1) / (d))
#define roundup2(n, a)	(((n) + ((a) - 1)) & ~((a) - 1))	/* a = 2^k */
#define rounddown2(n, a) ((n) & ~((a) - 1))			/* a = 2^k */
#define powerof2(n)	((n) != 0 && ((n) & ((n) - 1)) == 0)

#define container_of(p, type, member) \
	((type *)((char *)(p) - offsetof(type, member)))

#define __printflike(f, a)	__attribute__((__format__(__printf__, f, a)))
#define __dead2			__attribute__((__noreturn__))
#define __unused2		__attribute__((__unused__))

/* string.c: the standard functions, with their standard meaning. */
void	*memcpy(void *restrict, const void *restrict, size_t);
void	*memmove(void *, const void *, size_t);
void	*memset(void *, int, size_t);
int	 memcmp(const void *, const void *, size_t);
void	*memchr(const void *, int, size_t);
size_t	 strlen(const char *);
size_t	 strnlen(const char *, size_t);
int	 strcmp(const char *, const char *);
int	 strncmp(const char *, const char *, size_t);
char	*strchr(const char *, int);

/*
 * k_strlcpy copies at most size - 1 bytes and always terminates; the result
 * is strlen(src), so a result >= size tells of truncation (OpenBSD).
 */
size_t	 k_strlcpy(char *dst, const char *src, size_t size);

/*
 * k_strtoull reads an unsigned number, with 0x or 0 as C has them when base
 * is 0.
 * => *end (if end != NULL) is left at the first character not used; it
 *    equals s when there was no number at all
 * => true unless the value does not fit, and then *out is UINT64_MAX
 */
bool	 k_strtoull(const char *s, const char **end, int base, uint64_t *out);

/*
 * printf.c: one formatter under all printing.
 * => understands %d %i %u %x %X %o %c %s %p %%, the flags - 0 # + space,
 *    width and precision (also *), and the lengths hh h l ll z j t
 * => k_vprintf hands each character to putc(c, arg) and returns their number
 * => k_snprintf always terminates when size > 0 and returns the length that
 *    the whole text would have had
 */
int	 k_vprintf(void (*putc)(int, void *), void *arg, const char *fmt,
	    va_list) __printflike(3, 0);
int	 k_vsnprintf(char *buf, size_t size, const char *fmt, va_list)
	    __printflike(3, 0);
int	 k_snprintf(char *buf, size_t size, const char *fmt, ...)
	    __printflike(3, 4);

/* The index of the lowest / highest set bit; the argument is not 0. */
static inline unsigned
bit_lowest32(uint32_t w)
{
	return (unsigned)__builtin_ctz(w);
}

static inline unsigned
bit_highest32(uint32_t w)
{
	return 31u - (unsigned)__builtin_clz(w);
}

static inline unsigned
bit_lowest64(uint64_t w)
{
	return (unsigned)__builtin_ctzll(w);
}

static inline unsigned
bit_highest64(uint64_t w)
{
	return 63u - (unsigned)__builtin_clzll(w);
}

/*
 * A small pseudo-random generator for churns and self-tests, the same on
 * every machine so that a seed is a recording: xorshift64* (Vigna 2016).
 * => *state must not be 0
 */
static inline uint32_t
k_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return (uint32_t)((x * 0x2545F4914F6CDD1DULL) >> 32);
}

#endif
