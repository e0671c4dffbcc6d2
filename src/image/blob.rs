//! Blobs: small ones read whole and verified, layers opened to be verified while they stream.

use super::beneath::Beneath;
use super::documents::Documents;
use super::problem::Problem;
use super::{Layer, MAX_DOCUMENT, digest, media};
use crate::error::Error;
use crate::options::Compression;
use crate::report::Digest;
use crate::sniff::FIRST;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// A manifest or configuration of this name, which is what its descriptor says.
pub(super) fn document(documents: &Documents, name: &str, declared: &Digest, size: u64) -> Result<Vec<u8>, Error> {
    if size > MAX_DOCUMENT {
        return Err(Problem::DocumentSize(size).at(name));
    }
    let bytes = documents.read(name)?;
    let actual = bytes.len() as u64;
    if actual != size {
        return Err(Problem::Size { declared: size, actual }.at(name));
    }
    verify(declared, digest::of(&bytes), name)?;
    Ok(bytes)
}

pub(super) fn verify(declared: &Digest, actual: Digest, name: &str) -> Result<(), Error> {
    if actual != *declared {
        return Err(Problem::Digest { declared: *declared, actual }.at(name));
    }
    Ok(())
}

/// An open layer of the right size, whose first bytes are what its media type says, where that has to be so.
pub(super) struct Blob {
    file: File,
    size: u64,
    pub(super) compression: Compression,
    /// What its media type says, where the bytes say something else.
    pub(super) declared: Option<Compression>,
}

impl Blob {
    pub(super) fn open(files: &Beneath, layer: &Layer) -> Result<Blob, Error> {
        if let Some(refusal) = &layer.refusal {
            return Err(refusal.clone().at(layer.file.as_str()));
        }
        let (file, actual) = files.file(&layer.file)?;
        if actual != layer.size {
            return Err(Problem::Size { declared: layer.size, actual }.at(layer.file.as_str()));
        }
        let mut start = [0; FIRST];
        let read = read_start(&file, &mut start)
            .map_err(|error| Error::io_at(crate::kind::ErrorKind::Read, "reading", layer.file.as_ref(), error))?;
        let found = Compression::sniff(&start[..read]);
        let declared = layer.compression.filter(|declared| *declared != found);
        match declared {
            Some(declared) if !layer.media_type.as_deref().is_some_and(media::may_lie) => {
                Err(Problem::Format { declared, found }.at(layer.file.as_str()))
            }
            declared => Ok(Blob { file, size: actual, compression: found, declared }),
        }
    }

    /// The bytes, exactly as many as there should be.
    pub(super) fn reader(&self) -> io::Result<impl Read> {
        Ok(Exactly { file: self.file.try_clone()?, at: 0, size: self.size })
    }

    /// Reads it all once more, if it is to be known whether it is damaged.
    pub(super) fn digest(&self) -> io::Result<Digest> {
        use sha2::Digest as _;
        let mut hasher = sha2::Sha256::new();
        let mut reader = self.reader()?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(Digest(hasher.finalize().into())),
                n => hasher.update(&buffer[..n]),
            }
        }
    }
}

fn read_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match file.read_at(&mut buffer[have..], have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

/// A file that somebody may cut or extend meanwhile: neither goes unnoticed.
struct Exactly {
    file: File,
    at: u64,
    size: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX).min(buffer.len());
        if left == 0 && !buffer.is_empty() && self.file.read_at(&mut [0], self.size)? > 0 {
            return Err(io::Error::other("the file grows while it is read"));
        }
        let n = self.file.read_at(&mut buffer[..left], self.at)?;
        if n == 0 && left > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
        }
        self.at += n as u64;
        Ok(n)
    }
}
