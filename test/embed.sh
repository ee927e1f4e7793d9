#!/bin/sh
# embed.sh BUILD: the program in README.md, built by the line that stands
# below it, does what it says; in 64 and in 32 bits.
set -u
build=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

sed -n '/^```c$/,/^```$/p' README.md | sed '/^```/d' >"$dir/prog.c"
line=$(sed -n 's/^    cc \(.* prog\.c .*\)/\1/p' README.md | sed "s,build/,$build/,;
    s,prog\.c,$dir/prog.c,; s,-o prog,-o $dir/prog,")

try()
{
	if [ "$("$@" && "$dir/prog")" = "behind in the hole" ]; then
		echo "ok $1: README's program"
	else
		echo "FAILED $1: README's program"
	fi
}
# shellcheck disable=SC2086
{
try cc -Wall -Wextra -Werror $line
try i686-linux-gnu-gcc -static -Wall -Wextra -Werror \
    $(echo "$line" | sed s/host64/host32/)
}
