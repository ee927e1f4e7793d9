#!/bin/sh
# session.sh BUILD: README's recorded session is what a person sees.
#
# Addresses and figures change with the compiler and with every line of the
# kernel; the words, the lines and the pictures do not.
set -u
build=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# Figures become N, whatever their width.
blur()
{
	sed -E 's/0x[0-9a-f]+/N/g; s/[0-9]+(\.[0-9]+)*/N/g; s/ +/ /g'
}

session='/^Holm: a kernel/ { on = 1 } /^```/ { on = 0 } on'
awk "$session" README.md | blur >"$dir/readme"
# What was typed there is typed here.
sed -n 's/^db> //p' "$dir/readme" |
    MEM=64 CPU='' conf/run bochs "$build/holm.iso" "$dir/serial" \
    >"$dir/out" 2>&1
tr -d '\r' <"$dir/serial" | awk "$session" | blur >"$dir/said"

if ! grep -q '^db> ' "$dir/said"; then
	echo 'FAILED the session did not come to a prompt'
	tail -n 20 "$dir/out"
elif diff -u "$dir/readme" "$dir/said"; then
	echo "ok README's session: $(wc -l <"$dir/said") lines"
else
	echo "FAILED README's session is not what is seen now"
fi
