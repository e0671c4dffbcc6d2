//! The JSON of images, as far as it is used: OCI image-spec `image-index.md`, `manifest.md`, `config.md`, and the
//! `manifest.json` of `docker save`. Unknown fields are ignored, fields given twice are refused (serde), and a
//! document that could be read in two ways is too.

use super::problem::Problem;
use crate::Error;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::BTreeMap;

/// Points to a blob.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default)]
    pub(super) urls: Option<Vec<String>>,
    #[serde(default)]
    pub(super) annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) platform: Option<PlatformText>,
}

impl Descriptor {
    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(name).map(String::as_str)
    }
}

/// As a descriptor and a configuration have it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct PlatformText {
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) variant: Option<String>,
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
    schema_version: u64,
    #[serde(default)]
    pub(super) media_type: Option<String>,
    #[serde(default)]
    pub(super) artifact_type: Option<String>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
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

    pub(super) fn into_manifests(self, file: &str) -> Result<Vec<Descriptor>, Error> {
        match self.manifests {
            Some(manifests) => Ok(manifests),
            None if self.config.is_some() || self.layers.is_some() => {
                Err(Problem::Json("a manifest where an index is expected".to_owned()).at(file))
            }
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn into_image(self, file: &str) -> Result<(Descriptor, Vec<Descriptor>), Error> {
        match self.config {
            Some(config) => Ok((config, self.layers.unwrap_or_default())),
            None => Err(Problem::Json("a manifest without a configuration".to_owned()).at(file)),
        }
    }
}

/// An image's configuration.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    pub(super) rootfs: Rootfs,
}

impl Config {
    pub(super) fn platform(&self) -> PlatformText {
        let (os, architecture, variant) = (self.os.clone(), self.architecture.clone(), self.variant.clone());
        PlatformText { os, architecture, variant }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Rootfs {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) diff_ids: Option<Vec<String>>,
}

/// One image of a docker archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerImage {
    pub(super) config: String,
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(super) layers: Option<Vec<String>>,
}

/// Parses; what is wrong is told with line and column.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8], file: &str) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Problem::Json(error.to_string()).at(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Problem {
        let error = Document::parse(text.as_bytes(), "x").expect_err(text);
        error.image_problem().expect("a problem").clone()
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
            assert!(matches!(problem(twice), Problem::Json(text) if text.contains("duplicate field")), "{twice}");
        }
    }

    #[test]
    fn versions_and_forms() {
        assert_eq!(problem(r#"{"schemaVersion":1}"#), Problem::Version("1".into()));
        for bad in ["", "[]", "{", "null", r#"{"schemaVersion":2,"manifests":[{"digest":"d","size":-1}]}"#] {
            assert!(matches!(problem(bad), Problem::Json(_)), "{bad}");
        }
        // As Go writes a nil slice.
        let document = Document::parse(br#"{"schemaVersion":2,"manifests":null}"#, "x").expect("an index");
        assert!(document.into_manifests("x").expect("empty").is_empty());
    }

    #[test]
    fn nesting_does_not_exhaust_the_stack() {
        let deep = "[".repeat(1 << 20);
        assert!(
            matches!(problem(&deep), Problem::Json(text) if text.contains("recursion limit") || text.contains("line"))
        );
    }
}
