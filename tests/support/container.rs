//! An ordinary container's capabilities and filter, as docker and Kubernetes give them to uid 0, those of a pod that runs
//! as another user, and other rights and calls that people lack.

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

/// What kernels and filters of some years ago do not know.
pub const NEWER: [i64; 12] = [
    libc::SYS_openat2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_landlock_create_ruleset,
    452, // fchmodat2
    457, // statmount
    458, // listmount
    465, // listxattrat
    libc::SYS_close_range,
    libc::SYS_statx,
    libc::SYS_clone3,
];

const ARGUMENTS: &str = "UNTAR_CONTAINED_ARGUMENTS";
const FORBIDDEN: &str = "UNTAR_CONTAINED_WITHOUT";

/// Which calls somebody's filter keeps back.
#[derive(Clone, Debug)]
enum Filter {
    /// A container's, and these besides, by number.
    Container(Vec<i64>),
    /// A new user namespace: `kernel.unprivileged_userns_clone=0` and AppArmor's rule come to the same.
    UserNamespaces,
    /// These, with this error number.
    Only(Vec<i64>, i32),
}

impl Filter {
    fn words(&self) -> String {
        let (first, calls) = match self {
            Filter::Container(besides) => ("contained".to_owned(), besides),
            Filter::UserNamespaces => return "user-namespaces".to_owned(),
            Filter::Only(calls, errno) => (format!("answering={errno}"), calls),
        };
        calls.iter().fold(first, |words, call| format!("{words} without={call}"))
    }

    fn parse(words: &str) -> Filter {
        let first = words.split(' ').next().unwrap_or_default();
        let numbers = words.split(' ').filter_map(|word| word.strip_prefix("without="));
        let calls = numbers.map(|call| call.parse().expect("a number")).collect();
        match first.strip_prefix("answering=") {
            Some(errno) => Filter::Only(calls, errno.parse().expect("an error number")),
            None if words == "user-namespaces" => Filter::UserNamespaces,
            None => Filter::Container(calls),
        }
    }

    fn install(&self) {
        match self {
            Filter::Container(besides) => forbid(besides),
            Filter::UserNamespaces => {
                let space = || vec![making(libc::CLONE_NEWUSER)];
                install([(libc::SYS_unshare, space()), (libc::SYS_clone, space())].into(), libc::EPERM);
                install([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS);
            }
            Filter::Only(calls, errno) => install(calls.iter().map(|call| (*call, Vec::new())).collect(), *errno),
        }
    }
}

/// Who somebody is.
#[derive(Clone, Debug)]
pub struct Contained {
    setpriv: Vec<String>,
    filter: Filter,
}

impl Contained {
    /// uid 0 with these capabilities but for some.
    pub fn root_but(without: &[&str]) -> Contained {
        let kept = FOURTEEN.iter().filter(|name| !without.contains(name)).map(|name| format!(",+{name}"));
        let bounding = format!("--bounding-set=-all{}", kept.collect::<String>());
        Contained { setpriv: vec![bounding, "--inh-caps=-all".into()], filter: Filter::Container(Vec::new()) }
    }

    pub fn root() -> Contained {
        Contained::root_but(&[])
    }

    /// `runAsNonRoot`, `allowPrivilegeEscalation: false`: another user in a container, without any right.
    pub fn pod(id: u32) -> Contained {
        let mut pod = Contained::user(id, Filter::Container(Vec::new()));
        pod.setpriv.push("--no-new-privs".into());
        pod
    }

    /// The same where the filter keeps these calls back, too.
    pub fn pod_without(id: u32, calls: &[i64]) -> Contained {
        Contained { filter: Filter::Container(calls.into()), ..Contained::pod(id) }
    }

    /// A user of a machine on which only root makes user namespaces.
    pub fn without_user_namespaces(id: u32) -> Contained {
        Contained::user(id, Filter::UserNamespaces)
    }

    /// Whoever this process is, on a kernel or under a filter that answers so to newer calls.
    pub fn without_newer_calls(errno: i32) -> Contained {
        Contained::answering(errno, &NEWER)
    }

    /// The same of any calls.
    pub fn answering(errno: i32, calls: &[i64]) -> Contained {
        Contained { setpriv: Vec::new(), filter: Filter::Only(calls.into(), errno) }
    }

    fn user(id: u32, filter: Filter) -> Contained {
        let words = [
            format!("--reuid={id}"),
            format!("--regid={id}"),
            "--clear-groups".into(),
            "--bounding-set=-all".into(),
            "--inh-caps=-all".into(),
        ];
        Contained { setpriv: words.into(), filter }
    }

    /// What comes before a command.
    pub fn prefix(&self) -> Vec<&str> {
        ["setpriv"].into_iter().chain(self.setpriv.iter().map(String::as_str)).collect()
    }

    /// The option of a child in `support::child` that installs the filter of a container.
    pub fn words(&self) -> String {
        self.filter.words()
    }

    /// The command line with these rights alone, and no filter.
    pub fn unfiltered(&self, words: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(&self.setpriv).args(words);
        command
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
        command.env(ARGUMENTS, serde_json::to_string(arguments).expect("JSON")).env(FORBIDDEN, self.filter.words());
        command
    }
}

/// Not a test: what comes before the program in a container.
#[test]
fn becomes_the_program() {
    let Ok(arguments) = env::var(ARGUMENTS) else { return };
    let arguments: Vec<String> = serde_json::from_str(&arguments).expect("arguments");
    Filter::parse(&env::var(FORBIDDEN).expect("calls")).install();
    // Not asked of the kernel, which is not to be had where /proc lacks.
    let this = env::args_os().next().map(PathBuf::from).expect("a name");
    let program = this.with_file_name("untar-in-root");
    let error = Command::new(program).args(arguments).env_remove(ARGUMENTS).exec();
    panic!("{error}");
}

/// With something empty mounted there, in a mount namespace of its own.
pub fn with_nothing_in(place: &str, command: &Command) -> Command {
    let script = "mount -t tmpfs t \"$0\" && exec \"$@\"";
    let mut without = Command::new("unshare");
    without.args(["--mount", "--propagation", "private", "sh", "-c", script, place]);
    without.arg(command.get_program()).args(command.get_args());
    without.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    without
}

/// The filter of a container around this thread and what it starts, which forbids these calls besides.
///
/// # Panics
/// When it cannot be installed.
pub fn forbid(besides: &[i64]) {
    let calls = MOUNTING.iter().chain(besides).map(|call| (*call, Vec::new()));
    // Any new namespace.
    let spaces = [libc::CLONE_NEWNS, libc::CLONE_NEWUSER].map(making);
    let rules = calls.chain([(libc::SYS_clone, spaces.into())]).collect();
    install(rules, libc::EPERM);
    install([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS);
}

/// Any call whose first argument has this flag.
fn making(flag: i32) -> SeccompRule {
    let bits = flag.cast_unsigned().into();
    let has = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bits), bits);
    SeccompRule::new(vec![has.expect("a condition")]).expect("a rule")
}

fn install(rules: std::collections::BTreeMap<i64, Vec<SeccompRule>>, errno: i32) {
    let arch = TargetArch::try_from(env::consts::ARCH).expect("an architecture");
    let refusal = SeccompAction::Errno(errno.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("in force");
}
