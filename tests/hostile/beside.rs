//! A live attacker beside: another user owns the directory that results, staging directories and stores are made in,
//! and exchanges, renames and plants names there as fast as the kernel lets him.
//!
//! `UNTAR_ATTACK_SECONDS` says for how long in all; without it, a few seconds. Nothing is mounted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, RenameFlags, inotify, renameat_with};

use crate::support::child::Job;
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::{need_root, need_tool};
use crate::support::run::program_path;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::{Tree, compare_all};

const NOBODY: u32 = 65534;
/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Runs against one attacker, after which all is looked at and made anew.
const RUNS: u32 = 25;
/// Places that are attacked.
const PLACES: f64 = 6.0;
const STAGING: &str = ".untar-in-root-staging-";
/// The names of a store, and what the attacker puts at them.
const STATE: [&str; 5] = ["version", "version.part", "lock", "layers", "images"];

fn seconds() -> Duration {
    let all = std::env::var("UNTAR_ATTACK_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(all.unwrap_or(9.0) / PLACES)
}

// The attacker.

/// What he has in his directory.
struct Racer {
    his: PathBuf,
    victim: PathBuf,
    round: u64,
    /// A byte for each exchange.
    struck: File,
}

/// In a process of his own, until it is killed: waits for names and exchanges them.
pub fn racer(his: &Path) {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).expect("inotify");
    // Not MOVED_TO: his own exchanges are that.
    inotify::add_watch(&watch, his, inotify::WatchFlags::CREATE).expect("watch");
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    let victim = his.with_file_name("victim");
    let struck = File::create(his.join("struck")).expect("his own");
    let mut racer = Racer { his: his.to_path_buf(), victim, round: 0, struck };
    fs::write(his.join("ready"), "").expect("his own");
    loop {
        match events.next() {
            Ok(event) => {
                let name = event.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                if name.starts_with(STAGING) || name == "new" || name == "st" {
                    racer.strike(&name);
                }
            }
            Err(_) => racer.between(),
        }
    }
}

impl Racer {
    fn at(&self, name: &str) -> PathBuf {
        self.his.join(name)
    }

    /// For some microseconds, other ones each time.
    fn wait(&self) {
        match self.round % 7 {
            0..3 => {}
            3 => thread::yield_now(),
            step => thread::sleep(Duration::from_micros(self.round * 37 % 500 * (step - 3))),
        }
    }

    /// One of the tricks, and back again or not.
    fn strike(&mut self, name: &str) {
        self.round += 1;
        self.wait();
        let other = ["link", "private", "fifo", "old", "mine", "file"][(self.round / 3 % 6) as usize];
        self.prepare(other);
        self.exchange(name, other);
        if !self.round.is_multiple_of(5) || name == "st" {
            self.wait();
            self.exchange(name, other);
        }
    }

    fn exchange(&self, one: &str, other: &str) {
        if renameat_with(CWD, self.at(one), CWD, self.at(other), RenameFlags::EXCHANGE).is_ok() {
            _ = (&self.struck).write_all(b"x");
        }
    }

    /// What is not at its name any more is made again, unless it is root's and there only once.
    fn prepare(&self, name: &str) {
        let (path, round) = (self.at(name), self.round);
        let is_there = match name {
            "link" => path.is_symlink(),
            "mine" => fs::symlink_metadata(&path).is_ok_and(|m| m.uid() == NOBODY && m.is_dir()),
            "fifo" | "file" => fs::symlink_metadata(&path).is_ok_and(|m| !m.is_dir()),
            _ => true,
        };
        if is_there {
            return;
        }
        _ = fs::rename(&path, self.at(&format!("was-{name}-{round}")));
        match name {
            "link" => _ = symlink(&self.victim, &path),
            "fifo" => _ = mkfifo(&path),
            "file" => _ = fs::write(&path, "his"),
            _ => self.make_mine(&path),
        }
    }

    /// A directory of his own: what the program makes in its own, and a store's state, are links and FIFOs there.
    fn make_mine(&self, path: &Path) {
        _ = fs::DirBuilder::new().mode(0o777).create(path);
        for (at, name) in STATE.iter().chain(&["root", "image", "layers", "nothing"]).enumerate() {
            let place = path.join(name);
            if (self.round + at as u64).is_multiple_of(3) {
                _ = mkfifo(&place)
            } else {
                _ = symlink(&self.victim, place)
            }
        }
    }

    /// While nothing is made: root's own directories get other names, and a store his state.
    fn between(&mut self) {
        self.round += 1;
        let round = self.round;
        match round % 4 {
            0 => {
                for name in ["private", "old"] {
                    let staging = self.at(&format!("{STAGING}{round:016x}"));
                    _ = fs::rename(self.at(name), &staging);
                    thread::sleep(Duration::from_micros(round % 900));
                    _ = fs::rename(&staging, self.at(name));
                }
            }
            1 => self.strike("st"),
            2 => {
                let his_own = self.at("new");
                _ = fs::DirBuilder::new().mode(0o700).create(&his_own);
                thread::yield_now();
                _ = fs::remove_dir(&his_own);
            }
            _ => thread::sleep(Duration::from_micros(round % 300)),
        }
    }
}

fn mkfifo(path: &Path) -> nix::Result<()> {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o666))
}

// Whom he attacks.

/// His directory, with what root has in it, and what root has outside.
struct Arena<'a> {
    scratch: &'a Scratch,
    his: PathBuf,
    /// Root's own in his directory, whatever it is called by then.
    private: File,
    before: Tree,
    attacker: Child,
}

fn closed(path: &Path) {
    fs::DirBuilder::new().mode(0o700).create(path).expect("directory");
}

impl<'a> Arena<'a> {
    fn new(scratch: &'a Scratch, prepare: &dyn Fn(&Path)) -> Arena<'a> {
        let his = scratch.dir("his");
        let (private, old) = (his.join("private"), his.join("old"));
        closed(&private);
        fs::write(private.join("precious"), "precious").expect("file");
        closed(&private.join("root"));
        fs::write(private.join("root/precious"), "precious").expect("file");
        closed(&old);
        let time = SystemTime::now() - Duration::from_secs(3600);
        File::open(&old).and_then(|dir| dir.set_modified(time)).expect("time");
        prepare(&his);
        chown(&his, Some(NOBODY), Some(NOBODY)).expect("owner");
        let private = File::open(&private).expect("private");
        let before = outside(scratch);
        let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        let mut command = Job::new(&his, &his, "racer").behind(&nobody).command(scratch);
        let attacker = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the attacker");
        let begun = Instant::now();
        while !his.join("ready").exists() {
            assert!(begun.elapsed() < PATIENCE, "the attacker does not begin");
            thread::sleep(Duration::from_millis(1));
        }
        Arena { scratch, his, private, before, attacker }
    }

    /// Nothing of root's has changed; then all is removed. How many exchanges there were.
    #[track_caller]
    fn end(mut self, what: &str) -> u64 {
        self.attacker.kill().and_then(|()| self.attacker.wait()).expect("the attacker");
        let damage = compare_all(&outside(self.scratch), &self.before, &[]);
        assert!(damage.is_empty(), "{what}: outside: {damage:#?}");
        let private = PathBuf::from(format!("/proc/self/fd/{}", self.private.as_raw_fd()));
        let mut names: Vec<_> = fs::read_dir(&private).expect("private").flatten().map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["precious", "root"], "{what}: in root's own directory");
        for name in ["precious", "root/precious"] {
            assert_eq!(fs::read_to_string(private.join(name)).expect("there"), "precious", "{what}: {name}");
        }
        let mode = self.private.metadata().expect("private").permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{what}: its mode");
        let struck = fs::metadata(self.his.join("struck")).expect("his").len();
        fs::remove_dir_all(&self.his).expect("his");
        struck
    }
}

/// What the links lead to.
fn outside(scratch: &Scratch) -> Tree {
    Tree::read(&scratch.join("victim"))
}

/// Runs the program against the attacker again and again.
fn attack(what: &str, prepare: &dyn Fn(&Path), arguments: &dyn Fn(&Scratch, u32) -> Vec<PathBuf>) {
    if !need_root() || !need_tool("setpriv") {
        return;
    }
    let scratch = Scratch::new();
    closed(&scratch.join("victim"));
    fs::write(scratch.join("victim/precious"), "precious").expect("file");
    inputs(&scratch);
    let mut outcomes = BTreeMap::<String, u32>::new();
    let (mut slowest, mut runs, mut struck) = (Duration::ZERO, 0, 0);
    let begun = Instant::now();
    while begun.elapsed() < seconds() {
        let arena = Arena::new(&scratch, prepare);
        for number in 0..RUNS {
            let one = Instant::now();
            *outcomes.entry(run(what, &arguments(&scratch, number))).or_default() += 1;
            slowest = slowest.max(one.elapsed());
            runs += 1;
        }
        struck += arena.end(what);
    }
    println!("live attack beside, {what}: {runs} runs, {struck} exchanges, slowest {slowest:.2?}, exits {outcomes:?}");
}

/// How a run ended, within the time.
#[track_caller]
fn run(what: &str, arguments: &[PathBuf]) -> String {
    let mut command = Command::new(program_path());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (mut child, begun) = (command.spawn().expect("the program"), Instant::now());
    loop {
        match child.try_wait().expect("the program") {
            Some(status) => return status.code().map_or_else(|| format!("{status}"), |code| code.to_string()),
            None if begun.elapsed() > PATIENCE => {
                child.kill().and_then(|()| child.wait()).expect("killed");
                panic!("{what}: {arguments:?} hangs");
            }
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// An archive, an image as an archive and as a layout.
fn inputs(scratch: &Scratch) {
    let evil = |name: &str| Tarball::new().dir("d").file(format!("d/{name}"), "x").with(|e| _ = e.mode(0o4755));
    scratch.file("a.tar", evil("f").fifo("p").symlink("l", "d").build());
    let layout =
        Layout::new().layer(&evil("one"), Packing::Gzip).layer(&evil("two").hardlink("h", "d/one"), Packing::Gzip);
    layout.write(&scratch.join("oci"));
    scratch.file("app.tar", layout.docker_archive("app:1").build());
}

/// Words with names in the scratch directory, which begin with `@`; `#` is the number of the run.
fn words(scratch: &Scratch, number: u32, text: &str) -> Vec<PathBuf> {
    let here = scratch.path().display().to_string();
    text.split(' ')
        .map(|word| word.replace('@', &format!("{here}/")).replace('#', &number.to_string()).into())
        .collect()
}

#[test]
fn live_attack_beside_atomic() {
    attack("atomic", &|_| (), &|scratch, n| {
        words(scratch, n, ["--atomic @his/new-# @a.tar", "--atomic @his/new @a.tar"][n as usize % 2])
    });
}

#[test]
fn live_attack_beside_flatten() {
    attack("flatten", &|_| (), &|scratch, n| words(scratch, n, "image -q docker-archive:@app.tar @his/new-#"));
}

#[test]
fn live_attack_beside_layers() {
    attack("layers", &|_| (), &|scratch, n| words(scratch, n, "image -q oci:@oci --layers @his/new-#"));
}

#[test]
fn live_attack_beside_staging() {
    attack("staging", &|_| (), &|scratch, n| words(scratch, n, "inspect docker-archive:@app.tar --staging @his"));
}

#[test]
fn live_attack_beside_store() {
    attack("store", &|_| (), &|scratch, n| words(scratch, n, "image -q docker-archive:@app.tar --store @his/st"));
}

/// Of a store that is there: collected, listed, verified, forgotten in.
#[test]
fn live_attack_beside_gc() {
    let store = |his: &Path| {
        let oci = his.with_file_name("oci");
        let mut command = Command::new(program_path());
        command.args(["image", "-q", "--name", "kept"]).arg(oci).arg("--store").arg(his.join("st"));
        assert!(command.stdout(Stdio::null()).status().expect("the program").success());
    };
    let commands = ["store gc @his/st", "store list @his/st", "store verify @his/st", "store forget @his/st kept"];
    attack("gc", &store, &|scratch, n| words(scratch, n, commands[n as usize % 4]));
}
