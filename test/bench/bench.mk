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
