//! What can be wrong with an image, and in which of its files.

mod store;
mod words;

pub use store::StoreProblem;

use crate::error::Detail;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::options::Compression;
use crate::report::Digest;
use crate::text::{Escaped, Tame};
use std::fmt;
use std::path::PathBuf;
use words::{List, Text};

/// What is wrong with an image. Text in it comes from the image and is escaped when it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Neither an OCI layout nor a docker archive.
    NotAnImage,
    /// The archive ended before its first byte.
    NothingCame,
    /// A file of the image is not there.
    Missing,
    /// A file of the image is a FIFO, a device, a directory.
    NotAFile,
    /// A name, or a symlink on its way, leads out of the image.
    Leaves,
    /// A document is larger than 4 MiB.
    DocumentSize(u64),
    /// A document is no JSON, or not of the form that it must have. The text of the [`Error`] has the parser's words.
    Json {
        /// The line, counted from 1; 0 where the parser does not know.
        line: usize,
        /// The column in it, in bytes.
        column: usize,
        /// What is wrong.
        what: BadJson,
    },
    /// A manifest where an index is expected.
    ManifestForIndex,
    /// A manifest without a configuration.
    NoConfiguration,
    /// A manifest with a layer that has no name.
    NamelessLayer,
    /// The version of the layout or of a document is not supported.
    Version(String),
    /// A file has another size than its descriptor says.
    Size {
        /// The size by the descriptor, in bytes.
        declared: u64,
        /// The size on disk, in bytes.
        actual: u64,
    },
    /// A file has another digest than its descriptor or name says.
    Digest {
        /// What was meant.
        declared: Digest,
        /// What is there.
        actual: Digest,
    },
    /// A digest is not `sha256:` and 64 hexadecimal digits, lower case.
    DigestText(String),
    /// What a list has in the image's place is of wrong form; the parser's words.
    Entry(String),
    /// Something is of a type that is not known or has no place there.
    MediaType(String),
    /// A document calls itself something else than its descriptor does.
    MediaTypeDiffers {
        /// The media type by the descriptor.
        declared: String,
        /// The media type that the document names.
        says: String,
    },
    /// A document is an index and a manifest at once (CVE-2021-41190).
    Ambiguous,
    /// The layer's content is not in the image but elsewhere, and not to be distributed.
    Foreign(String),
    /// The layer is encrypted.
    Encrypted(String),
    /// It is no image but something else that a registry keeps.
    Artifact(String),
    /// The bytes of a layer are not of the format that is declared.
    Format {
        /// The format by the media type.
        declared: Compression,
        /// The format by the first bytes.
        found: Compression,
    },
    /// The manifest and the configuration do not have the same number of layers.
    LayerCount {
        /// The number of layers in the manifest.
        layers: usize,
        /// The number of diff IDs in the configuration.
        diff_ids: usize,
    },
    /// More layers than 500.
    Layers(usize),
    /// The configuration's `rootfs.type` is not `layers`.
    RootfsType(String),
    /// An index that contains itself.
    Cycle,
    /// Indexes in indexes in indexes.
    Depth,
    /// More entries of indexes than 20,000.
    Images,
    /// More documents, or more that is kept of them, than 64 MiB.
    Documents,
    /// There is no image of this name or digest; others are there.
    NoReference {
        /// What was asked for.
        wanted: String,
        /// What there is.
        there: Vec<String>,
    },
    /// There is no image for this platform; others are there.
    NoPlatform {
        /// What was asked for.
        wanted: String,
        /// What there is.
        there: Vec<String>,
    },
    /// The image for this platform is listed and not there, as in an archive of one platform.
    Absent {
        /// What was asked for.
        wanted: String,
        /// The digest of its manifest.
        digest: Option<Digest>,
        /// What there is.
        there: Vec<String>,
    },
    /// Several images, and none was asked for; each can be named by the first word of its line.
    Several(Vec<String>),
    /// There is no image at all.
    Empty,
    /// Something is wrong with a store of layers.
    Store(StoreProblem),
    /// The place for the result is not empty.
    Occupied,
}

/// How a document can fail to be what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BadJson {
    /// It ends too soon.
    Truncated,
    /// It is no JSON.
    Syntax,
    /// A field is lacking, there twice, or of another type.
    Form,
}

impl Problem {
    /// About this file.
    pub(super) fn at(self, file: impl Into<PathBuf>) -> Error {
        self.said_at(file, None)
    }

    /// The same, in a parser's words.
    pub(super) fn said_at(self, file: impl Into<PathBuf>, words: Option<String>) -> Error {
        let kind = match self {
            Problem::Digest { .. } => ErrorKind::Digest,
            Problem::NoReference { .. } | Problem::NoPlatform { .. } | Problem::Several(_) | Problem::Occupied => {
                ErrorKind::Options
            }
            Problem::DocumentSize(_) | Problem::Layers(_) | Problem::Images | Problem::Documents | Problem::Depth => {
                ErrorKind::Limit
            }
            _ => ErrorKind::Image,
        };
        let file = shortened_path(file.into());
        Error::new(kind, Detail::Part(Box::new(Flaw { file, words, problem: self.shortened() })))
    }

    /// Cuts the image's text to what is shown of it: it may be the whole document.
    pub(super) fn shortened(mut self) -> Problem {
        match &mut self {
            Problem::Version(text)
            | Problem::DigestText(text)
            | Problem::Entry(text)
            | Problem::MediaType(text)
            | Problem::Foreign(text)
            | Problem::Encrypted(text)
            | Problem::Artifact(text)
            | Problem::RootfsType(text) => *text = shortened(text, LONGEST),
            Problem::MediaTypeDiffers { declared, says } => {
                *declared = shortened(declared, LONGEST);
                *says = shortened(says, LONGEST);
            }
            _ => {}
        }
        self
    }
}

/// The most bytes of one text of an image in an error.
const LONGEST: usize = 400;

/// The beginning of a text.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match crate::text::cut_at(text, most) {
        end if end < text.len() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

/// A name in an image may be as long as the document that has it.
fn shortened_path(path: PathBuf) -> PathBuf {
    const LONGEST_PATH: usize = 4096;
    match path.to_str() {
        Some(text) if text.len() > LONGEST_PATH => shortened(text, LONGEST_PATH).into(),
        _ => path,
    }
}

/// A problem and where it is.
#[derive(Debug)]
struct Flaw {
    /// The file that it is in: a path, or a name within the image.
    file: PathBuf,
    /// What a parser says of it, for people.
    words: Option<String>,
    problem: Problem,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Escaped(self.file.as_os_str().as_encoded_bytes()), self.problem)?;
        self.words.as_ref().map_or(Ok(()), |words| write!(f, ": {}", Escaped(words.as_bytes())))
    }
}

impl std::error::Error for Flaw {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.problem)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// What there is to choose from.
    fn choice(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NoReference { wanted, there } => {
                write!(f, "no image {} in it; there is {}", Text(wanted), List(there))
            }
            Problem::NoPlatform { wanted, there } => {
                write!(f, "no image for the platform {wanted}; there is {}", List(there))
            }
            Problem::Absent { wanted, digest, there } => {
                write!(f, "the image for the platform {wanted}")?;
                digest.map_or(Ok(()), |digest| write!(f, ", {digest},"))?;
                write!(f, " is listed in it but not there; there is {}", List(there))
            }
            Problem::Several(there) => write!(f, "several images, say which: {}", List(there)),
            _ => Ok(()),
        }
    }

    /// What is the same of every image.
    fn plain(&self) -> &'static str {
        match self {
            Problem::NotAnImage => {
                "this is no image: an OCI layout has oci-layout and index.json, a docker archive or dir: has manifest.json"
            }
            Problem::NothingCame => "there is not one byte in it; what writes it may have failed",
            Problem::Missing => "this file of the image is not there",
            Problem::NotAFile => "refused: this is not a regular file",
            Problem::Leaves => "refused: the name or a symlink on its way leads out of the image",
            Problem::ManifestForIndex => "not a document of this kind: a manifest where an index is expected",
            Problem::NoConfiguration => "not a document of this kind: a manifest without a configuration",
            Problem::NamelessLayer => "not a document of this kind: a manifest with a layer that has no name",
            Problem::Ambiguous => "refused: the document is an index and a manifest at once",
            Problem::Cycle => "refused: an index that contains itself",
            Problem::Depth => "refused: indexes nested too deep",
            Problem::Empty => "there is no image in it",
            Problem::Occupied => "not empty: name a directory that is empty or does not exist",
            _ => "",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::DocumentSize(size) => {
                write!(f, "refused: a document of {size} bytes; {} are the most", super::MAX_DOCUMENT)
            }
            Problem::Json { line, column, what } => {
                write!(f, "not a document of this kind{}: {what}", Place(*line, *column))
            }
            Problem::Version(version) => write!(f, "version {} is not supported", Text(version)),
            Problem::Size { declared, actual } => {
                write!(f, "{actual} bytes, but {declared} are declared: cut short, or not what was meant")
            }
            Problem::Digest { declared, actual } => {
                write!(f, "digest mismatch: declared {declared}, got {actual}: damaged, or not what was meant")
            }
            Problem::Entry(words) => write!(f, "an entry of it is not of this kind: {}", Tame(words)),
            Problem::DigestText(text) => no_digest(f, text),
            Problem::MediaType(found) => write!(f, "refused: media type {} is not known here", Text(found)),
            Problem::MediaTypeDiffers { declared, says } => {
                write!(f, "refused: declared as {}, but it says that it is {}", Text(declared), Text(says))
            }
            Problem::Foreign(what) => {
                write!(f, "refused: a foreign layer, whose content is not in the image: {}", Text(what))
            }
            Problem::Encrypted(media_type) => {
                write!(f, "refused: an encrypted layer ({}); decrypt the image first", Text(media_type))
            }
            Problem::Artifact(what) => write!(f, "refused: this is no container image but {}", Text(what)),
            Problem::Format { declared, found } => {
                write!(f, "refused: declared as {}, but its bytes are {}", format_name(*declared), format_name(*found))
            }
            Problem::LayerCount { layers, diff_ids } => {
                write!(f, "refused: {layers} layers in the manifest, but {diff_ids} diff IDs in the configuration")
            }
            Problem::Layers(count) => write!(f, "refused: {count} layers; {} are the most", super::MAX_LAYERS),
            Problem::RootfsType(kind) => write!(f, "refused: rootfs.type is {}, not \"layers\"", Text(kind)),
            Problem::Documents => {
                write!(f, "refused: documents and what is kept of them are more than {} bytes", super::MAX_DOCUMENTS)
            }
            Problem::Images => write!(f, "refused: more than {} entries of indexes", super::MAX_ENTRIES),
            Problem::NoReference { .. } | Problem::NoPlatform { .. } | Problem::Absent { .. } | Problem::Several(_) => {
                self.choice(f)
            }
            Problem::Store(what) => what.fmt(f),
            Problem::NotAnImage
            | Problem::NothingCame
            | Problem::Missing
            | Problem::NotAFile
            | Problem::Leaves
            | Problem::ManifestForIndex
            | Problem::NoConfiguration
            | Problem::NamelessLayer
            | Problem::Ambiguous
            | Problem::Cycle
            | Problem::Depth
            | Problem::Empty
            | Problem::Occupied => f.write_str(self.plain()),
        }
    }
}

/// Where a parser stopped, as far as it knows.
struct Place(usize, usize);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place(line, column) = self;
        if *column == 0 { Ok(()) } else { write!(f, " (line {line}, column {column})") }
    }
}

impl fmt::Display for BadJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadJson::Truncated => "it ends too soon",
            BadJson::Syntax => "it is no JSON",
            BadJson::Form => "it has another form",
        })
    }
}

fn no_digest(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    match text.starts_with("sha512:") {
        true => write!(f, "digest {}: SHA-512 is not supported, only sha256", Text(text)),
        false => write!(f, "refused: digest {} is not sha256: and 64 hexadecimal digits in lower case", Text(text)),
    }
}

/// The format's name as people know it.
fn format_name(format: Compression) -> &'static str {
    match format {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::Xz => "xz",
        Compression::Bzip2 => "bzip2",
        _ => "a plain tar or nothing known",
    }
}

impl Error {
    /// What is wrong with the image, if that is what failed.
    #[must_use]
    pub fn image_problem(&self) -> Option<&Problem> {
        match self.detail() {
            Detail::Part(part) => part.downcast_ref().map(|flaw: &Flaw| &flaw.problem),
            _ => None,
        }
    }
}
