//! An entry of a list, which breaks by itself: one of wrong form is told when it is asked for, and the others are as they
//! are. A list in which an entry is no JSON is none.

use super::{Annotations, Descriptor, DockerImage, PlatformText, words};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::value::RawValue;

#[derive(Clone, Debug, Default)]
pub(in crate::image) struct Entry<T> {
    pub(in crate::image) value: T,
    /// The parser's words, if it is of wrong form; the value is then what tells it from others.
    pub(in crate::image) flaw: Option<String>,
}

impl<'de, T: DeserializeOwned + Remains> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        Ok(match serde_json::from_str(text) {
            Ok(value) => Entry { value, flaw: None },
            Err(error) => Entry { value: T::remains(text), flaw: Some(words(&error)) },
        })
    }
}

/// What of a broken entry says which it is: its names, and for which platform.
pub(in crate::image) trait Remains {
    fn remains(text: &str) -> Self;
}

impl Remains for Descriptor {
    fn remains(text: &str) -> Descriptor {
        #[derive(Default, serde::Deserialize)]
        struct Named {
            annotations: Option<Annotations>,
        }
        #[derive(Default, serde::Deserialize)]
        struct Meant {
            platform: Option<PlatformText>,
        }
        let named: Named = serde_json::from_str(text).unwrap_or_default();
        let meant: Meant = serde_json::from_str(text).unwrap_or_default();
        Descriptor { annotations: named.annotations, platform: meant.platform, ..Descriptor::default() }
    }
}

impl Remains for DockerImage {
    fn remains(text: &str) -> DockerImage {
        #[derive(Default, serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Named {
            repo_tags: Option<super::Several<String, { super::MAX_ENTRIES }>>,
        }
        let named: Named = serde_json::from_str(text).unwrap_or_default();
        DockerImage { repo_tags: named.repo_tags, ..DockerImage::default() }
    }
}
