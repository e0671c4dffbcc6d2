//! An option that somebody adds: what of it is not there is told here, by its name.

use crate::args::{self, Args};
use clap::{Arg, Command, CommandFactory};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use untar_in_root::Options;

/// Fields whose option has neither their name nor, if they are limits, `max-` before it.
const NAMED: [(&str, &str); 9] = [
    ("mode", "layer"),
    ("user_namespace", "userns"),
    ("owner", "chown"),
    ("ignore_root_metadata", "root-metadata"),
    ("skip_diff_id", "no-diff-id"),
    ("refuse_empty", "allow-empty"),
    ("memory_bytes", "max-memory"),
    // Only packing remembers them.
    ("hardlinks", ""),
    // It is a switch of `run`'s, which knows whether somebody looks.
    ("progress", ""),
];

/// Fields of `PackOptions` that no option of `pack` sets by itself.
const ELSEWHERE: [&str; 10] = [
    // Whoever reads the lists and files, and whoever shows it, sets these.
    "include",
    "exclude",
    "dockerignore",
    "progress",
    "verbose",
    // Only what is read from an archive has these limits.
    "limits.extended_header_bytes",
    "limits.ratio",
    "limits.sparse_regions",
    "limits.xattr_bytes",
    "limits.xattrs",
];

/// Values of options that have no fixed words; the first that is right and changes something is taken.
const VALUES: [&str; 7] = ["7", "7:8", "7:8:9", "word", "sha256:0", "/dir", "from=to"];

/// The options of other programs that our pages name.
const OF_OTHERS: [&str; 18] = [
    "acls",
    "all-platforms",
    "fix-perms",
    "for",
    "format",
    "locked",
    "map-auto",
    "map-root-user",
    "numeric-owner",
    "oci-layout-path",
    "output",
    "path",
    "release",
    "tar-path",
    "tarball",
    "tool",
    "workspace",
    "write",
];

#[test]
fn each_field_of_the_options_is_set_by_the_option_of_its_name_and_by_it_alone() {
    let command = Args::command();
    let fields = fields(&serde_json::to_value(parsed(None).expect("arguments")).expect("plain data"));
    assert!(fields.len() > 35, "{fields:?}");
    for field in fields.keys() {
        let option = option_of(&command, field);
        let Some(option) = option else { continue };
        let name = option.get_long().unwrap_or_default();
        let changes: Vec<_> = words_of(option).iter().filter_map(|word| changed(word, &fields)).collect();
        let only = [field.clone()].into();
        assert!(changes.contains(&only), "{field} is not changed by --{name}: {changes:?}");
        assert!(changes.iter().all(|changed| *changed == only), "--{name} changes {changes:?}");
    }
}

#[test]
fn each_field_of_the_options_of_packing_is_set_by_an_option_of_pack() {
    let command = Args::command();
    let pack = command.get_subcommands().find(|command| command.get_name() == "pack").expect("pack");
    let before = fields(&packed(None).expect("arguments"));
    let set: BTreeSet<String> = pack
        .get_arguments()
        .filter(|option| option.get_long().is_some())
        .flat_map(words_of)
        .filter_map(|word| differing(&packed(Some(&word)).ok()?, &before))
        .flatten()
        .collect();
    let unset: Vec<_> =
        before.keys().filter(|field| !set.contains(*field) && !ELSEWHERE.contains(&&***field)).collect();
    assert!(before.len() > 30 && unset.is_empty(), "{unset:?} of PackOptions have no option of pack");
}

#[test]
fn each_option_is_in_a_test_and_the_pages_name_none_that_is_not_there() {
    let there = options_of(&Args::command());
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tests: String = files(&top.join("tests"), "rs").iter().map(|path| text(path)).collect();
    let untested: Vec<_> = there
        .iter()
        .filter(|name| !["\"", "=", " "].iter().any(|end| tests.contains(&format!("--{name}{end}"))))
        .collect();
    assert!(untested.is_empty(), "no test has {untested:?}");
    let pages = ["README.md", "DESIGN.md", "SECURITY.md", "CHANGELOG.md"].map(|page| top.join(page));
    // The differ's page is of another program.
    let docs = files(&top.join("docs"), "md").into_iter().filter(|page| !page.ends_with("containerd.md"));
    for page in pages.into_iter().chain(docs) {
        let named = options_in(&text(&page));
        let wrong: Vec<_> =
            named.iter().filter(|name| !there.contains(*name) && !OF_OTHERS.contains(&&***name)).collect();
        assert!(wrong.is_empty(), "{} names {wrong:?}", page.display());
    }
}

/// What the library gets from this word. With `--json` there is somebody who sees a digest.
fn parsed(word: Option<&str>) -> Result<Options, String> {
    let words: Vec<&str> = word.into_iter().chain(["--json", "-"]).collect();
    super::parse(&words).map(|args| args.options())
}

/// What the library gets from this word of `pack`.
fn packed(word: Option<&str>) -> Result<Value, String> {
    let words: Vec<&str> = ["pack"].into_iter().chain(word).chain(["root"]).collect();
    match super::parse(&words)?.command {
        Some(args::Command::Pack(pack)) => Ok(serde_json::to_value(pack.options()).expect("plain data")),
        _ => Err("another command".to_owned()),
    }
}

/// Each field that is not a structure, by its path: `limits.entries`.
fn fields(options: &Value) -> BTreeMap<String, Value> {
    let Value::Object(members) = options else { return [(String::new(), options.clone())].into() };
    let below = members.iter().flat_map(|(name, value)| {
        let fields = fields(value).into_iter();
        fields.map(move |(below, value)| (format!("{name}.{below}").trim_end_matches('.').to_owned(), value))
    });
    below.collect()
}

fn option_of<'a>(command: &'a Command, field: &str) -> Option<&'a Arg> {
    let name = field.rsplit('.').next().unwrap_or(field);
    let dashed = format!("{}{}", if field.starts_with("limits.") { "max-" } else { "" }, name.replace('_', "-"));
    let named = NAMED.iter().find(|(field, _)| *field == name).map_or(dashed, |(_, option)| (*option).to_owned());
    let is = |arg: &&Arg| arg.get_long() == Some(&*named);
    let found = command.get_arguments().find(is);
    assert!(found.is_some() || named.is_empty(), "{field} of Options has no option --{named} on the command line");
    found
}

/// The option with each of its words, or with values that may be right.
fn words_of(option: &Arg) -> Vec<String> {
    let name = option.get_long().unwrap_or_default();
    if !option.get_action().takes_values() {
        return vec![format!("--{name}")];
    }
    let fixed: Vec<_> = option.get_possible_values().iter().map(|word| word.get_name().to_owned()).collect();
    let words = if fixed.is_empty() { VALUES.map(str::to_owned).to_vec() } else { fixed };
    words.iter().map(|word| format!("--{name}={word}")).collect()
}

/// The fields that are not as without this word; `None` if it is wrong or says what holds without it.
fn changed(word: &str, before: &BTreeMap<String, Value>) -> Option<BTreeSet<String>> {
    differing(&serde_json::to_value(parsed(Some(word)).ok()?).expect("plain data"), before)
}

fn differing(now: &Value, before: &BTreeMap<String, Value>) -> Option<BTreeSet<String>> {
    let now = fields(now);
    let differs = |field: &&String| !before.contains_key(*field) || now.get(*field) != before.get(*field);
    let changed: BTreeSet<_> = now.keys().filter(differs).map(|field| whole(field, before)).collect();
    Some(changed).filter(|changed| !changed.is_empty())
}

/// A value may have members of its own: `owner.Forced.uid` is `owner`.
fn whole(field: &str, before: &BTreeMap<String, Value>) -> String {
    let known = before.keys().find(|known| field.starts_with(&format!("{known}.")));
    known.map_or(field, |known| known).to_owned()
}

fn options_of(command: &Command) -> BTreeSet<String> {
    let own =
        command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| arg.get_long()).map(str::to_owned);
    own.chain(command.get_subcommands().flat_map(options_of)).chain(["help".into(), "version".into()]).collect()
}

/// What begins with two dashes and a letter, and is no part of a word.
fn options_in(page: &str) -> BTreeSet<String> {
    let starts =
        page.match_indices("--").filter(|(at, _)| !page[..*at].ends_with(|c: char| c == '-' || c.is_alphanumeric()));
    let names = starts.map(|(at, dashes)| {
        let rest = &page[at + dashes.len()..];
        rest[..rest.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(rest.len())].trim_end_matches('-')
    });
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).map(str::to_owned).collect()
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("directory").map(|entry| entry.expect("entry").path());
    let below = entries.flat_map(|path| match path.is_dir() {
        true => files(&path, extension),
        false => vec![path],
    });
    below.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
