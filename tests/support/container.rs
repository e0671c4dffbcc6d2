//! An ordinary container's capabilities and filter, as docker and Kubernetes give them to uid 0, and those of a pod that
//! runs as another user.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::run::{copy_program, program_path};
use super::scratch::Scratch;

/// What docker, containerd and Kubernetes leave to uid 0.
const FOURTEEN: [&str; 14] = [
    "chown",
    "dac_override",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "net_bind_service",
    "net_raw",
    "sys_chroot",
    "mknod",
    "audit_write",
    "setfcap",
];

/// Their filter answers EPERM to these.
const MOUNTING: [i64; 12] = [
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
];

const ARGUMENTS: &str = "UNTAR_CONTAINED_ARGUMENTS";
const FORBIDDEN: &str = "UNTAR_CONTAINED_WITHOUT";

/// Who somebody is.
#[derive(Clone, Debug)]
pub struct Contained {
    setpriv: Vec<String>,
    /// Calls besides, by number: with EPERM.
    forbidden: Vec<i64>,
}

impl Contained {
    /// uid 0 with these capabilities but for some.
    pub fn root_but(without: &[&str]) -> Contained {
        let kept = FOURTEEN.iter().filter(|name| !without.contains(name)).map(|name| format!(",+{name}"));
        let bounding = format!("--bounding-set=-all{}", kept.collect::<String>());
        Contained { setpriv: vec![bounding, "--inh-caps=-all".into()], forbidden: Vec::new() }
    }

    pub fn root() -> Contained {
        Contained::root_but(&[])
    }

    /// Another user, without any right: `runAsNonRoot`, `allowPrivilegeEscalation: false`.
    pub fn user(id: u32) -> Contained {
        let words = [
            format!("--reuid={id}"),
            format!("--regid={id}"),
            "--clear-groups".into(),
            "--bounding-set=-all".into(),
            "--inh-caps=-all".into(),
        ];
        Contained { setpriv: words.into(), forbidden: Vec::new() }
    }

    /// Its filter forbids these, too.
    pub fn without(mut self, calls: &[i64]) -> Contained {
        self.forbidden.extend(calls);
        self
    }

    /// What comes before a command.
    pub fn prefix(&self) -> Vec<&str> {
        ["setpriv"].into_iter().chain(self.setpriv.iter().map(String::as_str)).collect()
    }

    /// The option of a child in `support::child` that installs the filter.
    pub fn words(&self) -> String {
        self.forbidden.iter().fold("contained".to_owned(), |words, call| format!("{words} without={call}"))
    }

    /// The command line in such a container; its binaries are copied to where everybody may execute them.
    ///
    /// # Panics
    /// When they cannot be copied.
    pub fn command(&self, scratch: &Scratch, arguments: &[&str]) -> Command {
        let copy = |from: &Path, name: &str| {
            let to = scratch.join(name);
            if !to.exists() {
                copy_program(from, &to);
            }
            to
        };
        let test = copy(&env::current_exe().expect("this program"), "test-binary");
        copy(&program_path(), "untar-in-root");
        let mut command = Command::new("setpriv");
        command.args(&self.setpriv).arg(&test);
        command.args(["--exact", "support::container::becomes_the_program", "--nocapture", "--quiet"]);
        command.env(ARGUMENTS, serde_json::to_string(arguments).expect("JSON"));
        command.env(FORBIDDEN, serde_json::to_string(&self.forbidden).expect("JSON"));
        command
    }
}

/// Not a test: what comes before the program in a container.
#[test]
fn becomes_the_program() {
    let Ok(arguments) = env::var(ARGUMENTS) else { return };
    let arguments: Vec<String> = serde_json::from_str(&arguments).expect("arguments");
    let forbidden: Vec<i64> = serde_json::from_str(&env::var(FORBIDDEN).expect("calls")).expect("calls");
    forbid(&forbidden);
    let program: PathBuf = env::current_exe().expect("this program").with_file_name("untar-in-root");
    let error = Command::new(program).args(arguments).env_remove(ARGUMENTS).exec();
    panic!("{error}");
}

/// The filter of a container around this thread and what it starts, which forbids these calls besides.
///
/// # Panics
/// When it cannot be installed.
pub fn forbid(besides: &[i64]) {
    let calls = MOUNTING.iter().chain(besides).map(|call| (*call, Vec::new()));
    // Any new namespace.
    let spaces = [libc::CLONE_NEWNS, libc::CLONE_NEWUSER].map(|flag| {
        let bits = flag.cast_unsigned().into();
        let has = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bits), bits);
        SeccompRule::new(vec![has.expect("a condition")]).expect("a rule")
    });
    let rules = calls.chain([(libc::SYS_clone, spaces.into())]).collect();
    install(rules, libc::EPERM);
    install([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS);
}

fn install(rules: std::collections::BTreeMap<i64, Vec<SeccompRule>>, errno: i32) {
    let arch = TargetArch::try_from(env::consts::ARCH).expect("an architecture");
    let refusal = SeccompAction::Errno(errno.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("in force");
}
