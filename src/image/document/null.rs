//! `null`, as Go's decoder reads it: the field stays what it is without it.

use serde::{Deserialize, Deserializer};

pub(super) fn as_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
