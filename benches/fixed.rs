//! What one run costs at the library's side: an archive of one file, tmpfs, as root. `just bench-fixed PROGRAM...`
//! takes the programs' rounds in turn, each from a static build; "nothing" is the same program started as a helper
//! that refuses, which is what starting and ending a process costs here.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
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
    let mut runs = vec![Vec::new(); programs.len()];
    let mut nothing = runs.clone();
    for round in 0..WARM_UP + ROUNDS {
        for (number, program) in programs.iter().enumerate() {
            let (run, bare) = (run(program, &archive, &scratch.join("root")), refuse(program));
            if round >= WARM_UP {
                runs[number].push(run);
                nothing[number].push(bare);
            }
        }
    }
    let _ = std::fs::remove_dir_all(&scratch);
    for (number, program) in programs.iter().enumerate() {
        tell(program, "one file", &mut runs[number]);
        tell(program, "nothing", &mut nothing[number]);
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

/// The program, which finds no socket at its descriptor 1 and ends.
fn refuse(program: &str) -> u128 {
    let mut command = Command::new(program);
    command.arg0("untar-in-root:helper").env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().expect("a process");
    assert_eq!(status.code(), Some(2));
    start.elapsed().as_micros()
}

fn tell(program: &str, what: &str, times: &mut [u128]) {
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 100];
    let line = format!("{program}: {what}: median {} us, a tenth under {}, least {}", at(50), at(10), at(0));
    let _ = writeln!(std::io::stdout(), "{line}");
}
