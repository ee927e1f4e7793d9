#!/bin/sh
# plant.sh BUILD: the host tests find what is planted.
#
# The linker puts a broken function of test/plant/ in the place of a right one
# (--wrap); the tests that look after it then have to fail.
set -u
build=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
objects=$build/host64

# plant FUNCTION TEST: TEST with a broken FUNCTION.
plant()
{
	if ! gcc -Isys -Itest/host/include -Wl,--wrap="$1" -o "$tmp/test" \
	    "test/plant/$1.c" "$objects/test/$2.c.o" "$objects/test.a" \
	    "$objects/libvm.a" -lcheck -lsubunit -lm -lrt -lpthread; then
		echo "FAILED $1 could not be planted in $2"
	elif timeout 100 "$tmp/test" >"$tmp/out" 2>&1; then
		echo "FAILED $2 does not see a broken $1"
	else
		echo "ok $2 sees a broken $1"
	fi
}

plant rb_link_fixup test_vm_map
plant vm_phys_free_many test_kmem_cache
plant vm_phys_free_many test_kmalloc
plant pmap_kremove test_kmalloc
