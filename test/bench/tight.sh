#!/bin/sh
# tight.sh: how many tight holes should an aligned request try?  Builds the
# tracker with several values of TIGHT_TRIES and runs bench_tight with each.
set -eu
cd "$(dirname "$0")/../.."
make --no-print-directory libvm >/dev/null
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for tries in 0 1 2 3 4 6 8 16 32; do
	${CC:-cc} -O2 -std=gnu11 -DTIGHT_TRIES=$tries -Isys -Itest/host \
	    -Itest/host/include test/bench/bench_tight.c \
	    sys/vm/vm_map_space.c build/host64/libvm.a -o "$dir/tight"
	"$dir/tight" $tries
done
