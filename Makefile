# Holm.  `make help` says what there is.
#
# conf/files lists what the kernel is made of; conf/packages what this needs
# of Debian.  Everything made lies in build/.

MEM	= 64
CPU	= core2_penryn_t9600
EMU	= bochs
DISPLAY_LIB = rfb
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
HFLAGS	= $(CSTD) -fno-omit-frame-pointer -Isys -Itest/host/include -Itest/host

# `make V=1` shows the commands.
V	=
say	= @$(if $(V),set -x;,echo "$(1) $@";)

.PHONY: all elf iso libvm run test gdb bochs-debug help clean setup needed
.DELETE_ON_ERROR:
.SECONDARY:

all: needed
	@$(MAKE) --no-print-directory elf iso

elf: $(B)/holm.elf
iso: $(B)/holm.iso
libvm: $(B)/host64/libvm.a $(B)/host32/libvm.a

#
# The kernel.  It carries a table of its own symbols.  The first link finds
# the names, the second gives them room, the third has the addresses right;
# that the last changed none of them is checked.
#
KSRC	:= $(shell sed 's/[ \t]*\#.*//' conf/files)
KOBJ	:= $(patsubst %,$(B)/kern/%.o,$(KSRC))
LIBGCC	= $$($(KCC) -print-libgcc-file-name)
KLINK	= $(KCC) -march=i486 -nostdlib -static -no-pie -Wl,--build-id=none \
	  -Wl,-z,max-page-size=0x1000 -Wl,-z,noexecstack \
	  -Wl,--no-warn-rwx-segments -Wl,--fatal-warnings \
	  -Wl,-T,conf/kernel.ld $(KOBJ)
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
$(B)/holm.iso: $(B)/holm.elf conf/grub.cfg conf/mkiso
	$(call say,iso) conf/mkiso $(B)/holm.elf $@ '$(CMDLINE)'

#
# The host test machine: sys/vm and sys/libkern as they are, over
# test/host/.  host64 and host32 are what others may link with; san64 is
# host64 under AddressSanitizer and UBSan, tsan64 under ThreadSanitizer.
#
HSRC	:= $(sort $(wildcard sys/vm/*.c test/host/*.c) \
	   $(filter-out sys/libkern/string.c,$(wildcard sys/libkern/*.c)))

CC_host64 = $(HOSTCC)
CC_san64  = $(HOSTCC) -fsanitize=address,undefined -fno-sanitize-recover=all
CC_tsan64 = $(HOSTCC) -fsanitize=thread
CC_host32 = $(CROSS)gcc -fno-pie

define host_machine
$(B)/$(1)/%.c.o: %.c Makefile
	@mkdir -p $$(@D)
	$$(call say,cc) $$(CC_$(1)) $$(HFLAGS) -MMD -MP -c -o $$@ $$<
$(B)/$(1)/libvm.a: $(patsubst %,$(B)/$(1)/%.o,$(HSRC))
	$$(call say,ar) rm -f $$@; ar rcs $$@ $$^
endef
$(foreach m,host64 san64 tsan64 host32,$(eval $(call host_machine,$(m))))

clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
