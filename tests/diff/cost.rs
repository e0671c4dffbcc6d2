//! The cost of an upper directory does not see the image.

use std::fs;
use std::process::Command;

use untar_in_root::{Cause, MarkProblem};

use super::{make, mark, over, shown};
use crate::support::privilege::{need_root, need_tools};
use crate::support::run::program_path;
use crate::support::scratch::Scratch;

/// A mark that nobody may follow is met by whoever looks.
#[test]
fn pack_rule_23_what_an_upper_directory_does_not_touch_is_not_looked_at() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let lower = make(&scratch, "lower", "d/ d/a d/b/ d/b/c e/ f");
    let upper = make(&scratch, "upper", "d/ d/a=new d/n/ g");
    for untouched in ["d/b", "d/b/c", "e"] {
        mark(&lower.join(untouched), "trusted.overlay.redirect", "../..");
        mark(&lower.join(untouched), "trusted.overlay.metacopy", "");
    }
    super::white(&scratch, "upper/f");
    let lowers = [lower];
    assert_eq!(shown(over(&upper, &lowers, |_| ())), "./ d/ d/a=new d/n/ .wh.f g=x");
    // Where it is looked at, that is told.
    super::white(&scratch, "upper/e");
    let told = Cause::OverlayMark { name: "trusted.overlay.redirect".into(), what: MarkProblem::Malformed };
    assert_eq!(super::cause(over(&upper, &lowers, |_| ())), told);
}

/// How many calls it takes over an image of so many directories with so many files each.
fn calls(files: usize) -> u64 {
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    for dir in 0..20 {
        fs::create_dir(lower.join(format!("d{dir}"))).expect("directory");
        (0..files).for_each(|file| drop(fs::write(lower.join(format!("d{dir}/f{file}")), "x")));
    }
    for dir in 0..10 {
        scratch.dir(format!("upper/d{dir}"));
        scratch.file(format!("upper/d{dir}/f1"), "new");
        super::white(&scratch, &format!("upper/d{dir}/f2"));
    }
    let (log, out) = (scratch.join("log"), scratch.join("out"));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(&log).arg(program_path()).args(["diff", "--overlay", "-o"]).arg(&out);
    let status = strace.arg("--lower").arg(&lower).arg(&upper).status().expect("strace");
    assert!(status.success());
    let files = ["openat(", "statx(", "getdents64(", "fgetxattr(", "flistxattr(", "pread64("];
    let log = fs::read_to_string(&log).expect("a log");
    log.lines().filter(|line| files.iter().any(|call| line.contains(call))).count() as u64
}

#[test]
fn pack_rule_23_the_number_of_calls_does_not_see_the_image() {
    if !need_root() || !need_tools(&["strace"]) {
        return;
    }
    let (small, large) = (calls(5), calls(500));
    println!("over 100 files {small} calls, over 10,000 {large}");
    assert_eq!(small, large);
}
