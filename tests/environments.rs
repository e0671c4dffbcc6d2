//! Where people run it, and what they run: what is in force there, and how it ends. `docs/environments.md` has the same
//! table.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::libc;
use serde_json::Value;

use crate::no_proc::in_a_root_without_proc as without_proc;
use crate::support::container::{Contained, with_nothing_in};
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::{need_root, need_tools, skip};
use crate::support::run::{copy_program, program_path};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/environments.md"));

/// What people run, each once in `DIR`, which is their own.
const COMMANDS: [(&str, &str); 6] = [
    ("`untar-in-root`", "--json DIR/root ARCHIVE"),
    ("`--layer`", "--json --layer DIR/root ARCHIVE"),
    ("`--overlay`", "--json --overlay DIR/root ARCHIVE"),
    ("`image`", "image --json oci:LAYOUT DIR/root"),
    ("`-t`", "-t --json ARCHIVE"),
    ("`check`", "check --json DIR"),
];

/// Where they run it.
struct Environment {
    name: &'static str,
    /// Whose the destination is.
    owner: u32,
    start: fn(&Place, &[&str]) -> Command,
    /// The ids that the helper has, where it has made a user namespace.
    ids: &'static str,
    /// What is in force for each command, or the exit status.
    cells: [&'static str; 6],
}

const ROOT: u32 = 0;
const USER: u32 = 65534;

const ENVIRONMENTS: [Environment; 15] = [
    Environment {
        name: "root",
        owner: ROOT,
        start: |place, words| bare(&place.program(words)),
        ids: "none made",
        cells: ["pivot"; 6],
    },
    Environment {
        name: "container as docker and Kubernetes make it: uid 0, fourteen capabilities, their filter",
        owner: ROOT,
        start: |place, words| Contained::root().command(&place.scratch, words),
        ids: "none made",
        cells: ["chroot"; 6],
    },
    Environment {
        name: "restricted pod: uid 1000, no capability, `no_new_privs`, the same filter",
        owner: 1000,
        start: |place, words| Contained::pod(1000).command(&place.scratch, words),
        ids: "none made",
        cells: ["beneath"; 6],
    },
    Environment {
        name: "the same without Landlock",
        owner: 1000,
        start: |place, words| {
            Contained::pod_without(1000, &[libc::SYS_landlock_create_ruleset]).command(&place.scratch, words)
        },
        ids: "",
        cells: ["exit 3"; 6],
    },
    Environment {
        name: "user with ids in `/etc/subuid` and `/etc/subgid`",
        owner: USER,
        start: |place, words| as_user(place, "nobody:100000:65536\n", words),
        ids: "65537",
        cells: ["pivot"; 6],
    },
    Environment {
        name: "user without",
        owner: USER,
        start: |place, words| as_user(place, "", words),
        ids: "1",
        cells: ["pivot"; 6],
    },
    Environment {
        name: "user who may make no user namespace: EPERM (Ubuntu's AppArmor, Debian's sysctl, a filter)",
        owner: USER,
        start: |place, words| Contained::without_user_namespaces(USER).command(&place.scratch, words),
        ids: "none made",
        cells: ["beneath"; 6],
    },
    Environment {
        name: "user who may make no user namespace: ENOSPC (`user.max_user_namespaces=0`)",
        owner: USER,
        start: without_one_more,
        ids: "none made",
        cells: ["beneath"; 6],
    },
    Environment {
        name: "root without `/proc`",
        owner: ROOT,
        start: |place, words| without_proc(&place.scratch, ":", &place.program(words)),
        ids: "none made",
        cells: ["pivot"; 6],
    },
    Environment {
        name: "container as above, without `/proc`",
        owner: ROOT,
        start: |place, words| lacking_proc(&Contained::root().command(&place.scratch, words)),
        ids: "none made",
        cells: ["chroot"; 6],
    },
    Environment {
        name: "its fourteen capabilities and no filter, without `/proc`",
        owner: ROOT,
        start: |place, words| lacking_proc(&Contained::root().unfiltered(&place.program(words))),
        ids: "none made",
        cells: ["chroot"; 6],
    },
    Environment {
        name: "restricted pod as above, without `/proc`",
        owner: 1000,
        start: |place, words| lacking_proc(&Contained::pod(1000).command(&place.scratch, words)),
        ids: "none made",
        cells: ["beneath"; 6],
    },
    Environment {
        name: "user without `/proc`",
        owner: USER,
        start: |place, words| lacking_proc(&Contained::pod(USER).unfiltered(&place.program(words))),
        ids: "none made",
        cells: ["beneath"; 6],
    },
    Environment {
        name: "root on a kernel of 2019: twelve newer calls answer ENOSYS",
        owner: ROOT,
        start: |place, words| Contained::without_newer_calls(libc::ENOSYS).command(&place.scratch, words),
        ids: "none made",
        cells: ["pivot"; 6],
    },
    Environment {
        name: "root under a seccomp profile of 2019: the same calls answer EPERM",
        owner: ROOT,
        start: |place, words| Contained::without_newer_calls(libc::EPERM).command(&place.scratch, words),
        ids: "none made",
        cells: ["pivot"; 6],
    },
];

/// An archive, an image and the program, where everybody may read them.
struct Place {
    scratch: Scratch,
    program: String,
    archive: PathBuf,
    layout: PathBuf,
}

impl Place {
    fn new() -> Place {
        let scratch = Scratch::new();
        let tree = Tarball::new().dir("d").file("d/f", "hello").symlink("d/s", "f");
        let archive = scratch.file("archive.tar", tree.build());
        fs::set_permissions(&archive, fs::Permissions::from_mode(0o644)).expect("mode");
        let (layout, program) = (scratch.join("layout"), scratch.join("untar-in-root"));
        Layout::new().layer(&tree, Packing::Gzip).write(&layout);
        copy_program(&program_path(), &program);
        Place { program: program.display().to_string(), scratch, archive, layout }
    }

    /// The program before these words.
    fn program<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        [self.program.as_str()].into_iter().chain(words.iter().copied()).collect()
    }

    /// Runs one of the commands in a directory of its own.
    fn run(&self, environment: &Environment, command: &str) -> Cell {
        let dir = self.scratch.dir("dir");
        let root = self.scratch.dir("dir/root");
        [&dir, &root].into_iter().for_each(|dir| chown(dir, Some(environment.owner), None).expect("chown"));
        let words = |word: &str| {
            let paths = [("DIR", &dir), ("ARCHIVE", &self.archive), ("LAYOUT", &self.layout)];
            paths.iter().fold(word.to_owned(), |word, (name, path)| word.replace(name, &path.display().to_string()))
        };
        let words: Vec<String> = command.split(' ').map(words).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // What lists and has no directory makes one there.
        let output = (environment.start)(self, &words).env("TMPDIR", &dir).output().expect("the program");
        let made = fs::read(root.join("d/f")).is_ok_and(|content| content == b"hello");
        fs::remove_dir_all(&dir).expect("scratch");
        Cell::new(&output, made)
    }
}

fn bare(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// Not in a chroot, where there would be no user namespaces either.
fn lacking_proc(command: &Command) -> Command {
    with_nothing_in("/proc", command)
}

/// In a mount namespace where these are the ranges of everybody.
fn as_user(place: &Place, ranges: &str, words: &[&str]) -> Command {
    let ranges = place.scratch.file("ranges", ranges);
    let script = "mount --bind $0 /etc/subuid && mount --bind $0 /etc/subgid && \
        exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";
    let mut command = bare(&["unshare", "--mount", "--propagation", "private", "sh", "-c", script]);
    command.arg(ranges).args(place.program(words));
    command
}

/// The kernel's own limit: in a user namespace, which has one of its own, so that nobody else has it.
fn without_one_more(place: &Place, words: &[&str]) -> Command {
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all \
        --ambient-caps=-all \"$@\"";
    let mut command = bare(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "--user"]);
    command.args(["--map-user=1000", "--map-group=1000", "--keep-caps", "sh", "-c", script, "sh"]);
    command.args(place.program(words));
    command
}

/// What came of one command.
struct Cell {
    /// Which switch of root is in force, or the exit status.
    text: String,
    /// How many ids are mapped.
    ids: String,
    made: bool,
    said: String,
}

impl Cell {
    fn new(output: &Output, made: bool) -> Cell {
        let out = String::from_utf8_lossy(&output.stdout);
        let said = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
        let last = out.lines().last().unwrap_or_default();
        let value: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {said}"));
        let places = [&value["report"]["confinement"], &value["layers"][0]["confinement"], &value["confinement"]];
        let confinement = places.into_iter().find(|place| place.is_object()).unwrap_or(&Value::Null);
        let maps = confinement["user_namespace"]["uids"].as_array();
        let ids = maps.map(|maps| maps.iter().map(|range| range["count"].as_u64().expect("a count")).sum::<u64>());
        let (text, ids) = match output.status.code() {
            Some(0) => {
                let root = confinement["root"].as_str().unwrap_or_else(|| panic!("no confinement: {said}"));
                (root.to_owned(), ids.map_or_else(|| "none made".to_owned(), |ids| ids.to_string()))
            }
            code => (format!("exit {}", code.expect("an exit status")), String::new()),
        };
        Cell { text, ids, made, said }
    }

    /// A command that works has done its work, and one that does not says what would help; neither is to be root.
    fn check(&self, environment: &Environment, name: &str, command: &str) {
        let place = format!("{}, {name}: {}", environment.name, self.said);
        assert!(!self.said.contains("as root"), "{place}");
        if self.text.starts_with("exit") {
            assert!(self.said.contains("namespaces"), "{place}");
            return;
        }
        assert_eq!(self.ids, environment.ids, "{place}");
        match name {
            "`-t`" => assert!(self.said.contains("\"d/f\""), "{place}"),
            "`check`" => {}
            _ => assert!(self.made, "{command}: {place}"),
        }
    }
}

/// The lines of the table.
fn table(rows: &[Vec<String>]) -> String {
    let commands = COMMANDS.iter().map(|(name, _)| (*name).to_owned());
    let head: Vec<String> = ["where".to_owned(), "ids mapped".to_owned()].into_iter().chain(commands).collect();
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    rows.iter().fold(line(&head) + &rule, |table, row| table + &line(row))
}

#[test]
fn each_command_in_each_environment_is_confined_by_the_best_that_is_there() {
    let tools = ["setpriv", "unshare", "mount", "chroot", "timeout", "newuidmap", "newgidmap"];
    if !need_root() || !need_tools(&tools) {
        return;
    }
    if !["/etc/subuid", "/etc/subgid"].iter().all(|path| fs::exists(path).is_ok_and(|there| there)) {
        skip("no /etc/subuid");
        return;
    }
    let place = Place::new();
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for environment in &ENVIRONMENTS {
        let mut row = vec![environment.name.to_owned(), environment.ids.to_owned()];
        for ((name, command), want) in COMMANDS.iter().zip(environment.cells) {
            let cell = place.run(environment, command);
            cell.check(environment, name, command);
            if cell.text != want {
                wrong.push(format!("{}, {name}: {want} was wanted: {}: {}", environment.name, cell.text, cell.said));
            }
            row.push(cell.text);
        }
        rows.push(row);
    }
    let measured = table(&rows);
    println!("{measured}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(PAGE.contains(&measured), "docs/environments.md has another table than:\n{measured}");
}
