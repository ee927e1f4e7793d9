/*
 * Boot options: the words of the kernel's command line.  The loader may have
 * put the kernel's path before them; that is a word like any other.
 */
#include <kern/kern.h>
#include <kern/md.h>

/*
 * Find the word "name" or "name=value", from p on.
 * => the value, "" where there is none, NULL when the word is not there;
 *    it ends with the word (a blank or the end of the line)
 */
static const char *
bootopt_from(const char *p, const char *name)
{
	size_t n = strlen(name);

	for (;;) {
		while (*p == ' ')
			p++;
		if (*p == '\0')
			return NULL;
		if (strncmp(p, name, n) == 0) {
			if (p[n] == '=')
				return p + n + 1;
			if (p[n] == ' ' || p[n] == '\0')
				return p + n;
		}
		while (*p != ' ' && *p != '\0')
			p++;
	}
}

bool
bootopt(const char *name)
{
	return bootopt_from(md_cmdline(), name) != NULL;
}

bool
bootopt_value(const char *name, char *buf, size_t size)
{
	return bootopt_nth(name, 0, buf, size);
}

bool
bootopt_nth(const char *name, unsigned n, char *buf, size_t size)
{
	const char *value = bootopt_from(md_cmdline(), name), *end;

	while (n-- > 0 && value != NULL)
		value = bootopt_from(value, name);
	if (value == NULL || value[-1] != '=' || size == 0)
		return false;
	for (end = value; *end != ' ' && *end != '\0'; end++)
		continue;
	if ((size_t)(end - value) >= size)
		end = value + size - 1;
	memcpy(buf, value, (size_t)(end - value));
	buf[end - value] = '\0';
	return true;
}
