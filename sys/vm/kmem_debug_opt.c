/*
 * Which caches watch for what: the rules that boot options make.
 *
 * A rule is one option's value.  A cache asks once, when it is created: it
 * begins with what kmem_debug_set gave for all, and takes the rules in the
 * order in which they came.
 */
#include <vm/kmem_debug_impl.h>

#define RULES	16u	/* more options than fit a command line */
#define NAME	32u	/* of a cache; a longer one has its begin compared */

static const struct mode {
	const char	*m_word;
	unsigned	 m_kmd;
} modes[] = {
	/* Whoever has to know what an object is wants its tag: KMD_CHECK. */
	{ "check", KMD_CHECK },
	{ "redzone", KMD_CHECK | KMD_REDZONE },
	{ "poison", KMD_CHECK | KMD_POISON },
	{ "audit", KMD_CHECK | KMD_AUDIT },
	{ "guard", KMD_CHECK | KMD_GUARD },
	{ "sample", KMD_SAMPLE },
	{ "all", KMD_ALL },
	{ "off", 0 },
};

static struct {
	unsigned	 base;
	unsigned	 nrules;
	struct rule {
		char	 ru_name[NAME];		/* "": all */
		unsigned ru_keep;		/* modes of before that stay */
		unsigned ru_kmd;		/* and that come */
	} rule[RULES];
} opt = { .base = KMD_CHECK };

void
kmem_debug_set(unsigned kmd)
{
	memset(&opt, 0, sizeof(opt));
	opt.base = kmd;
}

unsigned
kmem_debug_get(void)
{
	return opt.base;
}

/* Does the name match what the option says? */
static bool
matches(const char *want, const char *name)
{
	size_t i;

	if (want[0] == '\0')
		return true;
	for (i = 0; want[i] != '\0'; i++) {
		if (want[i] == '*' && want[i + 1] == '\0')
			return true;
		if (want[i] != name[i] && !(want[i] == '_' && name[i] == ' '))
			return false;
	}
	return name[i] == '\0' || i == NAME - 1;
}

unsigned
kmem_debug_modes(const char *name)
{
	unsigned i, kmd = opt.base;

	for (i = 0; i < opt.nrules; i++)
		if (matches(opt.rule[i].ru_name, name))
			kmd = (kmd & opt.rule[i].ru_keep) | opt.rule[i].ru_kmd;
	return kmd;
}

/* "sample/64": every 64th time.  => false: no number of at least 1 */
static bool
sample_every(const char *s, size_t len)
{
	const char *end;
	uint64_t n;

	/* What does not fit is UINT64_MAX. */
	k_strtoull(s, &end, 10, &n);
	if (end != s + len || n == 0 || n > UINT32_MAX)
		return false;
	kmem_guard_every((uint32_t)n);
	return true;
}

/* One word of len characters into the rule.  => false: there is none such */
static bool
add_word(struct rule *ru, const char *s, size_t len)
{
	static const char sample[] = "sample/";
	const size_t n = sizeof(sample) - 1;
	unsigned i;

	if (len > n && strncmp(s, sample, n) == 0) {
		if (!sample_every(s + n, len - n))
			return false;
		ru->ru_kmd |= KMD_SAMPLE;
		return true;
	}
	for (i = 0; i < nitems(modes); i++) {
		if (strlen(modes[i].m_word) != len ||
		    strncmp(s, modes[i].m_word, len) != 0)
			continue;
		if (modes[i].m_kmd == 0)
			ru->ru_keep = ru->ru_kmd = 0;
		ru->ru_kmd |= modes[i].m_kmd;
		return true;
	}
	return false;
}

/* The words up to the name, or the end.  => false: one was not understood */
static bool
parse(struct rule *ru, const char *value)
{
	const char *s = value;
	bool good = true;
	size_t len;

	for (;; s += len + 1) {
		for (len = 0; s[len] != ',' && s[len] != ':' &&
		    s[len] != '\0'; len++)
			continue;
		if (!add_word(ru, s, len)) {
			vm_host_log("kmem=%s: `%.*s` is none of check redzone "
			    "poison audit guard sample sample/N all off",
			    value, (int)len, s);
			good = false;
		}
		if (s[len] != ',')
			break;
	}
	if (s[len] == ':')
		k_strlcpy(ru->ru_name, s + len + 1, NAME);
	return good;
}

/* Of two equal rules the later one has the last word: drop the other. */
static void
drop_equal(const struct rule *ru)
{
	unsigned i;

	for (i = 0; i < opt.nrules; i++)
		if (memcmp(&opt.rule[i], ru, sizeof(*ru)) == 0)
			break;
	if (i == opt.nrules)
		return;
	for (opt.nrules--; i < opt.nrules; i++)
		opt.rule[i] = opt.rule[i + 1];
}

bool
kmem_debug_option(const char *value)
{
	struct rule ru;
	bool good;

	memset(&ru, 0, sizeof(ru));	/* all of the name: it is compared */
	ru.ru_keep = ~0u;
	good = parse(&ru, value);
	drop_equal(&ru);
	if (opt.nrules == RULES) {
		vm_host_log("kmem=%s: the %u options before are all that fit",
		    value, RULES);
		return false;
	}
	opt.rule[opt.nrules++] = ru;
	return good;
}

const char *
kmem_debug_names(char buf[KMD_NAMES], unsigned kmd)
{
	static const char *const name[] = { "check", "redzone", "poison",
	    "audit", "guard", "sample" };
	size_t n = 0;
	unsigned i;

	buf[0] = '\0';
	for (i = 0; i < nitems(name); i++)
		if (kmd >> i & 1)
			n += (size_t)k_snprintf(buf + n, KMD_NAMES - n, "%s%s",
			    n > 0 ? "," : "", name[i]);
	return n > 0 ? buf : "nothing";
}
