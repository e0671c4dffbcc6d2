//! Where an image is, as people write it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The form in which an image is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// Found out: a directory is looked into, a file is unpacked first.
    Detect,
    /// A directory as the OCI image-spec describes it (`image-layout.md`).
    OciLayout,
    /// A tar archive of such a directory.
    OciArchive,
    /// What `docker save` and `skopeo copy … docker-archive:` write.
    DockerArchive,
}

/// Where an image is, and which of several is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source {
    /// The form in which the image is kept there.
    pub form: Form,
    /// The directory or file; `-` is standard input, for archives.
    pub path: PathBuf,
    /// A tag, a name (`docker.io/library/debian:12`), or the digest of a manifest, index or configuration
    /// (`sha256:…`). Without it there must be one image for the platform.
    pub reference: Option<String>,
}

impl Source {
    /// `oci:DIR[:REF]`, `oci-archive:FILE[:REF]`, `docker-archive:FILE[:REF]`, or a plain path (`PATH[:REF]`) whose
    /// form is found out. A colon belongs to the path where a file of that name exists; else the path ends at the
    /// first one. `-` is standard input (`-:REF`, `docker-archive:-:REF`), a file of that name `./-`.
    #[must_use]
    pub fn parse(text: impl AsRef<OsStr>) -> Source {
        let bytes = text.as_ref().as_bytes();
        let prefixes = [
            (&b"oci:"[..], Form::OciLayout),
            (b"oci-archive:", Form::OciArchive),
            (b"docker-archive:", Form::DockerArchive),
        ];
        let found = prefixes.iter().find_map(|(prefix, form)| Some((*form, bytes.strip_prefix(*prefix)?)));
        let (form, rest) = found.unwrap_or((Form::Detect, bytes));
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let exists = |bytes: &[u8]| Path::new(OsStr::from_bytes(bytes)).symlink_metadata().is_ok();
        if exists(rest) {
            return Source { form, path: path(rest), reference: None };
        }
        let mut colons = rest.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at);
        let first = colons.clone().next();
        match colons.find(|at| exists(&rest[..*at])).or(first) {
            Some(at) => {
                let reference = String::from_utf8_lossy(&rest[at + 1..]).into_owned();
                Source { form, path: path(&rest[..at]), reference: Some(reference).filter(|text| !text.is_empty()) }
            }
            None => Source { form, path: path(rest), reference: None },
        }
    }

    pub(super) fn is_stdin(&self) -> bool {
        self.form != Form::OciLayout && self.path == Path::new("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, form, path, reference) in [
            ("oci:/no/dir".to_owned(), Form::OciLayout, "/no/dir", None),
            ("oci:/no/dir:v1".to_owned(), Form::OciLayout, "/no/dir", Some("v1")),
            (format!("oci:/no/dir:{digest}"), Form::OciLayout, "/no/dir", Some(digest.as_str())),
            ("oci-archive:x.tar".to_owned(), Form::OciArchive, "x.tar", None),
            (
                "docker-archive:x.tar:localhost:5000/a:b".to_owned(),
                Form::DockerArchive,
                "x.tar",
                Some("localhost:5000/a:b"),
            ),
            ("/no/such:tag".to_owned(), Form::Detect, "/no/such", Some("tag")),
            ("/no/such:".to_owned(), Form::Detect, "/no/such", None),
            ("/tmp:tag".to_owned(), Form::Detect, "/tmp", Some("tag")),
            ("/tmp".to_owned(), Form::Detect, "/tmp", None),
        ] {
            let want = Source { form, path: path.into(), reference: reference.map(str::to_owned) };
            assert_eq!(Source::parse(&text), want, "{text}");
        }
        let odd = std::env::temp_dir().join(format!("untar-in-root-a:b-{}", std::process::id()));
        std::fs::create_dir_all(&odd).expect("scratch");
        assert_eq!(Source::parse(&odd).path, odd);
        let mut tagged = odd.clone().into_os_string();
        tagged.push(":tag");
        assert_eq!(
            Source::parse(&tagged),
            Source { form: Form::Detect, path: odd.clone(), reference: Some("tag".into()) }
        );
        std::fs::remove_dir(odd).expect("scratch");
    }
}
