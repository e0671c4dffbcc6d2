# What a developer types. CI runs `.ci/run`, which needs nothing but bash.

# List these.
default:
    @just --list

# Everything that CI checks, as root on Debian 12.
ci:
    bash .ci/run

# The tests; what cannot run here says so.
test *args:
    cargo test {{ args }}

# The inner loop: unit tests, the rules, overlay mode and the command line, in less than a minute.
quick *args:
    cargo test --lib --bins
    cargo test --test suite -- rules:: overlay:: cli:: {{ args }}

# One test or the tests of a room, with all they say: `just one rules::names`.
one name:
    cargo test --test suite -- {{ name }} --nocapture

# Format and lint, as CI does.
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# The pages, as docs.rs shows them.
doc:
    cargo doc --workspace --no-deps --open

# The static helper.
static:
    cargo build --release --target x86_64-unknown-linux-musl -p untar-in-root-helper

# The Debian package, in dist/out.
deb:
    dist/make deb

# The program for any Linux, with its pages, in dist/out.
tarball:
    dist/make tarball

# What the next version number must be; there is nothing to compare with before the first release.
semver:
    cargo semver-checks -p untar-in-root

# The command of the README.
hello dir="/tmp/hello":
    mkdir -p {{ dir }}
    cargo run --release --bin untar-in-root -- {{ dir }} fixtures/hello.tar.gz

# Write the fixtures again, with the tools that are installed.
fixtures:
    fixtures/make

# Measure beside every tool that is installed, on archives it makes: as root, on a quiet machine.
bench *args:
    benches/compare.py {{ args }}

# The table and the plot of docs/performance.md, from what `bench` measured.
bench-report:
    benches/report.py

# Measure packing beside every tool that is installed: as root, on a quiet machine.
bench-pack *args:
    benches/pack.py {{ args }}

# Measure how the cost grows with the work, and what durability costs: as root, on a quiet machine.
bench-growth *args:
    benches/growth.py {{ args }}

# Measure a whole image: layers one at a time and in parallel, other tools beside it. `just bench-images DIR:TAG`.
bench-images *args:
    benches/images.py {{ args }}

# Measure one run of one file at the library's side, beside a static program that does nothing: as root, static ones.
bench-fixed *args:
    cargo bench --bench fixed -- {{ args }}

# Measure the differ beside containerd's own, in both versions: as root, on a quiet machine.
bench-differ *args:
    cargo bench -p untar-in-root-diffd --bench apply -- {{ args }}

# Measure what making a layer costs by containerd's own differ and by ours: ROUNDS.
bench-commit *args:
    cargo bench -p untar-in-root-diffd --bench commit -- {{ args }}

# Measure reader, resolver and trie by themselves.
bench-parts *args:
    RUSTFLAGS='--cfg fuzzing' cargo bench --target-dir target/parts --bench parts -- {{ args }}

# What more processors would bring: measure the stages of runs, and simulate: as root. `just bench-cores PROGRAM ARCHIVE...`
bench-cores *args:
    benches/cores.py {{ args }}

# What depends on the kernel, on Debian's oldest and newest (`-k bullseye|bookworm|trixie|forky` for others), in a machine of
# its own: as root, takes minutes. The live attackers for half an hour there: `UNTAR_ATTACK_SECONDS=1800 just kernels -k forky -t 7200 hostile::attacker`.
kernels *args:
    tests/kernels/run {{ args }}
