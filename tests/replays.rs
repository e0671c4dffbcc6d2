//! Past vulnerabilities that were not in an archive alone: the situation of each, made again. `SECURITY.md` has the
//! table.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use untar_in_root::{Call, Cause, ErrorKind, EventKind, Isolation, Mounts, Program, RootSwitch, Untar};

use crate::support::child::Job;
use crate::support::expected::Expected;
use crate::support::privilege::{need_root, need_tools};
use crate::support::process::helper_of;
use crate::support::run::{copy_program, line, program_path};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::Tree;

const BOTH: [Isolation; 2] = [Isolation::Pivot, Isolation::Chroot];

/// CVE-2016-9962, CVE-2024-21626: a descriptor of a host's directory that a caller has not marked close-on-exec, by
/// which the destination and the archive name what is outside.
#[test]
fn a_leaked_descriptor_is_no_way_out() {
    if !need_root() {
        return;
    }
    const LEAK: &str = "exec 9< \"$0\"; exec \"$@\"";
    const NAMED: &str = "proc/self/fd/9";
    let scratch = Scratch::new();
    let outside = scratch.dir("outside");
    let archive = Tarball::new()
        .file("working", "1")
        .symlink("/link", format!("/{NAMED}"))
        .file("/link/through", "2")
        .symlink("/cwd", "/proc/self/cwd")
        .file("/cwd/there", "3");
    let archive = scratch.file("archive.tar", archive.build());
    for isolation in ["pivot", "chroot"] {
        let dest = scratch.dir(format!("dest-{isolation}"));
        let mut command = Command::new("bash");
        command.args(["-c", LEAK]).arg(&outside).arg(program_path()).args(["--isolation", isolation]);
        command.arg(format!("--into=/{NAMED}")).arg(&dest).arg(&archive).stdin(Stdio::null());
        let output = command.output().expect("the program");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = Tree::read(&dest);
        // All of it are names in the root; what is linked to is made there.
        let at = |name: &str, field: &str| tree.get(&format!("{NAMED}/{name}"), field).to_owned();
        assert_eq!((at("working", "content"), at("through", "content")), ("1".into(), "2".into()));
        assert_eq!(at("link", "target"), format!("/{NAMED}"));
        assert_eq!(tree.get("proc/self/cwd/there", "content"), "3");
        assert_eq!(line(&Tree::read(&outside)), "", "{isolation}");
    }
}

/// CVE-2019-5736: the program that does the work is overwritten through `/proc/self/exe`. Here there is a `/proc`,
/// since somebody has mounted one in the root.
#[test]
fn proc_self_exe_is_no_way_to_the_program() {
    if !need_root() {
        return;
    }
    for isolation in BOTH {
        let scratch = Scratch::new();
        let program = scratch.join("helper");
        copy_program(&program_path(), &program);
        let before = fs::read(&program).expect("program");
        let dest = scratch.dir("dest");
        mount("proc", scratch.dir("dest/proc"), "proc", MountFlags::empty(), None).expect("proc");
        symlink("/proc/self", dest.join("self")).expect("link");
        let attacks = [
            ("in its place", Tarball::new().file("proc/self/exe", "evil")),
            ("through a link that is there", Tarball::new().file("self/exe", "evil")),
            ("through a link of the archive", Tarball::new().symlink("l", "/proc/self").file("l/exe", "evil")),
            ("a hard link", Tarball::new().hardlink("h", "proc/self/exe")),
            (
                "a hard link through a link",
                Tarball::new().symlink("e", "/proc/self/exe").hardlink("h", "e").file("h", "x"),
            ),
        ];
        for (what, attack) in attacks {
            let run = |cross: bool| {
                let mut untar = Untar::open(&dest).expect("root").program(Program::at(&program));
                untar.options_mut().jail.isolation = isolation;
                untar.options_mut().jail.mounts = if cross { Mounts::Cross } else { Mounts::Refuse };
                untar.apply(&attack.build()[..])
            };
            let refused = run(false);
            // A link to a link is one, and what is then made in its place is a file of the root.
            if what == "a hard link through a link" {
                refused.expect("applied");
                assert_eq!(fs::read(dest.join("h")).expect("file"), b"x");
            } else {
                let error = refused.expect_err(what);
                let cause = error.failure().map(|failure| failure.cause.clone());
                assert_eq!(cause, Some(Cause::CrossesMount), "{what}: {error:?}");
                run(true).expect_err("even if mounts may be crossed");
            }
            assert!(fs::read(&program).expect("program") == before, "{isolation:?}, {what}: it was changed");
        }
    }
}

/// CVE-2022-24769, CVE-2022-36109: capabilities that a caller passes on, and groups that it is in.
#[test]
fn what_the_caller_passes_on_ends_with_the_caller() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    let archive = scratch.file("archive.tar", Tarball::new().file("f", vec![7; 100_000]).build());
    let heir = ["setpriv", "--groups=12,34", "--inh-caps=+sys_admin,+net_raw", "--ambient-caps=+net_raw"];
    let job = Job::new(&scratch.dir("dest"), &archive, "stall pivot").behind(&heir);
    let mut caller = job.command(&scratch).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a caller");
    let lines = BufReader::new(caller.stdout.take().expect("pipe")).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.starts_with("half: ")), "it has a helper");
    // Until it can be seen for one, a little after its parent goes on; and until it is confined.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let helper = loop {
        match helper_of(caller.id()) {
            Some(helper) => break helper,
            None => assert!(std::time::Instant::now() < deadline, "no helper"),
        }
    };
    while status(helper, "NoNewPrivs") != "1" && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let sets = ["CapInh", "CapAmb", "Groups"];
    let (of_caller, of_helper) = (sets.map(|set| status(caller.id(), set)), sets.map(|set| status(helper, set)));
    caller.kill().expect("killed");
    caller.wait().expect("reaped");
    let none = "0".repeat(16);
    assert!(of_caller[0] != none && of_caller[1] != none && of_caller[2] == "12 34", "{of_caller:?}");
    assert_eq!(of_helper, [none.clone(), none, String::new()]);
}

fn status(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.expect("a field").trim().to_owned()
}

/// CVE-2026-79705: where the strong wall cannot be had, another path is taken that lacks the others, too. Here the
/// right to mount is lacking, as in many containers.
#[test]
fn the_weakest_fallback_has_the_other_walls() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    let no_admin = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"];
    let run = |attack: &dyn Fn(&str) -> Tarball, options: &str| {
        let scratch = Scratch::new();
        let outside = scratch.dir("outside");
        let name = outside.to_str().expect("UTF-8");
        let archive = scratch.file("archive.tar", attack(name).build());
        let job = Job::new(&scratch.dir("dest"), &archive, &format!("chroot never {options}")).behind(&no_admin);
        let said = job.run(&scratch);
        assert_eq!(line(&Tree::read(&outside)), "", "{}", said.0);
        said
    };
    let through = |outside: &str| Tarball::new().symlink("l", outside).file("l/evil", "1").file("../evil", "2");
    run(&through, "").fails(ErrorKind::Refused).because(Expected::PathEscapes);
    let device = |_: &str| Tarball::new().file("f", "1").char_dev("zero", 1, 5);
    // A device could be used where nothing keeps it from being: none is made.
    let said = run(&device, "");
    said.fails(ErrorKind::Entry).because((Call::Mknodat, Errno::PERM));
    assert_eq!(said.answer().tree.as_deref(), Some("f=1"));
    let report = run(&device, "skip-devices").leads_to("f=1");
    assert_eq!(report.events.len(), 1, "{:?}", report.events);
    assert_eq!(report.events[0].what, EventKind::DeviceSkipped { errno: Errno::PERM.raw_os_error() });
    let walls = report.confinement;
    assert_eq!(walls.root, RootSwitch::Chroot);
    assert!(!walls.mount_restricted && walls.no_new_privs && walls.seccomp && walls.landlock_paths, "{walls:?}");
    for gone in ["CAP_MKNOD", "CAP_SYS_CHROOT", "CAP_SYS_ADMIN"] {
        assert!(walls.capabilities.iter().all(|kept| kept != gone), "{walls:?}");
    }
}
