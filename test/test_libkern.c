/*
 * libkern's strings, numbers and formatter, against libc's.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"

/* On the host libc's functions stand in for string.c: it gets other names. */
#define memcpy	kern_memcpy
#define memmove	kern_memmove
#define memset	kern_memset
#define memcmp	kern_memcmp
#define memchr	kern_memchr
#define strlen	kern_strlen
#define strnlen	kern_strnlen
#define strcmp	kern_strcmp
#define strncmp	kern_strncmp
#define strchr	kern_strchr
#include <libkern/string.c>
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr

#define SEED	0x486f6c6d75ULL
#define BUF	96

static uint64_t seed = SEED;

static unsigned
below(unsigned n)
{
	return k_random(&seed) % n;
}

static int
sign(int n)
{
	return (n > 0) - (n < 0);
}

/* Few different bytes, so that comparisons go far and matches are found. */
static void
random_bytes(unsigned char *p, size_t n)
{
	while (n-- > 0)
		*p++ = (unsigned char)"ab\0\xff"[below(4)];
}

START_TEST(memory)
{
	unsigned char a[BUF], b[BUF], src[BUF];

	for (unsigned i = 0; i < 100000; i++) {
		size_t n = below(BUF / 2), at = below(BUF / 2);
		size_t from = below(BUF / 2);
		int c = (int)below(600) - 300;

		random_bytes(a, BUF);
		random_bytes(src, BUF);
		memcpy(b, a, BUF);
		must(kern_memcpy(a + at, src + from, n) == a + at);
		memcpy(b + at, src + from, n);
		must(memcmp(a, b, BUF) == 0);
		must(kern_memmove(a + at, a + from, n) == a + at);
		memmove(b + at, b + from, n);
		must(memcmp(a, b, BUF) == 0);
		must(sign(kern_memcmp(a + at, a + from, n)) ==
		    sign(memcmp(a + at, a + from, n)));
		must(kern_memchr(a + at, c, n) == memchr(a + at, c, n));
		must(kern_memset(a + at, c, n) == a + at);
		memset(b + at, c, n);
		must(memcmp(a, b, BUF) == 0);
	}
}
END_TEST

START_TEST(strings)
{
	char a[BUF], b[BUF];

	for (unsigned i = 0; i < 100000; i++) {
		size_t n = below(BUF);
		int c = "ab\0\xffz"[below(5)];
		char *p = a + below(8), *q = b + below(8);

		random_bytes((unsigned char *)a, BUF);
		memcpy(b, a, BUF);
		b[below(BUF)] ^= 1;
		a[BUF - 1] = b[BUF - 1] = '\0';
		must(kern_strlen(p) == strlen(p));
		must(kern_strnlen(p, n) == strnlen(p, n));
		must(kern_strchr(p, c) == strchr(p, c));
		must(sign(kern_strcmp(p, q)) == sign(strcmp(p, q)));
		must(sign(kern_strncmp(p, q, n)) == sign(strncmp(p, q, n)));
	}
}
END_TEST

START_TEST(strlcpy_cuts)
{
	char dst[16];

	for (size_t len = 0; len < 20; len++) {
		for (size_t size = 0; size <= sizeof(dst); size++) {
			char src[20];
			size_t fits = len < size ? len : size - 1;

			memset(src, 'x', sizeof(src));
			memset(dst, '#', sizeof(dst));
			src[len] = '\0';
			must(k_strlcpy(dst, src, size) == len);
			if (size == 0)
				fits = 0;
			else
				must(dst[fits] == '\0');
			must(memcmp(dst, src, fits) == 0);
			for (size_t i = size; i < sizeof(dst); i++)
				must(dst[i] == '#');
		}
	}
}
END_TEST

static void
same_number(const char *s, int base)
{
	const char *end;
	char *libc_end;
	uint64_t n;
	bool fits = k_strtoull(s, &end, base, &n);
	unsigned long long want;

	errno = 0;
	want = strtoull(s, &libc_end, base);
	if (n != want || end != libc_end || fits != (errno != ERANGE))
		ck_abort_msg("\"%s\", base %d: %llu, %d used, fits %d", s,
		    base, (unsigned long long)n, (int)(end - s), fits);
}

START_TEST(numbers)
{
	static const char *const edge[] = {
		"", "0", "0x", "0x0", "0xg", "x", "00", "08",
		"18446744073709551615",
		"18446744073709551616", "0xffffffffffffffff",
		"0x10000000000000000", "99999999999999999999999", "zz9 1",
		"01777777777777777777777", "02000000000000000000000", "7fz",
	};
	static const int bases[] = { 0, 2, 8, 10, 16, 36 };
	char s[32];

	for (unsigned b = 0; b < nitems(bases); b++) {
		for (unsigned i = 0; i < nitems(edge); i++)
			same_number(edge[i], bases[b]);
		for (unsigned i = 0; i < 50000; i++) {
			unsigned n = below(sizeof(s));

			for (unsigned k = 0; k < n; k++)
				s[k] = "0123456789abcdefxXFz"[below(20)];
			if (n > 1 && below(2) == 0)
				memcpy(s, "0x", 2);
			s[n] = '\0';
			same_number(s, bases[b]);
		}
	}
}
END_TEST

/* A random conversion, as text and in what a call needs to know of it. */
struct conversion {
	char	 c_format[48];
	bool	 c_stars;	/* width and precision are arguments */
	int	 c_width, c_precision;
	char	 c_letter;
	char	 c_length;	/* 'H' for hh, 'L' for ll */
};

/* Flags that C gives a meaning with the conversion. */
static const char *
flags_of(char letter)
{
	switch (letter) {
	case 'd':
	case 'i':
		return "-0+ ";
	case 'u':
		return "-0";
	case 'x':
	case 'X':
	case 'o':
		return "-0#";
	default:
		return "-";
	}
}

static void
random_conversion(struct conversion *c)
{
	char *p = c->c_format;
	const char *flags;

	c->c_letter = "diuxXocsp"[below(9)];
	c->c_length = "\0hHlLzjt"[below(8)];
	if (strchr("csp", c->c_letter) != NULL)
		c->c_length = '\0';
	c->c_width = (int)below(30) - 5;
	c->c_precision = (int)below(25) - 3;
	if (strchr("cp", c->c_letter) != NULL)
		c->c_precision = -1;
	c->c_stars = below(3) == 0;
	p += sprintf(p, "<%%");
	for (flags = flags_of(c->c_letter); *flags != '\0'; flags++)
		if (below(3) == 0)
			*p++ = *flags;
	if (c->c_stars)
		p += sprintf(p, "*.*");
	else if (c->c_width > 0)
		p += sprintf(p, "%d", c->c_width);
	if (!c->c_stars && c->c_precision >= 0)
		p += sprintf(p, c->c_precision == 0 ? "." : ".%d",
		    c->c_precision);
	if (c->c_length == 'H' || c->c_length == 'L')
		p += sprintf(p, c->c_length == 'H' ? "hh" : "ll");
	else if (c->c_length != '\0')
		*p++ = c->c_length;
	sprintf(p, "%c>", c->c_letter);
}

/* Numbers near the edges of every width as often as any other. */
static uint64_t
random_value(void)
{
	uint64_t v = ((uint64_t)k_random(&seed) << 32 | k_random(&seed)) >>
	    below(64);

	switch (below(4)) {
	case 0:
		return (1ULL << below(64)) - below(2);
	case 1:
		return -v;
	case 2:
		return below(3);
	default:
		return v;
	}
}

#pragma GCC diagnostic ignored "-Wformat-nonliteral"

static char ours[BUF], libcs[BUF];
static int n_ours, n_libcs;

/* Both formatters on one value, whose type is the conversion's. */
#define BOTH(c, size, v) \
	(n_ours = (c)->c_stars ? k_snprintf(ours, size, (c)->c_format, \
	    (c)->c_width, (c)->c_precision, v) : k_snprintf(ours, size, \
	    (c)->c_format, v), n_libcs = (c)->c_stars ? snprintf(libcs, size, \
	    (c)->c_format, (c)->c_width, (c)->c_precision, v) : \
	    snprintf(libcs, size, (c)->c_format, v))

static void
format(const struct conversion *c, size_t size, uint64_t v)
{
	static const char *const words[] = {
		"", "a", "holm oak", "0123456789"
	};

	if (c->c_letter == 's')
		BOTH(c, size, words[v % nitems(words)]);
	else if (c->c_letter == 'c')
		BOTH(c, size, (int)('a' + v % 26));
	else if (c->c_letter == 'p')
		BOTH(c, size, (void *)((uintptr_t)v | 1));
	else if (c->c_length == 'l')
		BOTH(c, size, (unsigned long)v);
	else if (c->c_length == 'L')
		BOTH(c, size, (unsigned long long)v);
	else if (c->c_length == 'z')
		BOTH(c, size, (size_t)v);
	else if (c->c_length == 'j')
		BOTH(c, size, (uintmax_t)v);
	else if (c->c_length == 't')
		BOTH(c, size, (ptrdiff_t)v);
	else
		BOTH(c, size, (unsigned)v);
}

START_TEST(printf_like_libc)
{
	struct conversion c;

	for (unsigned i = 0; i < 400000; i++) {
		uint64_t v = random_value();
		size_t size = below(4) == 0 ? below(12) : BUF;

		random_conversion(&c);
		memset(ours, '#', BUF);
		memset(libcs, '#', BUF);
		format(&c, size, v);
		if (n_ours != n_libcs || memcmp(ours, libcs, BUF) != 0)
			ck_abort_msg("\"%s\" (%d, %d) of %#llx: \"%.*s\", libc "
			    "\"%.*s\"", c.c_format, c.c_width, c.c_precision,
			    (unsigned long long)v, BUF, ours, BUF, libcs);
	}
}
END_TEST

/* Where libc says something else, or C nothing. */
START_TEST(printf_own_ways)
{
	const char *volatile none = NULL;
	char buf[32];

	k_snprintf(buf, sizeof(buf), "%p", (void *)NULL);
	ck_assert_str_eq(buf, "0x0");
	k_snprintf(buf, sizeof(buf), "%s", none);
	ck_assert_str_eq(buf, "(null)");
	k_snprintf(buf, sizeof(buf), "100%%, %d", 1);
	ck_assert_str_eq(buf, "100%, 1");
	ck_assert_int_eq(k_snprintf(NULL, 0, "%d", 12345), 5);
}
END_TEST

#pragma GCC diagnostic ignored "-Wformat"
#pragma GCC diagnostic ignored "-Wformat-extra-args"

START_TEST(printf_nonsense)
{
	char buf[32];

	k_snprintf(buf, sizeof(buf), "a%5.3lqb", 1);
	ck_assert_str_eq(buf, "a%5.3lqb");
	ck_assert_int_eq(k_snprintf(buf, sizeof(buf), "end%08", 1), 6);
	ck_assert_str_eq(buf, "end%08");
	ck_assert_int_eq(k_snprintf(buf, sizeof(buf), "%", 1), 1);
	ck_assert_str_eq(buf, "%");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("libkern");
	TCase *tc = tcase_create("libkern");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, memory);
	tcase_add_test(tc, strings);
	tcase_add_test(tc, strlcpy_cuts);
	tcase_add_test(tc, numbers);
	tcase_add_test(tc, printf_like_libc);
	tcase_add_test(tc, printf_own_ways);
	tcase_add_test(tc, printf_nonsense);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
