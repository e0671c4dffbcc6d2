//! What is shown, and when.

use super::{Dest, can_run, program, run};
use crate::support::process::PATIENCE;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[test]
fn success_says_nothing() {
    if !can_run() {
        return;
    }
    Dest::new().run(&[], &Tarball::new().file("a", "x").build()).silent();
}

#[test]
fn verbose_names_what_is_unpacked() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new().file("a\n\x1b", "x").file("b", "x").whiteout("c").file("../d", "x").build();
    let ran = Dest::new().run(&["-v", "--exclude", "b", "--layer"], &archive).ended(1, "");
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines[..2], ["a\\n\\033", ".wh.c"]);
    assert!(lines[2].starts_with("untar-in-root: ") && ran.out.is_empty(), "{lines:?}");
}

#[test]
fn quiet_says_only_errors() {
    if !can_run() {
        return;
    }
    let warned = Tarball::new().file("a", "x").no_end().build();
    Dest::new().run(&[], &warned).ended(0, "untar-in-root: warning: ");
    Dest::new().run(&["-q"], &warned).silent();
    let failing = Tarball::new().file("a", "x").file("../b", "x").build();
    let ran = Dest::new().run(&["-q"], &failing).ended(1, "climbs above");
    assert_eq!(ran.err.lines().count(), 1);
}

#[test]
fn progress_without_a_terminal_is_lines() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let entry = Tarball::new().file("a", vec![7; 100_000]).no_end().build();
    let archive = [&entry[..], &[0; 1024]].concat();
    assert!(run(["--progress=auto", &dest.path.display().to_string()], &archive).err.is_empty());
    let mut command = program();
    command.args(["--progress"]).arg(&dest.path);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
    let mut stdin = child.stdin.take().expect("stdin");
    let lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let (tell, told) = mpsc::channel();
    let reads = std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| _ = tell.send(line)));
    // The first one comes while there is still more.
    let begun = Instant::now();
    let first = std::iter::repeat_with(|| {
        assert!(begun.elapsed() < PATIENCE, "no line is told");
        stdin.write_all(&entry).expect("write");
        told.recv_timeout(Duration::from_millis(5)).ok()
    });
    let first = first.flatten().next().expect("a line");
    stdin.write_all(&[0; 1024]).expect("write");
    drop(stdin);
    assert!(child.wait().expect("the program").success());
    reads.join().expect("its lines");
    let lines: Vec<String> = [first].into_iter().chain(told).collect();
    assert!(lines.len() > 1, "{lines:?}");
    for line in lines {
        assert!(line.contains("B, ") && line.contains(" entries, ") && !line.contains(['\r', '\x1b']), "{line:?}");
    }
}

#[test]
fn help_fits() {
    for (flag, least, most) in [("-h", 40, 110), ("--help", 150, 470)] {
        let output = program().arg(flag).output().expect("the program");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.lines().all(|line| line.len() <= 110), "{flag}");
        assert!((least..most).contains(&text.lines().count()), "{flag}: {} lines", text.lines().count());
    }
    let help = String::from_utf8_lossy(&program().arg("--help").output().expect("the program").stdout).into_owned();
    for word in ["Exit status", "128+N", "Examples", "--max-sparse-regions", "newuidmap"] {
        assert!(help.contains(word), "{word}");
    }
    let version = program().arg("--version").output().expect("the program").stdout;
    assert_eq!(String::from_utf8_lossy(&version), format!("untar-in-root {}\n", env!("CARGO_PKG_VERSION")));
}

/// A pipe of one page whose write end does not block, full from the beginning.
fn crowded_pipe() -> (File, OwnedFd) {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).expect("a pipe");
    fcntl(&write, FcntlArg::F_SETPIPE_SZ(PAGE as i32)).expect("a small pipe");
    fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("non-blocking");
    assert_eq!(nix::unistd::write(&write, &[b'.'; PAGE]).expect("room"), PAGE);
    (File::from(read), write)
}

const PAGE: usize = 4096;

/// Reads to the end, a page whenever there is no room for more, and leaves out what the pipe was filled with.
fn read_when_full(mut pipe: File, child: &mut Child) -> String {
    let (mut all, mut page) = (Vec::new(), [0; PAGE]);
    let waiting = |pipe: &File| rustix::io::ioctl_fionread(pipe).expect("FIONREAD");
    loop {
        let over = child.try_wait().expect("the program").is_some();
        if over {
            pipe.read_to_end(&mut all).expect("the rest");
            break String::from_utf8_lossy(&all[PAGE..]).into_owned();
        }
        match waiting(&pipe) {
            n if n < PAGE as u64 / 2 => std::thread::sleep(Duration::from_millis(1)),
            _ => {
                let n = pipe.read(&mut page).expect("a page");
                all.extend_from_slice(&page[..n]);
            }
        }
    }
}

/// What a program has said on a crowded standard output, and on a crowded standard error; both times it ended with this.
fn said_on_crowded_pipes(code: i32, command: impl Fn() -> Command) -> [String; 2] {
    type Give = fn(&mut Command, OwnedFd);
    let ways: [Give; 2] = [
        |command, end| _ = command.stdout(end).stderr(Stdio::null()),
        |command, end| _ = command.stderr(end).stdout(Stdio::null()),
    ];
    ways.map(|give| {
        let (pipe, end) = crowded_pipe();
        let mut command = command();
        give(command.stdin(Stdio::null()), end);
        let mut child = command.spawn().expect("the program");
        // The ends that the command holds.
        drop(command);
        let said = read_when_full(pipe, &mut child);
        assert_eq!(child.wait().expect("the program").code(), Some(code), "{said}");
        said
    })
}

#[test]
fn where_an_output_does_not_block_it_waits_and_no_line_is_lost() {
    if !can_run() {
        return;
    }
    let scratch = Scratch::new();
    let names = (0..2000).map(|i| format!("d/a name that is rather long {i}"));
    let archive = scratch.join("a.tar");
    std::fs::write(&archive, names.fold(Tarball::new(), |tar, name| tar.file(name, "x")).build()).expect("archive");
    let with = |words: &[&str], root: bool| {
        let mut command = program();
        command.args(words);
        if root {
            command.arg(scratch.dir("root"));
        }
        command.arg(&archive);
        command
    };
    let lines = |text: &str, of: &str| text.lines().filter(|line| line.contains(of)).count();
    let [out, _] = said_on_crowded_pipes(0, || with(&["-t"], false));
    assert_eq!(lines(&out, "rather long"), 2000);
    let [out, _] = said_on_crowded_pipes(0, || with(&["-t", "--json"], false));
    assert_eq!((lines(&out, "rather long"), lines(&out, "\"report\"")), (2000, 1));
    let [_, err] = said_on_crowded_pipes(0, || with(&["-v"], true));
    assert_eq!(lines(&err, "rather long"), 2000);
    // The parser's own words too.
    let [out, _] = said_on_crowded_pipes(0, || with(&["--help"], false));
    assert!(out.contains("128+N"), "{out}");
    let [_, err] = said_on_crowded_pipes(2, || with(&["--bogus"], false));
    assert!(err.contains("--bogus"), "{err}");
    let [_, err] = said_on_crowded_pipes(1, || with(&["--max-entries", "3"], true));
    assert!(err.contains("--max-entries"), "{err}");
}
