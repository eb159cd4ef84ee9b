# Two commands do all the set-up: `make rehearse` and `make test`. Both install the Debian packages
# that they lack (tests/packages.sh says which), can be repeated, and clean up after themselves.

CARGO ?= cargo

.PHONY: build rehearse rehearse-all test lint bench clean

build:
	$(CARGO) build --release --locked

# A real rotation on a disposable staging VPS. KIND=docker or sandbox chooses how it is raised; the
# default takes docker where an engine answers.
rehearse: packages
	tests/staging/rehearse.sh $(KIND)

# Every rotation, with a fault at every boundary of every Step; with KIND=docker on real Compose, without
# faults.
rehearse-all: packages
	tests/staging/rehearse-all.sh

# Real Compose tells what `.env` files mean; where it can't be had, that test says so.
test: packages
	$(CARGO) build --workspace --bins --locked
	SEQN_TEST_COMPOSE=$${SEQN_TEST_COMPOSE-$$($${CARGO_TARGET_DIR:-target}/debug/staging compose)} \
		$(CARGO) test --workspace --locked --no-fail-fast

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

bench: packages
	benches/run.sh

.PHONY: packages
packages:
	@tests/packages.sh

clean:
	$(CARGO) clean
