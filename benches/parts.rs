//! The parts that cost user time for each entry: reader, resolver, trie. `just bench-parts`; without
//! `--cfg fuzzing`, which opens what is private, it says so and does nothing.

#[cfg(not(fuzzing))]
fn main() {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "parts: build it with RUSTFLAGS='--cfg fuzzing', as `just bench-parts` does");
}

#[cfg(fuzzing)]
fn main() {
    parts::run();
}

#[cfg(fuzzing)]
mod parts {
    use criterion::{BatchSize, Criterion, Throughput};
    use std::hint::black_box;
    use std::path::Path;
    use untar_in_root::helper::{BenchDirs, bench_reader};

    const ENTRIES: u32 = 10_000;

    pub(crate) fn run() {
        let mut criterion = Criterion::default().configure_from_args();
        reader(&mut criterion);
        resolver(&mut criterion);
        trie(&mut criterion);
        criterion.final_summary();
    }

    /// Small files with the two PAX records that most archives have.
    fn archive() -> &'static [u8] {
        let mut tar = tar::Builder::new(Vec::new());
        for number in 0..ENTRIES {
            let records = [("mtime", &b"1700000000.123456789"[..]), ("path", b"usr/share/doc/package/file")];
            tar.append_pax_extensions(records).expect("records");
            let mut header = tar::Header::new_ustar();
            header.set_size(100);
            header.set_mode(0o644);
            header.set_mtime(1_700_000_000);
            header.set_cksum();
            tar.append_data(&mut header, format!("usr/share/doc/package-{number}"), &[7; 100][..]).expect("entry");
        }
        tar.into_inner().expect("archive").leak()
    }

    fn reader(criterion: &mut Criterion) {
        let tar = archive();
        let mut group = criterion.benchmark_group("reader");
        group.throughput(Throughput::Elements(ENTRIES.into()));
        group.bench_function("small files with PAX records", |bencher| bencher.iter(|| bench_reader(black_box(tar))));
        group.finish();
    }

    fn resolver(criterion: &mut Criterion) {
        let scratch = Scratch::new();
        let mut dirs = BenchDirs::new(&scratch.0, 8);
        let names: Vec<String> = (0..8).map(|number| format!("d{number}")).collect();
        let parts: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
        criterion.bench_function("resolver, 8 known directories", |bencher| {
            bencher.iter(|| assert!(dirs.resolve(black_box(&parts))));
        });
    }

    fn trie(criterion: &mut Criterion) {
        let scratch = Scratch::new();
        let mut group = criterion.benchmark_group("trie");
        group.throughput(Throughput::Elements(ENTRIES.into()));
        group.bench_function("new files in one directory", |bencher| {
            let make = || BenchDirs::new(&scratch.0, 0);
            bencher.iter_batched(make, |mut dirs| dirs.note_files(ENTRIES), BatchSize::LargeInput);
        });
        group.finish();
    }

    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new() -> Scratch {
            Scratch(nix::unistd::mkdtemp(Path::new("/dev/shm/bench-parts-XXXXXX")).expect("scratch"))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
