//! `check` on machines that have one containerd or another, each a script that says what that one says.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;
use tempfile::TempDir;

const ON: &str = "\
root = '/var/lib/containerd'
version = 3
[proxy_plugins.untar-in-root]
type = 'diff'
address = 'SOCKET'
[plugins.'io.containerd.service.v1.diff-service']
default = ['untar-in-root', 'walking']
[plugins.'io.containerd.transfer.v1.local']
max_concurrent_unpacks = 3
[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
platform = 'linux/amd64'
snapshotter = 'overlayfs'
differ = 'untar-in-root'
[plugins.'io.containerd.cri.v1.images']
snapshotter = 'overlayfs'
";

/// Whether `check` finds that it can be used, and what it says.
fn check(dir: &TempDir, version: &str, dump: &str) -> (bool, String) {
    let dump = dump.replace("SOCKET", dir.path().join("diff.sock").to_str().expect("path"));
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n--version) echo containerd github.com/containerd/containerd/v2 {version} 0 ;;\n\
         *'config dump') cat <<'END'\n{dump}END\n;;\n*) exit 1 ;;\nesac\n"
    );
    let (text, containerd) = (dir.path().join("text"), dir.path().join("containerd"));
    fs::write(&text, script).expect("script");
    // Not by this process: what another thread starts just then would hold it open for writing, ETXTBSY.
    let installed = Command::new("install").args(["-m", "755"]).args([&text, &containerd]).status();
    assert!(installed.expect("install").success());
    let mut program = Command::new(env!("CARGO_BIN_EXE_untar-in-root-diffd"));
    program.args(["--content-root", "/var/lib/containerd", "check", "--containerd"]).arg(containerd);
    let output = program.output().expect("check");
    (output.status.success(), String::from_utf8(output.stdout).expect("text"))
}

/// The row of this name.
fn row<'a>(said: &'a str, name: &str) -> &'a str {
    said.lines().find(|line| line.get(4..).is_some_and(|rest| rest.starts_with(name))).unwrap_or_default()
}

#[test]
fn a_machine_where_all_is_switched_on_can_use_it_and_does() {
    let dir = tempfile::tempdir().expect("directory");
    let _listener = UnixListener::bind(dir.path().join("diff.sock")).expect("socket");
    let (good, said) = check(&dir, "2.2.3", ON);
    assert!(good && said.lines().all(|line| line.starts_with("ok ")), "{said}");
    assert!(
        row(&said, "configuration").contains("version 3") && row(&said, "snapshotter").contains("overlayfs"),
        "{said}"
    );
}

#[test]
fn one_where_nothing_is_switched_on_yet_can_use_it() {
    let dir = tempfile::tempdir().expect("directory");
    let (good, said) = check(&dir, "2.1.9", "version = 3\n");
    assert!(good, "{said}");
    assert!(["plug-in", "diff-service", "transfer"].iter().all(|name| row(&said, name).starts_with("--")), "{said}");
    let (good, said) = check(&dir, "2.1.9", "[plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'erofs'\n");
    assert!(good && row(&said, "snapshotter").starts_with("--"), "{said}");
}

#[test]
fn what_makes_pulls_fail_or_wrong_is_told_and_fails_the_check() {
    let dir = tempfile::tempdir().expect("directory");
    let (good, said) = check(&dir, "2.2.3", ON);
    assert!(!good && row(&said, "plug-in").contains("every pull fails"), "nobody listens: {said}");
    let _listener = UnixListener::bind(dir.path().join("diff.sock")).expect("socket");
    for (version, dump, name, words) in [
        ("1.6.20", ON.to_owned(), "containerd", "1.7.4 is the first"),
        ("1.7.3", ON.to_owned(), "containerd", "1.7.4 is the first"),
        ("2.2.1", ON.to_owned(), "side by side", "loses whiteouts"),
        ("2.2.3", ON.replace("/var/lib", "/data"), "content", "--content-root /data/containerd"),
        ("2.2.3", "= 1\n".to_owned(), "configuration", "none that containerd reads"),
    ] {
        let (good, said) = check(&dir, version, &dump);
        let row = row(&said, name);
        assert!(!good && row.starts_with("NO") && row.contains(words), "{version}: {said}");
    }
}
