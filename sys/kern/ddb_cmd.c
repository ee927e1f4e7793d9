/*
 * The debugger's commands: the table, and finding one in it.
 */
#include <kern/ddb.h>
#include <kern/locks.h>
#include <kern/md.h>

static void	cmd_continue(const struct ddb_args *);
static void	cmd_churn(const struct ddb_args *);
static void	cmd_halt(const struct ddb_args *);
static void	cmd_help(const struct ddb_args *);
static void	cmd_reboot(const struct ddb_args *);
static void	cmd_regs(const struct ddb_args *);
static void	cmd_slabs(const struct ddb_args *);
static void	cmd_test(const struct ddb_args *);
static void	cmd_trace(const struct ddb_args *);

static const struct ddb_command commands[] = {
	{ "bench", "", "what kmem_alloc and kmem_free cost, by layer",
	    0, 0, ddb_bench, true },
	{ "churn", "N [SEED]", "N random allocations and frees; 0: free all",
	    1, 2, cmd_churn, true },
	{ "continue", "", "go on where the kernel stopped",
	    0, 0, cmd_continue, false },
	{ "explain", "PAGES [ALIGN]", "would so many fit the slab window",
	    1, 2, ddb_explain, false },
	{ "halt", "", "end the machine", 0, 0, cmd_halt, false },
	{ "help", "", "this list", 0, 0, cmd_help, false },
	{ "reboot", "", "start the machine anew", 0, 0, cmd_reboot, false },
	{ "regs", "", "the registers where the kernel stopped",
	    0, 0, cmd_regs, false },
	{ "show", "WHAT", "look at one of those below", 1, 1, NULL, false },
	{ "slabs", "", "the slab question, asked and answered",
	    0, 0, cmd_slabs, true },
	{ "test", "", "the kernel's self-tests", 0, 0, cmd_test, true },
	{ "trace", "", "the stack", 0, 0, cmd_trace, false },
	{ "whatis", "ADDR", "what is there, and who allocated it",
	    1, 1, ddb_whatis, false },
	{ "x", "[/NF] [ADDR [COUNT]]", "memory; F: b h l (size) x d u c s a",
	    0, 2, ddb_x, false },
};

static const struct ddb_command show_commands[] = {
	{ "show leaks", "", "objects that nothing points to (kmem=check)",
	    0, 0, ddb_show_leaks, false },
	{ "show malloc", "", "the heap, by type",
	    0, 0, ddb_show_malloc, false },
	{ "show map", "[ADDR [LINES]]", "kernel_map: regions and holes",
	    0, 2, ddb_show_map, false },
	{ "show page", "[ADDR]", "frames by zone and owner; the one of ADDR",
	    0, 1, ddb_show_page, false },
	{ "show range", "", "ranges freed and kept, by window and size",
	    0, 0, ddb_show_range, false },
	{ "show slab", "[all|NAME]", "the caches; all: those never used, too",
	    0, 1, ddb_show_slab, false },
};

static bool leave;		/* `continue` was typed */

/*
 * Find what begins with word, behind the first skip characters of the names.
 * => NULL, having said why: nothing, or more than one and none exactly
 */
static const struct ddb_command *
find(const struct ddb_command *tab, size_t n, size_t skip, const char *word)
{
	const struct ddb_command *found = NULL;
	size_t len = strlen(word);
	unsigned matches = 0;

	for (size_t i = 0; i < n; i++) {
		const char *name = tab[i].dc_name + skip;

		if (strncmp(name, word, len) != 0)
			continue;
		found = &tab[i];
		if (name[len] == '\0')
			return found;
		matches++;
	}
	if (matches == 1)
		return found;
	if (matches == 0) {
		printf("%.*s%s: no such command; `help` lists them\n",
		    (int)skip, tab[0].dc_name, word);
		return NULL;
	}
	printf("which one?");
	for (size_t i = 0; i < n; i++)
		if (strncmp(tab[i].dc_name + skip, word, len) == 0)
			printf(" `%s`", tab[i].dc_name);
	printf("\n");
	return NULL;
}

static void
help_table(const struct ddb_command *tab, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int len = printf("  %s %s", tab[i].dc_name, tab[i].dc_args);

		printf("%*s%s\n", len < 26 ? 26 - len : 1, "",
		    tab[i].dc_help);
	}
}

static void
cmd_help(const struct ddb_args *da)
{
	help_table(commands, nitems(commands));
	help_table(show_commands, nitems(show_commands));
	printf("A command's beginning will do.  ADDR: 0x hex, decimal, "
	    "symbol, symbol+N, or\n`.`, where the last `x` ended.\n");
}

static void
cmd_continue(const struct ddb_args *da)
{
	if (panicstr != NULL)
		printf("there is no way on after a panic; `reboot`, `halt`\n");
	else
		leave = true;
}

static void
cmd_churn(const struct ddb_args *da)
{
	uint64_t n, seed = 1;

	if (!ddb_number(da->da_argv[0], 10000000, &n) || (da->da_argc > 1 &&
	    !ddb_number(da->da_argv[1], UINT64_MAX, &seed)))
		return;
	slabs_churn((unsigned)n, seed, true);
}

static void
cmd_halt(const struct ddb_args *da)
{
	printf("halted\n");
	md_halt(0);
}

static void
cmd_reboot(const struct ddb_args *da)
{
	printf("rebooting\n");
	md_reboot();
}

static void
cmd_regs(const struct ddb_args *da)
{
	if (da->da_frame == NULL)
		printf("no trap brought us here: there are none to show\n");
	else
		md_print_frame(da->da_frame);
}

static void
cmd_slabs(const struct ddb_args *da)
{
	slabs_demo(true);
}

static void
cmd_test(const struct ddb_args *da)
{
	selftest_run();
}

static void
cmd_trace(const struct ddb_args *da)
{
	backtrace(da->da_frame);
}

/* The next word of *p, ended there; NULL: none. */
static char *
next_word(char **p)
{
	char *word;

	while (**p == ' ' || **p == '\t')
		++*p;
	if (**p == '\0')
		return NULL;
	word = *p;
	while (**p != ' ' && **p != '\t' && **p != '\0')
		++*p;
	if (**p != '\0')
		*(*p)++ = '\0';
	return word;
}

struct call {
	const struct ddb_command *c_cmd;
	struct ddb_args	 c_args;
};

static void
call(void *arg)
{
	const struct call *c = arg;

	c->c_cmd->dc_fn(&c->c_args);
}

static void
run(struct call *c)
{
	const struct ddb_command *dc = c->c_cmd;
	char msg[160];
	bool was;

	if (c->c_args.da_argc < dc->dc_min || c->c_args.da_argc > dc->dc_max) {
		printf("usage: %s%s%s\n", dc->dc_name,
		    dc->dc_args[0] != '\0' ? " " : "", dc->dc_args);
		return;
	}
	if (c->c_args.da_format[0] != '\0' && dc->dc_fn != ddb_x) {
		printf("%s: takes no /format\n", dc->dc_name);
		return;
	}
	was = locks_bypass(!dc->dc_strict);
	if (panic_catch(call, c, msg, sizeof(msg)))
		printf("\n%s: stopped: %s\n", dc->dc_name, msg);
	locks_bypass(was);
}

/* The command of a line, whose words up to it are consumed from *line. */
static const struct ddb_command *
command(char **line, const char **format)
{
	const struct ddb_command *dc;
	char *word = next_word(line), *slash;

	if (word == NULL)
		return NULL;
	if ((slash = strchr(word, '/')) != NULL) {
		*slash = '\0';
		*format = slash + 1;
	}
	dc = find(commands, nitems(commands), 0, word);
	if (dc == NULL || dc->dc_fn != NULL)
		return dc;
	word = next_word(line);
	return find(show_commands, nitems(show_commands), strlen("show "),
	    word == NULL ? "" : word);
}

bool
ddb_command(char *line, const struct trapframe *tf)
{
	struct call c = { NULL, { .da_frame = tf, .da_format = "" } };
	char *word;

	c.c_cmd = command(&line, &c.c_args.da_format);
	if (c.c_cmd == NULL)
		return false;
	while ((word = next_word(&line)) != NULL) {
		if (c.c_args.da_argc == DDB_MAXARGS) {
			printf("%s: too many arguments\n", c.c_cmd->dc_name);
			return false;
		}
		c.c_args.da_argv[c.c_args.da_argc++] = word;
	}
	leave = false;
	run(&c);
	return leave;
}
