//! The library's advice, as far as it comes to anything here: in words for who pulls an image or runs the node. It names the
//! key of the configuration, or is left out where there is none, since what the library calls its limits and options nobody
//! can reach from a pull, and the archive is a blob, which getting it again leaves as it is.

use untar_in_root::{Advice, Limit};

/// A text of the library's that ends with its advice, with ours instead.
pub(crate) fn told(text: String, advice: Option<Advice>) -> String {
    let Some(advice) = advice else { return text };
    let ours = match advice {
        // Linux has this one, and says so.
        Advice::RaiseLimit(Limit::XattrName) => return text,
        Advice::RaiseLimit(limit) => {
            key(limit).map(|key| format!("if the layer can be trusted, raise {key} of diffd.toml's [limits]"))
        }
        Advice::DetectCompression
        | Advice::ClampNames
        | Advice::AllowMounts
        | Advice::Unmount
        | Advice::AttributeValue
        | Advice::Patterns
        | Advice::MapUser
        | Advice::MapGroup
        | Advice::AllowConflict
        | Advice::AllowEmpty
        | Advice::AllowNamespaces
        | Advice::AllowSizes
        | Advice::LeaveDevices
        | Advice::OtherIsolation
        | Advice::SoftAttributes
        | Advice::StagingElsewhere => None,
        Advice::OtherFormat(_) => {
            Some("a layer is a tar archive, plain, in gzip or in zstd: whoever made the image has to make it anew".into())
        }
        Advice::FetchAgain | Advice::CompareDigest => Some(
            "if the blob is what its digest says, the image was pushed like this and has to be made anew; else `ctr content \
             rm` it and pull again"
                .into(),
        ),
        Advice::SmallerWindow => {
            Some("its window is larger than the 128 MiB that are decoded here: the image has to be made with a smaller one".into())
        }
        Advice::TargetFirst => Some("the image has to be made anew: a hardlink comes after its target".into()),
        Advice::MakeRoot => Some("the snapshot is containerd's to make: it has removed it since, or pull again".into()),
        Advice::Space => Some("the file system of the snapshots is full: df and df -i say of what".into()),
        Advice::ReadOnly => Some("the file system of the snapshots is mounted read-only".into()),
        Advice::LeaveAttributes => Some("the service may not set it".into()),
        Advice::KeepOwner => Some("giving files away takes CAP_CHOWN".into()),
        Advice::NoOwners => {
            Some("root may not give files away on the snapshots' file system (NFS with root_squash)".into())
        }
        _ => return text,
    };
    let Some(fact) = text.strip_suffix(&format!(": {advice}")) else { return text };
    ours.map_or_else(|| fact.to_owned(), |ours| format!("{fact}: {ours}"))
}

fn key(limit: Limit) -> Option<&'static str> {
    match limit {
        Limit::TotalBytes => Some("total-bytes"),
        Limit::FileBytes => Some("file-bytes"),
        Limit::Entries => Some("entries"),
        Limit::Ratio => Some("ratio"),
        Limit::Timeout => Some("timeout-seconds"),
        Limit::Memory => Some("memory-bytes"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use untar_in_root::LooksLike;

    #[test]
    fn advice_names_a_key_of_the_configuration_or_is_left_out() {
        let of = |advice: Advice| told(format!("the fact: {advice}"), Some(advice));
        let raise = |limit| of(Advice::RaiseLimit(limit));
        assert_eq!(
            raise(Limit::Entries),
            "the fact: if the layer can be trusted, raise entries of diffd.toml's [limits]"
        );
        assert_eq!(raise(Limit::NameBytes), "the fact");
        assert_eq!(of(Advice::ClampNames), "the fact");
        assert_eq!(of(Advice::Quota), format!("the fact: {}", Advice::Quota));
        assert_eq!(told("the fact".into(), None), "the fact");
    }

    #[test]
    fn who_pulls_is_told_nothing_that_nobody_at_a_pull_can_do() {
        for advice in [
            Advice::OtherFormat(LooksLike::Xz),
            Advice::OtherFormat(LooksLike::Zip),
            Advice::AllowEmpty,
            Advice::FetchAgain,
            Advice::CompareDigest,
            Advice::SmallerWindow,
            Advice::MakeRoot,
            Advice::Space,
            Advice::ReadOnly,
            Advice::LeaveAttributes,
            Advice::LeaveDevices,
            Advice::SoftAttributes,
        ] {
            let (ours, theirs) = (told(format!("the fact: {advice}"), Some(advice)), advice.to_string());
            assert!(ours.starts_with("the fact") && !ours.contains(&theirs), "{ours}");
            for word in ["pipe", "bsdtar", "mkdir", "get the archive", "of the root", "decompress it", "left out"] {
                assert!(!ours.contains(word), "{ours}");
            }
        }
    }

    #[test]
    fn every_key_that_is_named_is_one_of_the_file() {
        let limits = [Limit::TotalBytes, Limit::FileBytes, Limit::Entries, Limit::Ratio, Limit::Timeout, Limit::Memory];
        let page = include_str!("../docs/containerd.md");
        for key in limits.map(|limit| key(limit).expect("a key")) {
            assert!(page.contains(&format!("\n{key} = ")), "{key} is not in docs/containerd.md");
        }
    }
}
