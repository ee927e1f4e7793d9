#!/bin/sh
# cpu486.sh BUILD: the kernel runs on a 486: no instruction of a later one,
# and none of the floating-point unit, whose state nobody saves.
#
# cpuid, rdmsr and rdtsc are left out: the kernel asks before it uses them.
set -u
build=$1
later='cmov|fu?comip?|nop[wl]|cmpxchg8b|sysenter|[sml]fence|prefetch|%[xyz]?mm|%st|endbr'

found=$(i686-linux-gnu-objdump -d --no-show-raw-insn "$build/holm.elf" |
    grep -E "^[0-9a-f]+:.*[ 	,]($later)")
lines=$(i686-linux-gnu-objdump -d "$build/holm.elf" | wc -l)
if [ "$lines" -lt 1000 ]; then
	echo "FAILED the disassembly has $lines lines"
elif [ -n "$found" ]; then
	echo 'FAILED instructions that a 486 has not:'
	echo "$found" | head -n 20
else
	echo "ok $lines lines of disassembly"
fi

# That the search finds one: the same compiler, told of a later processor.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
echo 'int f(int a, int b); int f(int a, int b) { return a < b ? a : b; }' |
    i686-linux-gnu-gcc -O2 -march=i686 -c -x c - -o "$tmp/cmov.o"
if i686-linux-gnu-objdump -d --no-show-raw-insn "$tmp/cmov.o" |
    grep -qE "[ 	,]($later)"; then
	echo 'ok a cmov would be seen'
else
	echo 'FAILED a cmov is not seen'
fi
