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
    /// What `skopeo copy … dir:` and `podman save --format docker-dir` write: a directory with a manifest, and what it
    /// names beside it.
    Dir,
}

/// Where an image is, and which of several is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source {
    /// The form in which the image is kept there.
    pub form: Form,
    /// The directory or file; `-` is standard input, for archives.
    pub path: PathBuf,
    /// A tag, a name (`docker.io/library/debian:12`), the digest of a manifest, index or configuration (`sha256:…`, also
    /// behind a name: `debian@sha256:…`; alone its first 12 digits or more are enough, without `sha256:` where nothing is
    /// called so), or `@N`, the N-th that is listed, from 0. Without it there must be one image for
    /// the platform.
    pub reference: Option<String>,
}

impl Source {
    /// `oci:DIR[:REF]`, `oci-archive:FILE[:REF]`, `docker-archive:FILE[:REF]`, `dir:DIR`, or a plain path (`PATH[:REF]`)
    /// whose form is found out; `PATH@sha256:…` and `PATH@N` too. A colon belongs to the path where a file of that name
    /// exists; else the path ends at the first one. `-` is standard input (`-:REF`, `docker-archive:-:REF`), a file of
    /// that name `./-`.
    #[must_use]
    pub fn parse(text: impl AsRef<OsStr>) -> Source {
        let bytes = text.as_ref().as_bytes();
        let prefixes = [
            (&b"oci:"[..], Form::OciLayout),
            (b"oci-archive:", Form::OciArchive),
            (b"docker-archive:", Form::DockerArchive),
            (b"dir:", Form::Dir),
        ];
        let found = prefixes.iter().find_map(|(prefix, form)| Some((*form, bytes.strip_prefix(*prefix)?)));
        let (form, rest) = found.unwrap_or((Form::Detect, bytes));
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let exists = |bytes: &[u8]| Path::new(OsStr::from_bytes(bytes)).symlink_metadata().is_ok();
        if exists(rest) {
            return Source { form, path: path(rest), reference: None };
        }
        let mut ends = (0..rest.len()).filter(|at| ends_path(&rest[*at..]));
        let first = ends.clone().next();
        match ends.find(|at| exists(&rest[..*at])).or(first) {
            Some(at) => {
                let text = String::from_utf8_lossy(rest[at..].strip_prefix(b":").unwrap_or(&rest[at..])).into_owned();
                Source { form, path: path(&rest[..at]), reference: Some(text).filter(|text| !text.is_empty()) }
            }
            None => Source { form, path: path(rest), reference: None },
        }
    }

    pub(super) fn is_stdin(&self) -> bool {
        !matches!(self.form, Form::OciLayout | Form::Dir) && self.path == Path::new("-")
    }
}

/// What follows a path: a colon, or `@` and a digest or a number.
fn ends_path(rest: &[u8]) -> bool {
    match rest.strip_prefix(b"@") {
        Some(b"") => false,
        Some(behind) => behind.starts_with(b"sha256:") || behind.iter().all(u8::is_ascii_digit),
        None => rest.first() == Some(&b':'),
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
            ("dir:/no/such".to_owned(), Form::Dir, "/no/such", None),
            (format!("/tmp@{digest}"), Form::Detect, "/tmp", Some(&*format!("@{digest}"))),
            (format!("oci:/no/such@{digest}"), Form::OciLayout, "/no/such", Some(&*format!("@{digest}"))),
            (format!("/no/such:app@{digest}"), Form::Detect, "/no/such", Some(&*format!("app@{digest}"))),
            ("/tmp@17".to_owned(), Form::Detect, "/tmp", Some("@17")),
            ("/tmp:@17".to_owned(), Form::Detect, "/tmp", Some("@17")),
            ("/no/such@home".to_owned(), Form::Detect, "/no/such@home", None),
            ("/no/such@".to_owned(), Form::Detect, "/no/such@", None),
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
