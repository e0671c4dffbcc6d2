//! What `check` says of a machine: each of its lines, in the situation that it is for.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use nix::libc;
use serde_json::Value;

use crate::support::container::{Contained, with_nothing_in};
use crate::support::privilege::{need_root, need_tools};
use crate::support::run::{copy_program, program_path};
use crate::support::scratch::Scratch;

/// What it says of one thing: its state, words of the detail, words of the remedy.
type Line<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Where somebody runs it, and what it says.
struct Place<'a> {
    name: &'a str,
    /// Whose the directory is.
    owner: u32,
    start: &'a dyn Fn(&Scratch, &[&str]) -> Command,
    lines: &'a [Line<'a>],
}

const USER: u32 = 65534;

/// A filter answers so to these calls.
fn answering(errno: i32, calls: &'static [i64]) -> impl Fn(&Scratch, &[&str]) -> Command {
    move |scratch, words| Contained::answering(errno, calls).command(scratch, words)
}

fn as_user(scratch: &Scratch, words: &[&str]) -> Command {
    let program = scratch.join("untar-in-root");
    if !program.exists() {
        copy_program(&program_path(), &program);
    }
    let ids = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut command = Command::new("setpriv");
    command.args(ids).arg(program).args(words);
    command
}

const SETTING: &[i64] = &[libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr, 463];
const SYSCTL: &str = "kernel.unprivileged_userns_clone=1";

const ROOT: &[Line<'_>] = &[
    ("root switch", "yes", "pivot_root", ""),
    ("mount without devices, set-uid, execution", "yes", "nosuid, nodev, noexec", ""),
    ("user namespace", "yes", "not needed: the caller has the rights", ""),
    ("capabilities dropped", "yes", "left: CAP_CHOWN ", ""),
    ("seccomp", "yes", "filter in force", ""),
    ("Landlock", "yes", "ABI ", ""),
    ("any owner", "yes", "yes", ""),
    ("devices", "yes", "yes", ""),
    ("user.* attributes", "yes", "yes", ""),
    ("file capabilities", "yes", "yes", ""),
    ("ACLs", "yes", "yes", ""),
    ("trusted.* attributes", "yes", "yes", ""),
    ("overlay mount", "yes", "with trusted.overlay.* marks", ""),
];

const CONTAINER: &[Line<'_>] = &[
    ("root switch", "partly", "chroot, because unshare(CLONE_NEWNS) = -1 EPERM", "CAP_SYS_ADMIN, or user namespaces"),
    ("mount without devices, set-uid, execution", "no", "not in force", "the right to mount"),
    ("user namespace", "partly", "none, and none needed for this root switch", ""),
    ("devices", "partly", "", "--devices skip or placeholder"),
    ("trusted.* attributes", "partly", "", "user.overlay.*"),
    ("overlay mount", "no", "as we are: Operation not permitted; in a user namespace: ", "Linux 5.11 or later"),
];

const POD: &[Line<'_>] = &[
    ("root switch", "partly", "no new root, but steps beneath", SYSCTL),
    ("capabilities dropped", "yes", "left: none; no_new_privs", ""),
    ("any owner", "partly", "", "--no-same-owner or --ignore-chown-errors"),
    ("file capabilities", "partly", "", "a root that is entered (see root switch)"),
];

const ONE_ID: &[Line<'_>] = &[
    ("root switch", "yes", "pivot_root", ""),
    ("user namespace", "partly", "one id only", "/etc/subuid and /etc/subgid"),
    ("any owner", "partly", "", "subordinate ids"),
    ("overlay mount", "yes", "in a user namespace, with user.overlay.* marks (userxattr)", ""),
];

/// On one file system, since the machine's own may lack what is asked for.
#[test]
fn each_line_of_check_is_said_where_it_is_so() {
    if !need_root() || !need_tools(&["setpriv", "unshare", "mount"]) {
        return;
    }
    let same = |_: &Scratch, words: &[&str]| {
        let mut command = Command::new(program_path());
        command.args(words);
        command
    };
    let one_id = |scratch: &Scratch, words: &[&str]| {
        let empty = scratch.file("empty", "");
        let script = "mount --bind $0 /etc/subuid && mount --bind $0 /etc/subgid && exec \"$@\"";
        let inside = as_user(scratch, words);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(empty);
        command.arg(inside.get_program()).args(inside.get_args());
        command
    };
    let places = [
        Place { name: "root", owner: 0, start: &same, lines: ROOT },
        Place {
            name: "an ordinary container",
            owner: 0,
            start: &|scratch, words| Contained::root().command(scratch, words),
            lines: CONTAINER,
        },
        Place {
            name: "a restricted pod",
            owner: 1000,
            start: &|scratch, words| Contained::pod(1000).command(scratch, words),
            lines: POD,
        },
        Place {
            name: "root without any capability",
            owner: 0,
            start: &|_, words| {
                let mut command = Command::new("setpriv");
                command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(program_path()).args(words);
                command
            },
            lines: &[("applying an archive", "no", "or do without a new root", "CAP_SYS_CHROOT is enough for chroot")],
        },
        Place { name: "a user with one id", owner: USER, start: &one_id, lines: ONE_ID },
        Place {
            name: "no Landlock",
            owner: 0,
            start: &answering(libc::ENOSYS, &[libc::SYS_landlock_create_ruleset]),
            lines: &[(
                "Landlock",
                "partly",
                "not there",
                "Linux 5.13 or later with landlock among the modules of `lsm=`",
            )],
        },
        Place {
            name: "no attributes",
            owner: 0,
            start: &answering(libc::EOPNOTSUPP, SETTING),
            lines: &[
                ("user.* attributes", "partly", "", "another file system; tmpfs has them since Linux 6.6"),
                ("file capabilities", "partly", "", "another file system, or CAP_SETFCAP"),
                ("ACLs", "partly", "", "a file system mounted with ACLs"),
                ("trusted.* attributes", "partly", "not set: EOPNOTSUPP", "only root in the first user namespace"),
            ],
        },
        Place {
            name: "a pod without Landlock",
            owner: 1000,
            start: &|scratch, words| {
                Contained::pod_without(1000, &[libc::SYS_landlock_create_ruleset]).command(scratch, words)
            },
            lines: &[("applying an archive", "no", "landlock_create_ruleset(", SYSCTL)],
        },
        Place {
            name: "a pod without Landlock and /proc",
            owner: 1000,
            start: &|scratch, words| {
                let pod = Contained::pod_without(1000, &[libc::SYS_landlock_create_ruleset]);
                with_nothing_in("/proc", &pod.command(scratch, words))
            },
            lines: &[("applying an archive", "no", "landlock_create_ruleset(", "first of all /proc")],
        },
    ];
    for place in &places {
        place.check();
    }
}

impl Place<'_> {
    fn check(&self) {
        let scratch = Scratch::new();
        let dir = scratch.tmpfs("dir", 1 << 20).expect("tmpfs");
        chown(&dir, Some(self.owner), None).and_then(|()| fs::set_permissions(&dir, mode())).expect("directory");
        let text = dir.to_str().expect("text");
        let said = self.said(&scratch, &["check", "--json", text]);
        let value: Value = serde_json::from_str(said.lines().last().unwrap_or_default())
            .unwrap_or_else(|error| panic!("{}: {error}: {said}", self.name));
        let plain = self.said(&scratch, &["check", text]);
        for (what, state, detail, remedy) in self.lines {
            let of = format!("{}, {what}: {said}", self.name);
            let items = value["items"].as_array().expect("items");
            let item = items.iter().find(|item| item["what"] == *what).unwrap_or_else(|| panic!("{of}"));
            assert_eq!(item["state"], *state, "{of}");
            assert!(item["detail"].as_str().expect("detail").contains(detail), "{of}");
            assert!(item["remedy"].as_str().unwrap_or_default().contains(remedy), "{of}");
            assert!(*state == "yes" || item["remedy"].is_string() || remedy.is_empty(), "{of}");
            // The number of a process is another in each run.
            let begins = format!("{state:<7} {what}: ");
            let is_it = |line: &str| line.starts_with(&begins) && line.contains(detail);
            assert!(plain.lines().any(is_it), "{begins}: {plain}");
        }
        assert!(left(&dir), "{}: something is left", self.name);
    }

    fn said(&self, scratch: &Scratch, words: &[&str]) -> String {
        let output = (self.start)(scratch, words).output().expect("the program");
        format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
    }
}

fn mode() -> fs::Permissions {
    fs::Permissions::from_mode(0o755)
}

/// Whether nothing is.
fn left(dir: &Path) -> bool {
    fs::read_dir(dir).expect("directory").next().is_none()
}
