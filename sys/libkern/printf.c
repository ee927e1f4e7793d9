/*
 * One formatter under all printing.
 *
 *	%[flags][width][.precision][length]conversion
 *
 * A conversion is read into a struct spec, its text is made in a buffer that
 * holds the longest number (64 bits in octal), and emit() puts sign or
 * prefix, zeros, text and padding in their order.  Nothing is allocated; the
 * stack need is some 150 bytes.  What is not understood is printed as it
 * stands, so that a mistake shows instead of taking arguments that are not
 * there.
 *
 * Numbers are divided by hand, 16 bits at a time: a 64-bit division on i386
 * would be a call into libgcc, which is not built for a 486.
 */
#include <libkern/libkern.h>

#define F_LEFT	0x01		/* - */
#define F_ZERO	0x02		/* 0 */
#define F_ALT	0x04		/* # */
#define F_PLUS	0x08		/* + */
#define F_SPACE	0x10		/* space */
#define F_UPPER	0x20		/* %X */

#define DIGITS	22		/* of 2^64 - 1 in octal */

struct out {
	void	(*putc)(int, void *);
	void	*arg;
	int	 count;
};

struct spec {
	unsigned flags;
	int	 width;
	int	 precision;	/* -1: none given */
	int	 size;		/* of the argument: sizeof(char) and on */
};

static void
put(struct out *o, int c)
{
	o->putc(c, o->arg);
	o->count++;
}

static void
pad(struct out *o, int c, int n)
{
	while (n-- > 0)
		put(o, c);
}

/* prefix, zeros and text, in a field of the spec's width. */
static void
emit(struct out *o, const struct spec *s, const char *prefix, int zeros,
    const char *text, int len)
{
	int fill = s->width - (int)strlen(prefix) - zeros - len;

	if ((s->flags & F_LEFT) == 0)
		pad(o, ' ', fill);
	while (*prefix != '\0')
		put(o, *prefix++);
	pad(o, '0', zeros);
	while (len-- > 0)
		put(o, *text++);
	if ((s->flags & F_LEFT) != 0)
		pad(o, ' ', fill);
}

/* *v /= base; the remainder.  base is at most 16. */
static unsigned
divide(uint64_t *v, unsigned base)
{
	uint64_t q = 0;
	uint32_t rem = 0;

	if (*v >> 32 == 0) {
		uint32_t w = (uint32_t)*v;

		*v = w / base;
		return w % base;
	}
	for (int shift = 48; shift >= 0; shift -= 16) {
		rem = rem << 16 | (uint16_t)(*v >> shift);
		q = q << 16 | rem / base;
		rem %= base;
	}
	*v = q;
	return rem;
}

/* The digits of v, up to the end of buf[DIGITS]; how many (none for 0). */
static int
digits(char *buf, uint64_t v, unsigned base, bool upper)
{
	const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	int n = 0;

	while (v != 0)
		buf[DIGITS - ++n] = set[divide(&v, base)];
	return n;
}

static void
emit_number(struct out *o, const struct spec *s, uint64_t v, unsigned base,
    const char *prefix)
{
	char buf[DIGITS];
	int n = digits(buf, v, base, (s->flags & F_UPPER) != 0);
	int least = s->precision < 0 ? 1 : s->precision, zeros;

	if (base == 8 && (s->flags & F_ALT) != 0 && least <= n)
		least = n + 1;
	zeros = least > n ? least - n : 0;
	/* The flag 0 fills with zeros, unless a precision has a say. */
	if (s->precision < 0 && (s->flags & (F_ZERO | F_LEFT)) == F_ZERO &&
	    s->width - (int)strlen(prefix) - n > zeros)
		zeros = s->width - (int)strlen(prefix) - n;
	emit(o, s, prefix, zeros, buf + DIGITS - n, n);
}

static uint64_t
get_unsigned(int size, va_list *ap)
{
	if (size == (int)sizeof(uint64_t))
		return va_arg(*ap, uint64_t);
	if (size == (int)sizeof(short))
		return (unsigned short)va_arg(*ap, unsigned);
	if (size == (int)sizeof(char))
		return (unsigned char)va_arg(*ap, unsigned);
	return va_arg(*ap, unsigned);
}

static int64_t
get_signed(int size, va_list *ap)
{
	if (size == (int)sizeof(int64_t))
		return va_arg(*ap, int64_t);
	if (size == (int)sizeof(short))
		return (short)va_arg(*ap, int);
	if (size == (int)sizeof(char))
		return (signed char)va_arg(*ap, int);
	return va_arg(*ap, int);
}

static void
emit_signed(struct out *o, const struct spec *s, va_list *ap)
{
	int64_t v = get_signed(s->size, ap);
	uint64_t magnitude = v < 0 ? -(uint64_t)v : (uint64_t)v;

	emit_number(o, s, magnitude, 10,
	    v < 0 ? "-" : (s->flags & F_PLUS) != 0 ? "+" :
	    (s->flags & F_SPACE) != 0 ? " " : "");
}

static void
emit_hex(struct out *o, struct spec *s, va_list *ap, bool upper)
{
	uint64_t v = get_unsigned(s->size, ap);
	bool prefix = (s->flags & F_ALT) != 0 && v != 0;

	if (upper)
		s->flags |= F_UPPER;
	emit_number(o, s, v, 16, !prefix ? "" : upper ? "0X" : "0x");
}

static void
emit_string(struct out *o, const struct spec *s, const char *str)
{
	if (str == NULL)
		str = "(null)";
	emit(o, s, "", 0, str, (int)(s->precision < 0 ? strlen(str) :
	    strnlen(str, (size_t)s->precision)));
}

/* One conversion; false when c is none of ours. */
static bool
convert(struct out *o, struct spec *s, int c, va_list *ap)
{
	char ch;

	switch (c) {
	case 'd':
	case 'i':
		emit_signed(o, s, ap);
		return true;
	case 'u':
		emit_number(o, s, get_unsigned(s->size, ap), 10, "");
		return true;
	case 'o':
		emit_number(o, s, get_unsigned(s->size, ap), 8, "");
		return true;
	case 'x':
	case 'X':
		emit_hex(o, s, ap, c == 'X');
		return true;
	case 'p':
		emit_number(o, s, (uintptr_t)va_arg(*ap, void *), 16, "0x");
		return true;
	case 'c':
		ch = (char)va_arg(*ap, int);
		emit(o, s, "", 0, &ch, 1);
		return true;
	case 's':
		emit_string(o, s, va_arg(*ap, const char *));
		return true;
	case '%':
		put(o, '%');
		return true;
	default:
		return false;
	}
}

static const char *
parse_flags(const char *f, struct spec *s)
{
	for (;; f++) {
		switch (*f) {
		case '-':
			s->flags |= F_LEFT;
			break;
		case '0':
			s->flags |= F_ZERO;
			break;
		case '#':
			s->flags |= F_ALT;
			break;
		case '+':
			s->flags |= F_PLUS;
			break;
		case ' ':
			s->flags |= F_SPACE;
			break;
		default:
			return f;
		}
	}
}

static const char *
parse_int(const char *f, int *n, va_list *ap)
{
	if (*f == '*') {
		*n = va_arg(*ap, int);
		return f + 1;
	}
	for (*n = 0; *f >= '0' && *f <= '9'; f++)
		*n = *n * 10 + (*f - '0');
	return f;
}

static const char *
parse_length(const char *f, int *size)
{
	*size = sizeof(int);
	switch (*f) {
	case 'h':
		if (f[1] == 'h') {
			*size = sizeof(char);
			return f + 2;
		}
		*size = sizeof(short);
		return f + 1;
	case 'l':
		if (f[1] == 'l') {
			*size = sizeof(long long);
			return f + 2;
		}
		*size = sizeof(long);
		return f + 1;
	case 'z':
		*size = sizeof(size_t);
		return f + 1;
	case 'j':
		*size = sizeof(intmax_t);
		return f + 1;
	case 't':
		*size = sizeof(ptrdiff_t);
		return f + 1;
	default:
		return f;
	}
}

/* What stands between '%' and the conversion's letter. */
static const char *
parse_spec(const char *f, struct spec *s, va_list *ap)
{
	*s = (struct spec){ .precision = -1 };
	f = parse_int(parse_flags(f, s), &s->width, ap);
	if (s->width < 0) {		/* by '*': a flag '-' and a width */
		s->flags |= F_LEFT;
		s->width = -s->width;
	}
	if (*f == '.')
		f = parse_int(f + 1, &s->precision, ap);
	return parse_length(f, &s->size);
}

int
k_vprintf(void (*putc)(int, void *), void *arg, const char *fmt, va_list args)
{
	struct out o = { putc, arg, 0 };
	struct spec s;
	va_list ap;

	va_copy(ap, args);	/* whose address can be handed down */
	for (const char *f = fmt; *f != '\0'; f++) {
		const char *from = f;

		if (*f != '%') {
			put(&o, *f);
			continue;
		}
		f = parse_spec(f + 1, &s, &ap);
		if (convert(&o, &s, *f, &ap))
			continue;
		while (from < f)
			put(&o, *from++);
		if (*f == '\0')
			break;
		put(&o, *f);
	}
	va_end(ap);
	return o.count;
}

struct buffer {
	char	*next;
	size_t	 left;		/* the terminator's byte included */
};

static void
buffer_putc(int c, void *arg)
{
	struct buffer *b = arg;

	if (b->left > 1) {
		*b->next++ = (char)c;
		b->left--;
	}
}

int
k_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct buffer b = { buf, size };
	int n = k_vprintf(buffer_putc, &b, fmt, ap);

	if (size > 0)
		*b.next = '\0';
	return n;
}

int
k_snprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = k_vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}
