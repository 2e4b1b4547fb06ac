# Locklab in one image, which works alone:
#
#   docker build -t locklab --build-arg LOCKLAB_REVISION="$(git rev-parse --short HEAD)" .
#   docker run --rm -p 127.0.0.1:8080:8080 locklab
#
# The build needs BuildKit: the default since Docker 23, DOCKER_BUILDKIT=1 before.

FROM rust:1.95-bookworm AS build
# For the client of etcd, which is generated from its protocol.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libprotobuf-dev protobuf-compiler \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .

# Shown by locklab_build_info. Declared here, so that another revision repeats no step above.
ARG LOCKLAB_REVISION=unknown

# The caches outlive this layer: a change to the sources compiles our crates, not their dependencies. Cargo
# judges by file times, and a checkout can be older than the cache, hence the touch. `target` is a
# cache and not part of the layer, hence the copy out of it; one folder per architecture.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target,sharing=locked \
    set -eu; \
    out="/target/$(uname -m)"; \
    touch src/lib.rs src/main.rs crates/locks/src/lib.rs; \
    cargo build --release --locked --bin locklab --target-dir "$out"; \
    install -D "$out/release/locklab" /out/locklab

# Debian rather than distroless: without REDIS_URL, locklab starts its own private Redis, and who types
# `docker run` expects the first purchase to work. That takes redis-server, which distroless has no way
# to install. The release is the builder's, because the binary links to its glibc. A database whose
# certificate is to be verified (sslmode=verify-full) takes the authorities of ca-certificates.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates redis-server \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/locklab /usr/local/bin/locklab

# By number: an orchestrator can only verify "not root" when it need not look up a name.
USER 65532:65532
# Inside a container loopback reaches nobody; what may reach it is decided where the port is published.
ENV LOCKLAB_LISTEN=0.0.0.0:8080
EXPOSE 8080

# A subcommand, because the image has no curl. It asks /readyz, on loopback, on LOCKLAB_LISTEN's port.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
    CMD ["locklab", "healthcheck"]
ENTRYPOINT ["locklab"]
