//! A machine of a test's own: namespaces with a Debian root, in which containerd, the differ and Docker run.
//!
//! It ends with the value, and with the thread that made it: whatever runs or is mounted there is gone then.

use crate::cgroup::Cgroup;
use crate::chroots::{Release, chroot};
use crate::support::process::{helpers_of, wait_until};
use crate::support::scratch::Scratch;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub struct Machine {
    pub release: Release,
    outer: Child,
    init: u32,
    /// Logs, which outlive whoever writes them.
    pub logs: Scratch,
    pub cgroup: Option<Cgroup>,
}

/// Something that runs there, by the process that entered for it.
pub struct Running {
    outer: Child,
    /// Seen from outside.
    pub pid: u32,
}

/// Whose layers a containerd has applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differ {
    Ours,
    Walking,
    /// Ours, and where it answers UNIMPLEMENTED containerd's own.
    OursThenWalking,
}

/// The first child, once it is there.
fn child_of(pid: u32) -> Option<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    list.split_whitespace().next()?.parse().ok()
}

impl Machine {
    /// None (after saying so) where its root cannot be had.
    pub fn start(release: Release) -> Option<Machine> {
        Machine::begin(release, &[])
    }

    /// One with systemd, which nothing of the host's is within reach of.
    pub fn boot() -> Option<Machine> {
        let machine = Machine::begin(Release::Forky, &["/usr/lib/systemd/systemd", "--unit=basic.target"])?;
        wait_until("systemd is up", || machine.output(&["systemctl", "is-active", "basic.target"]).status.success());
        Some(machine)
    }

    fn begin(release: Release, first: &[&str]) -> Option<Machine> {
        let root = chroot(release)?;
        let cgroup = Cgroup::new().inspect_err(|why| println!("NO CGROUP for the machine: {why}")).ok();
        let mut command = joining(cgroup.as_ref().map(Cgroup::top), "setpriv");
        // Whatever ends this thread ends the machine.
        command.args(["--pdeathsig", "KILL", "unshare", "-m", "-p", "-i", "-n", "-u", "-C", "--fork", "--kill-child"]);
        command.args(["--propagation", "private", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/containerd/enter")]);
        command.arg(root).arg(env!("CARGO_BIN_EXE_untar-in-root-diffd")).args(first);
        let mut outer = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("unshare");
        let mut line = String::new();
        BufReader::new(outer.stdout.take().expect("a pipe")).read_line(&mut line).expect("its word");
        assert_eq!(line, "ready\n", "the machine");
        let init = child_of(outer.id()).expect("its first process");
        // It says so just before it enters its root.
        wait_until("the root", || fs::metadata(format!("/proc/{init}/root/var/d")).is_ok());
        if let Some(cgroup) = &cgroup {
            // No process stays beside the directories.
            fs::write(cgroup.members().join("cgroup.procs"), outer.id().to_string()).expect("moved");
        }
        let machine = Machine { release, outer, init, logs: Scratch::new(), cgroup };
        fs::create_dir_all(machine.path("run/untar-in-root")).expect("directory");
        Some(machine)
    }

    /// A path there, as it is called here.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.init)).join(path.trim_start_matches('/'))
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = joining(self.cgroup.as_ref().map(Cgroup::members).as_deref(), "nsenter");
        command.arg(format!("--target={}", self.init)).args(["-m", "-p", "-i", "-n", "-u", "-C"]);
        command.arg(format!("--root=/proc/{}/root", self.init)).arg("--wd=/").arg("--").args(words);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        command
    }

    pub fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("nsenter")
    }

    /// What it says; it must succeed.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words:?}: {}\n{said}\n{complained}", output.status);
        said.into_owned()
    }

    /// What it complains of; it must fail.
    #[track_caller]
    pub fn fails(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success(), "{words:?} succeeded: {said}\n{complained}");
        format!("{said}{complained}")
    }

    /// Starts something that stays; its words go to the log of this name.
    pub fn spawn(&self, log: &str, words: &[&str]) -> Running {
        let file = fs::OpenOptions::new().create(true).append(true).open(self.logs.join(log)).expect("log");
        let mut command = self.command(words);
        command.stdout(file.try_clone().expect("log")).stderr(file);
        let outer = command.spawn().expect("nsenter");
        wait_until("a process", || child_of(outer.id()).is_some());
        let pid = child_of(outer.id()).expect("a process");
        Running { outer, pid }
    }

    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.logs.join(name)).unwrap_or_default()
    }

    /// containerd's own version, without Debian's.
    pub fn version(&self) -> String {
        let said = self.run(&["containerd", "--version"]);
        said.split_whitespace().nth(2).expect("a version").split(['~', '+']).next().expect("a part").to_owned()
    }

    /// The differ, for the containerd of this name.
    pub fn differ(&self, containerd: &str, words: &[&str]) -> Running {
        let (root, address) = (format!("/var/d/{containerd}/root"), socket_of(containerd));
        let mut all = vec!["untar-in-root-diffd", "--metrics", METRICS, "--content-root", &root];
        all.extend(["--containerd-address", &address]);
        all.extend(words);
        let running = self.spawn("differ", &all);
        let socket = self.path(SOCKET);
        wait_until("the differ listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        running
    }

    pub fn containerd(&self, name: &str, differ: Differ) -> Running {
        self.containerd_by(name, differ, SOCKET)
    }

    /// One that finds the differ at this socket.
    pub fn containerd_by(&self, name: &str, differ: Differ, socket: &str) -> Running {
        let config = format!("/var/d/{name}.toml");
        fs::write(self.path(&config), config_of(self.release, name, differ, socket)).expect("configuration");
        let running = self.spawn(name, &["containerd", "-l", "debug", "-c", &config]);
        let socket = socket_of(name);
        wait_until("containerd serves", || self.output(&["ctr", "-a", &socket, "plugins", "ls"]).status.success());
        running
    }

    /// ctr, at the containerd of this name and in this namespace of images.
    pub fn ctr(&self, name: &str, namespace: &str, words: &[&str]) -> Vec<String> {
        let socket = socket_of(name);
        ["ctr", "-a", &socket, "-n", namespace].iter().chain(words).map(|word| (*word).to_owned()).collect()
    }

    /// Layers that the differ has applied so far: it has a line for each.
    pub fn applied(&self) -> usize {
        // Not those of `not applied digest=`.
        self.log("differ").lines().filter(|line| line.trim_start().starts_with("INFO applied digest=")).count()
    }

    /// Layers that the differ has made so far.
    pub fn made(&self) -> usize {
        self.log("differ").matches(" made digest=").count()
    }

    /// What the differ tells a monitor of this name.
    pub fn metric(&self, name: &str) -> usize {
        let mut stream = UnixStream::connect(self.path(METRICS)).expect("connected");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("asked");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answered");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("a metric");
        value.parse().expect("a number")
    }

    /// Layers that containerd's own has applied so far.
    pub fn walked(&self, name: &str) -> usize {
        self.log(name).matches("diff applied").count()
    }

    pub fn mount_table(&self) -> String {
        fs::read_to_string(format!("/proc/{}/mountinfo", self.init)).expect("mounts")
    }

    pub fn mounts(&self) -> usize {
        self.mount_table().lines().count()
    }
}

impl Machine {
    /// Ends it: what still ran when all should have been gone, and had to be killed. Nothing where there is no cgroup to
    /// find it by.
    pub fn end(&mut self) -> Vec<String> {
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        self.cgroup.take().map_or(Vec::new(), |cgroup| cgroup.end())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let left = self.end();
        // A test that fails has its own words.
        assert!(left.is_empty() || std::thread::panicking(), "the machine has ended, and left {left:?}");
    }
}

/// A command that is in this cgroup from its beginning.
pub fn joining(cgroup: Option<&Path>, program: &str) -> Command {
    let Some(cgroup) = cgroup else { return Command::new(program) };
    let mut command = Command::new("sh");
    command.args(["-c", "echo 0 > \"$0\" && exec \"$@\""]).arg(cgroup.join("cgroup.procs")).arg(program);
    command
}

impl Running {
    /// As the kernel ends something.
    pub fn kill(mut self) {
        // Where it has ended by itself, there is nobody to be signalled.
        if self.is_alive() {
            signal(self.pid, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.outer.wait();
    }

    pub fn is_alive(&mut self) -> bool {
        self.outer.try_wait().expect("waited").is_none()
    }

    pub fn helpers(&self) -> Vec<u32> {
        helpers_of(self.pid)
    }

    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("descriptors").count()
    }

    /// Resident memory, in KiB.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    }
}

pub fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    nix::sys::signal::kill(pid, signal).expect("signalled");
}

pub const SOCKET: &str = "/run/untar-in-root/diff.sock";
const METRICS: &str = "/run/untar-in-root/metrics.sock";

pub fn socket_of(name: &str) -> String {
    format!("/var/d/{name}.sock")
}

fn config_of(release: Release, name: &str, differ: Differ, socket: &str) -> String {
    let version = release.config_version();
    let mut config = format!(
        "version = {version}\nroot = '/var/d/{name}/root'\nstate = '/var/d/{name}/state'\n\
         [grpc]\naddress = '{}'\n[ttrpc]\naddress = '/var/d/{name}.ttrpc'\n",
        socket_of(name)
    );
    let list = match differ {
        Differ::Walking => return config,
        Differ::Ours => "'untar-in-root'",
        Differ::OursThenWalking => "'untar-in-root', 'walking'",
    };
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    config += &format!(
        "[proxy_plugins.untar-in-root]\ntype = 'diff'\naddress = '{socket}'\n\
         [plugins.'io.containerd.service.v1.diff-service']\ndefault = [{list}]\n\
         [[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\n\
         platform = 'linux/{architecture}'\nsnapshotter = 'overlayfs'\ndiffer = 'untar-in-root'\n"
    );
    config
}

/// Words as a command takes them.
pub fn words(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

/// The file of this name in a directory that the machine sees.
pub fn put(machine: &Machine, name: &str, bytes: &[u8]) -> String {
    let path = format!("/var/d/{name}");
    fs::write(machine.path(&path), bytes).expect("file");
    path
}
