//! What words mean, and which are wrong.

mod each;

use super::Args;
use std::num::NonZeroU32;
use std::time::Duration;
use untar_in_root::{
    Compression, Devices, Durability, EscapingNames, IdRange, Isolation, Mode, Mounts, Options, OverlayPrefix, Owner,
    UserNamespace, Wall, Xattrs,
};

fn parse(words: &[&str]) -> Result<Args, String> {
    let words = ["untar-in-root"].iter().chain(words).copied();
    Args::parse_checked(words).map_err(|error| error.to_string())
}

fn range(inside: u32, outside: u32, count: u32) -> IdRange {
    IdRange { inside, outside, count }
}

#[test]
fn clap_is_content() {
    <Args as clap::CommandFactory>::command().debug_assert();
}

/// The defaults, without the digest that nobody would see, and without an archive that is empty.
fn unseen() -> Options {
    let mut options = Options::default();
    options.skip_diff_id = true;
    options.refuse_empty = true;
    options
}

#[test]
fn the_diff_id_is_computed_where_somebody_sees_it() {
    let digest = format!("sha256:{}", "0".repeat(64));
    for (words, skipped) in [
        (&["root"][..], true),
        (&["root", "--json"], false),
        (&["root", "--diff-id", &digest], false),
        (&["root", "--json", "--no-diff-id"], true),
    ] {
        assert_eq!(parse(words).expect("arguments").options().skip_diff_id, skipped, "{words:?}");
    }
}

#[test]
fn without_options_the_library_decides() {
    let args = parse(&["root"]).expect("arguments");
    assert_eq!(args.options(), unseen());
    assert!(args.archive().is_none() && parse(&["root", "-"]).expect("arguments").archive().is_none());
}

#[test]
fn a_listing_needs_no_root() {
    let args = parse(&["-t", "a.tar"]).expect("arguments");
    assert!(args.root().is_none() && args.archive().is_some_and(|path| path == "a.tar"));
    let args = parse(&["-t", "root", "a.tar"]).expect("arguments");
    assert!(args.root().is_some() && args.archive().is_some());
    assert!(parse(&["--list"]).expect("arguments").archive().is_none());
}

type Change = fn(&mut Options);

#[test]
fn each_option_means_one_thing() {
    let table: &[(&[&str], Change)] = &[
        (&["--layer"], |o| o.mode = Mode::Layer),
        (&["--overlay"], |o| o.mode = Mode::Overlay(untar_in_root::Overlay::default())),
        // What is below is opened by the run.
        (&["--overlay=user", "--lower", "a", "--lower", "b"], |o| {
            o.mode = Mode::Overlay(untar_in_root::Overlay::default().prefix(OverlayPrefix::User));
        }),
        (&["--compression", "xz"], |o| o.compression = Compression::Xz),
        (&["--ignore-zeros"], |o| o.ignore_zeros = true),
        (&["--allow-empty"], |o| o.refuse_empty = false),
        // The lists are read by the run.
        (&["--include-from", "list", "--exclude-from", "other"], |_| ()),
        (&["--no-diff-id"], |o| o.skip_diff_id = true),
        (&["--stop-at-end"], |o| o.stop_at_end = true),
        (&["--strict-sizes"], |o| o.strict_sizes = true),
        (&["--pax-globals"], |o| o.pax_globals = true),
        (&["--escaping-names", "clamp"], |o| o.escaping_names = EscapingNames::Clamp),
        (&["--root-metadata", "ignore"], |o| o.ignore_root_metadata = true),
        (&["--keep-directory-symlink"], |o| o.keep_directory_symlink = true),
        (&["--no-overwrite-dir-nondir"], |o| o.no_overwrite_dir_nondir = true),
        (&["--mounts", "cross"], |o| o.jail.mounts = Mounts::Cross),
        (&["--mounts", "refuse"], |_| ()),
        (&["--mounts", "skip"], |o| o.jail.mounts = Mounts::Skip),
        (&["--cross-mounts"], |o| o.jail.mounts = Mounts::Cross),
        (&["--one-file-system"], |o| o.jail.mounts = Mounts::Skip),
        (&["--durability", "per-file"], |o| o.durability = Durability::PerFile),
        (&["--writers", "3"], |o| o.writers = NonZeroU32::new(3)),
        (&["--include", "a", "--include", "b"], |o| o.include = vec!["a".into(), "b".into()]),
        (&["--exclude", "a,b"], |o| o.exclude = vec!["a,b".into()]),
        (&["--strip-components", "2"], |o| o.strip_components = 2),
        (&["--uid-map", "0:1000:1,1:100000:65535", "--gid-map", "0:5"], |o| {
            o.owner =
                Owner::Mapped { uids: vec![range(0, 1000, 1), range(1, 100_000, 65535)], gids: vec![range(0, 5, 1)] };
        }),
        (&["--uid-map", "0:1:1", "--uid-map", "1:2:1"], |o| {
            let gids = vec![range(0, 0, u32::MAX)];
            o.owner = Owner::Mapped { uids: vec![range(0, 1, 1), range(1, 2, 1)], gids };
        }),
        (&["--chown", "7:8"], |o| o.owner = Owner::Forced { uid: 7, gid: 8 }),
        (&["--no-same-owner"], |o| o.owner = Owner::Caller),
        (&["--ignore-chown-errors"], |o| o.ignore_chown_errors = true),
        (&["--devices", "placeholder"], |o| o.devices = Devices::Placeholder),
        (&["--usable-modes"], |o| o.usable_modes = true),
        (&["--xattrs", "strict"], |o| o.xattrs = Xattrs::Strict),
        (&["--trusted-xattrs", "allow"], |o| o.trusted_xattrs = true),
        (&["--security-xattrs", "allow"], |o| o.security_xattrs = true),
        (&["--clamp-mtime=-5"], |o| o.clamp_mtime = Some(-5)),
        (&["--isolation", "chroot"], |o| o.jail.isolation = Isolation::Chroot),
        (&["--isolation", "beneath"], |o| o.jail.isolation = Isolation::Beneath),
        (&["--userns", "single"], |o| o.jail.user_namespace = UserNamespace::Single),
        (&["--userns", "0:100:9"], |o| {
            o.jail.user_namespace =
                UserNamespace::Mapped { uids: vec![range(0, 100, 9)], gids: vec![range(0, 100, 9)] };
        }),
        (&["--userns", "0:1:1,1:100:9/0:7:1"], |o| {
            let uids = vec![range(0, 1, 1), range(1, 100, 9)];
            o.jail.user_namespace = UserNamespace::Mapped { uids, gids: vec![range(0, 7, 1)] };
        }),
        (&["--seccomp", "required"], |o| o.jail.sandbox.seccomp = Wall::Required),
        (&["--landlock", "off"], |o| o.jail.sandbox.landlock = Wall::Off),
        (&["--landlock-paths"], |o| o.jail.sandbox.landlock_paths = true),
        (&["--max-total-bytes", "3G"], |o| o.limits.total_bytes = 3 << 30),
        (&["--max-file-bytes", "none"], |o| o.limits.file_bytes = u64::MAX),
        (&["--max-entries", "10"], |o| o.limits.entries = 10),
        (&["--max-ratio", "10"], |o| o.limits.ratio = 10),
        (&["--max-depth", "10"], |o| o.limits.depth = 10),
        (&["--max-name-bytes", "1K"], |o| o.limits.name_bytes = 1024),
        (&["--max-extended-header-bytes", "2MiB"], |o| o.limits.extended_header_bytes = 2 << 20),
        (&["--max-xattrs", "1"], |o| o.limits.xattrs = 1),
        (&["--max-xattr-bytes", "1"], |o| o.limits.xattr_bytes = 1),
        (&["--max-sparse-regions", "1"], |o| o.limits.sparse_regions = 1),
        (&["--max-events", "1"], |o| o.limits.events = 1),
        (&["--max-memory", "1t"], |o| o.jail.limits.memory_bytes = Some(1 << 40)),
        (&["--max-memory", "none"], |o| o.jail.limits.memory_bytes = None),
        (&["--max-memory", "0"], |o| o.jail.limits.memory_bytes = None),
        (&["--timeout", "1.5"], |o| o.jail.limits.timeout = Some(Duration::from_millis(1500))),
        (&["--timeout", "0.0001"], |o| o.jail.limits.timeout = Some(Duration::from_micros(100))),
        (&["--timeout", "2m"], |o| o.jail.limits.timeout = Some(Duration::from_secs(120))),
        (&["--timeout", "0"], |o| o.jail.limits.timeout = None),
        (&["-t"], |o| o.list = true),
        (&["-tv"], |o| o.list = true),
        (&["-v"], |o| o.verbose = true),
    ];
    for (words, change) in table {
        let mut want = unseen();
        change(&mut want);
        let words: Vec<&str> = words.iter().copied().chain(["root"]).collect();
        let args = parse(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        assert_eq!(args.options(), want, "{words:?}");
    }
}

#[test]
fn wrong_words_are_told_what_to_do() {
    for (words, want) in [
        (&[][..], "ROOT"),
        (&["a", "b", "c"], "unexpected argument 'c'"),
        (&["--layer", "image", "a", "b"], "unexpected argument 'b'"),
        (&["root", "--layer", "--overlay"], "cannot be used with"),
        (&["root", "--lower", "x"], "--overlay"),
        (&["root", "--digest", "sha256:12"], "64 hexadecimal digits"),
        (&["root", "--digest", "sha512:12"], "expected sha256:"),
        (&["root", "--digest", &format!("sha256:{}", "AB".repeat(32))], "in lower case"),
        (&["root", "--no-diff-id", "--diff-id", &format!("sha256:{}", "0".repeat(64))], "cannot be used with"),
        (&["root", "--stop-at-end", "--digest", &format!("sha256:{}", "0".repeat(64))], "cannot be used with"),
        (&["root", "--stop-at-end", "--diff-id", &format!("sha256:{}", "0".repeat(64))], "cannot be used with"),
        (&["root", "--stop-at-end", "--ignore-zeros"], "cannot be used with"),
        (&["root", "--include-from", "-"], "from standard input"),
        (&["root", "a.tar", "--include-from", "-", "--exclude-from", "-"], "from standard input"),
        (&["-xf", "a.tar", "-C", "dir"], "untar-in-root dir a.tar"),
        (&["--no-such", "root"], "unexpected argument '--no-such'"),
        (&["root", "--chown", "root:root"], "names are never looked up"),
        (&["root", "--chown", "1:2", "--no-same-owner"], "cannot be used with"),
        (&["root", "--chown", "1:4294967295"], "up to 4294967294"),
        (&["root", "--chown", "1:2", "--uid-map", "0:0:1"], "cannot be used with"),
        (&["root", "--uid-map", "0:0:0"], "at least one id"),
        (&["root", "--uid-map", "0:4294967295:1"], "4294967294"),
        (&["root", "--uid-map", "0"], "INSIDE:OUTSIDE:COUNT"),
        (&["root", "--uid-map", "0:0:2,1:5:1"], "0:0:2 and 1:5:1 of --uid-map overlap"),
        (&["root", "--userns", "0:0:2,1:5:1"], "0:0:2 and 1:5:1 of --userns overlap"),
        (&["root", "--userns", "0:5:2,2:6:1"], "0:5:2 and 2:6:1 of --userns overlap on disk"),
        (&["root", "--userns", "maybe"], "auto, never, single"),
        (&["root", "--isolation", "jail"], "[possible values: auto, pivot, chroot, beneath]"),
        (&["root", "--max-total-bytes", "1Q"], "K, M, G or T"),
        (&["root", "--max-total-bytes", "99999999999T"], "too large"),
        (&["root", "--max-total-bytes", "iB"], "K, M, G or T"),
        (&["root", "--max-name-bytes", "none"], "cannot be lifted"),
        (&["root", "--max-name-bytes", "4G"], "too large"),
        (&["root", "--timeout", "-1"], "unexpected argument '-1'"),
        (&["root", "--timeout=-1"], "expected seconds"),
        (&["root", "--timeout", "soon"], "expected seconds"),
        (&["root", "--timeout", "1e999"], "expected seconds"),
        (&["root", "--writers", "0"], "--writers"),
        (&["root", "--xattrs", "none", "--trusted-xattrs", "allow"], "none to allow"),
        (&["root", "--xattrs", "none", "--security-xattrs", "allow"], "none to allow"),
        (&["root", "--cross-mounts", "--mounts", "cross"], "cannot be used with"),
        (&["root", "--landlock", "off", "--landlock-paths"], "leave --landlock off out"),
        (&["root", "-q", "-v"], "cannot be used with"),
        (&["root", "-q", "--progress"], "leave it or --progress out"),
        (&["-t", "a", "--chown", "1:1"], "--list writes nothing, so --chown means nothing"),
        (&["-t", "a", "--durability", "none"], "--list writes nothing, so --durability means nothing"),
        (&["root", "--clamp-mtime"], "--clamp-mtime=SECONDS"),
    ] {
        let error = parse(words).expect_err(&format!("{words:?}"));
        assert!(error.contains(want), "{words:?}: {error}");
    }
}

/// Whoever packs reads of packing: the options that unpacking has too have words of their own.
#[test]
fn what_help_says_of_packing_is_not_about_unpacking() {
    let mut all = <Args as clap::CommandFactory>::command();
    all.build();
    for name in ["pack", "diff", "copy"] {
        let command = all.find_subcommand(name).expect(name);
        let mut seen = 0;
        for option in command.get_arguments().filter(|option| option.get_help_heading() == Some("Confinement")) {
            let words = option.get_possible_values();
            let words = words.iter().filter_map(|word| word.get_help()).map(ToString::to_string);
            let long = option.get_long_help().or(option.get_help()).map(ToString::to_string);
            for text in words.chain(long) {
                let wrong =
                    ["decoder", "archive", "an entry that", "unpack"].iter().find(|wrong| text.contains(**wrong));
                assert_eq!(wrong, None, "{name}: {text}");
            }
            seen += 1;
        }
        assert_eq!(seen, 8, "{name}");
    }
}

/// What `--help` says of a limit's default is what the library does without it.
#[test]
fn the_defaults_of_limits_are_those_that_help_names() {
    let limits = <Args as clap::CommandFactory>::command();
    let named = limits.get_arguments().filter_map(|arg| {
        let (long, help) = (arg.get_long()?, arg.get_help()?.to_string());
        let limit = long == "timeout" || long.starts_with("max-");
        let default = help.split_once("[default: ").and_then(|(_, rest)| rest.strip_suffix(']')).map(str::to_owned);
        limit.then(|| (format!("--{long}"), default.unwrap_or_else(|| panic!("--{long} names no default: {help}"))))
    });
    let named: Vec<(String, String)> = named.collect();
    assert_eq!(named.len(), 13, "{named:?}");
    for (option, default) in named {
        let value = if default == "none" { "0" } else { &default };
        let args = parse(&[&option, value, "root"]).expect("arguments");
        assert_eq!(args.options().limits, untar_in_root::Limits::default(), "{option} {default}");
    }
}
