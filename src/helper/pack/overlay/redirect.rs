//! Where a renamed directory, or the content of a file, was.

/// From the top of the overlay, or beside where it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Redirect {
    Path(Vec<Vec<u8>>),
    Name(Vec<u8>),
}

/// It is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadRedirect;

impl Redirect {
    /// As overlayfs has it: one name, or all of them from the top, each with a `/` before it. What would lead anywhere
    /// else is none.
    pub(crate) fn parse(value: Vec<u8>) -> Result<Redirect, BadRedirect> {
        let path = value.strip_prefix(b"/");
        let names: Vec<&[u8]> = path.unwrap_or(&value).split(|byte| *byte == b'/').collect();
        let is_name = |name: &&[u8]| !matches!(**name, [] | [b'.'] | [b'.', b'.']) && !name.contains(&0);
        if !names.iter().all(is_name) || path.is_none() && names.len() > 1 {
            return Err(BadRedirect);
        }
        Ok(match path {
            Some(_) => Redirect::Path(names.into_iter().map(<[u8]>::to_vec).collect()),
            None => Redirect::Name(value),
        })
    }
}
