#
# Benchmarks of the tracker: test/bench/run, and the peer that it is measured
# by (test/bench/peer/build fetches it).
#
BENCHCOMMON = bench bench_map_track bench_map_work bench_map_same \
	      bench_map_report
BENCHES	= $(B)/bench/bench_map $(B)/bench/bench_map_visits \
	  $(B)/bench/bench_map_frag $(B)/bench/bench_map_frag32

define bench_machine
$(B)/bench/peer$(1)/libpeer.a: $(wildcard test/bench/peer/*)
	$$(call say,peer) CC="$$(CC_host$(1))" test/bench/peer/build $$(@D)
$(B)/bench/%$(2): $(B)/host$(1)/test/bench/%.c.o \
    $(BENCHCOMMON:%=$(B)/host$(1)/test/bench/%.c.o) \
    $(B)/host$(1)/libvm.a $(B)/bench/peer$(1)/libpeer.a
	$$(call say,link) $$(CC_host$(1)) $(3) -o $$@ $$^ -lm
endef
$(eval $(call bench_machine,64,,))
$(eval $(call bench_machine,32,32,-static))

.PHONY: bench-map benches
benches: $(BENCHES)
bench-map: setup
	@conf/setup bench
	@$(MAKE) --no-print-directory benches
	@test/bench/run $(B)/bench $(if $(QUICK),-q)

#
# Slab and heap beside other allocators, which bench_slab loads by dlopen.
# In 32 bits they are Debian's for i386, unpacked by test/bench/slab32, and
# the program runs on the cross compiler's C library.
#
BENCHSLAB = bench bench_slab bench_slab_party bench_slab_work \
	    bench_slab_speed bench_slab_count \
	    bench_slab_threads bench_slab_trace bench_slab_churn \
	    bench_slab_waste

define slab_machine
$(B)/bench/bench_slab$(2): \
    $(BENCHSLAB:%=$(B)/$(1)/test/bench/%.c.o) $(B)/$(1)/libvm.a
	@mkdir -p $$(@D)
	$$(call say,link) $$(CC_$(1)) -no-pie -o $$@ $$^ -lpthread -ldl
endef
$(eval $(call slab_machine,fixed64,))
$(eval $(call slab_machine,host32,32))

.PHONY: bench-slab
bench-slab: setup
	@conf/setup bench
	@$(MAKE) --no-print-directory $(B)/bench/bench_slab \
	    $(B)/bench/bench_slab32
	@test/bench/slab32 $(B)/bench/slab32
	@test/bench/run_slab $(B)/bench $(if $(QUICK),-q)

#
# What watching for mistakes costs.
#
$(B)/bench/bench_debug: $(B)/host64/test/bench/bench_debug.c.o \
    $(B)/host64/libvm.a
	@mkdir -p $(@D)
	$(call say,link) $(CC_host64) -o $@ $^

.PHONY: bench-debug
bench-debug: setup
	@conf/setup bench
	@$(MAKE) --no-print-directory elf $(B)/bench/bench_debug
	@test/bench/run_debug $(B)
