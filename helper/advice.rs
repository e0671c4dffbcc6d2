//! The library's advice as options of this command line.

use untar_in_root::{Advice, EventKind, Limit};

/// Which options help, as the end of a sentence.
pub(crate) fn options(advice: Advice) -> Option<&'static str> {
    Some(match advice {
        Advice::RaiseLimit(limit) => return of_limit(limit),
        Advice::SmallerWindow | Advice::Memory => "--max-memory",
        Advice::DetectCompression => "--compression auto",
        Advice::ClampNames => "--escaping-names clamp",
        Advice::AllowMounts => "--mounts skip or --mounts cross",
        Advice::Patterns => "--include or --exclude",
        Advice::TargetFirst => "look at --include, --exclude and --strip-components",
        Advice::MapUser => "--uid-map, --chown or --no-same-owner",
        Advice::MapGroup => "--gid-map, --chown or --no-same-owner",
        Advice::AllowConflict => "do without --no-overwrite-dir-nondir",
        Advice::AllowSizes => "do without --strict-sizes",
        Advice::AllowNamespaces => "do without --lower; `image` without --layers and --store flattens",
        Advice::LayersInstead => "--layers",
        Advice::AllowUserNamespaces => "--userns auto, with --isolation auto",
        Advice::PowerlessNamespace => "--userns never",
        Advice::MountRights => "--userns auto, or --isolation auto",
        Advice::ChrootRight => "--userns auto",
        Advice::OtherIsolation => "--isolation auto",
        Advice::LeaveDevices => "--devices skip or --devices placeholder",
        Advice::UnmappedOwner => "--chown, --no-same-owner or --ignore-chown-errors",
        Advice::KeepOwner => "--no-same-owner or --ignore-chown-errors",
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
        Limit::Timeout => "--timeout",
        Limit::Memory => "--max-memory",
        _ => return None,
    })
}

/// Which option has what an event lost.
pub(crate) fn of_event(what: &EventKind) -> Option<&'static str> {
    match what {
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

    /// Every word with dashes in these texts is an option that there is.
    #[test]
    fn the_options_that_are_named_exist() {
        let source = include_str!("advice.rs").split("#[cfg(test)]").next().expect("code");
        let command = crate::args::Args::command();
        let mut there: Vec<String> = Vec::new();
        for command in std::iter::once(&command).chain(command.get_subcommands()) {
            there.extend(command.get_arguments().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")));
        }
        for word in source.split(|c: char| !c.is_ascii_lowercase() && c != '-').filter(|word| word.starts_with("--")) {
            assert!(there.iter().any(|long| long == word), "{word}");
        }
    }
}
