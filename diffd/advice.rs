//! The library's advice, as far as it comes to anything here: it names the key of the configuration, or is left out where
//! there is none, since what the library calls its limits and options nobody can reach from a pull.

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
        | Advice::AllowSizes => None,
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
        assert_eq!(of(Advice::Space), format!("the fact: {}", Advice::Space));
        assert_eq!(told("the fact".into(), None), "the fact");
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
