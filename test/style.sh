#!/bin/sh
# style.sh BUILD: what a script can see of the style.
set -u
export LC_ALL=C
out=$(mktemp)
trap 'rm -f "$out"' EXIT
sources=$(git ls-files -- 'sys/*.[ch]' 'test/*.[ch]' 2>/dev/null ||
    find sys test -name '*.[ch]')

# shellcheck disable=SC2086
check()
{
	if [ -s "$out" ]; then
		echo "FAILED $1"
		head -n 20 "$out" | sed 's/^/    /'
	else
		echo "ok $1"
	fi
}

# shellcheck disable=SC2086
for f in $sources; do
	expand "$f" | awk -v f="$f" '
	    { s = $0; gsub(/[\200-\277]/, "", s) }
	    length(s) > 80 { print f ":" NR ": " length(s) " columns" }'
done >"$out"
check 'at most 80 columns'

# shellcheck disable=SC2086
grep -nE '[ 	]+$' $sources >"$out"
check 'no blanks at the end of a line'

# shellcheck disable=SC2086
grep -nE '^ {8}' $sources >"$out"
check 'tabs indent'

# shellcheck disable=SC2086
grep -nE '\b(TODO|FIXME|XXX|HACK)\b' $sources >"$out"
check 'nothing is left to do'

# A function of the kernel's fits a screen: 60 lines between its braces.
# shellcheck disable=SC2046
awk 'FNR == 1 { start = 0 }
    /^\{$/ { start = FNR }
    /^\}$/ && start { if (FNR - start + 1 > 62)
	print FILENAME ":" start ": " FNR - start + 1 " lines"; start = 0 }' \
    $(echo "$sources" | grep ^sys/) >"$out"
check 'functions of at most 60 lines'

# Options choose files, or macros in a header: no #if within a function.
# shellcheck disable=SC2086
awk 'FNR == 1 { inside = 0 }
    /^\{$/ { inside = 1 } /^\}/ { inside = 0 }
    inside && /^#[ \t]*(if|el|end)/ { print FILENAME ":" FNR ": " $0 }' \
    $sources >"$out"
check 'no #if inside of a function'

# shellcheck disable=SC2086
awk 'FNR == 1 { n = 0 }
    /^#[ \t]*define/ { n = 0; at = FNR }
    { if (at && /\\$/) n++; else { if (at && n > 6)
	print FILENAME ":" at ": a macro of " n " lines"; at = 0; n = 0 } }' \
    $sources >"$out"
check 'macros of at most 5 lines'
