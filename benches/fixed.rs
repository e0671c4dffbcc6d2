//! What one run costs at the library's side: an archive of one file, tmpfs, as root. `just bench-fixed PROGRAM...`
//! takes the programs' rounds in turn, each from a static build. Before each run a static program that does nothing is
//! started and waited for: a machine that others share changes its speed, and the ratio of the two less so.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use untar_in_root::{Program, Untar};

const ROUNDS: usize = 400;
/// Not counted.
const WARM_UP: usize = 20;
fn main() {
    let programs: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let scratch = nix::unistd::mkdtemp(Path::new("/dev/shm/bench-fixed-XXXXXX")).expect("scratch");
    let archive = scratch.join("one.tar");
    std::fs::write(&archive, one_file()).expect("archive");
    let nothing = nothing(&scratch);
    let (mut runs, mut starts) = (vec![Vec::new(); programs.len()], Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        for (number, program) in programs.iter().enumerate() {
            let (start, run) = (start(&nothing), run(program, &archive, &scratch.join("root")));
            if round >= WARM_UP {
                starts.push(start);
                runs[number].push(run);
            }
        }
    }
    let _ = std::fs::remove_dir_all(&scratch);
    let least = tell("a program that does nothing", &mut starts);
    for (program, runs) in programs.iter().zip(&mut runs) {
        let median = tell(program, runs);
        let _ = writeln!(std::io::stdout(), "  {:.2} times that", median as f64 / least as f64);
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
    command.env_clear();
    let start = Instant::now();
    assert!(command.status().expect("a process").success());
    start.elapsed().as_micros()
}

/// The median.
fn tell(what: &str, times: &mut [u128]) -> u128 {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    let _ = writeln!(std::io::stdout(), "{what}: median {} us, a tenth under {}, least {}", at(50), at(10), at(0));
    at(50)
}
