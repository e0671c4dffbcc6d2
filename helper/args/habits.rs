//! What fingers type: tar's command line, and ROOT and ARCHIVE the other way round. Answered with the command to type.

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};
use std::ffi::{OsStr, OsString};
use std::iter::Peekable;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::slice::Iter;
use untar_in_root::Escaped;

/// What is done here without being asked for, or found out: the format, all metadata, numeric owners.
const NEEDLESS: [&str; 27] = [
    "extract",
    "get",
    "gzip",
    "gunzip",
    "ungzip",
    "bzip2",
    "xz",
    "lzma",
    "zstd",
    "compress",
    "uncompress",
    "auto-compress",
    "preserve-permissions",
    "same-permissions",
    "preserve",
    "numeric-owner",
    "same-owner",
    "acls",
    "selinux",
    "xattrs",
    "overwrite",
    "sparse",
    "delay-directory-restore",
    "wildcards-match-slash",
    "unlink-first",
    "recursive-unlink",
    "force-local",
];
/// What is something else than unpacking.
const MAKING: [&str; 9] =
    ["create", "append", "update", "delete", "concatenate", "catenate", "diff", "compare", "test-label"];

/// A command line as tar reads it.
#[derive(Default)]
struct Reading {
    /// Something is tar's alone.
    habit: bool,
    list: bool,
    makes: bool,
    /// Names that follow are patterns.
    wildcards: bool,
    archive: Option<OsString>,
    root: Option<OsString>,
    /// Options of ours.
    kept: Vec<OsString>,
    rest: Vec<OsString>,
}

/// Words that say what to type in place of these, if they are tar's.
pub(super) fn answer(command: &Command, words: &[OsString]) -> Option<String> {
    let reading = Reading::of(command, words).filter(|reading| reading.habit)?;
    if reading.makes {
        return Some("this is tar's command line; to make an archive: untar-in-root pack ROOT > ARCHIVE".to_owned());
    }
    let typed = reading.ours()?;
    let understood = command.clone().try_get_matches_from(&typed).is_ok();
    understood.then(|| format!("this is tar's command line; here it is: {}", all_shown(&typed)))
}

/// ROOT is no directory, but an archive, or tar's letters: what to type.
pub(super) fn other_way_round(root: &Path, archive: Option<&Path>, words: &[OsString]) -> Option<String> {
    const FIRST: &str = "ROOT, the directory to unpack into, comes first";
    let is_archive = root.is_file() || is_named_as_archive(root);
    let typed =
        |root: &Path, archive: &Path| all_shown(&["untar-in-root".as_ref(), root.as_os_str(), archive.as_os_str()]);
    match archive {
        _ if root.is_dir() => None,
        None if is_archive => Some(format!("{FIRST}: {}", typed(Path::new("."), root))),
        Some(archive) if is_archive && archive.is_dir() => Some(format!("{FIRST}: {}", typed(archive, root))),
        Some(_) if !root.exists() && is_cluster(root.as_os_str()) => answer(&super::command(), words),
        _ => None,
    }
}

/// Without clap's tip to give as a value what is none.
pub(super) fn without_tip(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::StyledStrs(mut tips)) = error.remove(ContextKind::Suggested) {
        tips.retain(|tip| !tip.to_string().contains("as a value"));
        if !tips.is_empty() {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
    }
    error
}

impl Reading {
    /// `None` where a word is neither tar's nor ours.
    fn of(command: &Command, words: &[OsString]) -> Option<Reading> {
        let mut reading = Reading::default();
        let mut words = words.get(1..)?.iter().peekable();
        if let Some(letters) = words.next_if(|word| is_cluster(word) && !Path::new(word).exists()) {
            reading.letters(letters.as_bytes(), &mut words, true)?;
        }
        while let Some(word) = words.next() {
            match word.as_bytes() {
                b"--" => reading.rest.extend(words.by_ref().cloned()),
                [b'-', b'-', ..] => reading.long(command, word, &mut words)?,
                [b'-', letters @ ..] if !letters.is_empty() => reading.letters(letters, &mut words, false)?,
                // Who names a command of ours means it; behind an archive it is a member's name.
                _ if reading.is_first() && command.find_subcommand(word).is_some() => return None,
                _ => reading.rest.push(word.clone()),
            }
        }
        Some(reading)
    }

    /// Neither an archive nor another name has been said.
    fn is_first(&self) -> bool {
        self.archive.is_none() && self.rest.is_empty()
    }

    fn letters(&mut self, letters: &[u8], words: &mut Peekable<Iter<'_, OsString>>, old: bool) -> Option<()> {
        self.habit |= old;
        for (at, letter) in letters.iter().enumerate() {
            let rest = letters.get(at + 1..).filter(|rest| !old && !rest.is_empty());
            let mut value = || rest.map(OsStr::from_bytes).map(OsStr::to_owned).or_else(|| words.next().cloned());
            match letter {
                b'f' => self.archive = Some(value()?),
                b'C' => self.root = Some(value()?),
                b'X' => self.kept.extend(["--exclude-from".into(), value()?]),
                b'T' => self.kept.extend(["--include-from".into(), value()?]),
                b'v' | b'q' | b't' => {
                    self.list |= *letter == b't';
                    self.kept.push(OsStr::from_bytes(&[b'-', *letter]).to_owned());
                    continue;
                }
                b'i' => self.kept.push("--ignore-zeros".into()),
                b'o' => self.kept.push("--no-same-owner".into()),
                b'x' | b'z' | b'j' | b'J' | b'Z' | b'a' | b'p' | b'S' => {}
                b'c' | b'r' | b'u' | b'A' | b'd' => self.makes = true,
                _ => return None,
            }
            self.habit = true;
            if rest.is_some() && matches!(letter, b'f' | b'C' | b'X' | b'T') {
                break;
            }
        }
        Some(())
    }

    fn long(&mut self, command: &Command, word: &OsString, words: &mut Peekable<Iter<'_, OsString>>) -> Option<()> {
        let text = word.to_str()?;
        let (name, given) = text[2..].split_once('=').map_or((&text[2..], None), |(name, value)| (name, Some(value)));
        let mut value = || given.map(OsString::from).or_else(|| words.next().cloned());
        match name {
            "file" => self.archive = Some(value()?),
            "directory" | "cd" => self.root = Some(value()?),
            "wildcards" => self.wildcards = true,
            "files-from" => self.kept.extend(["--include-from".into(), value()?]),
            "strip" => self.kept.extend(["--strip-components".into(), value()?]),
            // Ours has a value, and tar's none.
            "xattrs" if given.is_some() => {
                self.kept.push(word.clone());
                return Some(());
            }
            name if NEEDLESS.contains(&name) => {}
            name if MAKING.contains(&name) => self.makes = true,
            name => {
                let option = command.get_arguments().find(|option| is_called(option, name))?;
                self.list |= name == "list";
                self.kept.push(word.clone());
                if given.is_none() && option.get_action().takes_values() && !option.is_require_equals_set() {
                    self.kept.push(words.next()?.clone());
                }
                return Some(());
            }
        }
        self.habit = true;
        Some(())
    }

    /// Our words for it.
    fn ours(self) -> Option<Vec<OsString>> {
        let Reading { list, wildcards, mut archive, mut root, kept, mut rest, .. } = self;
        let first = |rest: &mut Vec<OsString>| (!rest.is_empty()).then(|| rest.remove(0));
        if archive.is_none() {
            // As ours: [ROOT] ARCHIVE.
            root = root.or_else(|| if list { None } else { first(&mut rest) });
            archive = first(&mut rest);
        } else if root.is_none() && rest.first().is_some_and(|word| rest.len() == 1 && Path::new(word).is_dir()) {
            root = first(&mut rest);
        }
        if !list && root.is_none() {
            root = Some(".".into());
        }
        let member = |name: OsString| if wildcards { name } else { literal(&name) };
        let members = rest.into_iter().flat_map(|name| [OsString::from("--include"), member(name)]);
        Some(["untar-in-root".into()].into_iter().chain(kept).chain(members).chain(root).chain(archive).collect())
    }
}

/// The pattern that means this name alone, as tar takes it.
fn literal(name: &OsStr) -> OsString {
    let escaped = |byte: &u8| b"*?[]{}\\".contains(byte).then_some(b'\\').into_iter().chain([*byte]);
    OsString::from_vec(name.as_bytes().iter().flat_map(escaped).collect())
}

fn is_called(option: &Arg, name: &str) -> bool {
    option.get_long() == Some(name) || option.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
}

/// tar's letters without a dash: `xzf`.
fn is_cluster(word: &OsStr) -> bool {
    let letters = word.as_bytes();
    letters.first().is_some_and(|first| b"xtc".contains(first))
        && letters.contains(&b'f')
        && letters.iter().all(|letter| b"xtcvzjJZafpSio".contains(letter))
}

fn is_named_as_archive(path: &Path) -> bool {
    let ends = ["tar", "tgz", "tbz", "tbz2", "txz", "tzst", "gz", "bz2", "xz", "zst"];
    path.extension().and_then(OsStr::to_str).is_some_and(|end| ends.contains(&end))
}

/// As a shell takes it.
pub(super) fn shown(word: &OsStr) -> String {
    quoted(word.as_bytes())
}

fn all_shown<S: AsRef<OsStr>>(words: &[S]) -> String {
    let words: Vec<String> = words.iter().map(|word| shown(word.as_ref())).collect();
    words.join(" ")
}

fn quoted(word: &[u8]) -> String {
    // Between quotes a backslash is one.
    let shown = Escaped(word).to_string().replace(r"\\", r"\");
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
    match shown.as_bytes() == word {
        true if !word.is_empty() && word.iter().all(plain) => shown,
        true => format!("'{}'", shown.replace('\'', r"'\''")),
        false => format!("$'{}'", Escaped(word).to_string().replace('\'', r"\'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(words: &str) -> Option<String> {
        let words: Vec<OsString> = ["untar-in-root"].into_iter().chain(words.split(' ')).map(OsString::from).collect();
        let answer = answer(&super::super::command(), &words)?;
        Some(answer.rsplit(": ").next().unwrap_or_default().trim_start_matches("untar-in-root ").to_owned())
    }

    #[test]
    fn tars_command_line_is_answered_with_ours() {
        for (words, want) in [
            ("-xf a.tar -C dir", "dir a.tar"),
            ("-C dir -xzvf a.tar", "-v dir a.tar"),
            ("xf a.tar -C dir", "dir a.tar"),
            ("xvzf a.tar.gz -Cdir", "-v dir a.tar.gz"),
            ("-x -f a.tar --directory dir", "dir a.tar"),
            ("--extract --file=a.tar --directory=dir", "dir a.tar"),
            ("-xf a.tar", ". a.tar"),
            ("-xfa.tar", ". a.tar"),
            // A directory that is there is meant to be ROOT; other words are tar's members.
            ("-xf a.tar /", "/ a.tar"),
            ("-xf a.tar -C dir usr etc/passwd", "--include usr --include etc/passwd dir a.tar"),
            // They are no patterns, unless it is said that they are.
            ("-xf a.tar -C dir a[1].txt", r"--include 'a\[1\].txt' dir a.tar"),
            (r"-xf a.tar -C dir *?{b}\", r"--include '\*\?\{b\}\\' dir a.tar"),
            ("--wildcards -xf a.tar -C dir *.txt", "--include '*.txt' dir a.tar"),
            // Behind an archive this is no command of ours.
            ("-xf a.tar -C dir pack", "--include pack dir a.tar"),
            ("-xf a.tar -C dir --strip-components=1 --exclude x", "--strip-components=1 --exclude x dir a.tar"),
            ("-xf a.tar -C dir --strip 1 -X list", "--strip-components 1 --exclude-from list dir a.tar"),
            ("-tf a.tar", "-t a.tar"),
            ("-tvf a.tar", "-t -v a.tar"),
            ("-z dir a.tar.gz", "dir a.tar.gz"),
            ("-j dir a.tar.bz2", "dir a.tar.bz2"),
            ("-J dir a.tar.xz", "dir a.tar.xz"),
            ("--zstd dir a.tar.zst", "dir a.tar.zst"),
            ("-p --numeric-owner --same-owner dir a.tar", "dir a.tar"),
            ("--layer -p dir a.tar", "--layer dir a.tar"),
            ("--xattrs --acls -xpf a.tar -C dir", "dir a.tar"),
            ("--overlay=user --lower l -xf a.tar -C dir", "--overlay=user --lower l dir a.tar"),
            ("-xif a.tar -C dir", "--ignore-zeros dir a.tar"),
            ("-x -C dir", "dir"),
            ("-xf - -C dir", "dir -"),
        ] {
            assert_eq!(answered(words).as_deref(), Some(want), "{words}");
        }
        assert!(answered("-czf a.tar.gz dir").is_some_and(|words| words.starts_with("pack ROOT")));
    }

    #[test]
    fn what_is_neither_tars_nor_ours_is_claps_to_answer() {
        for words in ["dir a.tar", "-t a.tar", "--no-such -xf a.tar", "-W dir", "image a b", "-v dir a.tar"] {
            assert_eq!(answered(words), None, "{words}");
        }
        // Words of our commands: taken for tar's, they would unpack what was to be written.
        for words in [
            "pack --compression zstd -f r/o src",
            "pack -f o src",
            "pack -C src .",
            "image -p img root",
            "image -xf img root",
            "image -C dir img",
            "inspect -f img",
            "copy -p src:d dir:.",
            "diff -f o src other",
            "store ls -p dir",
            "-q pack -f o src",
            "--json image -p img root",
            "--max-entries 7 pack -C src .",
            "-p pack src",
        ] {
            assert_eq!(answered(words), None, "{words}");
        }
    }

    #[test]
    fn words_are_quoted_as_a_shell_takes_them() {
        for (word, want) in [
            (&b"/a/b-c.tar"[..], "/a/b-c.tar"),
            (b"a b", "'a b'"),
            (b"it's", r"'it'\''s'"),
            (br"a\[1\]", r"'a\[1\]'"),
            (b"a\nb", r"$'a\nb'"),
            (b"\\\n", r"$'\\\n'"),
            (b"\xff'", r"$'\377\''"),
            (b"", "''"),
        ] {
            assert_eq!(quoted(word), want);
        }
    }

    #[test]
    fn a_root_that_is_an_archive_is_in_the_wrong_place() {
        let answer = |root: &str, archive: Option<&str>| other_way_round(Path::new(root), archive.map(Path::new), &[]);
        let ends = |root, archive, with: &str| {
            let answer = answer(root, archive).unwrap_or_default();
            assert!(answer.starts_with("ROOT") && answer.ends_with(with), "{answer:?}");
        };
        ends("Cargo.toml", None, "untar-in-root . Cargo.toml");
        ends("missing.tar.gz", None, "untar-in-root . missing.tar.gz");
        ends("Cargo.toml", Some("/"), "untar-in-root / Cargo.toml");
        for (root, archive) in [("/", None), ("missing", None), ("/", Some("a.tar")), ("Cargo.toml", Some("a.tar"))] {
            assert_eq!(answer(root, archive), None, "{root}");
        }
    }
}
