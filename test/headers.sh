#!/bin/sh
# headers.sh BUILD: every header compiles alone, and twice over.
set -u
warn='-std=gnu11 -Wall -Wextra -Wundef -Wstrict-prototypes -Werror'

# try HEADER COMPILER...: HEADER is as one writes it behind #include.
try()
{
	header=$1
	shift
	if printf '#include %s\n#include %s\nint none;\n' "$header" "$header" |
	    "$@" -fsyntax-only -x c -; then
		echo "ok $header: $1"
	else
		echo "FAILED $header: $1"
	fi
}

for h in $(cd sys && find libkern vm kern i386 -name '*.h' | sort); do
	case $h in
	i386/include/*)	h=${h#i386/include/} ;;
	esac
	# shellcheck disable=SC2086
	try "<$h>" i686-linux-gnu-gcc $warn -ffreestanding -march=i486 \
	    -Isys -Isys/i386/include
	case $h in
	libkern/*|vm/*)
		# shellcheck disable=SC2086
		try "<$h>" gcc $warn -Isys -Itest/host/include
		;;
	esac
done
# shellcheck disable=SC2086
try '"host.h"' gcc $warn -Isys -Itest/host/include -Itest/host
