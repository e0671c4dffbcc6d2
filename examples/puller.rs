//! A puller: keeps a layer only if its digest and its diff ID are the right ones.
//! `puller STORE sha256:DIGEST sha256:DIFF_ID < blob`, where the manifest has the digest and the configuration
//! the diff ID.
//!
//! Both are known only at the end, when the files are there already. So they go to a directory that nobody
//! looks at, which gets its name when all is well.
#![allow(clippy::print_stdout)]

use std::fs;
use std::path::Path;
use untar_in_root::{Digest, Mode, Program, Untar, helper};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    helper::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [store, digest, diff_id] = &args[..] else {
        return Err("usage: puller STORE sha256:DIGEST sha256:DIFF_ID < blob".into());
    };
    let (digest, diff_id) = (parse(digest)?, parse(diff_id)?);
    let layer = Path::new(store).join(diff_id.to_string());
    let partial = layer.with_extension("partial");
    // Fails if somebody else is at it.
    fs::create_dir(&partial)?;
    let outcome = pull(&partial, digest, diff_id).and_then(|()| Ok(fs::rename(&partial, &layer)?));
    if outcome.is_err() {
        fs::remove_dir_all(&partial)?;
    }
    outcome
}

fn pull(into: &Path, digest: Digest, diff_id: Digest) -> Result<(), Failure> {
    let mut untar = Untar::open(into)?.program(Program::this()?).expect_digest(digest).expect_diff_id(diff_id);
    untar.options_mut().mode = Mode::Layer;
    // Not `apply`: while a reader blocks, the end of the helper would go unnoticed.
    let report = untar.apply_fd(std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned()?)?;
    println!("{} entries from {} bytes", report.entries.total(), report.bytes_in);
    Ok(())
}

/// `sha256:` and 64 hexadecimal digits.
fn parse(text: &str) -> Result<Digest, Failure> {
    let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.is_ascii()).ok_or("not a digest")?;
    let mut digest = Digest([0; 32]);
    for (at, byte) in digest.0.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16)?;
    }
    Ok(digest)
}
