# The project's commands. `make run` and `make test` are all a newcomer needs.

# One profile and one folder for everything that is built to be tested.
CI := --profile ci
BIN := target/ci/evoke
RELEASE := target/release/evoke
DATA ?= data
LISTEN ?= 127.0.0.1:3233

.PHONY: run run-couchdb run-kafka build deb test test-deb check docs-test openapi bench kill-test power-test feed-test simulate defects deny clean-data

## run: builds the hub, starts it with the quickstart applied, streams activations. Ctrl-C ends it.
run:
	@scripts/setup.sh run
	@cargo build --release -p evoke
	@exec $(RELEASE) up --data $(DATA) --listen $(LISTEN) --log-level warn \
		--apply examples/quickstart/manifest.yaml --follow

## run-couchdb: the same with a feed of a CouchDB database, whose documents change each second.
run-couchdb:
	@scripts/setup.sh couchdb
	@cargo build --release -p evoke
	@exec scripts/run-couchdb.sh $(RELEASE) $(DATA)-couchdb $(LISTEN)

## run-kafka: the same with a feed of a Kafka topic, which gets a record each second.
run-kafka:
	@scripts/setup.sh kafka
	@cargo build --release -p evoke
	@exec scripts/run-kafka.sh $(RELEASE) $(DATA)-kafka $(LISTEN)

build:
	cargo build --release -p evoke

## deb: the Debian package, below target/debian.
deb:
	@scripts/setup.sh deb
	cargo build --release -p evoke
	cargo deb -p evoke --no-build --locked

## test: everything, cheapest first.
test:
	@scripts/setup.sh test
	$(MAKE) check
	# All at once: part by part, each part's features would build the dependencies anew.
	cargo build $(CI) --workspace --all-targets
	EVOKE_BIN=$(CURDIR)/$(BIN) cargo test $(CI) --workspace
	$(MAKE) test-deb

## test-deb: the package on a fresh Debian 12; what `make test` built is packed.
test-deb:
	@scripts/setup.sh deb
	cargo deb -p evoke --no-build --locked --profile ci --strip -o target/debian/evoke_test.deb
	tests/debian.sh target/debian/evoke_test.deb

## openapi: writes schemas/openapi.json anew, after a change of the API.
openapi:
	EVOKE_WRITE=1 cargo test $(CI) -p evoke-controller the_committed_copy

check:
	cargo fmt --all --check
	cargo clippy $(CI) --workspace --all-targets -- -D warnings

## docs-test: every example of the pages, and what the diffs of CONTRIBUTING.md add.
docs-test:
	@scripts/setup.sh test
	cargo build $(CI) -p evoke
	EVOKE_BIN=$(CURDIR)/$(BIN) cargo test $(CI) -p evoke-tests --test docs --test contributing -- --include-ignored

## kill-test, power-test: the fault tests at full length.
kill-test:
	cargo build $(CI) -p evoke
	EVOKE_FULL=1 EVOKE_BIN=$(CURDIR)/$(BIN) cargo test $(CI) -p evoke-tests --test kill9 -- --nocapture

power-test:
	cargo build $(CI) -p evoke
	EVOKE_FULL=1 EVOKE_BIN=$(CURDIR)/$(BIN) cargo test $(CI) -p evoke-tests --test power_cut -- --nocapture

## feed-test: feeds of real servers at full length, while the hub and they die.
feed-test:
	@scripts/setup.sh test
	cargo build $(CI) -p evoke
	EVOKE_FULL=1 EVOKE_BIN=$(CURDIR)/$(BIN) cargo test $(CI) -p evoke-tests --test feeds -- --nocapture --include-ignored

## simulate: SEEDS seeds of the simulator from FROM; a failing one replays by its number.
SEEDS ?= 10000
FROM ?= 0
simulate:
	cargo run $(CI) -p evoke-tests --bin simulate -- --from $(FROM) --seeds $(SEEDS)

## defects: plants each known defect in the cores and lets the simulator find it.
defects:
	tests/defects/run.sh

## bench: every row of SPECIFICATION.md against its control.
bench:
	@scripts/setup.sh test
	cargo build --release -p evoke -p evoke-tests --bins
	target/release/bench --evoke $(RELEASE)

deny:
	cargo deny check

clean-data:
	rm -rf $(DATA)
