.PHONY: help install-run install-servers install-test install-bench run run-all test docs bench bench-locks \
  bench-databases
# Only one apt-get at a time.
.NOTPARALLEL:

# The k6 that scripts/k6 installs, when there is no other; and where Debian keeps some servers, which is off
# the path of those who are not root.
export PATH := $(PATH):$(CURDIR)/.venv/bin:/usr/sbin

# How many tests run at once: they mostly wait, for leases to end and for servers to start.
export RUST_TEST_THREADS ?= $(shell expr 2 '*' $$(getconf _NPROCESSORS_ONLN))

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

# What the other targets have installed. Packages come without what they recommend: what is needed of that
# is named, too. scripts/bare-machine shows that it is enough.
install-run:
	@scripts/need cc build-essential
	@scripts/protoc
	@command -v valkey-server >/dev/null || scripts/need redis-server redis-server

# What every strategy needs, and what steps the clock of a server.
install-servers: install-run
	@scripts/need redis-server redis-server
	@scripts/need etcd etcd-server
	@scripts/need java default-jre-headless
	@scripts/need /usr/share/java/zookeeper.jar zookeeper
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || scripts/need initdb postgresql
	@scripts/mysql
	@ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || scripts/need - libfaketime

install-test: install-servers
	@scripts/need etcdctl etcd-client
	@scripts/need javac default-jdk-headless
	@scripts/need /usr/share/java/curator-recipes.jar libcurator-recipes-java
	@scripts/need pgbouncer pgbouncer
	@scripts/need ip iproute2
	@scripts/need prometheus prometheus
	@scripts/need curl curl
	@scripts/need chromium chromium
	@scripts/k6
	@scripts/foreign

install-bench: install-run
	@scripts/need redis-server redis-server
	@scripts/need wrk wrk
	@scripts/need curl curl

run: install-run ## build in release and start locklab on 127.0.0.1:8080, with a Redis of its own
	cargo run --release --locked

run-all: install-servers ## the same, with every other server that strategies need, each private too
	cargo run --release --locked -- --embed all

test: install-test ## everything: format, lints, unit and integration tests on real servers, k6 scripts
	cargo fmt --all --check
	cargo clippy --quiet --locked --workspace --all-targets -- --deny warnings
	cargo clippy --quiet --locked --no-default-features -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --locked --workspace --no-deps
	cargo test --quiet --locked --workspace

docs: install-servers ## run every command that the pages in docs/ show, and write down what it prints
	cargo build --quiet --release --locked
	LOCKLAB_DOCS=$(CURDIR)/target/release/locklab RUST_TEST_THREADS=1 cargo test --quiet --locked --test it -- docs::

bench: install-bench ## purchases per second, as a ratio to a route that touches nothing
	cargo build --quiet --release --locked
	benches/purchases

bench-locks: install-servers install-bench ## what each distributed lock costs a purchase, side by side
	cargo build --quiet --release --locked
	benches/locks

bench-databases: install-servers install-bench ## a Redis lock, locks of databases, and none, side by side
	cargo build --quiet --release --locked
	benches/databases
