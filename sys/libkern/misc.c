/*
 * What no libc has, or has otherwise: bounded copies and checked numbers.
 */
#include <libkern/libkern.h>

size_t
k_strlcpy(char *dst, const char *src, size_t size)
{
	size_t n = strlen(src);

	if (size > 0) {
		size_t len = n < size ? n : size - 1;

		memcpy(dst, src, len);
		dst[len] = '\0';
	}
	return n;
}

/* The value of a digit in any base up to 36, or 99 for what is none. */
static unsigned
digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'z')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'Z')
		return (unsigned)(c - 'A') + 10;
	return 99;
}

/*
 * The base that s is written in, and past its prefix.  As in C a prefix
 * counts only where a digit follows: "0x" alone is the number 0, then 'x'.
 */
static const char *
number_base(const char *s, int *base)
{
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X') &&
	    digit_value(s[2]) < 16;

	if (*base == 0)
		*base = hex ? 16 : s[0] == '0' ? 8 : 10;
	return hex && *base == 16 ? s + 2 : s;
}

bool
k_strtoull(const char *s, const char **end, int base, uint64_t *out)
{
	const char *p = number_base(s, &base), *first = p;
	uint64_t value = 0;
	unsigned d, b = (unsigned)base;
	bool fits = true;

	for (; (d = digit_value(*p)) < b; p++) {
		/*
		 * value * b + d, in two halves: a product of 64 bits would
		 * not show that it overflowed, and to divide 64 bits takes
		 * a library call on i386.
		 */
		uint64_t lo = (value & 0xffffffff) * b + d;
		uint64_t hi = (value >> 32) * b + (lo >> 32);

		if (hi >> 32 != 0)
			fits = false;
		value = hi << 32 | (lo & 0xffffffff);
	}
	if (end != NULL)
		*end = p == first ? s : p;
	*out = fits ? value : UINT64_MAX;
	return fits;
}
