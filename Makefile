# make quickstart   watch tortie work: a top-of-rack router and three nodes in namespaces of this machine
# make test         everything that CI runs
# make crash        200 operations with kill -9 at random moments
# make bench        how tortie compares with others on this machine
# make fuzz         fuzz targets and property tests, much longer (CASES=…, SECONDS_EACH=… for every target)
# make deny         cargo-deny: licences, bans, sources; make advisories: the advisory database (needs the network)
#
# ARGS go to the quickstart: make quickstart ARGS="--tor frr --keep"

CARGO ?= cargo
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
TOOLS := $(TARGET)/tools
ARGS ?=
CASES ?= 100000
SECONDS_EACH ?= 600
# Nothing may hang for ever.
LIMIT := timeout --foreground --kill-after 10
BINARIES := --bin bgpd --bin felix --bin tortie --bin quickstart

export TORTIE_BIN := $(TARGET)/release

.PHONY: quickstart test crash bench fuzz deny advisories release

quickstart:
	@scripts/setup.sh quickstart $(ARGS)
	@$(CARGO) build --release --locked $(BINARIES)
	@$(TORTIE_BIN)/quickstart $(ARGS)

release:
	$(LIMIT) 20m $(CARGO) build --release --locked $(BINARIES)

test:
	scripts/setup.sh test
	$(LIMIT) 1m $(CARGO) fmt --all --check
	$(LIMIT) 15m $(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(MAKE) release
	$(LIMIT) 40m $(CARGO) test --workspace --locked

crash: release
	$(LIMIT) 10m $(CARGO) test --locked -p tests --test crash

bench:
	scripts/setup.sh bench
	$(MAKE) release
	$(CARGO) build --release --locked -p tests --bin bench
	$(LIMIT) 30m $(TORTIE_BIN)/bench $(ARGS)

fuzz:
	FUZZ_MUTATIONS=$(CASES) FUZZ_SECONDS=$(SECONDS_EACH) $(CARGO) test --release --locked -p tests --test fuzz
	PROPTEST_CASES=$(CASES) $(CARGO) test --release --locked -p engine -p bfd -p nft -p resources -p calc -p ipam

$(TOOLS)/bin/cargo-deny:
	$(CARGO) install cargo-deny --locked --root $(TOOLS)

deny: $(TOOLS)/bin/cargo-deny
	PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny check bans licenses sources

advisories: $(TOOLS)/bin/cargo-deny
	PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny check advisories
