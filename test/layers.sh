#!/bin/sh
# layers.sh BUILD: who may include whom, and call whom.
#
#	sys/libkern	itself
#	sys/vm		+ libkern, <machine/vmparam.h>, vmcpu.h, kextract.h
#	sys/kern	+ vm's public headers
#	sys/i386	any public header
#
# A header foo_impl.h is its own directory's; the kernel's debugger and
# self-tests may look into it too.
set -u
build=$1
std='<(limits|stdarg|stdbool|stddef|stdint)\.h>'
bad=$(mktemp -d)
trap 'rm -rf "$bad"' EXIT

# Print each #include in directory $1/sys/$2 that does not match $3.
strays()
{
	grep -rHnE '^[ 	]*#[ 	]*include' "$1/sys/$2" --include='*.[chS]' |
	    grep -vE "include[ 	]+($std|$3)"
}

# Print all that is wrong in the tree $1.
arrows()
{
	strays "$1" libkern '<libkern/'
	strays "$1" vm '<(libkern|vm)/|<machine/(vmparam|vmcpu|kextract)\.h>|"[a-z_0-9]+\.h"'
	strays "$1" kern '<(libkern|kern)/|<vm/[a-z_0-9]+\.h>|"[a-z_0-9]+\.h"'
	strays "$1" i386 '<(libkern|vm|kern|machine|i386)/|"[a-z_0-9]+\.h"'
	grep -rHnE 'include.*<(vm|kern|libkern)/[a-z_0-9]+_impl\.h>' "$1/sys" |
	    grep -vE '/sys/vm/[a-z_0-9]+\.[ch]:.*<vm/' |
	    grep -vE '/sys/kern/(ddb|selftest)[a-z_0-9]*\.c:'
}

verdict()
{
	if [ -s "$1" ]; then
		echo "FAILED $2"
		sed 's/^/    /' "$1"
	else
		echo "ok $2"
	fi
}

arrows . >"$bad/out"
verdict "$bad/out" 'includes go downwards'

# The same on a tree where each arrow is broken once.
plant()
{
	mkdir -p "$bad/tree/sys/libkern" "$bad/tree/sys/vm" \
	    "$bad/tree/sys/kern" "$bad/tree/sys/i386"
	echo "#include <$2>" >"$bad/tree/sys/$1"
	if [ "$(arrows "$bad/tree" | grep -c "$1")" -ge 1 ]; then
		echo "ok $1 with <$2> is seen"
	else
		echo "FAILED $1 with <$2> is not seen"
	fi
}
plant libkern/a.c vm/vm.h
plant vm/b.c kern/kern.h
plant vm/c.c machine/cpufunc.h
plant vm/d.c stdio.h
plant kern/e.c machine/pte.h
plant kern/f.c vm/vm_map_impl.h
plant i386/g.c vm/vm_map_impl.h
plant i386/h.c string.h

# What sys/vm calls is its own, libkern's, or in the two headers that an
# embedder answers (and libgcc's, which the compiler
# calls for 64-bit arithmetic).
objects=$(sed 's/[ 	]*#.*//' conf/files |
    grep -E '^sys/(vm|libkern)/' | sed "s|.*|$build/kern/&.o|")
# shellcheck disable=SC2086
{
	i686-linux-gnu-nm -g --defined-only $objects | awk 'NF == 3 { print $3 }'
	grep -ohE '[a-z_0-9]+\(|kernel_pmap' sys/vm/pmap.h sys/vm/vm_host.h |
	    tr -d '('
	i686-linux-gnu-nm -g --defined-only \
	    "$(i686-linux-gnu-gcc -print-libgcc-file-name)" 2>/dev/null |
	    awk 'NF == 3 && $3 ~ /^__/ { print $3 }'
} | sort -u >"$bad/known"
# shellcheck disable=SC2086
i686-linux-gnu-nm -u $objects | awk '$1 == "U" { print $2 }' | sort -u |
    comm -23 - "$bad/known" >"$bad/out"
verdict "$bad/out" 'sys/vm calls nothing but pmap.h and vm_host.h'

# Globals that others can see: at most 8 in all of sys/vm.
# shellcheck disable=SC2046
i686-linux-gnu-nm -g --defined-only $(echo "$objects" | grep sys/vm/) |
    awk '$2 ~ /[BDRC]/ { print $3 }' >"$bad/globals"
if [ "$(wc -l <"$bad/globals")" -gt 8 ]; then
	cp "$bad/globals" "$bad/out"
else
	: >"$bad/out"
fi
verdict "$bad/out" "sys/vm has $(wc -l <"$bad/globals") globals, 8 at most"
