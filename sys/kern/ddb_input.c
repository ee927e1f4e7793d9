/*
 * A line of input, with what fingers expect: Backspace, arrows, Home, End,
 * ^A ^E, ^U (all of it), ^K (the rest), ^W (a word), ^C (another line), and
 * arrow up or ^P for lines before.
 *
 * The screen is kept by the rule that after each key the terminal's cursor
 * stands where ours does; all it needs for that is '\b' and printing.
 */
#include <kern/ddb.h>

#define PROMPT		"db> "
#define HISTORY		16	/* lines; a power of two */

#define CTRL(c)		((c) & 0x1f)
#define ESC		0x1b
#define DEL		0x7f

/* Keys that come as ESC [ letter, and ESC [ digit ~. */
enum key { UP = 256, DOWN, RIGHT, LEFT, HOME, END, DELETE, UNKNOWN };

static char history[HISTORY][DDB_LINE];
static unsigned nhistory;		/* lines ever kept */

struct editor {
	char		*e_line;
	unsigned	 e_len;
	unsigned	 e_at;		/* the cursor */
	unsigned	 e_back;	/* lines gone back in history */
};

static int
escape_key(void)
{
	int c = cons_getc();

	if (c != '[' && c != 'O')
		return c;	/* the key Escape, and then another */
	switch (c = cons_getc()) {
	case 'A':
		return UP;
	case 'B':
		return DOWN;
	case 'C':
		return RIGHT;
	case 'D':
		return LEFT;
	case 'H':
		return HOME;
	case 'F':
		return END;
	default:
		if (c < '0' || c > '9' || cons_getc() != '~')
			return UNKNOWN;
		return c == '3' ? DELETE : c == '1' || c == '7' ? HOME :
		    c == '4' || c == '8' ? END : UNKNOWN;
	}
}

static int
getkey(void)
{
	static bool was_cr;
	int c = cons_getc();

	if (c == '\n' && was_cr)	/* "\r\n" is one key */
		c = cons_getc();
	was_cr = c == '\r';
	return c == ESC ? escape_key() : c;
}

static void
move(struct editor *e, unsigned to)
{
	for (; e->e_at > to; e->e_at--)
		cons_putc('\b');
	for (; e->e_at < to; e->e_at++)
		cons_putc(e->e_line[e->e_at]);
}

/* Replace [from, to) by text; the cursor ends behind it. */
static void
replace(struct editor *e, unsigned from, unsigned to, const char *text)
{
	unsigned n = (unsigned)strlen(text), old = e->e_len;
	unsigned len = old - (to - from) + n;

	if (len >= DDB_LINE - sizeof(PROMPT)) {
		cons_putc('\a');
		return;
	}
	move(e, from);
	memmove(e->e_line + from + n, e->e_line + to, old - to);
	memcpy(e->e_line + from, text, n);
	e->e_len = len;
	move(e, len);
	for (unsigned i = len; i < old; i++)
		cons_putc(' ');
	for (unsigned i = len; i < old; i++)
		cons_putc('\b');
	move(e, from + n);
}

/* Go `to` lines back: 1 is the last one, 0 an empty one. */
static void
recall(struct editor *e, unsigned to)
{
	if (to > nhistory || to > HISTORY) {
		cons_putc('\a');
		return;
	}
	e->e_back = to;
	replace(e, 0, e->e_len,
	    to == 0 ? "" : history[(nhistory - to) % HISTORY]);
}

static void
remember(const char *line)
{
	const char *last = history[(nhistory - 1) % HISTORY];

	if (line[0] == '\0' || (nhistory > 0 && strcmp(last, line) == 0))
		return;
	k_strlcpy(history[nhistory++ % HISTORY], line, DDB_LINE);
}

static unsigned
word_begin(const struct editor *e)
{
	unsigned at = e->e_at;

	while (at > 0 && e->e_line[at - 1] == ' ')
		at--;
	while (at > 0 && e->e_line[at - 1] != ' ')
		at--;
	return at;
}

static void
edit_move(struct editor *e, int key)
{
	switch (key) {
	case LEFT:
	case CTRL('b'):
		move(e, e->e_at > 0 ? e->e_at - 1 : 0);
		break;
	case RIGHT:
	case CTRL('f'):
		move(e, e->e_at < e->e_len ? e->e_at + 1 : e->e_len);
		break;
	case HOME:
	case CTRL('a'):
		move(e, 0);
		break;
	case END:
	case CTRL('e'):
		move(e, e->e_len);
		break;
	case UP:
	case CTRL('p'):
		recall(e, e->e_back + 1);
		break;
	case DOWN:
	case CTRL('n'):
		recall(e, e->e_back > 0 ? e->e_back - 1 : 0);
		break;
	default:
		break;
	}
}

static void
edit(struct editor *e, int key)
{
	char text[2] = { (char)key, '\0' };

	switch (key) {
	case '\b':
	case DEL:
		replace(e, e->e_at > 0 ? e->e_at - 1 : 0, e->e_at, "");
		break;
	case DELETE:
	case CTRL('d'):
		if (e->e_at < e->e_len)
			replace(e, e->e_at, e->e_at + 1, "");
		break;
	case CTRL('u'):
		replace(e, 0, e->e_at, "");
		break;
	case CTRL('k'):
		replace(e, e->e_at, e->e_len, "");
		break;
	case CTRL('w'):
		replace(e, word_begin(e), e->e_at, "");
		break;
	default:
		if (key >= ' ' && key < DEL)
			replace(e, e->e_at, e->e_at, text);
		else
			edit_move(e, key);
	}
}

void
ddb_readline(char line[DDB_LINE])
{
	struct editor e = { .e_line = line };
	int key;

	printf(PROMPT);
	while ((key = getkey()) != '\r' && key != '\n') {
		if (key == CTRL('c')) {
			printf("^C\n" PROMPT);
			e = (struct editor){ .e_line = line };
			continue;
		}
		edit(&e, key);
	}
	move(&e, e.e_len);
	line[e.e_len] = '\0';
	printf("\n");
	remember(line);
}
