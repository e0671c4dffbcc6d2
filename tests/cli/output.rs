//! What is shown, and when.

use super::{Dest, can_run, program, run};
use crate::support::tarball::Tarball;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

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
    let archive = Tarball::new().file("a", vec![7; 1 << 20]).file("b", "x").build();
    assert!(run(["--progress=auto", &dest.path.display().to_string()], &archive).err.is_empty());
    let mut command = program();
    command.args(["--progress"]).arg(&dest.path);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
    let mut stdin = child.stdin.take().expect("stdin");
    for half in archive.chunks(archive.len() / 2 + 512) {
        stdin.write_all(half).expect("write");
        std::thread::sleep(Duration::from_millis(500));
    }
    drop(stdin);
    let output = child.wait_with_output().expect("the program");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !err.contains('\r') && !err.contains('\x1b'), "{err:?}");
    assert!(err.lines().last().is_some_and(|line| line.contains("MiB, ") && line.contains("entries, ")), "{err:?}");
}

#[test]
fn help_fits() {
    for (flag, least, most) in [("-h", 40, 110), ("--help", 150, 420)] {
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
