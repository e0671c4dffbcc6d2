//! Failed calls are told as `strace(1)` prints them: every call that a run makes fails once, and the text is compared.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::privilege::{need_root, need_tools};
use crate::support::run::program_path;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// No call of ours has this answer by itself.
const ERROR: &str = "EXFULL";
/// The numbered ones are younger than Debian's strace: `fchmodat2` and `listxattrat`.
const CALLS: [&str; 36] = [
    "openat",
    "openat2",
    "mkdirat",
    "symlinkat",
    "mknodat",
    "linkat",
    "unlinkat",
    "readlinkat",
    "newfstatat",
    "fstat",
    "fchownat",
    "fchown",
    "fchmod",
    "452",
    "fsetxattr",
    "flistxattr",
    "utimensat",
    "write",
    "pwrite64",
    "ftruncate",
    "read",
    "getdents64",
    "unshare",
    "mount",
    "open_tree",
    "mount_setattr",
    "move_mount",
    "fchdir",
    "chdir",
    "pivot_root",
    "umount2",
    "landlock_add_rule",
    "landlock_restrict_self",
    "prctl",
    "prlimit64",
    "syncfs",
];

/// Those of packing, beside some of the same.
const CALLS_OF_PACKING: [&str; 11] = [
    "openat",
    "statx",
    "flistxattr",
    "llistxattr",
    "fgetxattr",
    "lgetxattr",
    "readlinkat",
    "getdents64",
    "pread64",
    "lseek",
    "write",
];

/// Our text, where what is in angle brackets is not told by strace as we do it.
fn ours(said: &str) -> Option<String> {
    let before = said.split_once(&format!(" = -1 {ERROR} ("))?.0;
    // A name in the arguments may have these in it; none of ours does.
    let from = [": ", "because "].iter().filter_map(|words| before.rfind(words).map(|at| at + words.len())).max();
    let told = without_brackets(&before[from.unwrap_or(0)..]);
    // The archive's descriptor has its number, which strace's other form hides.
    Some(told.replace("read(0, ", "read(<>, "))
}

fn without_brackets(text: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0);
    for c in text.chars() {
        depth += i32::from(c == '<');
        if depth == 0 {
            out.push(c);
        }
        depth -= i32::from(c == '>');
        if c == '>' {
            out.push_str("<>");
        }
    }
    out
}

/// What strace printed: descriptors (`-y` has their paths), addresses and content in the same brackets, comments out.
fn normal(line: &str) -> String {
    let mut text =
        without_brackets(&line.replace("AT_FDCWD<", "AT_FDCWD\u{1}<")).replace("AT_FDCWD\u{1}<>", "AT_FDCWD");
    while let Some((before, comment)) = text.split_once(" /* ") {
        text = format!("{before}{}", comment.split_once(" */").map_or("", |(_, after)| after));
    }
    let mut out = String::new();
    let mut rest = text.as_str();
    // The number that stands before brackets.
    while let Some(at) = rest.find("<>") {
        out.push_str(rest[..at].trim_end_matches(|c: char| c.is_ascii_digit()));
        out.push_str("<>");
        rest = &rest[at + 2..];
    }
    out.push_str(rest);
    let out = without_addresses(&out);
    let rule = out.starts_with("landlock_add_rule(").then(|| out.split_once('{').zip(out.split_once('}'))).flatten();
    if let Some(((before, _), (_, after))) = rule {
        return format!("{before}<>{after}");
    }
    // What glibc makes of fstat(2).
    if out == "newfstatat(<>, \"\", <>, AT_EMPTY_PATH)" {
        return "fstat(<>, <>)".into();
    }
    let data = ["write(<>, ", "pwrite64(<>, "].iter().any(|call| out.starts_with(call));
    match () {
        () if data => without_string(&out, out.find('"')),
        () if out.starts_with("fsetxattr(") => without_string(&out, out.find("\", \"").map(|at| at + 3)),
        () => out,
    }
}

fn without_addresses(text: &str) -> String {
    let words = text.split(", ").map(|word| {
        let digits = word.trim_end_matches(')').strip_prefix("0x").unwrap_or("");
        let address = digits.len() > 6 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if address { format!("<>{}", if word.ends_with(')') { ")" } else { "" }) } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Without the string that begins there, which strace may have cut.
fn without_string(text: &str, from: Option<usize>) -> String {
    let Some(from) = from else { return text.to_owned() };
    let mut escaped = false;
    let end = text[from + 1..].find(|c| {
        let before = std::mem::replace(&mut escaped, false);
        escaped = c == '\\' && !before;
        c == '"' && !before
    });
    let after = end.map_or("", |end| &text[from + end + 2..]);
    format!("{}<>{}", &text[..from], after.strip_prefix("...").unwrap_or(after))
}

/// The calls that were made to fail, by strace's own record; a call that was interrupted is in two lines.
fn injected(record: &str) -> BTreeSet<String> {
    let mut open = std::collections::BTreeMap::new();
    let mut calls = BTreeSet::new();
    for line in record.lines() {
        let Some((pid, text)) = line.split_once(' ') else { continue };
        let mut text = text.trim().to_owned();
        if let Some(begun) = text.strip_suffix("<unfinished ...>") {
            open.insert(pid, begun.to_owned());
            continue;
        }
        if let Some((_, rest)) = text.split_once(" resumed>").filter(|_| text.starts_with("<... ")) {
            let begun: String = open.remove(pid).unwrap_or_default();
            text = match rest.starts_with(')') {
                true => format!("{}{rest}", begun.trim_end()),
                false => format!("{} {}", begun.trim_end(), rest.trim_start()),
            };
        }
        if let Some((call, _)) = text.split_once(&format!("= -1 {ERROR}")).filter(|_| text.contains("INJECTED")) {
            calls.insert(normal(call.trim_end()));
        }
    }
    calls
}

/// Its number stands for a call that strace has no name for, and then its arguments are numbers, too.
fn is_told(ours: &str, theirs: &BTreeSet<String>) -> bool {
    let nameless = [("fchmodat2(", "syscall_0x1c4("), ("listxattrat(", "syscall_0x1d1(")];
    let number = nameless.iter().find(|(name, _)| ours.starts_with(name)).map(|(_, number)| *number);
    theirs.contains(ours) || number.is_some_and(|number| theirs.iter().any(|call| call.starts_with(number)))
}

/// Only this call stops the run: the filter lets the others through. strace takes no number here.
fn alone(call: &str) -> Vec<String> {
    let named = call.starts_with(|c: char| c.is_ascii_alphabetic());
    if named { vec!["--seccomp-bpf".into(), "-e".into(), format!("trace={call}")] } else { Vec::new() }
}

/// One run of applying in which the call fails for this time; `None` if it is made less often.
fn applying(
    scratch: &Scratch,
    options: &[&str],
    archive: &Path,
    call: &str,
    when: u32,
) -> Option<(String, BTreeSet<String>)> {
    let dest = scratch.join("dest");
    let _ = fs::remove_dir_all(&dest);
    fs::create_dir_all(dest.join("there/below")).expect("what is there");
    fs::write(dest.join("file"), "old").expect("what is there");
    let words: Vec<&OsStr> = options.iter().map(OsStr::new).chain([dest.as_os_str(), archive.as_os_str()]).collect();
    run(scratch, &words, call, when)
}

fn run(scratch: &Scratch, words: &[&OsStr], call: &str, when: u32) -> Option<(String, BTreeSet<String>)> {
    let record = scratch.join("record");
    let inject = format!("inject={call}:error={ERROR}:when={when}");
    let output = Command::new("strace")
        .args(["-f", "-y", "-o"])
        .arg(&record)
        .args(alone(call))
        .args(["-e", &inject])
        .arg(program_path())
        .args(words)
        .arg("--seccomp=off")
        .stdin(Stdio::null())
        .output()
        .expect("strace");
    let record = String::from_utf8_lossy(&fs::read(&record).expect("a record")).into_owned();
    let calls = injected(&record);
    let said = String::from_utf8_lossy(output.stderr.as_slice()).into_owned();
    (!calls.is_empty()).then_some((said, calls))
}

#[test]
fn what_failed_is_told_as_strace_prints_it() {
    if !need_root() || !need_tools(&["strace"]) {
        return;
    }
    let scratch = Scratch::new();
    let tar = Tarball::new()
        .dir("d")
        .file("d/f", "content")
        .file("file", "new")
        .file("there", "in the way of a directory")
        .symlink("d/l", "f")
        .hardlink("d/h", "d/f");
    let archive = scratch.file("archive.tar", tar.build());
    assert!(archive.as_os_str().as_bytes().is_ascii());
    let mut compared = BTreeSet::new();
    let mut wrong = Vec::new();
    for options in [&["--xattrs", "strict"][..], &["--overlay"], &["--isolation", "chroot"]] {
        for call in CALLS {
            for when in 1..24 {
                let Some((said, theirs)) = applying(&scratch, options, &archive, call, when) else { break };
                let Some(told) = ours(&said) else { continue };
                if !is_told(&told, &theirs) {
                    wrong.push(format!("{options:?} {call}: {told}, but strace: {theirs:?}"));
                }
                compared.insert((options, told));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(compared.len() >= 50, "{}: {compared:#?}", compared.len());
}

/// A file with an attribute and a hole, links, a directory, as a layer of a lower directory too.
#[test]
fn what_failed_in_packing_is_told_as_strace_prints_it() {
    if !need_root() || !need_tools(&["strace"]) {
        return;
    }
    let scratch = Scratch::new();
    for name in ["tree", "lower"] {
        let dir = scratch.dir(format!("{name}/d"));
        let file = fs::File::create(dir.join("f")).expect("a file");
        file.set_len(1 << 20).and_then(|()| file.write_all_at(b"content", 0)).expect("a hole");
        rustix::fs::fsetxattr(&file, "user.a", b"1", rustix::fs::XattrFlags::empty()).expect("an attribute");
        symlink("f", dir.join("l")).expect("a link");
        fs::hard_link(dir.join("f"), dir.join("h")).expect("a link");
    }
    let (tree, lower) = (scratch.join("tree"), scratch.join("lower"));
    let (mut compared, mut wrong) = (BTreeSet::new(), Vec::new());
    let commands: [&[&OsStr]; 3] = [
        &["pack".as_ref(), "--readers=1".as_ref(), tree.as_os_str()],
        &["diff".as_ref(), lower.as_os_str(), tree.as_os_str()],
        &["diff".as_ref(), "--overlay".as_ref(), "--lower".as_ref(), lower.as_os_str(), tree.as_os_str()],
    ];
    for words in commands {
        for call in CALLS_OF_PACKING {
            for when in 1..40 {
                let Some((said, theirs)) = run(&scratch, words, call, when) else { break };
                let Some(told) = ours(&said) else { continue };
                if !is_told(&told, &theirs) {
                    wrong.push(format!("{words:?} {call}: {told}, but strace: {theirs:?}"));
                }
                compared.insert((words, told));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(compared.len() >= 30, "{}: {compared:#?}", compared.len());
}
