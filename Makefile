# Holm.  conf/files lists what the kernel is made of, conf/packages what this
# needs of Debian.  Everything made lies in build/.
#
#? make run		boot in Bochs; this terminal gets the prompt (db> )
#? make run EMU=qemu	the same in QEMU
#? make run DISPLAY_LIB=x	the same with Bochs's window, where DISPLAY is set
#? make test		all tests; the last line is "N passed, N failed"
#? make			build/holm.elf and build/holm.iso
#? make gdb		QEMU stopped at reset, gdb attached (GDBFLAGS=...)
#? make bochs-debug	Bochs's own debugger, with Holm's symbols
#? make soak		10^8 random operations on vm_maps (N, SEED), 64 and 32 bits
#? make fuzz		libFuzzer, FUZZ_SECONDS for each fuzzer
#? make coverage	branches of the memory code that the tests reach (GROUP, JOBS)
#? make matrix		boot all sizes of memory on all processors (PATTERN)
#? make bench-phys	vm_phys beside a flat bitmap
#? make bench-map	the tracker's speed beside Linux's drm_mm (QUICK=1)
#? make bench-slab	slab and heap beside five other allocators (QUICK=1)
#? make bench-debug	what watching for mistakes costs (kmem=), in instructions
#? make mutate		tests against the memory code with each of its jumps
#?			broken in turn (GROUP, SAMPLE, JOBS, AGAIN)
#? make libvm		build/host64/libvm.a and build/host32/libvm.a, for a
#?			program of your own (test/host/host.h)
#? make setup		install the Debian packages of conf/packages
#? make clean		remove build/
#?
#? Variables: MEM=64 (megabytes), CPU=core2_penryn_t9600 (Bochs) or max (QEMU),
#? CMDLINE="..." (the kernel's: selftest halt kmem=all ..., sys/vm/kmem_debug.9),
#? V=1 (show commands),
#? OPTIONS=-D... (to the compiler, after make clean).
#? N=100000000, SEED=1, FUZZ_SECONDS=600, SAMPLE=1 (every n-th jump), JOBS=n
#? (at a time; as CPUs), GROUP="phys pmap" (of test/mutate's table; all of it),
#? AGAIN=1 (not what was killed the last time, where the code is the same).
#? run, test, fuzz, gdb, bochs-debug install missing packages by themselves.

export MEM = 64
export CPU =
export DISPLAY_LIB = rfb
export GDBFLAGS N SEED FUZZ_SECONDS SAMPLE GROUP JOBS AGAIN
EMU	= bochs
CMDLINE	=
OPTIONS	=

B	= build
CROSS	= i686-linux-gnu-
KCC	= $(CROSS)gcc
HOSTCC	= gcc
NASM	= nasm

WARN	= -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes \
	  -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wundef \
	  -Wvla -Wwrite-strings -Wcast-qual -Wnested-externs \
	  -Wformat=2 -Wimplicit-fallthrough -Wno-unused-parameter
CSTD	= -std=gnu11 -O2 -g -fno-strict-aliasing -fno-common $(WARN) $(OPTIONS)

# i486: no cmov.  Frame pointers and no sibling calls: the debugger's trace.
# general-regs-only: the kernel saves no floating-point state.
KFLAGS	= $(CSTD) -Wredundant-decls -march=i486 -mgeneral-regs-only -ffreestanding -fno-pic \
	  -fno-pie -fno-stack-protector -fno-omit-frame-pointer \
	  -fno-optimize-sibling-calls -fno-asynchronous-unwind-tables \
	  -fcf-protection=none -Isys -Isys/i386/include
HFLAGS	= $(CSTD) -Isys -Itest/host/include \
	  -Isys/i386/include -Itest/host -Itest

# `make V=1` shows the commands.
V	=
say	= @$(if $(V),set -x;,echo "$(1) $@";)

.PHONY: all elf iso libvm tests run test soak fuzz coverage mutate gdb \
	bochs-debug help clean setup needed force
.DELETE_ON_ERROR:
.SECONDARY:

all: needed
	@$(MAKE) --no-print-directory elf iso

elf: $(B)/holm.elf
	@:
iso: $(B)/holm.iso
	@:
libvm: $(B)/host64/libvm.a $(B)/host32/libvm.a

#
# The kernel.  It carries a table of its own symbols.  The first link finds
# the names, the second gives them room, the third has the addresses right;
# that the last changed none of them is checked.
#
KSRC	:= $(shell sed 's/[ \t]*\#.*//' conf/files)
KOBJ	:= $(patsubst %,$(B)/kern/%.o,$(KSRC))
LIBGCC	= $$($(KCC) -print-libgcc-file-name)
# The entry point is a virtual address: GRUB and QEMU look it up in the
# segments, and jump to where that was loaded.
KLINK	= $(KCC) -march=i486 -nostdlib -static -no-pie -Wl,--build-id=none \
	  -Wl,-z,max-page-size=0x1000 -Wl,-z,noexecstack \
	  -Wl,--no-warn-rwx-segments -Wl,--fatal-warnings \
	  -Wl,-T,conf/kernel.ld -Wl,-e,entry $(KOBJ)
KSYMS	= $(CROSS)nm -n

$(B)/kern/%.c.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,cc) $(KCC) $(KFLAGS) $(KFLAGS_$(*F)) -MMD -MP -c -o $@ $<
$(B)/kern/%.S.o: %.S Makefile
	@mkdir -p $(@D)
	$(call say,cc) $(KCC) $(KFLAGS) -MMD -MP -c -o $@ $<
$(B)/kern/%.asm.o: %.asm Makefile
	@mkdir -p $(@D)
	$(call say,nasm) $(NASM) -f elf32 -g -F dwarf -w+all -w+error -Isys/i386/ \
	    -MD $(@:.o=.d) -MP -o $@ $<

# GCC must not make of memset's loop a call of memset.
KFLAGS_string	= -fno-tree-loop-distribute-patterns

$(B)/holm.elf: $(KOBJ) conf/kernel.ld conf/ksyms.awk conf/files
	$(call say,link) set -e; k=$(B)/kern/ksyms; : >$$k.0; \
	for n in 0 1 2; do \
		awk -f conf/ksyms.awk $$k.$$n >$$k.c; \
		$(KCC) $(KFLAGS) -g0 -c -o $$k.o $$k.c; \
		$(KLINK) $$k.o $(LIBGCC) -o $$k.elf; \
		$(KSYMS) $$k.elf >$$k.$$((n + 1)); \
	done; \
	cmp $$k.2 $$k.3 || { echo "ksyms: addresses moved" >&2; exit 1; }; \
	mv $$k.elf $@

# GRUB loads every section, so the line numbers stay at home.
# Made anew when the command line is another one.
$(B)/holm.iso: $(B)/holm.elf conf/grub.cfg conf/mkiso $(B)/cmdline
	$(call say,iso) conf/mkiso $(B)/holm.elf $@ '$(CMDLINE)'

$(B)/cmdline: force
	@mkdir -p $(@D)
	@echo '$(CMDLINE)' | cmp -s - $@ || echo '$(CMDLINE)' >$@

#
# The host test machine: sys/vm and sys/libkern as they are, over
# test/host/.  host64 and host32 are what others may link with; san64 is
# host64 under AddressSanitizer and UBSan, tsan64 under ThreadSanitizer; fixed64
# is host64 for fixed addresses, as a kernel is compiled, and host32.
#
HSRC	:= $(sort $(wildcard sys/vm/*.c test/host/*.c) \
	   $(filter-out sys/libkern/string.c,$(wildcard sys/libkern/*.c)))

CC_host64 = $(HOSTCC)
CC_san64  = $(HOSTCC) -fno-omit-frame-pointer \
	    -fsanitize=address,undefined -fno-sanitize-recover=all
CC_tsan64 = $(HOSTCC) -fno-omit-frame-pointer -fsanitize=thread
CC_host32 = $(CROSS)gcc -fno-pie
CC_fixed64 = $(HOSTCC) -fno-pie

define host_machine
$(B)/$(1)/%.c.o: %.c Makefile
	@mkdir -p $$(@D)
	$$(call say,cc) $$(CC_$(1)) $$(HFLAGS) -MMD -MP -c -o $$@ $$<
$(B)/$(1)/libvm.a: $(patsubst %,$(B)/$(1)/%.o,$(HSRC))
	$$(call say,ar) rm -f $$@; ar rcs $$@ $$^
endef
$(foreach m,host64 san64 tsan64 host32 fixed64,$(eval $(call host_machine,$(m))))

#
# Host tests: each test/test_*.c is one Check program, linked with what the
# other files of test/ have in common.  Any test/NAME.c that has a main can be
# had as build/MACHINE/NAME.
#
TESTS	:= $(patsubst test/%.c,%,$(sort $(wildcard test/test_*.c)))
TESTLIB	:= $(filter-out test/test_%,$(sort $(wildcard test/*.c)))

LIBS_san64  = -lcheck -lsubunit -lm -lrt -lpthread
LIBS_tsan64 = $(LIBS_san64)
LIBS_host64 = $(LIBS_san64)
LIBS_host32 = -static -L$(B)/check32/lib $(LIBS_san64)

$(B)/host32/test/%.o: CC_host32 += -I$(B)/check32/include

define host_tests
$(B)/$(1)/%: $(B)/$(1)/test/%.c.o $(B)/$(1)/test.a $(B)/$(1)/libvm.a
	$$(call say,link) $$(CC_$(1)) -o $$@ $$^ $$(LIBS_$(1))
$(B)/$(1)/test.a: $(patsubst %,$(B)/$(1)/%.o,$(TESTLIB))
	$$(call say,ar) rm -f $$@; ar rcs $$@ $$^
endef
$(foreach m,host64 san64 tsan64 host32,$(eval $(call host_tests,$(m))))

include test/bench/bench.mk

$(B)/bench/bench_phys: $(B)/host64/test/bench/bench_phys.c.o \
    $(B)/host64/test/bench/bench.c.o $(B)/host64/libvm.a
	@mkdir -p $(@D)
	$(call say,link) $(CC_host64) -o $@ $^

.PHONY: bench-phys matrix
bench-phys: $(B)/bench/bench_phys
	@$<
matrix: setup
	@$(MAKE) --no-print-directory B=$(B) elf
	@test/matrix $(B) $(PATTERN)

# (host64: test/plant.sh links those anew with something broken.)
tests: $(foreach m,san64 host32,$(TESTS:%=$(B)/$(m)/%)) \
	$(patsubst %,$(B)/tsan64/%,$(filter %_threads,$(TESTS))) \
	$(TESTS:%=$(B)/host64/test/%.c.o) $(B)/host64/test.a

#
# For people.
#
needed:
	@conf/setup -n
setup:
	@conf/setup

# What needs packages gets them first; the rest is built by a second make.
run: setup
	@$(MAKE) --no-print-directory B=$(B) iso
	@conf/run $(EMU) $(B)/holm.iso $(B)/serial.log

gdb bochs-debug: setup
	@$(MAKE) --no-print-directory B=$(B) iso
	@conf/debug $(@:-debug=) $(B)/holm.elf $(B)/holm.iso $(B)

test: setup
	@conf/check32 $(B)/check32
	@test/run $(B)

soak coverage mutate: setup
	@test/$@ $(B)

fuzz:
	@conf/setup fuzz
	@test/fuzz/run $(B)

help:
	@sed -n 's/^#? \{0,1\}//p' Makefile

clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
