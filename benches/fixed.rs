//! What one run costs at the library's side: an archive of one file, tmpfs, as root. `just bench-fixed PROGRAM...`
//! takes the programs' rounds in turn, each from a static build. Before and after each run a static program that does
//! nothing is started and waited for: a machine that others share changes its speed, and that program tells how fast
//! it is just now.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use untar_in_root::{Program, Untar};

const ROUNDS: usize = 400;
/// Not counted.
const WARM_UP: usize = 20;
/// Microseconds that nothing takes, at most, when the machine is as fast as the one that the aim of 1 ms comes from:
/// there it took 176.
const FAST: u128 = 190;

/// Microseconds of one run, and of nothing before and after it.
#[derive(Clone, Copy)]
struct Sample {
    run: u128,
    before: u128,
    after: u128,
}

fn main() {
    let programs: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let scratch = nix::unistd::mkdtemp(Path::new("/dev/shm/bench-fixed-XXXXXX")).expect("scratch");
    let archive = scratch.join("one.tar");
    std::fs::write(&archive, one_file()).expect("archive");
    let nothing = nothing(&scratch);
    let mut samples = vec![Vec::new(); programs.len()];
    for round in 0..WARM_UP + ROUNDS {
        for (number, program) in programs.iter().enumerate() {
            let before = start(&nothing);
            let run = run(program, &archive, &scratch.join("root"));
            let after = start(&nothing);
            if round >= WARM_UP {
                samples[number].push(Sample { run, before, after });
            }
        }
    }
    let _ = std::fs::remove_dir_all(&scratch);
    for (program, samples) in programs.iter().zip(&samples) {
        tell(program, "all", samples);
        let fast: Vec<_> = samples.iter().copied().filter(|s| s.before <= FAST && s.after <= FAST).collect();
        tell(program, "while nothing took at most 190 us", &fast);
    }
}

fn one_file() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(6);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "hello", &b"hello\n"[..]).expect("entry");
    tar.into_inner().expect("archive")
}

/// Microseconds of a whole run into an empty directory, from opening the root to the report.
fn run(program: &str, archive: &Path, root: &Path) -> u128 {
    let _ = std::fs::remove_dir_all(root);
    std::fs::create_dir(root).expect("root");
    let start = Instant::now();
    let archive = File::open(archive).expect("archive");
    let report = Untar::open(root).expect("root").program(Program::at(program)).apply_fd(archive).expect("a run");
    let time = start.elapsed().as_micros();
    assert_eq!(report.entries.files, 1);
    time
}

/// A static program that does nothing.
fn nothing(scratch: &Path) -> PathBuf {
    let (source, program) = (scratch.join("nothing.rs"), scratch.join("nothing"));
    std::fs::write(&source, "fn main() {}").expect("source");
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let built = Command::new("rustc").args(["-O", "--target", &target, "-o"]).args([&program, &source]).status();
    assert!(built.expect("rustc").success());
    program
}

fn start(program: &Path) -> u128 {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    assert!(command.status().expect("a process").success());
    start.elapsed().as_micros()
}

fn tell(program: &str, which: &str, samples: &[Sample]) {
    let sorted = |times: Vec<u128>| {
        let mut times = times;
        times.sort_unstable();
        times
    };
    let runs = sorted(samples.iter().map(|sample| sample.run).collect());
    let nothing = sorted(samples.iter().flat_map(|sample| [sample.before, sample.after]).collect());
    let at = |times: &[u128], part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    let line = format!(
        "{program}: {which}, {} runs: median {} us, a tenth under {}; nothing: {}",
        runs.len(),
        at(&runs, 50),
        at(&runs, 10),
        at(&nothing, 50)
    );
    let _ = writeln!(std::io::stdout(), "{line}");
}
