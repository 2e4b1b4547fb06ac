.PHONY: help servers run run-all test docs bench bench-locks bench-databases

# The k6 that scripts/k6 installs, when there is no other; and where Debian keeps some servers, which is off
# the path of those who are not root.
export PATH := $(PATH):$(CURDIR)/.venv/bin:/usr/sbin

# How many tests run at once: they mostly wait, for leases to end and for servers to start.
export RUST_TEST_THREADS ?= $(shell expr 2 '*' $$(getconf _NPROCESSORS_ONLN))

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

# What every strategy needs, and what steps the clock of a server.
servers:
	@scripts/need cc build-essential
	@scripts/protoc
	@scripts/need redis-server redis-server
	@scripts/need etcd etcd-server
	@scripts/need java default-jre-headless
	@scripts/need /usr/share/java/zookeeper.jar zookeeper
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || scripts/need initdb postgresql
	@command -v mysqld >/dev/null || scripts/need mariadbd mariadb-server-core
	@ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || scripts/need - libfaketime

run: ## build in release and start locklab on 127.0.0.1:8080, with a Redis of its own
	@scripts/need cc build-essential
	@scripts/protoc
	@command -v valkey-server >/dev/null || scripts/need redis-server redis-server
	cargo run --release --locked

run-all: servers ## the same, with every other server that strategies need, each private too
	cargo run --release --locked -- --embed all

test: servers ## everything: format, lints, unit and integration tests on real servers, k6 scripts
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
	cargo fmt --all --check
	cargo clippy --quiet --locked --workspace --all-targets -- --deny warnings
	cargo clippy --quiet --locked --no-default-features -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --locked --workspace --no-deps
	cargo test --quiet --locked --workspace

docs: servers ## run every command that the pages in docs/ show, and write down what it prints
	cargo build --quiet --release --locked
	LOCKLAB_DOCS=$(CURDIR)/target/release/locklab RUST_TEST_THREADS=1 cargo test --quiet --locked --test it -- docs::

bench: ## purchases per second, as a ratio to a route that touches nothing
	@scripts/need cc build-essential
	@scripts/protoc
	@scripts/need redis-server redis-server
	@scripts/need wrk wrk
	@scripts/need curl curl
	cargo build --quiet --release --locked
	benches/purchases

bench-locks: ## what each distributed lock costs a purchase, side by side
	@scripts/need cc build-essential
	@scripts/protoc
	@scripts/need redis-server redis-server
	@scripts/need etcd etcd-server
	@scripts/need java default-jre-headless
	@scripts/need /usr/share/java/zookeeper.jar zookeeper
	@scripts/need wrk wrk
	@scripts/need curl curl
	cargo build --quiet --release --locked
	benches/locks

bench-databases: ## a Redis lock, session locks and row locks of databases, and none, side by side
	@scripts/need cc build-essential
	@scripts/protoc
	@scripts/need redis-server redis-server
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || scripts/need initdb postgresql
	@command -v mysqld >/dev/null || scripts/need mariadbd mariadb-server-core
	@scripts/need wrk wrk
	@scripts/need curl curl
	cargo build --quiet --release --locked
	benches/databases
