//! What an image is for, as its configuration has it (image-spec, `config.md`).

use super::document::json;
use super::{Image, digest};
use crate::error::Error;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// The most items of one list: in memory they are many times as large as in JSON.
const MOST: usize = 10_000;

/// What a configuration says of its image. All text is the image's, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Description {
    /// When it was made, as RFC 3339 has it.
    pub created: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// How a container of it runs.
    pub config: Option<Execution>,
    /// How each layer came about, the bottom one first.
    #[serde(deserialize_with = "list")]
    pub history: Vec<History>,
}

/// How a container runs unless whoever starts it says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all(deserialize = "PascalCase"))]
#[non_exhaustive]
pub struct Execution {
    /// The program, and its first arguments.
    #[serde(deserialize_with = "list")]
    pub entrypoint: Vec<String>,
    /// Arguments after them, or the program if there is no entry point.
    #[serde(deserialize_with = "list")]
    pub cmd: Vec<String>,
    /// `NAME=VALUE`
    #[serde(deserialize_with = "list")]
    pub env: Vec<String>,
    /// User and group: `USER`, `UID`, `USER:GROUP`, …
    pub user: Option<String>,
    /// Where it starts.
    pub working_dir: Option<String>,
    /// Labels.
    #[serde(deserialize_with = "map")]
    pub labels: BTreeMap<String, String>,
    /// `PORT/PROTOCOL`
    #[serde(deserialize_with = "names")]
    pub exposed_ports: Vec<String>,
    /// Directories that want a volume.
    #[serde(deserialize_with = "names")]
    pub volumes: Vec<String>,
    /// What ends it.
    pub stop_signal: Option<String>,
}

/// One step of how an image was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct History {
    /// When, as RFC 3339 has it.
    pub created: Option<String>,
    /// The command.
    pub created_by: Option<String>,
    /// By whom.
    pub author: Option<String>,
    /// What they say of it.
    pub comment: Option<String>,
    /// It made no layer.
    pub empty_layer: Option<bool>,
}

impl Image {
    /// What the image is for: entry point, environment, labels, history, as its [configuration](Image::config) has
    /// them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Image`](crate::ErrorKind::Image) if they are of another form, or a list of them has more than
    /// 10,000 items.
    pub fn description(&self) -> Result<Description, Error> {
        json(&self.config, &digest::blob(&self.id))
    }
}

/// A list, or null.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_any(Few(PhantomData))
}

/// An object of texts, or null.
fn map<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let pairs = from.deserialize_any(Pairs(PhantomData::<Option<String>>))?;
    Ok(pairs.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// The names in an object, or null.
fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let pairs = from.deserialize_any(Pairs(PhantomData::<IgnoredAny>))?;
    Ok(pairs.into_iter().map(|(key, _)| key).collect())
}

struct Few<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST} items")
    }

    fn visit_unit<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
            if items.len() > MOST {
                return Err(A::Error::invalid_length(items.len(), &self));
            }
        }
        Ok(items)
    }
}

struct Pairs<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
    type Value = Vec<(String, T)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {MOST} members")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = members.next_entry()? {
            pairs.push(pair);
            if pairs.len() > MOST {
                return Err(A::Error::invalid_length(pairs.len(), &self));
            }
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Description, Error> {
        json(text.as_bytes(), "config")
    }

    #[test]
    fn null_and_nothing_are_one() {
        for text in [
            "{}",
            r#"{"config":null,"history":null,"created":null}"#,
            r#"{"rootfs":{"type":"layers"},"architecture":"amd64"}"#,
        ] {
            assert_eq!(parsed(text).expect(text), Description::default(), "{text}");
        }
        let empty = r#"{"config":{"Env":null,"Labels":null,"Volumes":null,"User":null,"OnBuild":["x"]}}"#;
        assert_eq!(parsed(empty).expect("as Go writes it").config, Some(Execution::default()));
    }

    #[test]
    fn what_is_said_is_kept() {
        let text = r#"{"config":{"Entrypoint":["/a"],"Cmd":["b c"],"Labels":{"k":"v","n":null},"ExposedPorts":
            {"80/tcp":{}}},"history":[{"created_by":"COPY","empty_layer":true},{}]}"#;
        let said = parsed(text).expect("a configuration");
        let config = said.config.expect("its config");
        assert_eq!((&config.entrypoint[..], &config.cmd[..]), (&["/a".to_owned()][..], &["b c".to_owned()][..]));
        assert_eq!((config.labels["k"].as_str(), config.labels["n"].as_str()), ("v", ""));
        assert_eq!((config.exposed_ports, said.history.len()), (vec!["80/tcp".to_owned()], 2));
        assert_eq!(said.history[0].empty_layer, Some(true));
    }

    #[test]
    fn lists_are_bounded_and_forms_are_told() {
        let many = |items: usize| format!(r#"{{"config":{{"Env":[{}]}}}}"#, vec!["\"\""; items].join(","));
        assert_eq!(parsed(&many(MOST)).expect("as many as may be").config.map(|one| one.env.len()), Some(MOST));
        for bad in [many(MOST + 1), r#"{"config":{"Env":7}}"#.into(), r#"{"config":{"Labels":["a"]}}"#.into()] {
            let error = parsed(&bad).expect_err("not so");
            assert!(error.to_string().len() < 400 && error.image_problem().is_some(), "{error}");
        }
    }
}
