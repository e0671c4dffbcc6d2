//! The library's advice as options of this command line.

use crate::args::Args;
use clap::CommandFactory;
use untar_in_root::{Advice, Confinement, EventKind, Limit, RootSwitch};

/// Which options help, as the end of a sentence: those that this subcommand (or none) has.
pub(crate) fn options(advice: Advice, command: &str) -> Option<String> {
    // What `diff` compares with is what it is for.
    if (advice, command) == (Advice::AllowNamespaces, "diff") {
        return None;
    }
    let fitting: Vec<&str> = of_advice(advice)?.split(" | ").filter(|options| has(command, options)).collect();
    let (last, before) = fitting.split_last()?;
    Some(if before.is_empty() { (*last).to_owned() } else { format!("{} or {last}", before.join(", ")) })
}

/// Whether this subcommand, or the plain command, has all options in these words.
fn has(command: &str, words: &str) -> bool {
    let args = Args::command();
    let args = args.find_subcommand(command).unwrap_or(&args);
    let takes = |long: &str| args.get_arguments().any(|arg| arg.get_long() == Some(long));
    words.split([' ', '=', ',']).filter_map(|word| word.strip_prefix("--")).all(takes)
}

/// Each by itself helps.
fn of_advice(advice: Advice) -> Option<&'static str> {
    Some(match advice {
        Advice::RaiseLimit(limit) => return of_limit(limit),
        Advice::Memory => "--max-memory",
        Advice::AllowEmpty => "--allow-empty",
        Advice::MakeRoot => "--atomic",
        Advice::DetectCompression => "--compression auto",
        Advice::ClampNames => "--escaping-names clamp",
        Advice::AllowMounts => "--mounts skip | --mounts cross",
        Advice::CrossMounts => "--mounts cross",
        Advice::Unmount => "--mounts skip",
        Advice::AttributeValue => "--max-xattr-bytes with --xattrs none",
        Advice::Patterns => "--include | --exclude",
        Advice::TargetFirst => "--include | --exclude | --strip-components",
        Advice::MapUser => "--uid-map | --chown | --unmapped-ids nobody | --no-same-owner",
        Advice::MapGroup => "--gid-map | --chown | --unmapped-ids nobody | --no-same-owner",
        Advice::AllowConflict => "do without --no-overwrite-dir-nondir",
        Advice::AllowSizes => "do without --strict-sizes",
        Advice::AllowNamespaces => "do without --lower | do without --layers and --store",
        Advice::GiveLowers => "--lower",
        Advice::LayersInstead => "--layers | do without --store",
        Advice::AllowUserNamespaces => "--isolation beneath",
        Advice::PowerlessNamespace => "--userns never",
        Advice::MountRights => "--userns auto | --isolation auto",
        Advice::AskNoOwners => "do without --chown, --uid-map and --gid-map",
        Advice::KeepWalls => "do without --landlock off and --seccomp off",
        Advice::ChrootRight => "--userns auto | --isolation beneath",
        Advice::OtherIsolation => "--isolation auto",
        Advice::LeaveDevices => "--devices skip | --devices placeholder",
        Advice::UnmappedOwner | Advice::RefusedMap => "--chown | --no-same-owner | --ignore-chown-errors",
        Advice::KeepOwner | Advice::NoOwners => "--no-same-owner | --ignore-chown-errors",
        Advice::SoftAttributes => "--xattrs best-effort",
        Advice::LargeAttributes | Advice::LeaveAttributes => "--xattrs none",
        Advice::UserMarks => "--overlay=user",
        Advice::StagingElsewhere => "--staging, or TMPDIR where that is not given",
        _ => return None,
    })
}

fn of_limit(limit: Limit) -> Option<&'static str> {
    Some(match limit {
        Limit::TotalBytes => "--max-total-bytes",
        Limit::FileBytes => "--max-file-bytes",
        Limit::Entries => "--max-entries",
        Limit::Ratio => "--max-ratio",
        Limit::Depth => "--max-depth",
        Limit::NameBytes => "--max-name-bytes",
        Limit::ExtendedHeaderBytes => "--max-extended-header-bytes",
        Limit::Xattrs => "--max-xattrs",
        Limit::XattrBytes => "--max-xattr-bytes",
        Limit::SparseRegions => "--max-sparse-regions",
        Limit::Hardlinks => "--max-hardlinks",
        Limit::Timeout => "--timeout",
        Limit::Memory => "--max-memory",
        _ => return None,
    })
}

/// Which option of this subcommand, or of the plain command, has what an event lost.
pub(crate) fn of_event(what: &EventKind, confinement: &Confinement, command: &str) -> Option<&'static str> {
    lost(what, confinement).filter(|words| has(command, words))
}

fn lost(what: &EventKind, confinement: &Confinement) -> Option<&'static str> {
    // Only root in the first user namespace, with all of its rights, may set these.
    let may = confinement.user_namespace.is_none() && confinement.root == RootSwitch::Pivot;
    match what {
        EventKind::AnotherArchive { .. } => Some("--ignore-zeros goes on with it"),
        EventKind::XattrDropped { .. } if !may => None,
        EventKind::XattrDropped { name }
            if name.starts_with(b"trusted.")
                && !name.starts_with(b"trusted.overlay.")
                && !name.starts_with(b"trusted.SGI_ACL_") =>
        {
            Some("--trusted-xattrs allow sets it")
        }
        EventKind::XattrDropped { name } if name.starts_with(b"security.") && name != b"security.capability" => {
            Some("--security-xattrs allow sets it")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn a_subcommand_is_advised_what_it_has() {
        let of = |command| super::options(untar_in_root::Advice::AllowNamespaces, command);
        assert_eq!(of("").as_deref(), Some("do without --lower"));
        assert_eq!(of("image").as_deref(), Some("do without --layers and --store"));
        assert_eq!(of("inspect"), None);
        assert_eq!(of("diff"), None);
    }

    /// Every word with dashes in these texts is an option that there is.
    #[test]
    fn the_options_that_are_named_exist() {
        let source = include_str!("advice.rs").split("#[cfg(test)]").next().expect("code");
        let command = crate::args::Args::command();
        let mut there: Vec<String> = Vec::new();
        for command in std::iter::once(&command).chain(command.get_subcommands()) {
            there.extend(command.get_arguments().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")));
        }
        for word in source
            .split(|c: char| !c.is_ascii_lowercase() && c != '-')
            .filter(|word| word.len() > 2 && word.starts_with("--"))
        {
            assert!(there.iter().any(|long| long == word), "{word}");
        }
    }
}
