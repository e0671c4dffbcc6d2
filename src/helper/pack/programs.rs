//! Programs that others wrote, for the tests.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory of this test, gone with it.
pub(in crate::helper) struct Scratch(pub(in crate::helper) PathBuf);

impl Scratch {
    pub(in crate::helper) fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("untar-pack-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }

    pub(in crate::helper) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether the program is there; if not, a word about it.
pub(in crate::helper) fn need(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file()) || skip(&format!("no program `{program}`"))
}

/// Whether the path is there; if not, a word about it.
pub(in crate::helper) fn need_path(path: &str) -> bool {
    Path::new(path).exists() || skip(&format!("no {path}"))
}

#[allow(clippy::print_stdout)]
pub(in crate::helper) fn skip(why: &str) -> bool {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let required = std::env::var_os("UNTAR_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "{test} cannot run: {why}");
    println!("SKIPPED {test}: {why}");
    false
}

/// What it says of its input.
pub(in crate::helper) fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a program");
    let mut stdin = child.stdin.take().expect("its input");
    std::thread::scope(|scope| {
        // It may end before it has read all of it.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("its end")
    })
}

/// As `run`, of one that succeeds.
pub(in crate::helper) fn output(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let output = run(command, input);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A Go program, built with nothing but what Debian's packages have.
pub(in crate::helper) fn build(scratch: &Scratch, source: &str) -> PathBuf {
    let Scratch(place) = scratch;
    let (file, program) = (scratch.file("main.go", source.as_bytes()), place.join("program"));
    let mut go = Command::new("go");
    go.current_dir(place).args(["build", "-o"]).arg(&program).arg(&file);
    go.env("HOME", place).env("GOCACHE", place.join("cache")).env("GOPATH", DEBIAN_SOURCES);
    go.env("GO111MODULE", "off").env("GOPROXY", "off").env("CGO_ENABLED", "0");
    output(&mut go, b"");
    program
}

/// Where Debian has the sources of Go libraries.
const DEBIAN_SOURCES: &str = "/usr/share/gocode";
