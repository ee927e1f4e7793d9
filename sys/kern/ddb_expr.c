/*
 * What a person may write where a number or an address is wanted.
 *
 *	expression = term { ("+" | "-") term }
 *	term       = 0x hex | decimal | symbol | "."
 *
 * No octal: 010 is ten to whoever types it.
 */
#include <kern/ddb.h>

static vaddr_t dot;

void
ddb_set_dot(vaddr_t va)
{
	dot = va;
}

vaddr_t
ddb_dot(void)
{
	return dot;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    c == '_' || c == '.' || c == '$' || is_digit(c);
}

/* A number at *p, which is moved behind it; an error tells of all of s. */
static bool
number(const char *s, const char **p, uint64_t max, uint64_t *v)
{
	bool hex = (*p)[0] == '0' && ((*p)[1] == 'x' || (*p)[1] == 'X');
	const char *end;

	if (!k_strtoull(*p, &end, hex ? 16 : 10, v) || *v > max) {
		printf("%s: too large\n", s);
		return false;
	}
	if (end == *p || is_name(*end)) {
		printf("%s: not a number\n", s);
		return false;
	}
	*p = end;
	return true;
}

bool
ddb_number(const char *s, uint64_t max, uint64_t *v)
{
	const char *p = s;
	uint64_t n;

	if (!number(s, &p, max, &n))
		return false;
	if (*p != '\0') {
		printf("%s: not a number\n", s);
		return false;
	}
	*v = n;
	return true;
}

static bool
symbol(const char **p, vaddr_t *v)
{
	char name[DDB_LINE];
	size_t n = 0;

	while (is_name((*p)[n]) && n < sizeof(name) - 1) {
		name[n] = (*p)[n];
		n++;
	}
	name[n] = '\0';
	*p += n;
	if (strcmp(name, ".") == 0)
		*v = dot;
	else if (!ksym_value(name, v)) {
		printf("%s: no such symbol\n", name);
		return false;
	}
	return true;
}

static bool
term(const char *s, const char **p, vaddr_t *v)
{
	uint64_t n;

	if (is_digit(**p)) {
		if (!number(s, p, (vaddr_t)-1, &n))
			return false;
		*v = (vaddr_t)n;
		return true;
	}
	if (is_name(**p))
		return symbol(p, v);
	printf("%s: a number or a symbol is missing\n", s);
	return false;
}

bool
ddb_addr(const char *s, vaddr_t *va)
{
	const char *p = s;
	vaddr_t sum, v;

	if (!term(s, &p, &sum))
		return false;
	while (*p != '\0') {
		char op = *p++;

		if (op != '+' && op != '-') {
			printf("%s: '%c' makes no sense here\n", s, op);
			return false;
		}
		if (!term(s, &p, &v))
			return false;
		sum = op == '+' ? sum + v : sum - v;
	}
	*va = sum;
	return true;
}
