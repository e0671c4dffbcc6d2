//! `check` on machines that have one containerd or another, each a script that says what that one says.

use crate::server::Server;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const ON: &str = "\
root = 'ROOT'
version = 3
[grpc]
address = '/run/containerd/containerd.sock'
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

/// Whether `check` finds that it can be used, and what it says. The directory is a [`Server`]'s, if there is one.
fn check(dir: &TempDir, version: &str, dump: &str) -> (bool, String) {
    let own = |name: &str| dir.path().join(name).to_str().expect("path").to_owned();
    let dump = dump.replace("SOCKET", &own("diff.sock")).replace("ROOT", &own("containerd"));
    let containerd = containerd(dir.path(), version, &format!("*'config dump') cat <<'END'\n{dump}END\n;;"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_untar-in-root-diffd"));
    program.args(["check", "--content-root", &own("containerd"), "--containerd"]).arg(containerd);
    said(&mut program)
}

fn said(program: &mut Command) -> (bool, String) {
    let output = program.output().expect("check");
    let good = match output.status.code() {
        Some(0) => true,
        Some(3) => false,
        code => panic!("{code:?}: {output:?}"),
    };
    (good, String::from_utf8(output.stdout).expect("text"))
}

/// A script in containerd's place: its version, and what else it answers to (cases of sh).
pub(crate) fn containerd(dir: &Path, version: &str, cases: &str) -> PathBuf {
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n--version) echo containerd github.com/containerd/containerd/v2 {version} 0 ;;\n\
         {cases}\n*) echo \"No help topic\" >&2; exit 1 ;;\nesac\n"
    );
    let (text, containerd) = (dir.join("text"), dir.join("program"));
    fs::write(&text, script).expect("script");
    install(&text, &containerd);
    containerd
}

/// Not by this process: what another thread starts just then would hold it open for writing, ETXTBSY.
fn install(from: &Path, to: &Path) {
    let installed = Command::new("install").args(["-m", "755"]).args([from, to]).status();
    assert!(installed.expect("install").success());
}

/// The row of this name.
fn row<'a>(said: &'a str, name: &str) -> &'a str {
    said.lines().find(|line| line.get(4..).is_some_and(|rest| rest.starts_with(name))).unwrap_or_default()
}

#[test]
fn a_machine_where_all_is_switched_on_can_use_it_and_does() {
    let server = Server::start(&[]);
    let (good, said) = check(&server.dir, "2.2.3", ON);
    // The containerd that is a script runs nowhere.
    assert!(row(&said, "running").contains("does not answer at /run/containerd/containerd.sock"), "{said}");
    let all = || said.lines().filter(|line| !line.contains("  running "));
    assert!(good && all().all(|line| line.starts_with("ok ")), "{said}");
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
    let server = Server::start(&[]);
    for (version, dump, name, words) in [
        ("1.6.20", ON.to_owned(), "containerd", "1.7.4 is the first"),
        ("1.7.3", ON.to_owned(), "containerd", "1.7.4 is the first"),
        ("2.2.1", ON.to_owned(), "side by side", "loses whiteouts"),
        ("2.2.3", ON.replace("ROOT", "/data/containerd"), "content", "content-root = \"/data/containerd\" into /etc/"),
        (
            "2.2.3",
            ON.replace("/run/containerd/", "/data/"),
            "commit",
            "containerd-address = \"/data/containerd.sock\" into /etc/",
        ),
        ("2.2.3", "= 1\n".to_owned(), "configuration", "none that containerd reads"),
    ] {
        let (good, said) = check(&server.dir, version, &dump);
        let row = row(&said, name);
        assert!(!good && row.starts_with("NO") && row.contains(words), "{version}: {said}");
    }
}

/// The service that runs goes on with what it has: it is the next start that fails.
#[test]
fn a_file_that_the_service_would_not_start_with_is_told() {
    let server = Server::start(&[]);
    let file = server.path("diffd.toml");
    fs::write(&file, "[limits]\nentries = 0\n").expect("configuration");
    let dump = ON.replace("SOCKET", &server.path("diff.sock").display().to_string());
    let dump = dump.replace("ROOT", &server.path("containerd").display().to_string());
    let containerd = containerd(server.dir.path(), "2.2.3", &format!("*'config dump') cat <<'END'\n{dump}END\n;;"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_untar-in-root-diffd"));
    let (good, said) = said(program.arg("--config").arg(file).args(["check", "--containerd"]).arg(containerd));
    let settings = row(&said, "settings");
    assert!(!good && settings.starts_with("NO") && settings.contains("does not start"), "{said}");
    assert!(row(&said, "plug-in").starts_with("ok") && row(&said, "content").starts_with("ok"), "{said}");
}

/// systemd's socket, too, takes a connection for a service that does not start.
#[test]
fn a_service_that_takes_connections_and_does_not_answer_is_none() {
    let dir = tempfile::tempdir().expect("directory");
    let is_bad = |words: [&str; 2]| {
        let (good, said) = check(&dir, "2.2.3", ON);
        let row = row(&said, "plug-in");
        let all = [words[0], "every pull fails", words[1]];
        assert!(!good && row.starts_with("NO") && all.iter().all(|words| row.contains(words)), "{said}");
    };
    is_bad(["No such file", "systemctl enable --now untar-in-root-diffd.socket"]);
    let listener = UnixListener::bind(dir.path().join("diff.sock")).expect("socket");
    is_bad(["does not answer", "journalctl -u untar-in-root-diffd"]);
    let hangs_up = std::thread::spawn(move || {
        // One to see whether somebody listens, one to ask, and what was left of before.
        while let Ok((stream, _)) = listener.accept() {
            let mut said = [0];
            if std::io::Read::read(&mut &stream, &mut said).is_ok_and(|n| n == 1 && said == *b".") {
                return;
            }
        }
    });
    is_bad(["hangs up", "journalctl -u untar-in-root-diffd"]);
    std::io::Write::write_all(&mut UnixStream::connect(dir.path().join("diff.sock")).expect("it listens"), b".")
        .expect("said");
    hangs_up.join().expect("ended");
    // What is left of one that was stopped.
    is_bad(["refused", "systemctl enable --now untar-in-root-diffd.socket"]);
}

#[test]
fn where_the_service_looks_is_its_own_word() {
    let server = Server::start(&[]);
    let own = server.path("containerd");
    let mut program = Command::new(env!("CARGO_BIN_EXE_untar-in-root-diffd"));
    let dump = ON.replace("SOCKET", server.path("diff.sock").to_str().expect("path")).replace("ROOT", "/elsewhere");
    let containerd = containerd(server.dir.path(), "2.2.3", &format!("*'config dump') cat <<'END'\n{dump}END\n;;"));
    program.args(["check", "--content-root", "/elsewhere", "--containerd-address", "/else.sock", "--containerd"]);
    let (good, said) = said(program.arg(containerd));
    let content = row(&said, "content");
    assert!(!good && content.contains(&format!("the service looks below {}", own.display())), "{said}");
    assert!(row(&said, "commit").contains("layers go to /run/containerd/containerd.sock"), "{said}");
}

/// It does not say in which namespace a layer is to be made, so its own differ makes it.
#[test]
fn of_1_7_it_is_not_asked_where_layers_go() {
    let server = Server::start(&[]);
    let (good, said) = check(&server.dir, "1.7.24", &ON.replace("/run/containerd/", "/data/"));
    assert!(good && !said.contains("commit"), "{said}");
}

#[test]
fn a_socket_that_is_not_asked_yet_fails_no_pull_and_one_behind_another_is_off() {
    let dir = tempfile::tempdir().expect("directory");
    let off =
        ON.replace("'untar-in-root', 'walking'", "'walking', 'untar-in-root'").replace("= 'untar-in-root'", "= ''");
    let (good, said) = check(&dir, "2.2.3", &off);
    assert!(good && row(&said, "plug-in").starts_with("--") && !said.contains("every pull"), "{said}");
    assert!(row(&said, "diff-service").contains("off for") && row(&said, "transfer").contains("off for"), "{said}");
}

#[test]
fn a_configuration_cannot_write_rows_of_its_own() {
    let dir = tempfile::tempdir().expect("directory");
    let hostile = ON.replace("'SOCKET'", "\"/x\\u001b[31m\\nok  plug-in        answers\"");
    let (_, said) = check(&dir, "2.2.3", &hostile);
    assert!(!said.contains('\x1b') && said.contains("\\u{1b}[31m\\nok "), "{said}");
}

#[test]
fn a_root_by_another_name_is_the_same() {
    let dir = tempfile::tempdir().expect("directory");
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    fs::create_dir(&real).expect("directory");
    symlink(&real, &link).expect("link");
    let dump = format!("*'config dump') echo 'root = \"{}\"' ;;", link.display());
    let containerd = containerd(dir.path(), "2.1.9", &dump);
    let mut program = Command::new(env!("CARGO_BIN_EXE_untar-in-root-diffd"));
    let (good, said) = said(program.arg("--content-root").arg(real).args(["check", "--containerd"]).arg(containerd));
    assert!(good && row(&said, "content").starts_with("ok"), "{said}");
}

#[test]
fn without_a_file_1_7_has_its_defaults() {
    let dir = tempfile::tempdir().expect("directory");
    let containerd = containerd(dir.path(), "1.7.24", "'config default') echo 'version = 2' ;;");
    let mut program = Command::new(env!("CARGO_BIN_EXE_untar-in-root-diffd"));
    program.args(["check", "--containerd"]).arg(&containerd).arg("--containerd-config").arg(dir.path().join("none"));
    let (good, text) = said(&mut program);
    assert!(good && row(&text, "configuration").contains("version 2"), "{text}");
    fs::write(dir.path().join("none"), "").expect("file");
    let (good, text) = said(&mut program);
    assert!(!good && row(&text, "configuration").contains("No help topic"), "its own words: {text}");
}

/// dockerd switches its store off then, and says nothing.
#[test]
fn a_docker_that_maps_ids_is_said_to_do_without() {
    let dir = tempfile::tempdir().expect("directory");
    let (docker, config) = (dir.path().join("daemon.json"), dir.path().join("none"));
    let containerd = containerd(dir.path(), "1.7.24", "'config default') echo 'version = 2' ;;");
    let mut program = Command::new(env!("CARGO_BIN_EXE_untar-in-root-diffd"));
    program.args(["check", "--containerd"]).arg(containerd).arg("--containerd-config").arg(config);
    program.arg("--docker-config").arg(&docker);
    assert!(!said(&mut program).1.contains("docker "), "there is none");
    for (mapped, text) in [(false, "{\"userns-remap\": \"\"}"), (true, "{\"userns-remap\": \"default\"}")] {
        fs::write(&docker, text).expect("daemon.json");
        let (_, said) = said(&mut program);
        let told = said.lines().any(|line| line.starts_with("--  docker ") && line.contains("userns-remap"));
        assert_eq!(told, mapped, "{said}");
    }
}

#[test]
fn what_this_user_may_not_read_is_said_as_such() {
    let dir = tempfile::tempdir().expect("directory");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("mode");
    let (program, config) = (dir.path().join("diffd"), dir.path().join("config.toml"));
    install(Path::new(env!("CARGO_BIN_EXE_untar-in-root-diffd")), &program);
    fs::write(&config, "").expect("file");
    fs::set_permissions(&config, Permissions::from_mode(0o000)).expect("mode");
    let containerd = containerd(dir.path(), "2.1.9", "");
    let mut program = Command::new(program);
    program.args(["check", "--containerd"]).arg(containerd).arg("--containerd-config").arg(config);
    if nix::unistd::geteuid().is_root() {
        program.uid(65534).gid(65534);
    }
    let (good, said) = said(&mut program);
    assert!(!good && row(&said, "configuration").contains("ask as root"), "{said}");
}
