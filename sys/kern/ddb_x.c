/*
 * x: memory, as bytes, words, characters, or symbols.
 *
 *	x [/[N][b|h|l][x|d|u|c|s|a]] [ADDR [COUNT]]
 *
 * N and COUNT are the same thing, units to show; the sizes are 1, 2 and 4
 * bytes.  Without an address it goes on behind what it showed last.
 */
#include <kern/ddb.h>
#include <kern/md.h>

#define PER_LINE	16		/* bytes */
#define MAXCOUNT	4096

struct format {
	uint64_t f_count;	/* 0: as many as fill four lines */
	unsigned f_size;	/* bytes of a unit */
	char	 f_style;
};

static bool
parse_format(const char *s, struct format *f)
{
	f->f_count = 0;
	f->f_size = sizeof(uint32_t);
	f->f_style = 'x';
	for (; *s >= '0' && *s <= '9'; s++)
		if (f->f_count <= MAXCOUNT)
			f->f_count = f->f_count * 10 + (unsigned)(*s - '0');
	for (; *s != '\0'; s++) {
		if (*s == 'b')
			f->f_size = 1;
		else if (*s == 'h')
			f->f_size = 2;
		else if (*s == 'l')
			f->f_size = 4;
		else if (strchr("xducsa", *s) != NULL)
			f->f_style = *s;
		else {
			printf("x/%c: not one of b h l (size), x d u c s a "
			    "(style)\n", *s);
			return false;
		}
	}
	if (f->f_style == 'c' || f->f_style == 's')
		f->f_size = 1;
	if (f->f_style == 'a')
		f->f_size = sizeof(uint32_t);
	return true;
}

static char
printable(unsigned char c)
{
	return c >= ' ' && c < 0x7f ? (char)c : '.';
}

static uint32_t
unit(const unsigned char *p, unsigned size)
{
	uint32_t v = 0;

	memcpy(&v, p, size);	/* little-endian */
	return v;
}

static int32_t
sign_extend(uint32_t v, unsigned size)
{
	unsigned shift = 32 - 8 * size;

	return (int32_t)(v << shift) >> shift;
}

static int
print_unit(uint32_t v, const struct format *f)
{
	static const int width[] = { 0, 4, 6, 0, 11 };	/* of -128, -32768.. */

	switch (f->f_style) {
	case 'd':
		return printf(" %*d", width[f->f_size],
		    sign_extend(v, f->f_size));
	case 'u':
		return printf(" %*u", width[f->f_size] - 1, v);
	case 'c':
		return printf(" %c", printable((unsigned char)v));
	default:
		return printf(" %0*x", (int)f->f_size * 2, v);
	}
}

/*
 * A heading wherever another symbol than the last begins to be the nearest.
 * => the name of the one that is
 */
static const char *
print_symbol(vaddr_t va, const char *last)
{
	vaddr_t off;
	const char *name = ksym_find(va, &off);

	if (name != NULL && name != last)
		printf(off == 0 ? "%s:\n" : "%s+0x%lx:\n", name, off);
	return name;
}

/* Up to PER_LINE bytes at va, n of them; false when none could be read. */
static bool
print_line(vaddr_t va, unsigned n, const struct format *f)
{
	unsigned char buf[PER_LINE];
	unsigned got = 0;
	int col;

	while (got < n && md_read(va + got, buf + got, f->f_size))
		got += f->f_size;
	if (got == 0)
		return false;
	col = printf("0x%08lx ", va);
	for (unsigned i = 0; i < got; i += f->f_size)
		col += print_unit(unit(buf + i, f->f_size), f);
	if (f->f_style == 'x') {
		printf("%*s", col < 60 ? 60 - col : 1, "");
		for (unsigned i = 0; i < got; i++)
			cons_putc(printable(buf[i]));
	}
	printf("\n");
	ddb_set_dot(va + got);
	return got == n;
}

static bool
print_pointer(vaddr_t va)
{
	uint32_t v;
	vaddr_t off;
	const char *name;

	if (!md_read(va, &v, sizeof(v)))
		return false;
	name = ksym_find(v, &off);
	if (name != NULL)
		printf("0x%08lx  0x%08x  %s+0x%lx\n", va, v, name, off);
	else
		printf("0x%08lx  0x%08x\n", va, v);
	ddb_set_dot(va + sizeof(v));
	return true;
}

static bool
print_string(vaddr_t va)
{
	unsigned char c;
	unsigned n = 0;

	if (!md_read(va, &c, 1))
		return false;
	printf("0x%08lx  \"", va);
	for (; n < MAXCOUNT && md_read(va + n, &c, 1) && c != '\0'; n++)
		cons_putc(printable(c));
	printf(n < MAXCOUNT ? "\"\n" : "\"...\n");
	ddb_set_dot(va + n + 1);
	return true;
}

static void
examine(vaddr_t va, const struct format *f)
{
	unsigned left = (unsigned)f->f_count;
	const char *name = NULL;

	ddb_set_dot(va);
	while (left > 0) {
		unsigned n = 1;
		bool ok;

		va = ddb_dot();
		if (f->f_style == 's')
			ok = print_string(va);
		else if (f->f_style == 'a')
			ok = print_pointer(va);
		else {
			n = PER_LINE / f->f_size;
			n = left < n ? left : n;
			name = print_symbol(va, name);
			ok = print_line(va, n * f->f_size, f);
		}
		if (!ok) {
			printf("0x%08lx  cannot be read\n", ddb_dot());
			return;
		}
		left -= n;
	}
}

void
ddb_x(const struct ddb_args *da)
{
	struct format f;
	vaddr_t va = ddb_dot();

	if (!parse_format(da->da_format, &f))
		return;
	if (da->da_argc > 0 && !ddb_addr(da->da_argv[0], &va))
		return;
	if (da->da_argc > 1 && !ddb_number(da->da_argv[1], MAXCOUNT,
	    &f.f_count))
		return;
	if (f.f_count > MAXCOUNT) {
		printf("x: at most %u at a time\n", MAXCOUNT);
		return;
	}
	if (f.f_count == 0)
		f.f_count = f.f_style == 's' ? 1 :
		    f.f_style == 'a' ? 8 : 4 * PER_LINE / f.f_size;
	examine(va, &f);
}
