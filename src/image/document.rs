//! The JSON of images, as far as it is used: OCI image-spec `image-index.md`, `manifest.md`, `config.md`, and the
//! `manifest.json` of `docker save`. Unknown fields are ignored, fields given twice are refused (serde), and a
//! document that could be read in two ways is too. `null` is what Go's tools, which write it, make of it: nothing.

mod entry;
mod null;
mod several;

pub(super) use entry::Entry;

use super::problem::{BadJson, Problem, shortened};
use super::{MAX_ENTRIES, MAX_LAYERS};
use crate::error::Error;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use several::Several;

/// Points to a blob.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default, deserialize_with = "null::as_default")]
    pub(super) media_type: String,
    #[serde(default, deserialize_with = "null::as_default")]
    pub(super) digest: String,
    #[serde(default, deserialize_with = "null::as_default")]
    pub(super) size: u64,
    #[serde(default)]
    pub(super) urls: Option<Several<String, 4>>,
    #[serde(default)]
    pub(super) annotations: Option<Annotations>,
    #[serde(default)]
    pub(super) platform: Option<PlatformText>,
}

/// Those that name an image, and the one that says that it is none; no other is used, so none is kept.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Annotations {
    /// The tag, in `index.json`.
    #[serde(rename = "org.opencontainers.image.ref.name", default)]
    pub(super) tag: Option<String>,
    /// The whole name, as containerd and `docker save` have it.
    #[serde(rename = "io.containerd.image.name", default)]
    pub(super) name: Option<String>,
    /// What buildkit says of an attestation.
    #[serde(rename = "vnd.docker.reference.type", default)]
    pub(super) reference_type: Option<String>,
}

/// What an index leads to: more than may be, by one, is enough to see that it is too much.
pub(super) type Manifests = Several<Entry<Descriptor>, { MAX_ENTRIES + 1 }>;
/// The layers of a manifest, with the same margin.
pub(super) type Layers<T> = Several<T, { MAX_LAYERS + 1 }>;

/// A platform as a descriptor and a configuration have it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct PlatformText {
    #[serde(default, deserialize_with = "null::as_default")]
    pub(super) os: String,
    #[serde(default, deserialize_with = "null::as_default")]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) variant: Option<String>,
    /// What a machine of this platform must have beside it.
    #[serde(rename = "os.features", default)]
    pub(super) features: Option<Several<String, 4>>,
}

/// `oci-layout`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LayoutMarker {
    pub(super) image_layout_version: String,
}

/// An index or a manifest: which of both, and that it is not both, is looked at before it is used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(deserialize_with = "null::as_default")]
    schema_version: u64,
    #[serde(default)]
    pub(super) media_type: Option<String>,
    #[serde(default)]
    pub(super) artifact_type: Option<String>,
    #[serde(default)]
    manifests: Option<Manifests>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Layers<Descriptor>>,
    #[serde(default)]
    fs_layers: Option<IgnoredAny>,
}

impl Document {
    pub(super) fn parse(bytes: &[u8], file: &str) -> Result<Document, Error> {
        let document: Document = json(bytes, file)?;
        if document.schema_version != 2 {
            return Err(Problem::Version(document.schema_version.to_string()).at(file));
        }
        let index = document.manifests.is_some();
        let manifest = document.config.is_some() || document.layers.is_some() || document.fs_layers.is_some();
        if index && manifest {
            return Err(Problem::Ambiguous.at(file));
        }
        Ok(document)
    }

    /// What it is by its descriptor must be what it says itself, where it says so.
    pub(super) fn is(&self, declared: &str, file: &str) -> Result<(), Error> {
        match &self.media_type {
            Some(says) if !says.is_empty() && says != declared => {
                Err(Problem::MediaTypeDiffers { declared: declared.to_owned(), says: says.clone() }.at(file))
            }
            _ => Ok(()),
        }
    }

    /// An index by what is in it.
    pub(super) fn is_index(&self) -> bool {
        self.manifests.is_some()
    }

    pub(super) fn into_manifests(self, file: &str) -> Result<Manifests, Error> {
        match self.manifests {
            Some(manifests) if manifests.count() > MAX_ENTRIES => Err(Problem::Images.at(file)),
            Some(manifests) => Ok(manifests),
            None if self.config.is_some() || self.layers.is_some() => Err(Problem::ManifestForIndex.at(file)),
            None => Ok(Manifests::default()),
        }
    }

    pub(super) fn into_image(self, file: &str) -> Result<(Descriptor, Layers<Descriptor>), Error> {
        match self.config {
            Some(config) => Ok((config, self.layers.unwrap_or_default())),
            None => Err(Problem::NoConfiguration.at(file)),
        }
    }
}

/// An image's configuration.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(default, deserialize_with = "null::as_default")]
    os: String,
    #[serde(default, deserialize_with = "null::as_default")]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(rename = "os.features", default)]
    features: Option<Several<String, 4>>,
    #[serde(deserialize_with = "null::as_default")]
    pub(super) rootfs: Rootfs,
}

impl Config {
    pub(super) fn platform(&self) -> PlatformText {
        let (os, architecture, variant) = (self.os.clone(), self.architecture.clone(), self.variant.clone());
        PlatformText { os, architecture, variant, features: self.features.clone() }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Rootfs {
    #[serde(rename = "type", default, deserialize_with = "null::as_default")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) diff_ids: Option<Layers<String>>,
}

/// One image of a docker archive.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerImage {
    #[serde(deserialize_with = "null::as_default")]
    pub(super) config: String,
    #[serde(default)]
    pub(super) repo_tags: Option<Several<String, MAX_ENTRIES>>,
    #[serde(default)]
    pub(super) layers: Option<Layers<String>>,
}

/// `manifest.json`
pub(super) type DockerImages = Several<Entry<DockerImage>, MAX_ENTRIES>;

/// Parses; what is wrong is told with line and column.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8], file: &str) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        let what = match error.classify() {
            Category::Eof => BadJson::Truncated,
            Category::Data => BadJson::Form,
            Category::Syntax | Category::Io => BadJson::Syntax,
        };
        let said = (what != BadJson::Truncated).then(|| words(&error));
        Problem::Json { line: error.line(), column: error.column(), what }.said_at(file, said)
    })
}

/// The parser's words, which quote the value that it does not like: that may be the whole document.
fn words(error: &serde_json::Error) -> String {
    const LONGEST: usize = 200;
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    in_words(&shortened(text.strip_suffix(&place).unwrap_or(&text), LONGEST))
}

/// Our types have names that say nothing to whoever wrote the document, and what serde calls a map and a sequence is an
/// object and a list there.
fn in_words(said: &str) -> String {
    let said =
        said.replace("invalid type: map", "invalid type: an object").replace("expected a map", "expected an object");
    let said = said
        .replace("invalid type: sequence", "invalid type: a list")
        .replace("expected a sequence", "expected a list");
    let said = said.replace("expected u64", "expected a whole number");
    let said = match said.split_once("expected struct ") {
        None => said,
        Some((before, name)) => {
            let rest = name.find(|c: char| !c.is_alphanumeric()).map_or("", |end| &name[end..]);
            format!("{before}expected an object{rest}")
        }
    };
    match said.strip_prefix("invalid type: ").and_then(|types| types.split_once(", expected ")) {
        Some((found, expected)) => format!("{found} where {expected} is expected"),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_told_in_words_of_json() {
        for (said, told) in [
            ("invalid type: integer `1`, expected struct Descriptor", "integer `1` where an object is expected"),
            ("invalid type: map, expected a sequence", "an object where a list is expected"),
            (
                "invalid type: sequence, expected struct Index with 3 elements",
                "a list where an object with 3 elements is expected",
            ),
            ("missing field `config`", "missing field `config`"),
        ] {
            assert_eq!(in_words(said), told);
        }
    }

    fn problem(text: &str) -> Problem {
        let error = Document::parse(text.as_bytes(), "x").expect_err(text);
        error.image_problem().expect("a problem").clone()
    }

    fn bad(text: &str) -> (BadJson, String) {
        let error = Document::parse(text.as_bytes(), "x").expect_err(text);
        match error.image_problem() {
            Some(Problem::Json { what, .. }) => (*what, error.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let descriptor = r#"{"mediaType":"m","digest":"d","size":1}"#;
        for both in [
            r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.to_owned(),
            format!(r#"{{"schemaVersion":2,"manifests":[{descriptor}],"config":{descriptor}}}"#),
            r#"{"schemaVersion":2,"manifests":[],"fsLayers":[]}"#.to_owned(),
        ] {
            assert_eq!(problem(&both), Problem::Ambiguous, "{both}");
        }
        for twice in [r#"{"schemaVersion":2,"schemaVersion":2}"#, r#"{"schemaVersion":2,"layers":[],"layers":[]}"#] {
            let (what, text) = bad(twice);
            assert!(what == BadJson::Form && text.contains("duplicate field"), "{text}");
        }
    }

    #[test]
    fn versions_and_forms() {
        assert_eq!(problem(r#"{"schemaVersion":1}"#), Problem::Version("1".into()));
        for (text, want) in [
            ("", BadJson::Truncated),
            ("{", BadJson::Truncated),
            ("x", BadJson::Syntax),
            ("[]", BadJson::Form),
            ("null", BadJson::Form),
            (r#"{"schemaVersion":2,"manifests":{}}"#, BadJson::Form),
            (r#"{"schemaVersion":2,"manifests":[{"digest":}]}"#, BadJson::Syntax),
        ] {
            assert_eq!(bad(text).0, want, "{text}");
        }
        let there = Problem::Json { line: 2, column: 1, what: BadJson::Syntax };
        assert_eq!(problem("{\nx"), there);
        // As Go writes a nil slice.
        let document = Document::parse(br#"{"schemaVersion":2,"manifests":null}"#, "x").expect("an index");
        assert!(document.into_manifests("x").expect("empty").items().is_empty());
    }

    #[test]
    fn an_entry_of_wrong_form_breaks_itself_alone() {
        let good = r#"{"digest":"d","size":1}"#;
        for (bad, words) in [
            (r#"{"digest":"d","size":"1"}"#, r#"string "1" where a whole number is expected"#),
            (r#"{"digest":"d","size":-1}"#, "invalid value: integer `-1`, expected a whole number"),
            (r#"{"digest":"d","digest":"e"}"#, "duplicate field `digest`"),
            (r#"{"digest":["d"]}"#, "a list where a string is expected"),
            ("7", "integer `7` where an object is expected"),
        ] {
            let text = format!(r#"{{"schemaVersion":2,"manifests":[{good},{bad},{good}]}}"#);
            let manifests = Document::parse(text.as_bytes(), "x").and_then(|index| index.into_manifests("x"));
            let entries = manifests.expect(bad).into_items();
            let flaws: Vec<Option<&str>> = entries.iter().map(|entry| entry.flaw.as_deref()).collect();
            assert_eq!(flaws, [None, Some(words), None]);
            assert!(entries[1].value.digest.is_empty() && entries[2].value.digest == "d");
        }
    }

    /// So it is told by its name, and only where it was meant.
    #[test]
    fn a_broken_entry_keeps_its_names_and_its_platform() {
        let named = r#"{"digest":7,"annotations":{"org.opencontainers.image.ref.name":"t"},"platform":{"os":"o"}}"#;
        let entry: Entry<Descriptor> = serde_json::from_str(named).expect("an entry");
        assert!(entry.flaw.is_some());
        assert_eq!(entry.value.annotations.expect("names").tag.as_deref(), Some("t"));
        assert_eq!(entry.value.platform.expect("a platform").os, "o");
        let entry: Entry<DockerImage> = serde_json::from_str(r#"{"Config":7,"RepoTags":["t"]}"#).expect("an entry");
        assert!(entry.flaw.is_some());
        assert_eq!(entry.value.repo_tags.expect("tags").items(), ["t"]);
    }

    #[test]
    fn a_value_is_quoted_no_longer_than_a_line() {
        let long = format!(r#"{{"schemaVersion":"{}"}}"#, "\u{1}A".repeat(1 << 20).escape_default());
        let (_, text) = bad(&long);
        assert!(text.len() < 400 && text.contains("(line 1, column "), "{text}");
    }

    #[test]
    fn what_is_too_much_is_counted_and_not_kept() {
        let descriptor = r#"{"digest":"","size":0,"annotations":{"a":"b"}}"#;
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, vec![descriptor; 80_000].join(","));
        let manifests = Document::parse(text.as_bytes(), "x").expect("an index").manifests.expect("an index");
        assert_eq!((manifests.count(), manifests.items().len()), (80_000, MAX_ENTRIES + 1));
    }

    #[test]
    fn nesting_does_not_exhaust_the_stack() {
        let deep = "[".repeat(1 << 20);
        assert_eq!(bad(&deep).0, BadJson::Form);
        assert_eq!(bad(&format!(r#"{{"unknown":{deep}"#)).0, BadJson::Truncated);
    }
}
